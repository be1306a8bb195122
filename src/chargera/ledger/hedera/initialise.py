"""A network's beginning on Hedera: topic, accounts and contracts, as steps that may be repeated.

Each step looks first whether it is done, and sends under an id that was stored before. So a run
that ends anywhere, between any two lines, is simply run again: nothing is made twice.

| step     | what it makes                                  | how a later run knows      |
|----------|------------------------------------------------|----------------------------|
| topic    | a topic without admin key, 1 of 3 keys submits | it is in the records       |
| account  | an account at the address of one of our keys   | the mirror has it          |
| contract | one transaction of the deployment plan         | the mirror has its receipt |
| record   | the contracts' addresses, for the server       | they are in the records    |
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from chargera.app.chain_ports import GAS_LIMIT, Receipt
from chargera.app.hedera_ports import HederaSendState, HederaSendStore
from chargera.app.ports import Clock
from chargera.domain.errors import NotFound, Refused, Unavailable
from chargera.ledger.abi import read_revert
from chargera.ledger.evm.deployment import Plan
from chargera.ledger.evm.deployment import Step as Transaction
from chargera.ledger.evm.transaction import SigningKey
from chargera.ledger.evm.transaction import parse as parse_transaction
from chargera.ledger.hedera.chain import HederaChain
from chargera.ledger.hedera.client import HapiClient
from chargera.ledger.hedera.cost import deployment_gas
from chargera.ledger.hedera.delivery import MIRROR_TRIES, Delivery, Outbox, growing_pauses
from chargera.ledger.hedera.fees import MAINNET, FeeTable
from chargera.ledger.transaction_id import HederaTransactionId
from chargera.proofs.chain_values import address_text, hex_text

T = TypeVar("T")

ACCOUNT_TINYBAR = 1
"""What an account is made with: it pays for nothing, the operator does."""
POLICY_LEAD_S = 90
"""From when the first policy holds, counted from when its contract is about to be made."""
POLICY_LEAST_LEAD_S = 30
CALL_GAS = 60_000
"""Of a call of the plan whose gas is not among the measured."""
PURPOSE_TOPIC = "init:topic"


class Records(Protocol):
    """What this installation knows of its network; each method is one commit, durable."""

    async def topic_id(self) -> str | None:
        """Return the topic that heads are anchored on, None before there is one."""

    async def note_topic(self, topic_id: str, submit_keys: Mapping[str, bytes]) -> None:
        """Note the topic and the public keys that may submit to it; the same again is no change."""

    async def policy_from(self) -> int | None:
        """Return from when the first policy is to hold (Unix seconds), None: it is undecided."""

    async def note_policy_from(self, time_s: int) -> None:
        """Note from when the first policy is to hold."""

    async def contracts(self) -> Mapping[str, str] | None:
        """Return the contracts' addresses by name, None before they are all there."""

    async def note_contracts(self, addresses: Mapping[str, str]) -> None:
        """Note the contracts' addresses; the same again is no change."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made."""

    memo: str
    """Of the topic, at most 100 bytes; everybody reads it."""
    submit_keys: Mapping[str, bytes]
    """Compressed public keys: `current`, `next`, `cold`; any one of them may submit."""
    accounts: Mapping[str, bytes]
    """Addresses of 20 bytes that are to have accounts, by what their keys are for."""
    plan: Callable[[str, int], Plan]
    """The contracts, by topic id and from when the first policy holds."""
    deployer: SigningKey


@dataclass(frozen=True, slots=True)
class Access:
    """The network, as the operator's account reaches it."""

    client: HapiClient
    delivery: Delivery
    outbox: Outbox
    sends: HederaSendStore
    chain: HederaChain
    clock: Clock


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `usd_e10` is its estimated fee, `done` what there is of it already."""

    name: str
    usd_e10: int
    done: Callable[[], Awaitable[str | None]]
    do: Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Outline:
    """A step as it is shown before anything is done; `found` is what exists of it."""

    name: str
    usd_e10: int
    found: str | None

    @property
    def left_usd_e10(self) -> int:
        """What is still to be paid for it."""
        return 0 if self.found is not None else self.usd_e10


class Initialisation:
    """The steps of one network's beginning."""

    def __init__(
        self, access: Access, records: Records, wanted: Wanted, fees: FeeTable = MAINNET
    ) -> None:
        """Make what is `wanted` through `access`, and note it in `records`."""
        self._access = access
        self.records = records
        self._wanted = wanted
        self._fees = fees
        self.steps = tuple(self._steps())

    async def outline(self) -> list[Outline]:
        """Return all steps with what exists of them; nothing is sent. Raises Unavailable."""
        return [Outline(step.name, step.usd_e10, await step.done()) for step in self.steps]

    async def carry_out(self, told: Callable[[str, str], None] = lambda name, result: None) -> None:
        """Do what is not done, in order; `told` hears each step and what came of it.

        Raises Unavailable where an outcome is not known yet, Refused where the network or a
        contract refuses: run it again, all that was done stays done.
        """
        for step in self.steps:
            found = await step.done()
            told(step.name, found if found is not None else await step.do())

    def reserve_usd_e10(self) -> int:
        """Return what must be there beyond the fees: a transaction's whole gas is held back."""
        return self._fees.ethereum(GAS_LIMIT)

    def _steps(self) -> list[Step]:
        fees, wanted = self._fees, self._wanted
        keys = len(wanted.submit_keys)
        steps = [
            Step("topic", fees.topic_create(keys=keys), self.records.topic_id, self._make_topic)
        ]
        for name, address in wanted.accounts.items():
            made = _Account(self._access, address)
            fee = fees.account_by_transfer()
            steps.append(Step(f"account of {name}", fee, made.done, made.do))
        gas = deployment_gas()
        for place, transaction in enumerate(wanted.plan("0.0.0", 0).steps):
            contract = _Contract(self, place, transaction)
            fee = fees.ethereum(gas.get(transaction.label, CALL_GAS))
            steps.append(Step(f"contract: {transaction.label}", fee, contract.done, contract.do))
        steps.append(Step("record", 0, self._noted, self._note))
        return steps

    # Topic and records -------------------------------------------------------------------------

    async def _make_topic(self) -> str:
        client, wanted = self._access.client, self._wanted

        async def send(transaction_id: HederaTransactionId) -> None:
            await client.create_topic(
                transaction_id, wanted.memo, list(wanted.submit_keys.values()), threshold=1
            )

        outcome = await self._access.outbox.once(PURPOSE_TOPIC, send)
        assert outcome.entity_id is not None, "a topic that was made has an id"
        mirror = self._access.chain.mirror
        await self.eventually(lambda: mirror.topic(str(outcome.entity_id)))
        await self.records.note_topic(outcome.entity_id, wanted.submit_keys)
        return outcome.entity_id

    async def _noted(self) -> str | None:
        known = await self.records.contracts()
        return None if known is None else f"{len(known)} contracts"

    async def _note(self) -> str:
        plan = await self.plan()
        assert plan is not None, "all steps of it are done"
        addresses = {name: address_text(address) for name, address in plan.contracts.items()}
        await self.records.note_contracts(addresses)
        return f"{len(addresses)} contracts"

    # The plan of the contracts -----------------------------------------------------------------

    async def plan(self) -> Plan | None:
        """Return the plan as far as it is decided; None before the topic exists."""
        topic_id = await self.records.topic_id()
        if topic_id is None:
            return None
        return self._wanted.plan(topic_id, await self.records.policy_from() or 0)

    async def decided_plan(self) -> Plan:
        """Return the plan to send steps of, deciding anew from when the first policy holds.

        That must not be over when the policy's contract is made, or the contract refuses; so it
        is decided late, and again, as long as no transaction that says it may have an effect.
        """
        topic_id = await self.records.topic_id()
        if topic_id is None:
            raise Refused("the topic comes first", remedy="run the steps in their order")
        decided = await self.records.policy_from()
        now_s = math.ceil(self._access.clock.now().timestamp())
        if decided is None or (
            decided < now_s + POLICY_LEAST_LEAD_S and await self._is_open(topic_id, decided)
        ):
            decided = now_s + POLICY_LEAD_S
            await self.records.note_policy_from(decided)
        return self._wanted.plan(topic_id, decided)

    async def _is_open(self, topic_id: str, decided: int) -> bool:
        """Say whether no transaction that says from when the policy holds has an effect, ever."""
        plan, other = (self._wanted.plan(topic_id, time_s) for time_s in (decided, decided + 1))
        for place, (step, otherwise) in enumerate(zip(plan.steps, other.steps, strict=True)):
            if step != otherwise and not await self._is_without_effect(plan, place):
                return False
        return True

    async def _is_without_effect(self, plan: Plan, place: int) -> bool:
        """Say whether the transaction of a step never had, nor ever will have, an effect."""
        sends = self._access.sends
        raw_hash = self.hash_of(plan, place)
        if await self._access.chain.receipt(raw_hash) is not None:
            return False
        sent = await sends.find(f"ethereum:{hex_text(raw_hash)}")
        if sent is None:
            return True
        if sent.state is HederaSendState.DONE:
            return False
        outcome = await self._access.delivery.resolve(
            HederaTransactionId.parse(sent.hedera_transaction_id)
        )
        if outcome is not None:
            return False
        lost = replace(sent, state=HederaSendState.LOST)
        await sends.settle(lost, self._access.clock.now())
        return True

    def hash_of(self, plan: Plan, place: int) -> bytes:
        """Return the hash of a step's transaction."""
        return parse_transaction(plan.raw(place, self._wanted.deployer)).hash

    # What steps share --------------------------------------------------------------------------

    @property
    def access(self) -> Access:
        """The network."""
        return self._access

    @property
    def deployer(self) -> SigningKey:
        """The key that the contracts come from."""
        return self._wanted.deployer

    async def eventually(self, look: Callable[[], Awaitable[T]]) -> T:
        """Return what `look` returns once the mirror knows. Raises Unavailable if it lags."""
        return await _eventually(self._access.delivery, look)


@dataclass(frozen=True, slots=True)
class _Account:
    """The step that makes an account at an address."""

    access: Access
    address: bytes

    async def done(self) -> str | None:
        try:
            return (await self.access.chain.mirror.account(self.address)).account_id
        except NotFound:
            return None

    async def do(self) -> str:
        async def send(transaction_id: HederaTransactionId) -> None:
            await self.access.client.create_account_by_transfer(
                transaction_id, self.address, ACCOUNT_TINYBAR
            )

        await self.access.outbox.once(f"init:account:{hex_text(self.address)}", send)
        mirror = self.access.chain.mirror
        made = await _eventually(self.access.delivery, lambda: mirror.account(self.address))
        return made.account_id


@dataclass(frozen=True, slots=True)
class _Contract:
    """The step that sends one transaction of the deployment plan."""

    whole: Initialisation = field(repr=False)
    place: int
    transaction: Transaction

    async def done(self) -> str | None:
        known = await self.whole.records.contracts()
        if known is not None:  # policy or topic may have changed since: the plan is over
            return known.get(self.transaction.label, "done")
        plan = await self.whole.plan()
        if plan is None:
            return None
        receipt = await self.whole.access.chain.receipt(self.whole.hash_of(plan, self.place))
        return None if receipt is None else self._result(receipt)

    async def do(self) -> str:
        chain, deployer = self.whole.access.chain, self.whole.deployer
        nonce = await chain.nonce(deployer.address)
        plan = await self.whole.decided_plan()
        step = plan.steps[self.place]
        if nonce > self.place:
            raise Refused(
                f"{step.label}: the deployer's account has sent other transactions than these",
                field="deployer",
                remedy="move keys/deployer away and begin again with a new one",
            )
        if nonce < self.place:
            raise Unavailable("the mirror lags behind the deployment", remedy="run it again")
        await chain.gas_for(step.to, step.data, deployer.address)  # it would be refused: not sent
        sent = await chain.send_raw(plan.raw(self.place, deployer))
        receipt = await chain.receipt(sent)
        if receipt is None:
            raise Unavailable(
                f"{step.label}: the mirror does not tell what became of it yet",
                remedy="run it again: it is not sent twice",
            )
        return self._result(receipt)

    def _result(self, receipt: Receipt) -> str:
        if not receipt.succeeded:
            raise Refused(
                f"{self.transaction.label}: refused: {read_revert(receipt.output)}",
                remedy="move keys/deployer away and begin again with a new one",
            )
        made = receipt.created
        return "done" if made is None else address_text(made)


async def _eventually(delivery: Delivery, look: Callable[[], Awaitable[T]]) -> T:
    pauses = growing_pauses()
    for _ in range(MIRROR_TRIES):
        try:
            return await look()
        except NotFound:
            await delivery.pause(next(pauses))
    raise Unavailable("the mirror lags", remedy="run it again: nothing is made twice")


def total_usd_e10(outlines: Sequence[Outline]) -> int:
    """Return what is still to be paid for all steps."""
    return sum(each.left_usd_e10 for each in outlines)
