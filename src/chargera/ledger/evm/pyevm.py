"""The EVM of `py-evm`, in Python: the fallback where pyrevm has no wheel, a hundred times slower.

Messages run under py-evm's rules of Cancun without its transactions and blocks. Which accounts
and words a run touches is noted as it writes; what became of them is read at its end, and then
everything is taken back.
"""

import sys
import warnings
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from eth import EVM_RECURSION_LIMIT
from eth.constants import BLANK_ROOT_HASH
from eth.db.atomic import AtomicDB
from eth.exceptions import Revert
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.cancun.state import CancunState, CancunTransactionExecutor

from chargera.app.chain_ports import NOBODY, Block, ContractLog
from chargera.ledger.evm.engine import (
    NO_CHANGES,
    Account,
    Changes,
    Message,
    Outcome,
    initcode_gas,
    intrinsic_gas,
)

# A library of py-evm's raises the limit of the whole process to 100,000, at which Python 3.11
# crashes on JSON that nests without end. This much is what 1,024 calls in each other take.
sys.setrecursionlimit(EVM_RECURSION_LIMIT)


class _NotingState(CancunState):
    """py-evm's state, which notes what is written to it."""

    def __init__(self, *arguments: Any) -> None:
        self.noted_accounts: set[bytes] = set()
        self.noted_words: dict[bytes, set[int]] = defaultdict(set)
        super().__init__(*arguments)

    def set_system_contracts(self) -> None:
        """Nothing: this chain has no beacon."""

    def set_storage(self, address: Any, slot: int, value: int) -> None:
        self.noted_words[address].add(slot)
        super().set_storage(address, slot, value)

    def increment_nonce(self, address: Any) -> None:
        self.noted_accounts.add(address)
        super().increment_nonce(address)

    def set_code(self, address: Any, code: bytes) -> None:
        self.noted_accounts.add(address)
        super().set_code(address, code)


@dataclass(frozen=True, slots=True)
class _Unsigned:
    """What py-evm's executor asks of a transaction."""

    sender: bytes
    to: bytes
    data: bytes
    gas: int
    intrinsic_gas: int
    nonce: int = 0
    value: int = 0
    gas_price: int = 0
    max_fee_per_gas: int = 0
    max_priority_fee_per_gas: int = 0
    type_id: int = 2
    access_list: tuple[Any, ...] = ()


class PyEvmEngine:
    """An `Engine` over one state of py-evm."""

    name = "py-evm"

    def __init__(self, chain_id: int) -> None:
        """Start with an empty state."""
        self._chain_id = chain_id
        self._state: Any = _NotingState(AtomicDB(), self._context(Block(0, 0), 0), BLANK_ROOT_HASH)
        # It takes whatever has the members of a transaction that it asks for.
        self._executor: Any = CancunTransactionExecutor(self._state)

    def run(self, message: Message, block: Block) -> Outcome:
        """Run a message; see `Engine`."""
        state = self._state
        state.execution_context = self._context(block, message.gas_limit)
        state.lock_changes()  # words and addresses are cold, originals those of now
        state.clear_transient_storage()
        state.noted_accounts.clear()
        state.noted_words.clear()
        before = state.snapshot()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of SELFDESTRUCT: not ours
                return self._run(message)
        finally:
            state.revert(before)

    def _run(self, message: Message) -> Outcome:
        intrinsic = intrinsic_gas(message.to, message.data)
        if message.to is None:
            intrinsic -= initcode_gas(message.data)  # py-evm takes that part as it begins
        transaction = _Unsigned(
            message.sender, message.to or b"", message.data, message.gas_limit, intrinsic
        )
        built = self._executor.build_evm_message(transaction)
        computation = self._executor.build_computation(built, transaction)
        if computation.is_error and not isinstance(computation.error, Revert):
            halt = f"{type(computation.error).__name__}: {computation.error}"
            return Outcome(False, b"", message.gas_limit, (), NO_CHANGES, halt=halt)
        used = message.gas_limit - computation.get_gas_remaining()
        used -= self._executor.calculate_gas_refund(computation, used)
        if computation.is_error:
            return Outcome(False, computation.output, used, (), NO_CHANGES)
        self._executor.finalize_computation(transaction, computation)
        logs = tuple(
            ContractLog(address, tuple(topic.to_bytes(32) for topic in topics), data)
            for address, topics, data in computation.get_log_entries()
        )
        created = built.storage_address if message.to is None else None
        output = computation.output if message.to else b""
        return Outcome(True, output, used, logs, self._changes(message), created)

    def _changes(self, message: Message) -> Changes:
        state = self._state
        accounts = {
            address: Account(state.get_nonce(address), state.get_code(address))
            for address in state.noted_accounts - {message.sender}
        }
        storage = {
            address: {slot: state.get_storage(address, slot) for slot in slots}
            for address, slots in state.noted_words.items()
        }
        return Changes(accounts, storage)

    def apply(self, changes: Changes) -> None:
        """Write changes into the state."""
        state = self._state
        for address, account in changes.accounts.items():
            state.set_nonce(address, account.nonce)
            state.set_code(address, account.code)
        for address, words in changes.storage.items():
            for slot, word in words.items():
                state.set_storage(address, slot, word)
        state.lock_changes()

    def _context(self, block: Block, gas_limit: int) -> ExecutionContext:
        context: Any = ExecutionContext  # its annotations ask for types of another package
        made: ExecutionContext = context(
            coinbase=NOBODY,
            timestamp=block.time,
            block_number=block.number,
            difficulty=0,
            mix_hash=bytes(32),
            gas_limit=gas_limit,
            prev_hashes=(),
            chain_id=self._chain_id,
            base_fee_per_gas=0,
            excess_blob_gas=0,
        )
        return made
