"""Sessions over REST: rows as the interface has them, pages, details, decisions."""

from datetime import timedelta
from typing import Any

import pytest

from chargera.app.permissions import ANONYMOUS
from chargera.app.sessions import is_link_key, link_key, show_session
from chargera.domain.errors import NotFound

from .conftest import Api

ROW = [
    *("session_id", "station_id", "evse", "connector", "ocpp_version", "transaction_id", "state"),
    *("started_at", "ended_at", "meter_start_wh", "meter_stop_wh", "energy_wh", "currency"),
    *("net_minor", "vat_minor", "gross_minor", "proof_level", "cdr_log_index", "anomalies"),
    "settlement",
]


@pytest.fixture
async def ready(api: Api) -> Api:
    await api.add_station("CP-1")
    await api.add_station("CP-2")
    await api.ok("operator", "POST", "/id-tokens", {"id_token": "CARD"})
    return api


async def test_list__rows_have_exactly_the_members_of_the_interface(ready: Api) -> None:
    session_id = await ready.charge("CP-1", "CARD")
    [row] = (await ready.ok("operator", "GET", "/sessions"))["items"]
    assert list(row) == ROW
    assert row == {
        "session_id": session_id,
        "station_id": "CP-1",
        "evse": 1,
        "connector": 1,
        "ocpp_version": "2.0.1",
        "transaction_id": "tx-1",
        "state": "billed",
        "started_at": "2026-05-04T08:00:00.000Z",
        "ended_at": "2026-05-04T09:00:00.000Z",
        "meter_start_wh": 0,
        "meter_stop_wh": 1000,
        "energy_wh": 1000,
        "currency": "EUR",
        "net_minor": 25,
        "vat_minor": 5,
        "gross_minor": 30,
        "proof_level": "L0",
        "cdr_log_index": row["cdr_log_index"],
        "anomalies": [],
        "settlement": None,
    }
    entry = await ready.ok("operator", "GET", f"/log/entries/{row['cdr_log_index']}")
    assert (entry["kind"], entry["record"]["session_id"]) == ("cdr", session_id)


async def test_list__newest_first_in_pages_by_station_and_state(ready: Api) -> None:
    made = [await ready.charge("CP-1", "CARD") for _ in range(3)]
    other = await ready.charge("CP-2", "CARD", end=False)

    async def listed(query: str) -> list[str]:
        page = await ready.ok("operator", "GET", f"/sessions?{query}")
        return [row["session_id"] for row in page["items"]]

    assert await listed("") == [other, *made[::-1]]
    assert await listed("station=CP-1") == made[::-1]
    assert await listed("state=charging") == [other]
    assert await listed("state=review") == []
    first = await ready.ok("operator", "GET", "/sessions?limit=2&station=CP-1")
    assert await listed(f"limit=2&station=CP-1&before={first['next']}") == [made[0]]
    refused = await ready.call("operator", "GET", "/sessions?state=paid")
    assert refused.json()["error"]["field"] == "state"


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", f"station={'x' * 49}"])
async def test_list__a_parameter_out_of_bounds_is_refused(ready: Api, query: str) -> None:
    answer = await ready.call("operator", "GET", f"/sessions?{query}")
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == query.split("=", maxsplit=1)[0]


async def test_show__a_running_session_with_power_and_cost_so_far(ready: Api) -> None:
    session_id = await ready.charge("CP-1", "CARD", end=False)
    await ready.say("CP-1", ready.event("tx-1", "Updated", 2_000, None))
    shown = await ready.ok("operator", "GET", f"/sessions/{session_id}")
    assert shown["state"] == "charging"
    assert shown["energy_wh"] == 2_000
    assert shown["live"]["power_w"] == 7_000
    assert shown["live"]["cost_so_far"]["net_minor"] == 50
    assert (shown["currency"], shown["net_minor"]) == (None, None)
    assert shown["id_token"] == "CARD"
    assert [reading["register_wh"] for reading in shown["readings"]] == [0, 2_000]
    assert shown["cdrs"] == []


async def test_show__without_a_tariff_there_is_no_cost_so_far(api: Api) -> None:
    from .conftest import registration

    await api.ok("operator", "POST", "/stations", registration("CP-1"))
    await api.ok("operator", "POST", "/id-tokens", {"id_token": "CARD"})
    session_id = await api.charge("CP-1", "CARD", end=False)
    shown = await api.ok("operator", "GET", f"/sessions/{session_id}")
    assert shown["live"]["cost_so_far"] is None


async def test_show__a_billed_session_with_its_bill_and_its_entries(ready: Api) -> None:
    session_id = await ready.charge("CP-1", "CARD")
    shown = await ready.ok("operator", "GET", f"/sessions/{session_id}")
    assert shown["live"] is None
    [cdr] = shown["cdrs"]
    assert (cdr["gross_minor"], cdr["log_index"]) == (30, shown["cdr_log_index"])
    kinds = {entry["kind"]: entry["log_index"] for entry in shown["entries"]}
    assert kinds["session_started"] == shown["started_log_index"]
    assert kinds["session_ended"] == shown["ended_log_index"]
    assert shown["tariff_id"] == "DAY"
    assert shown["may_decide"] is True


async def test_show__by_its_link_everybody_sees_it_without_the_identifier(ready: Api) -> None:
    session_id = await ready.charge("CP-1", "CARD")
    secret = b"s" * 32
    key = link_key(secret, session_id)
    assert is_link_key(secret, session_id, key)
    assert not is_link_key(secret, session_id, key[:-1] + "x")
    assert not is_link_key(b"t" * 32, session_id, key)
    async with ready.work() as work:
        now = ready.clock.now()
        view = await show_session(work, ANONYMOUS, session_id, now=now, linked=True)
        assert view.session.gross_minor == 30
        assert view.id_token is None
        assert view.may_decide is False
        assert all(entry.record is None for entry in view.entries)
        with pytest.raises(NotFound):
            await show_session(work, ANONYMOUS, "none", now=now, linked=True)


async def test_a_billed_session__shown_with_the_times_and_registers_of_its_bill(
    ready: Api,
) -> None:
    began_at = ready.clock.now()

    async def say(kind: str, seq_no: int, minutes: int, register_wh: int) -> None:
        """Tell now what the station says of that minute."""
        at = began_at + timedelta(minutes=minutes)
        told = ready.event("tx", kind, register_wh, "CARD" if kind == "Started" else None)
        samples = tuple(sample._replace(at=at) for sample in told.samples)
        await ready.say("CP-1", told._replace(seq_no=seq_no, at=at, samples=samples))

    await say("Started", 0, 0, 100)
    ready.clock.advance(3600)
    await say("Ended", 2, 10, 1_100)
    await say("Updated", 1, 12, 600)  # late: the end is before its predecessor, so ours counts
    await ready.bill()
    [[row_says]] = await ready.rows("select ended_at from charging_session")
    assert row_says == began_at + timedelta(minutes=10)
    [cdr] = await ready.entries("cdr")
    assert cdr["ended_at"] == "2026-05-04T09:00:00.000Z"
    [row] = (await ready.ok("operator", "GET", "/sessions"))["items"]
    shown = await ready.ok("operator", "GET", f"/sessions/{row['session_id']}")
    for session in (row, shown):
        assert session["ended_at"] == cdr["ended_at"]
        assert session["started_at"] == "2026-05-04T08:00:00.000Z"
        assert (session["meter_start_wh"], session["meter_stop_wh"]) == (100, 1_100)


async def test_receipt_and_cdr__are_handed_out_as_they_are(ready: Api) -> None:
    session_id = await ready.charge("CP-1", "CARD")
    for what in ("receipt", "cdr"):
        answer = await ready.call("operator", "GET", f"/sessions/{session_id}/{what}")
        assert answer.content == b'{"%b":"%b"}' % (what.encode(), session_id.encode())
        missing = await ready.call("operator", "GET", f"/sessions/none/{what}")
        assert missing.status_code == 404


async def test_decision__bills_a_session_in_review(ready: Api) -> None:
    await ready.say("CP-1", ready.event("T", "Ended", 1_500, "CARD"))
    [row] = (await ready.ok("operator", "GET", "/sessions"))["items"]
    assert (row["state"], row["anomalies"]) == ("review", ["no_start"])
    path = f"/sessions/{row['session_id']}/decision"
    body: dict[str, Any] = {
        "reason": "the driver sent a photo of the meter",
        "meter_start_wh": 500,
        "started_at": "2026-05-04T07:00:00Z",
        "tariff_id": "DAY",
    }
    shown = await ready.ok("operator", "POST", path, body)
    assert (shown["state"], shown["energy_wh"], shown["net_minor"]) == ("billed", 1_000, 25)
    [row] = (await ready.ok("operator", "GET", "/sessions"))["items"]
    assert row["started_at"] == shown["started_at"] == "2026-05-04T07:00:00.000Z"
    assert (row["meter_start_wh"], row["meter_stop_wh"]) == (500, 1_500)
    [record] = await ready.entries("operator_correction")
    assert (record["by"], record["reason"]) == ("operator", body["reason"])
    again = await ready.call("operator", "POST", path, body)
    assert again.status_code == 409
    bad = await ready.call("operator", "POST", path, body | {"started_at": "morning"})
    assert bad.json()["error"]["field"] == "started_at"
