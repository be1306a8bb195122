"""Errors over HTTP: one status for each class of the error tree, one shape for all of them."""

import logging
from collections.abc import Mapping

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chargera.app.id_tokens import CSV_BYTES_MAX
from chargera.app.permissions import ANONYMOUS
from chargera.domain.errors import (
    ChargEraError,
    Conflict,
    InvalidInput,
    NotFound,
    NotPermitted,
    Refused,
    Undetermined,
    Unreadable,
    Unsupported,
)


class TooLarge(Unreadable):
    """A body is larger than its route takes."""

    def __init__(self, limit: int) -> None:
        """Say how many bytes there may be."""
        super().__init__(
            f"the body has more than {limit} bytes", field="body", remedy="send less at once"
        )


HTTP_STATUS: Mapping[type[ChargEraError], int] = {
    TooLarge: 413,
    Unreadable: 400,
    Unsupported: 422,
    InvalidInput: 422,
    NotPermitted: 403,
    Conflict: 409,
    Refused: 409,
    NotFound: 404,
    Undetermined: 503,
    ChargEraError: 500,
}
"""HTTP status of each class; one that is not listed takes that of its nearest parent."""

BODY_BYTES_MAX = 1_048_576
BODY_BYTES_MAX_OF: Mapping[str, int] = {"/v1/id-tokens/import": CSV_BYTES_MAX}
"""Paths, as the API's own routes have them, that take larger bodies."""

NUL_IN_JSON = rb"\u0000"

_log = logging.getLogger(__name__)


def http_status(error: ChargEraError, *, signed_in: bool = True) -> int:
    """Return the status of an error; a visitor who may not do something is asked to sign in."""
    if isinstance(error, NotPermitted) and not signed_in:
        return 401
    return next(HTTP_STATUS[cls] for cls in type(error).__mro__ if cls in HTTP_STATUS)


def problem(error: ChargEraError, *, signed_in: bool = True) -> Response:
    """Return `{"error": {code, message, field, remedy}}` with its status."""
    status = http_status(error, signed_in=signed_in)
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="chargera"'
    if status == 503:
        headers["Retry-After"] = "5"
    return Response(
        orjson.dumps({"error": error.as_dict()}),
        status,
        media_type="application/json",
        headers=headers,
    )


def install(app: FastAPI) -> None:
    """Give every error of the API its shape."""
    app.add_exception_handler(ChargEraError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _routing)
    app.add_exception_handler(Exception, _unexpected)
    app.add_middleware(BodyLimit)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ChargEraError), "registered for these alone"
    caller = getattr(request.state, "caller", ANONYMOUS)
    return problem(error, signed_in=caller.is_signed_in)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError), "registered for these alone"
    first = error.errors()[0]
    where = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
    if first["type"] == "json_invalid":
        return problem(
            Unreadable("the body is not JSON", field="body", remedy="send one JSON document")
        )
    remedy = "see /api/openapi.json for what is expected"
    if not where and not _is_json(request):
        remedy = "send JSON, and say so: Content-Type: application/json"
    return problem(
        InvalidInput(
            f"{'.'.join(where) or 'the body'}: {first['msg']}",
            field=".".join(where) or "body",
            remedy=remedy,
        )
    )


def _is_json(request: Request) -> bool:
    return "json" in request.headers.get("content-type", "")


async def _routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "registered for these alone"
    if isinstance(error.__cause__, ChargEraError):  # met while FastAPI read the body
        return problem(error.__cause__)
    found: ChargEraError = NotFound(
        "there is nothing at this address", field="path", remedy="see /api/openapi.json"
    )
    if error.status_code == 405:
        found = InvalidInput(
            f"this address does not answer {request.method}",
            field="method",
            remedy="see /api/openapi.json",
        )
    elif error.status_code != 404:  # FastAPI could not read the body at all
        found = Unreadable("the body is not JSON", field="body", remedy="send one JSON document")
    response = problem(found)
    response.status_code = error.status_code
    return response


async def _unexpected(request: Request, error: Exception) -> Response:
    _log.error("request failed: %s %s", request.method, request.url.path, exc_info=error)
    return problem(
        ChargEraError(
            "this failed here, and was recorded", remedy="try again; see the server's log"
        )
    )


class BodyLimit:
    """Refuses bodies that are larger than their route takes, before they are read whole, and NULs.

    FastAPI's own limit answers in plain text; errors of this API have one shape.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Stand before `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on as long as it keeps within the limit."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        limit = BODY_BYTES_MAX_OF.get(path, BODY_BYTES_MAX)
        if _declared_length(scope) > limit:
            await problem(TooLarge(limit))(scope, receive, send)
            return
        if "\0" in path or b"%00" in scope["query_string"]:
            await problem(_nul("path"))(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise TooLarge(limit)
            if NUL_IN_JSON in message.get("body", b""):
                raise _nul("body")
            return message

        await self._app(scope, counted, send)


def _nul(field: str) -> Unreadable:
    """Return the error for a NUL, which no text of ours holds and the database refuses."""
    return Unreadable("there is a NUL character in it", field=field, remedy="leave it out")


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
