"""A network's beginning: an outline with costs, one run, and runs that end anywhere."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargera.app.hedera_ports import HederaSendState
from chargera.domain.errors import Refused, Unavailable
from chargera.ledger.evm.deployment import Plan
from chargera.ledger.evm.transaction import parse, sign
from chargera.ledger.hedera.delivery import UNANSWERED_MAX
from chargera.ledger.hedera.fees import USD_E10
from chargera.ledger.hedera.initialise import Initialisation, total_usd_e10
from chargera.ledger.network_contracts import ChainContracts
from tests.doubles.hedera.emulator import Emulator, running_emulator
from tests.doubles.hedera.faults import FaultKind
from tests.evm_contracts import COUNTER, init_code
from tests.integration.hedera.initialising import DEPLOYER, KEEPER, Crash, Crashes, World


async def check_whole(world: World) -> None:
    """Everything is there, and nothing twice."""
    emulator = world.emulator
    async with world.process() as again:
        outlines = await again.outline()
        assert all(each.found is not None for each in outlines)
        assert total_usd_e10(outlines) == 0
        mirror = again.access.chain.mirror
        topic_id = await world.records.topic_id()
        assert topic_id is not None
        topic = await mirror.topic(topic_id)
        assert topic.admin_key is None
        assert topic.submit_key is not None
        assert world.records.addresses is not None
        contracts = ChainContracts(again.access.chain, world.records.addresses)
        assert await contracts.read("NetworkPolicy", "latest") == 1
        from_s, _ = await contracts.read("NetworkPolicy", "parametersOf", 1)
        assert from_s == world.records.policy_time
        treasury = contracts.address("TimelockController")
        assert await contracts.read("C4EToken", "balanceOf", treasury) > 0
        assert await again.access.chain.nonce(DEPLOYER.address) == len(world.plan("0.0.1", 0).steps)
        for key in (DEPLOYER, KEEPER):
            assert (await mirror.account(key.address)).evm_address == key.address
    assert len(emulator.ledger.topics) == 1
    effects = [
        row.purpose for row in world.sends.rows.values() if row.state is HederaSendState.DONE
    ]
    assert len(effects) == len(set(effects))


async def test_outline__shows_each_step_with_its_cost_and_sends_nothing(
    emulator: Emulator,
) -> None:
    world = World(emulator)
    async with world.process() as begun:
        outlines = await begun.outline()
    assert [each.name for each in outlines[:3]] == [
        "topic",
        "account of deployer",
        "account of keeper",
    ]
    assert outlines[-1].name == "record"
    assert all(each.found is None for each in outlines)
    assert 2 * USD_E10 < total_usd_e10(outlines) < 4 * USD_E10
    assert not world.sends.rows
    assert not emulator.ledger.topics


async def test_run__makes_all_of_it_and_a_second_run_nothing(emulator: Emulator) -> None:
    world = World(emulator)
    told: list[tuple[str, str]] = []
    async with world.process() as begun:
        outlined = total_usd_e10(await begun.outline())
        before = await begun.access.client.balance(emulator.operator_id)
        await begun.carry_out(lambda name, result: told.append((name, result)))
        after = await begun.access.client.balance(emulator.operator_id)
        rate = await begun.access.chain.mirror.exchange_rate()
    assert [name for name, _ in told] == [step.name for step in begun.steps]
    await check_whole(world)
    # The outline is what it costs, to a few per cent.
    assert rate.usd_e10(before - after) == pytest.approx(outlined, rel=0.05)
    rows = dict(world.sends.rows)
    async with world.process() as again:
        await again.carry_out()
    assert world.sends.rows == rows


async def test_deployer_that_has_sent_something_else__is_refused(emulator: Emulator) -> None:
    world = World(emulator)
    async with world.process() as begun:
        for step in begun.steps[:3]:
            await step.do()
        chain = begun.access.chain
        await chain.send_raw(
            sign(
                DEPLOYER,
                chain_id=chain.chain_id,
                nonce=0,
                to=None,
                data=init_code(COUNTER),
                gas_limit=1_000_000,
            )
        )
        sent = len(world.sends.rows)
        with pytest.raises(Refused, match="has sent other transactions"):
            await begun.carry_out()
    assert len(world.sends.rows) == sent


async def test_what_a_contract_would_refuse__is_not_sent(emulator: Emulator) -> None:
    """A policy whose terms are out of range: its nonce is not used up by a failure."""
    world = World(emulator)
    plan = world.plan

    def broken(topic_id: str, policy_from_s: int) -> Plan:
        return plan(topic_id, max(0, policy_from_s - 10_000))  # over before it can be stored

    async with world.access() as access:
        wanted = replace(world.wanted(), plan=broken)
        begun = Initialisation(access, world.records, wanted)
        with pytest.raises(Refused):
            await begun.carry_out()
        place = [step.label for step in plan("0.0.1", 0).steps].index("NetworkPolicy")
        assert await access.chain.nonce(DEPLOYER.address) == place
    async with world.process() as again:
        await again.carry_out()
    await check_whole(world)


@pytest.mark.parametrize(
    "after", [True, pytest.param(False, marks=pytest.mark.long)], ids=["after", "before"]
)
async def test_crash_at_every_write__a_later_run_goes_on_and_nothing_is_twice(
    emulator: Emulator, after: bool
) -> None:
    """Each process ends at its first, second or third write, in turn, until one comes through."""
    world = World(emulator)
    crashed, is_whole = 0, False
    while not is_whole:
        async with world.process(Crashes(at=1 + crashed % 3, after=after)) as begun:
            try:
                await begun.carry_out()
                is_whole = True
            except Crash:
                crashed += 1
    assert crashed > len(begun.steps)
    await check_whole(world)


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    places=st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=3, max_size=12),
    down_s=st.sampled_from([0, 30, 200, 4_000]),
)
async def test_crashes_anywhere_with_any_time_between__exactly_one_of_each(
    places: list[tuple[int, bool]], down_s: int
) -> None:
    """Also after the ids have expired, and after the policy would have begun."""
    async with running_emulator(seed="crashes", mirrors=1) as emulator:
        world = World(emulator)
        for at, after in places:
            async with world.process(Crashes(at=at, after=after)) as begun:
                try:
                    await begun.carry_out()
                except Crash:
                    emulator.clock.advance(down_s)
        for _ in range(3):
            try:
                async with world.process() as begun:
                    await begun.carry_out()
                break
            except Unavailable:  # what became of one is not known before its id expires
                emulator.clock.advance(200)
        await check_whole(world)


def first_sends(times: int) -> Callable[[Any], bool]:
    """Hold of the first so many sends of each step, whatever ids they have."""
    seen: Counter[tuple[str, bytes | int]] = Counter()

    def is_first(body: Any) -> bool:
        kind = body.WhichOneof("data")
        raw = bytes(body.ethereumTransaction.ethereum_data)
        what = parse(raw).nonce if raw else getattr(body, kind).SerializeToString()
        seen[kind, what] += 1
        return seen[kind, what] <= times

    return is_first


async def finish(world: World) -> None:
    """One process after the other, with time between them, until one comes through."""
    for _ in range(80):
        try:
            async with world.process() as begun:
                await begun.carry_out()
        except Unavailable:  # and nothing else
            world.emulator.clock.advance(200)
        else:
            break
    world.emulator.faults.clear()
    await check_whole(world)


@pytest.mark.parametrize(
    ("kind", "times", "value"),
    [
        (FaultKind.BUSY, 2, None),
        (FaultKind.REFUSED, 1, "PLATFORM_NOT_ACTIVE"),
        pytest.param(FaultKind.REFUSED, 1, "INSUFFICIENT_PAYER_BALANCE", marks=pytest.mark.long),
        (FaultKind.TIMEOUT_AFTER_SUCCESS, 1, None),
        pytest.param(FaultKind.LOST_IN_FLIGHT, 1, None, marks=pytest.mark.long),
        (FaultKind.LOST_IN_FLIGHT, UNANSWERED_MAX, None),
        (FaultKind.WRONG_FEE, 1, 10),
    ],
)
async def test_a_fault_at_each_step__leaves_one_of_each(
    kind: FaultKind, times: int, value: object, emulator: Emulator
) -> None:
    world = World(emulator)
    strikes = first_sends(times)
    fault = emulator.faults.add(kind, times=None, value=value, where=strikes)
    await finish(world)
    async with world.process() as begun:
        assert fault.struck == times * (len(begun.steps) - 1)  # all but the record


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.UNAVAILABLE,
        FaultKind.MIRROR_DOWN,
        FaultKind.RECEIPT_LOST,
        FaultKind.RECEIPT_UNKNOWN,
    ],
)
async def test_faults_that_come_again_and_again__leave_one_of_each(
    kind: FaultKind, emulator: Emulator
) -> None:
    """Nodes and mirrors answer every second time, and no receipt is ever given."""
    world = World(emulator)
    calls = count()
    is_now = None if "receipt" in kind else (lambda subject: next(calls) % 2 == 0)
    emulator.faults.add(kind, times=None, where=is_now)
    await finish(world)


@pytest.mark.long
async def test_mirrors_that_are_behind__leave_one_of_each(emulator: Emulator) -> None:
    emulator.faults.lag_mirror(20)
    await finish(World(emulator))


async def test_nothing_comes_back__leaves_one_of_each(emulator: Emulator) -> None:
    """Each is executed, answer and receipt are lost, and the mirrors are behind."""
    emulator.faults.add(FaultKind.TIMEOUT_AFTER_SUCCESS, times=None, where=first_sends(1))
    emulator.faults.add(FaultKind.RECEIPT_LOST, times=None)
    emulator.faults.lag_mirror(40)
    await finish(World(emulator))


async def test_a_node_that_restarts__leaves_one_of_each(emulator: Emulator) -> None:
    world = World(emulator)
    async with world.process() as begun:
        for step in begun.steps[: len(begun.steps) // 2]:
            await step.do()
        await emulator.restart_node()
    await finish(world)
