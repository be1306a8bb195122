"""What is tried on a network of Hedera: on the emulator always, on a real one if asked for.

It costs about 3 dollars of the network's HBAR: a topic, two accounts, all contracts, some messages.
"""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from chargera.domain.errors import Conflict, Refused
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.deployment import (
    AttesterGenesis,
    DeploymentParameters,
    OperatorGenesis,
    Plan,
    make_plan,
)
from chargera.ledger.hedera.chain import HederaChain
from chargera.ledger.hedera.client import HapiClient
from chargera.ledger.hedera.delivery import Delivery, Outbox
from chargera.ledger.hedera.fees import MAINNET
from chargera.ledger.hedera.initialise import Access, Initialisation, Wanted
from chargera.ledger.hedera.mirror import HederaMirror
from chargera.ledger.hedera.profiles import Profile
from chargera.ledger.hedera.signer import KeySigner, Signer
from chargera.ledger.hedera.topic import HederaTopic
from chargera.ledger.network_contracts import ChainContracts
from chargera.ledger.transaction_id import HederaTransactionId
from chargera.proofs.chain_values import topic_address
from chargera.proofs.mirrors import sound_stretch
from tests.integration.hedera.initialising import MemoryRecords, MemorySends

MESSAGE = b"ChargEra tries this network: %b\n" % (b"x" * 180)
FEE_TOLERANCE = 0.1


class MachineClock:
    """The time of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def _new_key() -> ChainKey:
    return ChainKey(secrets.token_bytes(32))


@dataclass
class Trial:
    """Keys of one run, all new; what survives of it is the network's."""

    access: Access
    records: MemoryRecords = field(default_factory=MemoryRecords)
    submit: dict[str, ChainKey] = field(
        default_factory=lambda: {n: _new_key() for n in ("current", "next", "cold")}
    )
    deployer: ChainKey = field(default_factory=_new_key)
    operator: ChainKey = field(default_factory=_new_key)

    def initialisation(self) -> Initialisation:
        wanted = Wanted(
            memo="ChargEra tries this network",
            submit_keys={name: KeySigner(key).public_key for name, key in self.submit.items()},
            accounts={"deployer": self.deployer.address, "operator": self.operator.address},
            plan=self._plan,
            deployer=self.deployer,
        )
        return Initialisation(self.access, self.records, wanted)

    def _plan(self, topic_id: str, policy_from_s: int) -> Plan:
        attesters = tuple(AttesterGenesis(bytes([n]) * 20, bytes([n]) * 20) for n in (1, 2, 3))
        parameters = DeploymentParameters(
            chain_id=self.access.chain.chain_id,
            bootstrap=self.operator.address,
            attesters=attesters,
            operator=OperatorGenesis(
                "NL*C4E", self.operator.address, b"\1" * 32, topic_address(topic_id)
            ),
            policy_from_s=policy_from_s,
        )
        return make_plan(parameters, self.deployer.address)

    async def topic(self, key: str = "current") -> HederaTopic:
        topic_id = await self.records.topic_id()
        assert topic_id is not None, "the network was begun"
        it = self.access
        signer = KeySigner(self.submit[key])
        return HederaTopic(topic_id, it.client, it.delivery, it.clock, [signer])

    def new_id(self, number: int) -> str:
        it = self.access
        payer = it.client.payer_account_id
        return str(HederaTransactionId.new(payer, it.clock.now(), number))


@asynccontextmanager
async def trial(
    profile: Profile, account_id: str, signer: Signer, clock: MachineClock | None = None
) -> AsyncIterator[Trial]:
    """Reach the network with the operator's account."""
    clock = clock or MachineClock()
    client = HapiClient(profile.network, account_id, signer)
    try:
        async with HederaMirror.connected(profile.mirrors) as mirror:
            sends = MemorySends()
            delivery = Delivery(client, mirror, clock)
            outbox = Outbox(delivery, sends, clock, account_id, secrets.token_bytes)
            assert profile.chain_id is not None
            chain = HederaChain(profile.chain_id, client, delivery, outbox)
            yield Trial(Access(client, delivery, outbox, sends, chain, clock))
    finally:
        await client.close()


async def try_network(it: Trial, told: Callable[[str], None] = print) -> None:
    """Begin a network, anchor with each key, read all of it again from the mirror alone."""
    rate = await it.access.chain.mirror.exchange_rate()
    begun = it.initialisation()
    await begun.carry_out(lambda name, result: told(f"{name}: {result}"))
    outlines = await begun.outline()
    assert all(outline.found for outline in outlines)
    await _contracts_answer(it)
    placed = []
    for number, key in enumerate(it.submit):
        topic = await it.topic(key)
        placed.append(await topic.submit(it.new_id(number), MESSAGE))
    await _stretch_holds(it, len(placed))
    await _same_id_has_one_effect(it)
    await _strangers_key_is_refused(it)
    topic_id = await it.records.topic_id()
    found = await it.access.chain.mirror.get(
        "/transactions",
        [
            ("account.id", it.access.client.payer_account_id),
            ("limit", "25"),
            ("order", "desc"),
            ("transactiontype", "CONSENSUSSUBMITMESSAGE"),
        ],
    )
    fees = [
        rate.usd_e10(int(row["charged_tx_fee"]))
        for row in found["transactions"]
        if row["entity_id"] == topic_id and row["result"] == "SUCCESS"
    ]
    expected = MAINNET.message(len(MESSAGE), signatures=2)
    assert fees, "the mirror knows what was charged"
    assert all(fee == pytest.approx(expected, rel=FEE_TOLERANCE) for fee in fees), (fees, expected)


async def _contracts_answer(it: Trial) -> None:
    assert it.records.addresses is not None
    contracts = ChainContracts(it.access.chain, it.records.addresses)
    assert await contracts.read("NetworkPolicy", "latest") == 1
    assert await contracts.read("C4EToken", "decimals") == 6
    events = await contracts.events("NetworkPolicy", "PolicyAppended")
    assert len(events) == 1


async def _stretch_holds(it: Trial, count: int) -> None:
    """The running hash is recomputed over all messages, as a stranger would."""
    topic_id = await it.records.topic_id()
    assert topic_id is not None
    rows = await it.access.chain.mirror.messages(topic_id, {"order": "asc"})
    stretch = sound_stretch(rows, topic_id, 1)
    assert list(stretch) == list(range(1, count + 1))
    assert all(row.message == MESSAGE for row in rows)


async def _same_id_has_one_effect(it: Trial) -> None:
    topic = await it.topic()
    twice = it.new_id(77)
    first = await topic.submit(twice, MESSAGE)
    with pytest.raises(Conflict):
        await topic.submit(twice, MESSAGE)
    assert await topic.find(twice) == first


async def _strangers_key_is_refused(it: Trial) -> None:
    it.submit["stranger"] = _new_key()
    topic = await it.topic("stranger")
    with pytest.raises(Refused, match="INVALID_SIGNATURE"):
        await topic.submit(it.new_id(78), MESSAGE)
    del it.submit["stranger"]
