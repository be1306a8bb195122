"""The network's power over the last minutes, sampled by this process for the first page."""

from collections import deque
from datetime import datetime

from chargera.web.pages.charts import Point

SAMPLES_MAX = 240


class PowerHistory:
    """A ring of samples in network time; what was before this process started is not known."""

    def __init__(self, samples_max: int = SAMPLES_MAX) -> None:
        """Start empty."""
        self._samples: deque[Point] = deque(maxlen=samples_max)

    def add(self, at: datetime, power_w: int) -> None:
        """Take a sample; one that is not later than the last replaces it."""
        if self._samples and at <= self._samples[-1].at:
            self._samples.pop()
        self._samples.append(Point(at, power_w))

    def points(self) -> tuple[Point, ...]:
        """Return the samples, oldest first."""
        return tuple(self._samples)
