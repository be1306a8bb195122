"""Every head that the policy asks for gets onto the topic once, whatever fails on the way."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from chargera.app.log_ports import Anchor, AnchorState, MessageRange, SignedHead
from chargera.app.log_testing import Faults, MemoryAnchorStore, MemoryLogStore, MemoryTopicStore
from chargera.domain.errors import Conflict, NotFound, Refused, Unavailable
from chargera.ledger.anchoring import Anchoring, AnchorPolicy
from chargera.ledger.embedded_topic import EmbeddedTopic
from chargera.proofs.anchor import AnchoredMessage, chain
from tests.unit.ledger.contracts import START, AnchorStoreContract, HandClock, transaction_id

POLICY = AnchorPolicy(timedelta(hours=1), 256)


class TestMemoryAnchorStore(AnchorStoreContract):
    @pytest.fixture
    def log(self) -> MemoryLogStore:
        return MemoryLogStore()

    @pytest.fixture
    def store(self, log: MemoryLogStore) -> MemoryAnchorStore:
        return MemoryAnchorStore(log)

    @pytest.fixture
    def add_head(self, log: MemoryLogStore):
        async def add(size: int) -> SignedHead:
            head = SignedHead(size, b"note %d" % size, START + timedelta(seconds=size))
            await log.add_head(head)
            return head

        return add

    @pytest.fixture
    def jobs(self, store: MemoryAnchorStore):
        async def deferred() -> list[int]:
            return store.jobs

        return deferred

    @pytest.fixture
    def end_session(self, store: MemoryAnchorStore):
        async def end(count: int) -> None:
            first = len(store.session_ends)
            store.session_ends += range(first, first + count)

        return end


class Network:
    """A log of heads, a topic and the anchoring between them; `restart` is a new process."""

    def __init__(self, faults: Faults | None = None, policy: AnchorPolicy = POLICY) -> None:
        self.faults = faults or Faults()
        self.policy = policy
        self.clock = HandClock()
        self.log = MemoryLogStore()
        self.anchors = MemoryAnchorStore(self.log, self.faults)
        self.topic_rows = MemoryTopicStore(self.faults)
        self.told: list[Anchor] = []

    async def restart(self) -> None:
        topic = EmbeddedTopic(self.topic_rows, self.clock, "0.0.1001", "0.0.1002")
        self.topic = topic
        self.anchoring = Anchoring(
            self.anchors, topic, self.clock, lambda: self.policy, self.told.append
        )

    @classmethod
    async def started(cls, faults: Faults | None = None) -> "Network":
        network = cls()
        await EmbeddedTopic.open(network.topic_rows, network.clock)
        if faults is not None:
            network.faults = network.anchors.faults = network.topic_rows.faults = faults
        await network.restart()
        return network

    async def sign(self, size: int) -> SignedHead:
        head = SignedHead(size, b"the note of %d entries" % size, self.clock.now())
        await self.log.add_head(head)
        return head

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.anchoring.tick()

    async def sizes(self) -> list[int]:
        """Sizes whose notes are on the topic, in the topic's order."""
        messages = await self.topic.messages(MessageRange(), 1000)
        assert chain(messages) == messages
        return [int(message.message.split()[3]) for message in messages]

    async def run_jobs(self) -> None:
        """What the worker does: every job until it no longer says that it is to be repeated."""
        for size in self.anchors.jobs:
            for _ in range(5):
                try:
                    await self.anchoring.deliver(size)
                except Unavailable:
                    continue
                break

    async def check(self) -> None:
        """Each size at most once on the topic, and each row says what the topic says."""
        self.faults.at = 0
        sizes = await self.sizes()
        assert len(sizes) == len(set(sizes)), sizes
        anchors = await self.anchors.anchors(0, 1000)
        done = [anchor for anchor in anchors if anchor.state is AnchorState.ANCHORED]
        assert sorted(sizes) == [anchor.tree_size for anchor in done]
        for anchor in done:
            assert anchor.message is not None
            anchor.message.check()
            assert anchor.message.message == anchor.note  # verbatim
            assert anchor.note == self.log.heads[anchor.tree_size].note  # promise P4
            assert await self.topic.find(anchor.hedera_transaction_id) == anchor.message


@pytest.fixture
async def network() -> Network:
    return await Network.started()


# When ------------------------------------------------------------------------------------------


async def test_the_first_head_is_anchored_at_once(network: Network) -> None:
    await network.anchoring.tick()
    assert await network.sizes() == []
    await network.sign(3)
    await network.anchoring.tick()
    assert await network.sizes() == [3]
    [anchor] = network.told
    assert anchor.message is not None
    assert anchor.anchored_at == network.clock.now()
    await network.check()


async def test_the_next_one_waits_for_the_interval(network: Network) -> None:
    await network.sign(3)
    await network.anchoring.tick()
    await network.sign(5)
    await network.pass_time(3599)
    assert await network.sizes() == [3]
    await network.sign(7)
    await network.pass_time(1)
    assert await network.sizes() == [3, 7]
    await network.check()


async def test_another_policy__obeyed_from_the_next_look_on(network: Network) -> None:
    await network.sign(3)
    await network.anchoring.tick()
    await network.sign(5)
    await network.pass_time(60)
    assert await network.sizes() == [3]
    network.policy = AnchorPolicy(timedelta(minutes=1), 256)
    assert network.anchoring.policy == network.policy
    await network.anchoring.tick()
    assert await network.sizes() == [3, 5]


async def test_many_sessions_do_not_wait(network: Network) -> None:
    await network.sign(3)
    await network.anchoring.tick()
    network.anchors.session_ends += range(3, 3 + 255)
    await network.sign(258)
    await network.pass_time(1)
    assert await network.sizes() == [3]
    network.anchors.session_ends.append(258)
    await network.sign(259)
    await network.pass_time(1)
    assert await network.sizes() == [3, 259]


async def test_without_a_new_head_nothing_is_anchored(network: Network) -> None:
    await network.sign(3)
    for _ in range(5):
        await network.pass_time(3600)
    assert await network.sizes() == [3]
    assert network.anchoring.health.healthy


async def test_a_clock_that_went_back_does_not_stop_it(network: Network) -> None:
    await network.sign(3)
    await network.anchoring.tick()
    network.clock.advance(-7200)
    await network.sign(5)
    await network.anchoring.tick()
    assert network.anchoring.health.lag_s == 0
    await network.pass_time(7200 + 3600)
    assert await network.sizes() == [3, 5]


# On demand -------------------------------------------------------------------------------------


async def test_there_must_be_a_head(network: Network) -> None:
    with pytest.raises(NotFound):
        await network.anchoring.anchor_now()


async def test_now_is_now_and_only_once(network: Network) -> None:
    await network.sign(3)
    first = await network.anchoring.anchor_now()
    assert first.message is not None
    assert first.message.sequence_number == 1
    assert await network.anchoring.anchor_now() == first
    await network.sign(4)
    second = await network.anchoring.anchor_now()
    assert (second.tree_size, await network.sizes()) == (4, [3, 4])
    await network.check()


async def test_what_was_asked_for_before_goes_first(network: Network) -> None:
    head = await network.sign(3)
    await network.anchors.request(head, transaction_id(network.clock, 3), START)
    await network.sign(4)
    anchor = await network.anchoring.anchor_now()
    assert (anchor.tree_size, await network.sizes()) == (4, [3, 4])
    await network.check()


async def test_two_at_one_moment_of_a_standing_clock(network: Network) -> None:
    for size in range(1, 20):
        await network.sign(size)
        await network.anchoring.anchor_now()
    assert await network.sizes() == list(range(1, 20))
    await network.check()


# Faults ----------------------------------------------------------------------------------------


async def life(network: Network) -> None:
    """Three anchors by policy and on demand, ticks between them, jobs at the end."""
    await network.sign(3)
    await network.pass_time(1)
    await network.sign(5)
    await network.pass_time(3600)
    await network.sign(6)
    with suppress(Unavailable):
        await network.anchoring.anchor_now()


@pytest.mark.parametrize("pause", [1, 300])
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("after", [False, True])
async def test_every_call_may_fail(after: bool, restart: bool, pause: float) -> None:
    """F5, F9: at every call to rows and topic, before its effect and after it.

    Then the job is repeated, by the same process or by another, before or after the transaction
    id has expired; the newest head gets its one anchor in any case.
    """
    number = 0
    while True:
        number += 1
        network = await Network.started(Faults(number, after=after, error=Unavailable("gone")))
        await life(network)
        if not network.faults.struck:
            break
        call = network.faults.calls[number - 1]
        network.clock.advance(pause)
        if restart:
            await network.restart()
        await network.anchoring.tick()
        await network.run_jobs()
        assert (await network.anchoring.anchor_now()).tree_size == 6, call
        await network.check()
        assert network.anchoring.health.healthy, call
    assert number > 20


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("pause", [1, 300])
async def test_every_call_may_be_the_last(after: bool, pause: float) -> None:
    """F5: the process dies; the next one takes up what it left at its first tick."""

    class Died(BaseException):
        pass

    number = 0
    while True:
        number += 1
        faults = Faults(number, after=after)
        faults.error = Died()  # type: ignore[assignment]  # nothing may handle it
        network = await Network.started(faults)
        try:
            await life(network)
        except Died:
            await network.restart()
        if not faults.struck:
            break
        await network.sign(9)
        await network.pass_time(pause)
        await network.pass_time(3600)
        assert (await network.sizes())[-1] == 9, faults.calls[number - 1]
        await network.check()
    assert number > 20


async def test_a_topic_that_is_away_for_an_hour_gets_one_anchor(network: Network) -> None:
    """F8: the lag is shown, and the newest head alone catches up: no flood."""
    await network.sign(3)
    await network.anchoring.tick()

    class Away(MemoryTopicStore):
        async def append(self, *arguments: object) -> AnchoredMessage:
            raise Unavailable("the topic does not answer")

    rows, network.topic._store = network.topic._store, Away()
    network.topic._store._topics = rows._topics
    for hour in range(1, 4):
        for minute in range(60):
            await network.sign(100 * hour + minute)
            await network.pass_time(60)
            await network.run_jobs()
    health = network.anchoring.health
    assert not health.healthy
    assert health.reason == "the topic does not answer"
    assert health.lag_s == 3 * 3600
    assert health.anchored_size == 3
    network.topic._store = rows
    await network.run_jobs()
    assert await network.sizes() == [3, 359]
    assert network.anchoring.health.healthy
    assert network.anchoring.health.lag_s == 0
    [first, *given_up, last] = await network.anchors.anchors(0, 1000)
    assert first.state is last.state is AnchorState.ANCHORED
    assert {anchor.state for anchor in given_up} == {AnchorState.FAILED}
    await network.check()


async def test_a_lost_receipt_is_looked_for_before_sending_again() -> None:
    """F9: no duplicate, however late the question comes."""
    network = await Network.started(Faults())
    await network.sign(3)
    network.faults.at = 1 + _calls_of(await probe(), "append to topic")
    network.faults.after = True
    network.faults.error = Unavailable("no answer")
    await network.anchoring.tick()
    assert await network.sizes() == [3]
    [anchor] = await network.anchors.anchors(0, 10)
    assert anchor.state is AnchorState.SUBMITTED
    network.clock.advance(86_400)
    await network.sign(5)
    await network.run_jobs()
    [anchor] = await network.anchors.anchors(0, 10)
    assert anchor.state is AnchorState.ANCHORED
    assert await network.sizes() == [3]
    await network.check()


async def probe() -> Network:
    network = await Network.started(Faults())
    await network.sign(3)
    await network.anchoring.tick()
    return network


def _calls_of(network: Network, call: str) -> int:
    return network.faults.calls.index(call)


async def test_a_request_that_was_never_sent_gets_a_fresh_id(network: Network) -> None:
    head = await network.sign(3)
    old = transaction_id(network.clock, 3)
    await network.anchors.request(head, old, START)
    network.clock.advance(1000)
    await network.anchoring.deliver(3)
    [anchor] = await network.anchors.anchors(0, 10)
    assert anchor.hedera_transaction_id != old
    assert await network.sizes() == [3]
    await network.check()


async def test_a_job_that_comes_late_does_nothing(network: Network) -> None:
    await network.sign(3)
    await network.anchoring.tick()
    await network.run_jobs()
    await network.anchoring.deliver(3)
    await network.anchoring.deliver(99)
    assert await network.sizes() == [3]
    assert len(network.told) == 1


async def test_one_process_leaves_repeating_to_the_job(network: Network) -> None:
    network.topic_rows.faults = Faults(2, error=Unavailable("gone"))
    await network.sign(3)
    await network.anchoring.tick()
    await network.anchoring.tick()
    assert network.topic_rows.faults.calls == ["topic info", "append to topic"]
    await network.run_jobs()
    assert await network.sizes() == [3]


class TopicDouble:
    """A topic whose answers the test chooses."""

    def __init__(self, topic: EmbeddedTopic) -> None:
        self.topic = topic
        self.error: Exception | None = None
        self.takes_it = False
        self.found = True

    async def info(self):
        return await self.topic.info()

    async def messages(self, within: MessageRange, limit: int):
        return await self.topic.messages(within, limit)

    async def submit(self, hedera_transaction_id: str, message: bytes) -> AnchoredMessage:
        if self.takes_it:
            await self.topic.submit(hedera_transaction_id, message)
        if self.error is not None:
            raise self.error
        return await self.topic.submit(hedera_transaction_id, message)

    async def find(self, hedera_transaction_id: str) -> AnchoredMessage | None:
        return await self.topic.find(hedera_transaction_id) if self.found else None


@pytest.fixture
def double(network: Network) -> TopicDouble:
    double = TopicDouble(network.topic)
    network.anchoring = Anchoring(network.anchors, double, network.clock, lambda: POLICY)
    return double


async def test_a_known_transaction_counts_as_sent(network: Network, double: TopicDouble) -> None:
    double.error, double.takes_it = Conflict("DUPLICATE_TRANSACTION"), True
    await network.sign(3)
    await network.anchoring.tick()
    assert await network.sizes() == [3]
    await network.check()


async def test_a_known_transaction_without_a_message_is_not_decided(
    network: Network, double: TopicDouble
) -> None:
    double.error, double.found = Conflict("DUPLICATE_TRANSACTION"), False
    await network.sign(3)
    with pytest.raises(Unavailable, match="not its message"):
        await network.anchoring.anchor_now()
    assert not network.anchoring.health.healthy


async def test_other_bytes_under_our_transaction_are_no_anchor(
    network: Network, double: TopicDouble
) -> None:
    """A mirror may make up a message whose running hash is right for it."""

    class Lying(TopicDouble):
        async def find(self, hedera_transaction_id: str) -> AnchoredMessage | None:
            found = await self.topic.find(hedera_transaction_id)
            return found and replace(found, message=b"made up")

    double.error, double.takes_it = Unavailable("no answer"), True
    await network.sign(3)
    await network.anchoring.tick()
    liar = Lying(network.topic)
    network.anchoring = Anchoring(network.anchors, liar, network.clock, lambda: POLICY)
    with pytest.raises(Unavailable, match="said to be ours, and is not"):
        await network.anchoring.anchor_now()
    assert await network.sizes() == [3]
    [anchor] = await network.anchors.anchors(0, 10)
    assert anchor.state is AnchorState.SUBMITTED
    network.anchoring = Anchoring(network.anchors, network.topic, network.clock, lambda: POLICY)
    await network.anchoring.tick()
    await network.check()


async def test_what_the_topic_will_not_take_is_not_sent_again_and_again(
    network: Network, double: TopicDouble
) -> None:
    double.error = Refused("MESSAGE_SIZE_TOO_LARGE")
    await network.sign(3)
    await network.anchoring.tick()
    [anchor] = await network.anchors.anchors(0, 10)
    assert anchor.state is AnchorState.FAILED
    for _ in range(3):
        await network.pass_time(600)
        assert network.anchoring.health.reason == "MESSAGE_SIZE_TOO_LARGE"
    assert len(network.anchors.jobs) == 1
    with pytest.raises(Refused):
        await network.anchoring.anchor_now()
    double.error = None
    await network.pass_time(3600)
    assert await network.sizes() == [3]
    assert network.anchoring.health.healthy
    await network.check()


async def test_an_id_that_expires_on_the_way_is_replaced(
    network: Network, double: TopicDouble
) -> None:
    class Slow(TopicDouble):
        async def submit(self, hedera_transaction_id: str, message: bytes) -> AnchoredMessage:
            network.clock.advance(600)
            return await self.topic.submit(hedera_transaction_id, message)

    await network.sign(3)
    slow = Slow(network.topic)
    network.anchoring = Anchoring(network.anchors, slow, network.clock, lambda: POLICY)
    await network.anchoring.tick()
    assert "TRANSACTION_EXPIRED" in str(network.anchoring.health.reason)
    network.anchoring = Anchoring(network.anchors, double, network.clock, lambda: POLICY)
    await network.anchoring.tick()
    assert await network.sizes() == [3]
    await network.check()


async def test_a_request_that_another_process_answered_is_no_fault(network: Network) -> None:
    head = await network.sign(3)
    await network.anchoring.anchor_now()
    await network.anchoring._request_and_deliver(head)
    assert await network.sizes() == [3]


async def test_an_overdue_anchor_is_an_incident(network: Network) -> None:
    """Promise P3: five minutes beyond the interval."""
    await network.sign(3)
    await network.anchoring.tick()
    await network.sign(5)
    network.topic_rows.faults = Faults()
    await network.pass_time(3599)
    network.clock.advance(299)
    assert network.anchoring.health.healthy
    network.clock.advance(3)
    health = network.anchoring.health
    assert not health.healthy
    assert "no anchor for" in str(health.reason)


async def test_health_before_the_first_look(network: Network) -> None:
    health = network.anchoring.health
    assert (health.healthy, health.lag_s, health.anchored_size) == (True, 0, 0)
