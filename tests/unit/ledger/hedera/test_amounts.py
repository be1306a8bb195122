"""Every conversion at its borders: nothing vanishes, and what is rounded says which way."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput
from chargera.ledger.hedera.amounts import (
    C4E_DECIMALS,
    HBAR_DECIMALS,
    TINYBAR_MAX,
    WEIBAR_DECIMALS,
    WEIBAR_PER_TINYBAR,
    ExchangeRate,
    amount_text,
    c4e_text,
    hbar_text,
    parse_amount,
    parse_c4e,
    parse_hbar,
    tinybar_gas_price,
    tinybar_of,
    weibar_of,
)

TINYBAR = st.integers(0, TINYBAR_MAX)


def test_decimals__eighteen_at_the_relay_eight_inside() -> None:
    assert WEIBAR_PER_TINYBAR == 10 ** (WEIBAR_DECIMALS - HBAR_DECIMALS)


@given(TINYBAR)
def test_tinybar_and_weibar__there_and_back__the_same(tinybar: int) -> None:
    assert tinybar_of(weibar_of(tinybar)) == tinybar


@pytest.mark.parametrize(
    ("tinybar", "weibar"), [(0, 0), (1, 10**10), (10**8, 10**18), (TINYBAR_MAX, 5 * 10**28)]
)
def test_weibar_of__borders(tinybar: int, weibar: int) -> None:
    assert weibar_of(tinybar) == weibar
    assert tinybar_of(weibar) == tinybar


@pytest.mark.parametrize("weibar", [1, 10**10 - 1, 10**10 + 1, 10**18 + 1])
def test_tinybar_of__a_part_of_a_tinybar__refused(weibar: int) -> None:
    with pytest.raises(InvalidInput, match="no whole number of tinybar"):
        tinybar_of(weibar)


@pytest.mark.parametrize("tinybar", [-1, TINYBAR_MAX + 1])
def test_amounts__more_than_there_is_or_less_than_nothing__refused(tinybar: int) -> None:
    with pytest.raises(InvalidInput):
        weibar_of(tinybar)
    with pytest.raises(InvalidInput):
        tinybar_of(tinybar * WEIBAR_PER_TINYBAR)


@pytest.mark.parametrize(
    ("weibar", "tinybar"),
    [(0, 0), (10**10 - 1, 0), (10**10, 1), (710_000_000_000, 71), (719_999_999_999, 71)],
)
def test_gas_price__rounded_down_as_the_network_does(weibar: int, tinybar: int) -> None:
    assert tinybar_gas_price(weibar) == tinybar


@pytest.mark.parametrize(
    ("tinybar", "text"),
    [
        (0, "0.00000000"),
        (1, "0.00000001"),
        (99_999_999, "0.99999999"),
        (10**8, "1.00000000"),
        (TINYBAR_MAX, "50000000000.00000000"),
    ],
)
def test_hbar__borders_as_text_and_back(tinybar: int, text: str) -> None:
    assert hbar_text(tinybar) == text
    assert parse_hbar(text) == tinybar


@pytest.mark.parametrize(
    ("text", "tinybar"), [("1", 10**8), ("1.5", 150_000_000), ("0.1", 10**7), ("007", 7 * 10**8)]
)
def test_parse_hbar__fewer_decimals(text: str, tinybar: int) -> None:
    assert parse_hbar(text) == tinybar


@pytest.mark.parametrize(
    "text", ["", ".5", "1.", "1.000000001", "1.000000000", "-1", "1e3", "1,5", "50000000000.1", "٣"]
)
def test_parse_hbar__what_is_no_amount__refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_hbar(text)


@pytest.mark.parametrize(
    ("amount", "text"), [(1, "0.000001"), (10**6, "1.000000"), (123_456_789, "123.456789")]
)
def test_c4e__six_decimals(amount: int, text: str) -> None:
    assert c4e_text(amount) == text
    assert parse_c4e(text) == amount
    with pytest.raises(InvalidInput, match="c4e"):
        parse_c4e(f"{text}0")


@given(st.integers(0, 10**29), st.sampled_from([0, C4E_DECIMALS, HBAR_DECIMALS, WEIBAR_DECIMALS]))
def test_text__there_and_back__the_same(amount: int, decimals: int) -> None:
    assert parse_amount(amount_text(amount, decimals), decimals, field="x") == amount


def test_text__debts_have_a_sign() -> None:
    assert amount_text(-1, 8) == "-0.00000001"
    assert amount_text(-12, 0) == "-12"


RATE = ExchangeRate.of(596_987, 30_000, 1_800_000_000)
"""A published rate: 30,000 HBAR for 596,987 cents."""


def test_rate__a_dollar_and_a_tinybar() -> None:
    assert RATE.expires_at == datetime(2027, 1, 15, 8, tzinfo=UTC)
    assert RATE.usd_e10(10**8) == 1_989_956_666  # 0.1989956666 dollars, rounded down
    assert RATE.tinybar(10**10) == 502_523_506  # 5.0252350567 HBAR, rounded up


@given(st.integers(0, 10**15))
def test_rate__what_dollars_cost_is_enough_and_not_a_tinybar_more(usd_e10: int) -> None:
    tinybar = RATE.tinybar(usd_e10)
    assert RATE.usd_e10(tinybar) >= usd_e10
    assert tinybar == 0 or RATE.usd_e10(tinybar - 1) < usd_e10


@pytest.mark.parametrize(("cents", "hbar"), [(0, 1), (1, 0), (-1, 1)])
def test_rate__no_number__refused(cents: int, hbar: int) -> None:
    with pytest.raises(InvalidInput):
        ExchangeRate.of(cents, hbar, 0)
