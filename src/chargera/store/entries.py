"""Log entries in the committing transaction: numbered, committed to, written.

The row lock on `log_head` orders all writers, so an index is known and dense at commit; it is
taken last, for as long as the writing of the entries takes.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from psycopg import AsyncConnection

from chargera.app.ports import Entropy, NewEntry
from chargera.proofs.entry import SALT_BYTES, Envelope, commit, envelope_bytes
from chargera.store import copy

_COLUMNS = "log_index, kind, station_id, station_seq, session_id, received_at, entry, record, salt"


async def append(
    connection: AsyncConnection[Any], entries: Sequence[NewEntry], entropy: Entropy
) -> int:
    """Write the entries in order and return the index of the first.

    Must be the last write before the commit: it holds the log's lock until then.
    """
    cursor = await connection.execute(
        "update log_head set size = size + %s returning size", [len(entries)]
    )
    row = await cursor.fetchone()
    assert row is not None, "the schema makes the only row of log_head"
    first: int = row[0] - len(entries)
    numbers = await _station_numbers(connection, entries)
    stream = copy.rows(
        9,
        (
            _encoded(first + place, entry, numbers, entropy.bytes(SALT_BYTES))
            for place, entry in enumerate(entries)
        ),
    )
    await copy.into(connection, f"log_entry ({_COLUMNS})", stream)
    return first


def record_bytes(record: Any) -> bytes:
    """Return the canonical bytes of a record.

    For records of the log's profile (ASCII keys, integers, text) sorted orjson output equals
    `proofs.canonical.encode`; a property test holds the two together.
    """
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)


async def _station_numbers(
    connection: AsyncConnection[Any], entries: Sequence[NewEntry]
) -> dict[str, int]:
    """Return the last number that each station's entries have.

    Read from the log itself, under the log's lock: a counter in the station's row would have two
    writers wait for each other, one that changes a registration and one that holds the log.
    """
    station_ids = {entry.station_id for entry in entries if entry.station_id is not None}
    if not station_ids:
        return {}
    cursor = await connection.execute(
        "select v.station_id, coalesce((select e.station_seq from log_entry e"
        " where e.station_id = v.station_id order by e.log_index desc limit 1), 0)"
        " from unnest(%s::text[]) as v(station_id)",
        [list(station_ids)],
    )
    return dict(await cursor.fetchall())


def _encoded(log_index: int, entry: NewEntry, numbers: dict[str, int], salt: bytes) -> bytes:
    record = record_bytes(entry.record)
    number: int | None = None
    if entry.station_id is not None:
        number = numbers[entry.station_id] = numbers[entry.station_id] + 1
    envelope = envelope_bytes(
        Envelope(entry.kind, entry.station_id, number, entry.received_at, commit(salt, record))
    )
    return b"".join(
        (
            copy.int8(log_index),
            copy.text(entry.kind),
            copy.text(entry.station_id),
            copy.int8(number),
            copy.text(entry.session_id),
            copy.timestamp(entry.received_at),
            copy.bytea(envelope),
            copy.bytea(record),
            copy.bytea(salt),
        )
    )
