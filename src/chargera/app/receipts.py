"""Receipts on demand: the entries of one session, each with its proof under one signed head."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chargera.app.ports import StoredEntry
from chargera.domain.errors import Conflict, NotFound, Refused
from chargera.domain.transaction import SessionEvent
from chargera.proofs import canonical, records
from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.batch_file import parse_batch
from chargera.proofs.chain_values import parse_address, parse_hex
from chargera.proofs.entry import EntryKind, parse_envelope
from chargera.proofs.receipt import ENTRIES_MAX, ReceiptEntry, receipt_document
from chargera.proofs.receipt_settlement import Settlement
from chargera.proofs.tlog_proof import parse_tlog_proof

IN_RECEIPT = (
    EntryKind.SESSION_STARTED,
    EntryKind.SESSION_ENDED,
    EntryKind.SIGNED_VALUE,
    EntryKind.METER_VALUE_LATE,
    EntryKind.SEQUENCE_HOLE,
    EntryKind.ANOMALY,
    EntryKind.OPERATOR_CORRECTION,
    EntryKind.CDR,
    EntryKind.CREDIT_CDR,
)


@dataclass(frozen=True, slots=True)
class ReceiptHead:
    """The head under which a receipt is proven, and its anchor if it has one."""

    note: bytes
    anchor: AnchoredMessage | None


@dataclass(frozen=True, slots=True)
class StoredSettlement:
    """A signed batch as it is stored, and who signed it: addresses and signatures as text."""

    batch: Mapping[str, Any]
    signatures: Sequence[tuple[str, str]]


class ReceiptWork(Protocol):
    """The database as receipts need it."""

    async def session_entries(self, session_id: str, kinds: Sequence[str]) -> list[StoredEntry]:
        """Return a session's entries of these kinds in the order of the log."""

    async def registration_entry(self, station_id: str, before: int) -> StoredEntry | None:
        """Return the newest registration of a station before an index."""

    async def entry(self, log_index: int) -> StoredEntry | None:
        """Return one entry."""

    async def session_events(self, session_id: str) -> list[SessionEvent]:
        """Return a session's readings in order of arrival."""

    async def receipt_head(self, log_index: int) -> ReceiptHead | None:
        """Return the first anchored head above an index, else the newest; None: none covers it."""

    async def settlement(self, session_id: str) -> StoredSettlement | None:
        """Return the signed batch that pays a session's bill; None while there is none."""


async def build_receipt(
    work: ReceiptWork,
    session_id: str,
    prove: Callable[[Sequence[int], bytes], Awaitable[Sequence[bytes]]],
    publish: Callable[[], Awaitable[None]],
    *,
    entries_max: int = ENTRIES_MAX,
) -> bytes:
    """Return the receipt of a billed session.

    `prove` gives the tlog-proofs of entries under a head; `publish` signs a head over what is
    durable, should none cover the session yet. The caller has checked who may read the session.
    A receipt of more than `entries_max` entries would not be read.

    Raises NotFound, Conflict if there is no bill yet, Refused if its records were erased.
    """
    entries = await work.session_entries(session_id, [str(kind) for kind in IN_RECEIPT])
    if not entries:
        raise NotFound(f"there is no session {session_id}", field="session_id")
    cdrs = [entry for entry in entries if entry.kind is EntryKind.CDR]
    if not cdrs:
        raise Conflict(
            f"session {session_id} has no bill yet",
            field="session_id",
            remedy="a session is billed within seconds of its end, unless it is in review",
        )
    bill = cdrs[-1]
    entries = [entry for entry in entries if _belongs(entry, bill)]
    if len(entries) > entries_max - 2:
        # Nothing is judged by them: the readings themselves are enclosed.
        entries = [entry for entry in entries if entry.kind is not EntryKind.METER_VALUE_LATE]
    cdr = _record(bill)
    registration = await work.registration_entry(cdr["station_id"], entries[0].log_index)
    tariff = await work.entry(cdr["tariff"]["log_index"])
    assert registration is not None, "a billed session's station is registered in the log"
    assert tariff is not None, "a bill names a tariff in the log"
    chosen = sorted([registration, tariff, *entries], key=lambda entry: entry.log_index)
    head = await work.receipt_head(chosen[-1].log_index)
    if head is None:
        await publish()
        head = await work.receipt_head(chosen[-1].log_index)
        assert head is not None, "a head over all that is durable covers the session"
    proofs = await prove([entry.log_index for entry in chosen], head.note)
    events = await work.session_events(session_id)
    return receipt_document(
        session_id,
        [receipt_entry(entry, proof) for entry, proof in zip(chosen, proofs, strict=True)],
        events[: cdr["events"]["count"]],
        head.anchor,
        _settlement(await work.settlement(session_id), _record(cdrs[0])),
    )


def _settlement(
    stored: StoredSettlement | None, first_bill: Mapping[str, Any]
) -> Settlement | None:
    """Return the settlement of a session, on the chain that its first bill names."""
    if stored is None:
        return None
    terms = first_bill["settlement"]
    return Settlement(
        terms["chain_id"],
        parse_address(terms["hub"], field="hub"),
        parse_batch(dict(stored.batch)),
        tuple(
            (parse_address(signer, field="signer"), parse_hex(signature, field="signature"))
            for signer, signature in stored.signatures
        ),
    )


def _belongs(entry: StoredEntry, bill: StoredEntry) -> bool:
    """Say whether an entry is part of what the bill that stands was made from, or its context.

    A signed value that came later, and changed nothing, would be judged along with the others.
    """
    return entry.kind is not EntryKind.SIGNED_VALUE or entry.log_index < bill.log_index


def receipt_entry(stored: StoredEntry, proof: bytes) -> ReceiptEntry:
    """Return a stored entry as it stands in a receipt. Raises Refused if its record was erased."""
    envelope = parse_envelope(stored.entry)
    record = _record(stored)
    assert stored.salt is not None, "a record and its salt are erased together"
    return ReceiptEntry(
        envelope.kind,
        envelope.station,
        envelope.seq,
        records.time_text(envelope.received_at),
        record,
        stored.salt,
        parse_tlog_proof(proof),
    )


def _record(stored: StoredEntry) -> Mapping[str, Any]:
    if stored.record is None:
        raise Refused(
            "the records of this session were erased",
            field="session_id",
            remedy="the log still proves that the entries were there and unchanged",
        )
    record = canonical.decode(stored.record)
    assert isinstance(record, dict), "records are objects"
    return record
