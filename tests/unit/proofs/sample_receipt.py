"""A small log in memory and receipts from it, made with the product's own writers."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chargera.app.billing import BillingCase, CurrentCdr, cdr_record, correction_record, facts_of
from chargera.app.ports import QuotedTariff
from chargera.domain.messages import ReadingContext, TransactionEventKind
from chargera.domain.station import ChargingStation, Connector, ConnectorType, OcppVersion
from chargera.domain.transaction import (
    SessionEvent,
    SessionState,
    Transaction,
    add_to_hash,
    count_rows,
)
from chargera.proofs import records
from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.cdr import Correction, SignedMeterValue, judge
from chargera.proofs.checkpoint import Checkpoint, sign_checkpoint
from chargera.proofs.entry import EntryKind, Envelope, commit, envelope_bytes
from chargera.proofs.note import VerifierKey
from chargera.proofs.ocpi import tariff_digest, tariff_from_ocpi
from chargera.proofs.receipt import ReceiptEntry, receipt_document
from chargera.proofs.running_hash import ZERO_HASH, running_hash
from chargera.proofs.tlog_proof import TlogProof
from chargera.proofs.tree import MemoryTree, inclusion_proof, leaf_hash
from chargera.proofs.trust import Trust, TrustedTopic

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
ORIGIN = "log.test/c4e/1"
STATION_ID = "CP-1"
SESSION_ID = "0190a6a0-0000-7000-8000-000000000001"
LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))  # a test key
METER_KEY = ec.derive_private_key(4711, ec.SECP256R1())  # a test key
METER_KEY_DER = METER_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
TOPIC = TrustedTopic("0.0.1001", "0.0.1002", 0)
TARIFF: dict[str, Any] = {
    "country_code": "NL",
    "currency": "EUR",
    "elements": [
        {
            "price_components": [
                {"price": "0.30", "step_size": 1, "type": "ENERGY", "vat": "21"},
                {"price": "1.00", "step_size": 1, "type": "PARKING_TIME", "vat": "21"},
            ]
        }
    ],
    "id": "T1",
    "last_updated": "2026-01-01T00:00:00Z",
    "party_id": "C4E",
}


def log_verifier() -> VerifierKey:
    raw = LOG_KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return VerifierKey(ORIGIN, raw)


def station(*, meter: bool = False) -> ChargingStation:
    return ChargingStation(
        station_id=STATION_ID,
        manufacturer="M",
        model="X",
        serial_number="N",
        latitude="52",
        longitude="4",
        time_zone="Europe/Amsterdam",
        connectors=(Connector(1, 1, ConnectorType.TYPE2, 22_000, 1),),
        ocpp_versions=frozenset({OcppVersion.V1_6}),
        security_profile=2,
        plain_allowed=False,
        meter_key_der_hex=METER_KEY_DER.hex() if meter else None,
        host_name=None,
        registered_at=START,
    )


def events(*, registers: tuple[int, ...] = (1000, 4000, 11_000)) -> list[SessionEvent]:
    kinds = [TransactionEventKind.STARTED, *[TransactionEventKind.UPDATED] * (len(registers) - 2)]
    kinds.append(TransactionEventKind.ENDED)
    contexts = {
        TransactionEventKind.STARTED: ReadingContext.BEGIN,
        TransactionEventKind.UPDATED: ReadingContext.PERIODIC,
        TransactionEventKind.ENDED: ReadingContext.END,
    }
    return [
        SessionEvent(
            n,
            kind,
            True,
            START + timedelta(minutes=30 * n),
            START + timedelta(minutes=30 * n, seconds=1),
            None,
            register_wh,
            11_000,
            contexts[kind],
            None,
        )
        for n, (kind, register_wh) in enumerate(zip(kinds, registers, strict=True))
    ]


@dataclass
class SampleLog:
    """Entries in order; receipts are cut from them under one head."""

    entries: list[tuple[Envelope, dict[str, Any], bytes]] = field(default_factory=list)

    def append(self, kind: EntryKind, record: dict[str, Any], *, of_station: bool = True) -> int:
        salt = bytes([len(self.entries) % 256]) * 32
        sequence = sum(1 for e, _, _ in self.entries if e.station) + 1
        envelope = Envelope(
            kind,
            STATION_ID if of_station else None,
            sequence if of_station else None,
            START,
            commit(salt, records.encode(record)),
        )
        self.entries.append((envelope, record, salt))
        return len(self.entries) - 1

    def tree(self) -> MemoryTree:
        return MemoryTree([leaf_hash(envelope_bytes(e)) for e, _, _ in self.entries])

    def note(self) -> bytes:
        tree = self.tree()
        head = Checkpoint(ORIGIN, tree.size, tree.root())
        return sign_checkpoint(head, log_verifier(), LOG_KEY.sign)

    def receipt_entry(self, index: int, note: bytes | None = None) -> ReceiptEntry:
        tree = self.tree()
        envelope, record, salt = self.entries[index]
        path = inclusion_proof(index, tree.size, tree.node)
        proof = TlogProof(index, tuple(path), note or self.note())
        return ReceiptEntry(
            envelope.kind,
            envelope.station,
            envelope.seq,
            records.time_text(envelope.received_at),
            record,
            salt,
            proof,
        )


def anchor_of(note: bytes) -> AnchoredMessage:
    consensus = "1777881600.000000001"
    hashed = running_hash(
        ZERO_HASH,
        payer_account_id=TOPIC.payer,
        topic_id=TOPIC.topic_id,
        consensus_timestamp=consensus,
        sequence_number=1,
        message=note,
    )
    return AnchoredMessage(
        topic_id=TOPIC.topic_id,
        payer_account_id=TOPIC.payer,
        sequence_number=1,
        consensus_timestamp=consensus,
        message=note,
        running_hash=hashed,
        previous_running_hash=ZERO_HASH,
    )


def trust(*, topics: bool = True, operator_id: str = "NL*C4E") -> Trust:
    return Trust(ORIGIN, (log_verifier(),), operator_id, (TOPIC,) if topics else None)


@dataclass
class Sample:
    """One billed session in a log, with all that may be changed about it."""

    log: SampleLog
    events: list[SessionEvent]
    indexes: list[int]

    def document(self, *, anchored: bool = True) -> bytes:
        note = self.log.note()
        entries = [self.log.receipt_entry(index, note) for index in self.indexes]
        return receipt_document(
            SESSION_ID, entries, self.events, anchor_of(note) if anchored else None
        )


def sample(
    *,
    signed: list[bytes] | None = None,
    correction: Correction | None = None,
    late: SessionEvent | None = None,
) -> Sample:
    """Log a session as the server does and return what its receipt is made of."""
    log = SampleLog()
    where = station(meter=signed is not None)
    rows = events()
    tariff = tariff_from_ocpi(TARIFF)
    digest = tariff_digest(TARIFF)
    log.append(EntryKind.NETWORK_CREATED, {"operator_id": "NL*C4E"}, of_station=False)
    registered = log.append(EntryKind.STATION_REGISTERED, records.station_record(where))
    published = log.append(
        EntryKind.TARIFF_PUBLISHED,
        records.tariff_record("T1", 1, digest, TARIFF, START),
        of_station=False,
    )
    quoted = QuotedTariff("T1", 1, digest, tariff, published)
    reference = {"digest": digest, "log_index": published, "tariff_id": "T1", "version": 1}
    indexes = [registered, published]
    indexes.append(
        log.append(EntryKind.SESSION_STARTED, {"session_id": SESSION_ID, "tariff": reference})
    )
    values = []
    for place, raw in enumerate(signed or []):
        context = ReadingContext.BEGIN if place == 0 else ReadingContext.END
        values.append(SignedMeterValue(context, raw))
        record = records.signed_value_record(SESSION_ID, str(context), raw, START)
        indexes.append(log.append(EntryKind.SIGNED_VALUE, record))
    encoded = [records.encode(records.event_record(row)) for row in rows]
    indexes.append(
        log.append(
            EntryKind.SESSION_ENDED,
            {"events": records.events_summary(encoded), "session_id": SESSION_ID},
        )
    )
    if correction is not None:
        record = {"correction": correction_record(correction), "session_id": SESSION_ID}
        indexes.append(log.append(EntryKind.OPERATOR_CORRECTION, record))
    transaction = Transaction(SESSION_ID, STATION_ID, 1, 1, OcppVersion.V1_6, "7", 0, START, START)
    count_rows(transaction, rows, b",".join(encoded))
    transaction.state = SessionState.ENDED
    case = BillingCase(transaction, rows, where, quoted, values, None, None, correction, "ada")
    indexes.append(_bill(log, case, "cdr-1"))
    if late is not None:
        current = CurrentCdr("cdr-1", indexes[-1], log.entries[-1][1])
        rows.append(late)
        add_to_hash(transaction, late, records.event_bytes(late))
        transaction.event_count += 1
        record = {"event": records.event_record(late), "session_id": SESSION_ID}
        indexes.append(log.append(EntryKind.METER_VALUE_LATE, record))
        was = current.record["bill"]
        indexes.append(
            log.append(
                EntryKind.CREDIT_CDR,
                {
                    "cdr_id": "credit-1",
                    "credits": "cdr-1",
                    "credits_log_index": current.log_index,
                    "gross_minor": -was["gross_minor"],
                    "net_minor": -was["net_minor"],
                    "session_id": SESSION_ID,
                    "vat_minor": -was["vat_minor"],
                },
            )
        )
        case = replace(case, current=current)
        indexes.append(_bill(log, case, "cdr-2"))
    log.append(EntryKind.SECURITY_EVENT, {"note": "an entry of something else"})
    return Sample(log, rows, indexes)


def _bill(log: SampleLog, case: BillingCase, cdr_id: str) -> int:
    facts = facts_of(case)
    judgement = judge(facts)
    assert judgement.bill is not None, judgement.reasons
    record = cdr_record(case, facts, judgement, judgement.bill, cdr_id, "NL*C4E")
    return log.append(EntryKind.CDR, record)
