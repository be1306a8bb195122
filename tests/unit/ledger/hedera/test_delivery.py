"""Exactly one effect for one purpose, whatever is lost: ids are stored before they are sent."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.app.hedera_ports import HederaSendState
from chargera.domain.errors import ChargEraError, Refused, Unavailable
from chargera.ledger.hedera.client import HapiReceipt
from chargera.ledger.hedera.delivery import (
    SENDS_MAX,
    UNANSWERED_MAX,
    Delivery,
    Outbox,
    Outcome,
)
from chargera.ledger.hedera.failures import NODE_DOWN, HapiFailure, Stage
from chargera.ledger.transaction_id import HederaTransactionId, timestamp_text, to_ns
from tests.unit.ledger.hedera.fakes import START, HandClock, MemoryHederaSends, mirror_answering

PAYER = "0.0.1002"


@dataclass
class FakeNetwork:
    """One node and its mirror: each id has one effect; its faults are taken from the front."""

    clock: HandClock
    store: MemoryHederaSends
    sends: list[str] = field(default_factory=list)
    effects: dict[str, str] = field(default_factory=dict)
    """Status by id, of those that reached consensus."""
    times: dict[str, datetime] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    receipts_lost: bool = False
    receipts_fail: bool = False
    mirror_down: bool = False
    mirror_lag: timedelta = timedelta()
    status: str = "SUCCESS"
    numbers: Any = field(default_factory=count)

    async def submit(self, transaction_id: HederaTransactionId) -> None:
        name = str(transaction_id)
        stored = self.store.rows.get(name)
        assert stored is not None, "stored before it is sent"
        assert stored.state is HederaSendState.SENT, "sent only while its outcome is open"
        self.sends.append(name)
        fault = self.faults.pop(0) if self.faults else ""
        match fault:
            case "BUSY" | "INVALID_SIGNATURE" | "INSUFFICIENT_PAYER_BALANCE":
                raise HapiFailure(Stage.PRECHECK, fault)
            case "down":
                raise HapiFailure(Stage.TRANSPORT, NODE_DOWN)
            case "crash before":
                raise SystemExit
        if transaction_id.is_expired(self.clock.now()):
            raise HapiFailure(Stage.PRECHECK, "TRANSACTION_EXPIRED")
        if name in self.effects:
            raise HapiFailure(Stage.PRECHECK, "DUPLICATE_TRANSACTION")
        if fault != "lost in flight":
            self.effects[name] = self.status
            self.times[name] = self.clock.now()
        if fault == "time-out after success":
            raise HapiFailure(Stage.TRANSPORT, "DEADLINE_EXCEEDED")
        if fault == "crash after":
            raise SystemExit

    async def receipt(self, transaction_id: HederaTransactionId) -> HapiReceipt | None:
        if self.receipts_fail:
            raise HapiFailure(Stage.TRANSPORT, "UNAVAILABLE")
        status = self.effects.get(str(transaction_id))
        if status is None or self.receipts_lost:
            return None
        return HapiReceipt(status, "0.0.5000")

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        if self.mirror_down:
            return httpx2.Response(503, json={})
        knows_until = self.clock.now() - self.mirror_lag
        if request.url.path.endswith("/blocks"):
            began = timestamp_text(to_ns(knows_until))
            block = {"number": 1, "timestamp": {"from": began, "to": began}}
            return httpx2.Response(200, json={"blocks": [block]})
        named = request.url.path.rpartition("/")[2]
        payer, seconds, nanoseconds = named.split("-")
        name = f"{payer}@{seconds}.{nanoseconds}"
        status = self.effects.get(name)
        if status is None or self.times.get(name, START) > knows_until:
            return httpx2.Response(404, json={})
        row = {
            "charged_tx_fee": 1,
            "consensus_timestamp": "5.000000000",
            "entity_id": "0.0.5000",
            "name": "X",
            "nonce": 0,
            "result": status,
            "scheduled": False,
        }
        return httpx2.Response(200, json={"transactions": [row]})


class Rig:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.store = MemoryHederaSends()
        self.network = FakeNetwork(self.clock, self.store)
        self.restart()

    def restart(self) -> None:
        mirror = mirror_answering(self.network.answer)
        delivery = Delivery(self.network, mirror, self.clock, self.clock.pause)
        numbers = self.network.numbers
        self.outbox = Outbox(
            delivery,
            self.store,
            self.clock,
            PAYER,
            lambda size: next(numbers).to_bytes(size, "big"),
        )

    async def once(self, purpose: str = "p") -> Outcome:
        return await self.outbox.once(purpose, self.network.submit)

    def wait(self, seconds: float) -> None:
        self.clock.time += timedelta(seconds=seconds)

    @property
    def succeeded(self) -> int:
        return sum(status == "SUCCESS" for status in self.network.effects.values())


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_once__stored_sent_and_known(rig: Rig) -> None:
    outcome = await rig.once()
    assert (outcome.status, outcome.entity_id) == ("SUCCESS", "0.0.5000")
    assert rig.store.states() == ["done"]
    assert await rig.once() == Outcome("SUCCESS", "0.0.5000")
    assert len(rig.network.sends) == 1


async def test_once__two_purposes__two_transactions(rig: Rig) -> None:
    await rig.once("p")
    await rig.once("q")
    assert len(set(rig.network.sends)) == 2


@pytest.mark.parametrize("fault", ["BUSY", "down"])
async def test_once__not_taken__the_same_id_again(rig: Rig, fault: str) -> None:
    rig.network.faults = [fault] * (SENDS_MAX - 1)
    await rig.once()
    assert len(rig.network.sends) == SENDS_MAX
    assert len(set(rig.network.sends)) == 1


async def test_once__never_taken__unavailable_and_then_the_same_id(rig: Rig) -> None:
    rig.network.faults = ["BUSY"] * SENDS_MAX
    with pytest.raises(Unavailable, match="BUSY"):
        await rig.once()
    assert rig.store.states() == ["sent"]
    await rig.once()
    assert len(set(rig.network.sends)) == 1
    assert rig.succeeded == 1


async def test_once__a_time_out_after_success__one_send_one_effect(rig: Rig) -> None:
    rig.network.faults = ["time-out after success"]
    await rig.once()
    assert len(rig.network.sends) == 1


async def test_once__a_time_out_and_no_receipt__the_mirror_tells(rig: Rig) -> None:
    rig.network.faults = ["time-out after success"]
    rig.network.receipts_lost = True
    outcome = await rig.once()
    assert outcome.consensus_timestamp == "5.000000000"
    assert len(rig.network.sends) == 1


async def test_once__nobody_tells__sent_again_under_the_same_id_and_then_asked_for(
    rig: Rig,
) -> None:
    rig.network.receipts_fail = rig.network.mirror_down = True
    with pytest.raises(Unavailable, match="not known yet"):
        await rig.once()
    assert set(rig.network.sends) == {rig.network.sends[0]}
    rig.network.receipts_fail = False
    await rig.once()
    assert rig.succeeded == 1
    assert rig.store.states() == ["done"]


async def test_once__lost_in_flight__sent_again_under_the_same_id(rig: Rig) -> None:
    rig.network.faults = ["lost in flight"]
    await rig.once()
    assert len(rig.network.sends) == UNANSWERED_MAX
    assert rig.succeeded == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [("INVALID_SIGNATURE", Refused), ("INSUFFICIENT_PAYER_BALANCE", Unavailable)],
)
async def test_once__a_node_refuses__told_and_open_under_its_id(
    rig: Rig, fault: str, error: type[ChargEraError]
) -> None:
    rig.network.faults = [fault]
    with pytest.raises(error, match=fault):
        await rig.once()
    assert len(rig.network.sends) == 1
    assert rig.store.states() == ["sent"]
    await rig.once()
    assert set(rig.network.sends) == {rig.network.sends[0]}


async def test_once__refused_by_consensus__another_id_next_time(rig: Rig) -> None:
    rig.network.status = "INVALID_TOPIC_ID"
    with pytest.raises(Refused, match="INVALID_TOPIC_ID"):
        await rig.once()
    assert rig.store.states() == ["failed"]
    rig.network.status = "SUCCESS"
    await rig.once()
    assert rig.store.states() == ["failed", "done"]


async def test_attempt__a_status_that_is_an_effect__ends_it(rig: Rig) -> None:
    rig.network.status = "CONTRACT_REVERT_EXECUTED"
    effects = frozenset({"SUCCESS", "CONTRACT_REVERT_EXECUTED"})
    for _ in range(2):
        outcome = await rig.outbox.attempt("p", rig.network.submit, effects)
        assert outcome.status == "CONTRACT_REVERT_EXECUTED"
    assert len(rig.network.sends) == 1


async def crash(rig: Rig, fault: str) -> None:
    rig.network.faults = [fault]
    with pytest.raises(SystemExit):
        await rig.once()
    rig.restart()


@pytest.mark.parametrize("fault", ["crash before", "crash after"])
async def test_crash__within_the_window__the_same_id(rig: Rig, fault: str) -> None:
    await crash(rig, fault)
    await rig.once()
    assert len(set(rig.network.sends)) == 1
    assert rig.succeeded == 1


@pytest.mark.parametrize("fault", ["crash before", "crash after"])
async def test_crash__long_ago__the_mirror_decides(rig: Rig, fault: str) -> None:
    await crash(rig, fault)
    rig.wait(200)
    await rig.once()
    assert rig.succeeded == 1
    states = {"crash before": ["lost", "done"], "crash after": ["done"]}
    assert rig.store.states() == states[fault]


@pytest.mark.parametrize("fault", ["crash before", "crash after"])
async def test_crash__long_ago_and_the_mirror_lags__waits_until_it_is_past_the_window(
    rig: Rig, fault: str
) -> None:
    await crash(rig, fault)
    rig.wait(200)
    rig.network.mirror_lag = timedelta(seconds=250)
    with pytest.raises(Unavailable, match="past the end"):
        await rig.once()
    assert len(rig.network.sends) == 1
    rig.network.mirror_lag = timedelta()
    await rig.once()
    assert rig.succeeded == 1


async def test_crash__long_ago_and_it_had_failed__another_id(rig: Rig) -> None:
    rig.network.status = "INSUFFICIENT_PAYER_BALANCE"
    await crash(rig, "crash after")
    rig.wait(200)
    rig.network.status = "SUCCESS"
    await rig.once()
    assert rig.store.states() == ["failed", "done"]


async def test_once__expires_while_it_is_tried__unavailable_then_replaced(rig: Rig) -> None:
    rig.network.faults = ["BUSY"]
    original = rig.clock.pause

    async def long_pause(seconds: float) -> None:
        await original(130)

    mirror = mirror_answering(rig.network.answer)
    delivery = Delivery(rig.network, mirror, rig.clock, long_pause)
    outbox = Outbox(delivery, rig.store, rig.clock, PAYER, lambda size: b"\x01" * size)
    with pytest.raises(Unavailable):
        await outbox.once("p", rig.network.submit)
    await rig.once()
    assert rig.store.states() == ["lost", "done"]


async def test_once__somebody_else_has_just_begun__unavailable(rig: Rig) -> None:
    store = rig.store
    await rig.once()
    delivery = Delivery(rig.network, mirror_answering(rig.network.answer), rig.clock)

    class Blind(MemoryHederaSends):
        async def find(self, purpose: str) -> None:
            return None

        async def add(self, hedera_transaction_id: str, purpose: str, at: Any) -> None:
            await MemoryHederaSends.add(store, hedera_transaction_id, purpose, at)

    outbox = Outbox(delivery, Blind(), rig.clock, PAYER, lambda size: b"\x09" * size)
    with pytest.raises(Unavailable, match="being sent already"):
        await outbox.once("p", rig.network.submit)


async def test_known__a_receipt_that_is_not_final__asks_the_mirror(rig: Rig) -> None:
    delivery = Delivery(rig.network, mirror_answering(rig.network.answer), rig.clock)
    transaction_id = HederaTransactionId.new(PAYER, rig.clock.now(), 1)
    rig.network.effects[str(transaction_id)] = "UNKNOWN"
    outcome = await delivery.known(transaction_id)
    assert outcome is not None
    assert outcome.consensus_timestamp is not None


FAULTS = [
    "",
    "BUSY",
    "down",
    "time-out after success",
    "lost in flight",
    "crash before",
    "crash after",
    "INVALID_SIGNATURE",
    "INSUFFICIENT_PAYER_BALANCE",
]


@given(
    faults=st.lists(st.sampled_from(FAULTS), max_size=12),
    turns=st.lists(
        st.tuples(
            st.sampled_from([0, 30, 119, 125, 400]),
            st.booleans(),
            st.booleans(),
            st.sampled_from([0, 0, 60, 300]),
        ),
        max_size=6,
    ),
)
async def test_any_faults__never_two_effects_and_in_the_end_one(
    faults: list[str], turns: list[tuple[int, bool, bool, int]]
) -> None:
    rig = Rig()
    rig.network.faults = list(faults)
    for wait_s, receipts_lost, mirror_down, lag_s in turns:
        rig.network.receipts_lost, rig.network.mirror_down = receipts_lost, mirror_down
        rig.network.mirror_lag = timedelta(seconds=lag_s)
        try:
            await rig.once()
        except (ChargEraError, SystemExit):
            rig.restart()
        rig.wait(wait_s)
        assert rig.succeeded <= 1
    rig.network.receipts_lost = rig.network.mirror_down = False
    rig.network.mirror_lag = timedelta()
    rig.network.faults = []
    rig.wait(400)
    await rig.once()
    assert rig.succeeded == 1
    assert rig.store.states().count("done") == 1


@pytest.mark.parametrize(
    ("results", "status"),
    [
        (["DUPLICATE_TRANSACTION"], None),
        (["DUPLICATE_TRANSACTION", "SUCCESS"], "SUCCESS"),
        (["INVALID_NODE_ACCOUNT", "SUCCESS"], "SUCCESS"),
        (["INVALID_SIGNATURE", "DUPLICATE_TRANSACTION"], "INVALID_SIGNATURE"),
    ],
)
async def test_resolve__duplicates_say_nothing_and_a_success_counts(
    rig: Rig, results: list[str], status: str | None
) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/blocks"):
            return rig.network.answer(request)
        row = {
            "charged_tx_fee": 1,
            "consensus_timestamp": "5.000000000",
            "entity_id": None,
            "name": "X",
            "nonce": 0,
            "scheduled": False,
        }
        return httpx2.Response(
            200, json={"transactions": [row | {"result": result} for result in results]}
        )

    transaction_id = HederaTransactionId.new(PAYER, rig.clock.now(), 1)
    rig.wait(200)
    outcome = await Delivery(rig.network, mirror_answering(answer), rig.clock).resolve(
        transaction_id
    )
    assert (outcome and outcome.status) == status


async def test_bring__taken_without_an_answer_and_then_refused__not_known(rig: Rig) -> None:
    """A refusal now says nothing of what was taken before: nobody may take another id yet."""
    rig.network.faults = ["time-out after success", "INVALID_SIGNATURE"]
    rig.network.receipts_lost = rig.network.mirror_down = True
    with pytest.raises(Unavailable, match="not known yet"):
        await rig.once()
    assert rig.store.states() == ["sent"]
