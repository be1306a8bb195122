"""The running hash (version 3) that chains the messages of a Hedera topic.

The consensus node feeds SHA-384 with a Java object stream, not with bare fields, so the framing
of that stream is part of the input (ConsensusSubmitMessageHandler in hiero-consensus-node).
"""

import hashlib
import re
import struct

from chargera.domain.errors import InvalidInput

VERSION = 3
HASH_BYTES = 48
ZERO_HASH = bytes(HASH_BYTES)
"""What stands before the first message of a topic."""

_ID = re.compile(r"(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,17})\.(0|[1-9][0-9]{0,17})")
_TIMESTAMP = re.compile(r"(0|[1-9][0-9]{0,17})\.([0-9]{9})")
_SEQUENCE_NUMBER_LIMIT = 2**63

# Java object serialisation: stream header, then `byte[]` with its class descriptor (serial
# version ac f3 17 f8 06 08 54 e0), a block of 76 bytes of primitives, and `byte[]` again, whose
# descriptor is by then a reference. A length of 48 precedes each array.
_BEFORE_PREVIOUS = bytes.fromhex("aced0005 757200025b42 acf317f8060854e0 0200007870 00000030")
_BEFORE_FIELDS = bytes.fromhex("774c")
_BEFORE_MESSAGE = bytes.fromhex("7571007e0000 00000030")
_FIELDS = struct.Struct(">q 3q 3q q i q")


def running_hash(
    previous: bytes,
    *,
    payer_account_id: str,
    topic_id: str,
    consensus_timestamp: str,
    sequence_number: int,
    message: bytes,
) -> bytes:
    """Return the 48-byte running hash of a topic after `message`.

    `previous` is the running hash before it, `sequence_number` its own number (the first is 1),
    ids are `shard.realm.num`, the timestamp is `seconds.nanoseconds` with nine digits of the
    latter.

    Raises InvalidInput, naming the field that is malformed.
    """
    if len(previous) != HASH_BYTES:
        raise InvalidInput(f"previous running hash: must have {HASH_BYTES} bytes")
    if not 0 < sequence_number < _SEQUENCE_NUMBER_LIMIT:
        raise InvalidInput("sequence_number: counts from 1", field="sequence_number")
    fields = _FIELDS.pack(
        VERSION,
        *parse_entity_id(payer_account_id, "payer_account_id"),
        *parse_entity_id(topic_id, "topic_id"),
        *parse_consensus_timestamp(consensus_timestamp),
        sequence_number,
    )
    message_hash = hashlib.sha384(message).digest()
    return hashlib.sha384(
        _BEFORE_PREVIOUS + previous + _BEFORE_FIELDS + fields + _BEFORE_MESSAGE + message_hash
    ).digest()


def parse_entity_id(text: str, field: str) -> tuple[int, int, int]:
    """Return shard, realm and number of an id such as `0.0.1006`; InvalidInput names `field`."""
    match = _ID.fullmatch(text)
    if match is None:
        raise InvalidInput(f"{field}: must look like 0.0.1006", field=field)
    shard, realm, number = map(int, match.groups())
    return shard, realm, number


def parse_consensus_timestamp(text: str) -> tuple[int, int]:
    """Return seconds since 1970 and nanoseconds of a time such as `1683553059.977315003`."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise InvalidInput(
            "consensus_timestamp: must look like 1683553059.977315003", field="consensus_timestamp"
        )
    seconds, nanoseconds = map(int, match.groups())
    return seconds, nanoseconds
