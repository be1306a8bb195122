"""What attesters are asked of custody records, and all that their answer must rest on."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from chargera.app.attester_feed import FeedRecord, custody_questions
from chargera.app.custody import CustodyRow, CustodyStep
from chargera.app.permissions import Action, Caller, Role
from chargera.domain.errors import NotPermitted
from chargera.proofs.chain_values import hex_text
from tests.unit.app.custody_rig import DOMAIN, TERMS, World
from tests.unit.app.settlement_rig import ATTESTERS
from tests.unit.proofs.sample_receipt import METER_KEY_DER

FEED = Caller(None, "an attester", Role.OPERATOR, frozenset({Action.FEED}))


@dataclass
class Feed:
    """A `FeedStore` and the custody records beside it."""

    rows: list[CustodyRow] = field(default_factory=list)
    answered: set[tuple[str, str]] = field(default_factory=set)

    @property
    def feed(self) -> "Feed":
        return self

    custody = feed

    async def open(self) -> Sequence[CustodyRow]:
        return self.rows

    async def anchored_head_over(self, log_index: int) -> str:
        return f"anchored head over {log_index}"

    async def records(self, log_indexes: Sequence[int]) -> Sequence[FeedRecord]:
        return [FeedRecord(index, "{}", "aa") for index in log_indexes]

    async def has_answered(self, digest: str, attester: str) -> bool:
        return (digest, attester) in self.answered


async def waiting() -> CustodyRow:
    row = await World().ask("meter", meter_key=METER_KEY_DER.hex())
    return replace(
        row,
        step=CustodyStep.ATTESTERS,
        host_signature="0x12",
        reading_log_index=42,
        sequence_number=7,
        topic_id="0.0.1001",
    )


async def test_custody__with_all_that_it_rests_on__until_it_is_answered() -> None:
    row = await waiting()
    feed = Feed([replace(row, step=CustodyStep.HOST), row])
    [question] = await custody_questions(feed, FEED, TERMS, ATTESTERS[0])
    assert question.digest == hex_text(row.digest(DOMAIN))
    assert (question.log_index, question.host_signature) == (row.log_index, "0x12")
    assert (question.topic_id, question.sequence_number) == ("0.0.1001", 7)
    assert question.head == "anchored head over 42"
    assert [each.index for each in question.records] == [9, 10, 42]
    feed.answered.add((question.digest, ATTESTERS[0]))
    assert await custody_questions(feed, FEED, TERMS, ATTESTERS[0]) == []
    assert len(await custody_questions(feed, FEED, TERMS, ATTESTERS[1])) == 1
    assert len(await custody_questions(feed, FEED, TERMS, None)) == 1


async def test_custody__for_attesters_alone() -> None:
    stranger = Caller(None, "a stranger", Role.ANONYMOUS)
    with pytest.raises(NotPermitted):
        await custody_questions(Feed([await waiting()]), stranger, TERMS, None)
