"""The HTTP request that asks for a WebSocket: bytes to values, and the answers that refuse it.

Sources: RFC 9112 (request), RFC 6455 section 4 (upgrade), RFC 7617 (Basic authentication),
OCPP-J 1.6 section 3, OCPP 2.0.1 part 4 section 3.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from chargera.domain.station import STATION_ID_PATTERN

PATH_HEAD = "/ocpp/"
HEADERS_MAX = 64
NOBODY = ""
"""The identity that stands for every path that cannot name a station."""

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 section 1.3."""
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")


class BadRequest(Exception):  # noqa: N818 - it is an answer that is sent, no failure of ours
    """The request is not answered with an upgrade, whoever sends it."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        """Refuse with a status; `detail` says why."""
        super().__init__(detail)
        self.status = status
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the Authorization header claims; both None if it cannot be read."""

    user: str | None
    password: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """A well-formed request for a WebSocket."""

    station_id: str
    """The identity in the path, `NOBODY` if the path cannot name a station."""
    credentials: Credentials
    subprotocols: tuple[str, ...]
    websocket_key: str


def parse(head: bytes) -> UpgradeRequest:
    """Read the head of a request, without its empty line; raise BadRequest if it is refused."""
    lines = head.decode("latin-1").split("\r\n")
    request_line = lines[0].split(" ")
    if len(request_line) != 3 or request_line[2] != "HTTP/1.1":
        raise BadRequest(HTTPStatus.BAD_REQUEST, "the request line is not of HTTP/1.1")
    if request_line[0] != "GET":
        raise BadRequest(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is answered here")
    headers = _headers(lines[1:])
    if not request_line[1].startswith(PATH_HEAD):
        raise BadRequest(HTTPStatus.NOT_FOUND, "stations connect to /ocpp/{station_id}")
    _require_upgrade(headers)
    offered = headers.get("sec-websocket-protocol", "")
    return UpgradeRequest(
        station_id=_station_id(request_line[1]),
        credentials=_credentials(headers.get("authorization", "")),
        subprotocols=tuple(word.strip() for word in offered.split(",") if word.strip()),
        websocket_key=headers["sec-websocket-key"],
    )


def choose_subprotocol(offered: Collection[str], ours: Collection[str]) -> str | None:
    """Return the first of `ours` that is offered; None if there is no common one."""
    return next((name for name in ours if name in offered), None)


def refusal(status: HTTPStatus, detail: str, retry_after_s: int | None = None) -> bytes:
    """Return a whole HTTP response that refuses and closes."""
    body = f"{detail}\n".encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Connection: close",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
    ]
    if status is HTTPStatus.UNAUTHORIZED:
        lines.append('WWW-Authenticate: Basic realm="ocpp", charset="UTF-8"')
    if retry_after_s is not None:
        lines.append(f"Retry-After: {retry_after_s}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def request_of_library(websocket_key: str) -> bytes:
    """Return the smallest request that the WebSocket library upgrades.

    What the peer really sent has been read here; passing on only its key keeps passwords out of
    the library's logs and its odd but legal headers (`Connection: keep-alive, Upgrade`) out of
    the library's way.
    """
    return (
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {websocket_key}\r\n\r\n"
    ).encode()


def handshake_without_subprotocol(websocket_key: str) -> bytes:
    """Return the response that completes the handshake without agreeing on a version.

    The close frame that follows says why (RFC 6455 close code 1002, protocol error).
    """
    accept = base64.b64encode(hashlib.sha1((websocket_key + _GUID).encode()).digest()).decode()  # noqa: S324 - RFC 6455
    reason = b"no common OCPP version"
    head = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ).encode()
    return head + bytes([0x88, 2 + len(reason)]) + (1002).to_bytes(2) + reason


def _headers(lines: list[str]) -> dict[str, str]:
    """Return the header fields by lower-case name; repeated ones joined by commas."""
    if len(lines) > HEADERS_MAX:
        raise BadRequest(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {HEADERS_MAX} header fields"
        )
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _FIELD_NAME.fullmatch(name):
            raise BadRequest(HTTPStatus.BAD_REQUEST, "a header field cannot be read")
        name, value = name.lower(), value.strip(" \t")
        if any(ord(c) < 32 and c != "\t" for c in value):
            raise BadRequest(HTTPStatus.BAD_REQUEST, "a header field has control characters")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise BadRequest(HTTPStatus.BAD_REQUEST, "the request has a body")
    return headers


def _require_upgrade(headers: dict[str, str]) -> None:
    connection = {word.strip().lower() for word in headers.get("connection", "").split(",")}
    if "upgrade" not in connection or headers.get("upgrade", "").lower() != "websocket":
        raise BadRequest(HTTPStatus.UPGRADE_REQUIRED, "this address speaks WebSocket only")
    if headers.get("sec-websocket-version") != "13":
        raise BadRequest(HTTPStatus.UPGRADE_REQUIRED, "only WebSocket version 13 is spoken")
    if not _KEY.fullmatch(headers.get("sec-websocket-key", "")):
        raise BadRequest(HTTPStatus.BAD_REQUEST, "Sec-WebSocket-Key is not 16 bytes in Base64")


def _station_id(target: str) -> str:
    """Return the identity in a request target; `NOBODY` if it cannot be one."""
    encoded = target.removeprefix(PATH_HEAD).split("?", 1)[0]
    try:
        station_id = unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError:
        return NOBODY
    return station_id if STATION_ID_PATTERN.fullmatch(station_id) else NOBODY


def _credentials(header: str) -> Credentials:
    """Return user and password of Basic authentication; neither if the header is no such thing."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return Credentials(None, None)
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return Credentials(None, None)
    user, colon, password = text.partition(":")
    return Credentials(user, password) if colon else Credentials(None, None)
