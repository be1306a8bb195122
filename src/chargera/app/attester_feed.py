"""What attesters are asked to sign, with everything that their answer must rest on.

An attester believes none of it: records are opened by their salts against the public log, heads by
the log's key and the topic, bills are made again. He reads no database; this is all he gets.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from chargera.app.custody import CustodyRow, CustodyStep
from chargera.app.passports import PassportRow, Step, passport_domain_of
from chargera.app.permissions import Action, Caller
from chargera.app.settlement import BatchRow, BatchStage
from chargera.app.settlement_ports import NetworkTerms
from chargera.proofs.chain_values import hex_text
from chargera.proofs.passport import registration_digest


@dataclass(frozen=True, slots=True)
class FeedRecord:
    """A private record: the index of its entry, its bytes as text, its salt in hex."""

    index: int
    record: str
    salt: str


@dataclass(frozen=True, slots=True)
class FeedReadings:
    """The readings that a session's records commit to, in order."""

    session_id: str
    events: Sequence[Any]


@dataclass(frozen=True, slots=True)
class BatchQuestion:
    """A batch that waits for signatures; `head` is the signed head that it stands under.

    `records` of all its sessions in the order of the log; `bills` says for each leaf's CDR which
    of them it rests on.
    """

    digest: str
    batch: Mapping[str, Any]
    gateway_signature: str | None
    head: str
    bills: Mapping[str, Sequence[int]]
    records: Sequence[FeedRecord]
    readings: Sequence[FeedReadings]


@dataclass(frozen=True, slots=True)
class RegistrationQuestion:
    """A registration that waits for signatures."""

    digest: str
    station_id: str
    passport_id: str
    topic_id: str
    sequence_number: int
    onboarding_log_index: int
    consent: str
    head: str
    records: Sequence[FeedRecord]
    reading_head: str | None
    """Of a station whose meter signs: the newest head, over the reading that names it."""
    reading: FeedRecord | None


@dataclass(frozen=True, slots=True)
class CustodyQuestion:
    """A custody record that waits for signatures; `records` are all that it rests on."""

    digest: str
    station_id: str
    passport_id: str
    topic_id: str
    sequence_number: int
    log_index: int
    host_signature: str
    head: str
    records: Sequence[FeedRecord]


class FeedStore(Protocol):
    """What the database gives out to attesters."""

    async def unanswered_batches(self, attester: str | None) -> Sequence[BatchRow]:
        """Return formed batches that this attester has not answered (None: all)."""

    async def head_of(self, tree_size: int) -> str:
        """Return the signed head of a size."""

    async def evidence(self, log_index: int) -> tuple[Sequence[int], FeedReadings]:
        """Return the indexes of the records that a CDR entry rests on, and its readings."""

    async def anchored_head_over(self, log_index: int) -> str:
        """Return the first anchored head over an entry."""

    async def head_over(self, log_index: int) -> str:
        """Return the first signed head over an entry."""

    async def records(self, log_indexes: Sequence[int]) -> Sequence[FeedRecord]:
        """Return these records."""

    async def station_entry(self, station_id: str, before: int) -> int:
        """Return the index of a station's newest registration before an entry."""

    async def has_answered(self, digest: str, attester: str) -> bool:
        """Say whether an attester has answered to a digest."""


class FeedWork(Protocol):
    """One unit of work."""

    @property
    def feed(self) -> FeedStore:
        """What attesters get."""

    @property
    def passports(self) -> Any:
        """Registrations."""

    @property
    def custody(self) -> Any:
        """Custody records."""


class FeedDatabase(Protocol):
    """Opens units of work."""

    def work(self) -> AbstractAsyncContextManager[FeedWork]:
        """Open a unit of work."""


async def batch_questions(
    work: FeedWork, caller: Caller, attester: str | None
) -> list[BatchQuestion]:
    """Return the batches that wait for this attester."""
    caller.require(Action.FEED)
    questions = []
    for row in await work.feed.unanswered_batches(attester):
        assert row.state is BatchStage.FORMED, "only those are asked for"
        bills, readings = {}, []
        for leaf in row.document["leaves"]:
            bills[str(leaf["log_index"])], rows = await work.feed.evidence(leaf["log_index"])
            readings.append(rows)
        wanted = sorted({index for indexes in bills.values() for index in indexes})
        questions.append(
            BatchQuestion(
                row.digest,
                row.document,
                row.gateway_signature,
                await work.feed.head_of(row.document["tree_size"]),
                bills,
                await work.feed.records(wanted),
                readings,
            )
        )
    return questions


async def registration_questions(
    work: FeedWork, caller: Caller, terms: NetworkTerms, attester: str | None
) -> list[RegistrationQuestion]:
    """Return the registrations that wait for this attester."""
    caller.require(Action.FEED)
    domain = passport_domain_of(terms)
    questions = []
    rows: Sequence[PassportRow] = await work.passports.open()
    for row in rows:
        if row.step is not Step.ATTESTERS:
            continue
        digest = hex_text(registration_digest(row.registration(), domain))
        if attester is not None and await work.feed.has_answered(digest, attester):
            continue
        questions.append(await _registration(work, row, digest))
    return questions


async def _registration(work: FeedWork, row: PassportRow, digest: str) -> RegistrationQuestion:
    onboarding = row.onboarding_log_index
    assert onboarding is not None, "whoever waits for attesters has been anchored"
    indexes = [await work.feed.station_entry(row.station_id, onboarding), onboarding]
    reading_head, reading = None, None
    if row.reading_log_index is not None:
        reading_head = await work.feed.head_over(row.reading_log_index)
        (reading,) = await work.feed.records([row.reading_log_index])
    return RegistrationQuestion(
        digest=digest,
        station_id=row.station_id,
        passport_id=row.passport_id,
        topic_id=row.topic_id or "",
        sequence_number=row.sequence_number or 0,
        onboarding_log_index=onboarding,
        consent=row.consent or "",
        head=await work.feed.anchored_head_over(onboarding),
        records=await work.feed.records(indexes),
        reading_head=reading_head,
        reading=reading,
    )


async def custody_questions(
    work: FeedWork, caller: Caller, terms: NetworkTerms, attester: str | None
) -> list[CustodyQuestion]:
    """Return the custody records that wait for this attester."""
    caller.require(Action.FEED)
    domain = passport_domain_of(terms)
    questions = []
    rows: Sequence[CustodyRow] = await work.custody.open()
    for row in rows:
        if row.step is not CustodyStep.ATTESTERS:
            continue
        digest = hex_text(row.digest(domain))
        if attester is None or not await work.feed.has_answered(digest, attester):
            questions.append(await _custody(work, row, digest))
    return questions


async def _custody(work: FeedWork, row: CustodyRow, digest: str) -> CustodyQuestion:
    indexes = (row.station_log_index, row.log_index, row.reading_log_index)
    return CustodyQuestion(
        digest=digest,
        station_id=row.station_id,
        passport_id=row.passport_id,
        topic_id=row.topic_id or "",
        sequence_number=row.sequence_number or 0,
        log_index=row.log_index,
        host_signature=row.host_signature or "",
        head=await work.feed.anchored_head_over(row.last_log_index),
        records=await work.feed.records([index for index in indexes if index is not None]),
    )
