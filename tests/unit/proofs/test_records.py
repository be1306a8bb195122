"""Records: their one form, and what is no reading."""

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import Unreadable
from chargera.domain.messages import AuthorizationStatus, ReadingContext, TransactionEventKind
from chargera.domain.passport import CustodyKind
from chargera.domain.pricing import ChargingState
from chargera.domain.settlement import BatchState, Rail
from chargera.domain.station import OcppVersion
from chargera.domain.transaction import SessionEvent, Transaction, recall
from chargera.proofs import canonical, records
from tests.unit.proofs.sample_run import passed_run

AT = datetime(2026, 5, 4, 8, 0, 0, 123_000, tzinfo=UTC)

counts = st.none() | st.integers(-(2**53) + 1, 2**53 - 1)
times = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000, tzinfo=UTC)
)
readings = st.builds(
    SessionEvent,
    st.integers(0, 2**31),
    st.sampled_from(TransactionEventKind),
    st.booleans(),
    times,
    times,
    counts,
    counts,
    counts,
    st.sampled_from(ReadingContext),
    st.none() | st.sampled_from(ChargingState),
)


def reading() -> SessionEvent:
    return SessionEvent(
        0,
        TransactionEventKind.STARTED,
        True,
        AT,
        AT,
        0,
        1000,
        None,
        ReadingContext.BEGIN,
        ChargingState.IDLE,
    )


@given(readings)
def test_event_bytes__the_fast_way__equals_the_canonical_one(event: SessionEvent) -> None:
    encoded = records.event_bytes(event)
    assert encoded == canonical.encode(records.event_record(event))
    assert records.event_from_record(canonical.decode(encoded), field="e") == event  # type: ignore[arg-type] # an object


def test_time_text__any_zone__utc_with_milliseconds() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=2)))
    assert records.time_text(elsewhere) == records.time_text(AT) == "2026-05-04T08:00:00.123Z"
    assert records.time_value("2026-05-04T08:00:00.123Z", field="at") == AT


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "",
        "2026-05-04T08:00:00Z",
        "2026-05-04T08:00:00.123z",
        "2026-05-04 08:00:00.123Z",
        "2026-13-04T08:00:00.123Z",
        "2026-05-04T08:00:00.12+Z",
    ],
)
def test_time_value__another_form__unreadable(text: object) -> None:
    with pytest.raises(Unreadable) as caught:
        records.time_value(text, field="at")
    assert caught.value.field == "at"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("more", 1),
        ("n", None),
        ("n", True),
        ("seq_no", "1"),
        ("register_wh", 1.5),
        ("power_w", []),
        ("own", 1),
        ("kind", "Paused"),
        ("context", "Later"),
        ("charging", "maybe"),
        ("at", "now"),
        ("received_at", 0),
    ],
)
def test_event_from_record__wrong_member__unreadable(member: str, value: Any) -> None:
    with pytest.raises(Unreadable) as caught:
        records.event_from_record({**records.event_record(reading()), member: value}, field="e")
    assert (caught.value.field or "").startswith("e")


def test_events_digest__empty_and_not__of_the_canonical_list() -> None:
    one = records.event_bytes(reading())
    assert records.events_summary([])["digest"] == records.events_digest([])
    assert records.events_digest([one, one]) == records.events_summary([one, one])["digest"]
    assert records.events_digest([one]) != records.events_digest([one, one])


def test_deviation_record__names_the_frame_by_its_digest() -> None:
    record = records.deviation_record("Boot", "1", "too long", b"[]", followed=2)
    assert len(record["frame_sha256"]) == 64
    assert records.authorize_record("ABC", None, "Accepted")["id_token_type"] is None


def transaction() -> Transaction:
    return Transaction("id", "CP-1", 2, 1, OcppVersion.V1_6, "7", 0, AT, AT)


@given(st.lists(readings, max_size=6))
def test_running_summary__equals_the_summary_of_the_list(events: list[SessionEvent]) -> None:
    numbered = [event._replace(n=n) for n, event in enumerate(events)]
    encoded = [records.event_bytes(event) for event in numbered]
    made = transaction()
    recall(made, numbered, b",".join(encoded))
    assert records.running_summary(made) == records.events_summary(encoded)


def test_session_records__their_members() -> None:
    made = transaction()
    made.id_token_status = AuthorizationStatus.ACCEPTED
    made.meter_start_wh, made.meter_stop_wh, made.stop_reason = 5, 9, "Local"
    started = records.session_started_record(
        made, id_token="ABC", offline=True, station_time=AT, tariff={"v": 1}, time_zone="UTC"
    )
    assert started == {
        "connector": 1,
        "evse": 2,
        "id_token": "ABC",
        "id_token_status": "Accepted",
        "meter_start_wh": 5,
        "ocpp_version": "1.6",
        "offline": True,
        "session_id": "id",
        "started_at": "2026-05-04T08:00:00.123Z",
        "station_id": "CP-1",
        "station_time": "2026-05-04T08:00:00.123Z",
        "tariff": {"v": 1},
        "time_zone": "UTC",
        "transaction_id": "7",
    }
    made.id_token_status = None
    bare = records.session_started_record(
        made, id_token=None, offline=False, station_time=AT, tariff=None, time_zone="UTC"
    )
    assert (bare["id_token_status"], bare["tariff"]) == (None, None)
    assert records.session_ended_record(made, ended_at=AT, station_time=AT) == {
        "ended_at": "2026-05-04T08:00:00.123Z",
        "events": {"count": 0, "digest": records.events_digest([])},
        "meter_stop_wh": 9,
        "session_id": "id",
        "station_time": "2026-05-04T08:00:00.123Z",
        "stop_reason": "Local",
        "transaction_id": "7",
    }


def test_every_record__is_within_the_logs_profile() -> None:
    event = SessionEvent(
        0, TransactionEventKind.UPDATED, True, AT, AT, 1, 2, 3, ReadingContext.OTHER, None
    )
    made: list[records.Record] = [
        records.authorize_record("Füße", "ISO14443", "Accepted"),
        records.deviation_record("BootNotification", "m1", "model: too long", b"[2]", followed=0),
        records.late_event_record("id", event),
        records.anomaly_record("id", "7", "register_fell", [3, 5]),
        records.sequence_hole_record("id", "7", 3, 5),
        records.sequence_hole_record("id", "7", 3, 9, scattered=True),
        records.signed_value_record("id", "Other", b"OCMF|\xff", AT),
        records.station_change_record("CP-1", "password", "ada", AT),
        records.tariff_record("T1", 1, "d", {"id": "T1"}, AT),
        records.tariff_assigned_record("CP-1", "T1", 1, "d", AT, "ada"),
        records.id_token_record(
            "ABC", "ISO14443", blocked=False, expires_at=None, login_id=None, by="ada", at=AT
        ),
        records.id_token_record(
            "ABC", "ISO14443", blocked=True, expires_at=AT, login_id="l", by="ada", at=AT
        ),
        records.access_record("login_added", login="bob", role="host", by="ada", at=AT),
        records.access_record(
            "api_key_added", login="b", role="host", by="a", at=AT, api_key="k", scopes={"x"}
        ),
        records.command_record("c", "reset", {"hard": True}, "ada", AT),
        records.command_answer_record("c", None, "no answer", AT),
        records.erasure_record([1, 2], "asked for", "ada", AT),
    ]
    for record in made:
        assert canonical.decode(records.encode(record)) == record
        assert records.encode(record) == orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    assert made[5]["scattered"]


def test_settlement_records__every_member_is_canonical_and_amounts_are_text() -> None:
    word, address = "0x" + "11" * 32, "0x" + "22" * 20
    made = [
        records.onboarding_record(
            station_id="CP-1",
            passport_id=word,
            metadata={"model": "X"},
            host=address,
            commission_bps=3_000,
            meter_key_hash=word,
            station_key_hash=word,
            nonce=word,
            at=AT,
        ),
        records.passport_registered_record(
            station_id="CP-1",
            passport_id=word,
            registration_hash=word,
            transaction_hash=word,
            host=address,
            rated_w=22_000,
            registered_at=AT,
            at=AT,
        ),
        records.payment_record(
            rail=Rail.WALLET,
            session_key="0x" + "33" * 16,
            session_id=None,
            asset=address,
            payer=address,
            gateway=None,
            maximum=2**63,
            transaction_hash=word,
            at=AT,
        ),
        records.payment_record(
            rail=Rail.FIAT,
            session_key="0x" + "33" * 16,
            session_id="s",
            asset=address,
            payer=None,
            gateway=address,
            maximum=None,
            transaction_hash=None,
            at=AT,
        ),
        records.batch_record(
            digest=word,
            asset=address,
            cdr_numbers=(1, 2),
            state=BatchState.PROPOSED,
            transaction_hash=word,
            at=AT,
        ),
        records.journal_head_record(2**47, 5, word, AT),
        records.protocol_tested_record(passed_run()),
    ]
    for record in made:
        assert canonical.decode(records.encode(record)) == record
    assert [record.get("maximum") for record in made[2:4]] == [str(2**63), None]
    assert made[4]["cdr_numbers"] == [1, 2]


def test_custody_record__its_digest_is_that_of_its_canonical_bytes() -> None:
    record = records.custody_record(
        station_id="CP-1",
        passport_id="0x" + "11" * 32,
        number=0,
        kind=CustodyKind.REPAIR,
        value="0x" + "00" * 32,
        note="a cable",
        by="ada",
        at=AT,
    )
    assert record["kind"] == "repair"
    digest = hashlib.sha256(canonical.encode(record)).digest()
    assert records.custody_record_digest(record) == digest
