"""The EVM of `pyrevm` (revm, in Rust, in this process): the default where there is a wheel.

pyrevm keeps what transactions touched in a journal that stays warm and never ends. So every run
here stands between `snapshot` and `revert`: each begins cold, nothing leaks, and the state is
only what `apply` put below the journal. What a run changed is read from the journal's own text,
the one place where pyrevm shows it. `commit` is never called: it underflows the journal's depth.
"""

import re

import pyrevm

from chargera.app.chain_ports import NOBODY, Block, ContractLog
from chargera.ledger.evm.engine import (
    CODE_BYTES_MAX,
    NO_CHANGES,
    NOTHING,
    Account,
    Changes,
    Message,
    Outcome,
)

_ACCOUNT = re.compile(
    r"(0x[0-9a-f]{40}): Account \{ info: AccountInfo \{ balance: \d+, nonce: (\d+),"
    r" code_hash: 0x[0-9a-f]{64}, code: (?:None|Some\(Bytecode \{ bytecode: 0x([0-9a-f]*), state:"
    r" (?:Raw|Analysed \{ len: (\d+), jump_map: JumpMap \{ [^}]*\} \}) \}\)) \},"
    r" storage: \{(.*?)\}, status: AccountStatus\(([^)]*)\) \}"
)
_SLOT = re.compile(
    r"(\d+): StorageSlot \{ previous_or_original_value: (\d+), present_value: (\d+) \}"
)
_REVERT = re.compile(r"Revert \{ gas_used: (\d+), output: 0x([0-9a-f]*) \}")
_HALT = re.compile(r"Halt \{ reason: (.*), gas_used: \d+ \}")
_AFTER_STATE = ", transient_storage: "


class RevmEngine:
    """An `Engine` over one pyrevm EVM."""

    name = "pyrevm"

    def __init__(self, chain_id: int) -> None:
        """Start with an empty state."""
        # Only CANCUN: a name that pyrevm does not know is silently taken for another one.
        self._evm = pyrevm.EVM(
            spec_id="CANCUN",
            env=pyrevm.Env(
                cfg=pyrevm.CfgEnv(chain_id=chain_id, limit_contract_code_size=CODE_BYTES_MAX)
            ),
        )
        self._accounts: dict[bytes, Account] = {}

    def run(self, message: Message, block: Block) -> Outcome:
        """Run a message; see `Engine`."""
        evm = self._evm
        evm.set_block_env(
            pyrevm.BlockEnv(
                number=block.number,
                coinbase=_text(NOBODY),
                timestamp=block.time,
                prevrandao=bytes(32),
                basefee=0,
                gas_limit=message.gas_limit,
            )
        )
        evm.reset_transient_storage()
        before = evm.snapshot()
        try:
            return self._run(message)
        finally:
            evm.revert(before)

    def _run(self, message: Message) -> Outcome:
        evm, sender = self._evm, _text(message.sender)
        output, created = b"", None
        try:
            if message.to is None:
                created = _bytes(evm.deploy(sender, message.data, gas=message.gas_limit))
            else:
                output = evm.message_call(
                    sender, _text(message.to), calldata=message.data, gas=message.gas_limit
                )
        except RuntimeError as error:
            return _failure(str(error), message.gas_limit)
        result = evm.result
        assert result is not None, "a run without an error has a result"
        logs = tuple(
            ContractLog(_bytes(log.address), tuple(log.data[0]), log.data[1]) for log in result.logs
        )
        return Outcome(True, output, result.gas_used, logs, self._changes(), created)

    def _changes(self) -> Changes:
        text = self._evm.journal_str
        accounts: dict[bytes, Account] = {}
        storage: dict[bytes, dict[int, int]] = {}
        for found in _ACCOUNT.finditer(text, 0, text.index(_AFTER_STATE)):
            where, nonce, code, length, slots, status = found.groups()
            address, is_new = _bytes(where), "Created" in status
            if is_new and "SelfDestructed" in status:  # EIP-6780: it never was
                continue
            known = self._accounts.get(address, NOTHING)
            if is_new:
                # What pyrevm has analysed it has also padded; the length is what was deployed.
                end = 2 * int(length) if length else None
                accounts[address] = Account(int(nonce), bytes.fromhex((code or "")[:end]))
            elif int(nonce) != known.nonce:
                accounts[address] = Account(int(nonce), known.code)
            changed = {
                int(slot): int(after)
                for slot, before, after in _SLOT.findall(slots)
                if before != after
            }
            if changed:
                storage[address] = changed
        return Changes(accounts, storage)

    def apply(self, changes: Changes) -> None:
        """Put changes below the journal."""
        evm = self._evm
        for address, account in changes.accounts.items():
            info = pyrevm.AccountInfo(nonce=account.nonce, code=account.code or None)
            evm.insert_account_info(_text(address), info)
            self._accounts[address] = account
        for address, slots in changes.storage.items():
            where = _text(address)
            for slot, value in slots.items():
                # The first word of a cold account goes below the journal and warms the account;
                # so each is put as the first.
                before = evm.snapshot()
                evm.insert_account_storage(where, slot, value)
                evm.revert(before)


def _failure(text: str, gas_limit: int) -> Outcome:
    if found := _REVERT.fullmatch(text):
        return Outcome(False, bytes.fromhex(found[2]), int(found[1]), (), NO_CHANGES)
    found = _HALT.fullmatch(text)
    if found is None:
        raise AssertionError(f"pyrevm says what it never said before: {text}")
    return Outcome(False, b"", gas_limit, (), NO_CHANGES, halt=found[1])


def _text(address: bytes) -> str:
    return f"0x{address.hex()}"


def _bytes(address: str) -> bytes:
    return bytes.fromhex(address[2:])
