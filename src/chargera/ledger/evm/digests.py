"""Bytes and digests of the embedded chain: its changes of state, and the chain of its journal.

Both chains are SHA-256 over a domain line, the digest before and what was added, so that equal
digests mean equal histories. All integers are big-endian. Another engine that runs the journal
comes to the same digests: gas is part of them, since every engine here starts transactions cold.

    changes  count4 of accounts, each: address20 nonce8 length4 code
             count4 of addresses, each: address20 count4, each: slot32 word32   (all sorted)
    state    SHA-256(line, state digest before, changes)
    outcome  number8 time8 succeeded1 gas8 length1 created length4 output
             count4 of logs, each: address20 count1 topic32... length4 data
    journal  SHA-256(line, journal digest before, SHA-256(raw), state digest after, outcome)
"""

import hashlib
import struct
from collections.abc import Iterator

from chargera.app.chain_ports import ADDRESS_BYTES, Block, ChainHead, Receipt
from chargera.domain.errors import Unreadable
from chargera.ledger.evm.engine import Account, Changes, Outcome

_STATE = b"chargera.chain-state/1\n"
_JOURNAL = b"chargera.chain-journal/1\n"
_count = struct.Struct("!I")
_nonce = struct.Struct("!Q")
_outcome = struct.Struct("!QQ?QB")
_WORD = 32


def first_head(chain_id: int) -> ChainHead:
    """Return the head of an empty chain; time 0 is before every block."""
    name = chain_id.to_bytes(8)
    return ChainHead(0, 0, _sha256(_JOURNAL + name), _sha256(_STATE + name))


def next_state_digest(before: bytes, changes: Changes) -> bytes:
    """Return the digest of the chain of changes after `changes`."""
    return _sha256(_STATE + before + changes_bytes(changes))


def next_digest(
    before: bytes, raw: bytes, state_digest: bytes, block: Block, outcome: Outcome | Receipt
) -> bytes:
    """Return the digest of the journal after a transaction; it is its block's hash."""
    said = _outcome_bytes(block, outcome)
    return _sha256(_JOURNAL + before + _sha256(raw) + state_digest + said)


def changes_bytes(changes: Changes) -> bytes:
    """Return changes, or a whole state, as bytes; equal changes have equal bytes."""
    return b"".join(_parts(changes))


def parse_changes(data: bytes) -> Changes:
    """Return what `changes_bytes` wrote. Raises Unreadable for anything else."""
    reader = _Reader(data)
    accounts = {}
    for _ in range(reader.count()):
        address = reader.take(ADDRESS_BYTES)
        (nonce,) = _nonce.unpack(reader.take(_nonce.size))
        accounts[address] = Account(nonce, reader.take(reader.count()))
    storage = {}
    for _ in range(reader.count()):
        address = reader.take(ADDRESS_BYTES)
        storage[address] = {reader.word(): reader.word() for _ in range(reader.count())}
    if reader.place != len(data):
        raise Unreadable("the state of the chain has bytes after its end")
    return Changes(accounts, storage)


def _parts(changes: Changes) -> Iterator[bytes]:
    yield _count.pack(len(changes.accounts))
    for address, account in sorted(changes.accounts.items()):
        yield address + _nonce.pack(account.nonce)
        yield _count.pack(len(account.code)) + account.code
    yield _count.pack(len(changes.storage))
    for address, words in sorted(changes.storage.items()):
        yield address + _count.pack(len(words))
        yield b"".join(
            [slot.to_bytes(_WORD) + words[slot].to_bytes(_WORD) for slot in sorted(words)]
        )


def _outcome_bytes(block: Block, outcome: Outcome | Receipt) -> bytes:
    created = outcome.created or b""
    parts = [
        _outcome.pack(block.number, block.time, outcome.succeeded, outcome.gas_used, len(created)),
        created,
        _count.pack(len(outcome.output)),
        outcome.output,
        _count.pack(len(outcome.logs)),
    ]
    for log in outcome.logs:
        parts += (log.address, bytes((len(log.topics),)), *log.topics)
        parts += (_count.pack(len(log.data)), log.data)
    return b"".join(parts)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    def take(self, size: int) -> bytes:
        taken = self._data[self.place : self.place + size]
        if len(taken) != size:
            raise Unreadable("the state of the chain ends too early")
        self.place += size
        return taken

    def count(self) -> int:
        (count,) = _count.unpack(self.take(_count.size))
        return int(count)

    def word(self) -> int:
        return int.from_bytes(self.take(_WORD))


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
