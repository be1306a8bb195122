"""The sequencer publishes what is due, once, whatever fails or ends between two of its steps."""

import errno
from dataclasses import replace
from datetime import timedelta

import pytest

from chargera.app.log_ports import SignedHead
from chargera.app.log_testing import Faults, MemoryLease
from chargera.domain.errors import Conflict, Refused, Unavailable
from chargera.eventlog.custody import HEAD_FILE
from chargera.eventlog.sequencer import CheckpointPolicy, LeaseTaken
from chargera.proofs.checkpoint import Checkpoint, sign_checkpoint
from tests.unit.eventlog.log_under_test import KEY, ORIGIN, LogUnderTest


@pytest.fixture
def log() -> LogUnderTest:
    return LogUnderTest()


def sizes(log: LogUnderTest) -> list[int]:
    return sorted(log.rows.heads)


# When ------------------------------------------------------------------------------------------


async def test_the_first_entry_is_published_at_once(log: LogUnderTest) -> None:
    await log.sequencer.start()
    await log.sequencer.tick()
    assert sizes(log) == []
    log.append(1)
    await log.sequencer.tick()
    assert sizes(log) == [1]
    log.check()


async def test_news_waits_for_the_interval(log: LogUnderTest) -> None:
    log.append(1)
    await log.sequencer.tick()
    log.append(1)
    log.clock.advance(9.999)
    await log.sequencer.tick()
    assert sizes(log) == [1]
    assert log.sequencer.health.lag_entries == 1
    log.clock.advance(0.001)
    await log.sequencer.tick()
    assert sizes(log) == [1, 2]
    assert log.sequencer.health.lag_entries == 0


async def test_without_news_no_head_is_signed(log: LogUnderTest) -> None:
    log.append(1)
    for _ in range(3):
        await log.publish()
    await log.sequencer.tick(force=True)
    assert sizes(log) == [1]
    assert [head.tree_size for head in log.published] == [1]


async def test_what_is_wanted_now_is_published_now(log: LogUnderTest) -> None:
    log.append(1)
    await log.sequencer.tick()
    log.append(1)
    await log.sequencer.tick(force=True)
    assert sizes(log) == [1, 2]


async def test_an_entry_waits_at_most_two_intervals(log: LogUnderTest) -> None:
    """Promise P2, with a tick a second and an entry every 0.7 s."""
    await log.sequencer.start()
    waiting: dict[int, float] = {}
    longest = 0.0
    for tenth in range(1, 1200):
        log.clock.advance(0.1)
        if tenth % 7 == 0:
            waiting[len(log.rows.entries)] = tenth / 10
            log.append(1)
        if tenth % 10 == 0:
            await log.sequencer.tick()
            published = log.sequencer.published
            for index in [i for i in waiting if published and i < published.size]:
                longest = max(longest, tenth / 10 - waiting.pop(index))
    assert 0 < longest <= 20
    log.check()


async def test_a_backlog_becomes_several_heads_at_once() -> None:
    log = LogUnderTest(policy=CheckpointPolicy(head_entries_max=300, read_entries_max=100))
    log.append(1000)
    await log.sequencer.tick()
    assert sizes(log) == [300, 600, 900, 1000]
    log.check()


async def test_a_clock_that_went_back_does_not_silence_the_log(log: LogUnderTest) -> None:
    """F12: heads go on, one interval after the time that the clock shows now, none back in time."""
    log.append(1)
    await log.publish()
    log.clock.advance(-7200)
    log.restart()
    log.append(1)
    await log.sequencer.tick()
    assert sizes(log) == [1]
    assert log.sequencer.health.lag_s == 0
    log.clock.advance(-1)
    assert log.sequencer.health.lag_s == 0
    log.clock.advance(11)
    await log.sequencer.tick()
    assert sizes(log) == [1, 2]
    assert log.rows.heads[2].signed_at == log.rows.heads[1].signed_at
    log.append(1)
    log.clock.advance(10)
    await log.sequencer.tick()
    assert sizes(log) == [1, 2, 3]


async def test_health_tells_size_and_lag(log: LogUnderTest) -> None:
    health = log.sequencer.health
    assert (health.healthy, health.reason) == (False, "not started")
    log.append(3)
    await log.publish()
    log.append(2)
    await log.sequencer.tick()
    log.clock.advance(4)
    health = log.sequencer.health
    assert health.healthy
    assert (health.log_size, health.published_size, health.lag_entries) == (5, 3, 2)
    assert health.lag_s == 4


# Restarts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 255, 256, 257, 700])
async def test_a_restart_goes_on_where_the_tile_ended(log: LogUnderTest, count: int) -> None:
    log.append(count)
    await log.publish()
    await log.sequencer.stop()
    log.restart()
    await log.sequencer.start()
    assert log.sequencer.health.repaired_files == 0
    log.append(3)
    await log.publish()
    assert sizes(log) == [count, count + 3]
    log.check()


async def test_partial_tiles_go_when_the_full_one_is_there(log: LogUnderTest) -> None:
    for count in (5, 251, 1):
        log.append(count)
        await log.publish()
    assert log.log_disk.paths() == [
        "checkpoint",
        "tile/0/000",
        "tile/0/001.p/1",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/1",
    ]
    log.check()


async def test_lost_files_are_made_anew(log: LogUnderTest) -> None:
    log.append(600)
    await log.publish()
    before = {path: log.log_disk.read(path) for path in log.log_disk.paths()}
    for path in before:
        log.log_disk.remove(path)
    log.restart()
    await log.sequencer.start()
    assert {path: log.log_disk.read(path) for path in log.log_disk.paths()} == before
    assert log.sequencer.health.repaired_files == len(before) - 1
    log.check()


async def test_a_flipped_bit_in_a_served_file_is_repaired_at_the_start(log: LogUnderTest) -> None:
    log.append(300)
    await log.publish()
    paths = log.log_disk.paths()
    for path in paths:
        log.log_disk.flip_bit(path, 77)
        log.restart()
        await log.sequencer.start()
        log.check()
    assert log.sequencer.health.repaired_files == 1


# What is refused -------------------------------------------------------------------------------


async def test_a_changed_entry_is_refused_and_nothing_overwritten(log: LogUnderTest) -> None:
    """F4: the served tiles still prove what was signed."""
    log.append(300)
    await log.publish()
    before = {path: log.log_disk.read(path) for path in log.log_disk.paths()}
    for index in (0, 150, 299):
        kept, log.rows.entries[index] = log.rows.entries[index], b"forged"
        log.restart()
        with pytest.raises(Refused, match="an entry was changed"):
            await log.sequencer.start()
        log.rows.entries[index] = kept
    assert {path: log.log_disk.read(path) for path in log.log_disk.paths()} == before


async def test_yesterdays_database_is_refused(log: LogUnderTest) -> None:
    """F6: the signer is ahead, and the operator is told what is missing."""
    log.append(5)
    await log.publish()
    backup = list(log.rows.entries), dict(log.rows.heads)
    log.append(5)
    await log.publish()
    log.rows.entries, log.rows.heads = backup
    log.restart()
    with pytest.raises(Refused, match="entries 5 to 9 are missing"):
        await log.sequencer.start()
    log.append(7)  # other entries in their place do not help
    log.rows.entries[6] = b"other"
    with pytest.raises(Refused, match="an entry was changed"):
        await log.sequencer.start()
    assert len(log.signed) == 2


async def test_a_head_that_only_the_signer_remembers_is_finished(log: LogUnderTest) -> None:
    log.append(5)
    await log.publish()
    log.append(5)
    await log.publish()
    note = log.rows.heads.pop(10).note
    log.restart()
    await log.sequencer.start()
    assert log.rows.heads[10].note == note
    log.check()


@pytest.mark.parametrize("lost", [True, False])
async def test_a_signer_that_forgot_is_refused(log: LogUnderTest, lost: bool) -> None:
    log.append(5)
    await log.publish()
    yesterday = log.signer_disk.read(HEAD_FILE)
    log.append(5)
    await log.publish()
    if lost:
        log.signer_disk.remove(HEAD_FILE)
    else:
        log.signer_disk.write(HEAD_FILE, yesterday)
    log.restart()
    with pytest.raises(Refused, match="the signer remembers"):
        await log.sequencer.start()


async def test_a_forked_memory_is_refused(log: LogUnderTest) -> None:
    log.append(5)
    await log.publish()
    fork = sign_checkpoint(Checkpoint(ORIGIN, 5, bytes(32)), KEY.verifier, KEY.sign)
    log.signer_disk.write(HEAD_FILE, fork)
    log.restart()
    with pytest.raises(Refused, match="forked"):
        await log.sequencer.start()


async def test_a_stored_head_of_something_else_is_refused(log: LogUnderTest) -> None:
    log.append(5)
    await log.publish()
    good = log.rows.heads[5]
    other = sign_checkpoint(Checkpoint("other", 5, bytes(32)), KEY.verifier, KEY.sign)
    for note in (b"nonsense", other):
        log.rows.heads[5] = replace(good, note=note)
        log.restart()
        with pytest.raises(Refused, match="not this log's"):
            await log.sequencer.start()
    log.rows.heads = {6: replace(good, tree_size=6)}
    with pytest.raises(Refused, match="says 5"):
        await log.sequencer.start()


async def test_after_a_refusal_nothing_is_signed_until_a_restart(log: LogUnderTest) -> None:
    log.append(5)
    await log.publish()
    log.log_disk.flip_bit("tile/0/000.p/5", 3)
    log.append(5)
    await log.publish()
    health = log.sequencer.health
    assert not health.healthy
    assert "not signed" in str(health.reason)
    log.log_disk.flip_bit("tile/0/000.p/5", 3)
    await log.publish()
    assert sizes(log) == [5]
    log.restart()
    await log.sequencer.start()
    await log.publish()
    assert sizes(log) == [5, 10]
    log.check()


async def test_a_database_that_shrinks_is_refused(log: LogUnderTest) -> None:
    log.append(5)
    await log.publish()
    del log.rows.entries[3:]
    await log.publish()
    assert "3 entries, but 5" in str(log.sequencer.health.reason)


async def test_a_hole_in_the_database_is_refused(log: LogUnderTest) -> None:
    class Holed(type(log.rows)):
        async def entries_from(self, log_index: int, limit: int) -> list[bytes]:
            return []

    log.append(5)
    holed = Holed()
    holed.entries = log.rows.entries
    log.restart(store=holed)
    await log.publish()
    assert log.sequencer.health.reason == "entry 0 is missing in the database"
    log.restart()
    await log.publish()
    holed.heads = log.rows.heads
    log.restart(store=holed)
    with pytest.raises(Refused, match="entry 0 is missing"):
        await log.sequencer.start()


async def test_another_head_of_that_size_in_the_database_ends_it(log: LogUnderTest) -> None:
    """Whoever wrote it has the key too: no second chance, a person must look."""
    log.append(5)
    await log.sequencer.start()
    fork = sign_checkpoint(Checkpoint(ORIGIN, 5, bytes(32)), KEY.verifier, KEY.sign)
    log.rows.heads[5] = SignedHead(5, fork, log.clock.now())
    await log.publish()
    assert "two heads" in str(log.sequencer.health.reason)
    del log.rows.heads[5]
    await log.publish()
    assert sizes(log) == []
    assert "checkpoint" not in log.log_disk.paths()


# Who -------------------------------------------------------------------------------------------


async def test_a_second_writer_is_told_to_leave(log: LogUnderTest) -> None:
    """F7: one has the lease, the other exits; no sequence interleaves."""
    holders: list[MemoryLease] = []
    first = log.restart(lease=MemoryLease(holders))
    await first.start()
    second = log.restart(lease=MemoryLease(holders))
    with pytest.raises(LeaseTaken):
        await second.start()
    assert issubclass(LeaseTaken, Conflict)
    log.append(1)
    await second.tick()
    assert "another process" in str(second.health.reason)
    assert sizes(log) == []
    await first.tick()
    assert sizes(log) == [1]
    await first.stop()
    await log.publish()
    assert second.health.healthy
    log.append(1)
    await log.publish()
    assert sizes(log) == [1, 2]
    log.check()


async def test_a_lost_lease_stops_the_pen_before_it_signs(log: LogUnderTest) -> None:
    class Slipping(MemoryLease):
        asked = 0

        async def is_held(self) -> bool:
            self.asked += 1
            return self.asked != self.lost_at

        lost_at = -1

    lease = Slipping()
    log.restart(lease=lease)
    await log.sequencer.start()
    log.append(1)
    lease.lost_at = lease.asked + 2
    await log.publish()
    assert "lease was lost" in str(log.sequencer.health.reason)
    assert not log.signed
    await log.publish()
    assert sizes(log) == [1]
    log.check()


async def test_whoever_gets_the_lease_back_looks_at_what_was_written(log: LogUnderTest) -> None:
    holders: list[MemoryLease] = []
    ours = MemoryLease(holders)
    first = log.restart(lease=ours)
    log.append(1)
    await first.tick()
    await ours.release()
    second = log.restart(lease=MemoryLease(holders))
    log.append(1)
    await log.publish()
    await second.stop()
    log.append(1)
    log.clock.advance(10)
    await first.tick()
    assert first.health.healthy
    assert sizes(log) == [1, 2, 3]
    log.check()


# Faults ----------------------------------------------------------------------------------------


async def test_a_database_that_is_away_is_waited_for(log: LogUnderTest) -> None:
    await log.sequencer.start()
    log.append(1)
    log.rows.faults = Faults(at=1, error=Unavailable("the database does not answer"))
    await log.sequencer.tick()
    assert log.sequencer.health.reason == "the database does not answer"
    await log.sequencer.tick()
    assert log.sequencer.health.healthy
    assert sizes(log) == [1]


async def test_a_failed_sync_stops_the_log_until_a_restart() -> None:
    """F3: an fsync error is fatal and never retried."""
    probe = LogUnderTest()
    probe.append(1)
    await probe.publish()
    first_sync = next(n for n, call in enumerate(probe.faults.calls) if call.startswith("sync"))
    log = LogUnderTest(faults=Faults(first_sync + 1, error=OSError(errno.EIO, "bad medium")))
    log.append(1)
    for _ in range(3):
        await log.publish()
        assert "bad medium" in str(log.sequencer.health.reason)
    assert sizes(log) == []
    log.restart()
    await log.publish()
    assert sizes(log) == [1]
    log.check()


async def _scenario(log: LogUnderTest) -> None:
    """A short life: first head, growth within a tile, a tile filled, a restart."""
    for count in (1, 4, 300):
        log.append(count)
        await log.publish()
    log.restart()
    log.append(2)
    await log.publish()


@pytest.mark.untraced  # what it runs is run by others
@pytest.mark.parametrize("then", ["go on", "restart", "power cut"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["disk", "database"])
async def test_every_call_may_fail(kind: str, after: bool, then: str) -> None:
    """F3, F5: at every storage call in turn, before its effect and after it.

    Afterwards the process goes on, or ends and is started again, with its disks as they are or
    after a power cut. Always: one head a size was signed, all entries get published.
    """
    error: Exception = OSError(errno.EIO, "injected")
    if kind == "database":
        error = Unavailable("injected")
    number = 0
    while True:
        number += 1
        log = LogUnderTest(faults=Faults(number, after=after, error=error))
        faults = log.faults
        if kind == "disk":
            log.rows.faults = Faults()
        else:
            log.log_disk.faults = log.signer_disk.faults = Faults()
        await _scenario(log)
        if not faults.struck:
            break
        if then == "power cut":
            log.cut_power(number)
        if then != "go on" or kind == "disk":  # a failed sync asks for a restart
            log.restart()
        log.append(1)
        await log.publish()  # what was unfinished
        await log.publish()  # what is new
        assert log.sequencer.health.healthy, (faults.calls[number - 1], log.sequencer.health)
        assert sizes(log)[-1] == len(log.rows.entries)
        log.check()
    assert number > 15


@pytest.mark.untraced  # what it runs is run by others
@pytest.mark.parametrize("after", [False, True])
async def test_every_call_may_be_the_last(after: bool) -> None:
    """F5: the process dies at every call in turn (the exception goes through all handlers)."""

    class Died(BaseException):
        pass

    number = 0
    while True:
        number += 1
        log = LogUnderTest()
        log.faults.at, log.faults.after = number, after
        log.faults.error = Died()  # type: ignore[assignment]  # nothing may handle it
        try:
            await _scenario(log)
        except Died:
            log.cut_power(number)
            log.restart()
            await log.publish()
            assert log.sequencer.health.healthy, log.faults.calls[number - 1]
            log.check()
        if not log.faults.struck:
            break
    assert number > 60


async def test_a_bug_is_not_hidden(log: LogUnderTest) -> None:
    def broken(head: SignedHead) -> None:
        raise ZeroDivisionError

    log.restart()
    log.sequencer._on_published = broken
    log.append(1)
    with pytest.raises(ZeroDivisionError):
        await log.publish()


async def test_a_policy_may_be_shorter() -> None:
    log = LogUnderTest(policy=CheckpointPolicy(interval=timedelta(seconds=1)))
    for _ in range(3):
        log.append(1)
        log.clock.advance(1)
        await log.sequencer.tick()
    assert sizes(log) == [1, 2, 3]
