"""How a network on Hedera is doing: money, pace, days left, and what a person is told."""

from datetime import timedelta

import pytest

from chargera.ledger.hedera.amounts import TINYBAR_PER_HBAR
from chargera.ledger.hedera.fees import MAINNET
from chargera.ledger.hedera.signer import KeySigner
from chargera.ledger.hedera.status import FundsWatch, HederaStatus, read_spending, read_status
from chargera.ledger.hedera.topic import HederaTopic
from chargera.ledger.transaction_id import HederaTransactionId, to_ns
from tests.doubles.hedera.emulator import Emulator
from tests.doubles.hedera.faults import FaultKind
from tests.integration.hedera.initialising import SUBMIT, World

MESSAGE = b"x" * 214


async def anchored(world: World, hours: int) -> str:
    """Make a topic and put a message on it every hour; return its id."""
    emulator = world.emulator
    async with world.process() as begun:
        topic_id = await begun.steps[0].do()
        access = begun.access
        signer = KeySigner(SUBMIT["current"])
        topic = HederaTopic(topic_id, access.client, access.delivery, access.clock, [signer])
        for number in range(hours):
            now = access.clock.now()
            made = HederaTransactionId.new(emulator.operator_id, now, number)
            await topic.submit(str(made), MESSAGE)
            emulator.clock.advance(3_600)
    return topic_id


async def status_of(world: World, topic_id: str) -> HederaStatus:
    async with world.access() as access:
        return await read_status(
            access.chain.mirror,
            world.emulator.operator_id,
            topic_id,
            world.emulator.clock.now(),
        )


async def test_status__tells_pace_and_days_by_what_was_charged(emulator: Emulator) -> None:
    world = World(emulator)
    topic_id = await anchored(world, 24)
    status = await status_of(world, topic_id)
    assert (status.messages, status.spending.transactions) == (24, 24)
    fee = status.rate.tinybar(MAINNET.message(len(MESSAGE), signatures=2))
    assert status.spending.tinybar == pytest.approx(24 * fee, rel=0.01)
    assert status.spending.tinybar_a_day == pytest.approx(24 * fee, rel=0.02)
    days = status.days_left
    assert days is not None
    assert days == pytest.approx(status.balance_tinybar / (24 * fee), rel=0.02)
    assert status.warnings(14) == []
    assert status.warnings(days + 1) == [f"0.0.1001 has money for {days} days; transfer HBAR to it"]
    shown = status.as_dict()
    assert shown["topic_id"] == topic_id
    assert shown["days_left"] == days
    assert shown["burn_usd_per_day"] == "0.0213"  # 24 messages with a second signature
    assert shown["balance_hbar"].startswith("9999.")


async def test_status__of_a_new_network__says_what_it_knows(emulator: Emulator) -> None:
    world = World(emulator)
    status = await status_of(world, await anchored(world, 0))
    assert (status.messages, status.last_message_at) == (0, None)
    assert status.spending.tinybar_a_day is None
    assert status.days_left is None
    assert status.as_dict()["burn_hbar_per_day"] is None


async def test_status__old_spending_does_not_count(emulator: Emulator) -> None:
    world = World(emulator)
    topic_id = await anchored(world, 3)
    emulator.clock.advance(timedelta(days=8).total_seconds())
    status = await status_of(world, topic_id)
    assert (status.spending.transactions, status.spending.tinybar_a_day) == (0, 0)
    assert status.days_left is None


async def test_spending__counts_what_the_account_paid_and_nobody_elses(
    emulator: Emulator,
) -> None:
    world = World(emulator)
    await anchored(world, 2)
    now = to_ns(emulator.clock.now())
    async with world.access() as access:
        own = await read_spending(access.chain.mirror, emulator.operator_id, 0, now)
        treasury = await read_spending(access.chain.mirror, "0.0.98", 0, now)
    assert own.transactions == 3  # the topic too
    assert (treasury.transactions, treasury.tinybar) == (
        0,
        0,
    )  # it is in all of them, and pays none


async def test_status__a_mirror_that_is_behind__is_told(emulator: Emulator) -> None:
    world = World(emulator)
    topic_id = await anchored(world, 1)
    emulator.faults.mirror_lag_s[None] = 200
    status = await status_of(world, topic_id)
    assert status.mirror_behind_s > 190
    assert "behind" in status.warnings(1)[0]


async def test_watch__warns_once_before_and_fails_only_when_empty(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(emulator)
    topic_id = await anchored(world, 2)
    account = emulator.ledger.accounts[1001]
    async with world.access() as access:
        watch = FundsWatch(access.chain.mirror, emulator.operator_id, topic_id, emulator.clock, 14)
        assert (watch.fault, watch.balances_tinybar, watch.days_left) == (None, {}, {})
        emulator.faults.add(FaultKind.MIRROR_DOWN, times=2)
        await watch.look()
        assert (watch.fault, watch.balances_tinybar) == (None, {})
        emulator.faults.clear()
        await watch.look()
        assert watch.balances_tinybar == {"0.0.1001": account.balance}
        assert not [r for r in caplog.records if r.levelname == "WARNING" and "money" in r.message]
        account.balance = TINYBAR_PER_HBAR
        for _ in range(2):
            await watch.look()
        said = [r.message for r in caplog.records if "transfer HBAR" in r.message]
        assert len(said) == 1
        assert watch.days_left["0.0.1001"] < 14
        assert watch.fault is None
        account.balance = 0
        await watch.look()
        assert watch.fault == "the account 0.0.1001 is empty: transfer HBAR to it"
