"""Which topic heads are anchored on and which chain the contracts run on, by the settings.

The embedded network makes both here. Another chain over JSON-RPC takes the place of the embedded
one, and a profile of Hedera that of both.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from chargera.app.chain_ports import Chain
from chargera.app.clock import NetworkClock
from chargera.app.log_ports import Topic
from chargera.app.ports import Entropy
from chargera.ledger.embedded_topic import EmbeddedTopic
from chargera.ledger.evm.chain import ChainPolicy, EmbeddedChain, engine_maker
from chargera.ledger.evm.rpc_backend import RpcChain
from chargera.settings import ChainSettings, Settings
from chargera.store.chain import LEASE_KEY, ChainWork, PostgresChainJournal, PostgresSnapshots
from chargera.store.log import PostgresLease
from chargera.store.topic import PostgresTopicStore
from chargera.store.unit_of_work import Database


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a server settles and anchors on."""

    topic: Topic
    chain: Chain
    rpc: str | None = None
    """Where strangers ask the chain; None: at this server's own `/rpc`, of `node`."""
    node: EmbeddedChain[ChainWork] | None = None
    """The embedded chain, where there is one."""


@dataclass(frozen=True, slots=True)
class LedgerParts:
    """What the server lends to its ledger."""

    settings: Settings
    database: Database
    clock: NetworkClock
    entropy: Entropy


async def open_ledger(parts: LedgerParts, stack: AsyncExitStack) -> Ledger:
    """Open topic and chain; `stack` closes them.

    Raises Unavailable if another chain does not answer.
    """
    topic = await EmbeddedTopic.open(PostgresTopicStore(parts.database), parts.clock)
    settings = parts.settings.chain
    if settings.rpc is not None:
        chain = await stack.enter_async_context(RpcChain.connected(settings.rpc))
        return Ledger(topic, chain, rpc=settings.rpc)
    node = await _embedded(parts, settings)
    stack.push_async_callback(node.close)
    return Ledger(topic, node, node=node)


async def _embedded(parts: LedgerParts, settings: ChainSettings) -> EmbeddedChain[ChainWork]:
    return await EmbeddedChain.open(
        PostgresChainJournal(parts.database),
        PostgresSnapshots(parts.database),
        PostgresLease(parts.database.url, LEASE_KEY, "chargera-chain"),
        parts.clock,
        parts.entropy,
        make_engine=engine_maker(settings.engine),
        policy=ChainPolicy(snapshot_interval=settings.snapshot_interval),
    )
