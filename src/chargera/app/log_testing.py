"""Doubles of the interfaces in `log_ports`: rows in memory, and faults for every call to them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from chargera.app.log_ports import (
    Anchor,
    AnchorSituation,
    AnchorState,
    MessageRange,
    SignedHead,
    TopicInfo,
)
from chargera.domain.errors import Conflict, NotFound
from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.running_hash import parse_consensus_timestamp


class Faults:
    """Fails the `at`-th call that passes through it, before its effect or after it.

    One instance is shared by several doubles, so that a test can walk through every storage call
    of a scenario: run it with `at` = 1, 2, 3 ... until no fault has struck.
    """

    def __init__(self, at: int = 0, *, after: bool = False, error: Exception | None = None) -> None:
        """Strike at that call, counted from 1 (0: never), with `error`."""
        self.at = at
        self.after = after
        self.error = error or OSError("injected")
        self.calls: list[str] = []

    @property
    def struck(self) -> bool:
        """Whether the fault has happened."""
        return 0 < self.at <= len(self.calls)

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        """Let one call pass, or fail it."""
        self.calls.append(call)
        hit = len(self.calls) == self.at
        if hit and not self.after:
            raise self.error
        yield
        if hit:
            raise self.error


class MemoryLogStore:
    """A `LogStore` in memory; `entries` may be appended to, and damaged, by the test."""

    def __init__(self, faults: Faults | None = None) -> None:
        """Start empty."""
        self.faults = faults or Faults()
        self.entries: list[bytes] = []
        self.heads: dict[int, SignedHead] = {}

    async def size(self) -> int:
        """Return how many entries there are."""
        with self.faults.around("size"):
            return len(self.entries)

    async def entries_from(self, log_index: int, limit: int) -> Sequence[bytes]:
        """Return entries from that index on."""
        with self.faults.around("entries_from"):
            return self.entries[log_index : log_index + limit]

    async def last_head(self) -> SignedHead | None:
        """Return the largest signed head."""
        with self.faults.around("last_head"):
            return self.heads[max(self.heads)] if self.heads else None

    async def head_covering(self, log_index: int) -> SignedHead | None:
        """Return the smallest head that covers the entry."""
        with self.faults.around("head_covering"):
            size = min((size for size in self.heads if size > log_index), default=None)
            return None if size is None else self.heads[size]

    async def add_head(self, head: SignedHead) -> None:
        """Store a head."""
        with self.faults.around("add_head"):
            known = self.heads.setdefault(head.tree_size, head)
            if known.note != head.note:
                raise Conflict(f"two heads of {head.tree_size} entries")


class MemoryLease:
    """A `Lease` among those that share one `holders` list."""

    def __init__(self, holders: "list[MemoryLease] | None" = None) -> None:
        """Compete for the only place in `holders`."""
        self._holders = [] if holders is None else holders

    async def acquire(self) -> bool:
        """Take the lease if nobody else has it."""
        if not self._holders:
            self._holders.append(self)
        return await self.is_held()

    async def is_held(self) -> bool:
        """Say whether this one holds it."""
        return self in self._holders

    async def release(self) -> None:
        """Give it up."""
        if self in self._holders:
            self._holders.remove(self)


class MemoryTopicStore:
    """A `TopicStore` in memory."""

    def __init__(self, faults: Faults | None = None) -> None:
        """Start without a topic."""
        self.faults = faults or Faults()
        self._topics: dict[str, TopicInfo] = {}
        self._messages: dict[str, AnchoredMessage] = {}

    async def create(self, info: TopicInfo) -> None:
        """Make the topic unless it exists."""
        with self.faults.around("create topic"):
            self._topics.setdefault(info.topic_id, info)

    async def info(self, topic_id: str) -> TopicInfo:
        """Return the topic."""
        with self.faults.around("topic info"):
            if topic_id not in self._topics:
                raise NotFound(f"no topic {topic_id}")
            return self._topics[topic_id]

    async def append(
        self,
        topic_id: str,
        hedera_transaction_id: str,
        follow: Callable[[TopicInfo], AnchoredMessage],
    ) -> AnchoredMessage:
        """Store the message that `follow` makes."""
        with self.faults.around("append to topic"):
            if hedera_transaction_id in self._messages:
                raise Conflict(f"DUPLICATE_TRANSACTION: {hedera_transaction_id}")
            message = follow(self._topics[topic_id])
            self._messages[hedera_transaction_id] = message
            self._topics[topic_id] = replace(
                self._topics[topic_id],
                running_hash=message.running_hash,
                sequence_number=message.sequence_number,
                consensus_timestamp_ns=_time_ns(message),
            )
            return message

    async def find(self, hedera_transaction_id: str) -> AnchoredMessage | None:
        """Return the message of that transaction."""
        with self.faults.around("find in topic"):
            return self._messages.get(hedera_transaction_id)

    async def messages(
        self, topic_id: str, within: MessageRange, limit: int
    ) -> Sequence[AnchoredMessage]:
        """Return the messages of a range in its order."""
        with self.faults.around("topic messages"):
            found = [
                message
                for message in self._messages.values()
                if message.topic_id == topic_id and _is_within(message, within)
            ]
            if within.newest_first:
                found.reverse()
            return found[:limit]


def _is_within(message: AnchoredMessage, within: MessageRange) -> bool:
    number, time = message.sequence_number, _time_ns(message)
    last_number, last_time = within.to_sequence_number, within.to_timestamp_ns
    return (
        within.from_sequence_number <= number
        and (last_number is None or number <= last_number)
        and within.from_timestamp_ns <= time
        and (last_time is None or time <= last_time)
    )


def _time_ns(message: AnchoredMessage) -> int:
    seconds, nanoseconds = parse_consensus_timestamp(message.consensus_timestamp)
    return seconds * 10**9 + nanoseconds


class MemoryAnchorStore:
    """An `AnchorStore` in memory, beside the heads of a `MemoryLogStore`."""

    def __init__(self, log: MemoryLogStore, faults: Faults | None = None) -> None:
        """Anchor the heads of `log`."""
        self.faults = faults or Faults()
        self.session_ends: list[int] = []
        """Log indexes of the entries that end a charging session."""
        self.jobs: list[int] = []
        """Tree sizes whose delivery was deferred."""
        self._log = log
        self._anchors: dict[int, Anchor] = {}

    async def situation(self) -> AnchorSituation:
        """Return the present situation."""
        with self.faults.around("situation"):
            anchors = sorted(self._anchors.values(), key=lambda anchor: anchor.tree_size)
            heads = sorted(self._log.heads.values(), key=lambda head: head.tree_size)
            newest = heads[-1] if heads else None
            done = [anchor for anchor in anchors if anchor.state is AnchorState.ANCHORED]
            last = done[-1] if done else None
            last_size = last.tree_size if last else 0
            newest_size = newest.tree_size if newest else 0
            open_states = (AnchorState.PENDING, AnchorState.SUBMITTED)
            return AnchorSituation(
                newest=newest,
                last_anchored=last,
                outstanding=next((a for a in anchors if a.state in open_states), None),
                sessions_since=sum(last_size <= n < newest_size for n in self.session_ends),
                unanchored_since=next(
                    (head.signed_at for head in heads if head.tree_size > last_size), None
                ),
            )

    async def request(
        self, head: SignedHead, hedera_transaction_id: str, requested_at: datetime
    ) -> None:
        """Store a pending anchor and its job."""
        with self.faults.around("request anchor"):
            known = self._anchors.get(head.tree_size)
            if known is None or known.state is AnchorState.FAILED:
                self._anchors[head.tree_size] = Anchor(
                    head.tree_size,
                    head.note,
                    hedera_transaction_id,
                    AnchorState.PENDING,
                    0,
                    requested_at,
                )
                self.jobs.append(head.tree_size)

    async def sending(self, anchor: Anchor, hedera_transaction_id: str) -> None:
        """Note that the anchor is sent."""
        with self.faults.around("sending anchor"):
            known = self._anchors[anchor.tree_size]
            self._anchors[anchor.tree_size] = replace(
                known,
                hedera_transaction_id=hedera_transaction_id,
                state=AnchorState.SUBMITTED,
                attempts=known.attempts + 1,
            )

    async def settle(
        self, anchor: Anchor, message: AnchoredMessage | None, settled_at: datetime
    ) -> None:
        """Note the end."""
        with self.faults.around("settle anchor"):
            self._anchors[anchor.tree_size] = replace(
                self._anchors[anchor.tree_size],
                state=AnchorState.FAILED if message is None else AnchorState.ANCHORED,
                message=message,
                anchored_at=None if message is None else settled_at,
            )

    async def anchors(self, from_size: int, limit: int) -> Sequence[Anchor]:
        """Return anchors in order of size."""
        with self.faults.around("anchors"):
            return [self._anchors[n] for n in sorted(self._anchors) if n >= from_size][:limit]
