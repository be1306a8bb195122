"""Routes of tariffs: OCPI 2.2.1 documents in, versions out."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from chargera.app import tariffs
from chargera.app.views import TariffView
from chargera.proofs import ocpi
from chargera.web.api.context import ApiCall, json_bytes, shown
from chargera.web.api.shapes import answers

router = APIRouter(prefix="/tariffs", tags=["tariffs"])

TariffId = Annotated[str, Path(max_length=36)]


@router.post(
    "",
    responses=answers(tariffs.Published),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    },
)
async def publish_tariff(call: ApiCall) -> Response:
    """Publish an OCPI 2.2.1 Tariff object; what says the same again is the same version.

    Numbers are read exactly as they are written, which is why the body has no model here.
    """
    document = ocpi.parse_json(call.body)
    return await call.created(
        lambda: tariffs.publish_tariff(call.work, call.caller, document, now=call.now),
        forget=lambda made: made.stations,
        status=200,
    )


@router.get("", responses=answers(list[TariffView]))
async def list_tariffs(call: ApiCall) -> Response:
    """List the current version of each tariff."""
    return shown(await tariffs.list_tariffs(call.work, call.caller))


@router.get("/{tariff_id}", responses=answers(TariffView))
async def show_tariff(call: ApiCall, tariff_id: TariffId, version: int | None = None) -> Response:
    """Show one version of a tariff, the newest by default."""
    return shown(await tariffs.show_tariff(call.work, call.caller, tariff_id, version))


@router.get("/{tariff_id}/document", responses=answers(dict[str, object]))
async def show_document(call: ApiCall, tariff_id: TariffId, version: int | None = None) -> Response:
    """Show a tariff as an OCPI 2.2.1 object, with numbers as numbers."""
    view = await tariffs.show_tariff(call.work, call.caller, tariff_id, version)
    return json_bytes(ocpi.encode_json(tariffs.document_of(view)))
