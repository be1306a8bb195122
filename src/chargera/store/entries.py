"""Log entries in the committing transaction: numbered, committed to, written.

The row lock on `log_head` orders all writers, so an index is known and dense at commit; it is
taken last, for as long as the writing of the entries takes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from chargera.app.ports import Entropy, NewEntry
from chargera.proofs.entry import SALT_BYTES, Envelope, commit, envelope_bytes
from chargera.store import binary
from chargera.store.columns import BYTEA, INT8, TIME, WORD, Column, Table
from chargera.store.pipeline import Call, Rows, Statement

_RESERVE = Statement(
    "reserve",
    "update log_head set size = size + $1 returning size - $1",
    (binary.INT8.oid,),
)
# Read from the log itself, under the log's lock: a counter in the station's row would have two
# writers wait for each other, one that changes a registration and one that holds the log.
_NUMBERS = Statement(
    "station_numbers",
    "select v.station_id, coalesce((select e.station_seq from log_entry e"
    " where e.station_id = v.station_id order by e.log_index desc limit 1), 0)"
    " from unnest($1) as v(station_id)",
    (binary.TEXT.array_oid,),
)


class _Row(NamedTuple):
    """An entry as it is stored."""

    log_index: int
    kind: str
    station_id: str | None
    station_seq: int | None
    session_id: str | None
    received_at: Any
    entry: bytes
    record: bytes
    salt: bytes


_INSERT = Table(
    "entries",
    f"insert into log_entry ({', '.join(_Row._fields)}) select * from {{rows}}",
    (
        Column("log_index", INT8),
        Column("kind", WORD),
        Column("station_id", WORD),
        Column("station_seq", INT8),
        Column("session_id", WORD),
        Column("received_at", TIME),
        Column("entry", BYTEA),
        Column("record", BYTEA),
        Column("salt", BYTEA),
    ),
)


def reserve(entries: Sequence[NewEntry]) -> list[Call]:
    """Return what takes the log's lock and tells the places of these entries.

    Must be the last writes before those of `insert` and the commit: the lock is held until then.
    """
    stations = {entry.station_id for entry in entries if entry.station_id is not None}
    wanted = binary.array(binary.TEXT, [binary.word(station) for station in stations])
    return [Call(_RESERVE, [binary.plain_int8(len(entries))]), Call(_NUMBERS, [wanted])]


def first_index(reserved: Sequence[Rows]) -> int:
    """Return the index of the first entry from what `reserve` returned."""
    return binary.integer(reserved[0][0][0])


def insert(entries: Sequence[NewEntry], reserved: Sequence[Rows], entropy: Entropy) -> Call:
    """Return what writes entries to the places that `reserve` returned for them."""
    first = first_index(reserved)
    numbers = {
        station.decode(): binary.integer(number)
        for station, number in reserved[1]
        if station is not None
    }
    salts = entropy.bytes(SALT_BYTES * len(entries))
    rows = []
    for place, entry in enumerate(entries):
        salt = salts[SALT_BYTES * place : SALT_BYTES * (place + 1)]
        rows.append(_row(first + place, entry, numbers, salt))
    return _INSERT.of(rows)


def record_bytes(record: Any) -> bytes:
    """Return the canonical bytes of a record.

    For records of the log's profile (ASCII keys, integers, text) sorted orjson output equals
    `proofs.canonical.encode`; a property test holds the two together.
    """
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)


def _row(log_index: int, entry: NewEntry, numbers: dict[str, int], salt: bytes) -> _Row:
    record = record_bytes(entry.record)
    number: int | None = None
    if entry.station_id is not None:
        number = numbers[entry.station_id] = numbers[entry.station_id] + 1
    envelope = envelope_bytes(
        Envelope(entry.kind, entry.station_id, number, entry.received_at, commit(salt, record))
    )
    return _Row(
        log_index,
        entry.kind,
        entry.station_id,
        number,
        entry.session_id,
        entry.received_at,
        envelope,
        record,
        salt,
    )
