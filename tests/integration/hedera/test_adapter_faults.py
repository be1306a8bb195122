"""Whatever fails on the way to Hedera and back: each anchor and each payment happens once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from chargera.app.log_ports import AnchorState, SignedHead
from chargera.app.log_testing import MemoryAnchorStore, MemoryLogStore
from chargera.domain.errors import ChargEraError
from chargera.ledger.anchoring import Anchoring
from chargera.ledger.evm.artifacts import load
from chargera.ledger.hedera.topic import HederaTopic
from chargera.ledger.network_contracts import ChainContracts, StoredSender
from chargera.proofs.chain_values import address_text
from tests.doubles.hedera.faults import FaultKind
from tests.doubles.hedera.mirror_topics import LIES
from tests.evm_contracts import Account
from tests.integration.hedera.adapter_rig import SENDER, AdapterRig, adapter
from tests.unit.ledger.test_network_contracts import MemorySends

HOLDER = address_text(b"\x22" * 20)
NOTE = b"a head of the log"
SIZE = 7
ROUNDS = 8
AMOUNT = 5

Break = Callable[[AdapterRig], None]


@dataclass(frozen=True)
class Case:
    name: str
    break_: Break


def fault(
    kind: FaultKind, *, times: int | None = 1, value: object = None, method: str = ""
) -> Case:
    def break_(rig: AdapterRig) -> None:
        rig.faults.add(kind, times=times, value=value, method=method or None)

    name = "-".join(str(part) for part in (kind, value or method or "", times) if part)
    return Case(name, break_)


def throttle(rig: AdapterRig) -> None:
    rig.faults.throttles["consensusSubmitMessage"] = rig.faults.throttles["ethereumTransaction"] = 0


REFUSALS = [
    "BUSY",
    "PLATFORM_NOT_ACTIVE",
    "PLATFORM_TRANSACTION_NOT_CREATED",
    "INVALID_NODE_ACCOUNT",
    "INVALID_TRANSACTION_START",
    "TRANSACTION_EXPIRED",
    "DUPLICATE_TRANSACTION",
    "INSUFFICIENT_PAYER_BALANCE",
    "INSUFFICIENT_TX_FEE",
    "INVALID_SIGNATURE",
    "PAYER_ACCOUNT_NOT_FOUND",
    "TRANSACTION_OVERSIZE",
]

CASES = [
    Case("none", lambda rig: None),
    *(fault(FaultKind.BUSY, times=times) for times in (1, 7, None)),
    *(fault(FaultKind.REFUSED, value=value) for value in REFUSALS),
    *(fault(FaultKind.REFUSED, value=value, times=9) for value in REFUSALS),
    *(fault(FaultKind.UNAVAILABLE, times=times) for times in (1, 2, 3, 9, None)),
    *(fault(FaultKind.TIMEOUT_AFTER_SUCCESS, times=times) for times in (1, 3, None)),
    *(fault(FaultKind.LOST_IN_FLIGHT, times=times) for times in (1, 2, 5)),
    *(fault(FaultKind.RECEIPT_LOST, times=times) for times in (1, 9, None)),
    *(fault(FaultKind.RECEIPT_UNKNOWN, times=times) for times in (1, 9, None)),
    *(fault(FaultKind.WRONG_FEE, value=value, times=3) for value in (10, 10_000)),
    *(fault(FaultKind.MIRROR_DOWN, times=times) for times in (1, 4, 50, None)),
    *(
        fault(FaultKind.MIRROR_DOWN, times=None, method=f"/api/v1/{path}")
        for path in ("topics", "transactions", "blocks", "contracts/results", "accounts")
    ),
    *(fault(FaultKind.MIRROR_LIE, value=lie, times=None) for lie in LIES),
    Case("throttled", throttle),
    Case("mirror 20 s behind", lambda rig: rig.faults.lag_mirror(20)),
    Case("mirror 300 s behind", lambda rig: rig.faults.lag_mirror(300)),
]


def both(rig: AdapterRig) -> None:
    rig.faults.add(FaultKind.TIMEOUT_AFTER_SUCCESS, times=2)
    rig.faults.add(FaultKind.RECEIPT_LOST, times=None)
    rig.faults.lag_mirror(90)


def dark(rig: AdapterRig) -> None:
    rig.faults.add(FaultKind.TIMEOUT_AFTER_SUCCESS, times=1)
    rig.faults.add(FaultKind.UNAVAILABLE, times=None)
    rig.faults.add(FaultKind.MIRROR_DOWN, times=None)


def taken_then_refused(rig: AdapterRig) -> None:
    before = done(rig)
    rig.faults.add(FaultKind.TIMEOUT_AFTER_SUCCESS, times=1)
    rig.faults.add(FaultKind.RECEIPT_LOST, times=None)
    rig.faults.add(
        FaultKind.REFUSED,
        times=None,
        value="INVALID_SIGNATURE",
        where=lambda body: done(rig) > before,
    )
    rig.faults.lag_mirror(60)


def done(rig: AdapterRig) -> int:
    """How much has had its effect."""
    kinds = ("consensusSubmitMessage", "ethereumTransaction")
    return sum(len(rig.effects(kind)) for kind in kinds)


CASES += [Case("no receipt and a mirror behind", both), Case("all dark after success", dark)]
CASES += [Case("taken, and refused when sent again", taken_then_refused)]

each_fault = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


@pytest.fixture
async def rig() -> AsyncIterator[AdapterRig]:
    async with adapter() as made:
        yield made


# Anchors ---------------------------------------------------------------------------------------


class AnchoringRig:
    """Anchoring as the server does it: a tick by policy, and the job that delivers."""

    def __init__(self, rig: AdapterRig) -> None:
        self.rig = rig
        self.log = MemoryLogStore()
        self.anchors = MemoryAnchorStore(self.log)

    async def start(self) -> None:
        await self.rig.create_topic()
        self.rig.clock.advance(1_000)  # the mirror knows the topic, however far it is behind
        await self.log.add_head(SignedHead(SIZE, NOTE, datetime(2026, 1, 1, tzinfo=UTC)))
        self.restart()

    def restart(self) -> None:
        self.rig.restart()
        self.anchoring = Anchoring(self.anchors, self.rig.topic, self.rig.clock)

    async def round(self) -> None:
        await self.anchoring.tick()
        for anchor in await self.anchors.anchors(0, 9):
            with suppress(ChargEraError):
                await self.anchoring.deliver(anchor.tree_size)

    @property
    def messages(self) -> list[bytes]:
        return [
            record.body.consensusSubmitMessage.message
            for record in self.rig.effects("consensusSubmitMessage")
        ]

    async def state(self) -> AnchorState:
        (anchor,) = await self.anchors.anchors(0, 9)
        return anchor.state


@each_fault
async def test_an_anchor__each_fault__once_on_the_topic(rig: AdapterRig, case: Case) -> None:
    network = AnchoringRig(rig)
    await network.start()
    case.break_(rig)
    for turn in range(3):
        await network.round()
        assert len(network.messages) <= 1
        if turn == 1:
            network.restart()
        rig.clock.advance(70)
    await heal(rig, network.round)
    assert network.messages == [NOTE]
    assert await network.state() is AnchorState.ANCHORED
    (anchor,) = await network.anchors.anchors(0, 9)
    assert anchor.message is not None
    anchor.message.check()
    assert anchor.message.message == NOTE


async def heal(rig: AdapterRig, round_: Callable[[], Awaitable[None]]) -> None:
    """End all faults and let time pass as a network would that goes on."""
    rig.faults.clear()
    for _ in range(ROUNDS):
        await round_()
        rig.clock.advance(1_800)


class Crash(BaseException):
    """The end of a process."""


class Steps:
    """Counts the calls of what it is around, and ends the process before or after one of them."""

    def __init__(self, call: int, *, after: bool) -> None:
        self.call = call
        self.after = after

    def around(self, target: Any) -> Any:
        steps = self

        class Around:
            def __getattr__(self, name: str) -> Any:
                method = getattr(target, name)

                async def called(*arguments: Any) -> Any:
                    steps.call -= 1
                    if steps.call == 0 and not steps.after:
                        raise Crash
                    answer = await method(*arguments)
                    if steps.call == 0 and steps.after:
                        raise Crash
                    return answer

                return called

        return Around()


each_step = pytest.mark.parametrize(
    ("call", "after"), [(call, after) for call in range(1, 15) for after in (False, True)]
)


@each_step
async def test_an_anchor__a_crash_at_each_step__once_on_the_topic(
    rig: AdapterRig, call: int, after: bool
) -> None:
    network = AnchoringRig(rig)
    await network.start()
    steps = Steps(call, after=after)
    topic = HederaTopic(rig.topic_id, rig.client, rig.delivery, rig.clock)
    anchoring = Anchoring(steps.around(network.anchors), steps.around(topic), rig.clock)
    with suppress(Crash):
        await anchoring.tick()
        await anchoring.deliver(SIZE)
    network.restart()
    await heal(rig, network.round)
    assert network.messages == [NOTE]
    assert await network.state() is AnchorState.ANCHORED


async def test_an_anchor__a_topic_that_the_mirror_does_not_have_yet__later(
    rig: AdapterRig,
) -> None:
    network = AnchoringRig(rig)
    await network.start()
    rig.topic_id = "0.0.7777"
    network.restart()
    await network.round()
    assert "it is new, or" in str(network.anchoring.health.reason)


async def test_an_anchor__a_node_that_restarts__once(rig: AdapterRig) -> None:
    network = AnchoringRig(rig)
    await network.start()
    await rig.emulator.restart_node()
    await network.round()
    await heal(rig, network.round)
    assert network.messages == [NOTE]


async def test_an_anchor__a_lying_mirror__waits_and_says_which(rig: AdapterRig) -> None:
    network = AnchoringRig(rig)
    await network.start()
    rig.faults.add(FaultKind.MIRROR_LIE, times=None, value="message")
    await network.round()
    health = network.anchoring.health
    assert not health.healthy
    assert f"{rig.emulator.mirror_url} does not add up" in str(health.reason)


@pytest.mark.parametrize("lie", LIES)
async def test_an_anchor__a_lying_mirror_and_an_honest_one__once_by_the_honest_one(
    lie: str,
) -> None:
    async with adapter(mirrors=2) as rig:
        network = AnchoringRig(rig)
        await network.start()
        rig.faults.add(FaultKind.MIRROR_LIE, times=None, value=lie, mirror=0)
        for _ in range(ROUNDS):
            await network.round()
            rig.clock.advance(200)
        assert network.messages == [NOTE]
        assert await network.state() is AnchorState.ANCHORED


async def test_an_anchor__a_mirror_far_behind_and_another__once_by_the_other() -> None:
    async with adapter(mirrors=2) as rig:
        network = AnchoringRig(rig)
        await network.start()
        rig.faults.lag_mirror(10**6, mirror=0)
        for _ in range(ROUNDS):
            await network.round()
            rig.clock.advance(200)
        assert network.messages == [NOTE]
        assert await network.state() is AnchorState.ANCHORED


# Payments --------------------------------------------------------------------------------------


class PayingRig:
    """An account that pays somebody once, as the server does it: stored before it is sent."""

    def __init__(self, rig: AdapterRig) -> None:
        self.rig = rig
        self.sends = MemorySends()
        self.euro = b""

    async def start(self) -> None:
        await self.rig.create_account(SENDER.address)
        creation = Account(SENDER, self.rig.chain_id).transaction(
            None, load("TestEuro").creation({}), gas=5_000_000
        )
        made = (await self.rig.sent(creation)).created
        assert made is not None
        self.euro = made
        self.restart()

    def restart(self) -> None:
        self.rig.restart()
        self.contracts = ChainContracts(self.rig.chain, {"TestEuro": address_text(self.euro)})
        self.sender = StoredSender(self.contracts, SENDER, self.sends, self.rig.clock)

    async def pay(self, purpose: str = "claim") -> str:
        return await self.sender.send(purpose, "TestEuro", "faucet", HOLDER, AMOUNT)

    async def round(self) -> None:
        with suppress(ChargEraError):
            await self.pay()

    async def paid(self) -> int:
        data = self.contracts.calldata("TestEuro", "balanceOf", [HOLDER])
        answer = await self.rig.mirror.call(self.euro, data)
        return int.from_bytes(answer, "big")


@each_fault
async def test_a_payment__each_fault__paid_once(rig: AdapterRig, case: Case) -> None:
    network = PayingRig(rig)
    await network.start()
    case.break_(rig)
    for turn in range(3):
        await network.round()
        assert len(rig.effects("ethereumTransaction")) <= 2
        if turn == 1:
            network.restart()
        rig.clock.advance(70)
    await heal(rig, network.round)
    assert await network.paid() == AMOUNT
    assert len(rig.effects("ethereumTransaction")) == 2  # the contract and the payment
    assert [row.outcome for row in network.sends.rows.values()] == ["ok"]


@pytest.mark.long
@each_fault
async def test_payments__a_fault_between_two__each_paid_once(rig: AdapterRig, case: Case) -> None:
    network = PayingRig(rig)
    await network.start()
    case.break_(rig)
    for purpose in ("first", "second"):
        with suppress(ChargEraError):
            await network.pay(purpose)
        network.restart()
        rig.clock.advance(70)

    async def round_() -> None:
        for purpose in ("second", "first"):
            with suppress(ChargEraError):
                await network.pay(purpose)

    await heal(rig, round_)
    assert await network.paid() == 2 * AMOUNT


@each_step
async def test_a_payment__a_crash_at_each_step__paid_once(
    rig: AdapterRig, call: int, after: bool
) -> None:
    network = PayingRig(rig)
    await network.start()
    steps = Steps(call, after=after)
    store, sends = rig.store, network.sends
    rig.store, network.sends = steps.around(store), steps.around(sends)
    network.restart()
    with suppress(Crash):
        await network.pay()
    rig.store, network.sends = store, sends
    network.restart()
    await heal(rig, network.round)
    assert await network.paid() == AMOUNT
    assert len(rig.effects("ethereumTransaction")) == 2
