"""Small contracts in EVM assembly for tests of the chain, so that they need no compiler."""

from chargera.ledger.evm.transaction import sign

_OPCODES = {
    "STOP": 0x00, "ADD": 0x01, "SUB": 0x03, "EQ": 0x14, "ISZERO": 0x15, "ADDRESS": 0x30,
    "CALLER": 0x33, "CALLDATALOAD": 0x35, "CALLDATASIZE": 0x36, "CALLDATACOPY": 0x37,
    "CODECOPY": 0x39, "GASPRICE": 0x3A, "RETURNDATASIZE": 0x3D, "RETURNDATACOPY": 0x3E,
    "COINBASE": 0x41, "TIMESTAMP": 0x42, "NUMBER": 0x43, "PREVRANDAO": 0x44, "GASLIMIT": 0x45,
    "CHAINID": 0x46, "SELFBALANCE": 0x47, "BASEFEE": 0x48, "POP": 0x50, "MSTORE": 0x52,
    "SLOAD": 0x54, "SSTORE": 0x55, "JUMP": 0x56, "JUMPI": 0x57, "GAS": 0x5A, "JUMPDEST": 0x5B,
    "TLOAD": 0x5C, "TSTORE": 0x5D, "PUSH0": 0x5F, "DUP1": 0x80, "DUP2": 0x81, "SWAP1": 0x90,
    "LOG0": 0xA0, "LOG1": 0xA1, "LOG4": 0xA4, "CREATE": 0xF0, "CALL": 0xF1, "RETURN": 0xF3,
    "STATICCALL": 0xFA, "REVERT": 0xFD, "INVALID": 0xFE, "SELFDESTRUCT": 0xFF,
}  # fmt: skip


def assemble(text: str) -> bytes:
    """Return code: opcodes by name, and numbers as the shortest PUSH of them."""
    code = b""
    for word in text.split():
        if word in _OPCODES:
            code += bytes([_OPCODES[word]])
        else:
            number = int(word, 0)
            data = number.to_bytes(max(1, (number.bit_length() + 7) // 8))
            code += bytes([0x5F + len(data)]) + data
    return code


def init_code(runtime: bytes) -> bytes:
    """Return code that deploys `runtime`."""
    head = bytes([0x61]) + len(runtime).to_bytes(2) + bytes.fromhex("80600a5f395ff3")
    return head + runtime


COUNTER = assemble("0 SLOAD 1 ADD DUP1 0 SSTORE 0 MSTORE 0xaa 32 0 LOG1 32 0 RETURN")
"""Adds 1 to word 0, logs and returns it."""
KEEPER = assemble("32 CALLDATALOAD 0 CALLDATALOAD SSTORE STOP")
"""Writes the second word of its input into the slot that the first names."""
REFUSER = assemble("0xbad 0 MSTORE 7 0 SSTORE 32 0 REVERT")
"""Always reverts with the word 0xbad."""
ENDLESS = assemble("JUMPDEST 0 JUMP")
"""Runs out of gas."""
GUARDED = assemble("0 TLOAD 11 JUMPI 1 0 TSTORE STOP JUMPDEST 0 0 REVERT")
"""Succeeds once a transaction: guarded by transient storage."""
FACTORY = assemble(
    "CALLDATASIZE 0 0 CALLDATACOPY CALLDATASIZE 0 0 CREATE DUP1 0 SSTORE 0 MSTORE 32 0 RETURN"
)
"""Makes a contract of its input and keeps its address in word 0."""
FORWARDER = assemble(
    "32 CALLDATASIZE SUB 32 0 CALLDATACOPY"
    " 0 0 32 CALLDATASIZE SUB 0 0 0 CALLDATALOAD GAS CALL"
    " 0 SSTORE RETURNDATASIZE 0 0 RETURNDATACOPY RETURNDATASIZE 0 RETURN"
)
"""Calls the address in its first word with the rest, keeps whether it succeeded in word 0."""
TWICE = assemble(
    "0 0 0 0 0 0 CALLDATALOAD GAS CALL 0 SSTORE 0 0 0 0 0 0 CALLDATALOAD GAS CALL 1 SSTORE STOP"
)
"""Calls the address in its input twice, keeps in words 0 and 1 whether each succeeded."""
ENDING = assemble("0 SELFDESTRUCT")
SURROUNDINGS = assemble(
    "TIMESTAMP 0 MSTORE NUMBER 32 MSTORE CHAINID 64 MSTORE BASEFEE 96 MSTORE"
    " CALLER 128 MSTORE COINBASE 160 MSTORE PREVRANDAO 192 MSTORE GASPRICE 224 MSTORE 256 0 RETURN"
)
"""Returns time, number, chain id, base fee, caller, coinbase, randomness and price of gas."""


def word(value: int | bytes) -> bytes:
    """Return 32 bytes."""
    return value.rjust(32, b"\0") if isinstance(value, bytes) else value.to_bytes(32)


class Account:
    """A key with its next nonce on one chain."""

    def __init__(self, key, chain_id: int, nonce: int = 0) -> None:
        self.key = key
        self.chain_id = chain_id
        self.next_nonce = nonce

    @property
    def address(self) -> bytes:
        return self.key.address

    def transaction(self, to: bytes | None, data: bytes = b"", *, gas: int = 1_000_000) -> bytes:
        """Sign the next transaction."""
        nonce, self.next_nonce = self.next_nonce, self.next_nonce + 1
        return sign(self.key, chain_id=self.chain_id, nonce=nonce, to=to, data=data, gas_limit=gas)

    def creation(self, runtime: bytes) -> bytes:
        """Sign the creation of a contract with this code."""
        return self.transaction(None, init_code(runtime))
