"""Which topic heads are anchored on and which chain the contracts run on, by the settings.

The embedded network makes both here. Another chain over JSON-RPC takes the place of the embedded
one, and a profile of Hedera that of both.
"""

import shlex
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from chargera.app.chain_ports import Chain
from chargera.app.clock import NetworkClock
from chargera.app.log_ports import Topic
from chargera.app.ports import Entropy
from chargera.domain.errors import InvalidInput, Refused
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.embedded_topic import EmbeddedTopic
from chargera.ledger.evm.chain import ChainPolicy, EmbeddedChain, engine_maker
from chargera.ledger.evm.rpc_backend import RpcChain
from chargera.ledger.hedera.chain import HederaChain
from chargera.ledger.hedera.client import HapiClient
from chargera.ledger.hedera.delivery import Delivery, Outbox
from chargera.ledger.hedera.mirror import HederaMirror
from chargera.ledger.hedera.profiles import NetworkName, Profile, custom, profile
from chargera.ledger.hedera.signer import CommandSigner, FileSigner, KeySigner, Signer
from chargera.ledger.hedera.status import FundsWatch
from chargera.ledger.hedera.topic import HederaTopic
from chargera.process import Loops
from chargera.proofs.chain_values import parse_hex
from chargera.settings import ChainSettings, HederaSettings, Settings
from chargera.store.chain import LEASE_KEY, ChainWork, PostgresChainJournal, PostgresSnapshots
from chargera.store.hedera_sends import PostgresHederaSends
from chargera.store.hedera_topics import HederaTopicRow, PostgresHederaTopics
from chargera.store.log import PostgresLease
from chargera.store.topic import PostgresTopicStore
from chargera.store.unit_of_work import Database

SUBMIT_KEY_FILE = Path("keys") / "hedera-submit"
"""In the data folder: the key that signs anchors, one of the three that the topic takes."""

FUNDS_POLL_S = 300.0
"""Real time between two looks at the account's money."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a server settles and anchors on."""

    topic: Topic
    chain: Chain
    profile: Profile
    rpc: str | None = None
    """Where strangers ask the chain; None: at this server's own `/rpc`, of `node`."""
    node: EmbeddedChain[ChainWork] | None = None
    """The embedded chain, where there is one."""
    hedera: "Hedera | None" = None
    topics: tuple[HederaTopicRow, ...] = ()
    """Those of Hedera that heads are or were anchored on."""
    poll_s: float = 0.5
    """Real time between two looks at the contracts."""
    funds: FundsWatch | None = None
    """Of the account that pays, where one does."""

    @property
    def checks(self) -> Mapping[str, Callable[[], str | None]]:
        """What readiness asks of it, by name: what is wrong, None if nothing is."""
        funds = self.funds
        return {} if funds is None else {"funds": lambda: funds.fault}

    def balances_tinybar(self) -> Mapping[str, float]:
        """Return the balance of the account that pays, by its id."""
        return {} if self.funds is None else self.funds.balances_tinybar

    def days_left(self) -> Mapping[str, float]:
        """Return for how many days that lasts, by the account's id."""
        return {} if self.funds is None else self.funds.days_left


@dataclass(frozen=True, slots=True)
class LedgerParts:
    """What the server lends to its ledger."""

    data_dir: Path
    settings: Settings
    database: Database
    clock: NetworkClock
    entropy: Entropy


@dataclass(frozen=True, slots=True)
class Hedera:
    """Access to a network of Hedera with the operator's account."""

    profile: Profile
    client: HapiClient
    delivery: Delivery
    outbox: Outbox
    chain: HederaChain


async def open_ledger(parts: LedgerParts, stack: AsyncExitStack) -> Ledger:
    """Open topic and chain; `stack` closes them.

    Raises Unavailable if another chain does not answer, Refused for a network of Hedera that was
    not initialised, InvalidInput for settings that do not go together.
    """
    network = profile_of(parts.settings)
    if network.is_hedera:
        return await _on_hedera(parts, network, stack)
    topic = await EmbeddedTopic.open(PostgresTopicStore(parts.database), parts.clock)
    settings = parts.settings.chain
    if settings.rpc is not None:
        chain = await stack.enter_async_context(RpcChain.connected(settings.rpc))
        return Ledger(topic, chain, network, rpc=settings.rpc)
    node = await _embedded(parts, settings)
    stack.push_async_callback(node.close)
    return Ledger(topic, node, network, node=node)


async def open_hedera(parts: LedgerParts, network: Profile, stack: AsyncExitStack) -> Hedera:
    """Connect to a network of Hedera; `stack` closes it. Raises InvalidInput, Unavailable."""
    account = parts.settings.hedera.operator_account
    if account is None:
        raise InvalidInput(
            "the account that pays on Hedera is needed",
            field="hedera.operator_account",
            remedy="see docs/how-to/run-on-hedera.md",
        )
    client = HapiClient(network.network, account, signer_of(parts.settings.hedera))
    stack.push_async_callback(client.close)
    mirror = await stack.enter_async_context(HederaMirror.connected(network.mirrors))
    delivery = Delivery(client, mirror, parts.clock)
    outbox = Outbox(
        delivery, PostgresHederaSends(parts.database), parts.clock, account, parts.entropy.bytes
    )
    assert network.chain_id is not None, "a profile of Hedera has been checked"
    chain = HederaChain(network.chain_id, client, delivery, outbox)
    return Hedera(network, client, delivery, outbox, chain)


def profile_of(settings: Settings) -> Profile:
    """Return the network that the settings name. Raises InvalidInput, naming the setting."""
    given = settings.hedera
    nodes = _nodes(given.nodes)
    mirrors = tuple(_listed(given.mirrors))
    if NetworkName(settings.ledger.network) is NetworkName.CUSTOM:
        if given.chain_id is None:
            raise InvalidInput("the chain id of a custom network is needed", field="chain_id")
        return custom(
            chain_id=given.chain_id,
            nodes=nodes,
            mirrors=mirrors,
            relay=given.relay,
            explorer=given.explorer,
        )
    found = profile(settings.ledger.network)
    return found.with_addresses(nodes=nodes, mirrors=mirrors, relay=given.relay)


def signer_of(settings: HederaSettings) -> Signer:
    """Return who signs for the operator's account. Raises InvalidInput, naming the setting."""
    if settings.operator_command is not None:
        if settings.operator_public_key is None:
            raise InvalidInput(
                "the public key of the command that signs is needed",
                field="hedera.operator_public_key",
            )
        public_key = parse_hex(
            f"0x{settings.operator_public_key.removeprefix('0x')}",
            field="hedera.operator_public_key",
        )
        return CommandSigner(shlex.split(settings.operator_command), public_key)
    if settings.operator_key is None:
        raise InvalidInput(
            "the key of the account that pays on Hedera is needed",
            field="hedera.operator_key",
            remedy="name its file in CHARGERA_HEDERA_OPERATOR_KEY_FILE, or set operator_command",
        )
    secret = settings.operator_key.get_secret_value().strip().lower().removeprefix("0x")
    try:
        return KeySigner(ChainKey(parse_hex(f"0x{secret}", 32, field="hedera.operator_key")))
    except InvalidInput:
        raise InvalidInput(
            "hedera.operator_key: must be the 64 hex digits of an ECDSA key (secp256k1)",
            field="hedera.operator_key",
        ) from None


async def _on_hedera(parts: LedgerParts, network: Profile, stack: AsyncExitStack) -> Ledger:
    topics = await PostgresHederaTopics(parts.database).all()
    remedy = "run `chargera ledger init`, which shows what it costs before it does anything"
    if not topics:
        raise Refused(f"this installation has no topic on {network.name} yet", remedy=remedy)
    present = topics[-1]
    if present.network != network.name:
        raise Refused(
            f"this data folder is of the network {present.network}, not {network.name}",
            field="ledger.network",
            remedy="use another data folder, or the network that it was initialised on",
        )
    hedera = await open_hedera(parts, network, stack)
    submit_key = FileSigner(parts.data_dir / SUBMIT_KEY_FILE)
    topic = HederaTopic(
        present.topic_id,
        hedera.client,
        hedera.delivery,
        parts.clock,
        [submit_key],
        former=[row.topic_id for row in topics[:-1]],
    )
    funds = FundsWatch(
        hedera.chain.mirror,
        hedera.client.payer_account_id,
        present.topic_id,
        parts.clock,
        parts.settings.hedera.days_left_min,
    )
    await stack.enter_async_context(Loops().running("funds", funds.look, FUNDS_POLL_S))
    return Ledger(
        topic,
        hedera.chain,
        network,
        # A relay gives logs of a thousand blocks at a time, and a day has forty times as many.
        rpc=f"mirror:{network.mirrors[0]}",
        hedera=hedera,
        topics=tuple(topics),
        poll_s=parts.settings.hedera.poll_s,
        funds=funds,
    )


def _nodes(text: str) -> dict[str, str]:
    found = {}
    for part in _listed(text):
        address, _, account_id = part.partition("=")
        found[address] = account_id
    return found


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


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
