"""The emulator's clock: moved on, faster, standing."""

from datetime import UTC, datetime, timedelta

from tests.doubles.hedera.clock import EmulatorClock


class Source:
    """A source of time that a test moves."""

    def __init__(self) -> None:
        self.time = datetime(2026, 8, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def passes(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def test_it_goes_as_its_source_goes():
    source = Source()
    clock = EmulatorClock(source)
    source.passes(10)
    assert clock.now() == source.time
    assert clock.now_ns() == int(source.time.timestamp()) * 10**9


def test_it_is_moved_on_scaled_and_stopped():
    source = Source()
    began = source.time
    clock = EmulatorClock(source)
    clock.advance(3600)
    source.passes(1)
    assert clock.now() - began == timedelta(seconds=3601)
    clock.run_at(60)
    source.passes(2)
    assert clock.now() - began == timedelta(seconds=3721)
    clock.run_at(0)
    source.passes(1000)
    assert clock.now() - began == timedelta(seconds=3721)
