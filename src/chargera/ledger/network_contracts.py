"""The network's contracts on a chain: read by name, and written to by accounts.

`StoredSender` is for the server: a transaction is in the database before it leaves, so that a
crash between both never makes a second one. `DirectSender` is for whoever has a key, an address
of a chain and nothing else.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from chargera.app.chain_ports import ADDRESS_BYTES, BadTransaction, Chain, LogFilter, Reverted
from chargera.app.ports import Clock
from chargera.app.settlement_ports import ContractRefused, SendStore, StoredSend
from chargera.domain.errors import InvalidInput, NotFound, Unavailable
from chargera.ledger.abi import Event, interface, read_revert
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.rpc_backend import RpcChain
from chargera.ledger.evm.transaction import sign
from chargera.ledger.hedera.chain import MirrorChain
from chargera.proofs.chain_values import address_text, hex_text, parse_address, parse_hex
from chargera.proofs.keccak import keccak256
from chargera.proofs.trust import TrustedChain

_log = logging.getLogger(__name__)

LAST_BLOCK = 2**62
MIRROR = "mirror:"
"""What stands before the address of a mirror node, in place of a JSON-RPC node's."""
LOGS_MAX = 100_000


class ChainContracts:
    """`Contracts` over a chain and the addresses of the network's trust file."""

    def __init__(self, chain: Chain, addresses: Mapping[str, str]) -> None:
        """Read on `chain`; `addresses` by the contracts' names."""
        self.chain = chain
        self._addresses = {
            name: parse_address(address, field=name) for name, address in addresses.items()
        }
        self._texts = dict(addresses)

    @property
    def chain_id(self) -> int:
        """The chain's number."""
        return self.chain.chain_id

    def address(self, contract: str) -> str:
        """Return the address of a contract by its name; an address stands for itself."""
        if contract in self._texts:
            return self._texts[contract]
        raise NotFound(f"this network has no contract {contract}", field="contract")

    def place(self, contract: str) -> bytes:
        """Return the 20 bytes of a contract's address. `IERC20@0x...` names one by interface."""
        name, _, address = contract.partition("@")
        if address:
            return parse_address(address, field="asset")
        if name in self._addresses:
            return self._addresses[name]
        raise NotFound(f"this network has no contract {contract}", field="contract")

    def calldata(self, contract: str, function: str, arguments: Sequence[Any]) -> bytes:
        """Return what a call of that function carries."""
        name = contract.partition("@")[0]
        return interface(name).function(function).encode(arguments)

    async def read(self, contract: str, function: str, *arguments: Any) -> Any:
        """Return what a function answers now. Raises ContractRefused, Unavailable."""
        arguments = await self.canonical(contract, function, arguments)
        data = self.calldata(contract, function, arguments)
        answer = await self.attempt(contract, data)
        return interface(contract.partition("@")[0]).function(function).decode(answer)

    async def canonical(
        self, contract: str, function: str, arguments: Sequence[Any]
    ) -> tuple[Any, ...]:
        """Return arguments that name each holder by his one address.

        On Hedera an account has two addresses, and contracts know it by its alias alone.
        """
        if not isinstance(self.chain, MirrorChain):
            return tuple(arguments)
        types = interface(contract.partition("@")[0]).function(function).inputs
        named = list(arguments)
        for place, kind in enumerate(types[: len(named)]):
            if kind == "address":
                named[place] = await self._holder(self.chain, named[place])
        return tuple(named)

    async def _holder(self, chain: MirrorChain, value: Any) -> Any:
        if isinstance(value, str):
            address = await chain.accounts.canonical(parse_address(value, field="address"))
            return address_text(address)
        is_address = isinstance(value, bytes) and len(value) == ADDRESS_BYTES
        return await chain.accounts.canonical(value) if is_address else value

    async def attempt(self, contract: str, data: bytes, sender: bytes = bytes(20)) -> bytes:
        """Return what a call would return. Raises ContractRefused by the contract's rule."""
        try:
            return await self.chain.call(self.place(contract), data, sender)
        except Reverted as error:
            raise refusal(error.data, contract) from error

    async def events(
        self,
        contract: str,
        event: str,
        topics: Sequence[bytes | None] = (),
        *,
        from_block: int = 0,
    ) -> Sequence[Event]:
        """Return the events of that name with these indexed members, in order of the chain."""
        found = interface(contract.partition("@")[0])
        first = found.topic_of(event)
        kinds = [member["type"] for member in found.events[first]["inputs"] if member["indexed"]]
        wanted: list[frozenset[bytes] | None] = [frozenset({first})]
        for topic, kind in zip(topics, kinds, strict=False):
            if isinstance(self.chain, MirrorChain):
                topic = await self._holder(self.chain, topic)
            wanted.append(None if topic is None else frozenset({_topic_word(topic, kind)}))
        logs = await self.chain.logs(
            LogFilter(
                from_block,
                LAST_BLOCK,
                frozenset({self.place(contract)}),
                tuple(wanted),
                LOGS_MAX,
            )
        )
        return [said for log in logs if (said := found.event(log)) is not None]


def _topic_word(value: bytes, kind: str) -> bytes:
    """Return an indexed member as it stands in a log: bytesN begin its word, all else ends it."""
    return value.ljust(32, b"\0") if kind.startswith("bytes") else value.rjust(32, b"\0")


class DirectSender:
    """A `Sender` that keeps nothing: for commands that a person repeats if he must."""

    def __init__(self, contracts: ChainContracts, key: ChainKey) -> None:
        """Send from the account of `key`."""
        self._contracts = contracts
        self._key = key

    @property
    def address(self) -> str:
        """Its address."""
        return self._key.address_text

    async def send(self, purpose: str, contract: str, function: str, *arguments: Any) -> str:
        """Send one transaction and return its hash; see `Sender`."""
        raw = await signed(self._contracts, self._key, contract, function, arguments)
        chain = self._contracts.chain
        sent = await chain.send_raw(raw)
        await _outcome(chain, sent, contract)
        return hex_text(sent)


class StoredSender:
    """A `Sender` whose transactions are stored before they are sent, each for one purpose."""

    def __init__(
        self, contracts: ChainContracts, key: ChainKey, store: SendStore, clock: Clock
    ) -> None:
        """Send from the account of `key`, which nobody else uses at the same time."""
        self._contracts = contracts
        self._key = key
        self._store = store
        self._clock = clock
        self._turn = asyncio.Lock()

    @property
    def address(self) -> str:
        """Its address."""
        return self._key.address_text

    async def send(self, purpose: str, contract: str, function: str, *arguments: Any) -> str:
        """Have one effect for one purpose and return its transaction hash; see `Sender`."""
        async with self._turn:
            known = await self._store.find(purpose)
            if known is not None and known.outcome == "ok":
                return known.transaction_hash
            for earlier in await self._store.unsettled(self.address):
                await self._deliver(earlier, contract)
            known = await self._store.find(purpose)
            if known is not None:
                return known.transaction_hash
            nonce = max(
                await self._store.next_nonce(self.address),
                await self._contracts.chain.nonce(self._key.address),
            )
            raw = await signed(
                self._contracts, self._key, contract, function, arguments, nonce=nonce
            )
            stored = StoredSend(purpose, self.address, nonce, raw, hex_text(keccak256(raw)))
            await self._store.add(stored, self._clock.now())
            _log.info("stored %s", purpose)
            await self._deliver(stored, contract)
            return stored.transaction_hash

    async def _deliver(self, stored: StoredSend, contract: str) -> None:
        """Bring a stored transaction onto the chain, unless it is there."""
        chain = self._contracts.chain
        transaction_hash = parse_hex(stored.transaction_hash, 32, field="transaction_hash")
        try:
            if await chain.receipt(transaction_hash) is None:
                await chain.send_raw(stored.raw)
            await _outcome(chain, transaction_hash, contract)
            _log.info("executed %s", stored.purpose)
        except (BadTransaction, ContractRefused) as error:
            _log.warning("%s failed: %s", stored.purpose, error.message)
            await self._store.failed(stored.purpose)
            raise
        await self._store.succeeded(stored.purpose)


async def signed(
    contracts: ChainContracts,
    key: ChainKey,
    contract: str,
    function: str,
    arguments: Sequence[Any],
    *,
    nonce: int | None = None,
) -> bytes:
    """Return a signed transaction that would succeed now.

    Raises ContractRefused by the rule of the contract that stands against it.
    """
    arguments = await contracts.canonical(contract, function, arguments)
    data = contracts.calldata(contract, function, arguments)
    await contracts.attempt(contract, data, key.address)
    chain = contracts.chain
    if nonce is None:
        nonce = await chain.nonce(key.address)
    place = contracts.place(contract)
    return sign(
        key,
        chain_id=chain.chain_id,
        nonce=nonce,
        to=place,
        data=data,
        gas_limit=await chain.gas_for(place, data, key.address),
        max_fee=await chain.gas_price() if isinstance(chain, RpcChain) else 0,
    )


async def _outcome(chain: Chain, transaction_hash: bytes, contract: str) -> None:
    receipt = await chain.receipt(transaction_hash)
    if receipt is None:
        raise Unavailable(
            f"the chain does not tell what became of {hex_text(transaction_hash)}",
            remedy="ask again later; it is not sent twice",
        )
    if not receipt.succeeded:
        raise refusal(receipt.output, contract)


@asynccontextmanager
async def trusted_contracts(
    trusted: TrustedChain, rpc: str | None = None
) -> AsyncIterator[ChainContracts]:
    """Give the contracts that a trust file names, over its RPC address or another one.

    An address is that of a JSON-RPC node, or `mirror:` and that of a mirror node of Hedera.

    Raises Unavailable if nobody answers there, InvalidInput if it is another chain.
    """
    texts = {name: address_text(address) for name, address in trusted.contracts.items()}
    async with _connected(rpc or trusted.rpc, trusted.chain_id) as chain:
        contracts = ChainContracts(chain, texts)
        chain_id = await _chain_id(contracts)
        if chain_id != trusted.chain_id:
            raise InvalidInput(
                f"there is the chain {chain_id}, not {trusted.chain_id}",
                field="rpc",
                remedy="give the address of the chain that the trust file names",
            )
        yield contracts


@asynccontextmanager
async def _connected(rpc: str, chain_id: int) -> AsyncIterator[Chain]:
    if rpc.startswith(MIRROR):
        async with MirrorChain.connected([rpc.removeprefix(MIRROR)], chain_id) as mirrored:
            yield mirrored
    else:
        async with RpcChain.connected(rpc) as chain:
            yield chain


async def _chain_id(contracts: ChainContracts) -> int:
    """Return the chain's number; a mirror does not know it, the token's domain (EIP-5267) does."""
    if isinstance(contracts.chain, MirrorChain):
        domain = await contracts.read("C4EToken", "eip712Domain")
        return int(domain[3])
    return contracts.chain_id


def refusal(data: bytes, contract: str) -> ContractRefused:
    """Return the error for what a contract refused with."""
    revert = read_revert(data)
    return ContractRefused(revert.name, revert.arguments, f"{contract} refuses: {revert}")
