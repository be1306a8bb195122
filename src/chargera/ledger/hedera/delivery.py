"""Brings a transaction to a known outcome, exactly once, whatever is lost on the way.

`Delivery` sends under one id until it knows what became of it: by the receipt, else by the
mirror. `Outbox` chooses the ids: one is stored before the first send, and another takes its place
only when consensus was reached without effect, or when it has expired and a mirror that is caught
up beyond its window does not know it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from chargera.app.hedera_ports import HederaSend, HederaSendState, HederaSendStore
from chargera.app.ports import Clock
from chargera.domain.errors import ChargEraError, Conflict, Unavailable
from chargera.ledger.hedera.client import HapiReceipt
from chargera.ledger.hedera.failures import (
    DUPLICATE,
    SUCCESS,
    Action,
    HapiFailure,
    Stage,
    refusal,
    rule,
)
from chargera.ledger.hedera.mirror import HederaMirror, MirrorTransaction
from chargera.ledger.transaction_id import VALID_DURATION_NS, HederaTransactionId

Submit = Callable[[HederaTransactionId], Awaitable[None]]
"""Sends once to one node under the id; raises HapiFailure."""

Pause = Callable[[float], Awaitable[None]]

SENDS_MAX = 5
UNANSWERED_MAX = 2
"""Sends that a node has taken and that no receipt came of, before somebody else must ask."""
RECEIPT_TRIES = 12
RECEIPT_TRIES_DOUBTFUL = 2
MIRROR_TRIES = 20
PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 1.5
"""Pauses double from the first to the longest: receipts in about 12 s, mirrors in about 25 s."""

_log = logging.getLogger(__name__)


class Receipts(Protocol):
    """Whoever can be asked for receipts: `HapiClient`."""

    async def receipt(self, transaction_id: HederaTransactionId) -> HapiReceipt | None:
        """Return the receipt, None while there is none. Raises HapiFailure."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What consensus made of a transaction id.

    From a receipt the topic's numbers are known, from a mirror the time of consensus.
    """

    status: str
    entity_id: str | None = None
    consensus_timestamp: str | None = None
    topic_sequence_number: int | None = None
    topic_running_hash: bytes | None = None


class Delivery:
    """Sends under given ids; see the module."""

    def __init__(
        self, receipts: Receipts, mirror: HederaMirror, clock: Clock, pause: Pause = asyncio.sleep
    ) -> None:
        """Ask `receipts` and `mirror` what became of what was sent; `pause` waits for seconds."""
        self._receipts = receipts
        self._clock = clock
        self.mirror = mirror
        self.pause = pause

    async def bring(self, transaction_id: HederaTransactionId, submit: Submit) -> Outcome:
        """Send until the outcome under this id is known, and return it, success or not.

        Raises Unavailable where it is not known in good time (ask `resolve`, or call this again
        with the same id), and what the table of failures says where a node refuses it for good.
        """
        failure: HapiFailure | None = None
        unanswered, uncertain = 0, False
        pauses = growing_pauses()
        for _ in range(SENDS_MAX):
            try:
                await submit(transaction_id)
                failure = None
            except HapiFailure as raised:
                failure = raised
                _log.warning("%s: %s", transaction_id, raised)
            if failure is not None and failure.rule.action is Action.STOP:
                # What is refused now may have been taken before.
                raise (_not_known(transaction_id) if uncertain else failure.error) from failure
            tries = _tries_after(failure)
            outcome = await self._await_outcome(transaction_id, tries)
            if outcome is not None:
                return outcome
            unanswered += failure is None  # it was taken, and then lost within the network
            uncertain = uncertain or tries > 0
            if unanswered == UNANSWERED_MAX or transaction_id.is_expired(self._clock.now()):
                break
            await self.pause(next(pauses))
        if failure is None:
            raise _not_known(transaction_id)
        told = failure.error
        raise (told if isinstance(told, Unavailable) else _not_known(transaction_id)) from failure

    async def known(self, transaction_id: HederaTransactionId) -> Outcome | None:
        """Return the outcome if receipt or mirror tell it now; None says nothing."""
        try:
            receipt = await self._receipts.receipt(transaction_id)
        except HapiFailure:
            receipt = None
        if receipt is not None and _is_final(receipt.status):
            return Outcome(
                receipt.status,
                receipt.entity_id,
                None,
                receipt.topic_sequence_number,
                receipt.topic_running_hash,
            )
        try:
            return _outcome(await self.mirror.transactions(transaction_id))
        except Unavailable:
            return None

    async def resolve(self, transaction_id: HederaTransactionId) -> Outcome | None:
        """Return the outcome by the mirror; None is a promise that there never will be one.

        Raises Unavailable while that cannot be told: the mirror does not know the id, but is not
        past its window either.
        """
        known_until_ns = (await self.mirror.last_block()).begins_ns  # before it is asked for the id
        outcome = _outcome(await self.mirror.transactions(transaction_id))
        if outcome is not None:
            return outcome
        if known_until_ns > transaction_id.valid_start_ns + VALID_DURATION_NS:
            return None
        raise Unavailable(
            f"what became of {transaction_id} is not known yet: the mirror is not past the end "
            "of its validity",
            remedy="ask again in two minutes",
        )

    async def _await_outcome(
        self, transaction_id: HederaTransactionId, tries: int
    ) -> Outcome | None:
        pauses = growing_pauses()
        for attempt in range(tries):
            outcome = await self.known(transaction_id)
            if outcome is not None:
                return outcome
            if attempt + 1 < tries:
                await self.pause(next(pauses))
        return None


class Outbox:
    """Has one effect for one purpose, ever, by as many ids as that takes."""

    def __init__(
        self,
        delivery: Delivery,
        store: HederaSendStore,
        clock: Clock,
        payer_account_id: str,
        random: Callable[[int], bytes],
    ) -> None:
        """Send by `delivery`; ids are of `payer_account_id` and kept in `store`."""
        self._delivery = delivery
        self._store = store
        self._clock = clock
        self._payer = payer_account_id
        self._random = random

    async def once(self, purpose: str, submit: Submit) -> Outcome:
        """Return the success that the purpose has, or had before.

        Raises Unavailable while it is not known, or what the table of failures says where nothing
        came of it; the purpose may then be tried again.
        """
        outcome = await self.attempt(purpose, submit)
        if outcome.status != SUCCESS:
            raise refusal(outcome.status, purpose)
        return outcome

    async def attempt(
        self, purpose: str, submit: Submit, effects: frozenset[str] = frozenset({SUCCESS})
    ) -> Outcome:
        """Return what consensus made of the purpose; one of `effects` ends it for ever.

        With any other status nothing came of it, and the next attempt is a new transaction.

        Raises Unavailable while it is not known, and what the table of failures says where a node
        refuses it: then it stays open under its id.
        """
        send = await self._store.find(purpose)
        if send is not None and send.state is HederaSendState.DONE:
            return Outcome(send.status or SUCCESS, send.entity_id)
        if send is not None:
            earlier = HederaTransactionId.parse(send.hedera_transaction_id)
            if earlier.is_expired(self._clock.now()):
                outcome = await self._delivery.resolve(earlier)
                if outcome is not None and await self._settle(send, outcome, effects):
                    return outcome
                if outcome is None:
                    await self._note(replace(send, state=HederaSendState.LOST))
                send = None
        if send is None:
            send = await self._new_send(purpose)
        outcome = await self._delivery.bring(
            HederaTransactionId.parse(send.hedera_transaction_id), submit
        )
        await self._settle(send, outcome, effects)
        return outcome

    async def _new_send(self, purpose: str) -> HederaSend:
        distinction = int.from_bytes(self._random(4), "big")
        now = self._clock.now()
        send = HederaSend(str(HederaTransactionId.new(self._payer, now, distinction)), purpose)
        try:
            await self._store.add(send.hedera_transaction_id, purpose, now)
        except Conflict as error:  # somebody else has begun just now
            raise Unavailable(error.message, remedy=error.remedy) from error
        return send

    async def _settle(self, send: HederaSend, outcome: Outcome, effects: frozenset[str]) -> bool:
        """Note a known outcome; return whether it is the effect."""
        done = outcome.status in effects
        state = HederaSendState.DONE if done else HederaSendState.FAILED
        await self._note(
            replace(send, state=state, status=outcome.status, entity_id=outcome.entity_id)
        )
        return done

    async def _note(self, send: HederaSend) -> None:
        _log.info("%s: %s %s", send.purpose, send.state, send.status or "")
        await self._store.settle(send, self._clock.now())


def growing_pauses() -> Iterator[float]:
    """Give the seconds of one pause after the other, without end."""
    pause_s = PAUSE_FIRST_S
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, PAUSE_MAX_S)


def _outcome(rows: list[MirrorTransaction]) -> Outcome | None:
    """Return what the rows of an id say; duplicates of it had no effect and say nothing."""
    own = [row for row in rows if row.result != DUPLICATE]
    if not own:
        return None
    row = next((row for row in own if row.result == SUCCESS), own[0])
    return Outcome(row.result, row.entity_id, row.consensus_timestamp)


def _tries_after(failure: HapiFailure | None) -> int:
    """Return how often the outcome is asked for before it is sent again."""
    if failure is None or failure.name == DUPLICATE:  # it is on its way
        return RECEIPT_TRIES
    return RECEIPT_TRIES_DOUBTFUL if failure.rule.action is Action.RESOLVE else 0


def _is_final(status: str) -> bool:
    return rule(Stage.RECEIPT, status).action is Action.STOP or status == SUCCESS


def _not_known(transaction_id: HederaTransactionId) -> ChargEraError:
    return Unavailable(
        f"what became of {transaction_id} is not known yet",
        remedy="it is asked for by its id; it is not sent twice",
    )
