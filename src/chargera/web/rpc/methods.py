"""The methods of Ethereum's JSON-RPC that the embedded chain answers.

It has one state, the latest: what asks for an older one is refused. Gas is free and nobody has a
balance. `safe`, `finalized` and `pending` mean `latest`: a block that is there is durable.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from chargera.app.chain_ports import (
    HASH_BYTES,
    NOBODY,
    Block,
    CallRequest,
    ChainNode,
    LogFilter,
)
from chargera.domain.errors import InvalidInput, Unsupported
from chargera.web.rpc import values
from chargera.web.rpc.values import (
    block_document,
    data,
    log_document,
    member,
    parse_address,
    parse_data,
    parse_quantity,
    quantity,
    receipt_document,
    transaction_document,
)

Parameters = Sequence[Any]
Method = Callable[[Parameters], Awaitable[Any]]

LATEST = ("latest", "pending", "safe", "finalized")
LOG_BLOCKS_MAX = 100_000
LOGS_MAX = 10_000
TOPICS_MAX = 4
ALTERNATIVES_MAX = 1_000
"""Most addresses, or values of one topic, of a filter."""
FEE_HISTORY_MAX = 1_024
PERCENTILES_MAX = 100


class Methods:
    """What `/rpc` answers, by name: `table`."""

    def __init__(self, chain: ChainNode, client_version: str) -> None:
        """Answer for `chain`."""
        self._chain = chain
        self._version = client_version
        self.table: dict[str, Method] = {
            "eth_accounts": self._nothing,
            "eth_blockNumber": self._block_number,
            "eth_call": self._call,
            "eth_chainId": self._chain_id,
            "eth_estimateGas": self._estimate_gas,
            "eth_feeHistory": self._fee_history,
            "eth_gasPrice": self._zero,
            "eth_getBalance": self._balance,
            "eth_getBlockByNumber": self._block,
            "eth_getCode": self._code,
            "eth_getLogs": self._logs,
            "eth_getStorageAt": self._storage,
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionCount": self._transaction_count,
            "eth_getTransactionReceipt": self._receipt,
            "eth_maxPriorityFeePerGas": self._zero,
            "eth_sendRawTransaction": self._send_raw,
            "eth_syncing": self._false,
            "net_listening": self._true,
            "net_version": self._network,
            "web3_clientVersion": self._client_version,
        }

    # Constants -----------------------------------------------------------------------------

    async def _zero(self, parameters: Parameters) -> str:
        return "0x0"

    async def _nothing(self, parameters: Parameters) -> list[str]:
        return []

    async def _false(self, parameters: Parameters) -> bool:
        return False

    async def _true(self, parameters: Parameters) -> bool:
        return True

    async def _client_version(self, parameters: Parameters) -> str:
        return self._version

    async def _chain_id(self, parameters: Parameters) -> str:
        return quantity(self._chain.chain_id)

    async def _network(self, parameters: Parameters) -> str:
        return str(self._chain.chain_id)

    # Accounts ------------------------------------------------------------------------------

    async def _balance(self, parameters: Parameters) -> str:
        parse_address(_at(parameters, 0), "address")
        return "0x0"

    async def _code(self, parameters: Parameters) -> str:
        address = parse_address(_at(parameters, 0), "address")
        self._only_latest(_at(parameters, 1))
        return data(await self._chain.code(address))

    async def _storage(self, parameters: Parameters) -> str:
        address = parse_address(_at(parameters, 0), "address")
        slot = _at(parameters, 1)
        if isinstance(slot, str) and len(slot) == 2 + 2 * HASH_BYTES:
            place = int.from_bytes(parse_data(slot, "slot", HASH_BYTES))
        else:
            place = parse_quantity(slot, "slot")
        self._only_latest(_at(parameters, 2))
        word = await self._chain.storage(address, place)
        return data(word.to_bytes(HASH_BYTES))

    async def _transaction_count(self, parameters: Parameters) -> str:
        address = parse_address(_at(parameters, 0), "address")
        self._only_latest(_at(parameters, 1))
        return quantity(await self._chain.nonce(address))

    # Calls and transactions ----------------------------------------------------------------

    async def _call(self, parameters: Parameters) -> str:
        self._only_latest(_at(parameters, 1))
        if _at(parameters, 2):
            raise Unsupported("overrides of the state are not supported", field="overrides")
        request = _call_request(_at(parameters, 0), self._chain.gas_limit)
        return data(await self._chain.try_call(request))

    async def _estimate_gas(self, parameters: Parameters) -> str:
        self._only_latest(_at(parameters, 1))
        request = _call_request(_at(parameters, 0), self._chain.gas_limit)
        return quantity(await self._chain.estimate_gas(request))

    async def _send_raw(self, parameters: Parameters) -> str:
        return data(await self._chain.send_raw(parse_data(_at(parameters, 0), "transaction")))

    async def _transaction(self, parameters: Parameters) -> Any:
        executed = await self._chain.transaction(_hash(parameters))
        return None if executed is None else transaction_document(executed)

    async def _receipt(self, parameters: Parameters) -> Any:
        receipt = await self._chain.receipt(_hash(parameters))
        return None if receipt is None else receipt_document(receipt)

    # Blocks and logs -----------------------------------------------------------------------

    async def _block_number(self, parameters: Parameters) -> str:
        return quantity(self._chain.head.count)

    async def _block(self, parameters: Parameters) -> Any:
        number = self._number(_at(parameters, 0))
        is_full = _at(parameters, 1) is True
        if number == 0:
            digest = await self._chain.block_digest(0)
            assert digest is not None, "every chain has a beginning"
            return block_document(Block(0, 0), digest, values.ZERO_HASH, None, is_full=is_full)
        executed = await self._chain.block(number)
        if executed is None:
            return None
        parent = await self._chain.block_digest(number - 1)
        assert parent is not None, "blocks are dense"
        receipt = executed.receipt
        return block_document(receipt.block, receipt.digest, parent, executed, is_full=is_full)

    async def _logs(self, parameters: Parameters) -> Any:
        wanted = self._log_filter(_at(parameters, 0))
        return [log_document(found) for found in await self._chain.logs(wanted)]

    async def _fee_history(self, parameters: Parameters) -> Any:
        asked = _at(parameters, 0)
        count = asked if isinstance(asked, int) else parse_quantity(asked, "blockCount")
        newest = self._number(_at(parameters, 1))
        percentiles = _at(parameters, 2)
        if percentiles is not None and not isinstance(percentiles, list):
            raise InvalidInput("rewardPercentiles: a list", field="rewardPercentiles")
        if percentiles is not None and len(percentiles) > PERCENTILES_MAX:
            raise InvalidInput("rewardPercentiles: too many", field="rewardPercentiles")
        count = max(0, min(count, FEE_HISTORY_MAX, newest + 1))
        history = {
            "oldestBlock": quantity(newest + 1 - count),
            "baseFeePerGas": ["0x0"] * (count + 1),
            "gasUsedRatio": [0.0] * count,
        }
        if percentiles is not None:
            history["reward"] = [["0x0"] * len(percentiles)] * count
        return history

    def _number(self, tag: object) -> int:
        """Return the number of the block that a tag or quantity names."""
        if tag is None or tag in LATEST:
            return self._chain.head.count
        return 0 if tag == "earliest" else parse_quantity(tag, "block")

    def _only_latest(self, tag: object) -> None:
        if self._number(tag) != self._chain.head.count:
            raise Unsupported(
                "only the latest state is kept", field="block", remedy='ask for "latest"'
            )

    def _log_filter(self, parameters: object) -> LogFilter:
        asked = _object(parameters, "filter")
        if asked.get("blockHash") is not None:
            raise Unsupported("blockHash: name blocks by number", field="blockHash")
        first, last = self._number(asked.get("fromBlock")), self._number(asked.get("toBlock"))
        if last - first >= LOG_BLOCKS_MAX:
            raise InvalidInput(f"filter: over {LOG_BLOCKS_MAX} blocks", field="filter")
        topics = asked.get("topics") or []
        if not isinstance(topics, list) or len(topics) > TOPICS_MAX:
            raise InvalidInput(f"topics: a list of at most {TOPICS_MAX}", field="topics")
        return LogFilter(
            from_block=first,
            to_block=last,
            addresses=_alternatives(asked.get("address"), "address", 20) or frozenset(),
            topics=tuple(_alternatives(topic, "topics", HASH_BYTES) for topic in topics),
            limit=LOGS_MAX,
        )


def _call_request(parameters: object, gas_limit: int) -> CallRequest:
    call = _object(parameters, "transaction")
    to, sender = call.get("to"), call.get("from")
    given, gas, value = member(call, "input", "data"), call.get("gas"), call.get("value")
    return CallRequest(
        to=None if to is None else parse_address(to, "to"),
        data=b"" if given is None else parse_data(given, "data"),
        sender=NOBODY if sender is None else parse_address(sender, "from"),
        gas_limit=None if gas is None else min(parse_quantity(gas, "gas"), gas_limit),
        value=0 if value is None else parse_quantity(value, "value"),
    )


def _alternatives(value: object, field: str, size: int) -> frozenset[bytes] | None:
    """Return what one place of a filter takes; None: anything."""
    if value is None or value == []:
        return None
    items = value if isinstance(value, list) else [value]
    if len(items) > ALTERNATIVES_MAX:
        raise InvalidInput(f"{field}: over {ALTERNATIVES_MAX} alternatives", field=field)
    return frozenset(parse_data(item, field, size) for item in items)


def _hash(parameters: Parameters) -> bytes:
    return parse_data(_at(parameters, 0), "hash", HASH_BYTES)


def _object(value: object, field: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"{field}: must be an object", field=field)
    return value


def _at(parameters: Parameters, place: int) -> Any:
    return parameters[place] if place < len(parameters) else None
