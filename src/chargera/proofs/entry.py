"""The public log entry: an envelope that commits to a private record without showing it.

Its canonical bytes are what the tree hashes. The record stays with whoever may read it, together
with a random salt; erasing both leaves the log verifiable and the commitment unreadable.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import unique
from functools import lru_cache

from chargera.domain.errors import InvalidInput, Unreadable, Unsupported
from chargera.domain.word import Word
from chargera.proofs import canonical

SCHEMA = "chargera.entry/1"

ENTRY_BYTES_MAX = 65_535
"""An entry bundle carries lengths as uint16 (C2SP tlog-tiles)."""

RECORD_BYTES_MAX = 2**20
SALT_BYTES = 32
STATION_CHARS_MAX = 255

_COMMITMENT_DOMAIN = b"chargera.commitment/1\n"
_MEMBERS = {"v", "kind", "station", "seq", "received_at", "commitment"}
_DIGEST = re.compile(r"[0-9a-f]{64}")


@unique
class EntryKind(Word):
    """What an entry records."""

    NETWORK_CREATED = "network_created"
    STATION_REGISTERED = "station_registered"
    STATION_CHANGED = "station_changed"
    STATION_COMMAND = "station_command"
    AUTHORIZE = "authorize"
    SESSION_STARTED = "session_started"
    SESSION_ENDED = "session_ended"
    SIGNED_VALUE = "signed_value"
    METER_VALUE_LATE = "meter_value_late"
    CDR = "cdr"
    CREDIT_CDR = "credit_cdr"
    TARIFF_PUBLISHED = "tariff_published"
    TARIFF_ASSIGNED = "tariff_assigned"
    SEQUENCE_HOLE = "sequence_hole"
    ANOMALY = "anomaly"
    DEVIATION = "deviation"
    SECURITY_EVENT = "security_event"
    OPERATOR_CORRECTION = "operator_correction"
    RECORD_ERASED = "record_erased"
    ID_TOKEN_CHANGED = "id_token_changed"  # noqa: S105  # a kind of entry, no secret
    ACCESS_CHANGED = "access_changed"
    KEY_CHANGED = "key_changed"
    POLICY_CHANGED = "policy_changed"
    ONBOARDING = "onboarding"
    PASSPORT_REGISTERED = "passport_registered"
    CUSTODY = "custody"
    PAYMENT = "payment"
    BATCH = "batch"
    JOURNAL_HEAD = "journal_head"
    PROTOCOL_TESTED = "protocol_tested"


_KINDS = {kind.value: kind for kind in EntryKind}


@dataclass(frozen=True, slots=True)
class Envelope:
    """What everybody may see of an entry.

    `seq` numbers the entries of one station from 1 without holes; an entry that concerns no
    station has neither. `received_at` is this side's clock, UTC, in whole milliseconds.
    """

    kind: EntryKind
    station: str | None
    seq: int | None
    received_at: datetime
    commitment: bytes

    def __post_init__(self) -> None:
        """Raise InvalidInput, naming the member that is out of its range."""
        if (self.station is None) != (self.seq is None):
            raise InvalidInput("seq: a station and its number go together", field="seq")
        if self.station is not None and not 0 < len(self.station) <= STATION_CHARS_MAX:
            raise InvalidInput(
                f"station: must have 1 to {STATION_CHARS_MAX} characters",
                field="station",
            )
        if self.seq is not None and not 0 < self.seq < canonical.INTEGER_LIMIT:
            raise InvalidInput("seq: counts from 1", field="seq")
        if self.received_at.utcoffset() != timedelta(0):
            raise InvalidInput("received_at: must be an aware UTC time", field="received_at")
        if self.received_at.microsecond % 1000:
            raise InvalidInput("received_at: must be in whole milliseconds", field="received_at")
        if len(self.commitment) != hashlib.sha256().digest_size:
            raise InvalidInput("commitment: must have 32 bytes", field="commitment")


def commit(salt: bytes, record: bytes) -> bytes:
    """Return the 32-byte commitment to `record` under `salt` (32 random bytes, used once).

    SHA-256 over a domain line, the salt and the record. Without the salt a short record, such as
    the identifier of an RFID card, cannot be found by trying all of them.

    Raises InvalidInput if the salt has another length or the record is over 1 MiB.
    """
    if len(salt) != SALT_BYTES:
        raise InvalidInput(f"salt: must have {SALT_BYTES} bytes", field="salt")
    if len(record) > RECORD_BYTES_MAX:
        raise InvalidInput(f"record: over {RECORD_BYTES_MAX} bytes", field="record")
    return hashlib.sha256(_COMMITMENT_DOMAIN + salt + record).digest()


def envelope_bytes(envelope: Envelope) -> bytes:
    """Return the canonical bytes of `envelope`: the log entry itself; see `canonical.encode`."""
    before, after = around_number(envelope)
    return before + (b"null" if envelope.seq is None else b"%d" % envelope.seq) + after


def around_number(envelope: Envelope) -> tuple[bytes, bytes]:
    """Return what stands before and after the value of `seq` in the bytes of `envelope`.

    Put together by hand, because the server does it for every entry; the number is the log's to
    tell, when the entry is in it.
    """
    before = (
        f'{{"commitment":"{envelope.commitment.hex()}","kind":"{envelope.kind}",'
        f'"received_at":"{_time_text(envelope.received_at)}","seq":'
    )
    return (
        before.encode(),
        f',"station":{_station_text(envelope.station)},"v":"{SCHEMA}"}}'.encode(),
    )


@lru_cache(maxsize=8_192)
def _station_text(station: str | None) -> str:
    return canonical.encode(station).decode()


def parse_envelope(entry: bytes) -> Envelope:
    """Return the envelope whose canonical bytes are `entry`.

    Raises Unsupported for a later schema or a kind that is not known here (the leaf still
    verifies: to the tree an entry is opaque), Unreadable for anything else that
    `envelope_bytes` would not have written.
    """
    if len(entry) > ENTRY_BYTES_MAX:
        raise Unreadable(f"entry: over {ENTRY_BYTES_MAX} bytes")
    members = canonical.decode(entry)
    if not isinstance(members, dict):
        raise Unreadable("entry: must be an object")
    schema = members.get("v")
    if isinstance(schema, str) and schema != SCHEMA:
        raise Unsupported(f"v: {schema!r} is not {SCHEMA}", field="v")
    if members.keys() != _MEMBERS:
        odd = ", ".join(sorted(members.keys() ^ _MEMBERS))
        raise Unreadable(f"entry: missing or unknown: {odd}")
    match members:
        case {
            "v": str(),
            "kind": str(kind),
            "station": str() | None as station,
            "seq": int() | None as seq,
            "received_at": str(received_at),
            "commitment": str(commitment),
        } if not isinstance(seq, bool):
            pass
        case _:
            raise Unreadable("entry: a member has the wrong type")
    if kind not in _KINDS:
        raise Unsupported(f"kind: {kind!r} is not known", field="kind")
    if not _DIGEST.fullmatch(commitment):
        raise Unreadable("commitment: must be 64 lower-case hex digits", field="commitment")
    try:
        return Envelope(
            kind=_KINDS[kind],
            station=station,
            seq=seq,
            received_at=_time(received_at),
            commitment=bytes.fromhex(commitment),
        )
    except InvalidInput as error:
        raise Unreadable(error.message, field=error.field) from None


@lru_cache(maxsize=1_024)
def _time_text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    # Reading is lenient about ISO 8601; only what reads back as itself is our form.
    if time is None or _time_text(time) != text:
        raise Unreadable(
            "received_at: must look like 2026-01-31T08:00:00.000Z", field="received_at"
        )
    return time
