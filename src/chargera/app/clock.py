"""The network clock: one time for server, stations, log and ledger, and it never goes back.

Transport deadlines, rate limits, group commit and login throttles use the monotonic clock
instead: they must hold whatever the network's time does.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from chargera.domain.errors import InvalidInput, Refused

RATE_MAX = 100_000
UUID_BYTES, UUIDS_AT_ONCE = 10, 64
ADVANCE_S_MAX = 10 * 366 * 86_400


class NetworkClock:
    """Time that runs at `rate` times wall time, or stands until it is advanced by hand.

    `wall` and `monotonic_s` are the machine's clocks; `not_before` is where the network's time
    stood when it last ran, so that a restart never turns it back.
    """

    def __init__(
        self,
        wall: Callable[[], datetime],
        monotonic_s: Callable[[], float],
        *,
        manual: bool = False,
        rate: float = 1.0,
        not_before: datetime | None = None,
    ) -> None:
        """Start at wall time, or at `not_before` if that is later (or the clock is manual)."""
        if not 0 < rate <= RATE_MAX:
            raise InvalidInput(
                f"the clock's rate must be above 0 and at most {RATE_MAX}",
                field="clock_rate",
                remedy="use 1 for real time",
            )
        self.manual = manual
        self.rate = rate
        self._monotonic_s = monotonic_s
        start = wall()
        if not_before is not None and (manual or not_before > start):
            start = not_before
        self._origin = start
        self._origin_s = monotonic_s()
        self._told_ms = -1
        self._told = start

    def now(self) -> datetime:
        """Return the network's time, aware UTC, in whole milliseconds."""
        elapsed_s = 0.0 if self.manual else (self._monotonic_s() - self._origin_s) * self.rate
        origin = self._origin
        elapsed_ms = (origin.microsecond + int(elapsed_s * 1e6)) // 1000
        if elapsed_ms != self._told_ms:  # under load it is asked several times a millisecond
            self._told_ms = elapsed_ms
            self._told = origin.replace(microsecond=0) + timedelta(milliseconds=elapsed_ms)
        return self._told

    def advance(self, seconds: float) -> datetime:
        """Move a manual clock forward and return the new time.

        Raises Refused for a clock that runs by itself, InvalidInput for a step that is not
        forward or absurdly long.
        """
        if not self.manual:
            raise Refused(
                "the clock runs by itself and is not moved by hand",
                field="seconds",
                remedy="start the server with --clock manual",
            )
        if not 0 <= seconds <= ADVANCE_S_MAX:
            raise InvalidInput(
                f"a step is 0 to {ADVANCE_S_MAX} seconds",
                field="seconds",
                remedy="the clock never goes back",
            )
        self._origin += timedelta(seconds=seconds)
        self._told_ms = -1
        return self.now()


def wall_clock() -> datetime:
    """Return the machine's time, aware UTC."""
    return datetime.now(UTC)


class SystemEntropy:
    """Randomness of the operating system; for one process, whose forks must make their own."""

    def __init__(self) -> None:
        """Draw nothing yet."""
        self._drawn: list[bytes] = []

    def bytes(self, count: int) -> bytes:
        """Return that many unpredictable bytes."""
        return os.urandom(count)

    def session_id(self, now: datetime) -> str:
        """Return a UUIDv7 (RFC 9562): 48 bits of time in ms, 74 unpredictable bits."""
        if not self._drawn:  # a call of the system costs ten times what one identifier does
            drawn = os.urandom(UUID_BYTES * UUIDS_AT_ONCE)
            self._drawn = [
                drawn[place : place + UUID_BYTES] for place in range(0, len(drawn), UUID_BYTES)
            ]
        return uuid7(now, self._drawn.pop())


def uuid7(now: datetime, randomness: bytes) -> str:
    """Return the UUIDv7 of a time and ten random bytes, as canonical text."""
    milliseconds = int(now.timestamp() * 1000) & (2**48 - 1)
    drawn = int.from_bytes(randomness)
    value = milliseconds << 80 | 0x7 << 76 | (drawn >> 66 & 0xFFF) << 64
    value |= 0b10 << 62 | drawn & (2**62 - 1)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
