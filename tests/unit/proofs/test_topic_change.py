"""The note that tells of a log's next topic."""

import pytest

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.proofs.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from chargera.proofs.note import sign_note
from chargera.proofs.topic_change import TopicChange, open_topic_change, sign_topic_change
from tests.unit.proofs.log_of_test import LOG_KEY, LOG_PRIVATE, ORIGIN, OTHER_KEY, OTHER_PRIVATE

CHANGE = TopicChange("0.0.7001", "0.0.1002", 4711)


def test_a_signed_change__is_read_again() -> None:
    note = sign_topic_change(CHANGE, LOG_KEY, LOG_PRIVATE.sign)
    assert open_topic_change(note, [OTHER_KEY, LOG_KEY]) == CHANGE
    assert len(note) < 1024
    assert CHANGE.record("0.0.1001") == {
        "from_size": 4711,
        "key": "topic",
        "payer": "0.0.1002",
        "previous_topic_id": "0.0.1001",
        "topic_id": "0.0.7001",
    }


def test_a_head_is_no_change_and_a_change_is_no_head() -> None:
    head = sign_checkpoint(Checkpoint(ORIGIN, 3, bytes(32)), LOG_KEY, LOG_PRIVATE.sign)
    with pytest.raises(Unreadable, match="not a note of the form"):
        open_topic_change(head, [LOG_KEY])
    with pytest.raises(Unreadable):
        open_checkpoint(sign_topic_change(CHANGE, LOG_KEY, LOG_PRIVATE.sign), ORIGIN, [LOG_KEY])


def test_a_stranger_changes_nothing() -> None:
    note = sign_topic_change(CHANGE, OTHER_KEY, OTHER_PRIVATE.sign)
    with pytest.raises(InvalidInput, match="not signed"):
        open_topic_change(note, [LOG_KEY])


@pytest.mark.parametrize(
    "lines",
    [
        "chargera.next-topic/2\n0.0.7\n0.0.8\n9\n",
        "chargera.next-topic/1\n0.0.7\n0.0.8\n",
        "chargera.next-topic/1\n0.0.7\n0.0.8\n09\n",
        "chargera.next-topic/1\n0.0.7\nme\n9\n",
        "chargera.next-topic/1\nthere\n0.0.8\n9\n",
    ],
)
def test_another_form__is_refused(lines: str) -> None:
    note = sign_note(lines, [(LOG_KEY, LOG_PRIVATE.sign)])
    with pytest.raises(InvalidInput):
        open_topic_change(note, [LOG_KEY])
