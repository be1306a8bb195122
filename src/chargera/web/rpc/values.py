"""Values of Ethereum's JSON-RPC: quantities, data, and the documents of blocks and receipts.

A quantity is `0x` and hex without leading zeros, data `0x` and two digits a byte (execution-apis).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chargera.app.chain_ports import (
    ADDRESS_BYTES,
    GAS_LIMIT,
    HASH_BYTES,
    Block,
    ContractLog,
    Executed,
    FoundLog,
    Receipt,
)
from chargera.domain.errors import InvalidInput
from chargera.proofs.chain_values import address_text
from chargera.proofs.keccak import keccak256

Document = dict[str, Any]

ZERO_HASH = bytes(HASH_BYTES)
EMPTY_UNCLES = bytes.fromhex("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347")
"""Keccak-256 of the empty RLP list: this chain has no uncles."""
TRANSACTION_TYPE = "0x2"

_BLOOM_BYTES = 256
_BLOOM_BITS = 2048
_QUANTITY = re.compile(r"0x(?:0|[1-9a-fA-F][0-9a-fA-F]{0,63})")
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*")


# Reading ---------------------------------------------------------------------------------------


def parse_quantity(value: object, field: str) -> int:
    """Return the integer of a quantity. Raises InvalidInput."""
    if isinstance(value, str) and _QUANTITY.fullmatch(value):
        return int(value, 16)
    raise InvalidInput(f"{field}: a quantity is 0x and hex without leading zeros", field=field)


def parse_data(value: object, field: str, size: int | None = None) -> bytes:
    """Return the bytes of data, `size` of them. Raises InvalidInput."""
    if isinstance(value, str) and _DATA.fullmatch(value):
        data = bytes.fromhex(value[2:])
        if size in (None, len(data)):
            return data
    wanted = "any even number of" if size is None else 2 * size
    raise InvalidInput(f"{field}: data is 0x and {wanted} hex digits", field=field)


def parse_address(value: object, field: str) -> bytes:
    """Return the 20 bytes of an address."""
    return parse_data(value, field, ADDRESS_BYTES)


# Writing ---------------------------------------------------------------------------------------


def quantity(value: int) -> str:
    """Return an integer as a quantity."""
    return hex(value)


def data(value: bytes) -> str:
    """Return bytes as data."""
    return f"0x{value.hex()}"


def optional_address(value: bytes | None) -> str | None:
    """Return an address with its checksum, null for none."""
    return None if value is None else address_text(value)


def bloom(logs: Iterable[ContractLog]) -> str:
    """Return the bloom filter over addresses and topics (Yellow Paper, section 4.3.1)."""
    bits = 0
    for log in logs:
        for item in (log.address, *log.topics):
            digest = keccak256(item)
            for place in (0, 2, 4):
                bits |= 1 << int.from_bytes(digest[place : place + 2]) % _BLOOM_BITS
    return data(bits.to_bytes(_BLOOM_BYTES))


def log_document(found: FoundLog) -> Document:
    """Return a log as `eth_getLogs` gives it."""
    return {
        "address": address_text(found.log.address),
        "topics": [data(topic) for topic in found.log.topics],
        "data": data(found.log.data),
        "blockNumber": quantity(found.block.number),
        "blockHash": data(found.block_hash),
        "blockTimestamp": quantity(found.block.time),
        "transactionHash": data(found.transaction_hash),
        "transactionIndex": "0x0",
        "logIndex": quantity(found.log_index),
        "removed": False,
    }


def receipt_document(receipt: Receipt) -> Document:
    """Return a receipt as `eth_getTransactionReceipt` gives it."""
    logs = [
        FoundLog(log, receipt.block, receipt.digest, receipt.transaction_hash, place)
        for place, log in enumerate(receipt.logs)
    ]
    return {
        "type": TRANSACTION_TYPE,
        "status": quantity(receipt.succeeded),
        "transactionHash": data(receipt.transaction_hash),
        "transactionIndex": "0x0",
        "blockHash": data(receipt.digest),
        "blockNumber": quantity(receipt.block.number),
        "from": address_text(receipt.sender),
        "to": optional_address(receipt.to),
        "contractAddress": optional_address(receipt.created),
        "gasUsed": quantity(receipt.gas_used),
        "cumulativeGasUsed": quantity(receipt.gas_used),
        "effectiveGasPrice": "0x0",
        "logs": [log_document(log) for log in logs],
        "logsBloom": bloom(receipt.logs),
    }


def transaction_document(executed: Executed) -> Document:
    """Return a transaction as `eth_getTransactionByHash` gives it."""
    request, receipt = executed.request, executed.receipt
    parity, r, s = request.signature
    return {
        "type": TRANSACTION_TYPE,
        "hash": data(request.hash),
        "blockHash": data(receipt.digest),
        "blockNumber": quantity(receipt.block.number),
        "transactionIndex": "0x0",
        "chainId": quantity(request.chain_id),
        "nonce": quantity(request.nonce),
        "from": address_text(request.sender),
        "to": optional_address(request.to),
        "input": data(request.data),
        "value": quantity(request.value),
        "gas": quantity(request.gas_limit),
        "gasPrice": "0x0",
        "maxFeePerGas": quantity(request.max_fee),
        "maxPriorityFeePerGas": quantity(request.max_priority_fee),
        "accessList": [],
        "yParity": quantity(parity),
        "v": quantity(parity),
        "r": quantity(r),
        "s": quantity(s),
    }


def block_document(
    block: Block, digest: bytes, parent: bytes, executed: Executed | None, *, is_full: bool
) -> Document:
    """Return a block as `eth_getBlockByNumber` gives it; only block 0 holds no transaction.

    The roots of Ethereum's tries are zero: its hash is the digest of the journal instead.
    """
    transactions: Sequence[Document | str] = []
    if executed is not None:
        whole = transaction_document(executed)
        transactions = [whole if is_full else whole["hash"]]
    receipt = None if executed is None else executed.receipt
    return {
        "number": quantity(block.number),
        "hash": data(digest),
        "parentHash": data(parent),
        "timestamp": quantity(block.time),
        "gasLimit": quantity(GAS_LIMIT),
        "gasUsed": quantity(0 if receipt is None else receipt.gas_used),
        "baseFeePerGas": "0x0",
        "miner": address_text(bytes(ADDRESS_BYTES)),
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "nonce": "0x0000000000000000",
        "mixHash": data(ZERO_HASH),
        "extraData": "0x",
        "logsBloom": bloom(() if receipt is None else receipt.logs),
        "sha3Uncles": data(EMPTY_UNCLES),
        "uncles": [],
        "stateRoot": data(ZERO_HASH),
        "transactionsRoot": data(ZERO_HASH),
        "receiptsRoot": data(ZERO_HASH),
        "size": quantity(0 if executed is None else len(executed.request.raw)),
        "transactions": transactions,
    }


def member(parameters: Mapping[str, Any], *names: str) -> Any:
    """Return the first of these members that is there and not null."""
    return next((parameters[name] for name in names if parameters.get(name) is not None), None)
