"""Charts: paths that stay in their box, scales that cover every value, and no lost peak."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.web.pages.charts import HEIGHT, POINTS_MAX, WIDTH, Point, draw_chart, round_up, thin
from chargera.web.pages.power_history import PowerHistory

START = datetime(2026, 11, 24, 9, tzinfo=UTC)
SERIES = st.lists(st.integers(0, 400_000), min_size=1, max_size=600).map(
    lambda values: [Point(START + timedelta(seconds=30 * n), v) for n, v in enumerate(values)]
)


def corners(path: str) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in re.findall(r"[ML](-?\d+) (-?\d+)", path)]


@given(SERIES, st.sampled_from(["steps", "slopes"]))
def test_a_chart_stays_in_its_box_and_runs_to_the_right(points: list[Point], shape: str) -> None:
    chart = draw_chart(points, shape)  # type: ignore[arg-type]  # both shapes
    assert chart is not None
    places = corners(chart.trace)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
    assert all(left[0] <= right[0] for left, right in pairwise(places))
    assert chart.end == places[-1]
    assert chart.area.startswith(chart.trace)
    assert chart.top >= max(point.value for point in points)
    assert chart.points == tuple(points)


def test_nothing_to_draw_is_no_chart() -> None:
    assert draw_chart([], "steps") is None


def test_a_single_value_is_drawn() -> None:
    chart = draw_chart([Point(START, 500)], "steps")
    assert chart is not None
    assert chart.end == (0, 0)
    assert (chart.top, chart.middle) == (500, 250)


def test_steps_hold_until_the_next_value() -> None:
    points = [Point(START + timedelta(seconds=10 * n), v) for n, v in enumerate((0, 100, 100))]
    chart = draw_chart(points[:2], "steps", (START, points[2].at))
    assert chart is not None
    assert corners(chart.trace) == [(0, 200), (500, 200), (500, 0), (1000, 0)]


def test_charts_of_one_window_stand_side_by_side() -> None:
    window = (START, START + timedelta(seconds=100))
    chart = draw_chart([Point(START + timedelta(seconds=50), 4)], "slopes", window)
    assert chart is not None
    assert chart.end == (500, 0)
    assert chart.window == window


def test_slopes_change_evenly() -> None:
    points = [Point(START, 0), Point(START + timedelta(seconds=10), 100)]
    chart = draw_chart(points, "slopes")
    assert chart is not None
    assert corners(chart.trace) == [(0, 200), (1000, 0)]


@pytest.mark.parametrize(
    ("value", "top"),
    [(1, 1), (2, 2), (7, 8), (9, 10), (11, 20), (22_000, 30_000), (100, 100), (150_001, 200_000)],
)
def test_scales_end_in_round_numbers(value: int, top: int) -> None:
    assert round_up(value) == top


@given(st.integers(1, 10**9))
def test_scales_cover_the_value_and_waste_at_most_half(value: int) -> None:
    assert value <= round_up(value) <= 2 * value


@given(SERIES)
def test_thinning_keeps_first_last_and_highest(points: list[Point]) -> None:
    kept = thin(points)
    assert len(kept) <= POINTS_MAX + 2
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]
    assert max(p.value for p in kept) == max(p.value for p in points)
    assert [p.at for p in kept] == sorted({p.at for p in kept})


def test_a_long_series_is_thinned_to_its_peaks() -> None:
    points = [Point(START + timedelta(seconds=n), n % 7) for n in range(5000)]
    kept = thin(points)
    assert len(kept) <= POINTS_MAX + 2
    assert sum(point.value == 6 for point in kept) >= POINTS_MAX // 2 - 1
    assert kept[-1] == points[-1]


def test_the_history_keeps_the_newest_samples() -> None:
    history = PowerHistory(samples_max=3)
    for second in range(5):
        history.add(START + timedelta(seconds=second), second)
    assert [point.value for point in history.points()] == [2, 3, 4]


def test_a_clock_that_stands_leaves_one_sample() -> None:
    history = PowerHistory()
    history.add(START, 1)
    history.add(START, 2)
    history.add(START - timedelta(seconds=1), 3)
    assert [point.value for point in history.points()] == [3]
