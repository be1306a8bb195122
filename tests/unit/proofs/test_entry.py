"""The public envelope: one form only, and a commitment that binds salt and record."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput, Unreadable, Unsupported
from chargera.proofs import canonical
from chargera.proofs.entry import (
    ENTRY_BYTES_MAX,
    RECORD_BYTES_MAX,
    EntryKind,
    Envelope,
    around_number,
    commit,
    envelope_bytes,
    parse_envelope,
)

SALT = bytes(range(32))
ENVELOPE = Envelope(
    kind=EntryKind.CDR,
    station="CE-0001",
    seq=7,
    received_at=datetime(2026, 1, 31, 8, 0, 0, 5000, tzinfo=UTC),
    commitment=commit(SALT, b"{}"),
)
ENTRY = envelope_bytes(ENVELOPE)

ENVELOPES = st.builds(
    lambda kind, of_station, received_at, commitment: Envelope(
        kind,
        *of_station,
        received_at.replace(microsecond=received_at.microsecond // 1000 * 1000),
        commitment,
    ),
    st.sampled_from(EntryKind),
    st.just((None, None))
    | st.tuples(
        st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=48),
        st.integers(1, 2**53 - 1),
    ),
    st.datetimes(timezones=st.just(UTC)),
    st.binary(min_size=32, max_size=32),
)


def with_members(**changes: object) -> bytes:
    members = canonical.decode(ENTRY)
    assert isinstance(members, dict)
    return canonical.encode(members | changes)


def test_envelope_bytes__known_value__exact_bytes():
    assert (
        b'{"commitment":"' + ENVELOPE.commitment.hex().encode() + b'","kind":"cdr",'
        b'"received_at":"2026-01-31T08:00:00.005Z","seq":7,"station":"CE-0001",'
        b'"v":"chargera.entry/1"}'
    ) == ENTRY


@given(ENVELOPES)
def test_parse_envelope__any_envelope__comes_back(envelope):
    data = envelope_bytes(envelope)
    assert parse_envelope(data) == envelope
    assert len(data) <= ENTRY_BYTES_MAX


def test_parse_envelope__every_byte_changed_in_every_way__never_the_same_envelope():
    for position in range(len(ENTRY)):
        for difference in range(1, 256):
            data = bytearray(ENTRY)
            data[position] ^= difference
            try:
                envelope = parse_envelope(bytes(data))
            except InvalidInput:
                continue
            assert envelope != ENVELOPE
            assert envelope_bytes(envelope) == data


def test_parse_envelope__every_byte_lost_or_doubled__never_the_same_envelope():
    for position in range(len(ENTRY)):
        for data in (
            ENTRY[:position] + ENTRY[position + 1 :],
            ENTRY[:position] + ENTRY[position : position + 1] + ENTRY[position:],
        ):
            try:
                envelope = parse_envelope(data)
            except InvalidInput:
                continue
            assert envelope != ENVELOPE


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"v": "chargera.entry/2"}, Unsupported),
        ({"kind": "gift"}, Unsupported),
        ({"v": 1}, Unreadable),
        ({"kind": None}, Unreadable),
        ({"note": "x"}, Unreadable),
        ({"seq": None}, Unreadable),
        ({"station": None}, Unreadable),
        ({"station": None, "seq": None, "received_at": None}, Unreadable),
        ({"station": ""}, Unreadable),
        ({"station": "x" * 256}, Unreadable),
        ({"station": 1}, Unreadable),
        ({"seq": 0}, Unreadable),
        ({"seq": -1}, Unreadable),
        ({"seq": True}, Unreadable),
        ({"seq": "7"}, Unreadable),
        ({"received_at": "2026-01-31T08:00:00.005+00:00"}, Unreadable),
        ({"received_at": "2026-01-31T09:00:00.005+01:00"}, Unreadable),
        ({"received_at": "2026-01-31T08:00:00Z"}, Unreadable),
        ({"received_at": "2026-01-31T08:00:00.005000Z"}, Unreadable),
        ({"received_at": "2026-01-31 08:00:00.005Z"}, Unreadable),
        ({"received_at": "2026-01-31T08:00:00.005"}, Unreadable),
        ({"received_at": "2026-02-31T08:00:00.005Z"}, Unreadable),
        ({"received_at": "20260131T080000.005Z"}, Unreadable),
        ({"commitment": "00"}, Unreadable),
        ({"commitment": "A" * 64}, Unreadable),
        ({"commitment": "\N{ARABIC-INDIC DIGIT ZERO}" * 64}, Unreadable),
    ],
    ids=repr,
)
def test_parse_envelope__member_out_of_form__refused(changes, error):
    with pytest.raises(error):
        parse_envelope(with_members(**changes))


@pytest.mark.parametrize("entry", [b"", b"[]", b"{}", b"null", b'{"v":"chargera.entry/1"}', b" "])
def test_parse_envelope__no_envelope__unreadable(entry):
    with pytest.raises(Unreadable):
        parse_envelope(entry)


def test_parse_envelope__too_long__unreadable_before_it_is_read():
    with pytest.raises(Unreadable, match="over 65535 bytes"):
        parse_envelope(b"[" * (ENTRY_BYTES_MAX + 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": None},
        {"station": None},
        {"seq": 2**53},
        {"received_at": datetime(2026, 1, 31)},
        {"received_at": datetime(2026, 1, 31, tzinfo=timezone(timedelta(hours=1)))},
        {"received_at": datetime(2026, 1, 31, 0, 0, 0, 1, tzinfo=UTC)},
        {"commitment": b""},
    ],
    ids=repr,
)
def test_envelope__impossible_value__refused_by_name(changes):
    with pytest.raises(InvalidInput) as caught:
        replace(ENVELOPE, **changes)
    assert caught.value.field in {"seq", "received_at", "commitment"}


def test_commit__known_input__sha256_over_domain_salt_record():
    expected = hashlib.sha256(b"chargera.commitment/1\n" + SALT + b"record").digest()
    assert commit(SALT, b"record") == expected
    assert commit(SALT[::-1], b"record") != expected
    assert commit(SALT, b"recorD") != expected


def test_commit__limits__are_exact():
    commit(SALT, bytes(RECORD_BYTES_MAX))
    with pytest.raises(InvalidInput, match="record"):
        commit(SALT, bytes(RECORD_BYTES_MAX + 1))
    for salt in (b"", SALT[1:], SALT + b"x"):
        with pytest.raises(InvalidInput, match="salt"):
            commit(salt, b"")


def test_entry_kind__values__are_the_published_ones():
    published = """station_registered station_changed authorize session_started session_ended
        signed_value cdr credit_cdr tariff_published tariff_assigned sequence_hole
        anomaly deviation security_event station_command operator_correction record_erased
        key_changed policy_changed meter_value_late id_token_changed access_changed
        network_created onboarding passport_registered custody payment batch journal_head
        protocol_tested"""
    assert {kind.value for kind in EntryKind} == set(published.split())


@pytest.mark.parametrize("station", ["CP-é", 'CP-"1"', None])
def test_around_number__with_the_number_between__is_the_entry(station):
    envelope = replace(ENVELOPE, station=station, seq=None if station is None else 12_345)
    before, after = around_number(envelope)
    assert before + (b"null" if station is None else b"12345") + after == canonical.encode(
        canonical.decode(envelope_bytes(envelope))
    )
