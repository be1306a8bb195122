"""The contract of `LogStore`, run over rows in memory here and over PostgreSQL elsewhere."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from chargera.app.log_ports import LogStore, SignedHead
from chargera.domain.errors import Conflict

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def head(size: int, text: str = "note") -> SignedHead:
    return SignedHead(size, f"{text} {size}\n".encode(), START + timedelta(seconds=size))


class LogStoreContract:
    """Fixtures `store` and `append` (a number of entries) are the subclass's."""

    async def test_a_new_log_is_empty(self, store: LogStore) -> None:
        assert await store.size() == 0
        assert list(await store.entries_from(0, 10)) == []
        assert await store.last_head() is None
        assert await store.head_covering(0) is None

    async def test_entries_come_in_order_from_any_index(
        self, store: LogStore, append: Callable[[int], Awaitable[list[bytes]]]
    ) -> None:
        entries = await append(7)
        assert await store.size() == 7
        assert list(await store.entries_from(0, 100)) == entries
        assert list(await store.entries_from(2, 3)) == entries[2:5]
        assert list(await store.entries_from(6, 3)) == entries[6:]
        assert list(await store.entries_from(7, 3)) == []
        entries += await append(2)
        assert list(await store.entries_from(6, 3)) == entries[6:9]

    async def test_heads_are_found_by_what_they_cover(self, store: LogStore) -> None:
        for size in (5, 2, 9):
            await store.add_head(head(size))
        assert await store.last_head() == head(9)
        assert await store.head_covering(0) == head(2)
        assert await store.head_covering(1) == head(2)
        assert await store.head_covering(2) == head(5)
        assert await store.head_covering(8) == head(9)
        assert await store.head_covering(9) is None

    async def test_the_same_note_again_is_no_change(self, store: LogStore) -> None:
        await store.add_head(head(5))
        later = SignedHead(5, head(5).note, START + timedelta(days=1))
        await store.add_head(later)
        assert await store.last_head() == head(5)

    async def test_another_note_of_that_size_is_a_conflict(self, store: LogStore) -> None:
        await store.add_head(head(5))
        with pytest.raises(Conflict):
            await store.add_head(head(5, "fork"))
        assert await store.last_head() == head(5)
