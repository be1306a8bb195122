"""Which network: the profiles embedded, local, testnet, mainnet and custom, as data.

A profile names nodes, mirrors, a relay, a chain id and the public explorer. Addresses of public
networks change; whoever runs one may give others in the settings (see `with_addresses`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from chargera.domain.errors import InvalidInput
from chargera.ledger.hedera.client import HapiNetwork
from chargera.proofs.chain_values import address_text, hex_text
from chargera.proofs.running_hash import parse_entity_id


class NetworkName(StrEnum):
    """The profiles there are."""

    EMBEDDED = "embedded"
    LOCAL = "local"
    TESTNET = "testnet"
    MAINNET = "mainnet"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class Explorer:
    """A public explorer; `base` is the part of its addresses before what is shown."""

    base: str

    def topic(self, topic_id: str) -> str:
        """Return the page of a topic."""
        return f"{self.base}/topic/{topic_id}"

    def message(self, topic_id: str, sequence_number: int, consensus_timestamp: str) -> str:
        """Return the page of one message: that of the transaction of its time."""
        return f"{self.base}/transaction/{consensus_timestamp}?tid={topic_id}-{sequence_number}"

    def transaction(self, transaction_hash: bytes) -> str:
        """Return the page of a transaction of the EVM."""
        return f"{self.base}/transaction/{hex_text(transaction_hash)}"

    def contract(self, address: bytes) -> str:
        """Return the page of a contract."""
        return f"{self.base}/contract/{address_text(address)}"

    def account(self, account_id: str) -> str:
        """Return the page of an account."""
        return f"{self.base}/account/{account_id}"


@dataclass(frozen=True, slots=True)
class Profile:
    """A network to anchor and settle on; the embedded one has no addresses at all."""

    name: NetworkName
    chain_id: int | None = None
    """None: the embedded chain draws its own."""
    nodes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Account ids by `host:port`; empty on public networks, whose address book tells."""
    mirrors: tuple[str, ...] = ()
    relay: str | None = None
    """A JSON-RPC relay, for wallets."""
    explorer: Explorer | None = None
    is_public: bool = False
    """Whether strangers see what is anchored there."""
    is_real_money: bool = False
    tls_roots: bytes | None = None

    @property
    def is_hedera(self) -> bool:
        """Whether it is a network of Hedera, and not the embedded one."""
        return self.name is not NetworkName.EMBEDDED

    @property
    def network(self) -> HapiNetwork:
        """Its nodes."""
        return HapiNetwork(str(self.name), self.nodes, self.tls_roots)

    def with_addresses(
        self,
        *,
        nodes: Mapping[str, str] | None = None,
        mirrors: Sequence[str] = (),
        relay: str | None = None,
    ) -> "Profile":
        """Return the profile with other addresses where some are given. Raises InvalidInput.

        Nodes of a public network cannot be given: the address book's certificates protect them.
        """
        if nodes and self.is_public:
            raise InvalidInput(
                f"nodes of {self.name} come from its address book",
                field="nodes",
                remedy="use the profile custom for nodes of your own",
            )
        changed = replace(
            self,
            nodes=MappingProxyType(dict(nodes)) if nodes else self.nodes,
            mirrors=tuple(mirrors) or self.mirrors,
            relay=relay or self.relay,
        )
        changed.check()
        return changed

    def check(self) -> None:
        """Raise InvalidInput unless there is all that a network needs."""
        if not self.is_hedera:
            return
        if self.chain_id is None:
            raise InvalidInput("the chain id of the network is needed", field="chain_id")
        if not self.mirrors:
            raise InvalidInput("the address of a mirror node is needed", field="mirrors")
        if not self.nodes and not self.is_public:
            raise InvalidInput(
                "the address of a node is needed",
                field="nodes",
                remedy="give HOST:PORT=ACCOUNT, such as 127.0.0.1:50211=0.0.3",
            )
        for address, account_id in self.nodes.items():
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
                raise InvalidInput(f"nodes: {address} is not HOST:PORT", field="nodes")
            parse_entity_id(account_id, "nodes")
        for url in (*self.mirrors, *([self.relay] if self.relay else [])):
            if not url.startswith(("http://", "https://")):
                raise InvalidInput(f"{url} is no address of http or https", field="mirrors")


PROFILES: Mapping[NetworkName, Profile] = MappingProxyType(
    {
        NetworkName.EMBEDDED: Profile(NetworkName.EMBEDDED),
        NetworkName.LOCAL: Profile(  # as Solo sets one up on this machine
            NetworkName.LOCAL,
            chain_id=298,
            nodes=MappingProxyType({"127.0.0.1:35211": "0.0.3"}),
            mirrors=("http://127.0.0.1:38081",),
            relay="http://127.0.0.1:37546",
        ),
        NetworkName.TESTNET: Profile(
            NetworkName.TESTNET,
            chain_id=296,
            mirrors=("https://testnet.mirrornode.hedera.com",),
            relay="https://testnet.hashio.io/api",
            explorer=Explorer("https://hashscan.io/testnet"),
            is_public=True,
        ),
        NetworkName.MAINNET: Profile(
            NetworkName.MAINNET,
            chain_id=295,
            mirrors=("https://mainnet-public.mirrornode.hedera.com",),
            relay="https://mainnet.hashio.io/api",
            explorer=Explorer("https://hashscan.io/mainnet"),
            is_public=True,
            is_real_money=True,
        ),
    }
)
"""All but `custom`, which `custom` makes."""


def profile(name: str) -> Profile:
    """Return a profile by its name. Raises InvalidInput, also for `custom`: see `custom`."""
    try:
        return PROFILES[NetworkName(name)]
    except (KeyError, ValueError):
        known = ", ".join(PROFILES)
        raise InvalidInput(
            f"there is no profile {name}", field="network", remedy=f"use one of {known}"
        ) from None


def custom(
    *,
    chain_id: int,
    nodes: Mapping[str, str],
    mirrors: Sequence[str],
    relay: str | None = None,
    explorer: str | None = None,
    tls_roots: bytes | None = None,
) -> Profile:
    """Return the profile of a network of one's own. Raises InvalidInput, naming the field."""
    made = Profile(
        NetworkName.CUSTOM,
        chain_id=chain_id,
        nodes=MappingProxyType(dict(nodes)),
        mirrors=tuple(mirrors),
        relay=relay,
        explorer=None if explorer is None else Explorer(explorer.rstrip("/")),
        tls_roots=tls_roots,
    )
    made.check()
    return made
