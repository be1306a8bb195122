"""Sequencer and signer against a model: any order of growth, faults, crashes and damage."""

import asyncio
import errno
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from chargera.app.log_testing import Faults
from chargera.domain.errors import NotFound, Unavailable
from chargera.eventlog.sequencer import CheckpointPolicy
from chargera.eventlog.tiles import CHECKPOINT
from tests.unit.eventlog.log_under_test import LogUnderTest


class LogMachine(RuleBasedStateMachine):
    """The model: the list of acknowledged entries, and all notes that a stranger has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.seen: dict[int, bytes] = {}

    @initialize(head_entries=st.sampled_from([7, 300, 65_536]))
    def begin(self, head_entries: int) -> None:
        policy = CheckpointPolicy(head_entries_max=head_entries, read_entries_max=256)
        self.log = LogUnderTest(policy=policy)

    def run(self, step: Coroutine[Any, Any, None]) -> None:
        self.runner.run(step)
        try:
            note = self.log.reader.checkpoint()
        except (NotFound, Unavailable):
            return
        size = int(note.split(b"\n")[1])
        assert self.seen.setdefault(size, note) == note, "a stranger saw two heads of one size"

    def heal(self) -> None:
        """No more faults: whatever happened, the log stands and is whole."""
        for _ in range(3 + len(self.log.rows.entries) // self.log.policy.head_entries_max):
            self.run(self.log.publish())
        assert self.log.sequencer.health.healthy, self.log.sequencer.health
        assert max(self.log.rows.heads, default=0) == len(self.log.rows.entries)
        assert self.seen.keys() <= self.log.rows.heads.keys()
        self.log.check()

    @rule(count=st.one_of(st.integers(1, 5), st.sampled_from([251, 255, 256, 300])))
    def append(self, count: int) -> None:
        self.log.append(count)

    @rule(seconds=st.sampled_from([0, 1, 9, 10, 3600, -60]), force=st.booleans())
    def tick(self, seconds: int, force: bool) -> None:
        self.log.clock.advance(seconds)
        self.run(self.log.sequencer.tick(force=force))

    @rule(power_cut=st.booleans(), seed=st.integers(0, 2**32))
    def restart(self, power_cut: bool, seed: int) -> None:
        if power_cut:
            self.log.cut_power(seed)
        self.log.restart()

    @rule(
        skip=st.integers(1, 40),
        after=st.booleans(),
        of=st.sampled_from(["disk", "signer", "database"]),
        power_cut=st.booleans(),
    )
    def fail(self, skip: int, after: bool, of: str, power_cut: bool) -> None:
        faults = Faults(skip, after=after, error=OSError(errno.EIO, "injected"))
        if of == "database":
            faults.error = Unavailable("injected")
            self.log.rows.faults = faults
        elif of == "disk":
            self.log.log_disk.faults = faults
        else:
            self.log.signer_disk.faults = faults
        self.log.append(1)
        self.run(self.log.publish())
        self.run(self.log.publish())
        faults.at = 0
        if power_cut:
            self.log.cut_power(skip)
        if of != "database" or power_cut:
            self.log.restart()

    @precondition(lambda self: self.log.rows.heads)
    @rule(data=st.data())
    def damage_a_file(self, data: st.DataObject) -> None:
        tiles = [path for path in self.log.log_disk.paths() if path != CHECKPOINT]
        path = data.draw(st.sampled_from(tiles))
        size = len(self.log.log_disk.read(path))
        if size:
            self.log.log_disk.flip_bit(path, data.draw(st.integers(0, 8 * size - 1)))
        self.run(self.log.publish())  # refused, or the file was not needed: never signed over
        self.log.restart()
        self.heal()

    @precondition(lambda self: self.log.rows.heads)
    @rule(data=st.data())
    def damage_an_entry(self, data: st.DataObject) -> None:
        published = max(self.log.rows.heads)
        index = data.draw(st.integers(0, published - 1))
        kept, self.log.rows.entries[index] = self.log.rows.entries[index], b"forged"
        heads = dict(self.log.rows.heads)
        self.log.restart()
        self.log.append(1)
        self.run(self.log.publish())
        assert not self.log.sequencer.health.healthy
        assert self.log.rows.heads == heads
        self.log.rows.entries[index] = kept
        self.log.restart()

    @rule()
    def settle(self) -> None:
        self.log.restart()
        self.heal()

    @invariant()
    def never_two_heads_of_one_size(self) -> None:
        if hasattr(self, "log"):
            assert all(len(texts) == 1 for texts in self.log.signed.values())

    def teardown(self) -> None:
        try:
            self.log.restart()
            self.heal()
        finally:
            self.runner.close()


TestLogMachine = LogMachine.TestCase
TestLogMachine.pytestmark = [pytest.mark.untraced]  # what it runs is run by others
TestLogMachine.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
