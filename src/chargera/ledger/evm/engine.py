"""What an EVM engine does: run one message on its state, and change that state when told to.

Every engine speaks the rules of Cancun and starts each transaction cold (EIP-2929), whatever ran
before it. Running changes nothing, so a call that is only tried costs no undoing and a transaction
whose commit fails has never happened; `apply` makes the changes of a run the engine's state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from chargera.app.chain_ports import GAS_LIMIT, Block, ContractLog

CODE_BYTES_MAX = 24_576
"""EIP-170."""
INITCODE_BYTES_MAX = 49_152
"""EIP-3860."""
WORD_LIMIT = 2**256

_TRANSACTION_GAS = 21_000
_CREATION_GAS = 32_000
_INITCODE_WORD_GAS = 2
_ZERO_BYTE_GAS, _BYTE_GAS = 4, 16


@dataclass(frozen=True, slots=True)
class Account:
    """What an account has beside its storage; without nonce and code it does not exist."""

    nonce: int = 0
    code: bytes = b""


NOTHING = Account()


@dataclass(frozen=True, slots=True)
class Changes:
    """Accounts and words as they are afterwards; a word 0 and an account NOTHING are gone."""

    accounts: Mapping[bytes, Account]
    storage: Mapping[bytes, Mapping[int, int]]
    """By address and slot."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is run: a call to `to`, or (None) the creation of a contract by `data`.

    The sender's nonce in the engine's state decides where a contract comes to stand.
    """

    sender: bytes
    to: bytes | None
    data: bytes
    gas_limit: int = GAS_LIMIT


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a message.

    `gas_used` with the intrinsic part and less what is given back. `output`: what was returned, or
    the error of a failure. `changes` may repeat what was so before; without the sender's nonce.
    """

    succeeded: bool
    output: bytes
    gas_used: int
    logs: tuple[ContractLog, ...]
    changes: Changes
    created: bytes | None = None
    halt: str | None = None
    """Why it stopped, if neither by its end nor by a refusal of a contract: out of gas, ..."""


class Engine(Protocol):
    """An EVM with its state."""

    name: str

    def run(self, message: Message, block: Block) -> Outcome:
        """Run a message, whose gas covers its intrinsic gas; the state stays as it is."""

    def apply(self, changes: Changes) -> None:
        """Make these changes the state."""


NO_CHANGES = Changes({}, {})


def intrinsic_gas(to: bytes | None, data: bytes) -> int:
    """Return the gas that a transaction costs before its first instruction (Cancun)."""
    zeros = data.count(0)
    gas = _TRANSACTION_GAS + _ZERO_BYTE_GAS * zeros + _BYTE_GAS * (len(data) - zeros)
    if to is None:
        gas += _CREATION_GAS + initcode_gas(data)
    return gas


def initcode_gas(data: bytes) -> int:
    """Return the part of the intrinsic gas that is for init code (EIP-3860)."""
    return _INITCODE_WORD_GAS * ((len(data) + 31) // 32)
