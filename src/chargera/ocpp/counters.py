"""What the channel counts, for telemetry to export, and logging that no flood can swell.

Counters only ever grow; gauges are read from the objects that own them.
"""

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

LOGGED_PER_CAUSE = 20
LOG_WINDOW_S = 60.0
CAUSES_MAX = 200

ANSWER_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """How often a duration fell into each bucket."""

    __slots__ = ("bounds_s", "counts", "total_s")

    def __init__(self, bounds_s: tuple[float, ...] = ANSWER_BUCKETS_S) -> None:
        """Start empty; the last count is of what is above every bound."""
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.total_s = 0.0

    def observe(self, duration_s: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(self.bounds_s, duration_s)] += 1
        self.total_s += duration_s


@dataclass(slots=True)
class ChannelCounters:
    """Counts since the process started."""

    sockets_accepted: int = 0
    handshakes: Counter[str] = field(default_factory=Counter)
    """By outcome: `accepted` or the reason of the refusal."""
    disconnects: Counter[str] = field(default_factory=Counter)
    """By reason."""
    messages: Counter[str] = field(default_factory=Counter)
    """Calls of stations that were answered, by action."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Frames answered with an error or not at all, by error."""
    deviations: int = 0
    """Calls that break their schema and were served."""
    commands: Counter[str] = field(default_factory=Counter)
    """Calls of ours, by outcome."""
    throttled: int = 0
    """How often a socket was not read for a while because its station spoke too fast."""
    batches: int = 0
    batches_failed: int = 0
    calls_failed: int = 0
    """Calls that failed alone and were answered InternalError."""
    calls_sent_away: int = 0
    """Calls left unanswered because the database did not answer."""
    live: int = 0
    """Sockets of stations that are connected now (a gauge)."""
    answer_seconds: Histogram = field(default_factory=Histogram)
    """From the arrival of a call to its answer."""
    commit_seconds: Histogram = field(default_factory=Histogram)
    """One unit of work of the gateway."""


class Logger(Protocol):
    """The part of a structlog logger that the channel uses."""

    def info(self, event: str, **fields: Any) -> Any:
        """Log what is normal."""

    def warning(self, event: str, **fields: Any) -> Any:
        """Log what somebody may want to look at."""

    def error(self, event: str, **fields: Any) -> Any:
        """Log what somebody must look at."""


class CappedLog:
    """A log that writes at most some lines a minute for each cause, and says how many more."""

    def __init__(self, logger: Logger, monotonic_s: Callable[[], float]) -> None:
        """Write to `logger`."""
        self._logger = logger
        self._monotonic_s = monotonic_s
        self._window_began_s = monotonic_s()
        self._written: Counter[str] = Counter()

    def info(self, cause: str, **fields: Any) -> None:
        """Log what is normal; `cause` is a fixed text, its details are fields."""
        if self._may_write(cause):
            self._logger.info(cause, **fields)

    def warning(self, cause: str, **fields: Any) -> None:
        """Log what somebody may want to look at."""
        if self._may_write(cause):
            self._logger.warning(cause, **fields)

    def error(self, cause: str, **fields: Any) -> None:
        """Log what somebody must look at."""
        if self._may_write(cause):
            self._logger.error(cause, **fields)

    def _may_write(self, cause: str) -> bool:
        now_s = self._monotonic_s()
        if now_s - self._window_began_s >= LOG_WINDOW_S or len(self._written) > CAUSES_MAX:
            self._window_began_s = now_s
            written, self._written = self._written, Counter()
            for other, count in written.items():
                if count > LOGGED_PER_CAUSE:
                    more = count - LOGGED_PER_CAUSE
                    self._logger.warning("lines left out", cause=other, lines=more)
        self._written[cause] += 1
        return self._written[cause] <= LOGGED_PER_CAUSE


class TransportLog(logging.LoggerAdapter[logging.Logger]):
    """What the WebSocket library says, on the channel's log: one cause a kind of message."""

    def __init__(self, log: CappedLog) -> None:
        """Pass warnings and worse on to `log`."""
        super().__init__(logging.getLogger("chargera.ocpp.transport"), {})
        self._capped = log

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name that `logging` gave it
        """Say that only warnings and worse are of interest."""
        return level >= logging.WARNING

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Pass a message on; its arguments are left out, they may quote what a peer sent."""
        if level >= logging.WARNING:
            self._capped.warning("websocket", said=str(msg)[:120])
