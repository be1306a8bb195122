"""The embedded topic: simulated consensus, and to the byte what Hedera would answer.

One process orders its messages, so it proves nothing about time to a stranger; it exists so that
everything around it is the real thing. Running hash, limits, transaction ids and their expiry are
those of Hedera's consensus service.
"""

from collections.abc import Sequence
from typing import Self

from chargera.app.log_ports import MessageRange, TopicInfo, TopicStore
from chargera.app.ports import Clock
from chargera.domain.errors import Refused
from chargera.ledger.transaction_id import HederaTransactionId, timestamp_text, to_ns
from chargera.proofs.anchor import MESSAGE_BYTES_MAX, AnchoredMessage
from chargera.proofs.running_hash import ZERO_HASH, running_hash

NETWORK = "embedded"
"""The name under which pages, health and the trust file say that this topic is simulated."""

TOPIC_ID = "0.0.1001"
PAYER_ACCOUNT_ID = "0.0.1002"
"""The first numbers that a network gives to its users' entities."""

MEMO = "ChargEra checkpoints (embedded topic, simulated)"


class EmbeddedTopic:
    """A `Topic` over rows of the database."""

    def __init__(self, store: TopicStore, clock: Clock, topic_id: str, payer: str) -> None:
        """Speak for the topic in `store`; see `open`."""
        self._store = store
        self._clock = clock
        self._topic_id = topic_id
        self._payer = payer

    @classmethod
    async def open(
        cls,
        store: TopicStore,
        clock: Clock,
        topic_id: str = TOPIC_ID,
        payer_account_id: str = PAYER_ACCOUNT_ID,
    ) -> Self:
        """Return the topic, created unless it exists."""
        await store.create(TopicInfo(topic_id, MEMO, payer_account_id, ZERO_HASH, 0, 0))
        info = await store.info(topic_id)
        return cls(store, clock, topic_id, info.payer_account_id)

    async def info(self) -> TopicInfo:
        """Return the topic's state."""
        return await self._store.info(self._topic_id)

    async def submit(self, hedera_transaction_id: str, message: bytes) -> AnchoredMessage:
        """Put a message on the topic; see `Topic`. Refusals carry Hedera's response code."""
        transaction_id = HederaTransactionId.parse(hedera_transaction_id)

        def follow(topic: TopicInfo) -> AnchoredMessage:
            self._check(transaction_id, message)
            return _next_message(topic, to_ns(self._clock.now()), message)

        return await self._store.append(self._topic_id, hedera_transaction_id, follow)

    async def find(self, hedera_transaction_id: str) -> AnchoredMessage | None:
        """Return the message of that transaction; this topic never lags."""
        return await self._store.find(hedera_transaction_id)

    async def messages(self, within: MessageRange, limit: int) -> Sequence[AnchoredMessage]:
        """Return the messages of a range in its order, at most `limit`."""
        return await self._store.messages(self._topic_id, within, limit)

    def _check(self, transaction_id: HederaTransactionId, message: bytes) -> None:
        """Raise Refused for what the network's precheck would not let through."""
        now = self._clock.now()
        if transaction_id.payer_account_id != self._payer:
            raise Refused("INVALID_SIGNATURE: another account would pay", field="payer_account_id")
        if transaction_id.valid_start_ns > to_ns(now):
            raise Refused("INVALID_TRANSACTION_START: not valid yet")
        if transaction_id.is_expired(now):
            raise Refused("TRANSACTION_EXPIRED: no longer valid", remedy="send it under a new id")
        if not message:
            raise Refused("INVALID_TOPIC_MESSAGE: empty", field="message")
        if len(message) > MESSAGE_BYTES_MAX:
            raise Refused(
                f"MESSAGE_SIZE_TOO_LARGE: {len(message)} bytes, at most {MESSAGE_BYTES_MAX}",
                field="message",
            )


def _next_message(topic: TopicInfo, now_ns: int, message: bytes) -> AnchoredMessage:
    # Consensus times are unique and rise, even where the clock stands or ticks in milliseconds.
    consensus_timestamp = timestamp_text(max(now_ns, topic.consensus_timestamp_ns + 1))
    sequence_number = topic.sequence_number + 1
    return AnchoredMessage(
        topic_id=topic.topic_id,
        payer_account_id=topic.payer_account_id,
        sequence_number=sequence_number,
        consensus_timestamp=consensus_timestamp,
        message=message,
        previous_running_hash=topic.running_hash,
        running_hash=running_hash(
            topic.running_hash,
            payer_account_id=topic.payer_account_id,
            topic_id=topic.topic_id,
            consensus_timestamp=consensus_timestamp,
            sequence_number=sequence_number,
            message=message,
        ),
    )
