"""The chain of Hedera: read over mirror REST alone, written to by EthereumTransactions.

`MirrorChain` needs nothing but a mirror's address and reads. `HederaChain` also sends: what an
account has signed goes out inside a transaction of Hedera that the operator pays for, because
our accounts hold no HBAR and sign a fee of zero.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx2

from chargera.app.chain_ports import (
    GAS_LIMIT,
    HASH_BYTES,
    NOBODY,
    BadTransaction,
    Block,
    ContractLog,
    FoundLog,
    LogFilter,
    Receipt,
    TransactionRequest,
)
from chargera.domain.errors import InvalidInput, NotFound, Refused, Unavailable
from chargera.ledger.evm.transaction import parse
from chargera.ledger.hedera.accounts import Accounts
from chargera.ledger.hedera.client import HapiClient
from chargera.ledger.hedera.delivery import MIRROR_TRIES, Delivery, Outbox, growing_pauses
from chargera.ledger.hedera.failures import EXECUTED, refusal
from chargera.ledger.hedera.mirror import HederaMirror, hash_bytes, reading, seconds_of
from chargera.ledger.transaction_id import (
    NS_PER_S,
    HederaTransactionId,
    timestamp_ns,
    timestamp_text,
)
from chargera.proofs.chain_values import hex_text

GAS_MARGIN_PERCENT = 20
"""Added to a mirror's estimate: state may change before it runs. What is not used is refunded."""
PRICE_MARGIN_PERCENT = 10
"""Added to the price of gas: the exchange rate moves every hour."""
CREATE_BYTES_MAX = 24 * 1024
CALL_BYTES_MAX = 128 * 1024
"""Calldata of an EthereumTransaction (HIP-1086)."""

_NOT_EXECUTED = frozenset({"WRONG_NONCE", "DUPLICATE_TRANSACTION", "INSUFFICIENT_TX_FEE"})
"""Results of rows that say nothing of the transaction itself: another row may."""


class MirrorChain:
    """A read-only `Chain` over the REST API of mirrors."""

    def __init__(self, mirror: HederaMirror, chain_id: int) -> None:
        """Read what `mirror` tells of the network whose chain id is given."""
        self.mirror = mirror
        self.accounts = Accounts(mirror)
        self._chain_id = chain_id
        self._logs: dict[bytes, list[_PlacedLog]] = {}
        self._reading_logs = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def connected(
        cls,
        urls: Sequence[str],
        chain_id: int,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> AsyncIterator[Self]:
        """A chain within the block. Raises Unavailable if no mirror answers."""
        async with HederaMirror.connected(urls, transport=transport) as mirror:
            await mirror.last_block()
            yield cls(mirror, chain_id)

    @property
    def chain_id(self) -> int:
        """The number that every signature of this chain is bound to; mirrors do not tell it."""
        return self._chain_id

    @property
    def gas_limit(self) -> int:
        """Most gas of one transaction."""
        return GAS_LIMIT

    async def gas_for(self, to: bytes | None, data: bytes, sender: bytes) -> int:
        """Return the gas that a transaction should be given. Raises Reverted, Unavailable."""
        answer = await self.mirror.call(to, data, sender, estimate=True)
        estimated = int.from_bytes(answer, "big")
        return min(estimated * (100 + GAS_MARGIN_PERCENT) // 100, GAS_LIMIT)

    async def call(self, to: bytes, data: bytes, sender: bytes = NOBODY) -> bytes:
        """Return what a call would return now. Raises Reverted, Unavailable."""
        return await self.mirror.call(to, data, None if sender == NOBODY else sender)

    async def send_raw(self, raw: bytes) -> bytes:
        """Refuse: a mirror only reads."""
        raise Refused(
            "a mirror only reads; nothing can be sent to it",
            field="rpc",
            remedy="give the address of a JSON-RPC relay to send",
        )

    async def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """Return what became of a transaction; None while the mirror does not know."""
        row = await self.mirror.contract_result(transaction_hash)
        if row is None or row.get("result") in _NOT_EXECUTED or row.get("gas_used") is None:
            return None
        with reading("contract result"):
            return _receipt(transaction_hash, row)

    async def logs(self, wanted: LogFilter) -> Sequence[FoundLog]:
        """Return logs in order. Raises InvalidInput for more than the filter's limit.

        Raises Refused without addresses: mirrors keep what contracts said by contract.
        """
        if not wanted.addresses:
            raise Refused(
                "logs of all contracts cannot be read from a mirror",
                field="filter",
                remedy="name the contracts",
            )
        found: list[_PlacedLog] = []
        for address in sorted(wanted.addresses):
            found += [
                placed
                for placed in await self._logs_of(address)
                if wanted.from_block <= placed.found.block.number <= wanted.to_block
                and wanted.takes(placed.found.log)
            ]
            if len(found) > wanted.limit:
                raise InvalidInput(
                    f"more than {wanted.limit} logs", field="filter", remedy="ask for fewer blocks"
                )
        found.sort(key=lambda placed: (placed.time_ns, placed.found.log_index))
        return [placed.found for placed in found]

    async def nonce(self, address: bytes) -> int:
        """Return the nonce that the next transaction of this sender must have."""
        try:
            return (await self.mirror.account(address)).ethereum_nonce
        except NotFound:
            return 0

    async def _logs_of(self, address: bytes) -> list["_PlacedLog"]:
        """Return all logs of a contract; what was read once is final and is not read again."""
        async with self._reading_logs:
            known = self._logs.setdefault(address, [])
            after = timestamp_text(known[-1].time_ns) if known else None
            read: list[_PlacedLog] = []
            async for row in self.mirror.contract_logs(address, after):
                with reading("log"):
                    read.append(_placed_log(row))
            known += read
            return known


class HederaChain(MirrorChain):
    """A `Chain` of Hedera whose transactions the operator's account pays for."""

    def __init__(
        self,
        chain_id: int,
        client: HapiClient,
        delivery: Delivery,
        outbox: Outbox,
    ) -> None:
        """Send by `client`, each transaction once by `outbox`; read what the mirror tells."""
        super().__init__(delivery.mirror, chain_id)
        self._client = client
        self._delivery = delivery
        self._outbox = outbox
        self._senders: set[bytes] = set()

    async def send_raw(self, raw: bytes) -> bytes:
        """Have a signed transaction executed, wait until the mirror has it, and return its hash.

        However often it is asked for, it is executed once: by its nonce, and by the transaction
        of Hedera that was stored for it before. Raises BadTransaction if it cannot be executed,
        Refused if its sender has no account, Unavailable if the outcome is not known.
        """
        request = self._check(raw)
        if await self.receipt(request.hash) is not None:
            return request.hash
        if request.sender not in self._senders:
            await self.accounts.sender(request.sender)
            self._senders.add(request.sender)
        price = await self.mirror.gas_price_tinybar()
        allowance = -(-request.gas_limit * price * (100 + PRICE_MARGIN_PERCENT) // 100)

        sent: HederaTransactionId | None = None

        async def send(transaction_id: HederaTransactionId) -> None:
            nonlocal sent
            sent = transaction_id
            await self._client.ethereum(transaction_id, raw, allowance)

        purpose = f"ethereum:{hex_text(request.hash)}"
        try:
            outcome = await self._outbox.attempt(purpose, send, EXECUTED)
        except Refused as error:  # of a node, which knows nothing of what it was sent before
            raise Unavailable(error.message, remedy=error.remedy) from error
        if outcome.status not in EXECUTED:
            if outcome.consensus_timestamp is None and sent is not None:
                await self._await_mirror(sent)
            # Whoever else has this transaction may have sent it: then it is executed all the same.
            if await self.receipt(request.hash) is None:
                told = refusal(outcome.status, purpose)
                if isinstance(told, Unavailable):
                    raise told
                raise BadTransaction(told.message, remedy=told.remedy)
        await self._await_receipt(request.hash)
        return request.hash

    async def _await_mirror(self, transaction_id: HederaTransactionId) -> None:
        """Wait until the mirror has come as far as a transaction that reached consensus."""
        pauses = growing_pauses()
        for _ in range(MIRROR_TRIES):
            if await self.mirror.transactions(transaction_id):
                return
            await self._delivery.pause(next(pauses))
        raise Unavailable("the mirror lags", remedy="ask again later; it is not sent twice")

    async def _await_receipt(self, transaction_hash: bytes) -> None:
        pauses = growing_pauses()
        for _ in range(MIRROR_TRIES):
            if await self.receipt(transaction_hash) is not None:
                return
            await self._delivery.pause(next(pauses))

    def _check(self, raw: bytes) -> TransactionRequest:
        request = parse(raw)
        if request.chain_id != self.chain_id:
            raise BadTransaction(
                f"signed for the chain {request.chain_id}, not {self.chain_id}", field="chain_id"
            )
        most = CREATE_BYTES_MAX if request.to is None else CALL_BYTES_MAX
        if len(request.data) > most:
            raise BadTransaction(
                f"its data has {len(request.data)} bytes, Hedera takes {most}", field="data"
            )
        if request.gas_limit > self.gas_limit:
            raise BadTransaction(f"its gas is above {self.gas_limit}", field="gas_limit")
        return request


@dataclass(frozen=True, slots=True)
class _PlacedLog:
    """A log with the time of its transaction: places count within a transaction, not a block."""

    time_ns: int
    found: FoundLog


def _receipt(transaction_hash: bytes, row: Mapping[str, Any]) -> Receipt:
    succeeded = row["result"] == "SUCCESS"
    makes = row["contract_id"] is not None and row["contract_id"] in row["created_contract_ids"]
    return Receipt(
        transaction_hash=transaction_hash,
        block=Block(int(row["block_number"]), seconds_of(row["timestamp"])),
        sender=hash_bytes(row["from"]),
        to=None if makes or not row["to"] else hash_bytes(row["to"]),
        succeeded=succeeded,
        gas_used=int(row["gas_used"]),
        created=hash_bytes(row["address"]) if makes and succeeded else None,
        output=_output(row, succeeded=succeeded),
        logs=tuple(_log(log) for log in row["logs"]),
        digest=hash_bytes(row["block_hash"])[:HASH_BYTES],
    )


def _output(row: Mapping[str, Any], *, succeeded: bool) -> bytes:
    """Return what the call returned, or the contract's error: a halt has a word in its place."""
    text = row["call_result"] if succeeded else row["error_message"]
    return hash_bytes(text) if text and text.startswith("0x") else b""


def _log(row: Mapping[str, Any]) -> ContractLog:
    topics = tuple(hash_bytes(topic) for topic in row["topics"])
    data = row["data"]
    return ContractLog(hash_bytes(row["address"]), topics, hash_bytes(data) if data else b"")


def _placed_log(row: Mapping[str, Any]) -> _PlacedLog:
    time_ns = timestamp_ns(row["timestamp"])
    found = FoundLog(
        log=_log(row),
        block=Block(int(row["block_number"]), time_ns // NS_PER_S),
        block_hash=hash_bytes(row["block_hash"])[:HASH_BYTES],
        transaction_hash=hash_bytes(row["transaction_hash"]),
        log_index=int(row["index"]),
    )
    return _PlacedLog(time_ns, found)
