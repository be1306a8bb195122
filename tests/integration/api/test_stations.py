"""Stations over REST: registered once, conflicts named, passwords shown once, priced, shown."""

import asyncio
from datetime import timedelta

import pytest

from chargera.app.ports import Changes, MessageRow

from .conftest import Api, registration


async def test_register__returns_a_password_once_and_logs_the_facts(api: Api) -> None:
    first = await api.call("operator", "POST", "/stations", registration("CP-1"))
    again = await api.call("operator", "POST", "/stations", registration("CP-1"))

    assert first.status_code == 201
    assert len(first.json()["password"]) >= 20
    assert (again.json()["station_id"], again.json()["password"]) == ("CP-1", None)
    [record] = await api.entries("station_registered")
    assert record["serial_number"] == "SN-1"
    assert first.json()["password"] not in str(record)
    assert api.forgotten == ["CP-1", "CP-1"]


async def test_register__at_the_same_time_one_gets_the_password(api: Api) -> None:
    answers = await asyncio.gather(
        *(api.ok("operator", "POST", "/stations", registration("CP-1")) for _ in range(4))
    )
    assert sum(answer["password"] is not None for answer in answers) == 1
    assert len(await api.entries("station_registered")) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("manufacturer", "Other"),
        ("latitude", "52.3703"),
        ("time_zone", "Europe/Berlin"),
        ("evse", "1:type2:11000"),
        ("ocpp", ["1.6"]),
        ("profile", 3),
        ("allow_plain", True),
    ],
)
async def test_register__other_facts_are_a_conflict_that_names_the_field(
    api: Api, field: str, value: object
) -> None:
    await api.ok("operator", "POST", "/stations", registration("CP-1"))
    answer = await api.call("operator", "POST", "/stations", registration("CP-1", **{field: value}))
    assert answer.status_code == 409
    assert answer.json()["error"]["field"] == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("station_id", "a:b"),
        ("manufacturer", ""),
        ("latitude", "91"),
        ("longitude", "east"),
        ("time_zone", "Mars/Olympus"),
        ("evse", "1:type9:22000"),
        ("ocpp", ["1.5"]),
        ("ocpp", []),
        ("profile", 4),
        ("profile", 1),
        ("meter_key", "not a key"),
        ("host", "nobody"),
    ],
)
async def test_register__a_wrong_fact_is_refused_by_name(
    api: Api, field: str, value: object
) -> None:
    body = registration("CP-1") | {field: value}
    answer = await api.call("operator", "POST", "/stations", body)
    error = answer.json()["error"]
    assert answer.status_code in (400, 422)
    assert error["field"] == field
    assert error["remedy"]
    assert (await api.ok("operator", "GET", "/stations"))["items"] == []


async def test_register__the_host_must_be_one(api: Api) -> None:
    await api.add_login("dana", "driver")
    await api.add_login("holly", "host")
    refused = await api.call("operator", "POST", "/stations", registration("CP-1", host="dana"))
    assert refused.json()["error"]["field"] == "host"
    await api.ok("operator", "POST", "/stations", registration("CP-1", host="holly"))
    assert (await api.ok("operator", "GET", "/stations/CP-1"))["host"] == "holly"


async def test_a_body_with_an_unknown_member_is_refused_by_its_name(api: Api) -> None:
    answer = await api.call("operator", "POST", "/stations", registration("CP-1", colour="red"))
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "colour"


async def test_password__given_or_generated_replaces_the_old_one(api: Api) -> None:
    await api.add_station("CP-1")
    given = "correct-horse-battery-staple"
    shown = await api.ok("operator", "POST", "/stations/CP-1/password", {"password": given})
    assert shown == {"station_id": "CP-1", "password": given}
    [(stored,)] = await api.rows("select password_hash from station")
    assert await api.passwords.verify(stored, given)

    generated = await api.ok("operator", "POST", "/stations/CP-1/password", {})
    [(stored,)] = await api.rows("select password_hash from station")
    assert await api.passwords.verify(stored, generated["password"])
    assert not await api.passwords.verify(stored, given)
    assert [r["change"] for r in await api.entries("station_changed")] == ["password"] * 2
    assert api.forgotten[-1] == "CP-1"


@pytest.mark.parametrize("password", ["short", "x" * 41, "ü" * 24])
async def test_password__a_bad_one_is_refused(api: Api, password: str) -> None:
    await api.add_station("CP-1")
    answer = await api.call("operator", "POST", "/stations/CP-1/password", {"password": password})
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "password"


async def test_list__pages_by_id_and_shows_connection_and_power(api: Api) -> None:
    for number in range(5):
        await api.add_station(f"CP-{number}")
    api.channel.connected = {"CP-2"}
    await api.ok("operator", "POST", "/id-tokens", {"id_token": "CARD"})
    await api.charge("CP-2", "CARD", end=False)

    first = await api.ok(None, "GET", "/stations?limit=3")
    rest = await api.ok(None, "GET", f"/stations?limit=3&after={first['next']}")
    rows = first["items"] + rest["items"]
    assert [row["station_id"] for row in rows] == [f"CP-{n}" for n in range(5)]
    assert rest["next"] is None
    assert [row["connected"] for row in rows] == [False, False, True, False, False]
    assert (rows[2]["power_w"], rows[2]["open_sessions"]) == (7_000, 1)
    assert rows[2]["tariff_id"] == "DAY"


async def test_show__private_members_only_for_who_runs_it(api: Api) -> None:
    await api.add_station("CP-1")
    mine = await api.ok("operator", "GET", "/stations/CP-1")
    public = await api.ok(None, "GET", "/stations/CP-1")
    assert mine["serial_number"] == "SN-1"
    assert mine["may_command"] is True
    assert "serial_number" not in public
    assert public["connectors"][0]["status"] == "Unknown"
    missing = await api.call(None, "GET", "/stations/CP-9")
    assert missing.status_code == 404


async def test_overview__counts_what_there_is(api: Api) -> None:
    await api.add_station("CP-1")
    api.channel.connected = {"CP-1"}
    await api.ok("operator", "POST", "/id-tokens", {"id_token": "CARD"})
    await api.charge("CP-1", "CARD")
    await api.charge("CP-1", "CARD", end=False)
    shown = await api.ok(None, "GET", "/overview")
    assert (shown["stations"], shown["stations_connected"], shown["connectors"]) == (1, 1, 1)
    assert (shown["sessions_charging"], shown["sessions_billed"]) == (1, 1)
    assert (shown["power_w"], shown["energy_wh"]) == (7_000, 1_000)
    assert shown["log_size"] > 5
    assert (await api.ok(None, "GET", "/today")) != {}


async def test_overview__totals_follow_bills_credits_and_who_looks(api: Api) -> None:
    await api.add_login("holly", "host")
    await api.add_login("dana", "driver")
    await api.add_station("CP-1", host="holly")
    await api.add_station("CP-2")
    for id_token, login in (("CARD", "dana"), ("OTHER", None)):
        body = {"id_token": id_token, "login": login}
        await api.ok("operator", "POST", "/id-tokens", body)

    async def billed(who: str | None) -> tuple[int, int]:
        shown = await api.ok(who, "GET", "/overview")
        return shown["sessions_billed"], shown["energy_wh"]

    assert await billed(None) == (0, 0)
    await api.charge("CP-1", "CARD")
    await api.charge("CP-1", "OTHER")
    await api.charge("CP-2", "OTHER")
    everybody, host, driver = (3, 3_000), (2, 2_000), (1, 1_000)
    whose = {None: everybody, "operator": everybody, "holly": host, "dana": driver}
    for who, figures in whose.items():
        assert await billed(who) == figures, who

    # A later value changes a bill: it is taken back, and another stands in its place.
    began_at = api.clock.now()
    await api.say("CP-2", api.event("tx", "Started", 0, "OTHER"))
    api.clock.advance(3600)
    told = api.event("tx", "Ended", 1_000, None)
    await api.say("CP-2", told._replace(seq_no=3))
    await api.bill()
    parked = api.event("tx", "Updated", 400, None)._replace(
        at=began_at + timedelta(minutes=20), samples=()
    )
    assert await billed(None) == (4, 4_000)
    await api.say("CP-2", parked)
    await api.bill()
    [[bills, energy_wh]] = await api.rows("select bills, energy_wh from network_total")
    [[rows, sum_wh]] = await api.rows(
        "select sum(case when is_credit then -1 else 1 end)::int, sum(energy_wh)::int from cdr"
    )
    assert (bills, energy_wh) == (rows, sum_wh) == (4, 4_000)
    await api.say("CP-2", api.event("T", "Ended", 1_500, "CARD"))
    assert (await api.ok(None, "GET", "/overview"))["sessions_review"] == 1


async def test_messages__are_found_however_old_they_are(api: Api) -> None:
    await api.add_station("CP-1")
    async with api.work() as work:
        rows = [
            MessageRow(
                "CP-1",
                api.clock.now(),
                number != 2,
                "1.6",
                "Reset" if number < 3 else "Heartbeat",
                str(number),
                b"",
                None,
                "repeat" if number == 1 else "ok",
            )
            for number in range(1, 2001)
        ]
        work.write(Changes(messages=rows))
        await work.commit()

    async def found(query: str) -> list[str]:
        page = await api.ok("operator", "GET", f"/stations/CP-1/messages?{query}")
        return [row["message_id"] for row in page["items"]]

    assert await found("action=Reset") == ["2", "1"]
    assert await found("action=Reset&inbound=true") == await found("ok=false") == ["1"]
    assert await found("inbound=false") == ["2"]
    assert await found("action=Reset&ok=true") == ["2"]
    assert await found("action=Boot") == []
    wrong = await api.call("operator", "GET", f"/stations/CP-1/messages?before={2**63}")
    assert wrong.json()["error"]["field"] == "before"


async def test_messages__are_shown_as_they_went_over_the_wire(api: Api) -> None:
    await api.add_station("CP-1")
    now = api.clock.now()
    async with api.work() as work:
        for number in range(3):
            answer = b"[3]" if number else None
            row = MessageRow(
                "CP-1", now, True, "1.6", "Heartbeat", str(number), b"\xff[2]", answer, "ok"
            )
            work.write(Changes(messages=[row]))
        await work.commit()
    page = await api.ok("operator", "GET", "/stations/CP-1/messages?limit=2")
    assert [row["message_id"] for row in page["items"]] == ["2", "1"]
    assert page["items"][0]["frame"] == "\ufffd[2]"
    last = await api.ok("operator", "GET", f"/stations/CP-1/messages?before={page['next']}")
    assert [row["answer"] for row in last["items"]] == [None]
