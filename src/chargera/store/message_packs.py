"""The message log in packs: the exchanges that share a commit are one compressed row.

Nothing is written more often than exchanges, and those of one commit are much alike: packed, a
tenth of the bytes goes to the database's log and to the disk.

A pack is deflate with a zlib header (RFC 1950) over: the length of the head in four bytes, the
head, all frames, all answers. The head is a JSON list of columns: station ids, times of receipt,
whether inbound, OCPP versions, actions, message ids, outcomes, lengths of frames, lengths of
answers (-1: there is none). Rows of before there were packs are packs of one, not compressed.
"""

import asyncio
import zlib
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from psycopg import AsyncConnection

from chargera.app.admin_ports import MessageFilter
from chargera.app.ports import MessageRow
from chargera.store import binary
from chargera.store.pipeline import Call, Statement

Connection = AsyncConnection[Any]
Moment = tuple[str, datetime]
"""A station and when something of it was received."""

ROWS_MAX = 1_024
"""Exchanges of one pack. A number is its pack's times this, and its place in it."""

LEVEL = 1
"""Fast: higher ones cost more processor time than they save bytes."""

PLAIN = b"\0"
"""How a body begins that is not compressed, which no zlib header does."""

ERASED = "erased"

_LENGTH_BYTES = 4
_READ_AT_ONCE = 16
_ERASED_AT_ONCE = 64
_WINDOW = 4_096
"""Packs that are looked through first, from the newest; each further window is as many times
longer as below. Without one a busy station's whole past would be sorted for its last page."""
_WIDER = 16

_INSERT = Statement(
    "message_pack",
    "insert into ocpp_message_pack (station_ids, body) values ($1, $2)",
    (binary.TEXT.array_oid, binary.BYTEA.oid),
)


class Numbered(NamedTuple):
    """An exchange with its number: unique, and rising with time."""

    number: int
    row: MessageRow


# Writing -----------------------------------------------------------------------------------------


def calls(rows: Sequence[MessageRow]) -> list[Call]:
    """Return what writes exchanges, in order."""
    packs = [rows[place : place + ROWS_MAX] for place in range(0, len(rows), ROWS_MAX)]
    return [Call(_INSERT, [_stations(pack), packed(pack)]) for pack in packs]


def _stations(rows: Sequence[MessageRow]) -> bytes:
    stations = dict.fromkeys([row[0] for row in rows])
    return binary.array(binary.TEXT, [*map(binary.word, stations)])


def packed(rows: Sequence[MessageRow]) -> bytes:
    """Return the body of a pack of at least one exchange."""
    stations, times, inbound, versions, actions, ids, frames, answers, outcomes = zip(
        *rows, strict=True
    )
    sizes = [*map(len, frames)]
    answer_sizes = [-1 if answer is None else len(answer) for answer in answers]
    head = orjson.dumps(
        (stations, times, inbound, versions, actions, ids, outcomes, sizes, answer_sizes)
    )
    length = len(head).to_bytes(_LENGTH_BYTES)
    return zlib.compress(b"".join((length, head, *frames, *filter(None, answers))), LEVEL)


# Reading -----------------------------------------------------------------------------------------


def unpacked(body: bytes) -> Iterator[MessageRow]:
    """Yield the exchanges of a pack in order."""
    content = _content(body)
    place = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES])
    *columns, sizes, answer_sizes = orjson.loads(content[_LENGTH_BYTES:place])
    answer_at = place + sum(sizes)
    for station, at, inbound, version, action, message_id, outcome, size, answer_size in zip(
        *columns, sizes, answer_sizes, strict=True
    ):
        frame, place = content[place : place + size], place + size
        answer = None
        if answer_size >= 0:
            answer = content[answer_at : answer_at + answer_size]
            answer_at += answer_size
        received_at = datetime.fromisoformat(at).astimezone(UTC)
        yield MessageRow(
            station, received_at, inbound, version, action, message_id, frame, answer, outcome
        )


def _content(body: bytes) -> bytes:
    return body[1:] if body.startswith(PLAIN) else zlib.decompress(body)


async def newest(connection: Connection, station_id: str, wanted: MessageFilter) -> list[Numbered]:
    """Return a station's exchanges, newest first."""
    cursor = await connection.execute("select coalesce(max(pack_no), 0) from ocpp_message_pack")
    ((upper,),) = await cursor.fetchall()
    if wanted.before is not None:
        upper = min(upper, (wanted.before - 1) // ROWS_MAX)
    floor = 0 if wanted.after is None else wanted.after // ROWS_MAX - 1
    width, found = _WINDOW, list[Numbered]()
    lower = max(upper - width, floor)
    while upper > floor and len(found) < wanted.limit:
        cursor = await connection.execute(
            "select pack_no, body from ocpp_message_pack where station_ids @> array[%s]"
            " and pack_no > %s and pack_no <= %s order by pack_no desc limit %s",
            [station_id, lower, upper, _READ_AT_ONCE],
        )
        packs = await cursor.fetchall()
        for pack_no, body in packs:
            found += _of_pack(pack_no, body, station_id, wanted)
        if len(packs) == _READ_AT_ONCE:
            upper = packs[-1][0] - 1
        else:
            width *= _WIDER
            upper, lower = lower, max(lower - width, floor)
    return found[: wanted.limit]


def _of_pack(pack_no: int, body: bytes, station_id: str, wanted: MessageFilter) -> list[Numbered]:
    found = [
        Numbered(number, row)
        for number, row in enumerate(unpacked(body), pack_no * ROWS_MAX)
        if row.station_id == station_id
        and (wanted.before is None or number < wanted.before)
        and (wanted.after is None or number > wanted.after)
        and wanted.action in (None, row.action)
        and wanted.inbound in (None, row.inbound)
        and wanted.ok in (None, row.outcome == "ok")
    ]
    return found[::-1]


# Erasing -----------------------------------------------------------------------------------------


async def erase(
    connection: Connection, needles: Collection[bytes], moments: Collection[Moment]
) -> None:
    """Forget the content of exchanges that hold a needle, in any case, or came at a moment.

    `needles` are in small letters. Every pack is looked at, which takes a while.
    """
    last = 0
    while True:
        cursor = await connection.execute(
            "select pack_no, body from ocpp_message_pack where pack_no > %s"
            " order by pack_no limit %s",
            [last, _ERASED_AT_ONCE],
        )
        packs = await cursor.fetchall()
        if not packs:
            return
        last = packs[-1][0]
        for pack_no, body in await asyncio.to_thread(_without, packs, needles, moments):
            await connection.execute(
                "update ocpp_message_pack set body = %s where pack_no = %s", [body, pack_no]
            )


def _without(
    packs: Sequence[tuple[int, bytes]], needles: Collection[bytes], moments: Collection[Moment]
) -> list[tuple[int, bytes]]:
    """Return those packs of which something is erased, as they are afterwards."""
    changed = []
    for pack_no, body in packs:
        rows = [*unpacked(body)]
        kept = [
            row._replace(frame=b"", answer=None, outcome=ERASED)
            if (row.station_id, row.received_at) in moments
            or _holds(row.frame, needles)
            or _holds(row.answer or b"", needles)
            else row
            for row in rows
        ]
        if kept != rows:
            changed.append((pack_no, packed(kept)))
    return changed


def _holds(data: bytes, needles: Collection[bytes]) -> bool:
    small = data.lower()
    return any(needle in small for needle in needles)
