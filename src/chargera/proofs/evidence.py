"""What a party without the operator's database is given of the log: entries with their records.

Each record is opened against its entry and each entry against a head, so that whoever reads on
knows that it is what was logged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chargera.domain.errors import ChargEraError, InvalidInput
from chargera.domain.transaction import SessionEvent
from chargera.proofs import canonical, records
from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.chain_values import topic_address
from chargera.proofs.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from chargera.proofs.entry import EntryKind, Envelope, commit, parse_envelope
from chargera.proofs.receipt import OF_SESSION, Receipt, ReceiptEntry
from chargera.proofs.tlog_proof import TlogProof
from chargera.proofs.tree import leaf_hash, verify_inclusion
from chargera.proofs.trust import Trust

_OF_RECEIPT = OF_SESSION | {EntryKind.STATION_REGISTERED, EntryKind.TARIFF_PUBLISHED}


@dataclass(frozen=True, slots=True)
class LoggedRecord:
    """An entry of the public log, its audit path, and the private record and salt behind it."""

    index: int
    entry: bytes
    path: tuple[bytes, ...]
    record: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """A logged record that is what its entry says, in a head that it stands under."""

    index: int
    envelope: Envelope
    record: Mapping[str, Any]
    entry: bytes
    salt: bytes

    @property
    def kind(self) -> EntryKind:
        """What the entry records."""
        return self.envelope.kind


@dataclass(frozen=True, slots=True)
class AnchoredHead:
    """A head, the topic that holds it as a long-zero address, and its message there."""

    head: Checkpoint
    topic: bytes
    sequence_number: int


def open_record(logged: LoggedRecord, head: Checkpoint) -> Opened:
    """Open a record. Raises InvalidInput unless it is what its entry committed to, in that head."""
    verify_inclusion(leaf_hash(logged.entry), logged.index, head.size, logged.path, head.root_hash)
    envelope = parse_envelope(logged.entry)
    if commit(logged.salt, logged.record) != envelope.commitment:
        raise InvalidInput(
            f"record or salt is not the one that the {envelope.kind} entry committed to",
            field="record",
        )
    record = canonical.decode(logged.record)
    if not isinstance(record, dict):
        raise InvalidInput("a record that is no object", field="record")
    return Opened(logged.index, envelope, record, logged.entry, logged.salt)


def anchored_head(note: bytes, anchor: AnchoredMessage | None, trust: Trust) -> AnchoredHead:
    """Return the signed head in `note` if a trusted topic has it in the message `anchor`.

    Raises InvalidInput if the log did not sign it, or if the message, its running hash, its topic
    or its payer is not right.
    """
    head = open_checkpoint(note, trust.origin, trust.log_keys)
    if anchor is None or anchor.message != note:
        raise InvalidInput("no topic message holds its head", field="anchor")
    anchor.check()
    topic = trust.topic_of(anchor.topic_id, head.size)
    if topic is None or topic.payer != anchor.payer_account_id:
        raise InvalidInput(f"topic {anchor.topic_id} is not trusted", field="anchor")
    return AnchoredHead(head, topic_address(anchor.topic_id), anchor.sequence_number)


def session_receipt(
    session_id: str, opened: Sequence[Opened], rows: Sequence[object], head: bytes
) -> Receipt:
    """Return a session's records in the form of a receipt, for the checks that receipts have.

    `opened` are in the order of the log; of them only the kinds of a receipt are taken. `rows`
    are its readings as in a receipt. Raises InvalidInput for a row that is no reading.
    """
    events: list[SessionEvent] = []
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InvalidInput(f"event {place} is not a reading", field=f"events[{place}]")
        events.append(records.event_from_record(row, field=f"events[{place}]"))
    return Receipt(
        session_id,
        tuple(_receipt_entry(one, head) for one in opened if one.kind in _OF_RECEIPT),
        tuple(events),
        tuple(canonical.encode(row) for row in rows),
        parse_checkpoint(head),
        None,
    )


def _receipt_entry(opened: Opened, head: bytes) -> ReceiptEntry:
    envelope = opened.envelope
    return ReceiptEntry(
        envelope.kind,
        envelope.station,
        envelope.seq,
        records.time_text(envelope.received_at),
        opened.record,
        opened.salt,
        TlogProof(opened.index, (), head),
    )


def try_open(logged: LoggedRecord, head: Checkpoint) -> Opened | str:
    """Return the opened record, or why it cannot be opened."""
    try:
        return open_record(logged, head)
    except ChargEraError as error:
        return error.message
