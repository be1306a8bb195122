"""Server-drawn charts: a series of values becomes paths, scale and a table of the same numbers.

A chart is drawn in a box of `WIDTH` x `HEIGHT` units that the page stretches; labels are text of
the page around it, so that they keep their size on a phone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

WIDTH = 1000
HEIGHT = 200
POINTS_MAX = 240
"""More points than a screen can tell apart are thinned out; first, last and highest stay."""

ROWS_MAX = 1000

Shape = Literal["steps", "slopes"]


Window = tuple[datetime, datetime]


class Point(NamedTuple):
    """A value at a time."""

    at: datetime
    value: int


@dataclass(frozen=True, slots=True)
class Chart:
    """What a template draws; `points` are all of the series."""

    points: tuple[Point, ...]
    trace: str
    area: str
    end: tuple[int, int]
    """Where the last value stands."""
    top: int
    """The value at the upper edge: a round number above every value."""
    window: Window
    """The times at the left and the right edge."""

    @property
    def rows(self) -> Sequence[Point]:
        """The points of the table beside the chart: all of them, or a selection of very many."""
        return thin(self.points, ROWS_MAX)

    @property
    def middle(self) -> int:
        """The value half way up."""
        return self.top // 2


def draw_chart(points: Sequence[Point], shape: Shape, window: Window | None = None) -> Chart | None:
    """Return the chart of a series in order of time; None if there is nothing to draw.

    `steps`: a value holds until the next one. `slopes`: it changes evenly. `window` is
    the time from edge to edge, which holds all points; without it, that of the points.
    """
    if not points:
        return None
    first, last = window or (points[0].at, points[-1].at)
    span = max(last - first, timedelta(seconds=1))
    top = round_up(max(1, *(point.value for point in points)))
    corners = [_place(point, first, span, top) for point in thin(points)]
    if shape == "steps":
        corners = _steps(corners)
        corners.append((round((last - first) / span * WIDTH), corners[-1][1]))
    trace = "M" + "L".join(f"{x} {y}" for x, y in corners)
    area = f"{trace}V{HEIGHT}H{corners[0][0]}Z"
    return Chart(tuple(points), trace, area, corners[-1], top, (first, last))


def round_up(value: int) -> int:
    """Return the least of 1, 2, 3, 4, 5, 6, 8 and 10 times a power of ten not below `value`."""
    magnitude = 1
    while magnitude * 10 < value:
        magnitude *= 10
    return next(step * magnitude for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * magnitude >= value)


def thin(points: Sequence[Point], limit: int = POINTS_MAX) -> list[Point]:
    """Return at most about `limit` points: of each stretch its last and its highest."""
    if len(points) <= limit:
        return list(points)
    stretch = -(-2 * len(points) // limit)
    kept = [points[0]]
    for start in range(1, len(points), stretch):
        part = points[start : start + stretch]
        highest = max(part, key=lambda point: point.value)
        kept += [highest, part[-1]] if highest is not part[-1] else [highest]
    return kept


def _place(point: Point, first: datetime, span: timedelta, top: int) -> tuple[int, int]:
    x = round((point.at - first) / span * WIDTH)
    return x, HEIGHT - round(point.value * HEIGHT / top)


def _steps(corners: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    stairs = [corners[0]]
    for x, y in corners[1:]:
        stairs += [(x, stairs[-1][1]), (x, y)]
    return stairs
