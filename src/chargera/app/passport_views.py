"""What is shown of passports: how far each is, what it says, and the document that proves it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Protocol

from chargera.app.custody_views import custody_rows, owners
from chargera.app.passports import WAITS_FOR, PassportRow, Step, passport_domain_of
from chargera.app.settlement_ports import Contracts, NetworkTerms
from chargera.domain.errors import ChargEraError, NotFound
from chargera.domain.passport import Protocol as Spoken
from chargera.domain.passport import ProtocolEvidence, protocol_standing
from chargera.proofs.attestation import onboarding_identification
from chargera.proofs.chain_values import hex_text, parse_hex
from chargera.proofs.passport import consent_digest, metadata_digest, parse_metadata


@dataclass(frozen=True, slots=True)
class ConsentView:
    """What the host is asked to sign; he recomputes `digest` from the rest."""

    digest: str
    chain_id: int
    contract: str
    commission_bps: int
    meter_key_hash: str
    station_key_hash: str
    nonce: str


@dataclass(frozen=True, slots=True)
class PassportView:
    """A passport, or a registration on its way to one."""

    passport_id: str
    station_id: str
    registration: str
    """pending, registered, refused or retired."""
    step: str
    waits_for: str | None
    """What a pending one waits for, in words."""
    refusal: str | None
    host: str | None
    metadata: Mapping[str, Any]
    fault: str | None
    """Why what is stored of it cannot be read, and digest and protocols are empty; None: it can."""
    metadata_digest: str
    onboarding_id_token: str
    """The identification that a signing meter's first reading must carry."""
    consent: ConsentView | None
    """What is still to be signed."""
    onboarding_log_index: int | None
    topic_id: str | None
    sequence_number: int | None
    registration_hash: str | None
    transaction_hash: str | None
    """Of the mint, else of the registration."""
    mintable_at: datetime | None
    registered_at: datetime | None
    registered_log_index: int | None
    retired_at: datetime | None
    protocols: Mapping[str, str]
    """Each with what speaks for it: declared, observed or tested."""
    tests: Mapping[str, int]
    """Of those that were tested, the log index of the latest standard run that passed."""


class PassportReads(Protocol):
    """Registrations as they are shown."""

    async def rows(
        self, before: int | None = None, limit: int | None = None
    ) -> Sequence[PassportRow]:
        """Return registrations with numbers below `before` (None: all), newest first."""

    async def by_id(self, passport_id: str) -> PassportRow | None:
        """Return the registration of a passport."""

    async def of_station(self, station_id: str) -> PassportRow | None:
        """Return a station's registration."""

    async def spoken(self, station_id: str) -> tuple[Sequence[Spoken], Mapping[Spoken, int]]:
        """Return the protocols that a station has spoken, and those it was tested for.

        The latter with the log index of the latest standard run that passed.
        """


class PassportViewWork(Protocol):
    """One unit of work."""

    @property
    def passports(self) -> PassportReads:
        """Registrations."""


def registration_word(row: PassportRow) -> str:
    """Return how far a registration is in one word."""
    if row.retired_at is not None:
        return "retired"
    if row.step in (Step.REGISTERED, Step.REFUSED):
        return str(row.step)
    return "pending"


def view_of(
    row: PassportRow,
    terms: NetworkTerms,
    observed: Sequence[Spoken] = (),
    tested: Mapping[Spoken, int] = MappingProxyType({}),
) -> PassportView:
    """Return how a registration is shown; one that cannot be read is shown with its fault."""
    fault, digest, id_token, consent = None, "", "", None
    standing: Mapping[Spoken, ProtocolEvidence] = {}
    try:
        metadata = parse_metadata(dict(row.metadata))
        nonce = parse_hex(row.request["nonce"], 32, field="nonce")
        digest, id_token = hex_text(metadata_digest(metadata)), onboarding_identification(nonce)
        standing = protocol_standing(metadata.protocols, observed, tested)
        consent = _consent(row, terms)
    except (ChargEraError, KeyError, TypeError) as error:
        fault = f"its registration cannot be read: {error}"
    return PassportView(
        passport_id=row.passport_id,
        station_id=row.station_id,
        registration=registration_word(row),
        step=str(row.step),
        waits_for=WAITS_FOR.get(row.step),
        refusal=row.refusal,
        host=row.host,
        metadata=row.metadata,
        fault=fault,
        metadata_digest=digest,
        onboarding_id_token=id_token,
        consent=consent,
        onboarding_log_index=row.onboarding_log_index,
        topic_id=row.topic_id,
        sequence_number=row.sequence_number,
        registration_hash=row.registration_hash,
        transaction_hash=row.mint_transaction_hash or row.transaction_hash,
        mintable_at=row.mintable_at,
        registered_at=row.registered_at,
        registered_log_index=row.registered_log_index,
        retired_at=row.retired_at,
        protocols={str(spoken): str(evidence) for spoken, evidence in standing.items()},
        tests={str(spoken): log_index for spoken, log_index in tested.items()},
    )


def _consent(row: PassportRow, terms: NetworkTerms) -> ConsentView | None:
    if row.host is None or row.consent is not None or row.step is Step.REFUSED:
        return None
    digest = consent_digest(row.registration(), passport_domain_of(terms))
    return ConsentView(
        digest=hex_text(digest),
        chain_id=terms.chain_id,
        contract=terms.contracts["ChargerPassport"],
        commission_bps=row.request["commission_bps"],
        meter_key_hash=row.request["meter_key_hash"],
        station_key_hash=row.request["station_key_hash"],
        nonce=row.request["nonce"],
    )


async def rows(work: PassportViewWork, terms: NetworkTerms) -> list[PassportView]:
    """Return all registrations, newest first."""
    return [view_of(row, terms) for row in await work.passports.rows()]


async def find(work: PassportViewWork, name: str) -> PassportRow:
    """Return a registration by passport id or station id. Raises NotFound."""
    row = await work.passports.by_id(name.lower())
    if row is None:
        row = await work.passports.of_station(name)
    if row is None:
        raise NotFound(
            f"there is no passport '{name[:66]}'",
            field="passport_id",
            remedy="`chargera passport list` shows the passports",
        )
    return row


async def show(
    work: PassportViewWork,
    terms: NetworkTerms,
    contracts: Contracts,
    name: str,
    custodial: str | None = None,
) -> dict[str, Any]:
    """Return a passport with its custody, and with what the chain says of it now."""
    row = await find(work, name)
    chain = None
    if row.step is Step.REGISTERED:
        chain = await on_chain(contracts, row.passport_id)
        retired_at = chain["facts"]["retiredAt"]
        if retired_at and row.retired_at is None:  # by its host, who asked nobody
            row = replace(row, retired_at=datetime.fromtimestamp(retired_at, UTC))
    observed, tested = await work.passports.spoken(row.station_id)
    view = view_of(row, terms, observed, tested)
    members = {name: getattr(view, name) for name in view.__dataclass_fields__}
    custody = await custody_rows(work, terms, row.station_id, custodial)
    return members | {"chain": chain, "custody": custody}


async def on_chain(contracts: Contracts, passport_id: str) -> dict[str, Any]:
    """Return a passport's facts, owner and custody as the chain has them now."""
    token_id = parse_hex(passport_id, 32, field="passport_id")
    facts = await contracts.read("ChargerPassport", "factsOf", token_id)
    custody = await contracts.read("ChargerPassport", "custodyOf", token_id)
    return {
        "custody": [_texts(record) for record in custody],
        "facts": _texts(facts),
        "owner": await contracts.read("ChargerPassport", "ownerOf", int(passport_id, 16)),
        "owners": await owners(contracts, passport_id),
    }


def _texts(struct: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: hex_text(value) if isinstance(value, bytes) else value
        for name, value in struct.items()
    }
