"""The EVM of `pyrevm` (revm, in Rust, in this process): the default where there is a wheel.

pyrevm keeps what transactions touched in a journal that stays warm and never ends. So every run
here stands between `snapshot` and `revert`: each begins cold, nothing leaks, and the state is
only what `apply` put below the journal. What a run changed is read from the journal's own text,
the one place where pyrevm shows it. `commit` is never called: it underflows the journal's depth.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

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

_ACCOUNT = ": Account { info: "
_NONCE = re.compile(r"nonce: (\d+)")
_CODE = re.compile(r"bytecode: 0x([0-9a-f]*), state: (?:Raw|Analysed \{ len: (\d+))")
_STORAGE = ", storage: {"
_STATUS = "}, status: AccountStatus("
_SLOT = re.compile(
    r"(\d+): StorageSlot \{ previous_or_original_value: (\d+), present_value: (\d+) \}"
)
_REVERT = re.compile(r"Revert \{ gas_used: (\d+), output: 0x([0-9a-f]*) \}")
_HALT = re.compile(r"Halt \{ reason: (.*), gas_used: \d+ \}")
_AFTER_STATE = ", transient_storage: "
_ADDRESS_CHARS = 42
_DEPLOYER = "0x" + "c4" * 20
_RETURN_THE_REST = bytes.fromhex("600b380380600b5f395ff3")
"""Init code: PUSH1 11, CODESIZE, SUB, DUP1, PUSH1 11, PUSH0, CODECOPY, PUSH0, RETURN."""


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

    def _info(self, account: Account) -> pyrevm.AccountInfo:
        """Return an account as pyrevm has it.

        Code that is given to pyrevm as bytes is analysed again by every call; what it has deployed
        is not. So code is deployed somewhere and taken from there.
        """
        if account.nonce != 1 or not account.code:  # what is deployed has nonce 1
            return pyrevm.AccountInfo(nonce=account.nonce, code=account.code or None)
        evm = self._evm
        before = evm.snapshot()
        try:
            made = evm.deploy(_DEPLOYER, _RETURN_THE_REST + account.code)
            return evm.basic(made)
        finally:
            evm.revert(before)

    def _changes(self) -> Changes:
        accounts: dict[bytes, Account] = {}
        storage: dict[bytes, dict[int, int]] = {}
        text = self._evm.journal_str
        for found in _accounts(text):
            is_new = "Created" in found.status
            if is_new and "SelfDestructed" in found.status:  # EIP-6780: it never was
                continue
            known = self._accounts.get(found.address, NOTHING)
            if is_new:
                accounts[found.address] = Account(found.nonce, _code(text, found.place))
            elif found.nonce != known.nonce:
                accounts[found.address] = Account(found.nonce, known.code)
            changed = {
                int(slot): int(after)
                for slot, before, after in _SLOT.findall(found.slots)
                if before != after
            }
            if changed:
                storage[found.address] = changed
        return Changes(accounts, storage)

    def apply(self, changes: Changes) -> None:
        """Put changes below the journal."""
        evm = self._evm
        for address, account in changes.accounts.items():
            evm.insert_account_info(_text(address), self._info(account))
            self._accounts[address] = account
        for address, slots in changes.storage.items():
            where = _text(address)
            for slot, value in slots.items():
                # The first word of a cold account goes below the journal and warms the account;
                # so each is put as the first.
                before = evm.snapshot()
                evm.insert_account_storage(where, slot, value)
                evm.revert(before)


class _Found(NamedTuple):
    """An account in pyrevm's journal: parts of the text."""

    place: int
    address: bytes
    nonce: int
    slots: str
    status: str


def _accounts(text: str) -> Iterator[_Found]:
    """Find the accounts in the journal's text; code, which is most of it, is jumped over."""
    end = text.rindex(_AFTER_STATE)  # from the end, where less text is in the way
    place = text.find(_ACCOUNT, 0, end)
    while place >= 0:
        storage = text.index(_STORAGE, place)
        status = text.index(_STATUS, storage)
        closing = text.index(")", status)
        nonce = _NONCE.search(text, place)
        assert nonce is not None, "every account has a nonce"
        yield _Found(
            place,
            _bytes(text[place - _ADDRESS_CHARS : place]),
            int(nonce[1]),
            text[storage:status],
            text[status:closing],
        )
        place = text.find(_ACCOUNT, closing, end)


def _code(text: str, place: int) -> bytes:
    """Return the code of the new account at this place of the text.

    What pyrevm has analysed it has also padded; the length that it says is what was deployed.
    """
    found = _CODE.search(text, place, text.index(_STORAGE, place))
    if found is None:
        return b""
    end = None if found[2] is None else 2 * int(found[2])
    return bytes.fromhex(found[1][:end])


def _failure(text: str, gas_limit: int) -> Outcome:
    if found := _REVERT.fullmatch(text):
        return Outcome(False, bytes.fromhex(found[2]), int(found[1]), (), NO_CHANGES)
    found = _HALT.fullmatch(text)
    if found is None:
        raise AssertionError(f"pyrevm says what it never said before: {text}")
    return Outcome(False, b"", gas_limit, (), NO_CHANGES, halt=found[1])


def _text(address: bytes) -> str:
    return f"0x{address.hex()}"


@lru_cache(maxsize=4_096)
def _bytes(address: str) -> bytes:
    return bytes.fromhex(address[2:])
