"""`/rpc`: JSON-RPC 2.0 over HTTP POST, single calls and batches, open to pages of any origin.

Nothing here is secret and no cookie counts, so any page may call it: a wallet is one.
"""

import asyncio
import math
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chargera.app.chain_ports import BadTransaction, ChainNode, Reverted
from chargera.domain.errors import ChargEraError, InvalidInput, Unsupported
from chargera.web.rpc.methods import Methods
from chargera.web.rpc.values import data

BODY_BYTES_MAX = 2 * 1024 * 1024
BATCH_MAX = 200
BATCH_S_MAX = 5.0
"""Once a batch has taken so long, no further call of it is begun."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
SERVER_ERROR = -32000
UNSUPPORTED = -32004
TOO_MUCH = -32005
REVERTED = 3
"""With the contract's error as `data`, as wallets expect."""

_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Max-Age": "86400",
    "Cache-Control": "no-store",
}


def rpc_route(chain: ChainNode, client_version: str, batch_s_max: float = BATCH_S_MAX) -> Route:
    """Return the route of `/rpc`."""
    endpoint = _Endpoint(Methods(chain, client_version), batch_s_max)
    return Route("/rpc", endpoint.answer, methods=["POST", "OPTIONS"])


class _Endpoint:
    def __init__(self, methods: Methods, batch_s_max: float) -> None:
        self._methods = methods
        self._batch_s_max = batch_s_max

    async def answer(self, request: Request) -> Response:
        """Answer a call or a batch; always 200, as the transport has done its part."""
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=_HEADERS)
        body = await _body(request)
        if body is None:
            message = f"a request has at most {BODY_BYTES_MAX} bytes"
            return _response(_error(None, TOO_MUCH, message), status=413)
        try:
            asked = orjson.loads(body)
        except orjson.JSONDecodeError:
            return _response(_error(None, PARSE_ERROR, "not JSON"))
        if not isinstance(asked, list):
            return _response(await self._call(asked))
        if not asked:
            return _response(_error(None, INVALID_REQUEST, "an empty batch"))
        if len(asked) > BATCH_MAX:
            return _response(_error(None, TOO_MUCH, f"a batch has at most {BATCH_MAX} calls"))
        # Together, so that transactions of one batch are committed together, in their order.
        until_s = asyncio.get_running_loop().time() + self._batch_s_max
        answers = await asyncio.gather(*(self._call(each, until_s) for each in asked))
        told = [answer for answer in answers if answer is not None]
        return _response(told or None)

    async def _call(self, asked: object, until_s: float = math.inf) -> dict[str, Any] | None:
        """Return the answer to one call, begun before `until_s`; None for a notification."""
        if not isinstance(asked, dict) or asked.get("jsonrpc") != "2.0":
            return _error(None, INVALID_REQUEST, "not a JSON-RPC 2.0 request")
        call_id, name, parameters = asked.get("id"), asked.get("method"), asked.get("params", [])
        if not isinstance(name, str) or not isinstance(parameters, list):
            return _error(call_id, INVALID_REQUEST, "method is text and params a list")
        await asyncio.sleep(0)  # a long batch lets others in between
        if asyncio.get_running_loop().time() > until_s:
            return _error(call_id, TOO_MUCH, "the batch takes too long: ask for less at once")
        answer = await self._answer(call_id, name, parameters)
        return answer if "id" in asked else None

    async def _answer(self, call_id: Any, name: str, parameters: list[Any]) -> dict[str, Any]:
        method = self._methods.table.get(name)
        if method is None:
            return _error(call_id, METHOD_NOT_FOUND, f"there is no method {name[:64]}")
        try:
            return {"jsonrpc": "2.0", "id": call_id, "result": await method(parameters)}
        except Reverted as error:
            return _error(call_id, REVERTED, error.message, data(error.data))
        except Unsupported as error:
            return _error(call_id, UNSUPPORTED, _words(error))
        except InvalidInput as error:
            return _error(call_id, INVALID_PARAMS, _words(error))
        except BadTransaction as error:
            return _error(call_id, SERVER_ERROR, error.message)
        except ChargEraError as error:
            return _error(call_id, SERVER_ERROR, _words(error))


async def _body(request: Request) -> bytes | None:
    """Return the body, None if it is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            return None
    return bytes(body)


def _error(call_id: Any, code: int, message: str, details: Any = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if details is not None:
        error["data"] = details
    return {"jsonrpc": "2.0", "id": call_id, "error": error}


def _words(error: ChargEraError) -> str:
    return f"{error.message}: {error.remedy}" if error.remedy else error.message


def _response(answer: Any, status: int = 200) -> Response:
    if answer is None:  # only notifications
        return Response(status_code=204, headers=_HEADERS)
    return Response(orjson.dumps(answer), status, _HEADERS, "application/json")
