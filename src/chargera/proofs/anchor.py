"""Messages of a Hedera topic as a mirror node tells of them, and the arithmetic that chains them.

A message whose predecessor's running hash is known can be recomputed by anyone. That proves its
place in *a* chain; that the chain is the topic's own, mirrors (several, independent) must say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from chargera.domain.errors import InvalidInput, Unreadable, Unsupported
from chargera.proofs.canonical import JsonValue
from chargera.proofs.note import decode_base64, encode_base64
from chargera.proofs.running_hash import (
    HASH_BYTES,
    VERSION,
    ZERO_HASH,
    parse_consensus_timestamp,
    parse_entity_id,
    running_hash,
)

MESSAGE_BYTES_MAX = 1024
"""consensus.message.maxBytesAllowed of the network; an anchor is always one message."""

REMEDY = "save a page of a mirror's /api/v1/topics/ID/messages as it is, or name the mirror itself"
"""What helps against rows that are no messages."""

_JSON_MEMBERS = {
    "consensus_timestamp",
    "message",
    "payer_account_id",
    "previous_running_hash",
    "running_hash",
    "running_hash_version",
    "sequence_number",
    "topic_id",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicMessage:
    """One message of a topic, as a row of a mirror node's REST API has it."""

    topic_id: str
    payer_account_id: str
    sequence_number: int
    consensus_timestamp: str
    message: bytes
    running_hash: bytes
    running_hash_version: int = VERSION

    def __post_init__(self) -> None:
        """Raise InvalidInput, naming the member that is malformed."""
        parse_entity_id(self.topic_id, "topic_id")
        parse_entity_id(self.payer_account_id, "payer_account_id")
        parse_consensus_timestamp(self.consensus_timestamp)
        if self.sequence_number < 1:
            raise InvalidInput("sequence_number: counts from 1", field="sequence_number")
        if not 0 < len(self.message) <= MESSAGE_BYTES_MAX:
            raise InvalidInput(
                f"message: must have 1 to {MESSAGE_BYTES_MAX} bytes", field="message"
            )
        if len(self.running_hash) != HASH_BYTES:
            raise InvalidInput("running_hash: must have 48 bytes", field="running_hash")

    def to_mirror(self) -> dict[str, JsonValue]:
        """Return the row that a mirror node would give."""
        return {
            "chunk_info": None,
            "consensus_timestamp": self.consensus_timestamp,
            "message": encode_base64(self.message),
            "payer_account_id": self.payer_account_id,
            "running_hash": encode_base64(self.running_hash),
            "running_hash_version": self.running_hash_version,
            "sequence_number": self.sequence_number,
            "topic_id": self.topic_id,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchoredMessage(TopicMessage):
    """A topic message together with the running hash before it: all that its own depends on."""

    previous_running_hash: bytes

    def __post_init__(self) -> None:
        """Raise InvalidInput, naming the member that is malformed."""
        TopicMessage.__post_init__(self)
        if len(self.previous_running_hash) != HASH_BYTES:
            raise InvalidInput(
                "previous_running_hash: must have 48 bytes", field="previous_running_hash"
            )

    @classmethod
    def after(cls, previous_running_hash: bytes, message: TopicMessage) -> Self:
        """Return `message` with what is said to be the running hash before it."""
        return cls(
            topic_id=message.topic_id,
            payer_account_id=message.payer_account_id,
            sequence_number=message.sequence_number,
            consensus_timestamp=message.consensus_timestamp,
            message=message.message,
            running_hash=message.running_hash,
            running_hash_version=message.running_hash_version,
            previous_running_hash=previous_running_hash,
        )

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Return the message that `to_json` gave; raise Unreadable for any other value."""
        if not isinstance(value, dict) or value.keys() != _JSON_MEMBERS:
            raise Unreadable(f"anchor: must have exactly {', '.join(sorted(_JSON_MEMBERS))}")
        message = parse_mirror_row(value)
        previous = value["previous_running_hash"]
        if not isinstance(previous, str):
            raise Unreadable("previous_running_hash: must be text", field="previous_running_hash")
        try:
            return cls.after(decode_base64(previous, "previous_running_hash"), message)
        except InvalidInput as error:
            raise Unreadable(error.message, field=error.field) from None

    def to_json(self) -> dict[str, JsonValue]:
        """Return a mirror row without its `chunk_info`, with `previous_running_hash` in base64."""
        row = self.to_mirror()
        del row["chunk_info"]
        return {**row, "previous_running_hash": encode_base64(self.previous_running_hash)}

    def check(self) -> None:
        """Raise unless the running hash is that of the message after its predecessor.

        InvalidInput if it is not, Unsupported if the network used another version of it.
        """
        if self.running_hash_version != VERSION:
            raise Unsupported(
                f"running_hash_version: {self.running_hash_version} is not {VERSION}",
                field="running_hash_version",
            )
        if self.sequence_number == 1 and self.previous_running_hash != ZERO_HASH:
            raise InvalidInput("previous_running_hash: is zero before the first message of a topic")
        recomputed = running_hash(
            self.previous_running_hash,
            payer_account_id=self.payer_account_id,
            topic_id=self.topic_id,
            consensus_timestamp=self.consensus_timestamp,
            sequence_number=self.sequence_number,
            message=self.message,
        )
        if recomputed != self.running_hash:
            raise InvalidInput(
                f"topic message {self.sequence_number}: its running hash is not that of its content"
            )


def chain(messages: Sequence[TopicMessage], previous: bytes = ZERO_HASH) -> list[AnchoredMessage]:
    """Return `messages`, a stretch of one topic in order, each with its predecessor's hash.

    `previous` is the running hash before the first of them. Every running hash is recomputed.

    Raises InvalidInput at the first message that is of another topic, does not follow its
    predecessor in number and time, or has another running hash than its content gives.
    """
    anchored: list[AnchoredMessage] = []
    for message in messages:
        if anchored:
            _check_follows(message, anchored[-1])
        link = AnchoredMessage.after(previous, message)
        link.check()
        anchored.append(link)
        previous = link.running_hash
    return anchored


def parse_mirror_row(row: object) -> TopicMessage:
    """Return the message in one `row` of `/api/v1/topics/{id}/messages`.

    Members that are not known here are ignored: mirrors add some.

    Raises Unreadable if a member is missing or malformed, Unsupported if the message is one chunk
    of several.
    """
    match row:
        case {"chunk_info": {"total": total}} if total != 1:
            raise Unsupported(
                "topic message: is one chunk of several",
                field="chunk_info",
                remedy="leave it out: an anchor is always one message",
            )
        case {
            "consensus_timestamp": str(consensus_timestamp),
            "message": str(message),
            "payer_account_id": str(payer_account_id),
            "running_hash": str(hash_text),
            "running_hash_version": int(version),
            "sequence_number": int(sequence_number),
            "topic_id": str(topic_id),
        } if not isinstance(version, bool) and not isinstance(sequence_number, bool):
            pass
        case _:
            raise Unreadable(
                "topic message: a member is missing or of the wrong type", remedy=REMEDY
            )
    try:
        return TopicMessage(
            topic_id=topic_id,
            payer_account_id=payer_account_id,
            sequence_number=sequence_number,
            consensus_timestamp=consensus_timestamp,
            message=decode_base64(message, "message"),
            running_hash=decode_base64(hash_text, "running_hash"),
            running_hash_version=version,
        )
    except InvalidInput as error:
        raise Unreadable(error.message, field=error.field, remedy=REMEDY) from None


def parse_mirror_page(document: object) -> tuple[list[TopicMessage], str | None]:
    """Return the messages of a page of `/api/v1/topics/{id}/messages` and the path of the next.

    Raises Unreadable if it is no such page, Unsupported as `parse_mirror_row`.
    """
    match document:
        case {"messages": list(rows), "links": {"next": (str() | None) as following}}:
            return [parse_mirror_row(row) for row in rows], following
        case _:
            raise Unreadable("mirror page: must have messages and links.next", remedy=REMEDY)


def _check_follows(message: TopicMessage, last: TopicMessage) -> None:
    if message.topic_id != last.topic_id:
        raise InvalidInput(f"topic message: of {message.topic_id}, not of {last.topic_id}")
    if message.sequence_number != last.sequence_number + 1:
        raise InvalidInput(
            f"topic message {message.sequence_number}: does not follow {last.sequence_number}"
        )
    time = parse_consensus_timestamp(message.consensus_timestamp)
    if time <= parse_consensus_timestamp(last.consensus_timestamp):
        raise InvalidInput(f"topic message {message.sequence_number}: not later than the last")
