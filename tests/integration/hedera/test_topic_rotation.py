"""`ledger rotate-topic` with contracts, by processes that end: log, topics, registry, anchors."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chargera.app.log_ports import AnchorState
from chargera.domain.errors import Refused, Unavailable
from chargera.initialising import initialisation
from chargera.proofs.chain_values import address_text, operator_word, topic_address
from chargera.proofs.topic_change import TopicChange, open_topic_change
from chargera.proofs.trust import parse_trust
from chargera.rotating import rotate_topic
from tests.integration.hedera.initialising import Crash, Crashes
from tests.integration.hedera.settlement_rig import SettlingSite, installed, settling_site
from tests.integration.hedera.strangers import Stranger

NOTICE_S = 2 * 86_400
"""Of the registry, before it takes another topic as the operator's."""
EXPIRY_S = 130


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[SettlingSite]:
    async with settling_site(database_url, tmp_path) as made:
        yield made


async def rotate(
    site: SettlingSite, crashes: Crashes | None = None, later_s: float = 0
) -> TopicChange:
    """What the command does, in a process that may end."""
    async with installed(site, crashes, later_s=later_s) as it:
        return await rotate_topic(it)


async def rotate_with_crashes(site: SettlingSite, *, after: bool) -> tuple[TopicChange, int]:
    """Rotate by processes that end at their first to third write; return how many of them did."""
    later_s, ended = 0, 0
    for turn in range(100):
        try:
            return await rotate(site, Crashes(at=1 + turn % 3, after=after), later_s), ended
        except Crash:
            ended, later_s = ended + 1, 0
        except Unavailable:  # what became of one is known once its id has expired
            later_s = EXPIRY_S
    raise AssertionError("it never comes to its end")


async def messages(site: SettlingSite, topic_id: str) -> list[bytes]:
    """Return what stands on a topic, as the emulator knows it."""
    number = int(topic_id.rpartition(".")[2])
    return [message.content for message in site.emulator.ledger.topics[number].messages]


async def check_anchors(site: SettlingSite, old: str, change: TopicChange) -> None:
    """Each head stands once, on the topic whose turn it was, and the old one names the new."""
    anchors = await site.net.server.anchors.anchors(0, 1_000)
    assert {anchor.state for anchor in anchors} == {AnchorState.ANCHORED}
    notes = {
        t: [a.note for a in anchors if a.message and a.message.topic_id == t]
        for t in (old, change.topic_id)
    }
    *heads, word = await messages(site, old)
    assert sorted(heads) == sorted(notes[old])
    assert (
        open_topic_change(word, parse_trust(await site.net.server.trust_document()).log_keys)
        == change
    )
    assert sorted(await messages(site, change.topic_id)) == sorted(notes[change.topic_id])
    for anchor in anchors:
        assert anchor.message is not None
        is_new = anchor.tree_size >= change.from_size
        assert anchor.message.topic_id == (change.topic_id if is_new else old)
    assert len(site.emulator.ledger.topics) == 2


@pytest.mark.parametrize(
    "after", [True, pytest.param(False, marks=pytest.mark.long)], ids=["after", "before"]
)
async def test_topic_replaced_by_processes_that_end__receipts_of_both_stand(
    site: SettlingSite, tmp_path: Path, after: bool
) -> None:
    stranger = Stranger(site, tmp_path)
    async with site.served() as net:
        await site.begin()
        first = await site.charge()
        await net.call("POST", "/anchors")
        early = await stranger.receipt(first, "early.json")
        old_trust = await stranger.trust("old-trust.json")
        second = await site.charge()  # billed and not anchored
        await net.advance(0)
    old = json.loads(old_trust.read_text())["topics"][-1]["id"]

    change, ended = await rotate_with_crashes(site, after=after)
    assert ended >= 5
    with pytest.raises(Refused, match="nothing stands on the topic"):
        await rotate(site)
    async with installed(site) as it:  # what was begun is done, whatever the topic is now
        assert all(each.found is not None for each in await initialisation(it).outline())

    async with site.served() as net:
        third = await site.charge()
        await net.call("POST", "/anchors")
        await check_anchors(site, old, change)
        trust = await stranger.trust("trust.json")
        late = [await stranger.receipt(each, f"{each}.json") for each in (first, second, third)]
        for receipt in (early, *late):
            assert await stranger.verify(receipt, trust) == (0, None)
        assert await stranger.verify(early, old_trust) == (0, None)
        assert (await stranger.verify(late[2], old_trust))[0] == 1

        contracts, word = net.contracts, operator_word("NL*C4E")
        told = await contracts.events("AttesterRegistry", "OperatorAnnounced", [word])
        assert [event.members.operator.topic for event in told] == [
            address_text(topic_address(topic_id)) for topic_id in (old, change.topic_id)
        ]
        known = await contracts.read("AttesterRegistry", "operatorOf", word)
        assert known.topic == address_text(topic_address(old))
        # Batches of sessions from before and after rest on the new topic, and are attested.
        assert await site.settle(third)
        assert {await site.state_of(each) for each in (first, second)} == {"settled"}
        assert set((await stranger.audit(trust)).values()) == {"ok"}
        assert "pending" in (await stranger.audit(old_trust)).values()
        await net.advance(NOTICE_S + 1)
        known = await contracts.read("AttesterRegistry", "operatorOf", word)
        assert known.topic == address_text(topic_address(change.topic_id))
        await net.call("POST", "/anchors")
        for session_id in (first, second, third):
            receipt = await stranger.receipt(session_id, f"{session_id}-settled.json")
            assert await stranger.verify(receipt, trust) == (0, None)
        assert set((await stranger.audit(trust)).values()) == {"ok"}
        await check_anchors(site, old, change)
