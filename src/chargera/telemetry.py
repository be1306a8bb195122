"""What the server tells of itself: structured logs, metrics, named health checks.

Metrics are a table of descriptions over objects that count by themselves; nothing is counted
twice. `docs/reference/metrics.md` lists them, and a test holds the two together.
"""

import logging
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Any

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from chargera.app.keeper import KeeperHealth
from chargera.eventlog.sequencer import SequencerHealth
from chargera.ledger.anchoring import AnchoringHealth
from chargera.ocpp.counters import ChannelCounters

SECRET_WORDS = ("password", "secret", "api_key", "authorization", "cookie", "private_key")
MASK = "•••"


def configure_logging(stream: IO[str] = sys.stderr, level: int = logging.INFO) -> None:
    """Send every log line, of ours and of libraries, to `stream` as one JSON object."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask_secrets,
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("uvicorn.access", "procrastinate", "psycopg.pool", "httpx2"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def mask_secrets(_: Any, __: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Replace values whose names say that they are secret, at any depth; a structlog processor."""
    return {
        name: MASK if any(word in name.lower() for word in SECRET_WORDS) else _masked(value)
        for name, value in event.items()
    }


def _masked(value: Any, depth_left: int = 8) -> Any:
    if not depth_left:
        return MASK
    if isinstance(value, Mapping):
        return {
            name: MASK
            if any(word in str(name).lower() for word in SECRET_WORDS)
            else _masked(part, depth_left - 1)
            for name, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [_masked(part, depth_left - 1) for part in value]
    return value


# Metrics ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MetricDescription:
    """One metric: `value` gives a number, or numbers by the value of `label`."""

    name: str
    kind: str
    """`counter` or `gauge`."""
    help: str
    value: Callable[[], float | Mapping[str, float]]
    label: str | None = None

    def collect(self) -> Metric:
        """Read it now."""
        labels = [self.label] if self.label else []
        make = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = make(self.name, self.help, labels=labels)
        value = self.value()
        if isinstance(value, Mapping):
            for word, number in value.items():
                family.add_metric([word], number)
        else:
            family.add_metric([], value)
        return family


@dataclass(frozen=True, slots=True)
class HistogramDescription:
    """A histogram kept elsewhere: bounds in seconds, counts (one more than bounds), total."""

    name: str
    help: str
    read: Callable[[], tuple[tuple[float, ...], list[int], float]]

    def collect(self) -> Metric:
        """Read it now."""
        bounds, counts, total_s = self.read()
        running = 0
        buckets = []
        for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
            running += count
            buckets.append((bound, float(running)))
        family = HistogramMetricFamily(self.name, self.help)
        family.add_metric([], buckets, total_s)
        return family


Description = MetricDescription | HistogramDescription


class _Described(Collector):
    def __init__(self, descriptions: Iterable[Description]) -> None:
        self._descriptions = tuple(descriptions)

    def collect(self) -> Iterator[Metric]:
        for description in self._descriptions:
            yield description.collect()


class Metrics:
    """The metrics of one server."""

    def __init__(self, descriptions: Iterable[Description]) -> None:
        """Export these; a name may occur once."""
        self.descriptions = tuple(descriptions)
        self._registry = CollectorRegistry()
        self._registry.register(_Described(self.descriptions))

    def render(self) -> bytes:
        """Return the Prometheus text format."""
        return generate_latest(self._registry)


def server_metrics(
    *,
    channel: ChannelCounters,
    sequencer: Callable[[], SequencerHealth],
    anchoring: Callable[[], AnchoringHealth],
    password_hashes: Callable[[], int],
    logins_refused: Callable[[], int],
    settlement: Callable[[], KeeperHealth],
    listeners: Callable[[], int],
    loop_failures: Callable[[], Mapping[str, float]],
    checks: Callable[[], Mapping[str, float]],
    balances: Callable[[], Mapping[str, float]] = dict,
    days_left: Callable[[], Mapping[str, float]] = dict,
) -> list[Description]:
    """Return the metrics of a server; `docs/reference/metrics.md` explains each."""
    counters: list[tuple[str, str, Callable[[], float | Mapping[str, float]], str | None]] = [
        ("ocpp_handshakes", "Handshakes by outcome", lambda: channel.handshakes, "outcome"),
        ("ocpp_messages", "Answered calls by action", lambda: channel.messages, "action"),
        ("ocpp_refusals", "Frames answered with an error", lambda: channel.refusals, "error"),
        ("ocpp_deviations", "Served calls that break a schema", lambda: channel.deviations, None),
        ("ocpp_disconnects", "Ended sockets by reason", lambda: channel.disconnects, "reason"),
        ("ocpp_commands", "Commands to stations", lambda: channel.commands, "outcome"),
        ("ocpp_sockets_accepted", "Sockets accepted", lambda: channel.sockets_accepted, None),
        ("ocpp_throttled", "Sockets not read for a while", lambda: channel.throttled, None),
        ("ocpp_calls_failed", "Calls that failed alone", lambda: channel.calls_failed, None),
        ("ocpp_calls_sent_away", "Calls left unanswered", lambda: channel.calls_sent_away, None),
        ("ocpp_batches_failed", "Commits that failed", lambda: channel.batches_failed, None),
        ("password_hashes", "Password hashes computed", password_hashes, None),
        ("station_logins_refused", "Stations that were not let in", logins_refused, None),
        ("loop_failures", "Failures of background loops", loop_failures, "loop"),
    ]
    gauges: list[tuple[str, str, Callable[[], float]]] = [
        ("stations_connected", "Stations with a live socket", lambda: channel.live),
        ("log_entries", "Entries that are durable", lambda: sequencer().log_size),
        ("log_published", "Entries under the newest head", lambda: sequencer().published_size),
        ("log_lag_seconds", "Age of the oldest entry without head", lambda: sequencer().lag_s),
        ("anchor_size", "Entries under the anchored head", lambda: anchoring().anchored_size),
        ("anchor_lag_seconds", "Age of the oldest head without anchor", lambda: anchoring().lag_s),
        (
            "anchor_window_seconds",
            "Longest time for which a rewrite could go unseen",
            lambda: anchoring().window / timedelta(seconds=1),
        ),
        ("settlement_step_seconds", "Since the keeper came round", lambda: settlement().step_age_s),
        (
            "settlement_chain_lag_seconds",
            "Age of the chain's head",
            lambda: settlement().chain_age_s,
        ),
        ("settlement_batches_open", "Batches under way", lambda: settlement().open_batches),
        ("settlement_failures", "Steps that failed last time", lambda: settlement().failures),
        ("live_listeners", "Pages that listen for live events", listeners),
    ]
    return [
        *(
            MetricDescription(f"chargera_{n}", "counter", h, v, label)
            for n, h, v, label in counters
        ),
        *(MetricDescription(f"chargera_{n}", "gauge", h, v) for n, h, v in gauges),
        MetricDescription(
            "chargera_check_ok", "gauge", "Readiness check: 1 passes, 0 fails", checks, "check"
        ),
        *_funds(balances, days_left),
        *_durations(channel),
    ]


def _funds(
    balances: Callable[[], Mapping[str, float]], days_left: Callable[[], Mapping[str, float]]
) -> list[Description]:
    """Return the metrics of the account that pays on Hedera."""
    return [
        MetricDescription(
            "chargera_ledger_balance_tinybar",
            "gauge",
            "Money of the account that pays on Hedera",
            balances,
            "account",
        ),
        MetricDescription(
            "chargera_ledger_days_left",
            "gauge",
            "Days that it lasts at the pace of the last week",
            days_left,
            "account",
        ),
    ]


def _durations(channel: ChannelCounters) -> list[Description]:
    """Return how long the channel takes, as histograms."""
    commit, answer = channel.commit_seconds, channel.answer_seconds
    return [
        HistogramDescription(
            "chargera_ocpp_commit_seconds",
            "Duration of a group commit",
            lambda: (commit.bounds_s, commit.counts, commit.total_s),
        ),
        HistogramDescription(
            "chargera_ocpp_answer_seconds",
            "From the arrival of a call to its answer",
            lambda: (answer.bounds_s, answer.counts, answer.total_s),
        ),
    ]


# Health ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One named condition of readiness; `probe` returns what is wrong, None if nothing is."""

    name: str
    probe: Callable[[], Awaitable[str | None]]

    @classmethod
    def told(cls, name: str, reason: Callable[[], str | None]) -> "HealthCheck":
        """Return a check that asks nobody: what is wrong is known already."""

        async def probe() -> str | None:
            return reason()

        return cls(name, probe)


async def readiness(checks: Iterable[HealthCheck]) -> tuple[bool, dict[str, str]]:
    """Run the checks; return whether all pass, and `ok` or the fault by name."""
    results: dict[str, str] = {}
    for check in checks:
        results[check.name] = await check.probe() or "ok"
    return all(result == "ok" for result in results.values()), results
