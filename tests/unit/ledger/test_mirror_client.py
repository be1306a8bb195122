"""The mirror client believes no more than it must, and names what it did not get."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from chargera.domain.errors import InvalidInput, NotFound, Unavailable, Unreadable
from chargera.ledger.mirror_client import BODY_BYTES_MAX, MirrorClient
from chargera.proofs.anchor import AnchoredMessage, TopicMessage
from chargera.proofs.running_hash import ZERO_HASH, running_hash

TOPIC = "0.0.1001"


def messages(count: int) -> list[TopicMessage]:
    """A topic's first messages with the right running hashes."""
    found: list[TopicMessage] = []
    previous = ZERO_HASH
    for number in range(1, count + 1):
        members: dict[str, Any] = {
            "topic_id": TOPIC,
            "payer_account_id": "0.0.1002",
            "sequence_number": number,
            "consensus_timestamp": f"{number}.000000000",
            "message": b"message %d" % number,
        }
        previous = running_hash(previous, **members)
        found.append(TopicMessage(**members, running_hash=previous))
    return found


def mirror_of(rows: list[TopicMessage]) -> Callable[[httpx2.Request], httpx2.Response]:
    def answer(request: httpx2.Request) -> httpx2.Response:
        prefix = f"/api/v1/topics/{TOPIC}/messages"
        if request.url.path == prefix:
            first = int(request.url.params["sequencenumber"].removeprefix("gte:"))
            page = [row.to_mirror() for row in rows if row.sequence_number >= first]
            return httpx2.Response(200, json={"messages": page, "links": {"next": None}})
        number = int(request.url.path.removeprefix(prefix + "/"))
        found = [row.to_mirror() for row in rows if row.sequence_number == number]
        if not found:
            return httpx2.Response(404, json={"_status": {}})
        return httpx2.Response(200, json=found[0])

    return answer


def client(answer: Callable[[httpx2.Request], httpx2.Response], url: str = "") -> MirrorClient:
    return MirrorClient(
        url or "https://mirror.example", httpx2.Client(transport=httpx2.MockTransport(answer))
    )


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_message_comes_with_its_predecessors_hash(number: int) -> None:
    anchored = client(mirror_of(messages(3))).anchored(TOPIC, number)
    assert anchored.sequence_number == number
    anchored.check()


def test_an_address_may_name_the_api_too() -> None:
    for url in ("https://mirror.example/", "https://mirror.example/api/v1", "http://m/api/v1/"):
        assert isinstance(client(mirror_of(messages(1)), url).anchored(TOPIC, 1), AnchoredMessage)


def test_pages_are_read() -> None:
    mirror = client(mirror_of(messages(5)))
    assert [row.sequence_number for row in mirror.messages(TOPIC, 3)] == [3, 4, 5]
    assert mirror.messages(TOPIC, 6) == []


def test_a_mirror_that_lags_is_not_found() -> None:
    with pytest.raises(NotFound):
        client(mirror_of(messages(3))).anchored(TOPIC, 4)


def test_a_lie_does_not_survive_the_arithmetic() -> None:
    """F10: the running hash of message 2 does not follow from a forged message 1."""
    rows = messages(2)
    forged = TopicMessage(
        topic_id=TOPIC,
        payer_account_id="0.0.1002",
        sequence_number=1,
        consensus_timestamp="1.000000000",
        message=b"forged",
        running_hash=bytes(48),
    )
    anchored = client(mirror_of([forged, rows[1]])).anchored(TOPIC, 2)
    with pytest.raises(InvalidInput):
        anchored.check()


def answer_with(response: httpx2.Response) -> Callable[[httpx2.Request], httpx2.Response]:
    return lambda request: response


def test_the_answer_to_another_question_is_refused() -> None:
    row = messages(2)[1].to_mirror()
    with pytest.raises(Unreadable, match="asked for 1"):
        client(answer_with(httpx2.Response(200, json=row))).anchored(TOPIC, 1)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b"\xff", b'{"messages": 1}'])
def test_what_is_no_answer_is_unreadable(body: bytes) -> None:
    mirror = client(answer_with(httpx2.Response(200, content=body)))
    with pytest.raises(Unreadable):
        mirror.anchored(TOPIC, 1)
    with pytest.raises(Unreadable):
        mirror.messages(TOPIC)


def test_an_endless_answer_is_cut_off() -> None:
    body = json.dumps({"messages": "x" * BODY_BYTES_MAX}).encode()
    with pytest.raises(Unreadable, match="over"):
        client(answer_with(httpx2.Response(200, content=body))).messages(TOPIC)


def test_a_mirror_that_fails_is_unavailable() -> None:
    for status in (429, 500, 302):
        with pytest.raises(Unavailable, match=str(status)):
            client(answer_with(httpx2.Response(status))).anchored(TOPIC, 1)

    def unreachable(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("no route")

    with pytest.raises(Unavailable, match="no route"):
        client(unreachable).anchored(TOPIC, 1)


@pytest.mark.parametrize("numbers", [[4], [5, 4], [4, 4], [2, 1]])
def test_messages_that_were_not_asked_for__are_refused(numbers: list[int]) -> None:
    rows = messages(5)

    def answer(request: httpx2.Request) -> httpx2.Response:
        page = [rows[number - 1].to_mirror() for number in numbers]
        return httpx2.Response(200, json={"messages": page, "links": {"next": None}})

    first = 5 if numbers == [4] else 1
    with pytest.raises(Unreadable, match="when asked for what comes after"):
        client(answer).messages(TOPIC, first)


def test_as_of__is_the_end_of_the_newest_block() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert (request.url.path, request.url.params["order"]) == ("/api/v1/blocks", "desc")
        block = {"number": 7, "timestamp": {"from": "1.0", "to": "1777881600.000000001"}}
        return httpx2.Response(200, json={"blocks": [block]})

    found = client(answer).as_of()
    assert found is not None
    assert found.timestamp() == 1777881600


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, {}), (200, {"blocks": []}), (200, {"blocks": [{"timestamp": {"to": None}}]})],
)
def test_as_of__a_mirror_without_blocks__does_not_tell(status: int, body: Any) -> None:
    assert client(lambda request: httpx2.Response(status, json=body)).as_of() is None


@pytest.mark.parametrize("text", ["yesterday", "99999999999999.000000000"])
def test_as_of__no_time__is_refused(text: str) -> None:
    body = {"blocks": [{"timestamp": {"to": text}}]}
    with pytest.raises(Unreadable, match="no time"):
        client(lambda request: httpx2.Response(200, json=body)).as_of()
