"""Keys and topics are replaced: no anchor is lost or doubled, whatever ends in between."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from chargera.app.log_ports import AnchorState, MessageRange, SignedHead
from chargera.app.log_testing import MemoryAnchorStore, MemoryLogStore
from chargera.domain.errors import Refused, Unavailable
from chargera.ledger.anchoring import Anchoring
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.hedera.initialise import Access
from chargera.ledger.hedera.rotation import (
    NewTopic,
    OldTopic,
    TopicRotation,
    rotate_operator_key,
)
from chargera.ledger.hedera.signer import KeySigner, Signer
from chargera.ledger.hedera.topic import HederaTopic
from chargera.proofs.topic_change import TopicChange, open_topic_change, sign_topic_change
from tests.doubles.hedera.emulator import Emulator
from tests.integration.hedera.initialising import SUBMIT, Crash, Crashes, World
from tests.unit.proofs.log_of_test import LOG_KEY, LOG_PRIVATE

NEW_KEYS = {name: ChainKey(bytes([n]) * 32) for n, name in enumerate(SUBMIT, 81)}
WRITES = frozenset({"note_successor", "put_key_in_place", "announce"})


@dataclass
class Installed:
    """A log that is anchored, and what this installation keeps of its topics."""

    world: World
    log: MemoryLogStore = field(default_factory=MemoryLogStore)
    topics: list[TopicChange] = field(default_factory=list)
    key: Signer = field(default_factory=lambda: KeySigner(SUBMIT["current"]))
    registry: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.anchors = MemoryAnchorStore(self.log)

    async def begin(self) -> None:
        async with self.world.process() as begun:
            result = await begun.steps[0].do()
        self.topics.append(TopicChange(result, self.world.emulator.operator_id, 0))

    def topic(self, access: Access, topic_id: str, key: Signer | None = None) -> HederaTopic:
        return HederaTopic(
            topic_id, access.client, access.delivery, access.clock, [key or self.key]
        )

    async def sign(self, size: int) -> None:
        now = self.world.emulator.clock.now()
        await self.log.add_head(SignedHead(size, b"head of %d" % size, now))

    async def anchor(self, crashes: Crashes | None = None) -> None:
        """What a server does."""
        async with self.world.access(crashes) as access:
            topic = self.topic(access, self.topics[-1].topic_id)
            await Anchoring(self.anchors, topic, access.clock).anchor_now()

    async def rotate(self, crashes: Crashes | None = None) -> None:
        crashes = crashes or Crashes()
        async with self.world.access(crashes) as access:
            records = crashes.guarded(Records(self, access), WRITES)
            rotation = TopicRotation(
                access,
                records,
                OldTopic(self.topics[0].topic_id, [KeySigner(SUBMIT["current"])]),
                NewTopic("new", {n: KeySigner(k).public_key for n, k in NEW_KEYS.items()}),
                lambda change: sign_topic_change(change, LOG_KEY, LOG_PRIVATE.sign),
            )
            await rotation.carry_out()

    async def messages(self, topic_id: str) -> list[bytes]:
        async with self.world.access() as access:
            found = await self.topic(access, topic_id).messages(MessageRange(), 1_000)
            return [message.message for message in found]


@dataclass
class Records:
    """`RotationRecords` in memory."""

    it: Installed
    access: Access

    async def settle_anchors(self) -> int:
        topic = self.it.topic(self.access, self.it.topics[0].topic_id)
        await Anchoring(self.it.anchors, topic, self.access.clock).anchor_now()
        last = (await self.it.anchors.situation()).last_anchored
        return 0 if last is None else last.tree_size

    async def successor(self) -> TopicChange | None:
        return self.it.topics[1] if len(self.it.topics) > 1 else None

    async def note_successor(self, change: TopicChange, submit_keys: Mapping[str, bytes]) -> None:
        if len(self.it.topics) == 1:
            self.it.topics.append(change)

    async def is_key_in_place(self) -> bool:
        return self.it.key.public_key == KeySigner(NEW_KEYS["current"]).public_key

    async def put_key_in_place(self) -> None:
        self.it.key = KeySigner(NEW_KEYS["current"])

    async def announced(self, topic_id: str) -> bool:
        return topic_id in self.it.registry

    async def announce(self, topic_id: str) -> str:
        self.it.registry.append(topic_id)
        return "0x"


async def check(it: Installed, sizes: list[int]) -> None:
    """Each head stands once, on the topic whose turn it was; the old topic tells of the new one."""
    old, new = (topic.topic_id for topic in it.topics)
    on_old, on_new = await it.messages(old), await it.messages(new)
    heads = [message for message in [*on_old, *on_new] if message.startswith(b"head")]
    assert heads == [b"head of %d" % size for size in sizes]
    change = open_topic_change(on_old[-1], [LOG_KEY])
    assert change == it.topics[1]
    assert all(int(head.split()[-1]) >= change.from_size for head in on_new)
    assert all(int(m.split()[-1]) < change.from_size for m in on_old if m.startswith(b"head"))
    assert len(it.world.emulator.ledger.topics) == 2
    rows = await it.anchors.anchors(0, 100)
    assert all(row.state is AnchorState.ANCHORED for row in rows)
    assert it.registry[-1] == new


async def test_topic_is_replaced__the_log_goes_on_where_it_stood(emulator: Emulator) -> None:
    it = Installed(World(emulator))
    await it.begin()
    for size in (3, 5):
        await it.sign(size)
        await it.anchor()
    await it.sign(8)  # not anchored yet
    await it.rotate()
    assert it.topics[1].from_size == 9
    await it.sign(11)
    await it.anchor()
    await check(it, [3, 5, 8, 11])
    await it.rotate()  # again: nothing
    await check(it, [3, 5, 8, 11])


@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
async def test_crash_at_every_write_of_a_change__no_anchor_lost_or_doubled(
    emulator: Emulator, after: bool
) -> None:
    """An anchor is under way when it begins: sent, and nobody has heard what became of it."""
    it = Installed(World(emulator))
    await it.begin()
    await it.sign(3)
    with pytest.raises(Crash):
        await it.anchor(Crashes(at=1))
    crashed, is_whole = 0, False
    while not is_whole:
        try:
            await it.rotate(Crashes(at=1 + crashed % 3, after=after))
            is_whole = True
        except Crash:
            crashed += 1
    assert crashed > 2
    await it.sign(6)
    await it.anchor()
    await check(it, [3, 6])


async def test_server_ran_between_two_tries__it_is_said_again(emulator: Emulator) -> None:
    it = Installed(World(emulator))
    await it.begin()
    await it.sign(3)
    with pytest.raises(Crash):
        await it.rotate(Crashes(at=6))  # the note stands on the old topic, the records know nothing
    while not any(b"next-topic" in m for m in await it.messages(it.topics[0].topic_id)):
        with pytest.raises(Crash):
            await it.rotate(Crashes(at=2))
    await it.sign(7)
    await it.anchor()
    assert len(it.topics) == 1
    await it.rotate()
    assert it.topics[1].from_size == 8
    await it.sign(9)
    await it.anchor()
    await check(it, [3, 7, 9])


async def test_submit_key__any_of_the_three_submits_and_no_other(emulator: Emulator) -> None:
    it = Installed(World(emulator))
    await it.begin()
    for size, name in enumerate(SUBMIT, 1):
        it.key = KeySigner(SUBMIT[name])
        await it.sign(size)
        await it.anchor()
    it.key = KeySigner(NEW_KEYS["current"])
    await it.sign(4)
    with pytest.raises(Refused, match="INVALID_SIGNATURE"):
        await it.anchor()
    it.key = KeySigner(SUBMIT["cold"])
    await it.anchor()
    assert len(await it.messages(it.topics[0].topic_id)) == 4


async def test_operator_key__is_replaced_once_and_anchors_go_on(emulator: Emulator) -> None:
    it = Installed(World(emulator))
    await it.begin()
    await it.sign(1)
    with pytest.raises(Crash):
        await it.anchor(Crashes(at=1))  # sent with the old key, not heard of
    new, noted = KeySigner(ChainKey(b"\x5a" * 32)), []

    async def note() -> None:
        noted.append(1)

    for crashes in (Crashes(at=1), Crashes(at=2), Crashes(at=2, after=False), Crashes()):
        try:
            async with it.world.access(crashes) as access:
                await rotate_operator_key(access, emulator.operator_id, new, note)
        except (Crash, Unavailable):
            continue
    assert noted
    await it.sign(2)
    with pytest.raises(Refused):  # the old key pays no more
        await it.anchor()
    emulator.ledger.operator_secret = b"\x5a" * 32  # what is configured now
    async with it.world.access() as access:
        assert await rotate_operator_key(access, emulator.operator_id, new, note)
        with pytest.raises(Refused, match="only the account that pays"):
            await rotate_operator_key(access, "0.0.2", new, note)
    await it.anchor()
    assert await it.messages(it.topics[0].topic_id) == [b"head of 1", b"head of 2"]
