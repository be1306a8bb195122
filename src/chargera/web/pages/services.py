"""What the pages are wired with: the use cases of `app` that need more than a unit of work."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from chargera.app.admin_ports import AdminDatabase, IsConnected
from chargera.app.billing import ReviewDecision
from chargera.app.commands import StationControl
from chargera.app.logins import SignIn
from chargera.app.ports import Clock, Feed
from chargera.app.settlement_ports import Contracts, NetworkTerms
from chargera.app.station_tests import StationTests
from chargera.proofs.trust import Trust


class Explorer(Protocol):
    """A public site that shows the same ledger: addresses of its pages."""

    def message(self, topic_id: str, sequence_number: int, consensus_timestamp: str) -> str:
        """Return the page of a message of a topic."""

    def transaction(self, transaction_hash: bytes) -> str:
        """Return the page of a transaction by its hash of 32 bytes."""

    def contract(self, address: bytes) -> str:
        """Return the page of a contract by its address of 20 bytes."""


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """What every page says of the network that it belongs to."""

    name: str
    operator_id: str
    vkeys: tuple[str, ...]
    """Verifier keys of the log, the present one first."""
    simulated: bool
    """Stations, drivers or the ledger are software, and every page says so."""
    explorer: Explorer | None = None
    """Where strangers look at the ledger; None: it is seen nowhere else."""


@dataclass(frozen=True, slots=True)
class PageSettlement:
    """What settles on chain, as far as pages read it."""

    terms: NetworkTerms
    contracts: Contracts
    own_attesters: tuple[str, ...]
    """Addresses of the attesters that run as processes of this server."""
    rpc: str | None = None
    """Where wallets reach the chain; None: at this server's own `/rpc`."""


@dataclass(frozen=True, slots=True)
class PageServices:
    """Everything that pages call; bootstrap makes it, tests make a small one."""

    network: NetworkFacts
    database: AdminDatabase
    clock: Clock
    feed: Feed
    is_connected: IsConnected
    control: StationControl
    tests: StationTests
    sign_in: SignIn
    link_secret: bytes
    """Makes and checks the unguessable links of sessions."""
    receipt: Callable[[str], Awaitable[bytes]]
    """The receipt of a billed session; its caller has checked who may read it.

    Raises NotFound, Conflict without a bill, Refused after erasure.
    """
    decide_review: Callable[[str, ReviewDecision, str], Awaitable[None]]
    """Bill a session in review: session id, decision, who decided; checks nothing, commits.

    Raises Conflict if it is not in review, InvalidInput for values that cannot be billed.
    """
    tlog_proof: Callable[[int], Awaitable[bytes]]
    """The proof of an entry under the newest head; NotFound until a head covers it."""
    trust: Callable[[], Awaitable[Trust]]
    """This network's own trust file, for its own receipts."""
    secure_cookies: bool
    """Served over TLS: cookies are never sent without."""
    anchor_window: Callable[[], timedelta] | None = None
    """For how long a rewrite could go unseen by the policy in force; None: it is not told."""
    settlement: PageSettlement | None = None
    """None: this network settles nothing on chain, and says so."""
