"""From an ended session to its bill, a review, a person's decision; and sessions gone silent."""

import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from chargera.app.billing import (
    HOLES_LOGGED_MAX,
    SILENT_AFTER,
    BillingCase,
    ReviewDecision,
    correction_record,
)
from chargera.app.ports import LiveEvent, TariffInForce
from chargera.domain.errors import Conflict, InvalidInput, NotFound
from chargera.domain.pricing import ChargingState
from chargera.domain.transaction import Anomaly, SessionState
from chargera.proofs.entry import EntryKind
from chargera.proofs.ocpi import tariff_from_ocpi
from tests.histories import IN_FORCE, STATION, STATION_ID, TARIFF
from tests.unit.app.rig import START, V1, V2, E, Rig, S, U, at, event, start_1_6
from tests.unit.proofs.sample_receipt import METER_KEY_DER

IDLE = ChargingState.IDLE


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def ended(rig: Rig, *, stop_wh: int = 1500) -> str:
    number = await rig.started(start_1_6(0, 1000))
    await rig.hear(V1, event(E, 30, stop_wh, number=number))
    return number


# Bills -----------------------------------------------------------------------------------------


async def test_bill_due__the_bill_its_record_and_who_is_told(rig: Rig) -> None:
    await ended(rig)
    async with rig.memory.work() as work:
        told = await rig.billing.bill_due(work)
        await work.commit()
    session = rig.session
    assert told == [LiveEvent("session", session.transaction.session_id)]
    assert (session.state, session.gross_minor) == (SessionState.BILLED, 18)
    [record] = rig.records("cdr")
    assert record["energy_wh"] == 500
    assert record["events"]["count"] == 2
    assert (record["operator_id"], record["suspect"], record["replaces"]) == ("NL*C4E", [], None)
    [cdr] = rig.memory.cdrs
    assert session.cdr_log_index == cdr.entry == len(rig.memory.entries) - 1
    assert not session.bill_due


async def test_bill_due__nothing_is_due__nothing_happens(rig: Rig) -> None:
    await rig.started(start_1_6(0, 1000))
    async with rig.memory.work() as work:
        assert await rig.billing.bill_due(work) == []


async def test_bill_due__at_most_so_many_at_once(rig: Rig) -> None:
    for n in range(3):
        number = await rig.started(start_1_6(60 * n, 1000 * n))
        await rig.hear(V1, event(E, 60 * n + 30, 1000 * n + 500, number=number))
    async with rig.memory.work() as work:
        assert len(await rig.billing.bill_due(work, limit=2)) == 2
        await work.commit()
    assert [s.state for s in rig.sessions].count(SessionState.BILLED) == 2


async def test_readings_left_out__listed_in_entry_and_bill(rig: Rig) -> None:
    number = await rig.started(start_1_6(0, 1000))
    await rig.hear(V1, event(U, -20, 1000, number=number, connector=1))
    await rig.hear(V1, event(E, 30, 1500, number=number))
    await rig.bill()
    assert rig.anomalies() == ["reading_outside_session"]
    assert [r["readings"] for r in rig.records("anomaly")] == [[1]]
    assert rig.records("cdr")[0]["suspect"] == [1]


async def test_ten_megawatt_hours_in_half_an_hour__review(rig: Rig) -> None:
    await ended(rig, stop_wh=10_001_000)
    await rig.bill()
    assert (rig.session.state, rig.anomalies()) == (SessionState.REVIEW, ["implausible"])


async def test_many_holes__bounded_entries_that_cover_them_all(rig: Rig) -> None:
    events = [event(U, n / 100, 1000, number="tx", seq_no=2 * n) for n in range(1, 200)]
    await rig.say(
        V2,
        [
            event(S, 0, 1000, number="tx", seq_no=0, evse=1, token="ABC"),
            *events,
            event(E, 30, 1500, number="tx", seq_no=400),
        ],
    )
    await rig.bill()
    holes = rig.records("sequence_hole")
    assert len(holes) == HOLES_LOGGED_MAX + 1
    covered = {n for h in holes for n in range(h["first_seq_no"], h["last_seq_no"] + 1)}
    assert covered >= set(range(1, 400, 2))
    assert [h["scattered"] for h in holes] == [False] * HOLES_LOGGED_MAX + [True]


async def test_signing_station_without_signatures__review_until_they_come(rig: Rig) -> None:
    rig.memory.stations[STATION_ID] = replace(STATION, meter_key_der_hex=METER_KEY_DER.hex())
    await ended(rig)
    await rig.bill()
    assert (rig.session.state, rig.anomalies()) == (SessionState.REVIEW, ["meter_signature"])


async def test_later_contradiction__the_bill_stands_and_is_marked(rig: Rig) -> None:
    number = await ended(rig)
    await rig.bill()
    await rig.hear(V1, event(E, 40, 1700, number=number))
    await rig.bill()
    assert (rig.session.state, rig.session.gross_minor) == (SessionState.BILLED, 18)
    assert "ended_twice" in rig.anomalies()
    assert len(rig.memory.cdrs) == 1


async def test_credit__takes_back_the_whole_bill_and_names_it(rig: Rig) -> None:
    number = await ended(rig)
    await rig.bill()
    await rig.hear(V1, event(U, 10, 1400, number=number, connector=1))
    # A status that says parking from minute 20 on.
    await rig.hear(V1, event(U, 20, 1450, number=number, connector=1, charging=IDLE))
    await rig.bill()
    first, credit, second = rig.memory.cdrs
    [record] = rig.records("credit_cdr")
    assert (record["gross_minor"], credit.sign, credit.is_credit) == (-18, -1, True)
    assert record["credits"] == first.cdr_id == credit.replaces_cdr_id
    assert record["credits_log_index"] == first.entry
    assert second.replaces_cdr_id == first.cdr_id
    assert credit.energy_wh == -500
    assert rig.session.cdr_log_index == second.entry


async def test_session_that_cannot_be_judged__set_aside_and_the_others_billed(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    await ended(rig)
    rig.memory.stations[STATION_ID] = replace(STATION, meter_key_der_hex="00")
    await rig.bill()
    assert (rig.session.state, rig.anomalies()) == (SessionState.REVIEW, ["implausible"])
    assert [r["code"] for r in rig.records("anomaly")] == ["implausible"]
    rig.session.bill_due = True
    await rig.bill()
    assert len(rig.records("anomaly")) == 1


# Decisions -------------------------------------------------------------------------------------


async def decide(rig: Rig, decision: ReviewDecision, session_id: str | None = None) -> None:
    wanted = session_id or rig.session.transaction.session_id
    async with rig.memory.work() as work:
        await rig.billing.decide_review(work, wanted, decision, decided_by="ada")
        await work.commit()


async def test_decide__what_the_station_never_said__billed_and_logged(rig: Rig) -> None:
    await rig.hear(V1, event(E, 60, 5000, number="77"))
    decision = ReviewDecision("paper log", meter_start_wh=3000, started_at=START, tariff_id="T1")
    await decide(rig, decision)
    assert (rig.session.state, rig.session.gross_minor) == (SessionState.BILLED, 73)
    [record] = rig.records("operator_correction")
    assert (record["by"], record["reason"], record["tariff_id"]) == ("ada", "paper log", "T1")
    [cdr] = rig.records("cdr")
    assert cdr["correction"] == record["correction"]
    assert cdr["proof_level"] == "L0"
    kinds = [entry.kind for entry in rig.memory.entries]
    assert kinds.index(EntryKind.OPERATOR_CORRECTION) < kinds.index(EntryKind.CDR)
    assert rig.memory.cdrs[0].entry == kinds.index(EntryKind.CDR)


async def test_decide__then_the_missing_start_comes__what_a_person_decided_stands(
    rig: Rig,
) -> None:
    await rig.hear(V2, event(E, 60, 5000, number="tx", seq_no=3))
    decision = ReviewDecision("guess", meter_start_wh=3000, started_at=START, tariff_id="T1")
    await decide(rig, decision)
    await rig.hear(V2, event(S, 0, 4000, number="tx", seq_no=0, evse=1, token="ABC"))
    await rig.bill()
    assert (rig.session.state, rig.session.gross_minor) == (SessionState.BILLED, 73)
    assert len(rig.memory.cdrs) == 1
    assert len(rig.records("session_started")) == 1, "and the start is on record"


async def test_decide__unknown_or_not_in_review__refused(rig: Rig) -> None:
    with pytest.raises(NotFound):
        await decide(rig, ReviewDecision("x"), "no-such-session")
    await ended(rig)
    await rig.bill()
    with pytest.raises(Conflict):
        await decide(rig, ReviewDecision("x"))


@pytest.mark.parametrize(
    ("decision", "field"),
    [
        (ReviewDecision("x"), "tariff_id"),
        (ReviewDecision("x", tariff_id="T9"), "tariff_id"),
        (ReviewDecision("x", tariff_id="T1"), "started_at"),
        (ReviewDecision("x", tariff_id="T1", started_at=START), "meter_start_wh"),
        (
            ReviewDecision("x", tariff_id="T1", started_at=at(61), meter_start_wh=1),
            "ended_at",
        ),
        (
            ReviewDecision("x", tariff_id="T1", started_at=START, meter_start_wh=9000),
            "meter_stop_wh",
        ),
        (
            ReviewDecision(
                "x", tariff_id="T1", started_at=START - timedelta(days=400), meter_start_wh=1
            ),
            "ended_at",
        ),
        (
            ReviewDecision(
                "x", tariff_id="T1", started_at=START, meter_start_wh=1, meter_stop_wh=10**13
            ),
            "ended_at",
        ),
    ],
)
async def test_decide__values_that_cannot_be_billed__refused_and_nothing_logged(
    rig: Rig, decision: ReviewDecision, field: str
) -> None:
    await rig.hear(V1, event(E, 60, 5000, number="77"))
    entries = len(rig.memory.entries)
    with pytest.raises(InvalidInput) as caught:
        await decide(rig, decision)
    assert caught.value.field == field
    assert len(rig.memory.entries) == entries
    assert rig.session.state is SessionState.REVIEW


async def test_decide__tariff_that_was_not_valid_then__refused(rig: Rig) -> None:
    later = tariff_from_ocpi({**TARIFF, "start_date_time": "2027-01-01T00:00:00Z"})
    quoted = replace(IN_FORCE.quoted, tariff=later)
    rig.memory.tariffs[STATION_ID] = [TariffInForce(START, quoted)]
    await ended(rig)
    await rig.bill()
    assert rig.anomalies() == ["no_tariff"]
    with pytest.raises(InvalidInput) as caught:
        await decide(rig, ReviewDecision("x"))
    assert caught.value.field == "tariff_id"


async def test_decide__session_that_is_still_open__billed_and_stays_so(rig: Rig) -> None:
    number = await rig.started(start_1_6(0, 1000))
    await rig.started(start_1_6(60, 2000))
    lost = rig.sessions[0].transaction.session_id
    await decide(rig, ReviewDecision("x", meter_stop_wh=1500, ended_at=at(50)), lost)
    assert rig.memory.sessions[lost].state is SessionState.BILLED
    await rig.hear(V1, event(U, 40, 1400, number=number, connector=1))
    assert rig.memory.sessions[lost].state is SessionState.BILLED
    await rig.hear(V1, event(E, 55, 1900, number=number))
    await rig.bill()
    assert rig.memory.sessions[lost].gross_minor == 18
    assert rig.memory.sessions[lost].state is SessionState.BILLED


def test_correction_record__none_without_one() -> None:
    assert correction_record(None) is None


def test_case__knows_its_readings(rig: Rig) -> None:
    assert "events" in BillingCase.__slots__


# Silence ---------------------------------------------------------------------------------------


async def close_silent(rig: Rig, *, manual: bool = False) -> list[LiveEvent]:
    async with rig.memory.work() as work:
        told = await rig.billing.close_silent(work, rig.clock.now(), clock_is_manual=manual)
        await work.commit()
    return told


async def test_silence__a_day_without_a_word__review_until_the_station_speaks(rig: Rig) -> None:
    number = await rig.started(start_1_6(0, 1000))
    rig.clock.advance(SILENT_AFTER.total_seconds())
    assert await close_silent(rig) == [], "a day is not over yet"
    rig.clock.advance(1)
    assert await close_silent(rig) == [LiveEvent("session", rig.session.transaction.session_id)]
    assert (rig.session.state, rig.anomalies()) == (SessionState.REVIEW, ["silent"])
    assert [r["code"] for r in rig.records("anomaly")] == ["silent"]
    assert await close_silent(rig) == [], "once"
    await rig.hear(V1, event(U, 10, 1200, number=number, connector=1))
    assert (rig.session.state, rig.anomalies()) == (SessionState.CHARGING, [])


async def test_silence__the_stop_comes_after_all__billed(rig: Rig) -> None:
    number = await rig.started(start_1_6(0, 1000))
    rig.clock.advance(2 * SILENT_AFTER.total_seconds())
    await close_silent(rig)
    rig.restart()
    await rig.hear(V1, event(E, 30, 1500, number=number))
    await rig.bill()
    assert (rig.session.state, rig.anomalies()) == (SessionState.BILLED, [])


async def test_silence__clock_moved_by_hand__nothing_closes(rig: Rig) -> None:
    await rig.started(start_1_6(0, 1000))
    rig.clock.advance(30 * SILENT_AFTER.total_seconds())
    assert await close_silent(rig, manual=True) == []
    assert rig.session.state is SessionState.CHARGING


async def test_silence__ended_or_refused_sessions__left_alone(rig: Rig) -> None:
    await ended(rig)
    await rig.started(start_1_6(60, 2000, token="XYZ"))
    rig.clock.advance(2 * SILENT_AFTER.total_seconds())
    assert await close_silent(rig) == []
    assert Anomaly.SILENT not in rig.sessions[1].transaction.anomalies
