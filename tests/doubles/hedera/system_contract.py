"""The Hedera Schedule Service at 0x16b (HIP-1215), as a small contract in EVM assembly.

`scheduleCall` logs what it is called with and returns the id of the schedule to be; the ledger
makes the schedule of the log. So an undone call schedules nothing, on every engine. It never
reverts: it returns a response code and, unless that is SUCCESS, the zero address. Its price is
burned by growing its memory.
"""

from math import isqrt
from typing import TYPE_CHECKING

from hiero_sdk_python.hapi.services import response_code_pb2 as codes
from hiero_sdk_python.hapi.services.contract_call_pb2 import ContractCallTransactionBody
from hiero_sdk_python.hapi.services.schedulable_transaction_body_pb2 import (
    SchedulableTransactionBody,
)

from tests.doubles.hedera.clock import NS_PER_S
from tests.doubles.hedera.entities import contract_id

if TYPE_CHECKING:
    from chargera.ledger.evm.engine import Outcome
    from tests.doubles.hedera.evm import Evm
    from tests.doubles.hedera.handling import Handling

NUMBER = 0x16B
ADDRESS = NUMBER.to_bytes(20)
PRICE_GAS = 1_408_450
"""0.10 dollars and 20 %, at 852 tinycents a gas."""
FARTHEST_S = 5_356_800
"""62 days."""
SCHEDULE_CALL, HAS_CAPACITY = 0x6F5BFDE8, 0xDFB4A999
_NEXT_SLOT, _BUSY_SLOT = 0, 1
_WORD = 32
_BURNED_WORDS = isqrt((768 * 768) + 512 * PRICE_GAS) - 768
"""Words of memory that cost the price: 3 w + w^2 / 512 (Yellow Paper, appendix H)."""

_OPCODES = {
    "ADD": 0x01, "GT": 0x11, "EQ": 0x14, "ISZERO": 0x15, "SHR": 0x1C, "CALLER": 0x33,
    "CALLDATALOAD": 0x35, "CALLDATASIZE": 0x36, "CALLDATACOPY": 0x37, "TIMESTAMP": 0x42,
    "POP": 0x50, "MLOAD": 0x51, "MSTORE": 0x52, "SLOAD": 0x54, "SSTORE": 0x55, "JUMP": 0x56,
    "JUMPI": 0x57, "DUP1": 0x80, "LOG1": 0xA1, "RETURN": 0xF3, "REVERT": 0xFD,
}  # fmt: skip


def _assemble(text: str) -> bytes:
    """Return code: opcodes, numbers (pushed), `label:` and `@label` (its place, pushed)."""
    code, places, gaps = b"", {}, {}
    for word in text.split():
        if word.endswith(":"):
            places[word[:-1]] = len(code)
            code += b"\x5b"
        elif word.startswith("@"):
            gaps[len(code) + 1] = word[1:]
            code += b"\x61\0\0"
        elif word in _OPCODES:
            code += bytes([_OPCODES[word]])
        else:
            number = int(word, 0)
            data = number.to_bytes(max(1, (number.bit_length() + 7) // 8))
            code += bytes([0x5F + len(data)]) + data
    for gap, label in gaps.items():
        code = code[:gap] + places[label].to_bytes(2) + code[gap + 2 :]
    return code


CODE = _assemble(f"""
    0 CALLDATALOAD 224 SHR
    DUP1 {HAS_CAPACITY} EQ @capacity JUMPI
    {SCHEDULE_CALL} EQ @schedule JUMPI
    0 0 REVERT
  capacity:
    {_BUSY_SLOT} SLOAD ISZERO 0 MSTORE 32 0 RETURN
  schedule:
    {codes.SCHEDULE_EXPIRY_IS_BUSY} {_BUSY_SLOT} SLOAD @fail JUMPI POP
    {codes.SCHEDULE_EXPIRATION_TIME_MUST_BE_HIGHER_THAN_CONSENSUS_TIME}
    36 CALLDATALOAD TIMESTAMP 1 ADD GT @fail JUMPI POP
    {codes.SCHEDULE_EXPIRATION_TIME_TOO_FAR_IN_FUTURE}
    TIMESTAMP {FARTHEST_S} ADD 36 CALLDATALOAD GT @fail JUMPI POP
    {_BURNED_WORDS * _WORD} MLOAD POP
    CALLDATASIZE 0 0 CALLDATACOPY CALLER CALLDATASIZE 0 LOG1
    {codes.SUCCESS} 0 MSTORE
    {_NEXT_SLOT} SLOAD DUP1 32 MSTORE
    1 ADD {_NEXT_SLOT} SSTORE
    64 0 RETURN
  fail:
    0 MSTORE 0 32 MSTORE 64 0 RETURN
""")


def prepare(evm: "Evm", next_number: int) -> None:
    """Tell the contract which number the next schedule has."""
    if evm.word(ADDRESS, _NEXT_SLOT) != next_number:
        evm.set_word(ADDRESS, _NEXT_SLOT, next_number)


def set_busy(evm: "Evm", busy: bool) -> None:
    """Let the contract answer SCHEDULE_EXPIRY_IS_BUSY, or no longer."""
    evm.set_word(ADDRESS, _BUSY_SLOT, int(busy))


def take_schedules(handling: "Handling", outcome: "Outcome") -> None:
    """Make the schedules that a run has asked for; their payer is the contract that asked."""
    from tests.doubles.hedera.schedules import Schedule, scheduled_id

    ledger = handling.ledger
    for count, log in enumerate(log for log in outcome.logs if log.address == ADDRESS):
        to, expiry_s, gas_limit, _, offset = (_word(log.data, index) for index in range(5))
        begins = 4 + offset + _WORD
        data = log.data[begins : begins + _word(log.data, offset // _WORD)]
        caller, called = log.topics[0][-20:], ledger.account_at(to.to_bytes(20))
        payer = ledger.account_at(caller)
        number = ledger.next_number()
        if payer is None or called is None:
            continue
        ledger.schedules[number] = Schedule(
            number=number,
            created_ns=handling.now_ns,
            body=SchedulableTransactionBody(
                contractCall=ContractCallTransactionBody(
                    contractID=contract_id(called.number), gas=gas_limit, functionParameters=data
                )
            ),
            creator=payer.number,
            payer=payer.number,
            expiration_ns=expiry_s * NS_PER_S,
            waits=True,
            transaction_id=scheduled_id(handling.body.transactionID, count),
            is_of_contract=True,
        )


def _word(data: bytes, index: int) -> int:
    begins = 4 + index * _WORD
    return int.from_bytes(data[begins : begins + _WORD])
