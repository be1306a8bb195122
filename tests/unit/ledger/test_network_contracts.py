"""One effect for one purpose: transactions are stored before they leave, and never sent twice."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from chargera.app.chain_ports import BadTransaction, Block, FoundLog, LogFilter, Receipt, Reverted
from chargera.app.settlement_ports import ContractRefused, StoredSend
from chargera.domain.errors import NotFound, Unavailable
from chargera.ledger.abi import interface, read_revert
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.transaction import parse
from chargera.ledger.network_contracts import ChainContracts, DirectSender, StoredSender
from chargera.proofs.chain_values import address_text, hex_text
from chargera.proofs.keccak import keccak256

EURO = bytes.fromhex("11" * 20)
HOLDER = address_text(bytes.fromhex("22" * 20))
NOT_OWNER = keccak256(b"NotFaucetOwner(address)")[:4] + bytes(12) + EURO


class FakeChain:
    """A chain that remembers what was sent; its faults are set by the test."""

    chain_id = 7
    gas_limit = 15_000_000

    def __init__(self) -> None:
        self.sent: dict[bytes, bytes] = {}
        self.refuses: bytes | None = None
        self.fails: bytes | None = None
        self.silent_sends = 0
        self.unwanted = False

    async def call(self, to: bytes, data: bytes, sender: bytes = bytes(20)) -> bytes:
        if self.refuses is not None:
            raise Reverted(self.refuses)
        return bytes(31) + b"\5"

    async def gas_for(self, to: bytes | None, data: bytes, sender: bytes) -> int:
        return 123_456

    async def send_raw(self, raw: bytes) -> bytes:
        if self.unwanted:
            raise BadTransaction("nonce too low")
        if self.silent_sends:
            self.silent_sends -= 1
            raise Unavailable("no answer")
        self.sent[keccak256(raw)] = raw
        return keccak256(raw)

    async def receipt(self, transaction_hash: bytes) -> Receipt | None:
        if transaction_hash not in self.sent:
            return None
        succeeded = self.fails is None
        output = self.fails or b""
        return Receipt(
            transaction_hash, Block(1, 1), bytes(20), EURO, succeeded, 1, None, output, (), b""
        )

    async def logs(self, wanted: LogFilter) -> Sequence[FoundLog]:
        self.wanted = wanted
        return []

    async def nonce(self, address: bytes) -> int:
        return len(self.sent)


class MemorySends:
    """A `SendStore` in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, StoredSend] = {}

    async def find(self, purpose: str) -> StoredSend | None:
        return self.rows.get(purpose)

    async def unsettled(self, sender: str) -> Sequence[StoredSend]:
        return [row for row in self.rows.values() if row.outcome is None]

    async def next_nonce(self, sender: str) -> int:
        return max((row.nonce + 1 for row in self.rows.values()), default=0)

    async def add(self, send: StoredSend, at: datetime) -> None:
        self.rows[send.purpose] = send

    async def succeeded(self, purpose: str) -> None:
        row = self.rows[purpose]
        self.rows[purpose] = StoredSend(
            row.purpose, row.sender, row.nonce, row.raw, row.transaction_hash, "ok"
        )

    async def failed(self, purpose: str) -> None:
        del self.rows[purpose]


class Clock:
    def now(self) -> datetime:
        return datetime(2026, 5, 4, tzinfo=UTC)


class Rig:
    def __init__(self) -> None:
        self.chain = FakeChain()
        self.sends = MemorySends()
        self.contracts = ChainContracts(self.chain, {"TestEuro": address_text(EURO)})
        self.key = ChainKey(secrets.token_bytes(32))
        self.sender = StoredSender(self.contracts, self.key, self.sends, Clock())

    async def give(self, purpose: str = "p") -> str:
        return await self.sender.send(purpose, "TestEuro", "faucet", HOLDER, 5)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_send__stored_sent_and_succeeded__its_hash(rig: Rig) -> None:
    sent = await rig.give()
    [raw] = rig.chain.sent.values()
    transaction = parse(raw)
    assert hex_text(transaction.hash) == sent
    assert (transaction.sender, transaction.nonce) == (rig.key.address, 0)
    assert rig.sends.rows["p"].outcome == "ok"
    assert rig.sender.address == rig.key.address_text


async def test_send__the_same_purpose_again__the_first_transaction(rig: Rig) -> None:
    assert await rig.give() == await rig.give()
    assert len(rig.chain.sent) == 1
    await rig.give("another")
    assert [parse(raw).nonce for raw in rig.chain.sent.values()] == [0, 1]


async def test_send__no_answer__sent_again_as_the_same_bytes(rig: Rig) -> None:
    rig.chain.silent_sends = 1
    with pytest.raises(Unavailable):
        await rig.give()
    stored = rig.sends.rows["p"]
    assert stored.outcome is None
    assert await rig.give() == stored.transaction_hash
    assert list(rig.chain.sent.values()) == [stored.raw]


async def test_send__what_was_left_by_a_crash__goes_before_what_comes_after(rig: Rig) -> None:
    rig.chain.silent_sends = 1
    with pytest.raises(Unavailable):
        await rig.give("first")
    await rig.give("second")
    assert [parse(raw).nonce for raw in rig.chain.sent.values()] == [0, 1]
    assert {row.outcome for row in rig.sends.rows.values()} == {"ok"}


async def test_send__refused_beforehand__nothing_is_stored_or_sent(rig: Rig) -> None:
    rig.chain.refuses = NOT_OWNER
    with pytest.raises(ContractRefused) as error:
        await rig.give()
    assert error.value.rule == "NotFaucetOwner"
    assert error.value.arguments == {"caller": address_text(EURO)}
    assert not rig.sends.rows
    assert not rig.chain.sent


async def test_send__failed_on_chain__the_purpose_is_free_again(rig: Rig) -> None:
    rig.chain.fails = NOT_OWNER
    with pytest.raises(ContractRefused):
        await rig.give()
    assert not rig.sends.rows
    rig.chain.fails = None
    await rig.give()
    assert rig.sends.rows["p"].outcome == "ok"


async def test_send__not_taken_by_the_chain__forgotten(rig: Rig) -> None:
    rig.chain.unwanted = True
    with pytest.raises(BadTransaction):
        await rig.give()
    assert not rig.sends.rows


async def test_direct_sender__sends_with_the_chains_own_nonce(rig: Rig) -> None:
    sender = DirectSender(rig.contracts, rig.key)
    for nonce in range(2):
        sent = await sender.send("", "TestEuro", "faucet", HOLDER, 5)
        assert parse(rig.chain.sent[bytes.fromhex(sent[2:])]).nonce == nonce
    assert sender.address == rig.key.address_text


async def test_read__by_name_and_by_interface_at_an_address(rig: Rig) -> None:
    assert await rig.contracts.read("TestEuro", "balanceOf", HOLDER) == 5
    token = f"TestEuro@{address_text(EURO)}"
    assert await rig.contracts.read(token, "decimals") == 5
    assert rig.contracts.address("TestEuro") == address_text(EURO)
    assert await rig.contracts.events("TestEuro", "Transfer", [None, EURO]) == []


async def test_read__a_contract_that_the_network_has_not__not_found(rig: Rig) -> None:
    with pytest.raises(NotFound):
        rig.contracts.address("SettlementHub")
    with pytest.raises(NotFound):
        await rig.contracts.read("SettlementHub", "batchOf", bytes(32))
    with pytest.raises(NotFound):
        interface("TestEuro").function("mint")


def test_read_revert__words_of_solidity_and_what_nobody_knows() -> None:
    reason = keccak256(b"Error(string)")[:4] + bytes(31) + b"\x20" + bytes(31) + b"\2no"
    assert str(read_revert(reason.ljust(4 + 96, b"\0"))) == "Error(reason no)"
    assert str(read_revert(b"\1\2\3\4")) == "Revert(data 0x01020304)"


async def test_events__indexed_members__stand_in_their_words_as_solidity_has_them() -> None:
    """Short bytes begin a word, addresses and numbers end it."""
    chain = FakeChain()
    texts = {"AttesterRegistry": HOLDER, "TestEuro": address_text(EURO)}
    contracts = ChainContracts(chain, texts)
    await contracts.events("AttesterRegistry", "OperatorAnnounced", [b"NL*C4E\0\0"])
    assert chain.wanted.topics[1:] == (frozenset({b"NL*C4E".ljust(32, b"\0")}),)
    await contracts.events("TestEuro", "Transfer", [None, EURO])
    assert chain.wanted.topics[1:] == (None, frozenset({EURO.rjust(32, b"\0")}))
