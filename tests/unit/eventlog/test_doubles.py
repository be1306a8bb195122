"""The doubles of the log's ports keep the contracts that they stand for."""

import pytest

from chargera.app.log_testing import Faults, MemoryLease, MemoryLogStore
from tests.unit.eventlog.store_contract import LogStoreContract


class TestMemoryLogStore(LogStoreContract):
    @pytest.fixture
    def store(self) -> MemoryLogStore:
        return MemoryLogStore()

    @pytest.fixture
    def append(self, store: MemoryLogStore):
        async def appended(count: int) -> list[bytes]:
            first = len(store.entries)
            store.entries += [b"entry %d" % n for n in range(first, first + count)]
            return store.entries[first:]

        return appended


async def test_a_lease_has_one_holder() -> None:
    holders: list[MemoryLease] = []
    first, second = MemoryLease(holders), MemoryLease(holders)
    assert await first.acquire()
    assert await first.acquire()
    assert not await second.acquire()
    await second.release()
    assert await first.is_held()
    await first.release()
    assert await second.acquire()
    assert not await first.is_held()


@pytest.mark.parametrize("after", [False, True])
def test_a_fault_strikes_once_before_or_after_the_effect(after: bool) -> None:
    faults, effects = Faults(2, after=after), []
    for number in range(1, 4):
        try:
            with faults.around(f"call {number}"):
                effects.append(number)
        except OSError:
            assert number == 2
    assert effects == ([1, 2, 3] if after else [1, 3])
    assert faults.struck
    assert not Faults().struck
