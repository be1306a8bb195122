"""What pages read from the chain: sums agree, states are right, calldata is what contracts take."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from chargera.app.chain_pages import (
    CLAIM,
    HOLDINGS_A_PAGE,
    WITHDRAW,
    Asset,
    assets_of,
    attesters_of,
    batch_on_chain,
    calldata,
    control_of,
    earnings_of,
    holder_of,
    leaf_state,
    payouts_of,
)
from chargera.app.settlement_ports import NetworkTerms
from chargera.domain.errors import InvalidInput, Unreadable
from chargera.domain.settlement import UNITS, Rail
from chargera.ledger.abi import Struct, interface
from chargera.proofs.chain_values import parse_hex
from tests.browser.sample_chain import (
    ATTESTERS,
    BORN,
    C4E,
    CONTRACTS,
    EURO,
    HOST,
    INVESTOR,
    KILLED,
    POLICY_1,
    PROPOSED,
    RELEASED,
    SETTLED,
    STRANGER,
    SampleContracts,
    address,
    notified,
    sample_settlement,
)

TERMS = sample_settlement().terms


@pytest.fixture
def contracts() -> SampleContracts:
    return SampleContracts()


async def assets(contracts: SampleContracts) -> dict[str, Asset]:
    return await assets_of(contracts, TERMS)


async def test_assets_are_those_of_the_newest_policy(contracts: SampleContracts) -> None:
    assert await assets(contracts) == {
        C4E: Asset(C4E, "C4E", 6, None),
        EURO: Asset(EURO, "simEUR", 6, "EUR"),
    }


async def test_an_asset_of_others_is_named_by_its_currency(contracts: SampleContracts) -> None:
    foreign = replace(POLICY_1.assets[1], asset=bytes.fromhex(address("a stablecoin")[2:]))
    terms = NetworkTerms(1, CONTRACTS, "NL*C4E", None, [replace(POLICY_1, assets=(foreign,))])
    (found,) = (await assets_of(contracts, terms)).values()
    assert found.symbol == "EUR"


# Earnings --------------------------------------------------------------------------------------


async def test_earnings_are_units_times_all_by_a_million(contracts: SampleContracts) -> None:
    born = BORN[0]
    units = {HOST: UNITS - RELEASED, INVESTOR: RELEASED}
    in_c4e, in_euro = await earnings_of(contracts, await assets(contracts), born.passport_id, units)
    assert in_c4e.total == 0
    assert in_euro.total == notified(born, EURO) > 0
    host, investor = in_euro.holders
    assert host.share == (UNITS - RELEASED) * in_euro.total // UNITS
    assert (host.paid, host.owed) == (host.share, 0)
    assert (investor.paid, investor.owed) == (0, investor.share)


# Payouts ---------------------------------------------------------------------------------------


async def test_a_batch_is_divided_to_the_last_unit(contracts: SampleContracts) -> None:
    payouts = await payouts_of(contracts, TERMS, SETTLED, {})
    for each in payouts.leaves:
        parts = each.split
        whole = parts.fee + parts.reserve + parts.host + parts.ops + parts.holders
        assert whole == each.leaf.amount
        assert each.vat_drawn == (each.leaf.vat if each.leaf.rail is Rail.WALLET else 0)
        assert each.host_total == parts.host + each.vat_drawn
    total, ops = payouts.total, payouts.ops
    assert total.fee + total.host + total.ops + total.holders == payouts.net
    assert ops.each_signer * 3 + ops.proposer + ops.caller == total.ops
    assert sum(payouts.to_holders.values()) == total.holders


async def test_sums_leave_out_what_was_not_paid(contracts: SampleContracts) -> None:
    payouts = await payouts_of(contracts, TERMS, SETTLED, {})
    states = [each.state for each in payouts.leaves]
    assert states == ["settled", "settled", "settled", "skipped", "disputed"]
    paid = [each for each in payouts.leaves if each.state == "settled"]
    assert payouts.net == sum(each.leaf.amount for each in paid)
    assert payouts.vat == sum(each.vat_drawn for each in paid)


async def test_what_is_not_settled_yet_counts_as_it_would_be(contracts: SampleContracts) -> None:
    payouts = await payouts_of(contracts, TERMS, PROPOSED, {})
    assert {each.state for each in payouts.leaves} == {"pending"}
    assert payouts.net == 4_000_001


async def test_the_recomputation_equals_what_the_chain_says(contracts: SampleContracts) -> None:
    payouts = await payouts_of(contracts, TERMS, SETTLED, {})
    stored = await batch_on_chain(contracts, SETTLED)
    assert stored.notified == payouts.to_holders
    assert stored.fees == {"burnedC4E": 8_950_000, "feesInAsset": 0}


async def test_a_reserve_needs_a_market(contracts: SampleContracts) -> None:
    fees = replace(POLICY_1.parameters.fees, reserve_bps=200)
    policy = replace(POLICY_1, parameters=replace(POLICY_1.parameters, fees=fees))
    terms = NetworkTerms(1, CONTRACTS, "NL*C4E", None, [policy])
    without = await payouts_of(contracts, terms, PROPOSED, {})
    contracts.answers["NetworkPolicy", "market"] = lambda: STRANGER
    with_market = await payouts_of(contracts, terms, PROPOSED, {})
    assert without.total.reserve == 0
    assert with_market.total.reserve > 0
    assert with_market.total.holders == without.total.holders


@dataclass(frozen=True)
class Placed:
    """An event with its place on the chain."""

    name: str
    topics: tuple[bytes, ...]
    members: Struct
    block_number: int
    transaction_hash: str = "0x"
    log_index: int = 0


@pytest.mark.parametrize(
    ("blocks", "at_settlement"),
    [([], 3_000), ([8], 2_000), ([12], 4_000), ([7, 8, 12], 1_000)],
    ids=["never lowered", "before", "after", "more than once"],
)
async def test_the_commission_is_that_of_the_settlement(
    contracts: SampleContracts, blocks: list[int], at_settlement: int
) -> None:
    first, second = SETTLED.document["passports"]
    contracts.said.append(Placed("Settled", (parse_hex(SETTLED.digest, field="d"),), Struct(), 10))
    for number, block in enumerate(blocks):
        members = Struct(commissionBps=2_000 - 1_000 * number)
        topics = (parse_hex(first, field="passport"),)
        contracts.said.append(Placed("CommissionLowered", topics, members, block))
    payouts = await payouts_of(contracts, TERMS, SETTLED, {first: 4_000, second: 4_000})
    for each in payouts.leaves:
        commission = at_settlement if each.passport_id == first else 3_000
        assert each.split.host == each.leaf.amount * commission // 10_000


async def test_before_the_settlement_the_commission_is_todays(contracts: SampleContracts) -> None:
    first = PROPOSED.document["passports"][0]
    topics = (parse_hex(first, field="passport"),)
    contracts.said.append(Placed("CommissionLowered", topics, Struct(commissionBps=1), 5))
    payouts = await payouts_of(contracts, TERMS, PROPOSED, {})
    assert payouts.leaves[0].split.host == payouts.leaves[0].leaf.amount * 3_000 // 10_000


async def test_a_policy_that_is_not_known_is_said(contracts: SampleContracts) -> None:
    terms = NetworkTerms(1, CONTRACTS, "NL*C4E", None, [replace(POLICY_1, number=2)])
    with pytest.raises(InvalidInput, match="no policy 1"):
        await payouts_of(contracts, terms, PROPOSED, {})


def test_a_leaf_is_pending_until_its_batch_is_settled() -> None:
    assert leaf_state(KILLED, 0) == "pending"
    assert leaf_state(replace(SETTLED, paid=None, disputed=None), 0) == "skipped"


async def test_challenges_are_told_in_order(contracts: SampleContracts) -> None:
    killed = await batch_on_chain(contracts, KILLED)
    assert [said["kind"] for said in killed.challenges] == ["killed"]
    assert killed.challenges[0]["challenger"] == STRANGER
    settled = await batch_on_chain(contracts, SETTLED)
    assert [said["kind"] for said in settled.challenges] == ["disputed", "ended"]
    assert (await batch_on_chain(contracts, PROPOSED)).challenges == ()


# Attesters and control -------------------------------------------------------------------------


async def test_attesters_are_labelled_by_who_runs_them(contracts: SampleContracts) -> None:
    found = await attesters_of(contracts, ATTESTERS[:3])
    assert [each.is_own for each in found.attesters] == [True, True, True, False]
    standings = [each.standing for each in found.attesters]
    assert standings == ["active", "slashed", "unbonding", "active"]
    assert (found.quorum, found.own_active) == (3, 1)


async def test_an_attester_that_was_never_active_is_said(contracts: SampleContracts) -> None:
    said = contracts.answers["AttesterRegistry", "attesterOf"](0)
    contracts.answers["AttesterRegistry", "attesterOf"] = lambda index: Struct(
        said | {"isActive": False}
    )
    found = await attesters_of(contracts, ())
    assert {each.standing for each in found.attesters} == {"inactive"}


async def test_control_is_what_the_contracts_say(contracts: SampleContracts) -> None:
    control = await control_of(contracts)
    assert control.bootstrap_proposes
    assert control.governor is None
    assert (control.delay_s, control.upgrade_notice_s) == (2 * 86_400, 49 * 86_400)
    assert {each.owner for each in control.owned} == {control.timelock}


async def test_control_after_the_hand_over(contracts: SampleContracts) -> None:
    contracts.answers["NetworkTimelock", "hasRole"] = lambda role, account: False
    contracts.answers["NetworkPolicy", "governor"] = lambda: STRANGER
    control = await control_of(contracts)
    assert (control.bootstrap_proposes, control.governor) == (False, STRANGER)


# Holders ---------------------------------------------------------------------------------------


async def test_an_owner_collects_on_what_he_has_not_released(contracts: SampleContracts) -> None:
    found = await holder_of(contracts, await assets(contracts), HOST.lower())
    assert found.address == HOST
    assert [each.passport_id for each in found.holdings] == [row.passport_id for row in BORN]
    first, second = found.holdings
    assert (first.is_owner, first.units, first.unreleased_units) == (True, 0, UNITS - RELEASED)
    assert second.unreleased_units == UNITS
    assert [(due.asset.symbol, due.amount) for due in found.in_hub] == [("simEUR", 6_219_000)]


async def test_a_holder_of_units_is_owed_his_part(contracts: SampleContracts) -> None:
    found = await holder_of(contracts, await assets(contracts), INVESTOR)
    (holding,) = found.holdings
    assert (holding.is_owner, holding.units, holding.unreleased_units) == (False, RELEASED, 0)
    assert [due.amount for due in holding.due] == [0, RELEASED * notified(BORN[0], EURO) // UNITS]
    assert found.in_hub == ()


async def test_units_that_came_in_a_batch_are_found(contracts: SampleContracts) -> None:
    found = await holder_of(contracts, await assets(contracts), STRANGER)
    assert [each.units for each in found.holdings] == [0]


async def test_many_passports_come_in_pages(contracts: SampleContracts) -> None:
    first = int(BORN[0].passport_id, 16)
    contracts.answers["ChargerPassport", "ownerOf"] = lambda token_id: HOST
    contracts.answers["ChargerShares", "claimable"] = lambda token_id, asset, holder: 0
    for number in range(HOLDINGS_A_PAGE + 1):
        topics = (bytes(32), bytes.fromhex(STRANGER[2:]).rjust(32, b"\0"))
        contracts.said.append(Placed("Transfer", topics, Struct(tokenId=first + number), 5))
    pages = [await holder_of(contracts, await assets(contracts), STRANGER, n) for n in (0, 1, 2, 9)]
    assert [(each.page, each.pages, each.passports) for each in pages] == [
        (1, 2, HOLDINGS_A_PAGE + 1),
        (1, 2, HOLDINGS_A_PAGE + 1),
        (2, 2, HOLDINGS_A_PAGE + 1),
        (2, 2, HOLDINGS_A_PAGE + 1),
    ]
    ids = [holding.passport_id for each in pages[1:3] for holding in each.holdings]
    assert ids == [f"{first + number:#066x}" for number in range(HOLDINGS_A_PAGE + 1)]
    nothing = await holder_of(contracts, await assets(contracts), C4E)
    assert (nothing.page, nothing.pages, nothing.passports) == (1, 1, 0)


async def test_a_mistyped_address_is_refused(contracts: SampleContracts) -> None:
    wrong = HOST[:-1] + ("0" if HOST[-1] != "0" else "1")
    with pytest.raises(Unreadable):
        await holder_of(contracts, await assets(contracts), wrong)


# Calldata --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signature", "contract", "arguments"),
    [
        (CLAIM, "ChargerShares", [int(BORN[0].passport_id, 16), EURO, HOST]),
        (WITHDRAW, "SettlementHub", [HOST, EURO]),
    ],
)
def test_calldata_is_what_the_contract_takes(
    signature: str, contract: str, arguments: list[Any]
) -> None:
    function = interface(contract).function(signature.partition("(")[0])
    made = parse_hex(calldata(signature, *arguments), field="calldata")
    assert made == function.encode(arguments)
