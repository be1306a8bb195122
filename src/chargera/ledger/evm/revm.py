"""The EVM of `pyrevm` (revm, in Rust, in this process): the default where there is a wheel.

pyrevm keeps what transactions touched in a journal that stays warm and never ends. So every run
here stands between `snapshot` and `revert`: each begins cold, nothing leaks, and the state is
only what `apply` put below the journal. What a run changed is read from the journal's own text,
the one place where pyrevm shows it. `commit` is never called: it underflows the journal's depth.
"""

import re
from functools import lru_cache
from itertools import zip_longest

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

# The journal's text: `{ADDRESS: Account { info: AccountInfo { balance: .., nonce: .., code_hash:
# .., code: .. }, storage: {SLOT: StorageSlot { previous_or_original_value: .., present_value: .. },
# ..}, status: AccountStatus(..) }, ADDRESS: ..}, transient_storage: ..`
_AFTER_STATE = "}, transient_storage: "
_ACCOUNT = ": Account { info: "
_STORAGE = ", storage: {"
_STATUS = "}, status: AccountStatus("
_NONCE = re.compile(r"AccountInfo \{ balance: \d+, nonce: (\d+)")
_CODE = re.compile(r"bytecode: 0x([0-9a-f]*), state: (?:Raw|Analysed \{ len: (\d+))")
_SLOT_WORDS, _BEFORE, _AFTER = 8, 4, 6
"""Words of the text that a slot takes, and which of them are its values."""
_REVERT = re.compile(r"Revert \{ gas_used: (\d+), output: 0x([0-9a-f]*) \}")
_HALT = re.compile(r"Halt \{ reason: (.*), gas_used: \d+ \}")
_ADDRESS_CHARS = 42
_BARE = pyrevm.AccountInfo(nonce=1)
"""A contract without its code."""
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
        logs = tuple(map(_log, result.logs))
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
        self._hide_code()
        text = self._evm.journal_str
        before, *parts = text[: text.index(_AFTER_STATE)].split(_ACCOUNT)
        for part in parts:
            address = _bytes(before[-_ADDRESS_CHARS:])
            before = part
            info, _, rest = part.partition(_STORAGE)
            slots, _, status = rest.partition(_STATUS)
            nonce = _NONCE.match(info)
            assert nonce is not None, "every account has a nonce"
            known = self._accounts.get(address, NOTHING)
            if "Created" in status:
                if "SelfDestructed" in status:  # EIP-6780: it never was
                    continue
                accounts[address] = Account(int(nonce[1]), _code(info))
            elif int(nonce[1]) != known.nonce:
                accounts[address] = Account(int(nonce[1]), known.code)
            if changed := _changed(slots):
                storage[address] = changed
        return Changes(accounts, storage)

    def _hide_code(self) -> None:
        """Take known code out of the journal, whose text would be mostly that, until `revert`.

        All that a run has touched was cold before, so that the revert forgets it: the next run
        finds the account below the journal as it was.
        """
        evm = self._evm
        for text, info in evm.journal_state.items():
            known = self._accounts.get(_bytes(text))
            if known is not None and known.code and info.nonce == 1:
                evm.insert_account_info(text, _BARE)

    def apply(self, changes: Changes) -> None:
        """Put changes below the journal."""
        evm = self._evm
        for address, account in changes.accounts.items():
            evm.insert_account_info(_text(address), self._info(account))
            self._accounts[address] = account
        # The first word of a cold account goes below the journal and warms the account; so each is
        # put as the first, and what is warm made cold again before the next.
        rows = [
            [(_text(a), *word) for word in words.items()] for a, words in changes.storage.items()
        ]
        for words in zip_longest(*rows):
            before = evm.snapshot()
            for word in words:
                if word is not None:
                    evm.insert_account_storage(*word)
            evm.revert(before)


def _changed(slots: str) -> dict[int, int]:
    """Return the words of one account that a run has changed."""
    words = slots.split(" ")
    return {
        int(slot[:-1]): int(after)
        for slot, before, after in zip(
            words[::_SLOT_WORDS],
            words[_BEFORE::_SLOT_WORDS],
            words[_AFTER::_SLOT_WORDS],
            strict=False,  # where there is no slot, there is one empty word
        )
        if before[:-1] != after
    }


def _code(info: str) -> bytes:
    """Return the code of a new account.

    What pyrevm has analysed it has also padded; the length that it says is what was deployed.
    """
    found = _CODE.search(info)
    if found is None:
        return b""
    end = None if found[2] is None else 2 * int(found[2])
    return bytes.fromhex(found[1][:end])


def _log(log: pyrevm.Log) -> ContractLog:
    topics, data = log.data
    return ContractLog(_bytes(log.address), tuple(topics), data)


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
