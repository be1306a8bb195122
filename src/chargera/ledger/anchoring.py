"""When a head of the log goes onto the topic, and how it gets there exactly once.

The policy decides by network time; what it asks for is stored together with the job that delivers
it, under a transaction id chosen before the first send. An id has one effect ever, and expires:
so after a crash or a lost answer the topic is asked for it, and only an id that can no longer
have an effect is replaced by another.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from chargera.app.log_ports import (
    Anchor,
    AnchorSituation,
    AnchorState,
    AnchorStore,
    SignedHead,
    Topic,
)
from chargera.app.ports import Clock
from chargera.domain.errors import (
    ChargEraError,
    Conflict,
    NotFound,
    Refused,
    Unavailable,
    Undetermined,
)
from chargera.ledger.transaction_id import HederaTransactionId
from chargera.proofs.anchor import AnchoredMessage

DELIVER_JOB = "anchor.deliver"
"""Name of the job that `AnchorStore.request` defers; its argument is `tree_size`."""

OVERDUE = timedelta(minutes=5)
"""So much beyond the interval without an anchor is an incident (promise P3)."""

CONSENSUS = timedelta(seconds=10)
"""What consensus and a mirror take at most, usually; the embedded topic takes nothing."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AnchorPolicy:
    """Whichever comes first; without a new head nothing is anchored."""

    interval: timedelta = timedelta(hours=1)
    """Network time from one anchor to the next: with consensus, the tamper window."""
    sessions_max: int = 256
    """Charging sessions that end before an anchor is due."""


@dataclass(frozen=True, slots=True)
class AnchoringHealth:
    """What a health check and the metrics show, as of the last look."""

    healthy: bool
    reason: str | None
    lag_s: float
    """Network time for which the oldest head without an anchor has waited."""
    anchored_size: int
    window: timedelta = timedelta()
    """For so long a rewrite could go unseen: the policy's interval, and consensus."""


class Anchoring:
    """Brings heads onto a topic: `tick` by policy, `anchor_now` on demand, `deliver` as job."""

    def __init__(
        self,
        store: AnchorStore,
        topic: Topic,
        clock: Clock,
        policy: Callable[[], AnchorPolicy] = AnchorPolicy,
        on_anchored: Callable[[Anchor], None] | None = None,
    ) -> None:
        """Anchor heads in `store` on `topic`; `on_anchored` is told each and returns quickly.

        `policy` is asked at every look, for a network may change its policy while it runs.
        """
        self._store = store
        self._topic = topic
        self._clock = clock
        self._ask_policy = policy
        self._on_anchored = on_anchored or (lambda anchor: None)
        self._turn = asyncio.Lock()
        self._resumed = False
        self._not_before: datetime | None = None
        self._situation: AnchorSituation | None = None
        self._fault: ChargEraError | None = None

    @property
    def policy(self) -> AnchorPolicy:
        """The policy in force; its interval is the longest time that a rewrite can go unseen."""
        return self._ask_policy()

    @property
    def health(self) -> AnchoringHealth:
        """The present state; unhealthy means that anchors do not arrive as promised, and why."""
        situation, lag = self._situation, timedelta()
        if situation is not None and situation.unanchored_since is not None:
            lag = max(self._clock.now() - situation.unanchored_since, lag)
        reason = self._fault.message if self._fault else None
        if reason is None and lag > self.policy.interval + OVERDUE:
            reason = f"no anchor for {lag}"
        last = situation.last_anchored if situation else None
        return AnchoringHealth(
            healthy=reason is None,
            reason=reason,
            lag_s=lag.total_seconds(),
            anchored_size=last.tree_size if last else 0,
            window=self.policy.interval + CONSENSUS,
        )

    async def tick(self) -> None:
        """Ask for an anchor if one is due by network time, and deliver it.

        Does not raise for a part that fails: `health` tells, and the job tries until it is done.
        The first call also takes up what an earlier process has left.
        """
        async with self._turn:
            with suppress(Undetermined, Refused), self._noting_faults():
                situation = await self._look()
                is_first, self._resumed = not self._resumed, True
                if situation.outstanding is not None:
                    if is_first:
                        await self._deliver(situation)
                elif situation.newest is not None and self._is_due(situation, situation.newest):
                    await self._request_and_deliver(situation.newest)
                elif self._not_before is None:
                    self._fault = None

    async def anchor_now(self) -> Anchor:
        """Anchor the newest head, whatever the policy says; return its anchor with its message.

        Raises NotFound before the first head, Unavailable if the topic does not answer (the anchor
        is then delivered as soon as it does), Refused if the topic will not take it.
        """
        async with self._turn:
            with self._noting_faults():
                situation = await self._look()
                if situation.newest is None:
                    raise NotFound("the log has no signed head yet", remedy="try again in a moment")
                if situation.outstanding is not None:
                    await self._deliver(situation)
                size = situation.newest.tree_size
                if not await self._is_anchored(size):
                    await self._request_and_deliver(situation.newest)
                return (await self._store.anchors(size, 1))[0]

    async def deliver(self, tree_size: int) -> None:
        """Bring an anchor that was asked for onto the topic; nothing to do if it is there.

        The function of the job `DELIVER_JOB`. Raises Unavailable to be tried again.
        """
        async with self._turn:
            with self._noting_faults():
                situation = await self._look()
                outstanding = situation.outstanding
                if outstanding is not None and outstanding.tree_size == tree_size:
                    await self._deliver(situation)

    def _is_due(self, situation: AnchorSituation, newest: SignedHead) -> bool:
        last, now = situation.last_anchored, self._clock.now()
        if self._not_before is not None and now < self._not_before:
            return False
        if last is None:
            return True  # before the first anchor nothing is proven: no reason to wait
        if newest.tree_size <= last.tree_size:
            return False
        waited = now - min(last.requested_at, now)
        return (
            waited >= self.policy.interval or situation.sessions_since >= self.policy.sessions_max
        )

    async def _look(self) -> AnchorSituation:
        self._situation = await self._store.situation()
        return self._situation

    async def _is_anchored(self, tree_size: int) -> bool:
        anchors = await self._store.anchors(tree_size, 1)
        return bool(anchors) and (anchors[0].tree_size, anchors[0].state) == (
            tree_size,
            AnchorState.ANCHORED,
        )

    async def _request_and_deliver(self, head: SignedHead) -> None:
        transaction_id = await self._new_id(head.tree_size)
        await self._store.request(head, transaction_id, self._clock.now())
        situation = await self._look()
        if situation.outstanding is not None:
            await self._deliver(situation)

    async def _deliver(self, situation: AnchorSituation) -> None:
        """Bring the outstanding anchor onto the topic, or a later head in its place."""
        anchor, newest = situation.outstanding, situation.newest
        assert anchor is not None, "only called when there is one"
        assert newest is not None, "an anchor is of a stored head"
        message = None
        if anchor.attempts:  # it may have arrived: ask before sending again
            message = await self._topic.find(anchor.hedera_transaction_id)
        if message is None:
            transaction_id = anchor.hedera_transaction_id
            if self._is_expired(transaction_id):
                # From here on that id has no effect any more, so another may take its place; and
                # after so long a time the newest head says all that this one would have said.
                if newest.tree_size > anchor.tree_size:
                    await self._store.settle(anchor, None, self._clock.now())
                    await self._request_and_deliver(newest)
                    return
                transaction_id = await self._new_id(anchor.tree_size)
            message = await self._send(anchor, transaction_id)
        if message.message != anchor.note:
            raise Unavailable(
                f"topic message {message.sequence_number} is said to be ours, and is not",
                remedy="ask another mirror; this one lies",
            )
        now = self._clock.now()
        await self._store.settle(anchor, message, now)
        self._fault = self._not_before = None
        await self._look()
        self._on_anchored(
            replace(anchor, state=AnchorState.ANCHORED, message=message, anchored_at=now)
        )

    async def _send(self, anchor: Anchor, transaction_id: str) -> AnchoredMessage:
        await self._store.sending(anchor, transaction_id)
        try:
            return await self._topic.submit(transaction_id, anchor.note)
        except Conflict:
            message = await self._topic.find(transaction_id)
            if message is None:
                raise Unavailable("the topic knows the transaction but not its message") from None
            return message
        except Refused as error:
            if self._is_expired(transaction_id):  # the clock has moved on while it was sent
                raise Unavailable(error.message, remedy="it is sent under a new id") from error
            await self._store.settle(anchor, None, self._clock.now())
            self._not_before = self._clock.now() + self.policy.interval
            raise

    async def _new_id(self, tree_size: int) -> str:
        info = await self._topic.info()
        return str(HederaTransactionId.new(info.payer_account_id, self._clock.now(), tree_size))

    def _is_expired(self, transaction_id: str) -> bool:
        return HederaTransactionId.parse(transaction_id).is_expired(self._clock.now())

    @contextmanager
    def _noting_faults(self) -> Iterator[None]:
        try:
            yield
        except (Undetermined, Refused) as error:
            if self._fault is None or self._fault.message != error.message:
                _log.warning("anchoring waits: %s", error.message)
            self._fault = error
            raise
