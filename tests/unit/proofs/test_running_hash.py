"""The running hash against messages that Hedera networks published."""

import base64

import pytest

from chargera.domain.errors import InvalidInput
from chargera.proofs.running_hash import (
    ZERO_HASH,
    parse_consensus_timestamp,
    parse_entity_id,
    running_hash,
)
from tests.unit.proofs.vector_files import load

VECTORS = load("hedera_running_hash")["vectors"]
INPUT = {
    "payer_account_id": "0.0.2",
    "topic_id": "0.0.1006",
    "consensus_timestamp": "1.000000002",
    "sequence_number": 1,
    "message": b"message",
}


def test_vectors__are_six_messages_of_four_topics_of_three_networks():
    assert len(VECTORS) == 6
    assert len({vector["row"]["topic_id"] for vector in VECTORS}) == 4
    assert len({vector["source"] for vector in VECTORS}) == 3


@pytest.mark.parametrize(
    "vector", VECTORS, ids=lambda v: f"{v['row']['topic_id']}#{v['row']['sequence_number']}"
)
def test_running_hash__published_message__to_the_byte(vector):
    row = vector["row"]
    computed = running_hash(
        base64.b64decode(vector["previous_running_hash"]),
        payer_account_id=row["payer_account_id"],
        topic_id=row["topic_id"],
        consensus_timestamp=row["consensus_timestamp"],
        sequence_number=row["sequence_number"],
        message=base64.b64decode(row["message"]),
    )
    assert base64.b64encode(computed).decode() == row["running_hash"]


@pytest.mark.parametrize(
    "change",
    [
        {"payer_account_id": "0.0.3"},
        {"payer_account_id": "0.1.2"},
        {"payer_account_id": "1.0.2"},
        {"topic_id": "0.0.1007"},
        {"topic_id": "0.1.1006"},
        {"topic_id": "1.0.1006"},
        {"consensus_timestamp": "2.000000002"},
        {"consensus_timestamp": "1.000000003"},
        {"sequence_number": 2},
        {"message": b"messagE"},
        {"message": b""},
    ],
    ids=repr,
)
def test_running_hash__any_input_changed__another_hash(change):
    assert running_hash(ZERO_HASH, **(INPUT | change)) != running_hash(ZERO_HASH, **INPUT)
    assert running_hash(b"\1" + ZERO_HASH[1:], **INPUT) != running_hash(ZERO_HASH, **INPUT)


@pytest.mark.parametrize(
    ("previous", "change"),
    [
        (b"", {}),
        (bytes(47), {}),
        (ZERO_HASH, {"sequence_number": 0}),
        (ZERO_HASH, {"sequence_number": 2**63}),
        (ZERO_HASH, {"topic_id": "1006"}),
        (ZERO_HASH, {"payer_account_id": "0.0.x"}),
        (ZERO_HASH, {"consensus_timestamp": "1.2"}),
    ],
    ids=repr,
)
def test_running_hash__malformed_input__refused(previous, change):
    with pytest.raises(InvalidInput):
        running_hash(previous, **(INPUT | change))


@pytest.mark.parametrize(
    "text",
    ["", "0.0", "0.0.0.0", "0.0.01", "00.0.1", "-1.0.0", "0.0.1 ", "0.0.1\n", f"0.0.{10**18}"],
)
def test_parse_entity_id__out_of_form__refused_by_field(text):
    with pytest.raises(InvalidInput) as caught:
        parse_entity_id(text, "topic_id")
    assert caught.value.field == "topic_id"


@pytest.mark.parametrize(
    "text", ["", "1", "1.", "1.00000000", "1.0000000000", "01.000000000", "-1.000000000", ".1"]
)
def test_parse_consensus_timestamp__out_of_form__refused(text):
    with pytest.raises(InvalidInput):
        parse_consensus_timestamp(text)


def test_parse__known_texts__their_numbers():
    assert parse_entity_id("1.22.333", "id") == (1, 22, 333)
    assert parse_consensus_timestamp("1683553059.977315003") == (1683553059, 977315003)
