"""Where `verify` and `audit` get topic messages from: a mirror, or a file that was saved."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chargera.cli.files import read_bytes
from chargera.cli.output import note
from chargera.domain.errors import ChargEraError, Undetermined, Unreadable

if TYPE_CHECKING:
    from chargera.ledger.mirror_client import MirrorClient
    from chargera.proofs.anchor import AnchoredMessage, TopicMessage
    from chargera.proofs.audit import Mirror
    from chargera.proofs.mirrors import MirrorAnswer
    from chargera.proofs.trust import Trust

MIRROR = "mirror:"
DOCUMENT_BYTES_MAX = 16 * 2**20
MESSAGES_MAX = 1_000_000
"""Of one topic: an anchor a minute for two years."""


def answer_about(anchor: "AnchoredMessage", source: str) -> "MirrorAnswer":
    """Return what `mirror:URL` or a file says around an anchor; silence is an answer too.

    A mirror is asked for the message before, the message, and what follows, a page of it, so that
    the running hash can be recomputed over the stretch. Raises Unreadable for a file that is none.
    """
    from chargera.proofs.mirrors import MirrorAnswer

    if not source.startswith(MIRROR):
        return MirrorAnswer(source, saved_messages(Path(source)))
    import httpx2

    from chargera.ledger.mirror_client import MirrorClient

    url = source.removeprefix(MIRROR)
    with httpx2.Client(trust_env=False) as client:
        try:
            first = max(1, anchor.sequence_number - 1)
            found = MirrorClient(url, client).messages(anchor.topic_id, first)
        except (Undetermined, Unreadable) as error:
            return MirrorAnswer(url, None, error.message)
        except ChargEraError as error:
            return MirrorAnswer(url, (), error.message)
    return MirrorAnswer(url, found)


def whole_topics(trust: "Trust", source: str) -> "Mirror":
    """Return all messages of the trusted topics, as `mirror:URL` or a file tells them."""
    from chargera.proofs.audit import Mirror

    topics = sorted({topic.topic_id for topic in trust.topics or ()})
    if not source.startswith(MIRROR):
        saved = sorted(saved_messages(Path(source)), key=lambda m: (m.topic_id, m.sequence_number))
        return Mirror(source, [message for message in saved if message.topic_id in topics])
    import httpx2

    from chargera.ledger.mirror_client import MirrorClient

    url = source.removeprefix(MIRROR)
    with httpx2.Client(trust_env=False) as client:
        mirror = MirrorClient(url, client)
        try:
            found = [message for topic in topics for message in _all(mirror, topic)]
            as_of = mirror.as_of()
        except ChargEraError as error:
            note(f"the mirror {url} could not be asked: {error.message}")
            return Mirror(url, None)
    return Mirror(url, found, as_of)


def saved_messages(path: Path) -> "list[TopicMessage]":
    """Read messages that a mirror once answered with: a page, or a list of pages or rows.

    The output of `anchor list --json` is such a list; rows of it that wait for their place on
    the topic are no messages yet. Raises Unreadable.
    """
    from chargera.proofs.anchor import parse_mirror_page, parse_mirror_row

    document = read_json(path)
    found = []
    for part in document if isinstance(document, list) else [document]:
        if isinstance(part, dict) and "messages" in part:
            found += parse_mirror_page(part)[0]
        elif not _waits(part):
            found.append(parse_mirror_row(part))
    return found


def read_json(path: Path) -> Any:
    """Return the JSON document in a file. Raises Unreadable."""
    from chargera.proofs.nesting import check_nesting

    data = read_bytes(path, DOCUMENT_BYTES_MAX)
    try:
        check_nesting(data)
        return json.loads(data)
    except ValueError as error:
        raise Unreadable(
            f"{path} is not JSON: {error}", field="file", remedy="save it again from its source"
        ) from error


def _waits(row: object) -> bool:
    """Tell whether a row of `anchor list` is of a head that is not on the topic yet."""
    return isinstance(row, dict) and "tree_size" in row and row.get("sequence_number") is None


def _all(mirror: "MirrorClient", topic_id: str) -> "list[TopicMessage]":
    found: list[TopicMessage] = []
    while page := mirror.messages(topic_id, found[-1].sequence_number + 1 if found else 1):
        found += page
        if len(found) > MESSAGES_MAX:
            raise Unreadable(f"topic {topic_id} has more than {MESSAGES_MAX} messages")
    return found
