"""Passport files on demand: the entries of a charger's life, each with its proof under one head."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from chargera.app.passports import PassportRow, Step
from chargera.app.ports import StoredEntry
from chargera.app.receipts import ReceiptHead, receipt_entry
from chargera.app.settlement_ports import NetworkTerms
from chargera.domain.errors import Conflict
from chargera.proofs import canonical
from chargera.proofs.chain_values import parse_address, parse_hex, topic_address
from chargera.proofs.custody_history import CustodyProof
from chargera.proofs.entry import EntryKind
from chargera.proofs.passport_file import PassportFile, passport_file_document
from chargera.proofs.standard_run import protocol_that_passed


class PassportFileWork(Protocol):
    """The database as passport files need it."""

    async def registration_entry(self, station_id: str, before: int) -> StoredEntry | None:
        """Return the newest registration of a station before an index."""

    async def entry(self, log_index: int) -> StoredEntry | None:
        """Return one entry."""

    async def station_entries(self, station_id: str, kind: str) -> list[StoredEntry]:
        """Return a station's entries of a kind in the order of the log."""

    async def receipt_head(self, log_index: int) -> ReceiptHead | None:
        """Return the first anchored head above an index, else the newest; None: none covers it."""


async def build_passport_file(
    work: PassportFileWork,
    row: PassportRow,
    terms: NetworkTerms,
    prove: Callable[[Sequence[int], bytes], Awaitable[Sequence[bytes]]],
    publish: Callable[[], Awaitable[object]],
    custody: Sequence[tuple[int, CustodyProof]] = (),
) -> bytes:
    """Return the passport file of a registered charger; see `app.receipts.build_receipt`.

    `custody`: the entry of each custody record on chain, and who signed it, oldest first.
    Raises Conflict for one that is not registered yet, Refused if its records were erased.
    """
    if row.step is not Step.REGISTERED:
        raise Conflict(
            f"the passport of station {row.station_id} is not registered yet",
            field="passport_id",
            remedy="`chargera passport show` says what it waits for",
        )
    assert row.onboarding_log_index is not None, "what is registered was onboarded"
    assert row.registered_log_index is not None, "what is registered has its entry"
    chosen = [
        await work.registration_entry(row.station_id, row.onboarding_log_index),
        await work.entry(row.onboarding_log_index),
        await work.entry(row.registered_log_index),
        *[await work.entry(log_index) for log_index, _ in custody],
        *_passed(await work.station_entries(row.station_id, str(EntryKind.PROTOCOL_TESTED))),
    ]
    entries = sorted((e for e in chosen if e is not None), key=lambda entry: entry.log_index)
    last = entries[-1].log_index
    head = await work.receipt_head(last)
    if head is None:
        await publish()
        head = await work.receipt_head(last)
        assert head is not None, "a head over all that is durable covers the passport"
    proofs = await prove([entry.log_index for entry in entries], head.note)
    file = PassportFile(
        passport_id=parse_hex(row.passport_id, field="passport_id"),
        chain_id=terms.chain_id,
        contract=parse_address(terms.contracts["ChargerPassport"], field="contract"),
        consent=parse_hex(row.consent, field="consent"),
        topic=topic_address(row.topic_id or ""),
        sequence_number=row.sequence_number or 0,
        entries=tuple(
            receipt_entry(entry, proof) for entry, proof in zip(entries, proofs, strict=True)
        ),
        anchor=head.anchor,
        custody_proofs=tuple(proof for _, proof in custody),
    )
    return canonical.encode(passport_file_document(file))


def _passed(entries: Sequence[StoredEntry]) -> list[StoredEntry]:
    """Return of each protocol the latest standard run that passed."""
    latest: dict[str, StoredEntry] = {}
    for entry in entries:
        record = None if entry.record is None else canonical.decode(entry.record)
        protocol = protocol_that_passed(record) if isinstance(record, dict) else None
        if protocol is not None:
            latest[protocol] = entry
    return list(latest.values())
