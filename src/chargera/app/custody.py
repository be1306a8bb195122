"""Custody records: what happens to a charger after its registration, each provable on its own.

`CustodyRecords` takes each from step to step as `passports.Registrations` does: a commit a step,
on from the same step after a restart, nothing twice. A change is attested by a quorum and signed
by the host; a retirement is the host's own transaction.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from chargera.app.passports import (
    FIRST_READING_AFTER,
    HostSigner,
    PassportRow,
    PassportStore,
    attempted,
    passport_domain_of,
)
from chargera.app.ports import Clock
from chargera.app.settlement_ports import Contracts, NetworkTerms, Sender
from chargera.domain.errors import InvalidInput, Refused, Undetermined
from chargera.domain.passport import CustodyKind
from chargera.domain.word import Word
from chargera.proofs.chain_values import (
    WORD_BYTES,
    ZERO_WORD,
    address_text,
    hex_text,
    parse_hex,
)
from chargera.proofs.custody import custody_identification
from chargera.proofs.custody_history import CustodyProof
from chargera.proofs.eip712 import Domain
from chargera.proofs.passport import custody_digest
from chargera.proofs.records import custody_record_digest
from chargera.proofs.secp256k1 import SIGNATURE_BYTES, recover
from chargera.proofs.settlement import Attestation, abi_attestation

PASSPORT = "ChargerPassport"

_log = logging.getLogger(__name__)


class CustodyStep(Word):
    """Where a custody record stands: what it waits for."""

    READING = "reading"
    ANCHOR = "anchor"
    HOST = "host"
    ATTESTERS = "attesters"
    TRANSACTION = "transaction"
    RECORDED = "recorded"
    REFUSED = "refused"


WAITS_FOR: Mapping[CustodyStep, str] = {
    CustodyStep.READING: "a signed reading of the new meter whose identification is its IdToken",
    CustodyStep.ANCHOR: "an anchored head over its entry",
    CustodyStep.HOST: "the host's signature: chargera passport sign",
    CustodyStep.ATTESTERS: "signatures of a quorum of attesters",
    CustodyStep.TRANSACTION: "its record on chain",
}
"""What a person is told of each step that is not the last."""

WAITS_FOR_HOST = "the host's own transaction: chargera passport sign"
"""What a retirement waits for whose host has his key himself."""


@dataclass(frozen=True, slots=True)
class CustodyRow:
    """One custody record as it stands in the database."""

    custody_no: int
    passport_id: str
    station_id: str
    kind: CustodyKind
    number: int
    """Its place in the passport's history, from 0."""
    value: str
    record: Mapping[str, Any]
    log_index: int
    host: str
    """Whose signature it needs; of a retirement whose transaction."""
    step: CustodyStep
    requested_at: datetime
    station_log_index: int | None = None
    """The entry of the registration that changed with it."""
    reading_log_index: int | None = None
    topic_id: str | None = None
    sequence_number: int | None = None
    host_signature: str | None = None
    transaction_hash: str | None = None
    recorded_at: datetime | None = None
    refusal: str | None = None

    @property
    def token_id(self) -> bytes:
        """The passport's id."""
        return parse_hex(self.passport_id, WORD_BYTES, field="passport_id")

    @property
    def word(self) -> bytes:
        """The value as the chain takes it."""
        return parse_hex(self.value, WORD_BYTES, field="value")

    @property
    def record_digest(self) -> bytes:
        """The digest of the record that the chain holds."""
        return custody_record_digest(self.record)

    @property
    def identification(self) -> str | None:
        """By what a new meter signs that it is held; None where nothing is to be shown."""
        shows = self.kind is CustodyKind.METER and self.word != ZERO_WORD
        return custody_identification(self.record) if shows else None

    @property
    def last_log_index(self) -> int:
        """The newest entry that it rests on."""
        return max(self.log_index, self.reading_log_index or 0)

    def digest(self, domain: Domain) -> bytes:
        """Return what attesters and host sign."""
        return custody_digest(
            self.token_id,
            self.number,
            self.kind,
            self.record_digest,
            self.log_index,
            self.word,
            domain=domain,
        )


class CustodyStore(Protocol):
    """Custody records in the database."""

    async def of_station(self, station_id: str) -> Sequence[CustodyRow]:
        """Return the records of a station's passport, oldest first."""

    async def add(self, row: CustodyRow) -> CustodyRow:
        """Insert a record and return it with the number that the database gave it."""

    async def update(self, row: CustodyRow) -> None:
        """Replace what may change of a record."""

    async def open(self) -> Sequence[CustodyRow]:
        """Return the records that are under way, oldest first."""

    async def lock(self, custody_no: int) -> CustodyRow:
        """Return one record, locked for this unit of work."""

    async def is_charging(self, station_id: str) -> bool:
        """Say whether a session is running at a station."""


class CustodyWork(Protocol):
    """One unit of work."""

    @property
    def custody(self) -> CustodyStore:
        """Custody records."""

    @property
    def passports(self) -> PassportStore:
        """Registrations."""

    async def commit(self) -> None:
        """Make everything durable."""


class CustodyDatabase(Protocol):
    """Opens units of work."""

    def work(self) -> AbstractAsyncContextManager[CustodyWork]:
        """Open a unit of work; leaving it without `commit` rolls back."""


def check_signature(row: CustodyRow, domain: Domain) -> None:
    """Raise InvalidInput unless the record's host has signed it."""
    signature = parse_hex(row.host_signature or "", SIGNATURE_BYTES, field="signature")
    if address_text(recover(row.digest(domain), signature)) != row.host:
        raise InvalidInput(
            f"the custody record is not signed by the host {row.host}",
            field="signature",
            remedy="sign it with the host's key: chargera passport sign",
        )


class CustodyRecords:
    """Takes custody records from step to step; `advance` does all that can be done now."""

    def __init__(
        self,
        database: CustodyDatabase,
        terms: NetworkTerms,
        contracts: Contracts,
        sender: Sender,
        clock: Clock,
        anchor_now: Callable[[], Awaitable[int]],
        custodial: HostSigner | None = None,
        host: Sender | None = None,
        ask_reading: Callable[[str, int, str], None] | None = None,
    ) -> None:
        """Work for the passports in `database`.

        `custodial` signs and `host` sends for hosts who left their key to this server.
        `ask_reading` is told station, EVSE and identifier while a signed reading is waited for, and
        returns at once.
        """
        self._database = database
        self._contracts = contracts
        self._sender = sender
        self._clock = clock
        self._anchor_now = anchor_now
        self._custodial = custodial
        self._host_sender = host
        self._ask_reading = ask_reading or (lambda station_id, evse, id_token: None)
        self._domain = passport_domain_of(terms)
        self._followed_to = 0
        """The block up to which it is known what the chain has ended."""
        self._steps: Mapping[
            CustodyStep, Callable[[CustodyWork, CustodyRow], Awaitable[CustodyRow]]
        ]
        self._steps = {
            CustodyStep.READING: self._reading,
            CustodyStep.ANCHOR: self._anchor,
            CustodyStep.HOST: self._host,
            CustodyStep.ATTESTERS: self._attesters,
            CustodyStep.TRANSACTION: self._transaction,
        }

    async def follow(self) -> None:
        """Note what the chain has ended since the last look, whoever asked for it, and where.

        A host retires his charger as he likes, and anybody may send a record that all have signed:
        from then on no bill of it gets a number.
        """
        try:
            events = await self._contracts.events(
                PASSPORT, "CustodyRecorded", from_block=self._followed_to
            )
            ended = [event for event in events if event.members.kind in _ENDING]
            for token_id in dict.fromkeys(event.members.tokenId for event in ended):
                history = await self._contracts.read(PASSPORT, "custodyOf", token_id)
                async with self._database.work() as work:
                    passport = await work.passports.minted(hex_text(token_id))
                    if passport is not None:
                        await _note_ended(work, passport, history)
                        await work.commit()
        except Undetermined as error:
            _log.info("what the chain has ended is not known: %s", error.message)
            return
        if events:
            self._followed_to = events[-1].block_number

    async def advance(self) -> bool:
        """Take every open record as far as it goes; say whether anything moved."""
        async with self._database.work() as work:
            waiting = await work.custody.open()
        moved = False
        if any(row.step is CustodyStep.ANCHOR for row in waiting):
            await self._anchor_now()
        for row in waiting:
            while await self._step(row.custody_no):
                moved = True
        return moved

    async def _step(self, custody_no: int) -> bool:
        async with self._database.work() as work:
            row = await work.custody.lock(custody_no)
            take = self._steps.get(row.step)
            if take is None:
                return False
            after = await attempted(
                take(work, row),
                f"custody record of {row.station_id}",
                lambda why: replace(row, step=CustodyStep.REFUSED, refusal=why),
            )
            if after is None:
                return False
            if after == row:
                return False
            await work.custody.update(after)
            await work.commit()
        if after.step is row.step:
            return False
        _log.info("%s custody:%s", after.step, custody_no)
        return True

    async def _reading(self, work: CustodyWork, row: CustodyRow) -> CustodyRow:
        identification = row.identification
        assert identification is not None, "it shows a meter"
        found = await work.passports.reading_of(row.station_id, row.log_index, identification)
        if found is None:
            if self._clock.now() - row.requested_at >= FIRST_READING_AFTER:
                passport = await work.passports.of_station(row.station_id)
                assert passport is not None, "whose custody it is has a passport"
                evse = passport.metadata["connectors"][0]["evse"]
                self._ask_reading(row.station_id, evse, identification)
            return row
        return replace(row, reading_log_index=found, step=CustodyStep.ANCHOR)

    async def _anchor(self, work: CustodyWork, row: CustodyRow) -> CustodyRow:
        place = await work.passports.anchored(row.last_log_index)
        if place is None:
            return row
        is_last = row.kind is CustodyKind.RETIREMENT
        return replace(
            row,
            topic_id=place.topic_id,
            sequence_number=place.sequence_number,
            step=CustodyStep.TRANSACTION if is_last else CustodyStep.HOST,
        )

    async def _host(self, work: CustodyWork, row: CustodyRow) -> CustodyRow:
        custodial = self._custodial
        if row.host_signature is None and custodial and row.host == custodial.address_text:
            signature = custodial.sign(row.digest(self._domain))
            row = replace(row, host_signature=hex_text(signature))
        if row.host_signature is None:
            return row
        check_signature(row, self._domain)
        return replace(row, step=CustodyStep.ATTESTERS)

    async def _attesters(self, work: CustodyWork, row: CustodyRow) -> CustodyRow:
        digest = hex_text(row.digest(self._domain))
        signatures = await work.passports.signatures(digest)
        quorum = await self._contracts.read("AttesterRegistry", "quorum")
        if len(signatures) >= quorum:
            return replace(row, step=CustodyStep.TRANSACTION)
        refusals = await work.passports.refusals(digest)
        active, _ = await self._contracts.read("AttesterRegistry", "masks")
        if active.bit_count() - len(refusals) < quorum:
            raise Refused(f"attesters refuse: {'; '.join(sorted(set(refusals)))}")
        return row

    async def _transaction(self, work: CustodyWork, row: CustodyRow) -> CustodyRow:
        history = await self._history(row)
        if len(history) <= row.number:
            if not await self._sent(work, row):
                return row
            history = await self._history(row)
        passport = await work.passports.of_station(row.station_id)
        assert passport is not None, "whose custody it is has a passport"
        await _note_ended(work, passport, history)
        said = history[row.number]
        wanted = (row.kind.number, row.record_digest, row.log_index, row.word)
        if (said.kind, said.recordDigest, said.logIndex, said.value) != wanted:
            raise Refused(f"the chain has another custody record {row.number} of this passport")
        number = row.number.to_bytes(WORD_BYTES, "big")
        (event,) = await self._contracts.events(PASSPORT, "CustodyRecorded", [row.token_id, number])
        return replace(
            row,
            step=CustodyStep.RECORDED,
            transaction_hash=event.transaction_hash,
            recorded_at=datetime.fromtimestamp(said.recordedAt, UTC),
        )

    async def _history(self, row: CustodyRow) -> Sequence[Any]:
        history: Sequence[Any] = await self._contracts.read(PASSPORT, "custodyOf", row.token_id)
        return history

    async def _sent(self, work: CustodyWork, row: CustodyRow) -> bool:
        """Put a record on chain; False for a retirement that is its host's own to send."""
        if row.kind is CustodyKind.RETIREMENT:
            host = self._host_sender
            if host is None or host.address != row.host:
                return False
            arguments = (row.token_id, row.record_digest, row.log_index)
            await host.send(f"retire:{row.custody_no}", PASSPORT, "retire", *arguments)
            return True
        signed = await work.passports.signatures(hex_text(row.digest(self._domain)))
        attestation = Attestation.of(
            {place: bytes.fromhex(text[2:]) for place, text in signed.items()}
        )
        await self._sender.send(
            f"custody:{row.custody_no}",
            PASSPORT,
            "record",
            row.token_id,
            row.kind.number,
            row.record_digest,
            row.log_index,
            row.word,
            abi_attestation(attestation),
            parse_hex(row.host_signature or "", SIGNATURE_BYTES, field="signature"),
        )
        return True


_ENDING = frozenset({CustodyKind.RETIREMENT.number, CustodyKind.OPERATOR.number})
"""What ends that a passport earns, here or for ever."""


async def _note_ended(work: CustodyWork, passport: PassportRow, history: Sequence[Any]) -> None:
    """Note what a passport's records on chain have ended."""
    after = passport
    for said in history:
        at = datetime.fromtimestamp(said.recordedAt, UTC)
        if said.kind == CustodyKind.RETIREMENT.number:
            after = replace(after, retired_at=at)
        elif said.kind == CustodyKind.OPERATOR.number and after.left_at is None:
            # In the second of the record the passport is the other operator's already.
            after = replace(after, left_at=at - timedelta(seconds=1))
    if after != passport:
        await work.passports.update(after)


async def custody_proofs(
    work: CustodyWork, terms: NetworkTerms, station_id: str
) -> list[tuple[int, CustodyProof]]:
    """Return the entry of each custody record on chain, and who signed it, oldest first."""
    proofs = []
    domain = passport_domain_of(terms)
    for row in await work.custody.of_station(station_id):
        if row.step is not CustodyStep.RECORDED:
            continue
        digest, host = row.digest(domain), row.host_signature
        signed = await work.passports.signatures(hex_text(digest))
        signatures = [parse_hex(signed[place], field="signature") for place in sorted(signed)]
        proof = CustodyProof(
            None if host is None else parse_hex(host, field="signature"),
            tuple((recover(digest, signature), signature) for signature in signatures),
        )
        proofs.append((row.log_index, proof))
    return proofs
