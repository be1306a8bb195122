"""A chain over Ethereum's JSON-RPC: anvil, a relay of Hedera, or the `/rpc` of another network.

    async with RpcChain.connected("http://127.0.0.1:8545") as chain:
        await chain.call(to, data)

Only what `Chain` asks for. A node's refusal of a transaction is BadTransaction, of a call
Reverted; everything that may pass (no answer, an answer of the wrong form) is Unavailable.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, Self

import httpx2
import orjson

from chargera.app.chain_ports import (
    GAS_LIMIT,
    NOBODY,
    BadTransaction,
    Block,
    ContractLog,
    FoundLog,
    LogFilter,
    Receipt,
    Reverted,
)
from chargera.domain.errors import ChargEraError, InvalidInput, Unavailable
from chargera.ledger.evm.transaction import parse
from chargera.proofs.chain_values import hex_text

TIMEOUT_S = 20.0
LOG_BLOCKS = 10_000
"""Blocks whose logs are asked for at once, at first; a node that refuses is asked for half."""
LOG_REQUESTS_MAX = 2_000
"""For one answer; public relays of Hedera give few blocks at once, and a day there has 43,000."""
RECEIPT_WAIT_S = 0.05
RECEIPT_TRIES = 40
GAS_MARGIN_PERCENT = 20
"""Added to an estimate: state may change before the transaction runs."""
HEDERA_CHAIN_IDS = frozenset({295, 296, 297, 298})
"""mainnet, testnet, previewnet, local: behind their relays gas is paid for by whoever sends."""
ANSWER_BYTES_MAX = 64 * 1024 * 1024

_REVERTED = 3
_KNOWN = ("already known", "already imported", "transaction already")


class RpcChain:
    """A `Chain` behind a JSON-RPC address; made by `connected`."""

    def __init__(self, client: httpx2.AsyncClient, url: str, chain_id: int) -> None:
        """Use `connected`."""
        self._client = client
        self._url = url
        self._chain_id = chain_id
        self._times: dict[int, int] = {}
        self._log_blocks = LOG_BLOCKS

    @classmethod
    @asynccontextmanager
    async def connected(
        cls, url: str, *, transport: httpx2.AsyncBaseTransport | None = None
    ) -> AsyncIterator[Self]:
        """A chain within the block. Raises Unavailable if nobody answers at `url`."""
        async with httpx2.AsyncClient(timeout=TIMEOUT_S, transport=transport) as client:
            chain = cls(client, url, 0)
            chain._chain_id = _integer(await chain.ask("eth_chainId"))
            yield chain

    @property
    def chain_id(self) -> int:
        """The chain's number, as it said when it was connected."""
        return self._chain_id

    @property
    def gas_limit(self) -> int:
        """Most gas of one transaction that our contracts may need anywhere."""
        return GAS_LIMIT

    async def call(self, to: bytes, data: bytes, sender: bytes = NOBODY) -> bytes:
        """Return what a call would return now. Raises Reverted, Unavailable."""
        asked = {
            "from": hex_text(sender),
            "to": hex_text(to),
            "data": hex_text(data),
            "gas": hex(GAS_LIMIT),
        }
        return _bytes(await self.ask("eth_call", asked, "latest"))

    async def gas_for(self, to: bytes | None, data: bytes, sender: bytes) -> int:
        """Return the most gas that our contracts may need anywhere: what is left is not paid.

        Behind a relay of Hedera whoever sends must hold what all of it would cost: there it is
        estimated. Raises Reverted, Unavailable.
        """
        if not self._is_paid:
            return self.gas_limit
        asked = {"from": hex_text(sender), "data": hex_text(data)}
        if to is not None:
            asked["to"] = hex_text(to)
        estimated = _integer(await self.ask("eth_estimateGas", asked))
        return min(estimated * (100 + GAS_MARGIN_PERCENT) // 100, GAS_LIMIT)

    async def gas_price(self) -> int:
        """Return what a sender must offer for a gas, in weibar; 0 where gas is free."""
        return _integer(await self.ask("eth_gasPrice")) if self._is_paid else 0

    @property
    def _is_paid(self) -> bool:
        return self._chain_id in HEDERA_CHAIN_IDS

    async def send_raw(self, raw: bytes) -> bytes:
        """Send a signed transaction and wait a moment for its block; return its hash.

        Raises BadTransaction for what the node does not take, Unavailable.
        """
        transaction_hash = parse(raw).hash
        try:
            await self.ask("eth_sendRawTransaction", hex_text(raw))
        except BadTransaction as error:
            is_known = any(word in error.message.lower() for word in _KNOWN)
            if not is_known and await self.receipt(transaction_hash) is None:
                raise
        for _ in range(RECEIPT_TRIES):
            if await self.receipt(transaction_hash) is not None:
                break
            await asyncio.sleep(RECEIPT_WAIT_S)
        return transaction_hash

    async def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """Return what became of a transaction; None while it is in no block."""
        found = await self.ask("eth_getTransactionReceipt", hex_text(transaction_hash))
        if found is None:
            return None
        with _reading("receipt"):
            block = await self._block(_integer(found["blockNumber"]))
            succeeded = _integer(found["status"]) == 1
            made = found.get("contractAddress")
            receipt = Receipt(
                transaction_hash=_bytes(found["transactionHash"]),
                block=block,
                sender=_bytes(found["from"]),
                to=None if found.get("to") is None else _bytes(found["to"]),
                succeeded=succeeded,
                gas_used=_integer(found["gasUsed"]),
                created=_bytes(made) if made is not None and succeeded else None,
                output=b"",
                logs=tuple(_log(log) for log in found["logs"]),
                digest=_bytes(found["blockHash"]),
            )
        if succeeded:
            return receipt
        return await self._with_error(receipt)

    async def logs(self, wanted: LogFilter) -> Sequence[FoundLog]:
        """Return logs in order. Raises InvalidInput for more than the filter's limit.

        As many blocks at once as the node gives: it is asked for half after each refusal. Raises
        Unavailable where that would be too many questions.
        """
        last = min(wanted.to_block, _integer(await self.ask("eth_blockNumber")))
        found: list[FoundLog] = []
        first = wanted.from_block
        while first <= last:
            self._check_patience(last + 1 - first)
            until = min(first + self._log_blocks - 1, last)
            try:
                rows = await self.ask("eth_getLogs", _asked(wanted, first, until))
            except _TooMuch:
                if until == first:
                    raise
                self._log_blocks = (until - first + 1) // 2
                continue
            found += [await self._found_log(row) for row in rows]
            if len(found) > wanted.limit:
                raise InvalidInput(
                    f"more than {wanted.limit} logs", field="filter", remedy="ask for fewer blocks"
                )
            first = until + 1
        return found

    def _check_patience(self, blocks: int) -> None:
        """Raise Unavailable where reading so many blocks takes more questions than is sensible."""
        if blocks > LOG_REQUESTS_MAX * self._log_blocks:
            raise Unavailable(
                f"the chain at {self._url} gives logs of {self._log_blocks} blocks at once, and"
                f" {blocks} are to be read",
                remedy="on Hedera give the address of a mirror instead: --rpc mirror:URL",
            )

    async def nonce(self, address: bytes) -> int:
        """Return the nonce that the next transaction of this sender must have."""
        asked = hex_text(address)
        return _integer(await self.ask("eth_getTransactionCount", asked, "pending"))

    async def ask(self, method: str, *parameters: Any) -> Any:
        """Return the result of a method. Raises Reverted, BadTransaction, Unavailable."""
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        try:
            response = await self._client.post(
                self._url,
                content=orjson.dumps(asked),
                headers={"Content-Type": "application/json"},
            )
            answer = orjson.loads(response.content)
        except (httpx2.HTTPError, httpx2.InvalidURL, orjson.JSONDecodeError) as error:
            raise Unavailable(
                f"the chain at {self._url} does not answer: {str(error) or type(error).__name__}",
                remedy="check the address, and that the node runs",
            ) from error
        if not isinstance(answer, dict):
            raise _odd_answer(method)
        if answer.get("error") is not None:
            raise _error(method, answer["error"])
        if "result" not in answer:
            raise _odd_answer(method)
        return answer["result"]

    async def _with_error(self, receipt: Receipt) -> Receipt:
        """Add what the contract said, as far as trying it again on the block before tells."""
        sent = await self.ask("eth_getTransactionByHash", hex_text(receipt.transaction_hash))
        with _reading("transaction"):
            asked = {name: sent[name] for name in ("from", "to", "gas", "input")}
        try:
            await self.ask("eth_call", asked, hex(max(receipt.block.number - 1, 0)))
        except Reverted as error:
            return replace(receipt, output=error.data)
        except ChargEraError:
            return receipt  # a node that keeps no old state
        return receipt

    async def _found_log(self, log: Mapping[str, Any]) -> FoundLog:
        with _reading("log"):
            return FoundLog(
                log=_log(log),
                block=await self._block(_integer(log["blockNumber"])),
                block_hash=_bytes(log["blockHash"]),
                transaction_hash=_bytes(log["transactionHash"]),
                log_index=_integer(log["logIndex"]),
            )

    async def _block(self, number: int) -> Block:
        if number not in self._times:
            found = await self.ask("eth_getBlockByNumber", hex(number), False)
            with _reading("block"):
                self._times[number] = _integer(found["timestamp"])
        return Block(number, self._times[number])


class _TooMuch(Unavailable):
    """A node that was asked for logs refuses, which may be for the number of blocks."""


def _asked(wanted: LogFilter, first: int, until: int) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "fromBlock": hex(first),
        "toBlock": hex(until),
        "topics": [
            None if topic is None else [hex_text(value) for value in sorted(topic)]
            for topic in wanted.topics
        ],
    }
    if wanted.addresses:
        asked["address"] = [hex_text(address) for address in sorted(wanted.addresses)]
    return asked


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Turn a document of the wrong form into Unavailable."""
    try:
        yield
    except (KeyError, TypeError, ValueError):
        raise _odd_answer(what) from None


def _error(method: str, error: Any) -> ChargEraError:
    if not isinstance(error, dict):
        return _odd_answer(method)
    message, data = str(error.get("message", "")), error.get("data")
    if isinstance(data, dict):  # some nodes put it deeper
        data = data.get("data")
    if method in ("eth_call", "eth_estimateGas") and (
        error.get("code") == _REVERTED or "revert" in message.lower()
    ):
        return Reverted(_bytes(data) if isinstance(data, str) else b"", message)
    if method == "eth_sendRawTransaction":
        return BadTransaction(message)
    what = f"the chain answers {method} with an error: {message}"
    is_hurried = "rate" in message.lower()  # then smaller questions, and more, make it worse
    return Unavailable(what) if method != "eth_getLogs" or is_hurried else _TooMuch(what)


def _odd_answer(what: str) -> Unavailable:
    return Unavailable(
        f"the chain's answer about {what} is not of its form",
        remedy="check that the address is that of an Ethereum JSON-RPC node",
    )


def _log(log: Mapping[str, Any]) -> ContractLog:
    topics = tuple(_bytes(topic) for topic in log["topics"])
    return ContractLog(_bytes(log["address"]), topics, _bytes(log["data"]))


def _bytes(value: Any) -> bytes:
    try:
        return bytes.fromhex(value.removeprefix("0x"))
    except (AttributeError, ValueError):
        raise _odd_answer("bytes") from None


def _integer(value: Any) -> int:
    try:
        return int(value, 16)
    except (TypeError, ValueError):
        raise _odd_answer("a number") from None
