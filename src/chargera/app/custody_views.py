"""What is shown of a charger's custody: each record with its proof, and who owned it when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from chargera.app.custody import (
    PASSPORT,
    WAITS_FOR,
    WAITS_FOR_HOST,
    CustodyRow,
    CustodyStep,
)
from chargera.app.passports import PassportRow, passport_domain_of
from chargera.app.settlement_ports import Contracts, NetworkTerms
from chargera.domain.passport import CustodyKind
from chargera.proofs import canonical
from chargera.proofs.chain_values import hex_text
from chargera.proofs.passport import PassportMetadata, custody_words, parse_metadata


@dataclass(frozen=True, slots=True)
class CustodyView:
    """A custody record, or one on its way onto the chain."""

    number: int
    kind: CustodyKind
    says: str
    """The value in words of its kind: an address, an operator id, a place, a key's hash."""
    value: str
    step: CustodyStep
    waits_for: str | None
    refusal: str | None
    requested_at: datetime
    record: Mapping[str, Any]
    """As it was logged; SHA-256 of its canonical bytes is `record_digest`."""
    record_digest: str
    log_index: int
    passport_id: str
    station_id: str
    id_token: str | None
    """By what a new meter's first session must start, so that it shows that it is held."""
    host: str
    digest: str
    """What host and attesters sign; whoever signs recomputes it from the rest."""
    chain_id: int
    contract: str
    topic_id: str | None
    sequence_number: int | None
    host_signature: str | None
    transaction_hash: str | None
    recorded_at: datetime | None


@dataclass(frozen=True, slots=True)
class OwnerView:
    """Who the passport's NFT belongs to since when; the first one is its mint."""

    owner: str
    since: datetime
    transaction_hash: str


def custody_view(row: CustodyRow, terms: NetworkTerms, custodial: str | None = None) -> CustodyView:
    """Return how a record is shown; `custodial`: the host who left his key to this server."""
    waits_for = WAITS_FOR.get(row.step)
    is_last = row.kind is CustodyKind.RETIREMENT and row.step is CustodyStep.TRANSACTION
    if is_last and row.host != custodial:
        waits_for = WAITS_FOR_HOST
    return CustodyView(
        number=row.number,
        kind=row.kind,
        says=custody_words(row.kind, row.word),
        value=row.value,
        step=row.step,
        waits_for=waits_for,
        refusal=row.refusal,
        requested_at=row.requested_at,
        record=row.record,
        record_digest=hex_text(row.record_digest),
        log_index=row.log_index,
        passport_id=row.passport_id,
        station_id=row.station_id,
        id_token=row.identification,
        host=row.host,
        digest=hex_text(row.digest(passport_domain_of(terms))),
        chain_id=terms.chain_id,
        contract=terms.contracts[PASSPORT],
        topic_id=row.topic_id,
        sequence_number=row.sequence_number,
        host_signature=row.host_signature,
        transaction_hash=row.transaction_hash,
        recorded_at=row.recorded_at,
    )


async def custody_rows(
    work: Any, terms: NetworkTerms, station_id: str, custodial: str | None = None
) -> list[CustodyView]:
    """Return the custody of a station's passport, oldest first."""
    rows: Sequence[CustodyRow] = await work.custody.of_station(station_id)
    return [custody_view(row, terms, custodial) for row in rows]


async def owners(contracts: Contracts, passport_id: str) -> list[OwnerView]:
    """Return who has owned a passport's NFT, the first owner first."""
    token_id = bytes.fromhex(passport_id[2:])
    moves = await contracts.events(PASSPORT, "Transfer", [None, None, token_id])
    return [
        OwnerView(
            move.members["to"], datetime.fromtimestamp(move.block_time, UTC), move.transaction_hash
        )
        for move in moves
    ]


async def located(work: Any, passport: PassportRow) -> tuple[PassportMetadata, datetime]:
    """Return a passport's metadata with the place where its charger stands now, and since when."""
    metadata = parse_metadata(dict(passport.metadata))
    updated = passport.registered_at or passport.requested_at
    rows: Sequence[CustodyRow] = await work.custody.of_station(passport.station_id)
    for row in rows:
        if row.kind is not CustodyKind.LOCATION or row.recorded_at is None:
            continue
        latitude, longitude = custody_words(row.kind, row.word).split(", ")
        metadata = replace(metadata, latitude=latitude, longitude=longitude)
        updated = row.recorded_at
        entry = await work.receipts.entry(row.station_log_index)
        if entry is not None and entry.record is not None:
            plate: Any = canonical.decode(entry.record)
            metadata = replace(metadata, time_zone=plate["time_zone"])
    return metadata, updated
