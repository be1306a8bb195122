"""What the server tells of itself: structured logs, metrics, named health checks.

Metrics are a table of descriptions over objects that count by themselves; nothing is counted
twice. `docs/reference/metrics.md` lists them, and a test holds the two together.
"""

import logging
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
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
    """Replace values whose names say that they are secret; a structlog processor."""
    return {
        name: MASK if any(word in name.lower() for word in SECRET_WORDS) else value
        for name, value in event.items()
    }


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


# Health ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One named condition of readiness; `probe` returns what is wrong, None if nothing is."""

    name: str
    probe: Callable[[], Awaitable[str | None]]


async def readiness(checks: Iterable[HealthCheck]) -> tuple[bool, dict[str, str]]:
    """Run the checks; return whether all pass, and `ok` or the fault by name."""
    results: dict[str, str] = {}
    for check in checks:
        results[check.name] = await check.probe() or "ok"
    return all(result == "ok" for result in results.values()), results
