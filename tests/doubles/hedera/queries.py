"""Queries of HAPI: receipts, records, balances, what is known of entities, local calls."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hiero_sdk_python.hapi.services import query_header_pb2
from hiero_sdk_python.hapi.services import response_code_pb2 as codes
from hiero_sdk_python.hapi.services.basic_types_pb2 import (
    AccountAmount,
    FileID,
    Key,
    KeyList,
    SemanticVersion,
    TopicID,
    TransactionID,
    TransferList,
)
from hiero_sdk_python.hapi.services.duration_pb2 import Duration
from hiero_sdk_python.hapi.services.query_pb2 import Query
from hiero_sdk_python.hapi.services.response_pb2 import Response
from hiero_sdk_python.hapi.services.transaction_receipt_pb2 import TransactionReceipt
from hiero_sdk_python.hapi.services.transaction_record_pb2 import TransactionRecord

from chargera.ledger.evm.engine import Message
from tests.doubles.hedera import contracts, fees, precheck, schedules, topics
from tests.doubles.hedera.clock import NS_PER_S
from tests.doubles.hedera.entities import (
    AUTO_RENEW_S,
    Account,
    account_id,
    contract_id,
    timestamp,
)
from tests.doubles.hedera.faults import FaultKind
from tests.doubles.hedera.handling import Record
from tests.doubles.hedera.precheck import ResponseError

if TYPE_CHECKING:
    from tests.doubles.hedera.ledger import Ledger

FREE = {"transactionGetReceipt", "cryptogetAccountBalance"}
RESPONSE_FIELDS = {"contractGetBytecode": "contractGetBytecodeResponse"}
"""Where the answer's field is not named as the query's."""
VERSION = SemanticVersion(major=0, minor=76)

Answer = Callable[["Ledger", Any, Any, str], None]
"""Fill a response: ledger, query, response, method. Raises ResponseError."""


def answer(ledger: "Ledger", query: Query, method: str) -> Response:
    """Return the answer to a query, once it is paid for."""
    kind = query.WhichOneof("query")
    response = Response()
    if kind not in ANSWERS:
        response.transactionGetReceipt.header.nodeTransactionPrecheckCode = codes.NOT_SUPPORTED
        return response
    asked, said = getattr(query, kind), getattr(response, RESPONSE_FIELDS.get(kind, kind))
    said.header.responseType = asked.header.responseType
    try:
        with ledger.lock:
            ledger.run_due()
            if ledger.faults.strikes(FaultKind.BUSY, method):
                raise ResponseError(codes.BUSY)
            cost = 0 if kind in FREE else _cost(ledger, asked)
            if asked.header.responseType == query_header_pb2.COST_ANSWER:
                said.header.cost = cost
                return response
            if kind not in FREE:
                _pay(ledger, asked.header, cost, method)
            ANSWERS[kind](ledger, asked, said, method)
    except ResponseError as failure:
        header = said.header
        said.Clear()
        said.header.CopyFrom(header)
        said.header.nodeTransactionPrecheckCode = failure.code
    return response


def record_message(ledger: "Ledger", record: Record) -> TransactionRecord:
    """Return a record as HAPI has it."""
    message = TransactionRecord(
        receipt=record.receipt,
        transactionHash=record.hash,
        consensusTimestamp=timestamp(record.consensus_ns),
        transactionID=record.transaction_id,
        memo=record.body.memo,
        transactionFee=record.fee,
        transferList=TransferList(
            accountAmounts=[
                AccountAmount(accountID=account_id(number), amount=amount)
                for number, amount in sorted(record.transfers.items())
            ]
        ),
        alias=record.alias,
        evm_address=record.alias,
    )
    if record.parent_ns is not None:
        message.parent_consensus_timestamp.CopyFrom(timestamp(record.parent_ns))
    if record.result is not None and record.run is not None:
        target = (
            message.contractCreateResult if record.run.to is None else message.contractCallResult
        )
        target.CopyFrom(record.result)
        if record.run.ethereum is not None:
            message.ethereum_hash = record.run.ethereum.hash
    return message


def _cost(ledger: "Ledger", asked: Any) -> int:
    cost = ledger.rate.tinybars(fees.QUERY)
    gas: int = getattr(asked, "gas", 0)
    return cost + gas * ledger.rate.gas_price


def _pay(ledger: "Ledger", header: Any, cost: int, method: str) -> None:
    if not header.HasField("payment"):
        raise ResponseError(codes.INSUFFICIENT_TX_FEE)
    arrived = precheck.read(header.payment)
    if arrived.kind != "cryptoTransfer":
        raise ResponseError(codes.INSUFFICIENT_TX_FEE)
    paid = sum(
        each.amount
        for each in arrived.content.transfers.accountAmounts
        if each.accountID.accountNum == precheck.NODE
    )
    if paid < cost:
        raise ResponseError(codes.INSUFFICIENT_TX_FEE)
    code, _ = ledger.submit(header.payment, method)
    if code != codes.OK:
        raise ResponseError(code)


def _receipt(ledger: "Ledger", asked: Any, said: Any, method: str) -> None:
    if ledger.faults.strikes(FaultKind.RECEIPT_LOST, method, asked.transactionID):
        raise ResponseError(codes.RECEIPT_NOT_FOUND)
    found = ledger.find(asked.transactionID, remembered=True)
    unknown = ledger.faults.strikes(FaultKind.RECEIPT_UNKNOWN, method, asked.transactionID)
    if not found or unknown:
        if not found and not ledger.is_under_way(asked.transactionID):
            raise ResponseError(codes.RECEIPT_NOT_FOUND)
        said.receipt.CopyFrom(TransactionReceipt(status=codes.UNKNOWN))
        said.receipt.exchangeRate.CopyFrom(ledger.rate.message(ledger.clock.now_ns()))
        return
    said.receipt.CopyFrom(found[0].receipt)
    if asked.include_child_receipts:
        said.child_transaction_receipts.extend(record.receipt for record in found[1:])


def _record(ledger: "Ledger", asked: Any, said: Any, method: str) -> None:
    if ledger.faults.strikes(FaultKind.RECEIPT_LOST, method, asked.transactionID):
        raise ResponseError(codes.RECORD_NOT_FOUND)
    found = ledger.find(asked.transactionID, remembered=True)
    if not found:
        raise ResponseError(codes.RECORD_NOT_FOUND)
    said.transactionRecord.CopyFrom(record_message(ledger, found[0]))
    if asked.include_child_records:
        said.child_transaction_records.extend(record_message(ledger, r) for r in found[1:])


def _balance(ledger: "Ledger", asked: Any, said: Any, method: str) -> None:
    if asked.HasField("contractID"):
        found = _contract(ledger, asked.contractID)
    else:
        found = _account(ledger, asked.accountID)
    said.accountID.CopyFrom(account_id(found.number))
    said.balance = found.balance


def _account_info(ledger: "Ledger", asked: Any, said: Any, method: str) -> None:
    found = _account(ledger, asked.accountID)
    info = said.accountInfo  # `alias` is for aliases that are keys; the address stands below
    info.accountID.CopyFrom(account_id(found.number))
    info.contractAccountID = found.address.hex()
    info.key.CopyFrom(found.key or Key(keyList=KeyList()))
    info.balance = found.balance
    info.expirationTime.CopyFrom(timestamp(found.created_ns + AUTO_RENEW_S * NS_PER_S))
    info.autoRenewPeriod.CopyFrom(Duration(seconds=AUTO_RENEW_S))
    info.memo = found.memo
    info.ledger_id = b"\x03"
    info.ethereum_nonce = ledger.evm.nonce(found.address)
    info.staking_info.decline_reward = False


def _topic_info(ledger: "Ledger", asked: Any, said: Any, method: str) -> None:
    topic = ledger.topics.get(asked.topicID.topicNum)
    if topic is None or topic.deleted:
        raise ResponseError(codes.INVALID_TOPIC_ID)
    said.topicID.CopyFrom(TopicID(topicNum=topic.number))
    said.topicInfo.CopyFrom(topics.info(topic))


def _schedule_info(ledger: "Ledger", asked: Any, said: Any, method: str) -> None:
    schedule = ledger.schedules.get(asked.scheduleID.scheduleNum)
    if schedule is None:
        raise ResponseError(codes.INVALID_SCHEDULE_ID)
    said.scheduleInfo.CopyFrom(schedules.info(schedule))


def _local_call(ledger: "Ledger", asked: Any, said: Any, method: str) -> None:
    to = contracts.contract_address(ledger, asked.contractID)
    if to is None:
        raise ResponseError(codes.INVALID_CONTRACT_ID)
    contracts.check_gas(to, asked.functionParameters, asked.gas)
    sender = ledger.find_account(asked.sender_id) if asked.HasField("sender_id") else None
    if sender is None:
        payer: TransactionID = precheck.read(asked.header.payment).body.transactionID
        sender = ledger.find_account(payer.accountID)
    assert sender is not None, "the payment was taken"
    block = contracts.block_at(ledger, ledger.clock.now_ns())
    message = Message(sender.address, to, asked.functionParameters, asked.gas)
    outcome = ledger.evm.try_(message, block)
    run = contracts.Run(
        sender.address, to, message.data, asked.gas, outcome, block, _number_at(ledger, to), ()
    )
    said.functionResult.CopyFrom(contracts.result_of(ledger, run))
    said.header.nodeTransactionPrecheckCode = (
        codes.OK if outcome.succeeded else contracts.status_of(outcome)
    )


def _contract_info(ledger: "Ledger", asked: Any, said: Any, method: str) -> None:
    found = _contract(ledger, asked.contractID)
    info = said.contractInfo
    info.contractID.CopyFrom(contract_id(found.number))
    info.accountID.CopyFrom(account_id(found.number))
    info.contractAccountID = found.address.hex()
    if found.key is not None:
        info.adminKey.CopyFrom(found.key)
    info.expirationTime.CopyFrom(timestamp(found.created_ns + AUTO_RENEW_S * NS_PER_S))
    info.autoRenewPeriod.CopyFrom(Duration(seconds=AUTO_RENEW_S))
    info.memo = found.memo
    info.balance = found.balance
    info.ledger_id = b"\x03"


def _bytecode(ledger: "Ledger", asked: Any, said: Any, method: str) -> None:
    said.bytecode = ledger.evm.code(_contract(ledger, asked.contractID).address)


def _file(ledger: "Ledger", asked: Any, said: Any, method: str) -> None:
    file = ledger.files.get(asked.fileID.fileNum)
    if file is None:
        raise ResponseError(codes.INVALID_FILE_ID)
    said.fileContents.fileID.CopyFrom(FileID(fileNum=file.number))
    said.fileContents.contents = file.content


def _version(ledger: "Ledger", asked: Any, said: Any, method: str) -> None:
    said.hapiProtoVersion.CopyFrom(VERSION)
    said.hederaServicesVersion.CopyFrom(VERSION)


def _account(ledger: "Ledger", named: Any) -> Account:
    found = ledger.find_account(named)
    if found is None:
        raise ResponseError(codes.INVALID_ACCOUNT_ID)
    return found


def _contract(ledger: "Ledger", named: Any) -> Account:
    address = contracts.contract_address(ledger, named)
    found = None if address is None else ledger.account_at(address)
    if found is None:
        raise ResponseError(codes.INVALID_CONTRACT_ID)
    return found


def _number_at(ledger: "Ledger", address: bytes) -> int | None:
    found = ledger.account_at(address)
    return None if found is None else found.number


ANSWERS: dict[str, Answer] = {
    "transactionGetReceipt": _receipt,
    "transactionGetRecord": _record,
    "cryptogetAccountBalance": _balance,
    "cryptoGetInfo": _account_info,
    "consensusGetTopicInfo": _topic_info,
    "scheduleGetInfo": _schedule_info,
    "contractCallLocal": _local_call,
    "contractGetInfo": _contract_info,
    "contractGetBytecode": _bytecode,
    "fileGetContents": _file,
    "networkGetVersionInfo": _version,
}
