"""Choosing a number for the server needs no root to be shown."""

import pytest

from chargera.domain.errors import Refused
from chargera.store.account import (
    NEEDED_CAPABILITIES,
    OWN_NUMBERS,
    is_mapped,
    missing_capabilities,
    unused_number,
)

WHOLE = "         0          0 4294967295\n"


def status(effective: int) -> str:
    return f"Name:\tpython\nCapPrm:\t0\nCapEff:\t{effective:016x}\nCapAmb:\t0\n"


def test_missing_capabilities__full_root__none() -> None:
    assert missing_capabilities(status(0x1FFFFFFFFFF)) == []


def test_missing_capabilities__ordinary_container__none() -> None:
    assert missing_capabilities(status(0xA80425FB)) == []


@pytest.mark.parametrize(("name", "bit"), NEEDED_CAPABILITIES.items())
def test_missing_capabilities__each_is_named(name: str, bit: int) -> None:
    assert missing_capabilities(status(0x1FFFFFFFFFF & ~(1 << bit))) == [name]


def test_missing_capabilities__all_dropped__all() -> None:
    assert missing_capabilities(status(0)) == list(NEEDED_CAPABILITIES)


def test_unused_number__same_folder__same_number() -> None:
    numbers = {unused_number("/srv/a", taken=set(), maps=[WHOLE]) for _ in range(3)}
    assert len(numbers) == 1
    assert numbers < set(OWN_NUMBERS)


def test_unused_number__taken_ones_are_passed_over_to_the_last() -> None:
    taken: set[int] = set()
    for _ in OWN_NUMBERS:
        taken.add(unused_number("/srv/a", taken=taken, maps=[WHOLE, WHOLE]))
    assert taken == set(OWN_NUMBERS)
    with pytest.raises(Refused, match="PostgreSQL does not run as root"):
        unused_number("/srv/a", taken=taken, maps=[WHOLE])


def test_unused_number__must_lie_in_both_maps() -> None:
    only = OWN_NUMBERS[17]
    maps = [WHOLE, f"0 100000 1\n{only} 200000 1\n"]
    assert unused_number("/srv/a", taken=set(), maps=maps) == only


@pytest.mark.parametrize(
    ("number", "expected"), [(0, True), (1, False), (9, False), (10, True), (19, True), (20, False)]
)
def test_is_mapped__ends_of_ranges(number: int, expected: bool) -> None:
    assert is_mapped("0 1000 1\n10 100000 10\n", number) is expected
