"""The emulator's clock: a source of time that can be moved on and made to run faster."""

from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Protocol

NS_PER_S = 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TimeSource(Protocol):
    """Whatever says what time it is."""

    def now(self) -> datetime:
        """Return the time, aware of its zone."""


class MachineTime:
    """The time of this machine."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)


class EmulatorClock:
    """Time of a source, scaled and shifted."""

    def __init__(self, source: TimeSource | None = None) -> None:
        """Run as `source` does, at first this machine's time."""
        self._source = source or MachineTime()
        self._lock = Lock()
        self._scale = 1.0
        self._began = self._shows = self._source.now()

    def now(self) -> datetime:
        """Return the emulated time in UTC."""
        with self._lock:
            return self._now()

    def now_ns(self) -> int:
        """Return the emulated time in nanoseconds since 1970 (whole microseconds)."""
        since = self.now() - _EPOCH
        return (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1_000

    def advance(self, seconds: float) -> None:
        """Move the time on (or back)."""
        self._set(seconds, self._scale)

    def run_at(self, scale: float) -> None:
        """Let `scale` seconds pass in one second of the source, from now on."""
        self._set(0, scale)

    def _now(self) -> datetime:
        passed = self._source.now() - self._began
        return self._shows + (passed if self._scale == 1 else passed * self._scale)

    def _set(self, seconds: float, scale: float) -> None:
        with self._lock:
            self._shows = self._now() + timedelta(seconds=seconds)
            self._began = self._source.now()
            self._scale = scale
