import base64
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.ocpp import upgrade
from chargera.ocpp.upgrade import BadRequest, Credentials

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def request(
    target: str = "/ocpp/CP-1",
    *lines: str,
    method: str = "GET",
    version: str = "HTTP/1.1",
    without: str = "",
) -> bytes:
    head = [
        f"{method} {target} {version}",
        "Host: x",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {KEY}",
        *lines,
    ]
    return "\r\n".join(line for line in head if not without or without not in line).encode(
        "latin-1"
    )


def basic(user: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def status_of(head: bytes) -> HTTPStatus:
    with pytest.raises(BadRequest) as caught:
        upgrade.parse(head)
    return caught.value.status


def test_parse__whole_request__is_read() -> None:
    parsed = upgrade.parse(
        request(
            "/ocpp/CP-1",
            "Sec-WebSocket-Protocol: ocpp2.0.1, ocpp1.6",
            "sec-websocket-protocol: ocpp2.1",
            basic("CP-1", "pass:word"),
        )
    )
    assert parsed.station_id == "CP-1"
    assert parsed.credentials == Credentials("CP-1", "pass:word")
    assert "pass:word" not in repr(parsed)
    assert parsed.subprotocols == ("ocpp2.0.1", "ocpp1.6", "ocpp2.1")
    assert parsed.websocket_key == KEY


@pytest.mark.parametrize(
    ("target", "station_id"),
    [
        ("/ocpp/CP%2D1", "CP-1"),
        ("/ocpp/NL*C4E*E1", "NL*C4E*E1"),
        ("/ocpp/a%7Cb", "a|b"),
        ("/ocpp/CP-1?x=1", "CP-1"),
        ("/ocpp/", upgrade.NOBODY),
        ("/ocpp/a/b", upgrade.NOBODY),
        ("/ocpp/a%00", upgrade.NOBODY),
        ("/ocpp/%ff", upgrade.NOBODY),
        ("/ocpp/" + "x" * 49, upgrade.NOBODY),
        ("/ocpp/a%3Ab", upgrade.NOBODY),
    ],
)
def test_parse__path__names_a_station_or_nobody(target: str, station_id: str) -> None:
    assert upgrade.parse(request(target)).station_id == station_id


@pytest.mark.parametrize(
    "header",
    [
        "Authorization: Basic",
        "Authorization: Basic !!!!",
        "Authorization: Basic " + base64.b64encode(b"no colon").decode(),
        "Authorization: Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Authorization: Bearer abc",
        "X: y",
    ],
)
def test_parse__credentials_that_cannot_be_read__are_none(header: str) -> None:
    assert upgrade.parse(request("/ocpp/CP-1", header)).credentials == Credentials(None, None)


def test_parse__connection_header_with_more_words__is_an_upgrade() -> None:
    head = request().replace(b"Connection: Upgrade", b"Connection: keep-alive, Upgrade")
    assert upgrade.parse(head).station_id == "CP-1"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", HTTPStatus.BAD_REQUEST),
        (b"GET /ocpp/x", HTTPStatus.BAD_REQUEST),
        (request(version="HTTP/1.0"), HTTPStatus.BAD_REQUEST),
        (request(method="POST"), HTTPStatus.METHOD_NOT_ALLOWED),
        (request("/"), HTTPStatus.NOT_FOUND),
        (request("/other/CP-1"), HTTPStatus.NOT_FOUND),
        (request(without="Upgrade: w"), HTTPStatus.UPGRADE_REQUIRED),
        (request(without="Connection"), HTTPStatus.UPGRADE_REQUIRED),
        (request(without="Version"), HTTPStatus.UPGRADE_REQUIRED),
        (request(without="Key"), HTTPStatus.BAD_REQUEST),
        (request().replace(KEY.encode(), b"short"), HTTPStatus.BAD_REQUEST),
        (request("/ocpp/x", "no colon here"), HTTPStatus.BAD_REQUEST),
        (request("/ocpp/x", " folded: x"), HTTPStatus.BAD_REQUEST),
        (request("/ocpp/x", "a: b\x01"), HTTPStatus.BAD_REQUEST),
        (request("/ocpp/x", "Content-Length: 5"), HTTPStatus.BAD_REQUEST),
        (request("/ocpp/x", "Transfer-Encoding: chunked"), HTTPStatus.BAD_REQUEST),
        (
            request("/ocpp/x", *[f"x{n}: y" for n in range(64)]),
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        ),
    ],
)
def test_parse__what_is_no_upgrade__is_refused(head: bytes, status: HTTPStatus) -> None:
    assert status_of(head) is status


@given(st.binary(max_size=300))
def test_parse__any_bytes__are_a_request_or_refused(tail: bytes) -> None:
    for head in (tail, request() + b"\r\n" + tail):
        try:
            upgrade.parse(head)
        except BadRequest as bad:
            refused = bad
            assert refused.status >= 400


def test_choose_subprotocol__both_know_several__is_our_first() -> None:
    ours = ("ocpp2.0.1", "ocpp1.6")
    assert upgrade.choose_subprotocol(("ocpp1.6", "ocpp2.0.1"), ours) == "ocpp2.0.1"
    assert upgrade.choose_subprotocol(("ocpp1.6",), ours) == "ocpp1.6"
    assert upgrade.choose_subprotocol(("ocpp1.5",), ours) is None
    assert upgrade.choose_subprotocol((), ours) is None


def test_refusal__is_a_whole_response_that_closes() -> None:
    response = upgrade.refusal(HTTPStatus.UNAUTHORIZED, "no")
    head, body = response.split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n")
    assert b"WWW-Authenticate: Basic" in head
    assert b"Retry-After" not in head
    assert f"Content-Length: {len(body)}".encode() in head
    busy = upgrade.refusal(HTTPStatus.SERVICE_UNAVAILABLE, "busy", 10)
    assert b"Retry-After: 10\r\n" in busy
    assert b"WWW-Authenticate" not in busy


def test_handshake_without_subprotocol__accepts_the_key_and_closes() -> None:
    response = upgrade.handshake_without_subprotocol(KEY)
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in response  # RFC 6455, 1.3
    assert b"Sec-WebSocket-Protocol" not in response
    frame = response.split(b"\r\n\r\n", 1)[1]
    assert frame[0] == 0x88
    assert frame[1] == len(frame) - 2
    assert int.from_bytes(frame[2:4]) == 1002
