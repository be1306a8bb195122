"""Topic and chain of Hedera against the emulator, by the real SDK; time is moved by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from chargera.app.chain_ports import Receipt
from chargera.app.hedera_ports import HederaSendStore
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.hedera.chain import HederaChain
from chargera.ledger.hedera.client import HapiClient, HapiNetwork
from chargera.ledger.hedera.delivery import Delivery, Outbox
from chargera.ledger.hedera.mirror import HederaMirror
from chargera.ledger.hedera.signer import KeySigner
from chargera.ledger.hedera.topic import HederaTopic
from chargera.ledger.transaction_id import HederaTransactionId
from tests.doubles.hedera.emulator import NODE_ACCOUNT, Emulator, running_emulator
from tests.evm_contracts import COUNTER, Account
from tests.unit.ledger.hedera.fakes import MemoryHederaSends

SENDER = ChainKey(b"\x05" * 32)
DEADLINE_S = 5.0


class AdapterRig:
    """One network, one payer, and all that speaks for them."""

    def __init__(self, emulator: Emulator, mirror: HederaMirror, store: HederaSendStore) -> None:
        self.emulator = emulator
        self.clock = emulator.clock
        self.faults = emulator.faults
        self.mirror = mirror
        self.store = store
        self.key = ChainKey(bytes.fromhex(emulator.operator_key_hex))
        self.signer = KeySigner(self.key)
        self.payer = emulator.operator_id
        self.topic_id = ""
        self.chain_id = emulator.chain_id
        self._numbers = count(1)
        self.clients: list[HapiClient] = []
        self.restart()

    def restart(self) -> None:
        """Begin anew, as a process does that knows nothing but what is stored."""
        network = HapiNetwork("custom", {self.emulator.grpc_address: NODE_ACCOUNT})
        self.client = HapiClient(network, self.payer, self.signer, deadline_s=DEADLINE_S)
        self.clients.append(self.client)
        self.delivery = Delivery(self.client, self.mirror, self.clock, self.pause)
        self.outbox = Outbox(self.delivery, self.store, self.clock, self.payer, self.random)
        self.chain = HederaChain(self.chain_id, self.client, self.delivery, self.outbox)
        self.topic = HederaTopic(self.topic_id, self.client, self.delivery, self.clock)

    async def pause(self, seconds: float) -> None:
        """Let the network's time pass, and no other."""
        self.clock.advance(seconds)

    def random(self, size: int) -> bytes:
        return next(self._numbers).to_bytes(size, "big")

    def new_id(self) -> HederaTransactionId:
        return HederaTransactionId.new(self.payer, self.clock.now(), next(self._numbers))

    async def create_topic(self) -> None:
        outcome = await self.outbox.once(
            "topic", lambda name: self.client.create_topic(name, "heads", [self.signer.public_key])
        )
        assert outcome.entity_id is not None
        self.topic_id = outcome.entity_id
        self.restart()

    async def create_account(self, address: bytes, tinybar: int = 1) -> None:
        await self.outbox.once(
            f"account:{address.hex()}",
            lambda name: self.client.create_account_by_transfer(name, address, tinybar),
        )

    async def counter(self) -> tuple[Account, bytes]:
        """Deploy a contract that counts; return its maker, who has an account, and its address."""
        await self.create_account(SENDER.address)
        account = Account(SENDER, self.chain_id)
        receipt = await self.sent(account.creation(COUNTER))
        assert receipt.created is not None
        return account, receipt.created

    async def sent(self, raw: bytes) -> Receipt:
        receipt = await self.chain.receipt(await self.chain.send_raw(raw))
        assert receipt is not None
        return receipt

    def effects(self, kind: str) -> list[Any]:
        """What the network has done of one kind, such as `consensusSubmitMessage`."""
        return [
            record
            for record in self.emulator.ledger.records.values()
            if record.kind.lower() == kind.lower() and record.status == "SUCCESS"
        ]


@asynccontextmanager
async def adapter(
    store: HederaSendStore | None = None, **options: Any
) -> AsyncIterator[AdapterRig]:
    """A rig within the block; options are the emulator's."""
    async with (
        running_emulator(**options) as emulator,
        HederaMirror.connected(emulator.mirror_urls) as mirror,
    ):
        rig = AdapterRig(emulator, mirror, store or MemoryHederaSends())
        try:
            yield rig
        finally:
            for client in rig.clients:
                await client.close()
