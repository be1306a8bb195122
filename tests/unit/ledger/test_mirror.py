"""The mirror's documents, as the REST API of Hedera's mirror node has them."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from chargera.app.log_testing import MemoryTopicStore
from chargera.domain.errors import InvalidInput, NotFound
from chargera.ledger.embedded_topic import TOPIC_ID, EmbeddedTopic
from chargera.ledger.mirror import (
    FILTERS_MAX,
    error_document,
    message_at_document,
    message_document,
    messages_document,
    topic_document,
)
from chargera.proofs.anchor import chain, parse_mirror_page, parse_mirror_row
from tests.unit.ledger.contracts import HandClock, transaction_id


@pytest.fixture
async def topic() -> EmbeddedTopic:
    clock = HandClock()
    topic = await EmbeddedTopic.open(MemoryTopicStore(), clock)
    for number in range(130):
        await topic.submit(transaction_id(clock, number), b"message %d" % (number + 1))
        clock.advance(1)
    return topic


async def numbers(topic: EmbeddedTopic, query: str) -> list[int]:
    document = await messages_document(topic, TOPIC_ID, parse_qsl(query))
    return [row["sequence_number"] for row in document["messages"]]


async def test_a_topic(topic: EmbeddedTopic) -> None:
    document = await topic_document(topic, TOPIC_ID)
    assert document["topic_id"] == TOPIC_ID
    assert document["submit_key"] is document["admin_key"] is None
    assert "simulated" in document["memo"]
    assert await topic_document(topic, "1001") == document


@pytest.mark.parametrize("other", ["0.0.1", "1", "0.1.1001"])
async def test_another_topic_is_not_found(topic: EmbeddedTopic, other: str) -> None:
    for asked in (
        topic_document(topic, other),
        messages_document(topic, other, []),
        message_document(topic, other, "1"),
    ):
        with pytest.raises(NotFound):
            await asked


@pytest.mark.parametrize("other", ["", "x", "0.0.1001.1", "0.0.-1", "1" * 20])
async def test_what_is_no_topic_id_is_invalid(topic: EmbeddedTopic, other: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await topic_document(topic, other)
    assert caught.value.field == "topic.id"


async def test_one_message_by_number_and_by_time(topic: EmbeddedTopic) -> None:
    row = await message_document(topic, TOPIC_ID, "7")
    assert parse_mirror_row(row).message == b"message 7"
    assert row["chunk_info"] is None
    assert row["running_hash_version"] == 3
    assert await message_at_document(topic, row["consensus_timestamp"]) == row
    for text in ("131", "9999999999"):
        with pytest.raises(NotFound):
            await message_document(topic, TOPIC_ID, text)
    with pytest.raises(NotFound):
        await message_at_document(topic, "1.5")


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "9" * 19, "9" * 30, "1.0"])
async def test_what_is_no_number_is_invalid(topic: EmbeddedTopic, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await message_document(topic, TOPIC_ID, text)
    assert caught.value.field == "sequencenumber"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", range(1, 26)),
        ("limit=2", [1, 2]),
        ("limit=1000", range(1, 101)),
        ("order=desc&limit=3", [130, 129, 128]),
        ("order=DESC&limit=1&encoding=base64", [130]),
        ("sequencenumber=5", [5]),
        ("sequencenumber=eq:5", [5]),
        ("sequencenumber=gt:128", [129, 130]),
        ("sequencenumber=gte:129", [129, 130]),
        ("sequencenumber=lt:3", [1, 2]),
        ("sequencenumber=lte:2", [1, 2]),
        ("sequencenumber=gt:0&limit=1", [1]),
        ("sequencenumber=lt:1", []),
        ("sequencenumber=gte:3&sequencenumber=lt:6&order=desc", [5, 4, 3]),
        ("sequencenumber=5&sequencenumber=6", []),
        ("timestamp=1772366402.000000000", [3]),
        ("timestamp=gt:1772366402.000000000&limit=1", [4]),
        ("timestamp=gte:1772366402&limit=1", [3]),
        ("timestamp=lt:1772366402", [1, 2]),
        ("timestamp=lte:1772366402&sequencenumber=gt:1", [2, 3]),
        ("timestamp=gt:1772366405&timestamp=lt:1772366404", []),
    ],
)
async def test_filters(topic: EmbeddedTopic, query: str, expected: list[int]) -> None:
    assert await numbers(topic, query) == list(expected)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("encoding=utf-8", "encoding"),
        ("sequencenumber=ne:5", "sequencenumber"),
        ("sequencenumber=5.5", "sequencenumber"),
        ("sequencenumber=gt:", "sequencenumber"),
        ("timestamp=x", "timestamp"),
        ("timestamp=1.2.3", "timestamp"),
    ],
)
async def test_bad_parameters_are_named(topic: EmbeddedTopic, query: str, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await messages_document(topic, TOPIC_ID, parse_qsl(query, keep_blank_values=True))
    assert caught.value.field == field
    status, body = error_document(caught.value)
    assert status == 400
    assert body == {"_status": {"messages": [{"message": f"Invalid parameter: {field}"}]}}


async def test_unknown_and_too_many_parameters_are_refused(topic: EmbeddedTopic) -> None:
    with pytest.raises(InvalidInput) as caught:
        await messages_document(topic, TOPIC_ID, [("scheduled", "true")])
    assert error_document(caught.value)[1]["_status"]["messages"][0]["message"] == (
        "Unknown query parameter: scheduled"
    )
    with pytest.raises(InvalidInput, match="at most"):
        await messages_document(topic, TOPIC_ID, [("limit", "1")] * (FILTERS_MAX + 1))


def test_what_is_not_found_is_404() -> None:
    status, body = error_document(NotFound("no topic"))
    assert (status, body["_status"]["messages"]) == (404, [{"message": "Not found"}])


@pytest.mark.parametrize(
    "query", ["limit=50", "order=desc&limit=50", "limit=7&timestamp=gte:1772366403&order=asc", ""]
)
async def test_following_the_links_reads_the_whole_topic(topic: EmbeddedTopic, query: str) -> None:
    found, path = [], f"/api/v1/topics/{TOPIC_ID}/messages?{query}"
    for _ in range(60):
        document = await messages_document(topic, TOPIC_ID, parse_qsl(urlsplit(path).query))
        messages, following = parse_mirror_page(document)
        found += messages
        if following is None:
            break
        assert len(following) < 200
        path = following
    read = [message.sequence_number for message in found]
    expected = list(range(4 if "gte" in query else 1, 131))
    assert read == (expected[::-1] if "desc" in query else expected)
    if read[0] == 1:
        assert len(chain(found)) == 130
