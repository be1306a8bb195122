"""Which bills get a number, of which lane, in which amounts; and which are payable off chain."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chargera.app.numbering import Escrow, Numbering, Payable
from chargera.app.settlement_ports import NetworkTerms
from chargera.app.testing import SeededEntropy
from chargera.domain.bill import Bill
from chargera.domain.policy import AssetPolicy, PolicyVersion
from chargera.domain.pricing import MeteredSession, RegisterValue, price_session
from chargera.domain.settlement import Ceilings
from chargera.ledger.evm.deployment import DEFAULT_POLICY
from chargera.proofs.chain_values import address_text
from chargera.proofs.ocpi import tariff_from_ocpi

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
END = START + timedelta(hours=1)
EURO, C4E, WALLET, GATEWAY, HUB = (bytes([n]) * 20 for n in range(1, 6))
CEILINGS = Ceilings(2_000_000, 30_000_000, 50_000_000)
POLICY = PolicyVersion(
    1,
    int(START.timestamp()) - 3_600,
    DEFAULT_POLICY,
    (
        AssetPolicy(C4E, 6, None, Ceilings(20_000_000, 300_000_000, 500_000_000), 10**6),
        AssetPolicy(EURO, 6, "EUR", CEILINGS, 12_345_678),
    ),
)
TARIFF = tariff_from_ocpi(
    {
        "country_code": "NL",
        "currency": "EUR",
        "elements": [
            {"price_components": [{"price": "0.30", "step_size": 1, "type": "ENERGY", "vat": "21"}]}
        ],
        "id": "T",
        "last_updated": "2026-01-01T00:00:00Z",
        "party_id": "C4E",
    }
)
PAYABLE = Payable("0xaa", START - timedelta(hours=1), None, None)
ESCROW = Escrow("0x" + "ab" * 16, address_text(WALLET), address_text(EURO))


def terms(**changes: object) -> NetworkTerms:
    contracts = {"SettlementHub": address_text(HUB), "C4EToken": address_text(C4E)}
    made = NetworkTerms(7, contracts, "NL*C4E", address_text(GATEWAY), [POLICY])
    return replace(made, **changes)  # type: ignore[arg-type] # names of its members


def session(energy_wh: int = 10_000, ended_at: datetime = END) -> MeteredSession:
    registers = (RegisterValue(START, 1_000), RegisterValue(ended_at, 1_000 + energy_wh))
    return MeteredSession(START, ended_at, "UTC", registers)


def bill(metered: MeteredSession) -> Bill:
    return price_session(TARIFF, metered)


def numbering(payable: Payable | None = PAYABLE, **changes: object) -> Numbering:
    known = {} if payable is None else {"s": payable}
    lanes = {address_text(EURO): 4, address_text(C4E): 0}
    return Numbering(terms(**changes), SeededEntropy(1), known, lanes)


def test_fiat__the_next_number_of_the_currencys_lane__and_its_payment() -> None:
    numbers, metered = numbering(), session()
    one = numbers.number("s", bill(metered), metered, END)
    assert one is not None
    assert (one.cdr_no, one.asset) == (4, address_text(EURO))
    assert numbers.lanes[address_text(EURO)] == 5
    settlement = one.settlement
    assert (settlement["amount"], settlement["vat"]) == ("3000000", "630000")
    assert (settlement["rail"], settlement["payer"]) == ("fiat", None)
    assert (settlement["policy_version"], settlement["c4e_rate"]) == (1, None)
    assert one.payment is not None
    assert one.payment["gateway"] == address_text(GATEWAY)
    assert one.payment["session_key"] == settlement["session_key"]


def test_wallet__its_escrows_lane_payer_and_key__no_payment_of_its_own() -> None:
    metered = session()
    one = numbering(replace(PAYABLE, escrow=ESCROW)).number("s", bill(metered), metered, END)
    assert one is not None
    settlement = one.settlement
    assert (settlement["rail"], settlement["payer"]) == ("wallet", ESCROW.payer)
    assert settlement["session_key"] == ESCROW.session_key
    assert one.payment is None


def test_wallet_in_c4e__by_the_frozen_rate_of_the_currencys_asset__rounded_up() -> None:
    metered = session(energy_wh=33)
    escrow = replace(ESCROW, asset=address_text(C4E))
    one = numbering(replace(PAYABLE, escrow=escrow)).number("s", bill(metered), metered, END)
    assert one is not None
    assert (one.cdr_no, one.asset) == (0, address_text(C4E))
    assert one.settlement["c4e_rate"] == "12345678"
    assert one.settlement["amount"] == str(-(-10_000 * 12_345_678 // 10**6))


@pytest.mark.parametrize(
    ("payable", "changes"),
    [
        (None, {}),
        (replace(PAYABLE, registered_at=END + timedelta(seconds=1)), {}),
        (replace(PAYABLE, retired_at=END - timedelta(seconds=1)), {}),
        (PAYABLE, {"gateway": None}),
        (PAYABLE, {"policies": []}),
        (PAYABLE, {"policies": [replace(POLICY, holds_from=int(END.timestamp()))]}),
        (PAYABLE, {"policies": [replace(POLICY, assets=POLICY.assets[:1])]}),
        (replace(PAYABLE, escrow=replace(ESCROW, asset=address_text(HUB))), {}),
        (
            replace(PAYABLE, escrow=replace(ESCROW, asset=address_text(C4E))),
            {"policies": [replace(POLICY, assets=POLICY.assets[:1])]},
        ),
    ],
    ids=[
        "no passport",
        "registered later",
        "retired before",
        "no gateway",
        "no policy",
        "policy later",
        "no asset of the currency",
        "escrow in another asset",
        "no rate for the currency",
    ],
)
def test_what_cannot_be_settled__no_number_is_used(
    payable: Payable | None, changes: dict[str, object]
) -> None:
    numbers, metered = numbering(payable, **changes), session()
    before = dict(numbers.lanes)
    assert numbers.number("s", bill(metered), metered, END) is None
    assert numbers.lanes == before


def test_no_second_between_start_and_end__no_number() -> None:
    metered = session(energy_wh=1, ended_at=START + timedelta(milliseconds=400))
    assert numbering().number("s", bill(metered), metered, END) is None


def test_more_than_the_policy_lets_a_bill_ask__no_number() -> None:
    low = replace(POLICY.assets[1], ceilings=Ceilings(1, 1, 1))
    changed = replace(POLICY, assets=(POLICY.assets[0], low))
    metered = session()
    assert numbering(policies=[changed]).number("s", bill(metered), metered, END) is None
