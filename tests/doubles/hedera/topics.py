"""Transactions of the consensus service: create, update, delete a topic, submit a message."""

from hiero_sdk_python.hapi.services import response_code_pb2 as codes
from hiero_sdk_python.hapi.services.basic_types_pb2 import Key, TopicID
from hiero_sdk_python.hapi.services.consensus_topic_info_pb2 import ConsensusTopicInfo
from hiero_sdk_python.hapi.services.duration_pb2 import Duration

from tests.doubles.hedera import keys, running_hash
from tests.doubles.hedera.clock import NS_PER_S
from tests.doubles.hedera.entities import AUTO_RENEW_S, Message, Topic, account_id, timestamp
from tests.doubles.hedera.handling import Handling
from tests.doubles.hedera.precheck import MEMO_BYTES_MAX, ResponseError

MESSAGE_BYTES_MAX = 1_024
RENEWAL_S = range(6_999_999, 8_000_002)
"""Least and most of an automatic renewal, 81 to 92 days."""


def create(handling: Handling) -> None:
    """ConsensusCreateTopic."""
    content = handling.content
    _check_memo(content.memo)
    admin_key, submit_key = (
        _new_key(handling, content, name) for name in ("adminKey", "submitKey")
    )
    if admin_key is not None:
        handling.require(admin_key)
    renewer = None
    if content.HasField("autoRenewAccount"):  # also without an admin key (HIP-1021)
        renewer = handling.account(content.autoRenewAccount, codes.INVALID_AUTORENEW_ACCOUNT)
        handling.require(renewer.key)
    if content.custom_fees or content.HasField("fee_schedule_key"):
        raise ResponseError(codes.NOT_SUPPORTED)
    renewal_s = content.autoRenewPeriod.seconds
    if renewal_s not in RENEWAL_S:
        raise ResponseError(codes.AUTORENEW_DURATION_NOT_IN_RANGE)
    topic = Topic(
        handling.ledger.next_number(),
        handling.now_ns,
        content.memo,
        admin_key,
        submit_key,
        renewer.number if renewer else None,
        renewal_s or AUTO_RENEW_S,
    )
    handling.ledger.topics[topic.number] = topic
    handling.receipt.topicID.CopyFrom(TopicID(topicNum=topic.number))
    handling.entity = topic.number


def update(handling: Handling) -> None:
    """ConsensusUpdateTopic. Without an admin key nothing but the expiry can change."""
    content = handling.content
    topic = _topic(handling)
    changes = {field.name for field, _ in content.ListFields()} - {"topicID", "expirationTime"}
    if topic.admin_key is None and changes:
        raise ResponseError(codes.UNAUTHORIZED)
    if topic.admin_key is not None:
        handling.require(topic.admin_key)
    if content.HasField("memo"):
        _check_memo(content.memo.value)
    renewed = {
        name: _new_key(handling, content, name)
        for name in ("adminKey", "submitKey")
        if content.HasField(name)
    }
    if renewed.get("adminKey") is not None:
        handling.require(renewed["adminKey"])
    topic.admin_key = renewed.get("adminKey", topic.admin_key)
    topic.submit_key = renewed.get("submitKey", topic.submit_key)
    if content.HasField("memo"):
        topic.memo = content.memo.value


def delete(handling: Handling) -> None:
    """ConsensusDeleteTopic."""
    topic = _topic(handling)
    if topic.admin_key is None:
        raise ResponseError(codes.UNAUTHORIZED)
    handling.require(topic.admin_key)
    topic.deleted = True


def submit(handling: Handling) -> None:
    """ConsensusSubmitMessage: one message, or one chunk of a longer one."""
    content = handling.content
    topic = _topic(handling)
    if len(content.message) > MESSAGE_BYTES_MAX:
        raise ResponseError(codes.MESSAGE_SIZE_TOO_LARGE)
    chunk = content.chunkInfo if content.HasField("chunkInfo") else None
    if chunk is not None:
        _check_chunk(handling, chunk)
    if topic.submit_key is not None:
        handling.require(topic.submit_key)
    message = Message(
        topic=topic.number,
        sequence_number=topic.sequence_number + 1,
        consensus_ns=handling.now_ns,
        payer=handling.payer.number,
        content=content.message,
        running_hash=running_hash.following(
            topic.running_hash,
            payer=handling.payer.number,
            topic=topic.number,
            consensus_ns=handling.now_ns,
            sequence_number=topic.sequence_number + 1,
            message=content.message,
        ),
        initial_id=chunk.initialTransactionID if chunk else None,
        chunk=chunk.number if chunk else 1,
        chunks=chunk.total if chunk else 1,
    )
    topic.messages.append(message)
    topic.running_hash = message.running_hash
    handling.ledger.messages[message.consensus_ns] = message
    handling.receipt.topicSequenceNumber = message.sequence_number
    handling.receipt.topicRunningHash = message.running_hash
    handling.receipt.topicRunningHashVersion = running_hash.VERSION


def info(topic: Topic) -> ConsensusTopicInfo:
    """Return what a query says of a topic."""
    said = ConsensusTopicInfo(
        memo=topic.memo,
        runningHash=topic.running_hash,
        sequenceNumber=topic.sequence_number,
        expirationTime=timestamp(topic.created_ns + topic.auto_renew_s * NS_PER_S),
        autoRenewPeriod=Duration(seconds=topic.auto_renew_s),
        ledger_id=b"\x03",
    )
    if topic.admin_key is not None:
        said.adminKey.CopyFrom(topic.admin_key)
    if topic.submit_key is not None:
        said.submitKey.CopyFrom(topic.submit_key)
    if topic.auto_renew_account is not None:
        said.autoRenewAccount.CopyFrom(account_id(topic.auto_renew_account))
    return said


def _topic(handling: Handling) -> Topic:
    topic = handling.ledger.topics.get(handling.content.topicID.topicNum)
    if topic is None or topic.deleted:
        raise ResponseError(codes.INVALID_TOPIC_ID)
    handling.entity = topic.number
    return topic


def _new_key(handling: Handling, content: object, name: str) -> Key | None:
    """Return the key in a field; the empty key list means none."""
    if not content.HasField(name):  # type: ignore[attr-defined]  # a message of protobuf
        return None
    key: Key = getattr(content, name)
    if keys.is_empty_list(key):
        return None
    if not keys.is_valid(key):
        raise ResponseError(codes.BAD_ENCODING)
    return key


def _check_memo(memo: str) -> None:
    if len(memo.encode()) > MEMO_BYTES_MAX:
        raise ResponseError(codes.MEMO_TOO_LONG)


def _check_chunk(handling: Handling, chunk: object) -> None:
    number, total = chunk.number, chunk.total  # type: ignore[attr-defined]
    if not 0 < number <= total:
        raise ResponseError(codes.INVALID_CHUNK_NUMBER)
    initial = chunk.initialTransactionID  # type: ignore[attr-defined]
    own = handling.body.transactionID
    if initial.accountID != own.accountID or (number == 1 and initial != own):
        raise ResponseError(codes.INVALID_CHUNK_TRANSACTION_ID)
