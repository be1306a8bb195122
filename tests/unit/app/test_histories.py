"""Whatever way the news of a station's sessions arrives, the same sessions and bills come out."""

from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargera.app.ports import KnownIdToken
from chargera.app.testing import MemoryDatabase
from chargera.domain.messages import IdTokenRef
from chargera.domain.metering import assemble
from chargera.domain.station import OcppVersion
from chargera.proofs.entry import EntryKind
from tests.histories import (
    CLOCKLESS,
    CONTRADICTED,
    IN_FORCE,
    NEVER_BILLED,
    STATION,
    STATION_ID,
    Csms,
    Delivery,
    Fault,
    History,
    Outcome,
    clean_delivery,
    histories,
    noisy_delivery,
    spoil,
)

VERSIONS = [OcppVersion.V1_6, OcppVersion.V2_0_1]


def memory() -> MemoryDatabase:
    database = MemoryDatabase()
    database.stations[STATION_ID] = STATION
    database.tariffs[STATION_ID] = [IN_FORCE]
    for value in ("ABC", "DEF"):
        ref = IdTokenRef(value, "ISO14443")
        database.id_tokens[ref.key] = [KnownIdToken(ref, False, None, None)]
    return database


async def outcomes(history: History, delivery: Delivery) -> Counter[tuple[int | None, Outcome]]:
    """Return what came of each session, known by its first register."""
    database, _ = await lived(history, delivery)
    found: Counter[tuple[int | None, Outcome]] = Counter()
    for session_id, row in database.sessions.items():
        transaction, events = database.remember(session_id)
        metering = assemble(events, numbered=transaction.is_numbered, time_zone="UTC")
        assert metering.energy_wh is None or metering.energy_wh >= 0
        outcome = Outcome(str(row.state), metering.energy_wh, row.gross_minor)
        found[transaction.meter_start_wh, outcome] += 1
    return found


async def lived(history: History, delivery: Delivery) -> tuple[MemoryDatabase, Csms]:
    """Return the database after all of a history has arrived."""
    database = memory()
    csms = Csms(database)
    await csms.receive(history, delivery)
    check_books(database)
    return database, csms


def check_books(database: MemoryDatabase) -> None:
    """One start, one end and at most one standing bill of each session."""
    rows = [row.transaction for row in database.sessions.values()]
    starts = Counter(entry.session_id for entry in database.of_kind(EntryKind.SESSION_STARTED))
    ends = Counter(entry.session_id for entry in database.of_kind(EntryKind.SESSION_ENDED))
    assert starts == Counter(row.session_id for row in rows if row.started)
    assert ends == Counter(row.session_id for row in rows if row.ended)
    bills: Counter[str] = Counter()
    for cdr in database.cdrs:
        bills[cdr.session_id] += -1 if cdr.is_credit else 1
    assert set(bills.values()) <= {1}


@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
async def test_news_in_any_order_repeated_over_restarts__same_sessions_and_bills(
    version: OcppVersion, data: st.DataObject
) -> None:
    history = data.draw(histories(version))
    seed = data.draw(st.integers(0, 2**32))
    clean = await outcomes(history, clean_delivery(history))
    assert {outcome.state for _, outcome in clean} == {"billed"}
    assert await outcomes(history, noisy_delivery(history, Random(seed))) == clean


@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
async def test_transaction_ids_reused_after_reboots__strangers_are_never_merged(
    data: st.DataObject,
) -> None:
    history = data.draw(histories(OcppVersion.V2_0_1, reuse=True))
    seed = data.draw(st.integers(0, 2**32))
    clean = await outcomes(history, clean_delivery(history))
    assert clean.total() == len(history.sessions)
    # A station does not tell of a session before it has told of most of the one before.
    assert await outcomes(history, noisy_delivery(history, Random(seed), reach=2.0)) == clean


@pytest.mark.parametrize("version", VERSIONS)
@given(data=st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
async def test_news_of_faulty_sessions__each_is_one_session_and_its_bill_or_a_review(
    version: OcppVersion, data: st.DataObject
) -> None:
    history = data.draw(histories(version))
    for session in history.sessions:
        spoil(session, data.draw(st.sampled_from(list(Fault))), version)
    seed = data.draw(st.integers(0, 2**32))
    clean = await by_session(history, clean_delivery(history))
    noisy = await by_session(history, noisy_delivery(history, Random(seed)))
    assert noisy.keys() == clean.keys()
    for place, outcome in noisy.items():
        session, was = history.sessions[place], clean[place]
        assert session.fault is not None
        if session.fault in NEVER_BILLED:
            assert outcome.state in {was.state, "review"} - {"billed"}, session
        elif outcome.state == "review":
            continue
        elif session.fault in CONTRADICTED:
            assert outcome.state == "billed"
        else:
            assert outcome.state == was.state == "billed", session
            assert was.energy_wh == outcome.energy_wh
            assert session.fault in CLOCKLESS or outcome == was, session


async def by_session(history: History, delivery: Delivery) -> dict[int, Outcome]:
    """Return what came of each session of the history; there are no others."""
    database, csms = await lived(history, delivery)
    version = history.version
    places = {csms.numbers.get(s.place, f"77{s.place}"): s.place for s in history.sessions}
    if version is not OcppVersion.V1_6:
        places = {s.number: s.place for s in history.sessions}
    found: dict[int, Outcome] = {}
    for session_id, row in database.sessions.items():
        transaction, events = database.remember(session_id)
        place = places[transaction.transaction_id]
        if history.sessions[place].fault is Fault.CLOCK_BACK and not transaction.started:
            continue  # a value from before the start may be of an earlier use of the id
        assert place not in found, "one transaction, one session"
        metering = assemble(events, numbered=transaction.is_numbered, time_zone="UTC")
        assert metering.energy_wh is None or metering.energy_wh >= 0
        found[place] = Outcome(str(row.state), metering.energy_wh, row.gross_minor)
    return found
