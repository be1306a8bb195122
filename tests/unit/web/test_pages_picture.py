"""The picture of a passport: the same for the same facts, other for others, dotted before birth."""

import math
import re

from hypothesis import given
from hypothesis import strategies as st

from chargera.web.pages.picture import (
    CENTRE,
    SIZE,
    TICK_FROM,
    TICK_LONGEST,
    TICK_SHORTEST,
    draw_passport,
)

HASHES = st.binary(min_size=32, max_size=32)
POWERS = st.lists(st.integers(0, 400_000), max_size=12)


def lengths(path: str) -> list[float]:
    """How long each tick is."""
    numbers = [[float(n) for n in tick.replace("L", " ").split()] for tick in path.split("M")[1:]]
    return [math.dist(each[:2], each[2:]) for each in numbers]


@given(HASHES, POWERS)
def test_every_byte_is_a_tick_of_its_length(digest: bytes, powers: list[int]) -> None:
    picture = draw_passport(digest, powers)
    found = lengths(picture.ticks)
    assert len(found) == 32
    for byte, length in zip(digest, found, strict=True):
        meant = TICK_SHORTEST + byte * (TICK_LONGEST - TICK_SHORTEST) // 255
        assert abs(length - meant) < 0.2
    assert picture == draw_passport(digest, powers)
    assert picture.ticks.startswith(picture.first)


@given(HASHES, POWERS)
def test_everything_is_within_the_box(digest: bytes, powers: list[int]) -> None:
    picture = draw_passport(digest, powers)
    for path in (picture.ticks, *picture.arcs):
        for x, y in re.findall(r"(?:^M|[ML]|[01] [01] )(-?\d+\.\d) (-?\d+\.\d)", path):
            assert math.dist((float(x), float(y)), (CENTRE, CENTRE)) <= SIZE / 2
    assert TICK_FROM + TICK_LONGEST < SIZE / 2


@given(HASHES, st.integers(0, 31))
def test_another_hash_is_another_picture(digest: bytes, place: int) -> None:
    other = bytearray(digest)
    other[place] = 0 if digest[place] > 127 else 255
    assert draw_passport(digest, [1]).ticks != draw_passport(bytes(other), [1]).ticks


def test_before_registration_there_are_no_ticks() -> None:
    picture = draw_passport(None, [22_000, 22_000])
    assert not picture.is_registered
    assert picture.ticks == picture.first == ""
    assert len(picture.arcs) == 2


def test_an_arc_is_as_long_as_its_part_of_the_power() -> None:
    small, large = draw_passport(None, [50_000, 150_000]).arcs
    assert " 0 0 1 " in small
    assert " 0 1 1 " in large  # more than half a turn
    assert draw_passport(None, []).arcs == ()


def test_one_evse_is_a_whole_turn() -> None:
    (arc,) = draw_passport(None, [11_000]).arcs
    assert arc.count("A") == 2
    start, end = arc[1:].partition("A")[0], arc.rpartition(" 1 ")[2]
    assert start == end


def test_evses_without_a_rating_share_the_dial() -> None:
    one, other = draw_passport(None, [0, 0]).arcs
    assert one != other
