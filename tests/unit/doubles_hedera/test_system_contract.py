"""The mock at 0x16b on both engines: one price, one answer, one log."""

import importlib.util

import pytest
from hiero_sdk_python.hapi.services import response_code_pb2 as codes

from chargera.app.chain_ports import Block
from chargera.ledger.evm.engine import Message
from tests.doubles.hedera import system_contract
from tests.doubles.hedera.evm import Evm
from tests.evm_contracts import word

CALLER, TARGET = b"\x11" * 20, b"\x22" * 20
NOW = 1_800_000_000
ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(not importlib.util.find_spec(module), reason=name))
    for name, module in (("pyrevm", "pyrevm"), ("py-evm", "eth"))
]


def calldata(second: int) -> bytes:
    head = word(TARGET) + word(second) + word(100_000) + word(0) + word(160)
    return system_contract.SCHEDULE_CALL.to_bytes(4) + head + word(3) + word(b"abc")


def answer(evm: Evm, second: int):
    message = Message(CALLER, system_contract.ADDRESS, calldata(second))
    outcome = evm.try_(message, Block(1, NOW))
    assert outcome.succeeded
    return outcome, int.from_bytes(outcome.output[:32]), outcome.output[32:]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_schedule_is_a_log_and_its_number_and_its_price_is_gas(engine):
    evm = Evm(298, engine)
    system_contract.prepare(evm, 1_234)
    outcome, code, address = answer(evm, NOW + 1)
    assert (code, address) == (codes.SUCCESS, word(1_234))
    (log,) = outcome.logs
    assert log.topics == (word(CALLER),)
    assert log.data == calldata(NOW + 1)
    # Beside the price: the transaction, its data, the log and two words of storage.
    assert 0 < outcome.gas_used - system_contract.PRICE_GAS < 60_000
    assert outcome.gas_used == 1_440_722


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("second", "code"),
    [
        (NOW, codes.SCHEDULE_EXPIRATION_TIME_MUST_BE_HIGHER_THAN_CONSENSUS_TIME),
        (NOW + 62 * 86_400, codes.SUCCESS),
        (NOW + 62 * 86_400 + 1, codes.SCHEDULE_EXPIRATION_TIME_TOO_FAR_IN_FUTURE),
    ],
)
def test_its_time_is_after_now_and_within_62_days(engine, second, code):
    evm = Evm(298, engine)
    system_contract.prepare(evm, 1_234)
    outcome, answered, address = answer(evm, second)
    assert answered == code
    assert (address == bytes(32)) == (outcome.logs == ()) == (code != codes.SUCCESS)


@pytest.mark.parametrize("engine", ENGINES)
def test_other_functions_are_refused(engine):
    message = Message(CALLER, system_contract.ADDRESS, b"\x01\x02\x03\x04")
    assert not Evm(298, engine).try_(message, Block(1, NOW)).succeeded
