"""The word with which a log goes from one topic to the next: a note on the old one.

    chargera.next-topic/1
    0.0.7001
    0.0.1002
    4711

are format, next topic, who pays there, and the size of the first head that stands there; the log's
own key signs it. The first line is no origin of a log, so nobody takes it for a head.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from chargera.domain.errors import Unreadable
from chargera.proofs.canonical import JsonValue
from chargera.proofs.checkpoint import parse_decimal
from chargera.proofs.note import Sign, VerifierKey, parse_note, sign_note
from chargera.proofs.running_hash import parse_entity_id

FORMAT = "chargera.next-topic/1"


@dataclass(frozen=True, slots=True)
class TopicChange:
    """Heads of `from_size` entries and more stand on `topic_id`, paid by `payer`."""

    topic_id: str
    payer: str
    from_size: int

    def __post_init__(self) -> None:
        """Raise InvalidInput for ids that are none."""
        parse_entity_id(self.topic_id, "topic_id")
        parse_entity_id(self.payer, "payer")

    @property
    def text(self) -> str:
        """The text of the note."""
        return f"{FORMAT}\n{self.topic_id}\n{self.payer}\n{self.from_size}\n"

    def record(self, previous_topic_id: str) -> dict[str, JsonValue]:
        """Return the record of the log's own entry about it."""
        return {
            "from_size": self.from_size,
            "key": "topic",
            "payer": self.payer,
            "previous_topic_id": previous_topic_id,
            "topic_id": self.topic_id,
        }


def sign_topic_change(change: TopicChange, key: VerifierKey, sign: Sign) -> bytes:
    """Return the signed note of a change."""
    return sign_note(change.text, [(key, sign)])


def open_topic_change(data: bytes, log_keys: Iterable[VerifierKey]) -> TopicChange:
    """Return the change in a note that one of these keys signed.

    Raises Unreadable if it is no such note, InvalidInput if its signature does not hold.
    """
    note = parse_note(data)
    lines = note.text.removesuffix("\n").split("\n")
    if len(lines) != 4 or lines[0] != FORMAT:
        raise Unreadable(f"not a note of the form {FORMAT}")
    note.verify(log_keys)
    _, topic_id, payer, size = lines
    return TopicChange(topic_id, payer, parse_decimal(size, "from_size"))
