"""Contracts of the ledger's ports, run over rows in memory here and over PostgreSQL elsewhere."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chargera.app.log_ports import (
    AnchorState,
    AnchorStore,
    MessageRange,
    SignedHead,
    TopicInfo,
    TopicStore,
)
from chargera.domain.errors import Conflict, NotFound, Refused
from chargera.ledger.embedded_topic import PAYER_ACCOUNT_ID, TOPIC_ID, EmbeddedTopic
from chargera.ledger.transaction_id import HederaTransactionId, to_ns
from chargera.proofs.anchor import AnchoredMessage, chain
from chargera.proofs.running_hash import ZERO_HASH, parse_consensus_timestamp

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class HandClock:
    """A network clock that moves only by hand."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def transaction_id(clock: HandClock, distinction: int = 0) -> str:
    return str(HederaTransactionId.new(PAYER_ACCOUNT_ID, clock.now(), distinction))


class TopicContract:
    """The embedded topic over any `TopicStore`: the fixture `store` is the subclass's."""

    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    async def topic(self, store: TopicStore, clock: HandClock) -> EmbeddedTopic:
        return await EmbeddedTopic.open(store, clock)

    async def test_a_new_topic_is_empty_and_labelled(self, topic: EmbeddedTopic) -> None:
        info = await topic.info()
        assert info.topic_id == TOPIC_ID
        assert info.payer_account_id == PAYER_ACCOUNT_ID
        assert (info.running_hash, info.sequence_number) == (ZERO_HASH, 0)
        assert "simulated" in info.memo
        assert await topic.messages(MessageRange(), 10) == []

    async def test_opening_again_changes_nothing(
        self, topic: EmbeddedTopic, store: TopicStore, clock: HandClock
    ) -> None:
        message = await topic.submit(transaction_id(clock), b"one")
        again = await EmbeddedTopic.open(store, clock, payer_account_id="0.0.9")
        assert await again.info() == await topic.info()
        assert (await again.info()).running_hash == message.running_hash

    async def test_an_unknown_topic_is_not_found(self, store: TopicStore) -> None:
        with pytest.raises(NotFound):
            await store.info("0.0.77")

    async def test_messages_chain_as_on_hedera(
        self, topic: EmbeddedTopic, clock: HandClock
    ) -> None:
        sent = []
        for number in range(5):
            sent.append(await topic.submit(transaction_id(clock, number), b"m%d" % number))
            clock.advance(number)
        assert [message.sequence_number for message in sent] == [1, 2, 3, 4, 5]
        assert chain(sent) == sent
        assert await topic.messages(MessageRange(), 10) == sent
        info = await topic.info()
        assert (info.sequence_number, info.running_hash) == (5, sent[-1].running_hash)

    async def test_consensus_times_rise_while_the_clock_stands_or_goes_back(
        self, topic: EmbeddedTopic, clock: HandClock
    ) -> None:
        first = await topic.submit(transaction_id(clock, 1), b"a")
        second = await topic.submit(transaction_id(clock, 2), b"b")
        clock.advance(-60)
        third = await topic.submit(transaction_id(clock, 3), b"c")
        times = [parse_consensus_timestamp(m.consensus_timestamp) for m in (first, second, third)]
        seconds = int(START.timestamp())
        assert times == [(seconds, 0), (seconds, 1), (seconds, 2)]

    async def test_a_transaction_has_one_effect(
        self, topic: EmbeddedTopic, clock: HandClock
    ) -> None:
        name = transaction_id(clock)
        message = await topic.submit(name, b"one")
        for again in (b"one", b"two"):
            with pytest.raises(Conflict, match="DUPLICATE_TRANSACTION"):
                await topic.submit(name, again)
        clock.advance(1000)
        with pytest.raises(Conflict, match="DUPLICATE_TRANSACTION"):
            await topic.submit(name, b"one")
        assert await topic.find(name) == message
        assert (await topic.info()).sequence_number == 1

    async def test_what_was_not_submitted_is_not_found(
        self, topic: EmbeddedTopic, clock: HandClock
    ) -> None:
        assert await topic.find(transaction_id(clock)) is None

    @pytest.mark.parametrize(
        ("size", "code"), [(0, "INVALID_TOPIC_MESSAGE"), (1025, "MESSAGE_SIZE_TOO_LARGE")]
    )
    async def test_a_message_has_1_to_1024_bytes(
        self, topic: EmbeddedTopic, clock: HandClock, size: int, code: str
    ) -> None:
        with pytest.raises(Refused, match=code):
            await topic.submit(transaction_id(clock), bytes(size))
        assert (await topic.submit(transaction_id(clock), bytes(1024))).sequence_number == 1

    async def test_a_transaction_is_valid_for_two_minutes(
        self, topic: EmbeddedTopic, clock: HandClock
    ) -> None:
        name = transaction_id(clock)
        clock.advance(121)
        with pytest.raises(Refused, match="TRANSACTION_EXPIRED"):
            await topic.submit(name, b"late")
        clock.advance(-127)
        with pytest.raises(Refused, match="INVALID_TRANSACTION_START"):
            await topic.submit(name, b"early")
        clock.advance(120)
        assert await topic.submit(name, b"in time")

    async def test_nobody_else_pays(self, topic: EmbeddedTopic, clock: HandClock) -> None:
        name = str(HederaTransactionId.new("0.0.9", clock.now(), 0))
        with pytest.raises(Refused, match="INVALID_SIGNATURE"):
            await topic.submit(name, b"one")

    @pytest.mark.parametrize(
        ("within", "expected"),
        [
            (MessageRange(), [1, 2, 3, 4, 5]),
            (MessageRange(newest_first=True), [5, 4, 3, 2, 1]),
            (MessageRange(from_sequence_number=4), [4, 5]),
            (MessageRange(to_sequence_number=2), [1, 2]),
            (MessageRange(2, 3, newest_first=True), [3, 2]),
            (MessageRange(from_sequence_number=6), []),
            (MessageRange(from_sequence_number=2**70), []),
            (MessageRange(to_sequence_number=0), []),
            (MessageRange(from_timestamp_ns=to_ns(START) + 10**9), [2, 3, 4, 5]),
            (MessageRange(to_timestamp_ns=to_ns(START) + 10**9), [1, 2]),
            (MessageRange(from_timestamp_ns=2**80), []),
            (MessageRange(3, 5, to_ns(START), to_ns(START) + 3 * 10**9), [3, 4]),
        ],
    )
    async def test_ranges(
        self,
        topic: EmbeddedTopic,
        clock: HandClock,
        within: MessageRange,
        expected: list[int],
    ) -> None:
        for number in range(5):
            await topic.submit(transaction_id(clock, number), b"x")
            clock.advance(1)
        found = await topic.messages(within, 10)
        assert [message.sequence_number for message in found] == expected
        limited = await topic.messages(within, 2)
        assert [message.sequence_number for message in limited] == expected[:2]
        for message in found:
            message.check()

    async def test_a_refused_message_leaves_nothing(
        self, topic: EmbeddedTopic, store: TopicStore, clock: HandClock
    ) -> None:
        def refuse(info: TopicInfo) -> AnchoredMessage:
            raise Refused("not this one")

        with pytest.raises(Refused):
            await store.append(TOPIC_ID, "0.0.1@1.000000001", refuse)
        assert await store.find("0.0.1@1.000000001") is None
        assert (await topic.info()).sequence_number == 0


class AnchorStoreContract:
    """Any `AnchorStore`: fixtures `store`, `add_head` and `end_session` are the subclass's."""

    async def test_nothing_is_known_at_first(self, store: AnchorStore) -> None:
        situation = await store.situation()
        assert situation.newest is situation.last_anchored is situation.outstanding is None
        assert (situation.sessions_since, situation.unanchored_since) == (0, None)
        assert await store.anchors(0, 10) == []

    async def test_an_anchor_from_request_to_message(
        self, store: AnchorStore, add_head: Callable, jobs: Callable
    ) -> None:
        head = await add_head(5)
        situation = await store.situation()
        assert (situation.newest, situation.unanchored_since) == (head, head.signed_at)
        await store.request(head, "0.0.1@1.000000001", START)
        anchor = (await store.situation()).outstanding
        assert anchor is not None
        assert (anchor.tree_size, anchor.note) == (5, head.note)
        assert (anchor.state, anchor.attempts) == (AnchorState.PENDING, 0)
        assert anchor.requested_at == START
        assert await jobs() == [5]
        await store.sending(anchor, "0.0.1@2.000000002")
        sent = (await store.situation()).outstanding
        assert sent == replace(
            anchor,
            state=AnchorState.SUBMITTED,
            attempts=1,
            hedera_transaction_id="0.0.1@2.000000002",
        )
        message = message_of(head)
        await store.settle(sent, message, START + timedelta(seconds=3))
        situation = await store.situation()
        assert situation.outstanding is None
        assert situation.unanchored_since is None
        done = situation.last_anchored
        assert done == replace(
            sent,
            state=AnchorState.ANCHORED,
            message=message,
            anchored_at=START + timedelta(seconds=3),
        )
        assert await store.anchors(0, 10) == [done]

    async def test_a_size_is_asked_for_once(
        self, store: AnchorStore, add_head: Callable, jobs: Callable
    ) -> None:
        head = await add_head(5)
        await store.request(head, "0.0.1@1.000000001", START)
        await store.request(head, "0.0.1@2.000000002", START)
        [anchor] = await store.anchors(0, 10)
        assert anchor.hedera_transaction_id == "0.0.1@1.000000001"
        assert await jobs() == [5]

    async def test_what_failed_may_be_asked_for_again(
        self, store: AnchorStore, add_head: Callable, jobs: Callable
    ) -> None:
        head = await add_head(5)
        await store.request(head, "0.0.1@1.000000001", START)
        [anchor] = await store.anchors(0, 10)
        await store.sending(anchor, "0.0.1@1.000000001")
        await store.settle(anchor, None, START)
        [anchor] = await store.anchors(0, 10)
        assert anchor.state is AnchorState.FAILED
        assert (await store.situation()).outstanding is None
        await store.request(head, "0.0.1@3.000000003", START)
        [anchor] = await store.anchors(0, 10)
        assert (anchor.state, anchor.attempts) == (AnchorState.PENDING, 0)
        assert anchor.hedera_transaction_id == "0.0.1@3.000000003"
        assert await jobs() == [5, 5]

    async def test_sessions_and_waiting_count_from_the_last_anchor(
        self, store: AnchorStore, add_head: Callable, end_session: Callable
    ) -> None:
        await end_session(3)  # entries 0 to 2
        first = await add_head(3)
        await end_session(2)
        second = await add_head(4)
        third = await add_head(5)
        await end_session(1)  # under no head yet
        assert (await store.situation()).sessions_since == 5
        await store.request(first, "0.0.1@1.000000001", START)
        [anchor] = await store.anchors(0, 1)
        await store.settle(anchor, message_of(first), START)
        situation = await store.situation()
        assert (situation.newest, situation.sessions_since) == (third, 2)
        assert situation.unanchored_since == second.signed_at

    async def test_anchors_come_in_order_of_size(
        self, store: AnchorStore, add_head: Callable
    ) -> None:
        for size in (7, 3, 5):
            head = await add_head(size)
            await store.request(head, f"0.0.1@{size}.000000001", START)
        assert [a.tree_size for a in await store.anchors(0, 10)] == [3, 5, 7]
        assert [a.tree_size for a in await store.anchors(4, 1)] == [5]


def message_of(head: SignedHead) -> AnchoredMessage:
    return AnchoredMessage(
        topic_id=TOPIC_ID,
        payer_account_id=PAYER_ACCOUNT_ID,
        sequence_number=1,
        consensus_timestamp="1772366400.000000001",
        message=head.note,
        running_hash=bytes(range(48)),
        previous_running_hash=ZERO_HASH,
    )
