"""A small network in memory: logged sessions, their batch, and what an attester gathers of it."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from chargera.app.billing import BillingCase, cdr_record, facts_of
from chargera.app.ports import QuotedTariff
from chargera.domain.passport import PassportFacts, PassportStatus
from chargera.domain.policy import AssetPolicy, PolicyParameters, PolicyVersion
from chargera.domain.settlement import Ceilings, Fees, Rail, RateBounds, in_asset, in_c4e
from chargera.domain.station import OcppVersion
from chargera.domain.transaction import SessionState, Transaction, count_rows
from chargera.proofs import records
from chargera.proofs.attestation import (
    BatchEvidence,
    ChainFacts,
    EscrowOnChain,
    PassportOnChain,
    SessionEvidence,
)
from chargera.proofs.cdr import judge
from chargera.proofs.chain_values import ZERO_ADDRESS, address_text, hex_text, topic_address
from chargera.proofs.entry import EntryKind, envelope_bytes
from chargera.proofs.evidence import LoggedRecord
from chargera.proofs.ocpi import tariff_digest, tariff_from_ocpi
from chargera.proofs.passport import token_id
from chargera.proofs.receipt import OF_SESSION, receipt_document
from chargera.proofs.receipt_settlement import Settlement
from chargera.proofs.settlement import Batch, batch_digest, escrow_id, leaf_of_cdr
from chargera.proofs.tree import inclusion_proof
from chargera.proofs.trust import Trust, TrustedAttester, TrustedChain
from tests.unit.proofs.sample_batch import C4E, CHAIN_ID, EURO, HUB, address, public_key, sign
from tests.unit.proofs.sample_receipt import (
    START,
    STATION_ID,
    TARIFF,
    TOPIC,
    SampleLog,
    anchor_of,
    events,
    station,
    trust,
)

_ALWAYS = (EntryKind.STATION_REGISTERED, EntryKind.TARIFF_PUBLISHED)
GATEWAY, PAYER, HOST, PROPOSER = 8, 7, 5, 9
OPERATOR = "NL*C4E"
PASSPORT = token_id("M", "N")
REGISTERED_AT = int(START.timestamp()) - 3_600
NOW = int(START.timestamp()) + 86_400
EURO_RATE = 20_000_000  # 20 C4E for one EUR of six decimals


def parameters() -> PolicyParameters:
    return PolicyParameters(
        fees=Fees(500, 100, 300),
        settlement_window_s=86_400,
        refund_ask_after_s=11 * 86_400,
        refund_pay_after_s=3 * 86_400,
        contest_period_s=3 * 86_400,
        ruling_timeout_s=21 * 86_400,
        anchor_interval_s=3_600,
        anchor_sessions=100,
        dispute_bond=20_000_000,
        price_step_interval_s=3_600,
        low_use_bps=500,
        mined_hours=0,
        service_energy_wh=1,
        service_days=1,
        fault_score_min=1,
        uptime_bps_min=1,
    )


def policy(number: int = 1, holds_from: int = 0, *, per_kwh: int = 2_000_000) -> PolicyVersion:
    limits = Ceilings(per_kwh, 1_000_000, 1_000_000)
    in_tokens = Ceilings(20 * per_kwh, 20_000_000, 20_000_000)
    return PolicyVersion(
        number,
        holds_from,
        parameters(),
        (
            AssetPolicy(EURO, 6, "EUR", limits, EURO_RATE),
            AssetPolicy(C4E, 6, None, in_tokens, 10**6),
        ),
    )


def settlement_trust() -> Trust:
    return replace(
        trust(),
        chain=TrustedChain(CHAIN_ID, "http://127.0.0.1:1/rpc", {"SettlementHub": HUB}),
        attesters=tuple(TrustedAttester(address(n), public_key(n)) for n in (1, 2, 3)),
    )


@dataclass
class Network:
    """A station with a passport, its sessions in a log, and the chain as an attester reads it."""

    log: SampleLog = field(default_factory=SampleLog)
    sessions: dict[int, list[int]] = field(default_factory=dict)
    """The log indexes of what the feed shows, by the log index of the CDR."""
    rows: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    lanes: dict[bytes, list[int]] = field(default_factory=dict)
    """The log indexes of the numbered CDRs by asset, in the order of their numbers."""
    assets: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log.append(EntryKind.NETWORK_CREATED, {"operator_id": OPERATOR}, of_station=False)
        self.registered = self.log.append(
            EntryKind.STATION_REGISTERED, records.station_record(station())
        )
        self.digest = tariff_digest(TARIFF)
        self.published = self.log.append(
            EntryKind.TARIFF_PUBLISHED,
            records.tariff_record("T1", 1, self.digest, TARIFF, START),
            of_station=False,
        )
        self.minted = self.log.append(
            EntryKind.PASSPORT_REGISTERED,
            records.passport_registered_record(
                station_id=STATION_ID,
                passport_id=hex_text(PASSPORT),
                registration_hash=hex_text(bytes(32)),
                transaction_hash=hex_text(bytes(32)),
                host=address_text(address(HOST)),
                rated_w=22_000,
                registered_at=START - timedelta(hours=1),
                at=START - timedelta(hours=1),
            ),
        )

    def add_session(
        self,
        place: int,
        *,
        rail: Rail = Rail.FIAT,
        asset: bytes = EURO,
        starts_after_h: float | None = None,
        terms: dict[str, Any] | None = None,
        payment: dict[str, Any] | None = None,
        cdr: dict[str, Any] | None = None,
    ) -> int:
        """Log a session of an hour and return the log index of its CDR.

        `terms`, `payment` and `cdr` replace members of what the operator logs.
        """
        shift = timedelta(hours=2 * place if starts_after_h is None else starts_after_h)
        session_id = f"0190a6a0-0000-7000-8000-{place:012}"
        key = hex_text(place.to_bytes(16, "big"))
        rows = [
            row._replace(at=row.at + shift, received_at=row.received_at + shift) for row in events()
        ]
        reference = {
            "digest": self.digest,
            "log_index": self.published,
            "tariff_id": "T1",
            "version": 1,
        }
        encoded = [records.encode(records.event_record(row)) for row in rows]
        shown = [self.registered, self.published, self.minted, *self.lanes.get(asset, [])[-1:]]
        shown.append(
            self.log.append(
                EntryKind.SESSION_STARTED, {"session_id": session_id, "tariff": reference}
            )
        )
        shown.append(
            self.log.append(
                EntryKind.SESSION_ENDED,
                {"events": records.events_summary(encoded), "session_id": session_id},
            )
        )
        wallet = rail is Rail.WALLET
        paid = records.payment_record(
            rail=rail,
            session_key=key,
            session_id=session_id,
            asset=address_text(asset),
            payer=address_text(address(PAYER)) if wallet else None,
            gateway=None if wallet else address_text(address(GATEWAY)),
            maximum=500_000_000 if wallet else None,
            transaction_hash=hex_text(bytes(32)) if wallet else None,
            at=START,
        )
        shown.append(self.log.append(EntryKind.PAYMENT, paid | (payment or {})))
        transaction = Transaction(
            session_id, STATION_ID, 1, 1, OcppVersion.V1_6, "7", 0, START + shift, START + shift
        )
        count_rows(transaction, rows, b",".join(encoded))
        transaction.state = SessionState.ENDED
        quoted = QuotedTariff("T1", 1, self.digest, tariff_from_ocpi(TARIFF), self.published)
        case = BillingCase(transaction, rows, station(), quoted, [], None, None, None, None)
        facts = facts_of(case)
        judgement = judge(facts)
        assert judgement.bill is not None
        record = cdr_record(case, facts, judgement, judgement.bill, f"cdr-{place}", OPERATOR)
        amounts = [
            in_asset(minor, "EUR", 6)
            for minor in (judgement.bill.net_minor, judgement.bill.vat_minor)
        ]
        if asset == C4E:
            amounts = [in_c4e(amount, EURO_RATE) for amount in amounts]
        record["settlement"] = {
            "amount": str(amounts[0]),
            "asset": address_text(asset),
            "c4e_rate": str(EURO_RATE) if asset == C4E else None,
            "cdr_no": len(self.lanes.get(asset, [])),
            "chain_id": CHAIN_ID,
            "hub": address_text(HUB),
            "passport_id": hex_text(PASSPORT),
            "payer": address_text(address(PAYER)) if wallet else None,
            "policy_version": 1,
            "rail": str(rail),
            "session_key": key,
            "vat": str(amounts[1]),
        } | (terms or {})
        index = self.log.append(EntryKind.CDR, record | (cdr or {}))
        shown.append(index)
        self.sessions[index] = shown
        self.rows[index] = tuple(records.event_record(row) for row in rows)
        self.lanes.setdefault(asset, []).append(index)
        self.assets[index] = asset
        return index

    def logged(self, index: int) -> LoggedRecord:
        tree = self.log.tree()
        envelope, record, salt = self.log.entries[index]
        path = tuple(inclusion_proof(index, tree.size, tree.node))
        return LoggedRecord(index, envelope_bytes(envelope), path, records.encode(record), salt)

    def batch(self, *indexes: int, **changes: Any) -> Batch:
        """Return the batch of these CDRs, right but for `changes`."""
        leaves = []
        for index in indexes:
            envelope, record, _ = self.log.entries[index]
            leaf = leaf_of_cdr(record, index, envelope_bytes(envelope), 0)
            assert leaf is not None
            leaves.append(leaf)
        tree = self.log.tree()
        asset = self.assets[indexes[0]]
        fiat_total = sum(leaf.amount for leaf in leaves if leaf.rail is Rail.FIAT)
        one = Batch(
            operator_id=OPERATOR,
            asset=asset,
            checkpoint=tree.root(),
            tree_size=tree.size,
            topic=topic_address(TOPIC.topic_id),
            sequence_number=1,
            valid_until=NOW + 3_600,
            proposer=address(PROPOSER),
            c4e_rate=10**6 if asset == C4E else EURO_RATE,
            gateway=address(GATEWAY) if fiat_total else ZERO_ADDRESS,
            fiat_total=fiat_total,
            passports=(PASSPORT,),
            leaves=tuple(leaves),
        )
        return replace(one, **changes)

    def evidence(self, batch: Batch, **changes: Any) -> BatchEvidence:
        """Return what an honest feed, log and mirror show of a batch, but for `changes`."""
        note = self.log.note()
        digest = batch_digest(batch, CHAIN_ID, HUB)
        one = BatchEvidence(
            batch=batch,
            gateway_signature=None if batch.gateway == ZERO_ADDRESS else sign(GATEWAY, digest),
            head=note,
            anchor=anchor_of(note),
            sessions={
                leaf.log_index: SessionEvidence(
                    tuple(self.logged(index) for index in self.sessions[leaf.log_index]),
                    self.rows[leaf.log_index],
                )
                for leaf in batch.leaves
                if leaf.log_index in self.sessions
            },
        )
        return replace(one, **changes)

    def settlement(self, *indexes: int, signers: tuple[int, ...] = (1, 2)) -> Settlement:
        """Return the settlement of these CDRs, signed by attesters with these keys."""
        batch = self.batch(*indexes)
        digest = batch_digest(batch, CHAIN_ID, HUB)
        return Settlement(
            CHAIN_ID, HUB, batch, tuple((address(n), sign(n, digest)) for n in signers)
        )

    def receipt(self, index: int, settlement: Settlement | None) -> bytes:
        """Return the receipt of the session whose CDR is at a log index."""
        note = self.log.note()
        session_id = self.log.entries[index][1]["session_id"]
        kept = [
            i
            for i in self.sessions[index]
            if self.log.entries[i][0].kind in _ALWAYS
            or (
                self.log.entries[i][1].get("session_id") == session_id
                and self.log.entries[i][0].kind in OF_SESSION
            )
        ]
        readings = [records.event_from_record(row, field="e") for row in self.rows[index]]
        entries = [self.log.receipt_entry(i, note) for i in kept]
        return receipt_document(session_id, entries, readings, anchor_of(note), settlement)

    def chain(self, **changes: Any) -> ChainFacts:
        """Return what the chain says, but for `changes`."""
        escrows = {
            escrow_id(address(PAYER), OPERATOR, place.to_bytes(16, "big")): EscrowOnChain(
                asset, 500_000_000, int(START.timestamp())
            )
            for place, asset in enumerate(self.assets.values())
        }
        one = ChainFacts(
            chain_id=CHAIN_ID,
            hub=HUB,
            c4e=C4E,
            now=NOW,
            policies=(policy(),),
            passports={PASSPORT: PassportOnChain(facts(), ((REGISTERED_AT, OPERATOR),))},
            escrows=escrows,
            gateway_free=1_000_000_000,
            settled=frozenset(),
            rate_bounds=RateBounds(EURO_RATE, EURO_RATE),
            bond_left=10_000_000_000,
            quorum=2,
        )
        return replace(one, **changes)


def facts(**changes: Any) -> PassportFacts:
    one = PassportFacts(
        status=PassportStatus.MINTED,
        operator_id=OPERATOR,
        host=address(HOST),
        lat_e7=520_000_000,
        lon_e7=40_000_000,
        protocols=1,
        rated_w=22_000,
        evse_count=1,
        commission_bps=3_000,
        requested_at=REGISTERED_AT - 100,
        registered_at=REGISTERED_AT,
        retired_at=0,
        metadata_digest=bytes(32),
        meter_key_hash=bytes(32),
        station_key_hash=bytes(32),
        registration_hash=bytes(32),
    )
    return replace(one, **changes)
