"""The clock of a simulated station: it follows the network's time as the answers tell it."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

FIRST_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""What a station's clock shows before the network has told it the time."""


class StationClock:
    """Network time, as far as the last answer and the monotonic clock tell it; never goes back.

    `rate` is how many network seconds pass in a real one: 1 at an ordinary network, more at an
    accelerated one, 0 where time moves only as the answers say, None if that is still to be
    measured.

    With `behind` the station lives that long before the network's time, as one does that was
    offline and now tells what happened: its time stands until `begin`, and then catches up at
    `speed` seconds in a real one.
    """

    def __init__(
        self,
        rate: float | None = 1.0,
        *,
        behind: timedelta = timedelta(0),
        speed: float = 240.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rate = rate
        self._behind = behind
        self._speed = speed
        self._monotonic = monotonic
        self._told = self._shown = self._own = FIRST_TIME
        self._told_s = monotonic()
        self._own_s: float | None = None
        self._is_behind = False
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        """Return the station's time; what it returned before is never later."""
        now_s = self._monotonic()
        now = self._told + timedelta(seconds=(now_s - self._told_s) * (self.rate or 0.0))
        if self._is_behind:
            elapsed_s = 0.0 if self._own_s is None else now_s - self._own_s
            own = self._own + timedelta(seconds=elapsed_s * self._speed)
            self._is_behind = own < now
            now = min(own, now)
        self._shown = max(self._shown, now)
        return self._shown

    def follow(self, told: datetime) -> None:
        """Take over the network's time from an answer; everything that waits looks again."""
        self._told, self._told_s = told, self._monotonic()
        self._moved.set()
        self._moved = asyncio.Event()

    def start_at(self, told: datetime) -> None:
        """Take over the time of the first answer after switching on."""
        self._own, self._own_s = told - self._behind, None
        self._is_behind = self._behind > timedelta(0)
        self._shown = self._own
        self.follow(told)

    def begin(self) -> datetime:
        """Let the time of a station that is behind run from now on; return its time."""
        self._own_s = self._monotonic()
        return self.now()

    def measure(self, earlier: datetime, later: datetime, between_s: float, *, fine: bool) -> None:
        """Set the rate from two answers that came `between_s` real seconds apart.

        `fine` says that the answers have fractions of seconds; without them a step of one or two
        seconds is an ordinary clock's.
        """
        rate = (later - earlier).total_seconds() / between_s
        is_ordinary = 0.9 < rate < 1.1 if fine else 0.4 < rate < 2.5
        self.rate = 1.0 if is_ordinary else rate if rate > 0.01 else 0.0

    async def sleep_until(self, at: datetime, wake: asyncio.Event | None = None) -> bool:
        """Wait until the station's time is `at` or `wake` is set; say whether it is that time."""
        while (remaining := at - self.now()) > timedelta(0):
            if wake is not None and wake.is_set():
                return False
            speed = self._speed if self._is_behind else self.rate
            timeout_s = remaining.total_seconds() / speed if speed else None
            await _first_of(timeout_s, self._moved, wake)
        return True

    def real_s(self, network_s: float, at_rate_0: float) -> float:
        """Return how long `network_s` last on the wall; `at_rate_0` where time stands still."""
        return network_s / self.rate if self.rate else at_rate_0


async def _first_of(timeout_s: float | None, *events: asyncio.Event | None) -> None:
    """Wait for the first of `events`, `timeout_s` at most."""
    waits = [asyncio.ensure_future(event.wait()) for event in events if event is not None]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
