"""The emulator's running hash against published messages, and against the product's own."""

import json
from base64 import b64decode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.proofs.running_hash import running_hash
from tests.doubles.hedera.running_hash import ZERO, following

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "hedera_running_hash.json").read_text()
)["vectors"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["row"]["topic_id"])
def test_published_messages_have_this_hash(vector):
    row = vector["row"]
    assert following(
        b64decode(vector["previous_running_hash"]),
        payer=int(row["payer_account_id"].rpartition(".")[2]),
        topic=int(row["topic_id"].rpartition(".")[2]),
        consensus_ns=int(row["consensus_timestamp"].replace(".", "")),
        sequence_number=row["sequence_number"],
        message=b64decode(row["message"]),
    ) == b64decode(row["running_hash"])


@given(
    payer=st.integers(1, 2**40),
    topic=st.integers(1, 2**40),
    consensus_ns=st.integers(10**18, 2 * 10**18),
    sequence_number=st.integers(1, 2**40),
    message=st.binary(min_size=1, max_size=1024),
)
def test_both_implementations_agree(payer, topic, consensus_ns, sequence_number, message):
    seconds, nanoseconds = divmod(consensus_ns, 10**9)
    assert following(
        ZERO,
        payer=payer,
        topic=topic,
        consensus_ns=consensus_ns,
        sequence_number=sequence_number,
        message=message,
    ) == running_hash(
        ZERO,
        payer_account_id=f"0.0.{payer}",
        topic_id=f"0.0.{topic}",
        consensus_timestamp=f"{seconds}.{nanoseconds:09}",
        sequence_number=sequence_number,
        message=message,
    )
