"""Passports: from a station's registration to its NFT, step by step, each step a commit.

`STEPS` is the whole machine: what each step waits for, and what does it. A registration stands in
the database at one step; the worker takes it as far as it goes, and goes on where it was after a
restart. Nothing is done twice: entries are in the commit of their step, transactions have a
purpose of their own.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from chargera.app.ports import Clock, Entropy, NewEntry
from chargera.app.settlement_ports import ContractRefused, Contracts, NetworkTerms, Sender
from chargera.domain.errors import InvalidInput, Refused, Undetermined, Unreadable
from chargera.domain.station import ChargingStation
from chargera.domain.word import Word
from chargera.proofs import records
from chargera.proofs.attestation import onboarding_identification
from chargera.proofs.chain_values import (
    ZERO_WORD,
    address_text,
    hex_text,
    parse_address,
    parse_hex,
    parse_signer,
    topic_address,
)
from chargera.proofs.eip712 import Domain
from chargera.proofs.entry import EntryKind
from chargera.proofs.passport import (
    RegistrationRequest,
    abi_request,
    consent_digest,
    key_hash,
    metadata_document,
    metadata_of,
    parse_metadata,
    passport_domain,
    registration_digest,
    registration_hash,
    request_of,
)
from chargera.proofs.secp256k1 import SIGNATURE_BYTES, recover
from chargera.proofs.settlement import Attestation, abi_attestation

COMMISSION_BPS = 3_000
"""The host's part where nothing else was agreed."""

FIRST_READING_AFTER = timedelta(minutes=1)
"""Until then whoever registers a signing meter may have it show itself."""

PASSING = frozenset({"TooEarly", "NoQuorum", "NotActive", "NoSuchVersion"})
"""Refusals of the contract that time, or other signatures, may cure.

Elsewhere than on the embedded chain the first version of the policy holds a while after the
contracts are there.
"""

_log = logging.getLogger(__name__)

RowT = TypeVar("RowT")


async def attempted(
    taking: Awaitable[RowT], what: str, refused: Callable[[str], RowT]
) -> RowT | None:
    """Return the row after a step, as `refused` makes it of why not; None where it must wait."""
    try:
        return await taking
    except Undetermined as error:
        _log.info("%s waits: %s", what, error.message)
        return None
    except ContractRefused as error:
        return None if error.rule in PASSING else refused(error.message)
    except (Refused, InvalidInput, Unreadable) as error:
        _log.warning("%s: %s", what, error.message)
        return refused(error.message)


class Step(Word):
    """Where a registration stands: what it waits for."""

    HOST = "host"
    ONBOARDING = "onboarding"
    ANCHOR = "anchor"
    CONSENT = "consent"
    READING = "reading"
    ATTESTERS = "attesters"
    TRANSACTION = "transaction"
    CONTEST = "contest"
    ENTRY = "entry"
    REGISTERED = "registered"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Host:
    """Who a charger belongs to, as far as he is known: his address, and what he signed."""

    address: str
    consent: str | None = None
    nonce: str | None = None
    commission_bps: int = COMMISSION_BPS


@dataclass(frozen=True, slots=True)
class PassportRow:
    """One registration as it stands in the database."""

    registration_no: int
    station_id: str
    passport_id: str
    step: Step
    metadata: Mapping[str, Any]
    request: Mapping[str, Any]
    """commission_bps, meter_key_hash, nonce, station_key_hash."""
    host: str | None
    consent: str | None
    onboarding_log_index: int | None
    topic_id: str | None
    sequence_number: int | None
    reading_log_index: int | None
    registration_hash: str | None
    transaction_hash: str | None
    mintable_at: datetime | None
    mint_transaction_hash: str | None
    registered_at: datetime | None
    registered_log_index: int | None
    retired_at: datetime | None
    refusal: str | None
    requested_at: datetime
    left_at: datetime | None = None
    """The last second in which it was this operator's."""

    @property
    def has_meter_key(self) -> bool:
        """Whether its meter signs, and must show it."""
        return parse_hex(self.request["meter_key_hash"], 32, field="meter_key_hash") != ZERO_WORD

    def registration(self) -> RegistrationRequest:
        """Return what is asked of the contract; only once its host and place are known."""
        assert self.host is not None, "the host comes first"
        place = (self.topic_id, self.sequence_number, self.onboarding_log_index)
        topic_id, sequence_number, log_index = place
        request = self.request
        return request_of(
            parse_metadata(dict(self.metadata)),
            host=parse_address(self.host, field="host"),
            commission_bps=request["commission_bps"],
            meter_key_hash=parse_hex(request["meter_key_hash"], 32, field="meter_key_hash"),
            station_key_hash=parse_hex(request["station_key_hash"], 32, field="station_key_hash"),
            nonce=parse_hex(request["nonce"], 32, field="nonce"),
            topic=topic_address(topic_id or "0.0.0"),
            sequence_number=sequence_number or 0,
            log_index=log_index or 0,
        )


@dataclass(frozen=True, slots=True)
class AnchoredPlace:
    """Where an entry is anchored: the first anchored head above it."""

    tree_size: int
    topic_id: str
    sequence_number: int


class PassportStore(Protocol):
    """Registrations of passports in the database."""

    async def of_station(self, station_id: str) -> PassportRow | None:
        """Return a station's registration, locked; a refused one only if there is no other."""

    async def minted(self, passport_id: str) -> PassportRow | None:
        """Return the registration by which a passport was minted here, locked."""

    async def add(self, row: PassportRow) -> None:
        """Insert a registration; its number is given by the database."""

    async def update(self, row: PassportRow) -> None:
        """Replace what may change of a registration."""

    async def open(self) -> Sequence[PassportRow]:
        """Return the registrations that are under way, oldest first."""

    async def lock(self, registration_no: int) -> PassportRow:
        """Return one registration, locked for this unit of work."""

    async def anchored(self, log_index: int) -> AnchoredPlace | None:
        """Return where an entry is anchored; None: nowhere yet."""

    async def reading_of(self, station_id: str, after: int, identification: str) -> int | None:
        """Return the index of a verified signed value of a station with that identification."""

    async def signatures(self, digest: str) -> Mapping[int, str]:
        """Return the attesters' signatures of a digest by their place in the registry."""

    async def refusals(self, digest: str) -> Sequence[str]:
        """Return why attesters refuse a digest, once for each who does."""


class PassportWork(Protocol):
    """One unit of work."""

    @property
    def passports(self) -> PassportStore:
        """Registrations."""

    async def accept(self, id_token: str, now: datetime) -> None:
        """Let an identifier of this server's own start a session."""

    def append(self, entry: NewEntry) -> None:
        """Append an entry to the log."""

    async def flush(self) -> int | None:
        """Write appended entries now and return the first one's index."""

    async def commit(self) -> None:
        """Make everything durable."""


class PassportDatabase(Protocol):
    """Opens units of work."""

    def work(self) -> AbstractAsyncContextManager[PassportWork]:
        """Open a unit of work; leaving it without `commit` rolls back."""


class HostSigner(Protocol):
    """The key of a host who left it to this server; on the embedded network only."""

    @property
    def address_text(self) -> str:
        """His address."""

    def sign(self, digest: bytes) -> bytes:
        """Sign a digest."""


async def open_registration(
    work: PassportWork,
    station: ChargingStation,
    terms: NetworkTerms,
    host: Host | None,
    *,
    entropy: Entropy,
    now: datetime,
) -> PassportRow:
    """Begin a station's registration, or find it; `host` completes one that waits for him.

    Raises InvalidInput for a station whose type plate cannot make an identity.
    """
    known = await work.passports.of_station(station.station_id)
    if known is not None and known.step is not Step.REFUSED:
        if host is not None:
            known = _with_host(known, host)
            await work.passports.update(known)
        return known
    metadata = metadata_of(station, terms.operator_id)
    nonce = entropy.bytes(10).hex().upper().encode()
    row = PassportRow(
        registration_no=0,
        station_id=station.station_id,
        passport_id=hex_text(metadata.token_id),
        step=Step.HOST,
        metadata=metadata_document(metadata),
        request={
            "commission_bps": COMMISSION_BPS,
            "meter_key_hash": hex_text(key_hash(station.meter_key_der_hex)),
            "nonce": hex_text(nonce.ljust(32, b"\0")),
            "station_key_hash": hex_text(ZERO_WORD),
        },
        host=None,
        consent=None,
        onboarding_log_index=None,
        topic_id=None,
        sequence_number=None,
        reading_log_index=None,
        registration_hash=None,
        transaction_hash=None,
        mintable_at=None,
        mint_transaction_hash=None,
        registered_at=None,
        registered_log_index=None,
        retired_at=None,
        refusal=None,
        requested_at=now,
    )
    if host is not None:
        row = _with_host(row, host)
    await work.passports.add(row)
    return row


def _with_host(row: PassportRow, host: Host) -> PassportRow:
    """Note the host of a registration that has none yet, or his consent if he is the one."""
    address = address_text(parse_signer(host.address, field="host"))
    if row.host is None and row.step is Step.HOST:
        request = dict(row.request) | {"commission_bps": host.commission_bps}
        if host.nonce is not None:
            request["nonce"] = hex_text(parse_hex(host.nonce, 32, field="nonce"))
        return replace(row, host=address, request=request, consent=host.consent)
    if row.host == address and row.consent is None:
        return replace(row, consent=host.consent)
    return row


async def give_consent(
    work: PassportWork, terms: NetworkTerms, station_id: str, signature: str
) -> PassportRow:
    """Keep the host's signature of his consent.

    Raises InvalidInput if it is not his, Refused if none is waited for.
    """
    row = await work.passports.of_station(station_id)
    if row is None or row.host is None:
        raise Refused(
            f"no registration of station {station_id} waits for a consent",
            field="station_id",
            remedy="name the host first: chargera station register ... --host-key FILE",
        )
    row = replace(row, consent=signature)
    _check_consent(row, passport_domain_of(terms))
    await work.passports.update(row)
    return row


def passport_domain_of(terms: NetworkTerms) -> Domain:
    """Return the EIP-712 domain of the network's passports."""
    address = parse_address(terms.contracts["ChargerPassport"], field="ChargerPassport")
    return passport_domain(terms.chain_id, address)


def _check_consent(row: PassportRow, domain: Domain) -> None:
    assert row.host is not None, "only a host consents"
    digest = consent_digest(row.registration(), domain)
    signature = parse_hex(row.consent or "", SIGNATURE_BYTES, field="consent")
    if address_text(recover(digest, signature)) != row.host:
        raise InvalidInput(
            f"the consent is not signed by the host {row.host}",
            field="consent",
            remedy="sign the consent that `passport show` names, with the host's key",
        )


# The worker -------------------------------------------------------------------------------------


class Registrations:
    """Takes registrations from step to step; `advance` does all that can be done now."""

    def __init__(
        self,
        database: PassportDatabase,
        terms: NetworkTerms,
        contracts: Contracts,
        sender: Sender,
        clock: Clock,
        anchor_now: Callable[[], Awaitable[int]],
        custodial: HostSigner | None = None,
        ask_reading: Callable[[str, int, str], None] | None = None,
    ) -> None:
        """Work for the stations in `database`; `custodial` signs for hosts who left their key.

        `ask_reading` is told station, EVSE and identifier while a signed reading is waited for, and
        returns at once.
        """
        self._database = database
        self._terms = terms
        self._contracts = contracts
        self._sender = sender
        self._clock = clock
        self._anchor_now = anchor_now
        self._custodial = custodial
        self._ask_reading = ask_reading or (lambda station_id, evse, id_token: None)
        self._domain = passport_domain_of(terms)
        self._steps: Mapping[Step, Callable[[PassportWork, PassportRow], Awaitable[PassportRow]]]
        self._steps = {
            Step.HOST: self._host,
            Step.ONBOARDING: self._onboarding,
            Step.ANCHOR: self._anchor,
            Step.CONSENT: self._consent,
            Step.READING: self._reading,
            Step.ATTESTERS: self._attesters,
            Step.TRANSACTION: self._transaction,
            Step.CONTEST: self._contest,
            Step.ENTRY: self._entry,
        }

    async def advance(self) -> bool:
        """Take every open registration as far as it goes; say whether anything moved."""
        async with self._database.work() as work:
            waiting = await work.passports.open()
        moved = False
        if any(row.step is Step.ANCHOR and row.onboarding_log_index is not None for row in waiting):
            await self._anchor_now()
        for row in waiting:
            while await self._step(row.registration_no):
                moved = True
        return moved

    async def _step(self, registration_no: int) -> bool:
        async with self._database.work() as work:
            row = await work.passports.lock(registration_no)
            take = self._steps.get(row.step)
            if take is None:
                return False
            after = await attempted(
                take(work, row),
                f"registration of {row.station_id}",
                lambda why: replace(row, step=Step.REFUSED, refusal=why),
            )
            if after is None:
                return False
            if after == row:
                return False
            await work.passports.update(after)
            await work.commit()
            return after.step is not row.step and after.step in self._steps

    async def _host(self, work: PassportWork, row: PassportRow) -> PassportRow:
        if row.host is None and self._custodial is not None:
            row = replace(row, host=self._custodial.address_text)
        return row if row.host is None else replace(row, step=Step.ONBOARDING)

    async def _onboarding(self, work: PassportWork, row: PassportRow) -> PassportRow:
        assert row.host is not None, "the host comes first"
        now = self._clock.now()
        request = row.request
        record = records.onboarding_record(
            station_id=row.station_id,
            passport_id=row.passport_id,
            metadata=row.metadata,
            host=row.host,
            commission_bps=request["commission_bps"],
            meter_key_hash=request["meter_key_hash"],
            station_key_hash=request["station_key_hash"],
            nonce=request["nonce"],
            at=now,
        )
        if row.has_meter_key:
            nonce = parse_hex(request["nonce"], 32, field="nonce")
            await work.accept(onboarding_identification(nonce), now)
        work.append(NewEntry(EntryKind.ONBOARDING, row.station_id, None, record, now))
        return replace(row, onboarding_log_index=await work.flush(), step=Step.ANCHOR)

    async def _anchor(self, work: PassportWork, row: PassportRow) -> PassportRow:
        assert row.onboarding_log_index is not None, "the onboarding is an entry"
        place = await work.passports.anchored(row.onboarding_log_index)
        if place is None:
            return row
        placed = replace(row, topic_id=place.topic_id, sequence_number=place.sequence_number)
        digest = registration_hash(placed.registration(), self._domain)
        return replace(placed, registration_hash=hex_text(digest), step=Step.CONSENT)

    async def _consent(self, work: PassportWork, row: PassportRow) -> PassportRow:
        custodial = self._custodial
        if row.consent is None and custodial is not None and row.host == custodial.address_text:
            digest = consent_digest(row.registration(), self._domain)
            row = replace(row, consent=hex_text(custodial.sign(digest)))
        if row.consent is None:
            return row
        _check_consent(row, self._domain)
        return replace(row, step=Step.READING)

    async def _reading(self, work: PassportWork, row: PassportRow) -> PassportRow:
        if not row.has_meter_key:
            return replace(row, step=Step.ATTESTERS)
        assert row.onboarding_log_index is not None, "the onboarding is an entry"
        nonce = parse_hex(row.request["nonce"], 32, field="nonce")
        found = await work.passports.reading_of(
            row.station_id, row.onboarding_log_index, onboarding_identification(nonce)
        )
        if found is None:
            if self._clock.now() - row.requested_at >= FIRST_READING_AFTER:
                evse = row.metadata["connectors"][0]["evse"]
                self._ask_reading(row.station_id, evse, onboarding_identification(nonce))
            return row
        return replace(row, reading_log_index=found, step=Step.ATTESTERS)

    async def _attesters(self, work: PassportWork, row: PassportRow) -> PassportRow:
        digest = hex_text(registration_digest(row.registration(), self._domain))
        signatures = await work.passports.signatures(digest)
        quorum = await self._contracts.read("AttesterRegistry", "quorum")
        if len(signatures) >= quorum:
            return replace(row, step=Step.TRANSACTION)
        refusals = await work.passports.refusals(digest)
        active, _ = await self._contracts.read("AttesterRegistry", "masks")
        if active.bit_count() - len(refusals) < quorum:
            raise Refused(f"attesters refuse: {'; '.join(sorted(set(refusals)))}")
        return row

    async def _transaction(self, work: PassportWork, row: PassportRow) -> PassportRow:
        request = row.registration()
        digest = hex_text(registration_digest(request, self._domain))
        signed = await work.passports.signatures(digest)
        attestation = Attestation.of(
            {place: bytes.fromhex(text[2:]) for place, text in signed.items()}
        )
        transaction_hash = await self._sender.send(
            f"register:{row.registration_no}",
            "ChargerPassport",
            "register",
            abi_request(request),
            abi_attestation(attestation),
            parse_hex(row.consent or "", SIGNATURE_BYTES, field="consent"),
        )
        facts = await self._contracts.read("ChargerPassport", "factsOf", request.token_id)
        mintable_s = facts.requestedAt + self._terms.latest().parameters.contest_period_s
        return replace(
            row,
            transaction_hash=transaction_hash,
            mintable_at=datetime.fromtimestamp(mintable_s, UTC),
            step=Step.CONTEST,
        )

    async def _contest(self, work: PassportWork, row: PassportRow) -> PassportRow:
        assert row.mintable_at is not None, "a registration that is pending can be minted later"
        if self._clock.now() < row.mintable_at + timedelta(seconds=1):
            return row
        token_id = parse_hex(row.passport_id, 32, field="passport_id")
        minted = await self._sender.send(
            f"confirm:{row.registration_no}", "ChargerPassport", "confirm", token_id
        )
        return replace(row, mint_transaction_hash=minted, step=Step.ENTRY)

    async def _entry(self, work: PassportWork, row: PassportRow) -> PassportRow:
        token_id = parse_hex(row.passport_id, 32, field="passport_id")
        facts = await self._contracts.read("ChargerPassport", "factsOf", token_id)
        registered_at = datetime.fromtimestamp(facts.registeredAt, UTC)
        now = self._clock.now()
        record = records.passport_registered_record(
            station_id=row.station_id,
            passport_id=row.passport_id,
            registration_hash=row.registration_hash or "",
            transaction_hash=row.mint_transaction_hash or "",
            host=row.host or "",
            rated_w=facts.ratedW,
            registered_at=registered_at,
            at=now,
        )
        work.append(NewEntry(EntryKind.PASSPORT_REGISTERED, row.station_id, None, record, now))
        index = await work.flush()
        return replace(
            row, registered_at=registered_at, registered_log_index=index, step=Step.REGISTERED
        )


WAITS_FOR: Mapping[Step, str] = {
    Step.HOST: "the host's address: station register ... --host-key FILE or --consent FILE",
    Step.ONBOARDING: "its onboarding entry in the log",
    Step.ANCHOR: "an anchored head over its onboarding entry",
    Step.CONSENT: "the host's signature of his consent",
    Step.READING: "a signed reading whose identification is the onboarding nonce",
    Step.ATTESTERS: "signatures of a quorum of attesters",
    Step.TRANSACTION: "its registration on chain",
    Step.CONTEST: "the end of the contest period",
    Step.ENTRY: "its registration entry in the log",
}
"""What a person is told of each step that is not the last."""
