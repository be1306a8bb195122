"""The interfaces of the event log and of the ledger topic that its heads are anchored on.

Rows and files are reached through these; `Clock` and `Entropy` are those of `app.ports`. All
times are aware UTC network time. Whatever cannot be reached raises Unavailable, and a later try
may succeed; Refused and Conflict are final.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.checkpoint import Checkpoint

# The log ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A signed head as it is stored: the note, and when the network's clock saw it signed."""

    tree_size: int
    note: bytes
    signed_at: datetime


class LogStore(Protocol):
    """Entries and signed heads in the database."""

    async def size(self) -> int:
        """Return how many entries are durable: indexes 0 to size - 1, without holes."""

    async def entries_from(self, log_index: int, limit: int) -> Sequence[bytes]:
        """Return the entries with this and the following indexes, at most `limit`.

        Contiguous: fewer only at the end of the log. Raises Refused if one is missing before it.
        """

    async def last_head(self) -> SignedHead | None:
        """Return the largest signed head, None before the first."""

    async def head_covering(self, log_index: int) -> SignedHead | None:
        """Return the smallest signed head that covers the entry, None if there is none yet."""

    async def add_head(self, head: SignedHead) -> None:
        """Store a head; durable on return.

        The same note again is no change. Raises Conflict if another note has that size.
        """


class Lease(Protocol):
    """The right to be the log's one writer, held until it is released or the holder is gone."""

    async def acquire(self) -> bool:
        """Take the lease, or keep it; False if another process has it."""

    async def is_held(self) -> bool:
        """Say whether it is still held; once False, it must be acquired anew."""

    async def release(self) -> None:
        """Give it up; another process may have it now."""


class HeadSigner(Protocol):
    """Whoever holds the log's signing key: it signs extensions of its own last head, nothing else.

    Its methods may block (files, another process): call them in a thread.
    """

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The verifier keys under which its signatures are valid, the present one first."""

    def last(self) -> Checkpoint | None:
        """Return the last head that it signed, None before the first."""

    def sign(
        self, old: Checkpoint | None, new: Checkpoint, consistency_proof: Sequence[bytes]
    ) -> bytes:
        """Return the signed note of `new`, the same bytes whenever the same head is asked for.

        `old` is the last head that it signed. Raises Refused if `new` is not shown to extend it,
        or if what is stored does not have that root; Unavailable if it cannot be asked.
        """


# The topic -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic as its last message left it; `consensus_timestamp` is zero before the first."""

    topic_id: str
    memo: str
    payer_account_id: str
    running_hash: bytes
    sequence_number: int
    consensus_timestamp_ns: int


@dataclass(frozen=True, slots=True)
class MessageRange:
    """Which messages of a topic, both bounds included; None: no bound."""

    from_sequence_number: int = 1
    to_sequence_number: int | None = None
    from_timestamp_ns: int = 0
    to_timestamp_ns: int | None = None
    newest_first: bool = False


class Topic(Protocol):
    """A topic of Hedera's consensus service, or what stands for one."""

    async def info(self) -> TopicInfo:
        """Return the topic's state."""

    async def submit(self, hedera_transaction_id: str, message: bytes) -> AnchoredMessage:
        """Send one message of at most 1,024 bytes; return it once it has its place on the topic.

        A transaction id (`payer@seconds.nanoseconds`, its valid start) has one effect ever:
        raises Conflict if it was submitted before (ask `find`), Refused if the topic will never
        take it (too long, another payer, valid start not in the last two minutes), Unavailable if
        the answer is not known: it may or may not have been taken.
        """

    async def find(self, hedera_transaction_id: str) -> AnchoredMessage | None:
        """Return the message of that transaction.

        None is a promise that it is not there as of the topic's clock; where that cannot be told
        (a mirror lags) this raises Unavailable.
        """

    async def messages(self, within: MessageRange, limit: int) -> Sequence[AnchoredMessage]:
        """Return the messages of a range in its order, at most `limit`."""


class TopicStore(Protocol):
    """Rows of the embedded topic."""

    async def create(self, info: TopicInfo) -> None:
        """Make the topic unless it exists. Durable on return."""

    async def info(self, topic_id: str) -> TopicInfo:
        """Return the topic. Raises NotFound."""

    async def append(
        self,
        topic_id: str,
        hedera_transaction_id: str,
        follow: Callable[[TopicInfo], AnchoredMessage],
    ) -> AnchoredMessage:
        """Store the message that `follow` makes for the topic's present state; durable on return.

        Appends are one after the other. Raises Conflict if the transaction id is there already,
        and whatever `follow` raises; then nothing has changed.
        """

    async def find(self, hedera_transaction_id: str) -> AnchoredMessage | None:
        """Return the message of that transaction, None if there is none."""

    async def messages(
        self, topic_id: str, within: MessageRange, limit: int
    ) -> Sequence[AnchoredMessage]:
        """Return the messages of a range in its order, at most `limit`."""


# Anchoring -------------------------------------------------------------------------------------


class AnchorState(StrEnum):
    """How far an anchor has come."""

    PENDING = "pending"
    SUBMITTED = "submitted"
    """Sent at least once; whether it arrived may be unknown."""
    ANCHORED = "anchored"
    FAILED = "failed"
    """It never reached the topic and never will: a later head was anchored in its place."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A head that is to be, or is, a message of the topic."""

    tree_size: int
    note: bytes
    hedera_transaction_id: str
    state: AnchorState
    attempts: int
    requested_at: datetime
    message: AnchoredMessage | None = None
    anchored_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AnchorSituation:
    """What the policy decides from."""

    newest: SignedHead | None
    """The largest signed head."""
    last_anchored: Anchor | None
    outstanding: Anchor | None
    """Asked for, and neither anchored nor given up; there is at most one."""
    sessions_since: int
    """Charging sessions that ended in the newest head and after the last anchored one."""
    unanchored_since: datetime | None
    """When the first head after the last anchored one was signed; None if there is none."""


class AnchorStore(Protocol):
    """Anchors in the database; each method is one commit, durable on return."""

    async def situation(self) -> AnchorSituation:
        """Return the present situation, read in one moment."""

    async def request(
        self, head: SignedHead, hedera_transaction_id: str, requested_at: datetime
    ) -> None:
        """Store a pending anchor and, in the same commit, the job that delivers it.

        Nothing changes if that size is asked for already, unless it failed: then it starts anew.
        """

    async def sending(self, anchor: Anchor, hedera_transaction_id: str) -> None:
        """Note, before it happens, that the anchor is sent (again) under this transaction id."""

    async def settle(
        self, anchor: Anchor, message: AnchoredMessage | None, settled_at: datetime
    ) -> None:
        """Note the end: anchored as `message`, or failed if that is None."""

    async def anchors(self, from_size: int, limit: int) -> Sequence[Anchor]:
        """Return anchors of at least `from_size` in order of size, at most `limit`.

        The first anchored one above an entry's index is the entry's anchor.
        """
