"""What attesters are asked: what waits for them, and all that their answer must rest on."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from chargera.app.attester_feed import (
    FeedReadings,
    FeedRecord,
    batch_questions,
    registration_questions,
)
from chargera.app.passports import PassportRow, Step, passport_domain_of
from chargera.app.permissions import Action, Caller, Role
from chargera.app.settlement import BatchRow
from chargera.domain.errors import NotPermitted
from chargera.proofs.chain_values import hex_text
from chargera.proofs.passport import registration_digest
from tests.browser.sample_chain import FORMED, PASSPORTS, PROPOSED
from tests.unit.app.settlement_rig import ATTESTERS, terms

FEED = Caller(None, "an attester", Role.OPERATOR, frozenset({Action.FEED}))
STRANGER = Caller(None, "a stranger", Role.ANONYMOUS)
(CONTEST,) = (row for row in PASSPORTS if row.step is Step.CONTEST)
WAITING = replace(CONTEST, step=Step.ATTESTERS)
REGISTERED_AT = 2


@dataclass
class MemoryFeed:
    """A `FeedStore`, and the registrations beside it."""

    batches: list[BatchRow] = field(default_factory=list)
    registrations: list[PassportRow] = field(default_factory=list)
    answered: set[tuple[str, str]] = field(default_factory=set)
    evidence_of: dict[int, list[int]] = field(default_factory=dict)

    @property
    def feed(self) -> "MemoryFeed":
        return self

    passports = feed

    async def open(self) -> Sequence[PassportRow]:
        return self.registrations

    async def unanswered_batches(self, attester: str | None) -> Sequence[BatchRow]:
        return [row for row in self.batches if (row.digest, attester) not in self.answered]

    async def head_of(self, tree_size: int) -> str:
        return f"head of {tree_size}"

    async def evidence(self, log_index: int) -> tuple[Sequence[int], FeedReadings]:
        indexes = self.evidence_of.get(log_index, [log_index])
        return indexes, FeedReadings(f"session of {log_index}", [])

    async def anchored_head_over(self, log_index: int) -> str:
        return f"anchored head over {log_index}"

    async def head_over(self, log_index: int) -> str:
        return f"head over {log_index}"

    async def records(self, log_indexes: Sequence[int]) -> Sequence[FeedRecord]:
        return [FeedRecord(index, "{}", "aa") for index in log_indexes]

    async def station_entry(self, station_id: str, before: int) -> int:
        assert (station_id, before) == (WAITING.station_id, WAITING.onboarding_log_index)
        return REGISTERED_AT

    async def has_answered(self, digest: str, attester: str) -> bool:
        return (digest, attester) in self.answered


# Batches ---------------------------------------------------------------------------------------


async def test_batch__with_its_head_and_all_records_once_in_order() -> None:
    row = FORMED
    (leaf,) = row.document["leaves"]
    index = leaf["log_index"]
    feed = MemoryFeed([row], evidence_of={index: [9, 3, index, 3]})
    (question,) = await batch_questions(feed, FEED, ATTESTERS[0])
    assert (question.digest, question.batch) == (row.digest, row.document)
    assert question.head == f"head of {row.document['tree_size']}"
    assert question.bills == {str(index): [9, 3, index, 3]}
    assert [record.index for record in question.records] == sorted({3, 9, index})
    assert [rows.session_id for rows in question.readings] == [f"session of {index}"]
    assert question.gateway_signature is None


async def test_batch__who_has_answered_is_not_asked_again() -> None:
    feed = MemoryFeed([FORMED], answered={(FORMED.digest, ATTESTERS[0])})
    assert await batch_questions(feed, FEED, ATTESTERS[0]) == []
    assert len(await batch_questions(feed, FEED, ATTESTERS[1])) == 1
    assert len(await batch_questions(feed, FEED, None)) == 1


async def test_batch__the_gateways_signature_goes_with_it() -> None:
    feed = MemoryFeed([replace(FORMED, gateway_signature="0x12")])
    (question,) = await batch_questions(feed, FEED, None)
    assert question.gateway_signature == "0x12"


async def test_batch__only_formed_ones_are_questions() -> None:
    with pytest.raises(AssertionError):
        await batch_questions(MemoryFeed([PROPOSED]), FEED, None)


# Registrations ---------------------------------------------------------------------------------


def digest_of(row: PassportRow) -> str:
    return hex_text(registration_digest(row.registration(), passport_domain_of(terms())))


async def test_registration__its_place_consent_and_records() -> None:
    feed = MemoryFeed(registrations=[WAITING])
    (question,) = await registration_questions(feed, FEED, terms(), ATTESTERS[0])
    assert question.digest == digest_of(WAITING)
    assert (question.station_id, question.passport_id) == (
        WAITING.station_id,
        WAITING.passport_id,
    )
    assert (question.topic_id, question.sequence_number) == (
        WAITING.topic_id,
        WAITING.sequence_number,
    )
    onboarding = WAITING.onboarding_log_index
    assert question.onboarding_log_index == onboarding
    assert question.head == f"anchored head over {onboarding}"
    assert [record.index for record in question.records] == [REGISTERED_AT, onboarding]
    assert question.consent == WAITING.consent
    assert (question.reading, question.reading_head) == (None, None)


async def test_registration__of_a_meter_that_signs__the_reading_under_its_own_head() -> None:
    feed = MemoryFeed(registrations=[replace(WAITING, reading_log_index=17)])
    (question,) = await registration_questions(feed, FEED, terms(), None)
    assert question.reading is not None
    assert (question.reading.index, question.reading_head) == (17, "head over 17")


async def test_registration__only_what_waits_for_attesters() -> None:
    feed = MemoryFeed(registrations=[row for row in PASSPORTS if row.step is not Step.ATTESTERS])
    assert await registration_questions(feed, FEED, terms(), None) == []


async def test_registration__who_has_answered_is_not_asked_again() -> None:
    feed = MemoryFeed(registrations=[WAITING], answered={(digest_of(WAITING), ATTESTERS[0])})
    assert await registration_questions(feed, FEED, terms(), ATTESTERS[0]) == []
    assert len(await registration_questions(feed, FEED, terms(), ATTESTERS[1])) == 1


async def test_whoever_has_no_credential_of_the_feed__refused() -> None:
    feed = MemoryFeed([FORMED], [WAITING])
    with pytest.raises(NotPermitted):
        await batch_questions(feed, STRANGER, None)
    with pytest.raises(NotPermitted):
        await registration_questions(feed, STRANGER, terms(), None)
