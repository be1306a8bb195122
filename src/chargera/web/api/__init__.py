"""The REST API: thin routes over the use cases, one error shape, one OpenAPI document.

Mounted at `/api`; the document is `/api/openapi.json`.
"""

from typing import Any

import orjson
from fastapi import FastAPI
from starlette.responses import Response

from chargera.web.api import (
    custody,
    feed,
    log,
    operation,
    passports,
    people,
    problems,
    sessions,
    settlement,
    stations,
    tariffs,
)
from chargera.web.api.context import Services, json_bytes

__all__ = ["Services", "make_api", "openapi_document"]

_ROUTERS = (
    operation.router,
    stations.router,
    tariffs.router,
    people.router,
    sessions.router,
    log.router,
    passports.router,
    custody.router,
    settlement.router,
    feed.router,
)


def make_api(services: Services) -> FastAPI:
    """Return the ASGI application to mount at `/api`."""
    api = _application(services.version)
    api.state.services = services
    return api


def openapi_document(version: str) -> dict[str, Any]:
    """Return the OpenAPI document; it needs no running server."""
    return _application(version).openapi()


def _application(version: str) -> FastAPI:
    api = FastAPI(
        title="ChargEra",
        version=version,
        summary="An EV-charging network whose every step can be checked by a stranger.",
        description=(
            "Send `Authorization: Bearer KEY` (a key of `chargera api-key add`), and an"
            " `Idempotency-Key` with every POST that creates something: the same request again"
            " then gets the same answer. Amounts are integers in minor units, energy is in Wh,"
            " times are RFC 3339 with `Z`."
        ),
        servers=[{"url": "/api"}],
        root_path_in_servers=False,
        openapi_url=None,
        docs_url=None,  # its pages load scripts from another host
        redoc_url=None,
        redirect_slashes=False,
    )
    for router in _ROUTERS:
        api.include_router(router, prefix="/v1")
    problems.install(api)

    @api.get("/openapi.json", include_in_schema=False)
    async def document() -> Response:
        return json_bytes(orjson.dumps(api.openapi()))

    return api
