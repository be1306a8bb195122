"""Clock, settings, backup, the OpenAPI document, and every error in one shape."""

import json

import pytest

from chargera.domain.errors import Unavailable

from .conftest import Api, registration


async def test_clock__moves_by_hand(api: Api) -> None:
    before = (await api.ok(None, "GET", "/clock"))["now"]
    after = await api.ok("operator", "POST", "/clock/advance", {"seconds": 90.5})
    assert (before, after["now"]) == ("2026-05-04T08:00:00.000Z", "2026-05-04T08:01:30.500Z")
    assert (await api.ok(None, "GET", "/clock")) == after
    back = await api.call("operator", "POST", "/clock/advance", {"seconds": -1})
    assert back.json()["error"]["field"] == "seconds"
    assert (await api.call("operator", "POST", "/clock/advance", {})).status_code == 422


async def test_settings_and_backup__for_who_runs_it(api: Api) -> None:
    assert await api.ok("operator", "GET", "/settings") == {"operator": {"id": "NL*C4E"}}
    archive = await api.call("operator", "GET", "/backup")
    assert archive.content == b"first second"


async def test_openapi__names_every_route_and_loads_nothing_from_elsewhere(api: Api) -> None:
    answer = await api.call(None, "GET", "http://test/api/openapi.json")
    document = answer.json()
    assert document["servers"] == [{"url": "/api"}]
    assert "/v1/stations" in document["paths"]
    page = document["paths"]["/v1/sessions"]["get"]["responses"]["200"]
    assert page["content"]["application/json"]["schema"]
    for path in ("/docs", "/redoc"):
        assert (await api.call(None, "GET", f"http://test/api{path}")).status_code == 404


async def test_answers_are_kept_by_no_cache(api: Api) -> None:
    answer = await api.call("operator", "GET", "/whoami")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("PATCH", "/stations", 405, "invalid_input"),
        ("GET", "/stations/", 404, "not_found"),
    ],
)
async def test_an_address_that_is_none__has_the_shape_of_every_error(
    api: Api, method: str, path: str, status: int, code: str
) -> None:
    answer = await api.call("operator", method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"code", "message", "field", "remedy"}
    assert answer.json()["error"]["code"] == code


async def test_a_body_that_is_no_json__is_unreadable(api: Api) -> None:
    for content in (b"{", b"\xff", b""):
        answer = await api.call("operator", "POST", "/stations", content=content)
        assert answer.status_code in (400, 422), answer.text
        assert answer.json()["error"]["field"] == "body"


async def test_a_body_of_another_kind__says_which_is_wanted(api: Api) -> None:
    body, kind = json.dumps(registration("CP-1")).encode(), {"content-type": "text/plain"}
    answer = await api.call("operator", "POST", "/stations", content=body, headers=kind)
    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["error"]["remedy"]


async def test_a_body_nested_without_end__is_unreadable(api: Api) -> None:
    body, kind = b"[" * 200_000, {"content-type": "application/json"}
    answer = await api.call("operator", "POST", "/stations", content=body, headers=kind)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "body")


async def test_a_method_that_an_address_has_not__is_named(api: Api) -> None:
    answer = await api.call("operator", "DELETE", "/stations")
    assert (answer.status_code, answer.json()["error"]["field"]) == (405, "method")


async def test_a_nul__is_unreadable_wherever_it_stands(api: Api) -> None:
    for path in ("/stations/%00", "/sessions?before=%00"):
        answer = await api.call("operator", "GET", path)
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, "path")
    body = json.dumps({"reason": "\0"}).encode()
    answer = await api.call("operator", "POST", "/sessions/none/decision", content=body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "body")


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit__is_refused_before_it_is_read(
    api: Api, declared: bool
) -> None:
    body = json.dumps(registration("CP-1", model="x" * 1_048_576)).encode()

    async def pieces() -> object:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    content = body if declared else pieces()
    answer = await api.call("operator", "POST", "/stations", content=content)
    assert answer.status_code == 413
    assert answer.json()["error"]["field"] == "body"


async def test_a_failure_of_a_part__is_503_and_may_be_tried_again(api: Api) -> None:
    async def fails(seconds: float) -> None:
        raise Unavailable("the clock does not answer", remedy="wind it up")

    api.replace(advance_clock=fails)
    answer = await api.call("operator", "POST", "/clock/advance", {"seconds": 1})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["error"]["remedy"] == "wind it up"


async def test_an_unexpected_failure__says_nothing_of_itself(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(seconds: float) -> None:
        raise RuntimeError("password=hunter2")

    api.replace(advance_clock=fails)
    answer = await api.call("operator", "POST", "/clock/advance", {"seconds": 1})
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert answer.json()["error"]["code"] == "error"
    assert "POST /api/v1/clock/advance" in caplog.text


async def test_a_backup_that_fails__fails_before_its_answer_begins(api: Api) -> None:
    async def fails() -> object:
        raise Unavailable("pg_dump failed")
        yield b""

    api.replace(backup=fails)
    assert (await api.call("operator", "GET", "/backup")).status_code == 503
