"""What the chain says, in the words of the domain."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chargera.domain.passport import CustodyKind, PassportStatus
from chargera.domain.settlement import BatchState, Rail, RateBounds
from chargera.ledger.abi import Struct
from chargera.ledger.chain_reads import (
    read_chain_passport,
    read_facts,
    read_passport,
    read_passport_now,
    read_policies,
    read_settlement,
)
from chargera.proofs.attestation import EscrowOnChain
from chargera.proofs.chain_values import ZERO_ADDRESS, address_text, operator_word
from chargera.proofs.receipt_settlement import Settlement
from chargera.proofs.settlement import batch_digest, escrow_id
from tests.unit.proofs.sample_batch import C4E, CHAIN_ID, EURO, HUB, PASSPORT, address, batch
from tests.unit.proofs.sample_settlement import policy

HOST = address_text(address(5))
OPERATOR = "NL*C4E"
VERSIONS = (policy(1), policy(2, 1_000, per_kwh=3_000_000))


def facts(**changes: Any) -> Struct:
    """A passport's facts as the contract gives them."""
    known = Struct(
        status=2, operatorId=operator_word(OPERATOR), host=HOST, latE7=520_000_000,
        lonE7=49_000_000, protocols=3, ratedW=44_000, evseCount=2, commissionBps=3_000,
        requestedAt=10, registeredAt=20, retiredAt=0, metadataDigest=b"\1" * 32,
        meterKeyHash=b"\2" * 32, stationKeyHash=bytes(32), registrationHash=b"\3" * 32,
    )  # fmt: skip
    return Struct(known | changes)


def record(kind: CustodyKind, at: int, value: bytes = bytes(32)) -> Struct:
    return Struct(
        kind=kind.number, recordedAt=at, logIndex=at + 100, recordDigest=b"\4" * 32, value=value
    )


def terms_of(version: int) -> tuple[int, Struct]:
    said = VERSIONS[version - 1]
    parameters = said.parameters
    return said.holds_from, Struct(
        feeBps=parameters.fees.fee_bps, opsBps=parameters.fees.ops_bps,
        reserveBps=parameters.fees.reserve_bps,
        settlementWindow=parameters.settlement_window_s,
        refundAskAfter=parameters.refund_ask_after_s,
        refundPayAfter=parameters.refund_pay_after_s,
        contestPeriod=parameters.contest_period_s, rulingTimeout=parameters.ruling_timeout_s,
        anchorInterval=parameters.anchor_interval_s, anchorSessions=parameters.anchor_sessions,
        disputeBond=parameters.dispute_bond,
        priceStepInterval=parameters.price_step_interval_s,
        lowUseBps=parameters.low_use_bps, minedHours=parameters.mined_hours,
        serviceEnergyWh=parameters.service_energy_wh, serviceDays=parameters.service_days,
        faultScoreMin=parameters.fault_score_min, uptimeBpsMin=parameters.uptime_bps_min,
    )  # fmt: skip


def assets_of(version: int) -> list[Struct]:
    return [
        Struct(
            asset=address_text(row.asset),
            decimals=row.decimals,
            currency=(row.currency or "").encode().ljust(3, b"\0"),
            ceilingPerKwh=row.ceilings.per_kwh,
            ceilingPerHour=row.ceilings.per_hour,
            ceilingFlat=row.ceilings.flat,
            c4eRate=row.c4e_rate,
        )
        for row in VERSIONS[version - 1].assets
    ]


class Contracts:
    """Contracts that answer from a table, and count what they are asked."""

    chain_id = CHAIN_ID

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.said: dict[str, list[Any]] = {}
        self.answers: dict[tuple[str, str], Callable[..., Any]] = {
            ("NetworkPolicy", "latest"): lambda: len(VERSIONS),
            ("NetworkPolicy", "parametersOf"): terms_of,
            ("NetworkPolicy", "assetsOf"): assets_of,
            ("NetworkPolicy", "assetAt"): lambda index: address_text((EURO, C4E)[index - 1]),
            ("ChargerPassport", "factsOf"): lambda passport: facts(),
            ("ChargerPassport", "custodyOf"): lambda passport: [],
            ("ChargerPassport", "operatorAt"): lambda passport, time: operator_word(
                OPERATOR if time < 50 else "DE*ABC"
            ),
            ("SettlementHub", "gatewayOf"): lambda gateway, asset: (70, 5),
            ("SettlementHub", "rateBounds"): lambda operator, asset: (1, 90, 110),
            ("SettlementHub", "exposureOf"): lambda index: 40,
            ("SettlementHub", "escrowOf"): lambda key: Struct(assetIndex=0, max=0, openedAt=0),
            ("SettlementHub", "settledWord"): lambda operator, asset, place: 0,
            ("AttesterRegistry", "bondOf"): lambda index: 100 + index,
            ("AttesterRegistry", "quorum"): lambda: 3,
            ("C4EToken", "clock"): lambda: 12_345,
        }

    def address(self, contract: str) -> str:
        return address_text({"SettlementHub": HUB, "C4EToken": C4E}[contract])

    async def read(self, contract: str, function: str, *arguments: Any) -> Any:
        self.asked.append((contract, function))
        return self.answers[contract, function](*arguments)

    async def events(
        self, contract: str, event: str, topics: Any = (), *, from_block: int = 0
    ) -> list[Any]:
        return self.said.get(event, [])


@pytest.fixture
def contracts() -> Contracts:
    return Contracts()


# Policies --------------------------------------------------------------------------------------


async def test_policies__every_version_with_its_assets(contracts: Contracts) -> None:
    assert await read_policies(contracts) == list(VERSIONS)


async def test_policies__what_is_known_is_not_read_again(contracts: Contracts) -> None:
    assert await read_policies(contracts, VERSIONS[:1]) == list(VERSIONS)
    assert contracts.asked.count(("NetworkPolicy", "parametersOf")) == 1


# Passports -------------------------------------------------------------------------------------


async def test_passport__facts_and_who_operated_it_since_when(contracts: Contracts) -> None:
    contracts.answers["ChargerPassport", "custodyOf"] = lambda passport: [
        record(CustodyKind.METER, 30, b"\5" * 32),
        record(CustodyKind.OPERATOR, 50),
    ]
    passport = await read_passport(contracts, PASSPORT)
    said = passport.facts
    assert (said.status, said.operator_id) == (PassportStatus.MINTED, OPERATOR)
    assert (said.host, said.commission_bps) == (address(5), 3_000)
    assert (said.lat_e7, said.lon_e7, said.rated_w) == (520_000_000, 49_000_000, 44_000)
    assert passport.operators == ((20, OPERATOR), (30, OPERATOR), (50, "DE*ABC"))
    assert passport.operator_at(49) == OPERATOR
    assert passport.operator_at(50) == "DE*ABC"
    assert passport.meters == ((30, b"\5" * 32),)


async def test_passport__not_registered_yet__nobody_operates_it(contracts: Contracts) -> None:
    contracts.answers["ChargerPassport", "factsOf"] = lambda passport: facts(
        status=1, registeredAt=0
    )
    passport = await read_passport(contracts, PASSPORT)
    assert passport.operators == ()
    assert passport.operator_at(1_000) is None


async def test_passport_now__how_many_custody_records_it_has(contracts: Contracts) -> None:
    contracts.answers["ChargerPassport", "custodyOf"] = lambda passport: [
        record(CustodyKind.REPAIR, 30)
    ]
    now = await read_passport_now(contracts, PASSPORT)
    assert (now.passport, now.custody_count) == (PASSPORT, 1)


async def test_chain_passport__its_history_and_owners(contracts: Contracts) -> None:
    contracts.answers["ChargerPassport", "custodyOf"] = lambda passport: [
        record(CustodyKind.FIRMWARE, 30)
    ]
    contracts.said = {
        "CustodyRecorded": [Struct(transaction_hash="0x1")],
        "Transfer": [Struct(members=Struct(to=HOST))],
    }
    said = await read_chain_passport(contracts, "the chain", PASSPORT)
    assert said.custody == [(CustodyKind.FIRMWARE, b"\4" * 32, 130, bytes(32))]
    assert (said.recorded_by, said.owners) == (["0x1"], [HOST])
    assert said.facts is not None


async def test_chain_passport__none_of_that_id__no_facts(contracts: Contracts) -> None:
    contracts.answers["ChargerPassport", "factsOf"] = lambda passport: facts(status=0)
    said = await read_chain_passport(contracts, "the chain", PASSPORT)
    assert (said.source, said.facts, said.custody) == ("the chain", None, ())


# A batch's grounds -----------------------------------------------------------------------------


async def test_facts__of_the_batch_and_of_the_attester_who_asks(contracts: Contracts) -> None:
    said = await read_facts(contracts, batch(), 2)
    assert (said.chain_id, said.hub, said.c4e, said.now) == (CHAIN_ID, HUB, C4E, 12_345)
    assert said.policies == list(VERSIONS)
    assert list(said.passports) == [PASSPORT]
    assert (said.gateway_free, said.rate_bounds) == (70, RateBounds(90, 110))
    assert (said.bond_left, said.quorum) == (102 - 40, 3)
    assert (said.escrows, said.settled) == ({}, frozenset())


async def test_facts__escrows_of_wallets_in_whatever_asset_they_are(contracts: Contracts) -> None:
    one = batch()
    (wallet,) = (leaf for leaf in one.leaves if leaf.rail is Rail.WALLET)
    key = escrow_id(wallet.payer, OPERATOR, wallet.session_key)
    contracts.answers["SettlementHub", "escrowOf"] = lambda asked: Struct(
        assetIndex=2 if asked == key else 0, max=900, openedAt=11
    )
    said = await read_facts(contracts, one, 0)
    assert said.escrows == {key: EscrowOnChain(C4E, 900, 11)}


async def test_facts__no_gateway__none_is_asked(contracts: Contracts) -> None:
    said = await read_facts(contracts, batch(gateway=ZERO_ADDRESS, fiat_total=0), 0)
    assert said.gateway_free == 0
    assert ("SettlementHub", "gatewayOf") not in contracts.asked


async def test_facts__numbers_that_are_settled_across_words(contracts: Contracts) -> None:
    one = batch()
    first, second = one.leaves
    leaves = (replace(first, cdr_no=255), replace(second, cdr_no=256))
    words = {0: 1 << 255, 1: 0b10}
    contracts.answers["SettlementHub", "settledWord"] = lambda operator, asset, place: words[place]
    said = await read_facts(contracts, replace(one, leaves=leaves), 0)
    assert said.settled == frozenset({255})
    words[1] = 0b01
    said = await read_facts(contracts, replace(one, leaves=leaves), 0)
    assert said.settled == frozenset({255, 256})


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (0, None),
        (1, BatchState.PROPOSED),
        (2, BatchState.SETTLED),
        (3, BatchState.KILLED),
    ],
)
async def test_settlement__how_far_a_batch_and_a_number_are(
    contracts: Contracts, state: int, said: BatchState | None
) -> None:
    contracts.answers["SettlementHub", "batchOf"] = lambda digest: Struct(state=state)
    contracts.answers["SettlementHub", "isSettled"] = lambda operator, asset, number: number == 1
    one = batch()
    settlement = Settlement(CHAIN_ID, HUB, one, ())
    assert settlement.digest == batch_digest(one, CHAIN_ID, HUB)
    answers = [
        await read_settlement(contracts, "the chain", settlement, leaf) for leaf in one.leaves
    ]
    assert [answer.is_settled for answer in answers] == [False, True]
    assert {answer.state for answer in answers} == {said}
