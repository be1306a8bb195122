"""What tests of a network's beginning share: records in memory, crashes, one emulated network."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from chargera.app.hedera_ports import HederaSend, HederaSendState
from chargera.domain.errors import Conflict
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.deployment import (
    C4E,
    AttesterGenesis,
    DeploymentParameters,
    Grant,
    OperatorGenesis,
    Plan,
    make_plan,
)
from chargera.ledger.hedera.chain import HederaChain
from chargera.ledger.hedera.client import HapiClient, HapiNetwork
from chargera.ledger.hedera.delivery import Delivery, Outbox
from chargera.ledger.hedera.initialise import Access, Initialisation, Wanted
from chargera.ledger.hedera.mirror import HederaMirror
from chargera.ledger.hedera.signer import KeySigner
from chargera.proofs.chain_values import topic_address
from tests.doubles.hedera.emulator import Emulator

DEPLOYER, BOOTSTRAP, OPERATOR, KEEPER = (ChainKey(bytes([n]) * 32) for n in (51, 52, 53, 54))
ATTESTERS = tuple(ChainKey(bytes([n]) * 32) for n in (61, 62, 63))
SUBMIT = {name: ChainKey(bytes([n]) * 32) for n, name in enumerate(("current", "next", "cold"), 71)}


class Crash(Exception):  # noqa: N818 - it is what happens
    """The process ends here."""


@dataclass
class Crashes:
    """Ends the process at the write that it is told: `before` it, or just `after` it."""

    at: int | None = None
    after: bool = True
    writes: int = 0

    def guarded(self, target: Any, names: frozenset[str]) -> Any:
        """Return `target` with these of its methods counted as writes."""
        crashes = self

        class Guarded:
            def __getattr__(self, name: str) -> Any:
                found = getattr(target, name)
                if name not in names:
                    return found

                async def write(*args: Any, **named: Any) -> Any:
                    crashes.writes += 1
                    is_now = crashes.writes == crashes.at
                    if is_now and not crashes.after:
                        raise Crash
                    try:
                        return await found(*args, **named)
                    finally:
                        if is_now:
                            raise Crash

                return write

        return Guarded()


class MemorySends:
    """A `HederaSendStore` in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, HederaSend] = {}

    async def find(self, purpose: str) -> HederaSend | None:
        live = (HederaSendState.SENT, HederaSendState.DONE)
        rows = [r for r in self.rows.values() if r.purpose == purpose and r.state in live]
        assert len(rows) < 2, "one transaction of a purpose at a time"
        return rows[0] if rows else None

    async def add(self, hedera_transaction_id: str, purpose: str, at: datetime) -> None:
        if await self.find(purpose) is not None:
            raise Conflict(f"{purpose} is being sent already")
        self.rows[hedera_transaction_id] = HederaSend(hedera_transaction_id, purpose)

    async def settle(self, send: HederaSend, at: datetime) -> None:
        if self.rows[send.hedera_transaction_id].state is HederaSendState.SENT:
            self.rows[send.hedera_transaction_id] = send


@dataclass
class MemoryRecords:
    """`Records` in memory."""

    topics: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    policy_time: int | None = None
    addresses: Mapping[str, str] | None = None

    async def topic_id(self) -> str | None:
        return next(iter(self.topics), None)

    async def note_topic(self, topic_id: str, submit_keys: Mapping[str, bytes]) -> None:
        self.topics.setdefault(topic_id, submit_keys)

    async def policy_from(self) -> int | None:
        return self.policy_time

    async def note_policy_from(self, time_s: int) -> None:
        self.policy_time = time_s

    async def contracts(self) -> Mapping[str, str] | None:
        return self.addresses

    async def note_contracts(self, addresses: Mapping[str, str]) -> None:
        assert self.addresses in (None, addresses)
        self.addresses = addresses


SENDING = frozenset(
    {
        "create_topic",
        "create_account_by_transfer",
        "ethereum",
        "submit_message",
        "update_account_key",
    }
)
NOTING = frozenset({"note_topic", "note_policy_from", "note_contracts"})


@dataclass
class World:
    """One network and what survives a crash of the process."""

    emulator: Emulator
    sends: MemorySends = field(default_factory=MemorySends)
    records: MemoryRecords = field(default_factory=MemoryRecords)

    @asynccontextmanager
    async def access(self, crashes: Crashes | None = None) -> AsyncIterator[Access]:
        """A process that reaches the network, and ends as `crashes` says."""
        crashes = crashes or Crashes()
        emulator = self.emulator
        network = HapiNetwork("localhost", {emulator.grpc_address: "0.0.3"})
        signer = KeySigner(ChainKey(bytes.fromhex(emulator.operator_key_hex)))
        real = HapiClient(network, emulator.operator_id, signer)
        client = crashes.guarded(real, SENDING)
        sends = crashes.guarded(self.sends, frozenset({"add", "settle"}))
        try:
            async with HederaMirror.connected(emulator.mirror_urls) as mirror:
                delivery = Delivery(client, mirror, emulator.clock, no_pause)
                outbox = Outbox(delivery, sends, emulator.clock, emulator.operator_id, counted)
                chain = HederaChain(emulator.chain_id, client, delivery, outbox)
                yield Access(client, delivery, outbox, sends, chain, emulator.clock)
        finally:
            await real.close()

    @asynccontextmanager
    async def process(self, crashes: Crashes | None = None) -> AsyncIterator[Initialisation]:
        """A process that makes the network."""
        crashes = crashes or Crashes()
        async with self.access(crashes) as access:
            records = crashes.guarded(self.records, NOTING)
            yield Initialisation(access, records, self.wanted())

    def wanted(self) -> Wanted:
        return Wanted(
            memo="ChargEra checkpoints of NL*C4E",
            submit_keys={name: KeySigner(key).public_key for name, key in SUBMIT.items()},
            accounts={"deployer": DEPLOYER.address, "keeper": KEEPER.address},
            plan=self.plan,
            deployer=DEPLOYER,
        )

    def plan(self, topic_id: str, policy_from_s: int) -> Plan:
        return make_plan(
            DeploymentParameters(
                chain_id=self.emulator.chain_id,
                bootstrap=BOOTSTRAP.address,
                attesters=tuple(AttesterGenesis(key.address, key.address) for key in ATTESTERS),
                operator=OperatorGenesis(
                    "NL*C4E", OPERATOR.address, b"\1" * 32, topic_address(topic_id)
                ),
                policy_from_s=policy_from_s,
                grants=(Grant("host", OPERATOR.address, 1_000 * C4E),),
            ),
            DEPLOYER.address,
        )


_drawn = 0


def counted(count: int) -> bytes:
    """Bytes that are never the same twice."""
    global _drawn  # noqa: PLW0603 - ids of transactions differ within one millisecond
    _drawn += 1
    return _drawn.to_bytes(count, "big")


async def no_pause(seconds: float) -> None:
    await asyncio.sleep(0)


def without_times(rows: Mapping[str, HederaSend]) -> list[HederaSend]:
    """What was sent, without the ids."""
    return [replace(row, hedera_transaction_id="") for row in rows.values()]
