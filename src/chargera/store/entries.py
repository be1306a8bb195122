"""Log entries in the committing transaction: numbered, committed to, written.

The row lock on `log_head` orders all writers, so an index is known and dense at commit; it is
taken last, for as long as the writing of the entries takes. Index and number of an entry are the
database's to tell, and it puts them in: so that lock, entries and commit are one round trip.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from chargera.app.ports import Entropy, NewEntry
from chargera.proofs.entry import SALT_BYTES, Envelope, around_number, commit
from chargera.store import binary
from chargera.store.columns import BYTEA, INT8, TIME, WORD, Column, Table
from chargera.store.pipeline import Call, Rows, Statement

_RESERVE = Statement(
    "reserve",
    "update log_head set size = size + $1 returning size - $1",
    (binary.INT8.oid,),
)


class _Row(NamedTuple):
    """An entry without the numbers that only the database knows."""

    place: int
    """Among the entries that are written together; the last is at -1."""
    kind: str
    station_id: str | None
    station_place: int | None
    """Among those of its station, from 1."""
    session_id: str | None
    received_at: Any
    before: bytes
    """The envelope up to its `seq`."""
    after: bytes
    """The envelope from there on."""
    record: bytes
    salt: bytes


# A station's number is read from the log itself, under the log's lock: a counter in the station's
# row would have two writers wait for each other, one that changes a registration and one that
# holds the log. `offset 0`: once an entry, not once for each use.
_INSERT = Table(
    "entries",
    "insert into log_entry (log_index, kind, station_id, station_seq, session_id, received_at,"
    " entry, record, salt)"
    " select h.size + v.place, v.kind, v.station_id, n.seq, v.session_id, v.received_at,"
    " v.before || convert_to(coalesce(n.seq::text, 'null'), 'UTF8') || v.after, v.record, v.salt"
    " from log_head h cross join {rows} cross join lateral ("
    "  select v.station_place + coalesce((select e.station_seq from log_entry e"
    "   where e.station_id = v.station_id order by e.log_index desc limit 1), 0) as seq"
    "  offset 0) n",
    (
        Column("place", INT8),
        Column("kind", WORD),
        Column("station_id", WORD),
        Column("station_place", INT8),
        Column("session_id", WORD),
        Column("received_at", TIME),
        Column("before", BYTEA),
        Column("after", BYTEA),
        Column("record", BYTEA),
        Column("salt", BYTEA),
    ),
)


def calls(entries: Sequence[NewEntry], entropy: Entropy) -> list[Call]:
    """Return what takes the log's lock, and what writes entries to the places it gives them.

    They must be the last before the commit: the lock is held until then.
    """
    salts = entropy.bytes(SALT_BYTES * len(entries))
    of_station: Counter[str] = Counter()
    rows = []
    for place, entry in enumerate(entries):
        number: int | None = None
        if entry.station_id is not None:
            of_station[entry.station_id] += 1
            number = of_station[entry.station_id]
        salt = salts[SALT_BYTES * place : SALT_BYTES * (place + 1)]
        rows.append(_row(place - len(entries), entry, number, salt))
    return [Call(_RESERVE, [binary.plain_int8(len(entries))]), _INSERT.of(rows)]


def first_index(reserved: Rows) -> int:
    """Return the index of the first entry from what the first of `calls` returned."""
    return binary.integer(reserved[0][0])


def record_bytes(record: Any) -> bytes:
    """Return the canonical bytes of a record.

    For records of the log's profile (ASCII keys, integers, text) sorted orjson output equals
    `proofs.canonical.encode`; a property test holds the two together.
    """
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)


def _row(place: int, entry: NewEntry, number: int | None, salt: bytes) -> _Row:
    record = record_bytes(entry.record)
    before, after = around_number(
        Envelope(entry.kind, entry.station_id, number, entry.received_at, commit(salt, record))
    )
    return _Row(
        place,
        entry.kind,
        entry.station_id,
        number,
        entry.session_id,
        entry.received_at,
        before,
        after,
        record,
        salt,
    )
