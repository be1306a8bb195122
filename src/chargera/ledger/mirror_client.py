"""Reads topic messages from a mirror node's REST API, for whoever checks an anchor."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from chargera.domain.errors import InvalidInput, NotFound, Unavailable, Unreadable
from chargera.proofs.anchor import (
    AnchoredMessage,
    TopicMessage,
    parse_mirror_page,
    parse_mirror_row,
)
from chargera.proofs.nesting import check_nesting
from chargera.proofs.running_hash import ZERO_HASH, parse_consensus_timestamp

PAGE_ROWS = 100
TIMEOUT_S = 10.0
BODY_BYTES_MAX = 4 * 1024 * 1024


class MirrorClient:
    """One mirror; what it says is a claim, which running hash and a second mirror make stronger."""

    def __init__(self, base_url: str, client: httpx2.Client) -> None:
        """Ask the mirror at `base_url`, the part of its address before `/api/v1`."""
        self._base_url = base_url.rstrip("/").removesuffix("/api/v1")
        self._client = client

    def anchored(self, topic_id: str, sequence_number: int) -> AnchoredMessage:
        """Return a message with its predecessor's running hash, the arithmetic not yet checked.

        Raises NotFound if the mirror does not have it (it may lag), Unavailable if it does not
        answer, Unreadable if what it answers is no topic message or of another place.
        """
        message = self._message(topic_id, sequence_number)
        previous = ZERO_HASH
        if sequence_number > 1:
            previous = self._message(topic_id, sequence_number - 1).running_hash
        return AnchoredMessage.after(previous, message)

    def messages(self, topic_id: str, from_sequence_number: int = 1) -> list[TopicMessage]:
        """Return one page of messages in order, from that number on; empty at the end.

        Raises as `anchored` does, but an empty page where that raises NotFound.
        """
        document = self._get(
            f"/api/v1/topics/{topic_id}/messages",
            {"limit": PAGE_ROWS, "order": "asc", "sequencenumber": f"gte:{from_sequence_number}"},
        )
        messages, _ = parse_mirror_page(document)
        before = from_sequence_number - 1
        for message in messages:
            if message.topic_id != topic_id or message.sequence_number <= before:
                raise Unreadable(
                    f"{self._base_url} answered with message {message.sequence_number} of"
                    f" {message.topic_id} when asked for what comes after {before} of {topic_id}"
                )
            before = message.sequence_number
        return messages

    def as_of(self) -> datetime | None:
        """Return the end of the newest block that it knows; None if it does not tell of blocks.

        What came to consensus after that, this mirror cannot know. Raises as `anchored` does.
        """
        try:
            document = self._get("/api/v1/blocks", {"limit": 1, "order": "desc"})
        except NotFound:
            return None
        match document:
            case {"blocks": [{"timestamp": {"to": str(text)}}, *_]}:
                pass
            case _:
                return None
        try:
            seconds, nanoseconds = parse_consensus_timestamp(text)
            return datetime.fromtimestamp(seconds, UTC) + timedelta(
                microseconds=nanoseconds // 1_000
            )
        except (InvalidInput, ValueError, OverflowError, OSError):
            raise Unreadable(f"{self._base_url} tells of a block that ends at no time") from None

    def _message(self, topic_id: str, sequence_number: int) -> TopicMessage:
        document = self._get(f"/api/v1/topics/{topic_id}/messages/{sequence_number}", {})
        message = parse_mirror_row(document)
        if (message.topic_id, message.sequence_number) != (topic_id, sequence_number):
            raise Unreadable(
                f"{self._base_url} answered with message {message.sequence_number} of "
                f"{message.topic_id} when asked for {sequence_number} of {topic_id}"
            )
        return message

    def _get(self, path: str, parameters: dict[str, Any]) -> object:
        try:
            with self._client.stream(
                "GET", self._base_url + path, params=parameters, timeout=TIMEOUT_S
            ) as response:
                body = b""
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > BODY_BYTES_MAX:
                        raise Unreadable(f"{self._base_url}: answers over {BODY_BYTES_MAX} bytes")
        except httpx2.HTTPError as error:
            raise Unavailable(
                f"the mirror {self._base_url} does not answer: {error}",
                remedy="try another mirror, or later",
            ) from error
        return self._document(path, response.status_code, body)

    def _document(self, path: str, status: int, body: bytes) -> object:
        if status == httpx2.codes.NOT_FOUND:
            raise NotFound(f"the mirror {self._base_url} has no {path} (yet)")
        if status != httpx2.codes.OK:
            raise Unavailable(f"the mirror {self._base_url} answers {path} with status {status}")
        try:
            check_nesting(body)
            document: object = json.loads(body)
        except ValueError as error:
            raise Unreadable(f"the mirror {self._base_url} answers no JSON: {error}") from None
        return document
