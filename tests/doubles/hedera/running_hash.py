"""The running hash of a topic, version 3, written from the bytes that nodes hash.

A node feeds SHA-384 with what Java's object streams make of its values: so there are the stream's
own header, class descriptors and lengths between them. Meant to check `chargera.proofs`, so it
shares nothing with it.
"""

import hashlib
from struct import Struct

VERSION = 3
ZERO = bytes(48)
_HEADER = bytes.fromhex("aced0005")
_ARRAY_WITH_CLASS = bytes.fromhex("757200025b42acf317f8060854e00200007870")
_ARRAY_BY_REFERENCE = bytes.fromhex("7571007e0000")
_BLOCK = bytes.fromhex("774c")
_LENGTH = (48).to_bytes(4)
_VALUES = Struct(">qqqqqqqqiq")
"""Version; payer's and topic's shard, realm, number; seconds, nanoseconds; sequence number."""


def following(
    before: bytes,
    *,
    payer: int,
    topic: int,
    consensus_ns: int,
    sequence_number: int,
    message: bytes,
) -> bytes:
    """Return the running hash after `message`; all entities are of shard and realm 0."""
    seconds, nanoseconds = divmod(consensus_ns, 10**9)
    values = _VALUES.pack(VERSION, 0, 0, payer, 0, 0, topic, seconds, nanoseconds, sequence_number)
    digest = hashlib.sha384(message).digest()
    return hashlib.sha384(
        _HEADER + _ARRAY_WITH_CLASS + _LENGTH + before
        + _BLOCK + values
        + _ARRAY_BY_REFERENCE + _LENGTH + digest
    ).digest()  # fmt: skip
