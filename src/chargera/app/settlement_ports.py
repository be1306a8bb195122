"""What settlement needs from the rooms above: contracts, senders, what the network agreed on.

Addresses and digests are text here (`0x` and hex, addresses with their checksum), amounts minor
units of their asset, chain times Unix seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from chargera.domain.errors import Refused
from chargera.domain.policy import PolicyVersion, version_at
from chargera.proofs.chain_values import address_text

# What the network agreed on ---------------------------------------------------------------------


@dataclass(slots=True)
class NetworkTerms:
    """The chain that this network settles on, and its policy as far as it is known here."""

    chain_id: int
    contracts: Mapping[str, str]
    """Addresses by the names of the contracts."""
    operator_id: str
    gateway: str | None = None
    """Who prepays fiat sessions here; None: nobody, so they are payable off chain."""
    policies: Sequence[PolicyVersion] = field(default_factory=list)
    """In order of their numbers."""

    @property
    def hub(self) -> str:
        """The address of the SettlementHub."""
        return self.contracts["SettlementHub"]

    @property
    def c4e(self) -> str:
        """The address of the network's token."""
        return self.contracts["C4EToken"]

    def policy_at(self, at_s: int) -> PolicyVersion | None:
        """Return the version in force at a time; None before the first."""
        return version_at(self.policies, at_s)

    def latest(self) -> PolicyVersion:
        """Return the newest version."""
        return self.policies[-1]

    def listed(self) -> list[str]:
        """Return the addresses of the assets that bills may be paid in."""
        return [address_text(row.asset) for row in self.latest().assets]


# The chain --------------------------------------------------------------------------------------


class ContractRefused(Refused):
    """A contract does not do this: by which of its rules, and about what."""

    code = "contract_refused"

    def __init__(self, rule: str, arguments: Mapping[str, Any], message: str) -> None:
        """Hold the name of the contract's error and what it says."""
        super().__init__(message, remedy="the rule's name says what stands against it")
        self.rule = rule
        self.arguments = arguments


class Contracts(Protocol):
    """The network's contracts, read by name."""

    @property
    def chain_id(self) -> int:
        """The chain's number."""

    def address(self, contract: str) -> str:
        """Return the address of a contract by its name."""

    async def read(self, contract: str, function: str, *arguments: Any) -> Any:
        """Return what a function answers now; structs as mappings with attributes.

        Raises Refused with the contract's own error, Unavailable if the chain does not answer.
        """

    async def events(
        self,
        contract: str,
        event: str,
        topics: Sequence[bytes | None] = (),
        *,
        from_block: int = 0,
    ) -> Sequence[Any]:
        """Return the events of that name with these indexed members, in order of the chain.

        Each has `members` by name, `transaction_hash`, `block_number` and `block_time` in Unix
        seconds.
        """


class Sender(Protocol):
    """One account that sends transactions; each is stored before it is sent."""

    @property
    def address(self) -> str:
        """Its address."""

    async def send(self, purpose: str, contract: str, function: str, *arguments: Any) -> str:
        """Have one effect for one purpose, ever, and return its transaction hash.

        A purpose that was sent before is not sent again as another transaction. Raises
        ContractRefused with the contract's own error (then nothing was sent), Unavailable if the
        outcome is not known: ask again later.
        """


@dataclass(frozen=True, slots=True)
class StoredSend:
    """A transaction that was stored before it was sent; `outcome` None: not known yet."""

    purpose: str
    sender: str
    nonce: int
    raw: bytes
    transaction_hash: str
    outcome: str | None = None


class SendStore(Protocol):
    """Transactions in the database; each method is one commit, durable on return."""

    async def find(self, purpose: str) -> StoredSend | None:
        """Return what was stored for a purpose."""

    async def unsettled(self, sender: str) -> Sequence[StoredSend]:
        """Return an account's transactions whose outcome is not known, by nonce."""

    async def next_nonce(self, sender: str) -> int:
        """Return one more than the highest nonce that was stored; 0 without any."""

    async def add(self, send: StoredSend, at: datetime) -> None:
        """Store a transaction."""

    async def succeeded(self, purpose: str) -> None:
        """Note that it was executed."""

    async def failed(self, purpose: str) -> None:
        """Note that it had no effect: its purpose may have another transaction."""
