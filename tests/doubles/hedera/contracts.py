"""Transactions of the smart contract service, and the runs of the EVM that they are."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.wrappers_pb2 import BytesValue, Int64Value
from hiero_sdk_python.hapi.services import response_code_pb2 as codes
from hiero_sdk_python.hapi.services.contract_types_pb2 import (
    ContractFunctionResult,
    ContractLoginfo,
)

from chargera.app.chain_ports import GAS_LIMIT, Block
from chargera.ledger.evm.engine import Message, Outcome, intrinsic_gas
from tests.doubles.hedera import system_contract
from tests.doubles.hedera.accounts import create_hollow
from tests.doubles.hedera.clock import NS_PER_S
from tests.doubles.hedera.entities import Account, account_id, contract_id
from tests.doubles.hedera.ethereum import EthereumData
from tests.doubles.hedera.evm import bloom
from tests.doubles.hedera.handling import FEE_ACCOUNT, Handling
from tests.doubles.hedera.precheck import ResponseError

if TYPE_CHECKING:
    from tests.doubles.hedera.ledger import Ledger

CREATION_BYTES_MAX = 24_576
CALL_BYTES_MAX = 131_072
BLOCK_S = 2
WEIBARS_PER_TINYBAR = 10**10
_OUT_OF_GAS = ("outofgas", "out of gas")
"""How the engines say it."""


@dataclass(frozen=True, slots=True)
class Run:
    """A message that the EVM ran in a transaction, for those who ask what came of it."""

    sender: bytes
    to: bytes | None
    data: bytes
    gas_limit: int
    outcome: Outcome
    block: Block
    contract: int | None
    created: tuple[int, ...]
    ethereum: EthereumData | None = None
    nonce: int | None = None


def block_number(ledger: "Ledger", time_ns: int) -> int:
    """Return the number of the block of a time, counted from 1, one every two seconds."""
    return 1 + (time_ns - ledger.genesis_ns) // (BLOCK_S * NS_PER_S)


def block_at(ledger: "Ledger", time_ns: int) -> Block:
    """Return the block that a run at this consensus time sees: its time is that second."""
    return Block(block_number(ledger, time_ns), time_ns // NS_PER_S)


def check_ethereum(ledger: "Ledger", content: Any) -> None:
    """Raise ResponseError for an EthereumTransaction that no node passes on."""
    ethereum = _ethereum_data(ledger, content)
    limit = CREATION_BYTES_MAX if ethereum.to is None else CALL_BYTES_MAX
    if len(ethereum.data) > limit:
        raise ResponseError(codes.TRANSACTION_OVERSIZE)
    check_gas(ethereum.to, ethereum.data, ethereum.gas_limit)
    if content.max_gas_allowance < 0:
        raise ResponseError(codes.NEGATIVE_ALLOWANCE_AMOUNT)


def ethereum(handling: Handling) -> None:
    """EthereumTransaction (HIP-410): the sender signs inside, the payer may pay its gas."""
    ledger = handling.ledger
    data = _ethereum_data(ledger, handling.content)
    if data.chain_id != ledger.evm.chain_id:
        raise ResponseError(codes.WRONG_CHAIN_ID)
    sender = ledger.account_at(data.sender)
    if sender is None or sender.is_contract:
        raise ResponseError(codes.INVALID_ACCOUNT_ID)
    if data.nonce != ledger.evm.nonce(data.sender):
        raise ResponseError(codes.WRONG_NONCE)
    _check_means(handling, sender, data)
    if sender.key is None:
        sender.key = data.key()  # what it has signed completes a hollow account
    value = data.value // WEIBARS_PER_TINYBAR
    receiver = None if data.to is None else ledger.account_at(data.to)
    if value:
        if data.to is None or (receiver is not None and receiver.is_contract):
            raise ResponseError(codes.NOT_SUPPORTED)
        receiver = receiver or create_hollow(handling, data.to)
        handling.move(sender.number, -value)
        handling.move(receiver.number, value)
    outcome = _run(handling, sender, data.to, data.data, data.gas_limit, data)
    price, offered = ledger.rate.gas_price, data.price // WEIBARS_PER_TINYBAR
    of_sender = min(price, offered) * outcome.gas_used
    handling.gas_tinybars = price * outcome.gas_used - of_sender
    if of_sender:
        handling.move(sender.number, -of_sender)
        handling.move(FEE_ACCOUNT, of_sender)


def call(handling: Handling) -> None:
    """ContractCall: the payer is the sender."""
    content = handling.content
    to = contract_address(handling.ledger, content.contractID)
    if to is None:
        raise ResponseError(codes.INVALID_CONTRACT_ID)
    if content.amount:
        raise ResponseError(codes.NOT_SUPPORTED)
    _call_as_payer(handling, to, content.functionParameters, content.gas)


def create(handling: Handling) -> None:
    """ContractCreate, of init code in the transaction or in a file (as hex)."""
    content = handling.content
    code = content.initcode
    if content.HasField("fileID"):
        code = file_hex(handling.ledger, content.fileID.fileNum)
    if content.initialBalance:
        raise ResponseError(codes.NOT_SUPPORTED)
    _call_as_payer(handling, None, code + content.constructorParameters, content.gas)
    for number in handling.run.created if handling.run else ():
        account = handling.ledger.accounts[number]
        account.key = content.adminKey if content.HasField("adminKey") else None
        account.memo = content.memo


def contract_address(ledger: "Ledger", contract: Any) -> bytes | None:
    """Return the address of the contract that a message of HAPI names."""
    if contract.WhichOneof("contract") == "evm_address":
        found = ledger.account_at(contract.evm_address)
    else:
        found = ledger.accounts.get(contract.contractNum)
        if contract.contractNum == system_contract.NUMBER:
            return system_contract.ADDRESS
    return found.address if found is not None and found.is_contract else None


def file_hex(ledger: "Ledger", number: int) -> bytes:
    """Return the bytes that a file holds as hex digits. Raises ResponseError."""
    file = ledger.files.get(number)
    if file is None:
        raise ResponseError(codes.INVALID_FILE_ID)
    try:
        return bytes.fromhex(file.content.decode("ascii").removeprefix("0x"))
    except ValueError:
        raise ResponseError(codes.ERROR_DECODING_BYTESTRING) from None


def result_of(ledger: "Ledger", run: Run) -> ContractFunctionResult:
    """Return what records and local calls say of a run."""
    outcome = run.outcome
    result = ContractFunctionResult(
        contractCallResult=outcome.output if outcome.succeeded else b"",
        errorMessage=error_text(outcome),
        gasUsed=outcome.gas_used,
        gas=run.gas_limit,
        functionParameters=run.data if run.to else b"",
        createdContractIDs=[contract_id(number) for number in run.created],
        bloom=bloom([part for log in outcome.logs for part in (log.address, *log.topics)]),
    )
    if run.contract is not None:
        result.contractID.CopyFrom(contract_id(run.contract))
    if run.created and run.to is None:
        result.evm_address.CopyFrom(BytesValue(value=outcome.created or b""))
    if run.nonce is not None:
        result.signer_nonce.CopyFrom(Int64Value(value=run.nonce + 1))
    if (sender := ledger.account_at(run.sender)) is not None:
        result.sender_id.CopyFrom(account_id(sender.number))
    for log in outcome.logs:
        said = ContractLoginfo(
            topic=log.topics, data=log.data, bloom=bloom([log.address, *log.topics])
        )
        if (contract := ledger.account_at(log.address)) is not None:
            said.contractID.CopyFrom(contract_id(contract.number))
        result.logInfo.append(said)
    return result


def error_text(outcome: Outcome) -> str:
    """Return why a run failed as Hedera says it: the error's bytes, or the name of a halt."""
    if outcome.succeeded:
        return ""
    if outcome.halt is None:
        return f"0x{outcome.output.hex()}"
    return status_name(outcome)


def status_name(outcome: Outcome) -> str:
    """Return the name of the response code of an outcome."""
    name: str = codes.ResponseCodeEnum.Name(status_of(outcome))
    return name


def status_of(outcome: Outcome) -> int:
    """Return the response code of an outcome."""
    code: int = codes.CONTRACT_EXECUTION_EXCEPTION
    if outcome.succeeded:
        code = codes.SUCCESS
    elif outcome.halt is None:
        code = codes.CONTRACT_REVERT_EXECUTED
    elif any(word in outcome.halt.lower() for word in _OUT_OF_GAS):
        code = codes.INSUFFICIENT_GAS
    return code


def _ethereum_data(ledger: "Ledger", content: Any) -> EthereumData:
    calldata = None
    if content.HasField("call_data"):
        calldata = file_hex(ledger, content.call_data.fileNum)
    try:
        return EthereumData.parse(content.ethereum_data, calldata)
    except ValueError:
        raise ResponseError(codes.INVALID_ETHEREUM_TRANSACTION) from None


def check_gas(to: bytes | None, data: bytes, gas_limit: int) -> None:
    """Raise ResponseError for more gas than there is, or less than the message begins with."""
    if gas_limit > GAS_LIMIT:
        raise ResponseError(codes.MAX_GAS_LIMIT_EXCEEDED)
    if gas_limit < intrinsic_gas(to, data):
        raise ResponseError(codes.INSUFFICIENT_GAS)


def _check_means(handling: Handling, sender: Account, data: EthereumData) -> None:
    """Raise ResponseError unless sender and payer can and will pay for all gas that is allowed."""
    price, offered = handling.ledger.rate.gas_price, data.price // WEIBARS_PER_TINYBAR
    of_payer = max(0, price - offered) * data.gas_limit
    if of_payer > handling.content.max_gas_allowance:
        raise ResponseError(codes.INSUFFICIENT_TX_FEE)
    if of_payer > handling.payer.balance:
        raise ResponseError(codes.INSUFFICIENT_PAYER_BALANCE)
    of_sender = min(price, offered) * data.gas_limit + data.value // WEIBARS_PER_TINYBAR
    if of_sender > sender.balance:
        raise ResponseError(codes.INSUFFICIENT_PAYER_BALANCE)


def _call_as_payer(handling: Handling, to: bytes | None, data: bytes, gas_limit: int) -> None:
    check_gas(to, data, gas_limit)
    price = handling.ledger.rate.gas_price
    if price * gas_limit > handling.payer.balance:
        raise ResponseError(codes.INSUFFICIENT_PAYER_BALANCE)
    outcome = _run(handling, handling.payer, to, data, gas_limit)
    handling.gas_tinybars = price * outcome.gas_used


def _run(
    handling: Handling,
    sender: Account,
    to: bytes | None,
    data: bytes,
    gas_limit: int,
    ethereum_data: EthereumData | None = None,
) -> Outcome:
    """Run a message, keep what it changes, and write what came of it into the handling."""
    ledger, evm = handling.ledger, handling.ledger.evm
    block = block_at(ledger, handling.now_ns)
    to = None if to is None else ledger.canonical(to)
    system_contract.prepare(evm, ledger.peek_number())
    outcome = evm.try_(Message(sender.address, to, data, gas_limit), block)
    nonce = evm.nonce(sender.address) if ethereum_data else None
    system_contract.take_schedules(handling, outcome)  # their numbers are those that it returned
    created = _take_contracts(handling, outcome, data)
    evm.keep(outcome, sender.address, counts=ethereum_data is not None or to is None)
    target = outcome.created if to is None else to
    found = None if target is None else ledger.account_at(target)
    contract = None if found is None else found.number
    handling.run = Run(
        sender.address, to, data, gas_limit, outcome, block, contract, created, ethereum_data, nonce
    )
    handling.result = result_of(ledger, handling.run)
    handling.receipt.status = status_of(outcome)
    handling.entity = contract
    if contract is not None:
        handling.receipt.contractID.CopyFrom(contract_id(contract))
    return outcome


def _take_contracts(handling: Handling, outcome: Outcome, init_code: bytes) -> tuple[int, ...]:
    """Give the new contracts of an outcome their numbers."""
    ledger, numbers = handling.ledger, []
    for address in ledger.evm.new_contracts(outcome):
        account = Account(
            ledger.next_number(),
            None,
            handling.now_ns,
            alias=address,
            is_contract=True,
            init_code=init_code if address == outcome.created else b"",
        )
        ledger.add_account(account)
        numbers.append(account.number)
    return tuple(numbers)
