"""The EVM of the emulated network: one of our engines, its state, and the mock at 0x16b."""

from dataclasses import replace

from chargera.app.chain_ports import Block
from chargera.ledger.evm.chain import engine_maker
from chargera.ledger.evm.engine import (
    NOTHING,
    Account,
    Changes,
    Engine,
    Message,
    Outcome,
    intrinsic_gas,
)
from chargera.ledger.evm.state import WorldState
from tests.doubles.hedera import system_contract
from tests.doubles.hedera.keys import keccak256

BLOOM_BYTES = 256
ESTIMATE_CLOSENESS = 64


class Evm:
    """Contracts: their code, their storage, and the nonces of all who send."""

    def __init__(self, chain_id: int, engine: str = "auto") -> None:
        """Start with the system contract alone; `engine`: pyrevm, py-evm or auto."""
        self.chain_id = chain_id
        self._engine = engine_maker(engine)(chain_id)
        self._state = WorldState()
        self._apply(
            Changes({system_contract.ADDRESS: Account(nonce=1, code=system_contract.CODE)}, {})
        )

    def nonce(self, address: bytes) -> int:
        """Return how many transactions an account has sent, or contracts a contract has made."""
        return self._state.account(address).nonce

    def code(self, address: bytes) -> bytes:
        """Return the code at an address."""
        return self._state.account(address).code

    def word(self, address: bytes, slot: int) -> int:
        """Return a word of a contract's storage."""
        return self._state.word(address, slot)

    def try_(self, message: Message, block: Block) -> Outcome:
        """Run a message; nothing changes. Its gas must cover its intrinsic gas."""
        return self._engine_for(message).run(message, block)

    def _engine_for(self, message: Message) -> Engine:
        """Return the engine; where a contract is the sender, one that allows that.

        Contracts send what they have scheduled. pyrevm refuses senders with code (EIP-3607).
        """
        if not self.code(message.sender) or self._engine.name == "py-evm":
            return self._engine
        other = engine_maker("py-evm")(self.chain_id)
        other.apply(self._state.content())
        return other

    def estimate(self, message: Message, block: Block) -> tuple[int, Outcome]:
        """Return gas with which a message succeeds, or the outcome with which it cannot."""
        most = message.gas_limit
        outcome = self.try_(message, block)
        if not outcome.succeeded:
            return 0, outcome
        least = max(outcome.gas_used, intrinsic_gas(message.to, message.data)) - 1
        while most - least > max(1, most // ESTIMATE_CLOSENESS):
            middle = (least + most) // 2
            if self.try_(replace(message, gas_limit=middle), block).succeeded:
                most = middle
            else:
                least = middle
        return most, outcome

    def keep(self, outcome: Outcome, sender: bytes, *, counts: bool) -> None:
        """Make what a run changed so; `counts`: it was one of the sender's transactions."""
        accounts = dict(outcome.changes.accounts)
        if counts:
            known = accounts.get(sender, self._state.account(sender))
            accounts[sender] = Account(self.nonce(sender) + 1, known.code)
        self._apply(Changes(accounts, outcome.changes.storage))

    def set_word(self, address: bytes, slot: int, word: int) -> None:
        """Write a word of the system contract."""
        self._apply(Changes({}, {address: {slot: word}}))

    def new_contracts(self, outcome: Outcome) -> list[bytes]:
        """Return the addresses that get code by an outcome, that of the creation itself first."""
        made = [
            address
            for address, account in outcome.changes.accounts.items()
            if account.code and not self.code(address) and account != NOTHING
        ]
        return sorted(made, key=lambda address: (address != outcome.created, address))

    def _apply(self, changes: Changes) -> None:
        real = self._state.real(changes)
        self._state.apply(real)
        self._engine.apply(real)


def bloom(parts: list[bytes]) -> bytes:
    """Return the filter of addresses and topics of logs (Yellow Paper, 4.3.1)."""
    bits = 0
    for part in parts:
        digest = keccak256(part)
        for place in (0, 2, 4):
            bits |= 1 << (int.from_bytes(digest[place : place + 2]) % 2048)
    return bits.to_bytes(BLOOM_BYTES)
