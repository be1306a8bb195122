"""Topic messages: mirror rows in and out, and the chain that they must form."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput, Unreadable, Unsupported
from chargera.proofs import canonical
from chargera.proofs.anchor import (
    AnchoredMessage,
    TopicMessage,
    chain,
    parse_mirror_page,
    parse_mirror_row,
)
from chargera.proofs.running_hash import ZERO_HASH, running_hash
from tests.unit.proofs.vector_files import load

VECTORS = load("hedera_running_hash")["vectors"]
DOCUMENTED = [vector["row"] for vector in VECTORS[:3]]


def anchored(vector: dict) -> AnchoredMessage:
    previous = base64.b64decode(vector["previous_running_hash"])
    return AnchoredMessage.after(previous, parse_mirror_row(vector["row"]))


def topic(messages: list[bytes]) -> list[TopicMessage]:
    """A topic with these messages, a second apart."""
    rows: list[TopicMessage] = []
    previous = ZERO_HASH
    for number, message in enumerate(messages, 1):
        place = {
            "topic_id": "0.0.1006",
            "payer_account_id": "0.0.2",
            "sequence_number": number,
            "consensus_timestamp": f"{1_700_000_000 + number}.000000001",
            "message": message,
        }
        previous = running_hash(previous, **place)
        rows.append(TopicMessage(**place, running_hash=previous))
    return rows


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["row"]["topic_id"])
def test_check__published_message__holds(vector):
    message = anchored(vector)
    message.check()
    assert message.to_mirror() == {"chunk_info": None, **vector["row"]}
    assert message.to_json() == {
        **vector["row"],
        "previous_running_hash": vector["previous_running_hash"],
    }
    assert AnchoredMessage.from_json(message.to_json()) == message


@pytest.mark.parametrize(
    "change",
    [
        {"topic_id": "0.0.1"},
        {"payer_account_id": "0.0.1"},
        {"sequence_number": 4},
        {"consensus_timestamp": "1683553060.328178004"},
        {"message": b"Message 4"},
        {"running_hash": bytes(48)},
        {"previous_running_hash": bytes(48)},
        {"running_hash_version": 2},
        {"sequence_number": 2**63},
    ],
    ids=repr,
)
def test_check__any_member_changed__refused(change):
    message = anchored(VECTORS[2])
    with pytest.raises(InvalidInput):
        replace(message, **change).check()


def test_check__first_message_after_something__refused():
    first = anchored(VECTORS[0])
    forged = replace(first, previous_running_hash=b"\1" * 48)
    with pytest.raises(InvalidInput, match="first message"):
        forged.check()


def test_check__another_version__unsupported():
    with pytest.raises(Unsupported):
        replace(anchored(VECTORS[0]), running_hash_version=4).check()


def test_from_json__every_byte_of_its_canonical_form_changed__refused():
    message = anchored(VECTORS[1])
    data = canonical.encode(message.to_json())
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            with pytest.raises(InvalidInput):
                AnchoredMessage.from_json(canonical.decode(bytes(changed))).check()


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        DOCUMENTED[0],
        {**DOCUMENTED[0], "previous_running_hash": None},
        {**DOCUMENTED[0], "previous_running_hash": "AAAA"},
        {**DOCUMENTED[0], "previous_running_hash": "?"},
        {**DOCUMENTED[0], "previous_running_hash": "A" * 64, "chunk_info": None},
        {**DOCUMENTED[0], "previous_running_hash": "A" * 64, "sequence_number": True},
        {**DOCUMENTED[0], "previous_running_hash": "A" * 64, "running_hash_version": True},
    ],
    ids=lambda value: str(value)[-40:],
)
def test_from_json__any_other_value__unreadable(value):
    with pytest.raises(Unreadable):
        AnchoredMessage.from_json(value)


@pytest.mark.parametrize(
    "change",
    [
        {"topic_id": "1006"},
        {"topic_id": 1006},
        {"payer_account_id": None},
        {"consensus_timestamp": "1683553059.97"},
        {"sequence_number": 0},
        {"sequence_number": "1"},
        {"running_hash_version": None},
        {"message": ""},
        {"message": "not base64"},
        {"message": base64.b64encode(bytes(1025)).decode()},
        {"running_hash": "AAAA"},
    ],
    ids=lambda change: str(change)[:40],
)
def test_parse_mirror_row__malformed_member__unreadable(change):
    with pytest.raises(Unreadable):
        parse_mirror_row({**DOCUMENTED[0], **change})


def test_parse_mirror_row__members_missing_or_unknown__only_the_first_matter():
    for name in DOCUMENTED[0]:
        row = {**DOCUMENTED[0]}
        del row[name]
        with pytest.raises(Unreadable):
            parse_mirror_row(row)
    with_more = {**DOCUMENTED[0], "memo": "x", "chunk_info": {"number": 1, "total": 1}}
    assert parse_mirror_row(with_more) == parse_mirror_row(DOCUMENTED[0])
    with pytest.raises(Unreadable):
        parse_mirror_row("row")


def test_parse_mirror_row__chunk_of_several__unsupported():
    with pytest.raises(Unsupported):
        parse_mirror_row({**DOCUMENTED[0], "chunk_info": {"number": 1, "total": 2}})


def test_parse_mirror_page__documented_answer__three_messages():
    page = {"links": {"next": None}, "messages": DOCUMENTED}
    messages, following = parse_mirror_page(page)
    assert [message.message for message in messages] == [b"Message 1", b"Message 2", b"Message 3"]
    assert following is None
    path = "/api/v1/topics/0.0.4603900/messages?timestamp=gt:1683553060.328178003"
    assert parse_mirror_page({"links": {"next": path}, "messages": []}) == ([], path)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"messages": []},
        {"messages": [], "links": {}},
        {"messages": [], "links": {"next": 1}},
        {"messages": {}, "links": {"next": None}},
        {"messages": [None], "links": {"next": None}},
    ],
    ids=repr,
)
def test_parse_mirror_page__no_page__unreadable(document):
    with pytest.raises(Unreadable):
        parse_mirror_page(document)


def test_chain__published_stretch__each_with_its_predecessor():
    messages = [parse_mirror_row(row) for row in DOCUMENTED]
    assert chain(messages) == [anchored(vector) for vector in VECTORS[:3]]
    assert chain(messages[1:], previous=messages[0].running_hash) == chain(messages)[1:]
    assert chain([]) == []


def test_chain__wrong_predecessor__refused():
    messages = [parse_mirror_row(row) for row in DOCUMENTED]
    with pytest.raises(InvalidInput, match="message 2"):
        chain(messages[1:])
    with pytest.raises(InvalidInput, match="first message"):
        chain(messages, previous=b"\1" * 48)


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=2, max_size=6), st.data())
def test_chain__removed_repeated_swapped_or_edited__refused(messages, data):
    rows = topic(messages)
    assert [link.message for link in chain(rows)] == messages
    at = data.draw(st.integers(0, len(rows) - 2))
    edited = replace(rows[at], message=rows[at].message + b"!")
    for forged in (
        [*rows[:at], *rows[at + 1 :]],
        [*rows[: at + 1], *rows[at:]],
        [*rows[:at], rows[at + 1], rows[at], *rows[at + 2 :]],
        [*rows[:at], edited, *rows[at + 1 :]],
    ):
        with pytest.raises(InvalidInput):
            chain(forged)


def test_chain__another_topic_or_an_earlier_time__refused():
    first, second = topic([b"a", b"b"])
    for change, reason in (
        ({"topic_id": "0.0.1007"}, "of 0.0.1007"),
        ({"sequence_number": 3}, "does not follow"),
        ({"consensus_timestamp": first.consensus_timestamp}, "not later"),
        ({"consensus_timestamp": "1.000000000"}, "not later"),
    ):
        with pytest.raises(InvalidInput, match=reason):
            chain([first, replace(second, **change)])
