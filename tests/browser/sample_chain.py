"""The sample network's chain: contracts that answer from tables, passports, batches, lanes.

Amounts agree with each other: what the holders of a passport were notified is what the settled
batch gives them by the product's own arithmetic.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from chargera.app.chain_pages import OWNED, PASSPORT, POLICY, PROPOSER_ROLE, REGISTRY
from chargera.app.custody import CustodyRow, CustodyStep
from chargera.app.keeper import HUB, SHARES
from chargera.app.passports import PassportRow, Step
from chargera.app.settlement import Answer, BatchRow, BatchStage
from chargera.app.settlement_ports import NetworkTerms
from chargera.app.settlement_views import LaneRun
from chargera.domain.passport import CustodyKind
from chargera.domain.passport import Protocol as Spoken
from chargera.domain.policy import AssetPolicy, PolicyParameters, PolicyVersion
from chargera.domain.settlement import UNITS, Ceilings, Fees, Rail, split
from chargera.ledger.abi import Struct
from chargera.proofs.batch_file import batch_document
from chargera.proofs.chain_values import ZERO_ADDRESS, address_text, hex_text, topic_address
from chargera.proofs.passport import custody_value, metadata_document, metadata_of
from chargera.proofs.records import custody_record
from chargera.proofs.settlement import Batch, Leaf
from chargera.web.pages import PageSettlement
from tests.browser.sample_network import NOW, OPERATOR_ID, TOPIC, SampleNetwork, charging_station

FEES = Fees(fee_bps=500, ops_bps=100, reserve_bps=0)
COMMISSION_BPS = 3_000
RELEASED = 250_000
CHAIN_ID = 271_828


def address(name: str) -> str:
    """An address that is the same in every run."""
    return address_text(hashlib.sha256(name.encode()).digest()[:20])


def word(name: str) -> str:
    """32 bytes that are the same in every run, in hex."""
    return hex_text(hashlib.sha256(name.encode()).digest())


NAMES = (*OWNED, PASSPORT, SHARES, "C4EToken", "TestEuro", "TimelockController")
CONTRACTS = {name: address(name) for name in NAMES}
EURO, C4E = CONTRACTS["TestEuro"], CONTRACTS["C4EToken"]
HOST, INVESTOR, STRANGER = address("host"), address("investor"), address("stranger")
KEEPER, GATEWAY, DRIVER = address("keeper"), address("gateway"), address("driver")
ATTESTERS = tuple(address(f"attester {number}") for number in range(4))

POLICY_1 = PolicyVersion(
    1,
    int((NOW - timedelta(days=50)).timestamp()),
    PolicyParameters(
        FEES, 600, 11 * 86_400, 3 * 86_400, 600, 21 * 86_400,
        3_600, 256, 20_000_000, 900, 1_000, 0, 20_000_000, 365, 70, 9_500,
    ),
    (
        AssetPolicy(bytes.fromhex(C4E[2:]), 6, None, Ceilings(0, 0, 0), 1_000_000),
        AssetPolicy(bytes.fromhex(EURO[2:]), 6, "EUR", Ceilings(0, 0, 0), 10_000_000),
    ),
)  # fmt: skip


def passport(
    station_id: str, step: Step, *, refusal: str | None = None, consented: bool = True
) -> PassportRow:
    """The registration of a sample station."""
    station = charging_station(station_id)
    station = replace(
        station,
        manufacturer=station.manufacturer.replace("è", "e"),
        longitude=station.longitude.rstrip("0"),
    )
    metadata = metadata_of(station, OPERATOR_ID)
    is_known = step not in (Step.HOST, Step.ONBOARDING, Step.ANCHOR)
    is_born = step is Step.REGISTERED
    return PassportRow(
        registration_no=1,
        station_id=station_id,
        passport_id=hex_text(metadata.token_id),
        step=step,
        metadata=metadata_document(metadata),
        request={
            "commission_bps": COMMISSION_BPS,
            "meter_key_hash": word(f"{station_id} meter"),
            "nonce": word(f"{station_id} nonce"),
            "station_key_hash": hex_text(bytes(32)),
        },
        host=None if step is Step.HOST else HOST,
        consent="0x" if consented else None,
        onboarding_log_index=3 if is_known else None,
        topic_id=TOPIC.topic_id if is_known else None,
        sequence_number=7 if is_known else None,
        reading_log_index=None,
        registration_hash=word(f"{station_id} birth") if is_known else None,
        transaction_hash=word(f"{station_id} sent") if is_born else None,
        mintable_at=NOW + timedelta(hours=5) if step is Step.CONTEST else None,
        mint_transaction_hash=None,
        registered_at=NOW - timedelta(days=9) if is_born else None,
        registered_log_index=11 if is_born else None,
        retired_at=None,
        refusal=refusal,
        requested_at=NOW - timedelta(days=10),
    )


PASSPORTS = (
    passport("Amstel-01", Step.REGISTERED),
    passport("Erasmus-01", Step.REGISTERED),
    passport("Market-01", Step.READING),
    passport("Harbour-01", Step.CONTEST),
    passport("Museum-01", Step.CONSENT, consented=False),
    passport("Windmill-01", Step.HOST, consented=False),
    passport("Harbour-02", Step.REFUSED, refusal="its serial number has a passport already"),
)
BORN = PASSPORTS[:2]


def custody(
    number: int, kind: CustodyKind, value: bytes, note: str, step: CustodyStep
) -> CustodyRow:
    """A custody record of the first sample passport."""
    row = BORN[0]
    at = NOW - timedelta(days=3 - number)
    is_recorded = step is CustodyStep.RECORDED
    return CustodyRow(
        custody_no=number,
        passport_id=row.passport_id,
        station_id=row.station_id,
        kind=kind,
        number=number,
        value=hex_text(value),
        record=custody_record(
            station_id=row.station_id,
            passport_id=row.passport_id,
            number=number,
            kind=kind,
            value=hex_text(value),
            note=note,
            by="operator",
            at=at,
        ),
        log_index=5 + number,
        host=HOST,
        step=step,
        requested_at=at,
        topic_id=TOPIC.topic_id if is_recorded else None,
        sequence_number=8 + number if is_recorded else None,
        transaction_hash=word(f"custody {number}") if is_recorded else None,
        recorded_at=at if is_recorded else None,
        refusal="attesters refuse: no reading of the new meter" if step is REFUSED else None,
    )


REFUSED = CustodyStep.REFUSED
PLACE = custody_value(CustodyKind.LOCATION, (523_702_000, 48_952_000))
CUSTODY = (
    custody(0, CustodyKind.METER, hashlib.sha256(b"key").digest(), "a new meter", REFUSED),
    custody(0, CustodyKind.METER, hashlib.sha256(b"key").digest(), "", CustodyStep.RECORDED),
    custody(1, CustodyKind.REPAIR, bytes(32), "a new cable", CustodyStep.RECORDED),
    custody(2, CustodyKind.LOCATION, PLACE, "to the other bank", CustodyStep.HOST),
)


def leaf(number: int, net: int, rail: Rail = Rail.FIAT, place: int = 0) -> Leaf:
    """A bill of the sample."""
    end = int((NOW - timedelta(hours=60 - number)).timestamp())
    is_wallet = rail is Rail.WALLET
    return Leaf(
        evidence_digest=hashlib.sha256(f"cdr {number}".encode()).digest(),
        payer=bytes.fromhex(DRIVER[2:]) if is_wallet else ZERO_ADDRESS,
        cdr_no=number,
        log_index=4 + number,
        amount=net,
        vat=net * 21 // 100,
        session_key=bytes(15) + bytes([number]),
        start=end - 3_600,
        end=end,
        import_wh=18_412,
        export_wh=0,
        passport_index=place,
        evse=1,
        rail=rail,
        proof_level=3,
        policy_version=1,
    )


def batch(name: str, state: BatchStage, leaves: Sequence[Leaf], **more: Any) -> BatchRow:
    """A batch of the sample."""
    asset = more.pop("asset", EURO)
    fiat = sum(each.amount for each in leaves if each.rail is Rail.FIAT)
    document = batch_document(
        Batch(
            operator_id=OPERATOR_ID,
            asset=bytes.fromhex(asset[2:]),
            checkpoint=hashlib.sha256(name.encode()).digest(),
            tree_size=40,
            topic=topic_address(TOPIC.topic_id),
            sequence_number=41,
            valid_until=int((NOW + timedelta(days=6)).timestamp()),
            proposer=bytes.fromhex(KEEPER[2:]),
            c4e_rate=10_000_000 if asset == EURO else 1_000_000,
            gateway=bytes.fromhex(GATEWAY[2:]) if fiat else ZERO_ADDRESS,
            fiat_total=fiat,
            passports=tuple(bytes.fromhex(row.passport_id[2:]) for row in BORN),
            leaves=tuple(leaves),
        )
    )
    times: dict[str, datetime] = {}
    if state in (BatchStage.PROPOSED, BatchStage.SETTLED, BatchStage.KILLED):
        more["propose_transaction_hash"] = word(f"{name} proposed")
        times = {"proposed_at": NOW, "window_ends_at": NOW + timedelta(minutes=10)}
    if state in (BatchStage.SETTLED, BatchStage.KILLED):
        more["settle_transaction_hash"] = word(f"{name} ended")
    formed_at = NOW - timedelta(hours=2)
    return BatchRow(word(name), OPERATOR_ID, asset, state, document, formed_at, **times, **more)


SETTLED = batch(
    "settled",
    BatchStage.SETTLED,
    [
        leaf(0, 5_980_000),
        leaf(1, 2_410_000, Rail.WALLET),
        leaf(2, 12_340_001, Rail.WALLET, 1),
        leaf(3, 730_000),
        leaf(4, 4_100_000, Rail.WALLET, 1),
    ],
    paid=0b00111,
    disputed=0b10000,
)
PROPOSED = batch("proposed", BatchStage.PROPOSED, [leaf(6, 3_000_000), leaf(7, 1_000_001, place=1)])
KILLED = batch("killed", BatchStage.KILLED, [leaf(8, 9_000_000)])
FORMED = batch("formed", BatchStage.FORMED, [leaf(9, 2_000_000)])
IN_C4E = batch(
    "signed", BatchStage.SIGNED, [leaf(0, 44_000_000, Rail.WALLET)], asset=C4E, log_index=12
)
BATCHES = (FORMED, IN_C4E, KILLED, PROPOSED, SETTLED)

LANES = (
    LaneRun(EURO, 0, 2, "settled", None),
    LaneRun(EURO, 3, 3, "skipped", SETTLED.digest),
    LaneRun(EURO, 4, 4, "disputed", SETTLED.digest),
    LaneRun(EURO, 5, 5, "settled", None),
    LaneRun(EURO, 6, 7, "pending", PROPOSED.digest),
    LaneRun(EURO, 8, 10, "waiting", None),
    LaneRun(C4E, 0, 0, "pending", IN_C4E.digest),
)

ANSWERS = {
    row.digest: [
        Answer(row.digest, ATTESTERS[place], place, "signed", "0x", None, None, NOW)
        for place in range(3)
    ]
    for row in (IN_C4E, KILLED, PROPOSED, SETTLED)
} | {
    FORMED.digest: [
        Answer(FORMED.digest, ATTESTERS[0], 0, "signed", "0x", None, None, NOW),
        Answer(
            FORMED.digest, ATTESTERS[1], 1, "refused", None, 9,
            "the tariff in force gives 187 for this session, not 200", NOW,
        ),
    ]
}  # fmt: skip


def notified(row: PassportRow, asset: str) -> int:
    """What the settled batch gave to the holders of a passport, by the product's arithmetic."""
    if asset != SETTLED.asset:
        return 0
    return sum(
        split(each.amount, FEES, COMMISSION_BPS, has_market=False).holders
        for place, each in enumerate(SETTLED.batch.leaves)
        if SETTLED.paid is not None and SETTLED.paid >> place & 1
        if SETTLED.document["passports"][each.passport_index] == row.passport_id
    )


def units_of(token_id: int, holder: str) -> int:
    """The released units of the first passport are an investor's."""
    return RELEASED if (token_id, holder) == (int(BORN[0].passport_id, 16), INVESTOR) else 0


def unreleased(token_id: int) -> int:
    """What the owner has not released."""
    return UNITS - units_of(token_id, INVESTOR)


def claimable(token_id: int, asset: str, holder: str) -> int:
    """What nobody has claimed yet: the owner has, the investor has not."""
    return units_of(token_id, holder) * notified(_by_token(token_id), asset) // UNITS


def _by_token(token_id: int) -> PassportRow:
    return next(row for row in BORN if int(row.passport_id, 16) == token_id)


def _facts(token_id: bytes) -> Struct:
    row = _by_token(int.from_bytes(token_id))
    return Struct(
        status=2, operatorId=b"NL*C4E\0\0", host=HOST, latE7=0, lonE7=0, protocols=1,
        ratedW=44_000, evseCount=2, commissionBps=COMMISSION_BPS, requestedAt=1, registeredAt=2,
        retiredAt=0, metadataDigest=bytes(32), meterKeyHash=hashlib.sha256(b"key").digest(),
        stationKeyHash=bytes(32),
        registrationHash=bytes.fromhex((row.registration_hash or "0x")[2:]),
    )  # fmt: skip


def _custody(token_id: bytes) -> list[Struct]:
    if hex_text(token_id) != BORN[0].passport_id:
        return []
    at = int((NOW - timedelta(days=2)).timestamp())
    return [
        Struct(kind=kind, recordedAt=at, logIndex=5 + kind, recordDigest=bytes(32), value=bytes(32))
        for kind in (2, 5)
    ]


def _batch_of(digest: bytes) -> Struct:
    state = {KILLED.digest: 3, SETTLED.digest: 2, PROPOSED.digest: 1}.get(hex_text(digest), 0)
    return Struct(
        proposedAt=1, windowEndsAt=2, state=state, quorum=3, disputed=0, signers=7 if state else 0
    )


def _attester(index: int) -> Struct:
    return Struct(
        signer=ATTESTERS[index], beneficiary=ATTESTERS[index], bond=10**10,
        unbondingSince=int(index == 2), frozenSince=0, frozenUntil=0,
        isActive=index not in (1, 2), isSlashed=index == 1,
    )  # fmt: skip


READS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("C4EToken", "symbol"): lambda: "C4E",
    ("TestEuro", "symbol"): lambda: "simEUR",
    (PASSPORT, "ownerOf"): lambda token_id: HOST,
    (PASSPORT, "factsOf"): _facts,
    (PASSPORT, "custodyOf"): _custody,
    (PASSPORT, "settlementFacts"): lambda token_id: (HOST, COMMISSION_BPS, 1, 0),
    (SHARES, "assets"): lambda: [EURO],
    (SHARES, "balanceOf"): lambda holder, token_id: units_of(token_id, holder),
    (SHARES, "unreleased"): unreleased,
    (SHARES, "claimable"): claimable,
    (SHARES, "totalNotified"): lambda token_id, asset: notified(_by_token(token_id), asset),
    (HUB, "batchOf"): _batch_of,
    (HUB, "exposureOf"): lambda index: 41_200_000 * index,
    (HUB, "withdrawable"): lambda account, asset: (
        6_219_000 if (account, asset) == (HOST, EURO) else 0
    ),
    (REGISTRY, "attesterCount"): lambda: 4,
    (REGISTRY, "attesterOf"): _attester,
    (REGISTRY, "bondOf"): lambda index: 0 if index == 1 else 10**10,
    (REGISTRY, "quorum"): lambda: 3,
    (POLICY, "market"): lambda: address_text(ZERO_ADDRESS),
    (POLICY, "governor"): lambda: address_text(ZERO_ADDRESS),
    (POLICY, "UPGRADE_NOTICE"): lambda: 49 * 86_400,
    (POLICY, "UPGRADE_TERM"): lambda: 14 * 86_400,
    ("NetworkTimelock", "bootstrap"): lambda: address("bootstrap"),
    ("NetworkTimelock", "getMinDelay"): lambda: 2 * 86_400,
    ("NetworkTimelock", "hasRole"): lambda role, account: (
        role == PROPOSER_ROLE and account == address("bootstrap")
    ),
} | {
    (name, function): answer
    for name in OWNED
    for function, answer in (
        ("owner", lambda: CONTRACTS["TimelockController"]),
        ("pendingUpgrade", lambda: Struct(executableFrom=0)),
    )
}


@dataclass(frozen=True)
class SampleEvent:
    """An event with its indexed members as topics."""

    name: str
    topics: tuple[bytes, ...]
    members: Struct
    transaction_hash: str
    block_time: int


def _event(name: str, indexed: Sequence[str | int], sent: str = "", **members: Any) -> SampleEvent:
    topics = tuple(
        (
            value.to_bytes(32)
            if isinstance(value, int)
            else bytes.fromhex(value[2:]).rjust(32, b"\0")
        )
        for value in indexed
    )
    at = int((NOW - timedelta(days=9)).timestamp())
    return SampleEvent(name, topics, Struct(members), sent or word(name), at)


def _events() -> list[SampleEvent]:
    zero, found = address_text(ZERO_ADDRESS), []
    for row in BORN:
        token_id = int(row.passport_id, 16)
        found.append(_event("Transfer", [zero, HOST, token_id], tokenId=token_id, to=HOST))
        total = notified(row, EURO)
        found.append(
            _event(
                "Notified",
                [token_id, EURO],
                SETTLED.settle_transaction_hash or "",
                amount=total,
            )
        )
        paid = unreleased(token_id) * total // UNITS
        found.append(
            _event("Claimed", [token_id, EURO, HOST], asset=EURO, holder=HOST, amount=paid)
        )
    first = int(BORN[0].passport_id, 16)
    found.append(
        _event("TransferSingle", [HOST, zero, INVESTOR], id=first, value=RELEASED, to=INVESTOR)
    )
    found.append(_event("TransferBatch", [HOST, zero, STRANGER], ids=[first], to=STRANGER))
    found.append(_event("Killed", [KILLED.digest, STRANGER], why=2, challenger=STRANGER))
    found.append(
        _event("Disputed", [1, SETTLED.digest, DRIVER], disputeId=1, leaf=4, disputer=DRIVER)
    )
    found.append(_event("DisputeEnded", [1], leafStands=True))
    found.append(_event("FeesTaken", [SETTLED.digest], burnedC4E=8_950_000, feesInAsset=0))
    return found


class SampleContracts:
    """`Contracts` that answer from the tables above."""

    chain_id = CHAIN_ID

    def __init__(self) -> None:
        self.answers = dict(READS)
        self.said = _events()

    def address(self, contract: str) -> str:
        return CONTRACTS[contract]

    async def read(self, contract: str, function: str, *arguments: Any) -> Any:
        return self.answers[contract.partition("@")[0], function](*arguments)

    async def events(
        self,
        contract: str,
        event: str,
        topics: Sequence[bytes | None] = (),
        *,
        from_block: int = 0,
    ) -> Sequence[Any]:
        wanted = [topic and topic.rjust(32, b"\0") for topic in topics]
        return [
            said
            for said in self.said
            if said.name == event
            and all(
                topic is None or topic == is_there
                for topic, is_there in zip(wanted, said.topics, strict=False)
            )
        ]


class SamplePassports:
    """Registrations."""

    async def rows(
        self, before: int | None = None, limit: int | None = None
    ) -> Sequence[PassportRow]:
        return [row for row in PASSPORTS if before is None or row.registration_no < before][:limit]

    async def by_id(self, passport_id: str) -> PassportRow | None:
        return next((row for row in PASSPORTS if row.passport_id == passport_id), None)

    async def of_station(self, station_id: str) -> PassportRow | None:
        return next((row for row in PASSPORTS if row.station_id == station_id), None)

    async def spoken(self, station_id: str) -> tuple[Sequence[Spoken], Mapping[Spoken, int]]:
        return ([Spoken.OCPP_2_0_1], {Spoken.OCPP_1_6: 3} if station_id == "Erasmus-01" else {})


class SampleCustody:
    """Custody records."""

    async def of_station(self, station_id: str) -> Sequence[CustodyRow]:
        return CUSTODY if station_id == BORN[0].station_id else []


class SampleSettlement:
    """Batches, answers and lanes."""

    def __init__(self, network: SampleNetwork) -> None:
        self.network = network

    async def batches(
        self, stages: Sequence[BatchStage], limit: int | None = None, before: str | None = None
    ) -> Sequence[BatchRow]:
        found = [row for row in BATCHES if row.state in stages]
        first = next((n + 1 for n, row in enumerate(found) if row.digest == before), 0)
        return found[first:][:limit]

    async def batch(self, digest: str) -> BatchRow | None:
        return next((row for row in BATCHES if row.digest == digest), None)

    async def answers(self, digest: str) -> Sequence[Answer]:
        return ANSWERS[digest]

    async def sessions_of(self, row: BatchRow) -> Mapping[int, str]:
        return {
            found["cdr_no"]: session.row.session_id
            for session in self.network.sessions.values()
            if (found := session.row.settlement) and found["batch"] == row.digest
        }

    async def lane_runs(self) -> Sequence[LaneRun]:
        return LANES


def settle(network: SampleNetwork) -> None:
    """Give the billed sessions of the sample their places in the lanes, and one none."""
    rows: list[LaneRun | None] = [None, *LANES[:3], *LANES[4:6]]
    billed = [s for s in network.sessions.values() if s.row.state == "billed"]
    for session, lane in zip(billed, reversed(rows[: len(billed)]), strict=False):
        said: dict[str, Any] = {"batch": None, "cdr_no": None, "state": "off_chain"}
        if lane is not None:
            batch = SETTLED.digest if lane.state == "settled" else lane.batch
            said = {"batch": batch, "cdr_no": lane.first, "state": lane.state}
        if said["state"] == "settled":
            said["owed_minor"] = 120
        session.row = replace(session.row, settlement=said)


def sample_settlement() -> PageSettlement:
    """What the pages are given of the chain."""
    terms = NetworkTerms(CHAIN_ID, CONTRACTS, OPERATOR_ID, GATEWAY, [POLICY_1])
    return PageSettlement(terms, SampleContracts(), ATTESTERS[:3])
