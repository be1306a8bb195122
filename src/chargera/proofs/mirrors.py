"""What mirrors say of a topic, held against the topic's arithmetic and against each other.

One mirror's word is a claim. What follows from it, for an anchor that a receipt names:

| a source                                        | verdict                                    |
|-------------------------------------------------|--------------------------------------------|
| has the message, its stretch recomputes         | it agrees                                  |
| is silent, or does not have the message         | nothing: it may lag                        |
| has rows that do not hash to what they say      | nothing: it lies or is damaged             |
| has another message there, its stretch recomputes | it contradicts: it lies, or the receipt does |

All agree: ok. One contradicts and no other does the same: undetermined, for it may be the liar.
Two or more tell the same other message and none agrees: the receipt is wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from chargera.domain.errors import ChargEraError, InvalidInput
from chargera.proofs.anchor import AnchoredMessage, TopicMessage, chain
from chargera.proofs.running_hash import ZERO_HASH, parse_consensus_timestamp
from chargera.proofs.steps import StepStatus

MEMBERS: Mapping[str, str] = {
    "message": "message",
    "payer_account_id": "payer",
    "consensus_timestamp": "consensus time",
    "running_hash": "running hash",
    "running_hash_version": "version of the running hash",
}
"""What is compared of a message at its place, and how it is called."""


@dataclass(frozen=True, slots=True)
class MirrorAnswer:
    """What one source of topic messages says; `messages` None: it could not be reached."""

    source: str
    messages: Sequence[TopicMessage] | None
    fault: str = ""


class Stance(StrEnum):
    """What a source's answer means for an anchor."""

    AGREES = "agrees"
    CONTRADICTS = "contradicts"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True, slots=True)
class Opinion:
    """A source's stance, why, and the other message that it tells if it contradicts."""

    source: str
    stance: Stance
    detail: str = ""
    other: TopicMessage | None = None


def judge_anchor(
    anchor: AnchoredMessage, answers: Sequence[MirrorAnswer]
) -> tuple[StepStatus, str]:  # fmt: skip
    """Return what the sources together say of the place of `anchor` on its topic, and why."""
    opinions = [opinion_of(anchor, answer) for answer in answers]
    against = [each for each in opinions if each.stance is Stance.CONTRADICTS]
    agreeing = [each for each in opinions if each.stance is Stance.AGREES]
    unknown = [each for each in opinions if each.stance is Stance.CANNOT_TELL]
    if against:
        sources = {each.source for each in against}
        same = len({each.other for each in against}) == 1
        detail = "; ".join(each.detail for each in against)
        if not agreeing and same and len(sources) > 1:
            return StepStatus.FAILED, detail
        if agreeing:
            return StepStatus.PENDING, f"{detail}; other sources have this one: one of them lies"
        return StepStatus.PENDING, f"{detail}: it lies or the receipt does, ask another mirror"
    if unknown:
        return StepStatus.PENDING, unknown[0].detail
    names = ", ".join(answer.source for answer in answers)
    return StepStatus.OK, f"the message stands on the topic according to {names}"


def opinion_of(anchor: AnchoredMessage, answer: MirrorAnswer) -> Opinion:
    """Return what one source says of an anchor, whose own arithmetic is not looked at here."""
    source, number = answer.source, anchor.sequence_number
    if answer.messages is None:
        return Opinion(source, Stance.CANNOT_TELL, f"{source}: {answer.fault}")
    try:
        rows = sound_stretch(answer.messages, anchor.topic_id, number)
    except ChargEraError as error:
        return Opinion(source, Stance.CANNOT_TELL, f"{source} contradicts itself: {error.message}")
    row, before = rows.get(number), rows.get(number - 1)
    if row is None:
        return Opinion(source, Stance.CANNOT_TELL, f"{source} does not have the message (yet)")
    wrong = [
        name for member, name in MEMBERS.items() if getattr(row, member) != getattr(anchor, member)
    ]
    if before is not None and before.running_hash != anchor.previous_running_hash:
        wrong.append("running hash before it")
    if wrong:
        detail = f"{source} has another {', '.join(wrong)} at place {number} of {anchor.topic_id}"
        return Opinion(source, Stance.CONTRADICTS, detail, row)
    return Opinion(source, Stance.AGREES)


def sound_stretch(
    messages: Iterable[TopicMessage], topic_id: str, number: int
) -> dict[int, TopicMessage]:
    """Return by number those messages of a topic that stand without a gap around `number`.

    Every running hash is recomputed from the message before; that of the first is taken as told,
    unless it is the topic's first. Empty where there is no message of that number.

    Raises InvalidInput at the first one that has another running hash than its content gives, is
    not later than the one before, or is there twice with different content.
    """
    rows: dict[int, TopicMessage] = {}
    for message in messages:
        if message.topic_id != topic_id:
            continue
        if rows.setdefault(message.sequence_number, message) != message:
            raise InvalidInput(f"two different messages {message.sequence_number}")
    if number not in rows:
        return {}
    first = last = number
    while first - 1 in rows:
        first -= 1
    while last + 1 in rows:
        last += 1
    run = [rows[place] for place in range(first, last + 1)]
    if first == 1:
        chain(run, ZERO_HASH)
    else:
        _check_after(run[0], run[1:])
    return {message.sequence_number: message for message in run}


def _check_after(told: TopicMessage, following: Sequence[TopicMessage]) -> None:
    """Recompute what follows a message whose own predecessor is not known."""
    chain(following, told.running_hash)
    first = next(iter(following), None)
    if first is not None and _time(first) <= _time(told):
        raise InvalidInput(f"topic message {first.sequence_number}: not later than the last")


def _time(message: TopicMessage) -> tuple[int, int]:
    return parse_consensus_timestamp(message.consensus_timestamp)
