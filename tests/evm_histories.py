"""Random lists of signed transactions that every EVM must take alike: conformance of engines."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm import artifacts
from chargera.ledger.evm.transaction import contract_address, sign
from tests.evm_contracts import (
    COUNTER,
    ENDING,
    ENDLESS,
    FACTORY,
    FORWARDER,
    GUARDED,
    KEEPER,
    REFUSER,
    SURROUNDINGS,
    TWICE,
    assemble,
    init_code,
    word,
)

CHAIN_ID = 0x8102_0304_0506
START_S = 1_780_000_000
KEYS = [ChainKey(bytes([n]) * 32) for n in (1, 2, 3)]
REMEMBERING = assemble(
    "TIMESTAMP 0 SSTORE NUMBER 1 SSTORE CHAINID 2 SSTORE BASEFEE 3 SSTORE CALLER 4 SSTORE"
    " GAS 5 SSTORE STOP"
)
"""Keeps its surroundings, the gas that is left among them; not the randomness of anvil."""
CODES = (
    COUNTER, KEEPER, REFUSER, ENDLESS, GUARDED, FACTORY, FORWARDER, TWICE, ENDING, SURROUNDINGS,
    REMEMBERING,
)  # fmt: skip
ENDING_AT_ONCE = assemble("5 0 SSTORE 0 SELFDESTRUCT")
"""Init code that ends the contract that it makes (EIP-6780)."""
INIT_CODES = (
    init_code(COUNTER),
    init_code(b"\0" * 24_577),
    ENDING_AT_ONCE,
    assemble("0xbad 0 MSTORE 32 0 REVERT"),
    b"",
    b"\xfe",
    assemble("0xef 0 MSTORE 1 31 RETURN"),
)
"""Over the limit of EIP-170, ending, refusing, empty, invalid, with the byte of EIP-3541."""
PRECOMPILES = [bytes(19) + bytes([n]) for n in (1, 2, 3, 4, 5, 6, 7, 8)]


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction and the second in which it is sent."""

    raw: bytes
    time: int


class History:
    """Makes a list from a seed; it knows nonces, and where contracts should stand."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.nonces = [0] * len(KEYS)
        self.contracts: list[bytes] = []
        self.time = START_S
        self.sent: list[Sent] = []

    def make(self, length: int) -> Sequence[Sent]:
        """Return the deployment of all small contracts and a token, then random transactions."""
        for code in CODES:
            self.deploy(init_code(code))
        self.token = self.deploy(_token(KEYS[0].address), gas=5_000_000)
        actions = [*3 * [self.call], *2 * [self.transfer], self.make_one, self.wrong]
        for _ in range(length):
            self.chance.choice(actions)()
        return self.sent

    def send(self, to: bytes | None, data: bytes, *, sender: int = 0, gas: int = 900_000) -> None:
        nonce = self.nonces[sender]
        self.nonces[sender] += 1
        self._send(sender, to, data, nonce, gas)

    def _send(
        self,
        sender: int,
        to: bytes | None,
        data: bytes,
        nonce: int,
        gas: int,
        chain: int = CHAIN_ID,
    ) -> None:
        self.time += self.chance.choice([1, 1, 2, 60])
        raw = sign(KEYS[sender], chain_id=chain, nonce=nonce, to=to, data=data, gas_limit=gas)
        self.sent.append(Sent(raw, self.time))

    def deploy(self, code: bytes, gas: int = 900_000) -> bytes:
        address = contract_address(KEYS[0].address, self.nonces[0])
        self.send(None, code, gas=gas)
        self.contracts.append(address)
        return address

    def call(self) -> None:
        target = self.chance.choice([*self.contracts, *PRECOMPILES, b"\x77" * 20])
        first = self.chance.choice(
            [word(self.chance.randrange(3)), word(self.chance.choice(self.contracts))]
        )
        second = word(self.chance.choice([0, 1, 2, 2**256 - 1]))
        data = self.chance.choice([first + second, first + second, first, b""])
        if target == self.contracts[CODES.index(FACTORY)]:
            data = self.chance.choice(INIT_CODES)
        gas = self.chance.choice([900_000, 900_000, 200_000, 60_000, 30_000])
        gas = 9_000_000 if len(data) > 1_000 else gas
        self.send(target, data, sender=self.chance.randrange(len(KEYS)), gas=gas)

    def transfer(self) -> None:
        load = artifacts.load("C4EToken")
        to = self.chance.choice(KEYS).address
        value = self.chance.choice([0, 1, 10**6, 10**20])
        data = self.chance.choice(
            [
                load.call("transfer", {"to": to, "value": value}),
                load.call("approve", {"spender": to, "value": value}),
                load.call("delegate", {"delegatee": to}),
                load.call("burn", {"amount": value}),
                load.call("transferFrom", {"from": KEYS[0].address, "to": to, "value": value}),
            ]
        )
        self.send(self.token, data, sender=self.chance.randrange(len(KEYS)))

    def make_one(self) -> None:
        code = self.chance.choice(INIT_CODES)
        self.send(None, code, sender=self.chance.randrange(len(KEYS)), gas=9_000_000)

    def wrong(self) -> None:
        """Send what no chain may take."""
        to, next_nonce = self.contracts[0], self.nonces[1]
        if next_nonce:
            self._send(1, to, b"", next_nonce - 1, 900_000)
        self._send(1, to, b"", next_nonce, 20_999)
        self._send(1, to, b"", next_nonce, 900_000, chain=1)


def _token(holder: bytes) -> bytes:
    return artifacts.load("C4EToken").creation({"holder": holder, "minter_": b"\x99" * 20})
