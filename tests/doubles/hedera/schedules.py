"""Transactions of the schedule service, and the execution of what they schedule."""

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hiero_sdk_python.hapi.services import response_code_pb2 as codes
from hiero_sdk_python.hapi.services.basic_types_pb2 import Key, KeyList, ScheduleID, TransactionID
from hiero_sdk_python.hapi.services.schedulable_transaction_body_pb2 import (
    SchedulableTransactionBody,
)
from hiero_sdk_python.hapi.services.schedule_get_info_pb2 import ScheduleInfo
from hiero_sdk_python.hapi.services.transaction_pb2 import TransactionBody

from tests.doubles.hedera import keys
from tests.doubles.hedera.clock import NS_PER_S
from tests.doubles.hedera.entities import account_id, timestamp, to_ns
from tests.doubles.hedera.handling import Handling
from tests.doubles.hedera.precheck import MEMO_BYTES_MAX, Arrived, ResponseError

if TYPE_CHECKING:
    from tests.doubles.hedera.ledger import Ledger

DEFAULT_NS = 1_800 * NS_PER_S
"""How long a schedule without an expiry waits for signatures."""
FARTHEST_NS = 5_356_800 * NS_PER_S
ALLOWED = {"cryptoTransfer", "consensusSubmitMessage", "contractCall"}
"""What the emulator lets be scheduled; the network's list is longer."""


@dataclass(slots=True)
class Schedule:
    """A transaction that waits for signatures, for its time, or for both."""

    number: int
    created_ns: int
    body: SchedulableTransactionBody
    creator: int
    payer: int
    expiration_ns: int
    waits: bool
    """Executed at its expiry, not as soon as all have signed."""
    transaction_id: TransactionID
    memo: str = ""
    admin_key: Key | None = None
    signers: set[bytes] = field(default_factory=set)
    executed_ns: int | None = None
    deleted_ns: int | None = None
    is_of_contract: bool = False
    """Its payer is the contract that scheduled it, which needs no signature."""

    @property
    def is_open(self) -> bool:
        """Whether it may still be executed."""
        return self.executed_ns is None and self.deleted_ns is None

    @property
    def kind(self) -> str:
        """The field of the body."""
        return str(self.body.WhichOneof("data"))

    def key_list(self) -> KeyList:
        """Return who has signed."""
        named = sorted(self.signers)
        return KeyList(keys=[Key(ed25519=k) if len(k) == 32 else keys.ecdsa_key(k) for k in named])


def scheduled_id(transaction_id: TransactionID, count: int = 0) -> TransactionID:
    """Return the id under which a transaction runs that this one schedules."""
    made = TransactionID()
    made.CopyFrom(transaction_id)
    made.scheduled = True
    made.nonce = count
    return made


def create(handling: Handling) -> None:
    """ScheduleCreate."""
    content = handling.content
    kind = content.scheduledTransactionBody.WhichOneof("data")
    if kind not in ALLOWED:
        raise ResponseError(codes.SCHEDULED_TRANSACTION_NOT_IN_WHITELIST)
    if len(content.memo.encode()) > MEMO_BYTES_MAX:
        raise ResponseError(codes.MEMO_TOO_LONG)
    if content.HasField("adminKey"):
        handling.require(content.adminKey)
    payer = handling.payer
    if content.HasField("payerAccountID"):
        payer = handling.account(content.payerAccountID, codes.INVALID_SCHEDULE_PAYER_ID)
    expiration_ns = handling.now_ns + DEFAULT_NS
    if content.HasField("expiration_time"):
        expiration_ns = to_ns(content.expiration_time)
        if expiration_ns <= handling.now_ns:
            raise ResponseError(codes.SCHEDULE_EXPIRATION_TIME_MUST_BE_HIGHER_THAN_CONSENSUS_TIME)
        if expiration_ns > handling.now_ns + FARTHEST_NS:
            raise ResponseError(codes.SCHEDULE_EXPIRATION_TIME_TOO_FAR_IN_FUTURE)
    schedule = Schedule(
        number=handling.ledger.peek_number(),
        created_ns=handling.now_ns,
        body=content.scheduledTransactionBody,
        creator=handling.payer.number,
        payer=payer.number,
        expiration_ns=expiration_ns,
        waits=content.wait_for_expiry,
        transaction_id=scheduled_id(handling.body.transactionID),
        memo=content.memo,
        admin_key=content.adminKey if content.HasField("adminKey") else None,
        signers=handling.signatures.signers(),
    )
    _check_new(handling, schedule)
    handling.ledger.schedules[handling.ledger.next_number()] = schedule
    _name(handling, schedule)
    handling.follow.append(lambda: _execute_if_signed(handling.ledger, schedule))


def sign(handling: Handling) -> None:
    """ScheduleSign."""
    schedule = _open(handling)
    added = handling.signatures.signers() - schedule.signers
    if not added:
        raise ResponseError(codes.NO_NEW_VALID_SIGNATURES)
    schedule.signers |= added
    _name(handling, schedule)
    handling.follow.append(lambda: _execute_if_signed(handling.ledger, schedule))


def delete(handling: Handling) -> None:
    """ScheduleDelete."""
    schedule = _open(handling)
    if schedule.admin_key is None:
        raise ResponseError(codes.SCHEDULE_IS_IMMUTABLE)
    handling.require(schedule.admin_key)
    schedule.deleted_ns = handling.now_ns
    handling.entity = schedule.number


def run_due(ledger: "Ledger") -> None:
    """Execute the schedules that wait for their time and whose time has come, oldest first."""
    now_ns = ledger.clock.now_ns()
    due = [s for s in ledger.schedules.values() if s.is_open and s.expiration_ns <= now_ns]
    for schedule in sorted(due, key=lambda s: (s.expiration_ns, s.number)):
        if schedule.waits and _is_signed(ledger, schedule):
            _execute(ledger, schedule)
        else:
            schedule.deleted_ns = schedule.expiration_ns


def info(schedule: Schedule) -> ScheduleInfo:
    """Return what a query says of a schedule."""
    said = ScheduleInfo(
        scheduleID=ScheduleID(scheduleNum=schedule.number),
        expirationTime=timestamp(schedule.expiration_ns),
        scheduledTransactionBody=schedule.body,
        memo=schedule.memo,
        signers=schedule.key_list(),
        creatorAccountID=account_id(schedule.creator),
        payerAccountID=account_id(schedule.payer),
        scheduledTransactionID=schedule.transaction_id,
        ledger_id=b"\x03",
        wait_for_expiry=schedule.waits,
    )
    if schedule.admin_key is not None:
        said.adminKey.CopyFrom(schedule.admin_key)
    if schedule.executed_ns is not None:
        said.execution_time.CopyFrom(timestamp(schedule.executed_ns))
    if schedule.deleted_ns is not None:
        said.deletion_time.CopyFrom(timestamp(schedule.deleted_ns))
    return said


def _open(handling: Handling) -> Schedule:
    schedule = handling.ledger.schedules.get(handling.content.scheduleID.scheduleNum)
    if schedule is None:
        raise ResponseError(codes.INVALID_SCHEDULE_ID)
    if schedule.executed_ns is not None:
        raise ResponseError(codes.SCHEDULE_ALREADY_EXECUTED)
    if schedule.deleted_ns is not None:
        raise ResponseError(codes.SCHEDULE_ALREADY_DELETED)
    return schedule


def _check_new(handling: Handling, schedule: Schedule) -> None:
    """Raise ResponseError, with the other's ids, if the same is scheduled already."""
    for other in handling.ledger.schedules.values():
        if other.is_open and (other.body, other.memo, other.payer, other.admin_key) == (
            schedule.body,
            schedule.memo,
            schedule.payer,
            schedule.admin_key,
        ):
            raise ResponseError(codes.IDENTICAL_SCHEDULE_ALREADY_CREATED)


def _name(handling: Handling, schedule: Schedule) -> None:
    handling.receipt.scheduleID.CopyFrom(ScheduleID(scheduleNum=schedule.number))
    handling.receipt.scheduledTransactionID.CopyFrom(schedule.transaction_id)
    handling.entity = schedule.number


def _execute_if_signed(ledger: "Ledger", schedule: Schedule) -> None:
    if schedule.is_open and not schedule.waits and _is_signed(ledger, schedule):
        _execute(ledger, schedule)


def _is_signed(ledger: "Ledger", schedule: Schedule) -> bool:
    if schedule.is_of_contract:
        return True
    agreed = keys.Collected(schedule.signers)
    needed = [ledger.accounts[schedule.payer].key]
    if schedule.kind == "consensusSubmitMessage":
        topic = ledger.topics.get(schedule.body.consensusSubmitMessage.topicID.topicNum)
        if topic is not None and topic.submit_key is not None:
            needed.append(topic.submit_key)
    if schedule.kind == "cryptoTransfer":
        for each in schedule.body.cryptoTransfer.transfers.accountAmounts:
            giver = ledger.find_account(each.accountID)
            if each.amount < 0 and giver is not None:
                needed.append(giver.key)
    return all(agreed.satisfy(key) for key in needed)


def _execute(ledger: "Ledger", schedule: Schedule) -> None:
    body = TransactionBody(
        transactionID=schedule.transaction_id,
        memo=schedule.body.memo,
        transactionFee=schedule.body.transactionFee,
    )
    getattr(body, schedule.kind).CopyFrom(getattr(schedule.body, schedule.kind))
    digest = hashlib.sha384(body.SerializeToString()).digest()
    arrived = Arrived(body, keys.Collected(schedule.signers), digest, 0)
    record = ledger.execute(arrived, ledger.accounts[schedule.payer], ledger.fee(arrived))
    schedule.executed_ns = record.consensus_ns
