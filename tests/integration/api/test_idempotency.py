"""One effect for one Idempotency-Key, however often and how simultaneously it is sent."""

import asyncio

import pytest

from .conftest import TARIFF, Api, registration


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


async def test_repeat__gets_the_first_answer_without_a_second_effect(api: Api) -> None:
    body = {"id_token": "CARD"}
    first = await api.call("operator", "POST", "/id-tokens", body, headers=keyed("k1"))
    size = (await api.ok(None, "GET", "/log/head"))["size"]
    again = await api.call("operator", "POST", "/id-tokens", body, headers=keyed("k1"))
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert (await api.ok(None, "GET", "/log/head"))["size"] == size


async def test_repeat__does_not_show_a_secret_again(api: Api) -> None:
    for path, body, secret in (
        ("/stations", registration("CP-1"), "password"),
        ("/stations/CP-1/password", {}, "password"),
        ("/logins", {"name": "dana", "role": "driver"}, "password"),
        ("/logins/dana/password", {}, "password"),
        ("/api-keys", {"name": "k", "scopes": ["read"]}, "api_key"),
    ):
        headers = keyed(f"key of {path}")
        first = (await api.call("operator", "POST", path, body, headers=headers)).json()
        again = (await api.call("operator", "POST", path, body, headers=headers)).json()
        assert first[secret]
        assert again == first | {secret: None}
        [(found,)] = await api.rows(
            "select count(*) from idempotency where position(%s::bytea in response) > 0",
            first[secret].encode(),
        )
        assert found == 0


async def test_the_same_key_for_another_request__is_a_conflict(api: Api) -> None:
    await api.ok("operator", "POST", "/id-tokens", {"id_token": "A"}, headers=keyed("k"))
    other = await api.call("operator", "POST", "/id-tokens", {"id_token": "B"}, headers=keyed("k"))
    assert other.status_code == 409
    assert other.json()["error"]["field"] == "Idempotency-Key"


async def test_a_key_belongs_to_its_login(api: Api) -> None:
    await api.add_login("second", "operator")
    await api.ok("operator", "POST", "/id-tokens", {"id_token": "A"}, headers=keyed("k"))
    await api.ok("second", "POST", "/id-tokens", {"id_token": "B"}, headers=keyed("k"))
    assert len((await api.ok("operator", "GET", "/id-tokens"))["items"]) == 2


async def test_a_refused_request__leaves_its_key_free(api: Api) -> None:
    bad = {"id_token": "CARD", "type": "Tattoo"}
    refused = await api.call("operator", "POST", "/id-tokens", bad, headers=keyed("k"))
    assert refused.status_code == 422
    good = await api.call("operator", "POST", "/id-tokens", {"id_token": "A"}, headers=keyed("k"))
    assert good.status_code == 201


async def test_two_at_once__one_effect_and_equal_answers(api: Api) -> None:
    async def publish() -> tuple[int, dict[str, object]]:
        answer = await api.call("operator", "POST", "/tariffs", TARIFF, headers=keyed("k"))
        return answer.status_code, answer.json()

    answers = await asyncio.gather(*(publish() for _ in range(4)))
    assert answers == [answers[0]] * 4
    assert answers[0][0] == 200
    assert await api.rows("select version from tariff_version") == [(1,)]


async def test_answers_are_forgotten_after_a_day(api: Api) -> None:
    await api.ok("operator", "POST", "/id-tokens", {"id_token": "A"}, headers=keyed("k"))
    async with api.work() as work:
        await work.connection.execute(
            "update idempotency set created_at = now() - interval '25 hours'"
        )
        await work.commit()
    await api.ok("operator", "POST", "/id-tokens", {"id_token": "B"}, headers=keyed("k"))


@pytest.mark.parametrize("key", ["", "x" * 129, "é"])
async def test_a_malformed_key_is_refused(api: Api, key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1")}
    answer = await api.call("operator", "POST", "/id-tokens", {"id_token": "A"}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "Idempotency-Key"


async def test_a_visitor_with_a_key__is_refused_like_without(api: Api) -> None:
    answer = await api.call(None, "POST", "/id-tokens", {"id_token": "A"}, headers=keyed("k"))
    assert answer.status_code == 401


async def test_command__the_same_key_sends_it_once(api: Api) -> None:
    await api.add_station("CP-1")
    await api.add_station("CP-2")
    api.channel.connected = {"CP-1", "CP-2"}
    path, body = "/stations/CP-1/commands", {"command": "reset"}
    first = await api.ok("operator", "POST", path, body, headers=keyed("k"))
    again = await api.ok("operator", "POST", path, body, headers=keyed("k"))
    assert again == first
    assert len(api.channel.sent) == 1
    other = await api.call("operator", "POST", "/stations/CP-2/commands", body, headers=keyed("k"))
    assert other.status_code == 409
    unlike = {"command": "unlock", "evse": 1}
    assert (await api.call("operator", "POST", path, unlike, headers=keyed("k"))).status_code == 409
