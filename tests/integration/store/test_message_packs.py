"""The message log in the database: a station's newest exchanges, however old, and erasing some."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from chargera.app.admin_ports import MessageFilter
from chargera.app.ports import MessageRow
from chargera.store import message_packs, pipeline
from chargera.store.connection import Connection, connect

AT = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
PACKS = message_packs._WINDOW + 40


def row(station_id: str, message_id: str, frame: bytes = b"[2]", minute: int = 0) -> MessageRow:
    at = AT + timedelta(minutes=minute)
    return MessageRow(station_id, at, True, "1.6", "Heartbeat", message_id, frame, b"[3]", "ok")


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    async with await connect(database_url) as opened:
        yield opened


async def write(connection: Connection, *packs: list[MessageRow]) -> None:
    calls = [call for pack in packs for call in message_packs.calls(pack)]
    await pipeline.run(connection, [*calls, pipeline.COMMIT])


async def ids(connection: Connection, station_id: str, wanted: MessageFilter) -> list[str | None]:
    found = await message_packs.newest(connection, station_id, wanted)
    assert [number for number, _ in found] == sorted({number for number, _ in found}, reverse=True)
    return [row.message_id for _, row in found]


async def test_newest__of_many_packs__are_found_page_by_page(connection: Connection) -> None:
    old = [[row("OLD", "1"), row("BUSY", "a"), row("OLD", "2")]]
    busy = [[row("BUSY", str(number))] for number in range(PACKS)]
    await write(connection, *old, *busy)

    assert await ids(connection, "OLD", MessageFilter()) == ["2", "1"]
    assert await ids(connection, "NONE", MessageFilter()) == []
    newest = [str(number) for number in reversed(range(PACKS))]
    page = MessageFilter(limit=50)
    assert await ids(connection, "BUSY", page) == newest[:50]
    [*_, (last, _)] = await message_packs.newest(connection, "BUSY", page)
    assert await ids(connection, "BUSY", MessageFilter(before=last, limit=50)) == newest[50:100]
    everything = MessageFilter(limit=2 * PACKS)
    assert await ids(connection, "BUSY", everything) == [*newest, "a"]
    first = (await message_packs.newest(connection, "OLD", page))[-1].number
    assert await ids(connection, "OLD", MessageFilter(before=first + 1)) == ["1"]
    assert await ids(connection, "OLD", MessageFilter(before=first)) == []


async def test_erase__what_holds_a_needle_or_came_at_a_moment(connection: Connection) -> None:
    await write(
        connection,
        [row("CP-1", "1", b'{"idTag":"Card"}'), row("CP-1", "2"), row("CP-2", "3", minute=7)],
        *[[row("CP-1", "other")]] * 80,
        [row("CP-1", "4", minute=7), row("CP-2", "5")._replace(answer=b'"CARD"')],
    )
    await message_packs.erase(connection, [b'"card"'], {("CP-2", AT + timedelta(minutes=7))})
    kept = {
        row.message_id: (row.frame, row.answer, row.outcome)
        for station_id in ("CP-1", "CP-2")
        for _, row in await message_packs.newest(connection, station_id, MessageFilter())
    }
    erased, whole = (b"", None, "erased"), (b"[2]", b"[3]", "ok")
    assert kept == {"1": erased, "2": whole, "3": erased, "other": whole, "4": whole, "5": erased}
