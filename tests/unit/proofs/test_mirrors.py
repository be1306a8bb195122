"""Mirrors of a topic: who agrees, who lags, who lies, and what of a message was tampered with."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput
from chargera.proofs.anchor import AnchoredMessage, TopicMessage, chain, parse_mirror_row
from chargera.proofs.mirrors import MirrorAnswer, Stance, judge_anchor, opinion_of, sound_stretch
from chargera.proofs.running_hash import ZERO_HASH, running_hash
from chargera.proofs.steps import StepStatus
from tests.unit.proofs.vector_files import load

TOPIC, PAYER = "0.0.1001", "0.0.1002"
COUNT, PLACE = 6, 3
OTHER: dict[str, Any] = {
    "message": b"another",
    "payer_account_id": "0.0.7",
    "consensus_timestamp": "103.000000002",
}
NAMES = {
    "message": "message",
    "payer_account_id": "payer",
    "consensus_timestamp": "consensus time",
}


def topic(
    changed: dict[int, dict[str, Any]] | None = None, count: int = COUNT
) -> list[TopicMessage]:
    """A topic's messages with right running hashes, some of them with other content."""
    rows: list[TopicMessage] = []
    before = ZERO_HASH
    for number in range(1, count + 1):
        members: dict[str, Any] = {
            "topic_id": TOPIC,
            "payer_account_id": PAYER,
            "sequence_number": number,
            "consensus_timestamp": f"{100 + number}.000000001",
            "message": b"head %d" % number,
            **(changed or {}).get(number, {}),
        }
        before = running_hash(before, **members)
        rows.append(TopicMessage(**members, running_hash=before))
    return rows


ROWS = topic()
ANCHOR: AnchoredMessage = chain(ROWS)[PLACE - 1]


def told(rows: Sequence[TopicMessage] | None, source: str = "m1") -> MirrorAnswer:
    return MirrorAnswer(source, rows, "no answer")


def judged(*answers: Sequence[TopicMessage] | None) -> tuple[StepStatus, str]:
    return judge_anchor(ANCHOR, [told(rows, f"m{n}") for n, rows in enumerate(answers, 1)])


# What agrees -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [
        ROWS,
        ROWS[PLACE - 2 :],
        ROWS[PLACE - 2 : PLACE],
        [ROWS[PLACE - 1]],
        list(reversed(ROWS)),
        [*ROWS, ROWS[0]],
        [*ROWS, replace(ROWS[0], topic_id="0.0.9", running_hash=bytes(48))],
    ],
    ids=["all", "from before", "two", "alone", "newest first", "twice", "another topic"],
)
def test_a_sound_stretch_with_the_message__agrees(rows: list[TopicMessage]) -> None:
    status, detail = judged(rows)
    assert status is StepStatus.OK
    assert detail == "the message stands on the topic according to m1"


def test_all_agree__all_are_named() -> None:
    assert judged(ROWS, ROWS[1:4]) == (
        StepStatus.OK,
        "the message stands on the topic according to m1, m2",
    )


def test_published_messages_of_hedera__chain_to_each_other() -> None:
    vectors = load("hedera_running_hash")["vectors"]
    rows = [parse_mirror_row({"chunk_info": None, **vector["row"]}) for vector in vectors]
    stretch = sound_stretch(rows, "0.0.4603900", 2)
    assert list(stretch) == [1, 2, 3]
    anchor = chain(list(stretch.values()))[1]
    assert judge_anchor(anchor, [told(rows)])[0] is StepStatus.OK


# What cannot tell ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "detail"),
    [
        (None, "m1: no answer"),
        ([], "m1 does not have the message (yet)"),
        (ROWS[: PLACE - 1], "m1 does not have the message (yet)"),
        (ROWS[PLACE:], "m1 does not have the message (yet)"),
    ],
)
def test_silence_and_lag__undetermined(rows: list[TopicMessage] | None, detail: str) -> None:
    assert judged(rows) == (StepStatus.PENDING, detail)
    assert judged(ROWS, rows) == (StepStatus.PENDING, detail.replace("m1", "m2"))


@pytest.mark.parametrize("place", range(1, COUNT + 1))
@pytest.mark.parametrize("member", [*OTHER, "running_hash"])
def test_row_tampered_with__the_mirror_contradicts_itself(place: int, member: str) -> None:
    """A single altered row does not recompute; never ok, also beside one that tells the truth."""
    value = {**OTHER, "running_hash": bytes(48)}[member]
    if member == "consensus_timestamp":
        value = f"{100 + place}.000000002"
    rows = [
        replace(row, **{member: value}) if row.sequence_number == place else row for row in ROWS
    ]
    for answers in ([rows], [ROWS, rows], [rows, ROWS]):
        status, detail = judged(*answers)
        assert status is StepStatus.PENDING
        assert f"contradicts itself: topic message {place}:" in detail or (
            member == "running_hash" and f"topic message {place + 1}:" in detail
        )


def test_rows_in_another_order__the_mirror_contradicts_itself() -> None:
    first, second = ROWS[PLACE - 1], ROWS[PLACE]
    swapped = [
        *ROWS[: PLACE - 1],
        replace(second, sequence_number=first.sequence_number),
        replace(first, sequence_number=second.sequence_number),
    ]
    status, detail = judged(swapped)
    assert status is StepStatus.PENDING
    assert "contradicts itself" in detail


def test_two_messages_of_one_number__the_mirror_contradicts_itself() -> None:
    status, detail = judged([*ROWS, topic({PLACE: OTHER})[PLACE - 1]])
    assert status is StepStatus.PENDING
    assert detail == "m1 contradicts itself: two different messages 3"


def test_a_stretch_whose_times_do_not_rise__is_refused() -> None:
    late = topic({2: {"consensus_timestamp": "103.000000001"}})
    with pytest.raises(InvalidInput, match="message 3: not later"):
        sound_stretch(late[1:], TOPIC, PLACE)
    with pytest.raises(InvalidInput, match="message 3: not later"):
        sound_stretch(late, TOPIC, PLACE)


# What contradicts ------------------------------------------------------------------------------


@pytest.mark.parametrize("member", OTHER)
def test_another_message_there__is_named_by_what_differs(member: str) -> None:
    """The mirror's arithmetic is right, so it lies well, or the receipt does."""
    rows = topic({PLACE: {member: OTHER[member]}})
    opinion = opinion_of(ANCHOR, told(rows))
    assert opinion.stance is Stance.CONTRADICTS
    assert opinion.detail == f"m1 has another {NAMES[member]}, running hash at place 3 of {TOPIC}"
    assert judged(rows)[0] is StepStatus.PENDING


def test_another_predecessor__is_named() -> None:
    rows = topic({PLACE - 1: {"message": b"another"}})
    opinion = opinion_of(ANCHOR, told(rows))
    assert (
        opinion.detail
        == f"m1 has another running hash, running hash before it at place 3 of {TOPIC}"
    )


def test_another_version_of_the_running_hash__is_named() -> None:
    row = replace(ROWS[PLACE - 1], running_hash_version=2)
    opinion = opinion_of(ANCHOR, told([row]))
    assert "version of the running hash" in opinion.detail


def test_one_contradicts_and_one_agrees__one_of_them_lies() -> None:
    lying = topic({PLACE: OTHER})
    for answers in ([ROWS, lying], [lying, ROWS], [lying, ROWS, lying]):
        status, detail = judged(*answers)
        assert status is StepStatus.PENDING
        assert "one of them lies" in detail


def test_two_independent_ones_tell_the_same_other_message__the_receipt_is_wrong() -> None:
    other = topic({PLACE: OTHER})
    assert judged(other, other)[0] is StepStatus.FAILED
    assert judged(other, other, None)[0] is StepStatus.FAILED
    assert judged(other, topic({PLACE: {"message": b"third"}}))[0] is StepStatus.PENDING
    twice = [told(other), told(other)]  # the same source named twice is one
    assert judge_anchor(ANCHOR, twice)[0] is StepStatus.PENDING


@given(st.data())
def test_a_lie_is_never_ok(data: st.DataObject) -> None:
    """Whatever of the rows around the anchor is altered, the sources together never say ok."""
    place = data.draw(st.integers(PLACE - 1, PLACE))
    member = data.draw(st.sampled_from([*OTHER, "running_hash", "topic_id"]))
    value = {**OTHER, "running_hash": data.draw(st.binary(min_size=48, max_size=48)),
             "topic_id": "0.0.9"}[member]  # fmt: skip
    rows = [
        replace(row, **{member: value}) if row.sequence_number == place else row for row in ROWS
    ]
    if rows == ROWS or (place == PLACE - 1 and member == "topic_id"):
        return
    assert judged(ROWS, rows)[0] is not StepStatus.OK
    assert judged(rows)[0] is not StepStatus.OK
