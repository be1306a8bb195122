"""The fee table: published prices, to the last digit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput
from chargera.ledger.hedera.fees import MAINNET, USD_E10, Service, usd_text


@pytest.mark.parametrize(
    ("size_bytes", "dollars"),
    [
        (1, "0.000800"),
        (100, "0.000800"),
        (101, "0.00080068"),
        (200, "0.000868"),
        (300, "0.000936"),
        (1024, "0.00142832"),
    ],
)
def test_message__costs_by_its_bytes(size_bytes: int, dollars: str) -> None:
    assert usd_text(MAINNET.message(size_bytes), 8).rstrip("0") == dollars.rstrip("0")


@pytest.mark.parametrize("size_bytes", [-1, 0, 1025])
def test_message__of_no_such_length__is_refused(size_bytes: int) -> None:
    with pytest.raises(InvalidInput, match="1 to 1024 bytes"):
        MAINNET.message(size_bytes)


def test_each_signature_and_key_beyond_the_first_costs() -> None:
    assert MAINNET.message(200, signatures=3) - MAINNET.message(200) == USD_E10 * 2 // 100_000
    assert usd_text(MAINNET.topic_create(keys=3), 2) == "0.03"
    assert usd_text(MAINNET.topic_create(keys=0), 2) == "0.01"
    assert usd_text(MAINNET.transfer(accounts=4), 4) == "0.0003"


@pytest.mark.parametrize(
    ("gas", "dollars"),
    [(50_000, "0.0043"), (100_000, "0.0085"), (500_000, "0.0426"), (1_000_000, "0.0852")],
)
def test_gas__costs_what_is_published(gas: int, dollars: str) -> None:
    assert usd_text(MAINNET.ethereum(gas), 4) == dollars


def test_composed_fees() -> None:
    assert usd_text(MAINNET.scheduled_call(), 2) == "0.12"
    assert usd_text(MAINNET.account_by_transfer(), 4) == "0.0501"
    assert MAINNET.base_usd_e10.keys() == set(Service)


@given(st.integers(-(10**15), 10**15))
def test_dollars__are_exact_with_ten_places(usd_e10: int) -> None:
    text = usd_text(usd_e10)
    assert int(text.replace(".", "")) == usd_e10


@pytest.mark.parametrize(
    ("usd_e10", "places", "text"),
    [
        (5, 9, "0.000000001"),
        (4, 9, "0.000000000"),
        (USD_E10 * 3 // 2, 0, "2"),
        (-15, 9, "-0.000000002"),
    ],
)
def test_dollars__round_half_up(usd_e10: int, places: int, text: str) -> None:
    assert usd_text(usd_e10, places) == text
