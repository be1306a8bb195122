"""What the chain says, in the words of the domain: policies, passports, a batch's grounds."""

from collections.abc import Sequence
from typing import Any

from chargera.app.settlement_ports import Contracts
from chargera.domain.passport import CustodyKind, PassportFacts, PassportStatus
from chargera.domain.policy import AssetPolicy, PolicyParameters, PolicyVersion
from chargera.domain.settlement import BatchState, Ceilings, Fees, Rail, RateBounds
from chargera.proofs.attestation import ChainFacts, EscrowOnChain, PassportOnChain
from chargera.proofs.chain_values import ZERO_ADDRESS, operator_word, parse_address
from chargera.proofs.custody import PassportNow
from chargera.proofs.passport_file import ChainPassport
from chargera.proofs.receipt_settlement import ChainAnswer, Settlement
from chargera.proofs.settlement import Batch, Leaf, escrow_id

HUB = "SettlementHub"
POLICY = "NetworkPolicy"
PASSPORT = "ChargerPassport"
REGISTRY = "AttesterRegistry"
_STATUSES = tuple(PassportStatus)
_BATCH_STATES = (None, BatchState.PROPOSED, BatchState.SETTLED, BatchState.KILLED)


async def read_policies(
    contracts: Contracts, known: Sequence[PolicyVersion] = ()
) -> list[PolicyVersion]:
    """Return all versions of the policy; those that are `known` never change."""
    found = list(known)
    for version in range(len(found) + 1, await contracts.read(POLICY, "latest") + 1):
        holds_from, terms = await contracts.read(POLICY, "parametersOf", version)
        rows = await contracts.read(POLICY, "assetsOf", version)
        found.append(
            PolicyVersion(version, holds_from, _parameters(terms), tuple(map(_asset, rows)))
        )
    return found


def _parameters(terms: Any) -> PolicyParameters:
    return PolicyParameters(
        fees=Fees(terms.feeBps, terms.opsBps, terms.reserveBps),
        settlement_window_s=terms.settlementWindow,
        refund_ask_after_s=terms.refundAskAfter,
        refund_pay_after_s=terms.refundPayAfter,
        contest_period_s=terms.contestPeriod,
        ruling_timeout_s=terms.rulingTimeout,
        anchor_interval_s=terms.anchorInterval,
        anchor_sessions=terms.anchorSessions,
        dispute_bond=terms.disputeBond,
        price_step_interval_s=terms.priceStepInterval,
        low_use_bps=terms.lowUseBps,
        mined_hours=terms.minedHours,
        service_energy_wh=terms.serviceEnergyWh,
        service_days=terms.serviceDays,
        fault_score_min=terms.faultScoreMin,
        uptime_bps_min=terms.uptimeBpsMin,
    )


def _asset(row: Any) -> AssetPolicy:
    return AssetPolicy(
        asset=parse_address(row.asset, field="asset"),
        decimals=row.decimals,
        currency=row.currency.rstrip(b"\0").decode("ascii") or None,
        ceilings=Ceilings(row.ceilingPerKwh, row.ceilingPerHour, row.ceilingFlat),
        c4e_rate=row.c4eRate,
    )


async def _facts(contracts: Contracts, passport: bytes) -> PassportFacts:
    said = await contracts.read(PASSPORT, "factsOf", passport)
    return PassportFacts(
        status=_STATUSES[said.status],
        operator_id=_operator(said.operatorId),
        host=parse_address(said.host, field="host"),
        lat_e7=said.latE7,
        lon_e7=said.lonE7,
        protocols=said.protocols,
        rated_w=said.ratedW,
        evse_count=said.evseCount,
        commission_bps=said.commissionBps,
        requested_at=said.requestedAt,
        registered_at=said.registeredAt,
        retired_at=said.retiredAt,
        metadata_digest=said.metadataDigest,
        meter_key_hash=said.meterKeyHash,
        station_key_hash=said.stationKeyHash,
        registration_hash=said.registrationHash,
    )


async def read_passport_now(contracts: Contracts, passport: bytes) -> PassportNow:
    """Return a passport's facts, and how many custody records it has."""
    custody = await contracts.read(PASSPORT, "custodyOf", passport)
    return PassportNow(passport, await _facts(contracts, passport), len(custody))


async def read_passport(contracts: Contracts, passport: bytes) -> PassportOnChain:
    """Return a passport's facts, who operated it since when, and which meters came."""
    facts = await _facts(contracts, passport)
    custody = await contracts.read(PASSPORT, "custodyOf", passport)
    times = {facts.registered_at} | {record.recordedAt for record in custody}
    operators = []
    for time in sorted(time for time in times if time):
        word = await contracts.read(PASSPORT, "operatorAt", passport, time)
        operators.append((time, _operator(word)))
    exchanges = [record for record in custody if record.kind == CustodyKind.METER.number]
    meters = tuple((record.recordedAt, record.value) for record in exchanges)
    return PassportOnChain(facts, tuple(operators), meters)


async def read_chain_passport(contracts: Contracts, source: str, passport: bytes) -> ChainPassport:
    """Return what the chain says of a passport: facts, custody, owners; no facts if none."""
    facts = await _facts(contracts, passport)
    if facts.status is PassportStatus.NONE:
        return ChainPassport(source, None)
    records = await contracts.read(PASSPORT, "custodyOf", passport)
    kinds = tuple(CustodyKind)
    custody = [(kinds[r.kind], r.recordDigest, r.logIndex, r.value) for r in records]
    events = await contracts.events(PASSPORT, "CustodyRecorded", [passport])
    moves = await contracts.events(PASSPORT, "Transfer", [None, None, passport])
    return ChainPassport(
        source,
        facts,
        custody,
        recorded_by=[event.transaction_hash for event in events],
        owners=[move.members["to"] for move in moves],
    )


def _operator(word: bytes) -> str:
    return word.rstrip(b"\0").decode("ascii", "replace")


async def read_facts(
    contracts: Contracts,
    batch: Batch,
    attester: int,
    known: Sequence[PolicyVersion] = (),
) -> ChainFacts:
    """Return what the chain says now of all that a batch rests on.

    `attester`: the registry index of who asks; `known`: policy versions that were read before.
    """
    operator = operator_word(batch.operator_id)
    escrows = {}
    for leaf in batch.leaves:
        if leaf.rail is Rail.WALLET:
            key = escrow_id(leaf.payer, batch.operator_id, leaf.session_key)
            found = await _escrow(contracts, key)
            if found is not None:
                escrows[key] = found
    free = 0
    if batch.gateway != ZERO_ADDRESS:
        free, _ = await contracts.read(HUB, "gatewayOf", batch.gateway, batch.asset)
    _, least, most = await contracts.read(HUB, "rateBounds", operator, batch.asset)
    bond = await contracts.read(REGISTRY, "bondOf", attester)
    exposure = await contracts.read(HUB, "exposureOf", attester)
    return ChainFacts(
        chain_id=contracts.chain_id,
        hub=parse_address(contracts.address(HUB), field="hub"),
        c4e=parse_address(contracts.address("C4EToken"), field="c4e"),
        now=await contracts.read("C4EToken", "clock"),
        policies=await read_policies(contracts, known),
        passports={p: await read_passport(contracts, p) for p in batch.passports},
        escrows=escrows,
        gateway_free=free,
        settled=await _settled(contracts, batch, operator),
        rate_bounds=RateBounds(least, most),
        bond_left=bond - exposure,
        quorum=await contracts.read(REGISTRY, "quorum"),
    )


async def _escrow(contracts: Contracts, key: bytes) -> EscrowOnChain | None:
    said = await contracts.read(HUB, "escrowOf", key)
    if not said.assetIndex:
        return None
    asset = await contracts.read(POLICY, "assetAt", said.assetIndex)
    return EscrowOnChain(parse_address(asset, field="asset"), said.max, said.openedAt)


async def _settled(contracts: Contracts, batch: Batch, operator: bytes) -> frozenset[int]:
    numbers = [leaf.cdr_no for leaf in batch.leaves]
    words = {
        place: await contracts.read(HUB, "settledWord", operator, batch.asset, place)
        for place in {number // 256 for number in numbers}
    }
    return frozenset(n for n in numbers if words[n // 256] >> n % 256 & 1)


async def read_settlement(
    contracts: Contracts, source: str, settlement: Settlement, leaf: Leaf
) -> ChainAnswer:
    """Return what the hub says of a receipt's batch and of its leaf's number.

    `source` is how the answer is called. Raises Unavailable if the chain does not answer.
    """
    batch = settlement.batch
    row = await contracts.read(HUB, "batchOf", settlement.digest)
    is_settled = await contracts.read(
        HUB, "isSettled", operator_word(batch.operator_id), batch.asset, leaf.cdr_no
    )
    return ChainAnswer(source, _BATCH_STATES[row.state], is_settled)
