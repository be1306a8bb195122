"""The arithmetic of settlement: splits, rates, amounts, limits."""

import json
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput
from chargera.domain.settlement import (
    AMOUNT_LIMIT,
    Ceilings,
    Fees,
    OpsShares,
    RateBounds,
    Split,
    ceiling_of,
    divide_ops,
    energy_limit_wh,
    exposure_of_signer,
    in_asset,
    in_c4e,
    overlap_s,
    quorum_of,
    rate_bounds,
    split,
)

FEES = Fees(fee_bps=500, ops_bps=100, reserve_bps=300)
AMOUNTS = st.integers(0, AMOUNT_LIMIT - 1)


def test_split__default_policy__each_part_floored_in_its_order() -> None:
    assert split(9_999, FEES, 3_000, has_market=True) == Split(
        fee=499, reserve=299, host=2_700, ops=99, holders=6_402
    )


def test_split__no_market__no_reserve() -> None:
    assert split(9_999, FEES, 3_000, has_market=False) == Split(499, 0, 2_999, 99, 6_402)


def test_split__commission_under_the_reserve__all_of_it_is_reserve() -> None:
    assert split(10_000, FEES, 100, has_market=True) == Split(500, 100, 0, 100, 9_300)


@given(
    AMOUNTS,
    st.integers(0, 1_000),
    st.integers(0, 1_000),
    st.integers(0, 1_000),
    st.integers(0, 8_000),
    st.booleans(),
)
def test_split__any__sums_to_the_amount_and_no_part_is_negative(
    amount: int, fee: int, ops: int, reserve: int, commission: int, has_market: bool
) -> None:
    parts = split(amount, Fees(fee, ops, reserve), commission, has_market=has_market)
    values = (parts.fee, parts.reserve, parts.host, parts.ops, parts.holders)
    assert sum(values) == amount
    assert min(values) >= 0


@given(AMOUNTS, st.integers(1, 112))
def test_divide_ops__any__nothing_is_lost_and_who_settles_gets_the_dust(
    ops: int, signers: int
) -> None:
    parts = divide_ops(ops, signers)
    assert parts.each_signer * signers + parts.proposer + parts.caller == ops
    assert parts.each_signer == ops // 2 // signers
    assert parts.caller >= parts.proposer >= 0


def test_in_asset__six_decimals__four_zeros() -> None:
    assert in_asset(1_234, "EUR", 6) == 12_340_000
    assert in_asset(1_234, "JPY", 0) == 1_234


def test_in_c4e__rounded_up() -> None:
    # 12.34 EUR = 12,340,000 units of six decimals, at 1.5 C4E units for 10^6 of them
    assert in_c4e(in_asset(1_234, "EUR", 6), 1_500_000) == 18_510_000
    assert in_c4e(1, 1) == 1
    assert in_c4e(0, 1) == 0


@pytest.mark.parametrize(
    ("amount", "currency", "decimals"),
    [(1, "EUR", 1), (2**64, "EUR", 2), (-1, "EUR", 6), (1, "???", 6)],
)
def test_in_asset__does_not_fit__refused(amount: int, currency: str, decimals: int) -> None:
    with pytest.raises(InvalidInput):
        in_asset(amount, currency, decimals)


def test_in_c4e__does_not_fit__refused() -> None:
    with pytest.raises(InvalidInput):
        in_c4e(2**63, 2_000_001)


@given(AMOUNTS, st.integers(1, 2**70), st.integers(1, 112))
def test_exposure__any__rounded_up_twice(total: int, rate: int, signers: int) -> None:
    exposure = exposure_of_signer(total, rate, signers)
    exact = Fraction(total) * rate / 10**6 / signers
    assert exact <= exposure < exact + 1 + Fraction(1, signers)


def test_rate_bounds__ten_percent_a_day_begun() -> None:
    at = 1_000_000
    assert rate_bounds(1_000, at, at) == RateBounds(900, 1_100)
    assert rate_bounds(1_000, at, at + 86_400) == RateBounds(900, 1_100)
    assert rate_bounds(1_000, at, at + 86_401) == RateBounds(800, 1_200)
    assert rate_bounds(1_000, at, at + 30 * 86_400) == RateBounds(1, 4_000)
    assert rate_bounds(2**128 - 1, at, at) == RateBounds(
        2**128 - 1 - (2**128 - 1) // 10, 2**128 - 1
    )


def test_ceiling__energy_time_and_flat__each_rounded_up() -> None:
    limits = Ceilings(per_kwh=1_001, per_hour=3_601, flat=7)
    assert ceiling_of(limits, 1_000, 3_600) == 1_001 + 3_601 + 7
    assert ceiling_of(limits, 1, 1) == 2 + 2 + 7
    assert ceiling_of(limits, 0, 0) == 7


def test_energy_limit__a_minute_and_a_tenth_more_and_100_wh() -> None:
    assert energy_limit_wh(22_000, 3_540) == 22_000 * 11 // 10 + 100
    assert energy_limit_wh(0, 0) == 100


def test_overlap__in_seconds__negative_is_a_pause() -> None:
    assert overlap_s(0, 100, 40, 200) == 60
    assert overlap_s(0, 100, 100, 200) == 0
    assert overlap_s(0, 100, 130, 200) == -30


@pytest.mark.parametrize(("attesters", "quorum"), [(1, 2), (2, 2), (3, 2), (4, 3), (6, 5), (7, 5)])
def test_quorum__two_of_three_else_two_thirds_and_one(attesters: int, quorum: int) -> None:
    assert quorum_of(attesters) == quorum


ROWS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "settlement" / "arithmetic.json").read_bytes()
)


def test_vectors__the_same_numbers_as_the_contracts() -> None:
    """The same file is read by the tests of the contracts."""
    for row in _rows("split"):
        fees = Fees(row["fee_bps"], row["ops_bps"], row["reserve_bps"])
        parts = split(row["amount"], fees, row["commission_bps"], has_market=True)
        assert parts == Split(*(row[n] for n in ("fee", "reserve", "host", "ops", "holders")))
    for row in _rows("ops"):
        parts_of_ops = divide_ops(row["ops"], row["signers"])
        assert parts_of_ops == OpsShares(row["each_signer"], row["proposer"], row["caller"])
    for row in _rows("exposure"):
        args = (row["wallet_total"], row["c4e_rate"], row["signers"])
        assert exposure_of_signer(*args) == row["exposure"]
    for row in _rows("rate_bounds"):
        bounds = rate_bounds(row["last"], 0, row["days_begun"] * 86_400)
        assert bounds == RateBounds(row["least"], row["most"])
    for row in _rows("limits"):
        limits = Ceilings(row["per_kwh"], row["per_hour"], row["flat"])
        assert energy_limit_wh(row["rated_w"], row["duration_s"]) == row["energy_limit_wh"]
        assert ceiling_of(limits, row["energy_wh"], row["duration_s"]) == row["ceiling"]


def _rows(name: str) -> list[dict[str, int]]:
    return [{key: int(value) for key, value in row.items()} for row in ROWS[name]]
