"""Rows of the embedded topic, as `app.log_ports` asks for them."""

from collections.abc import Callable, Sequence
from typing import Any, LiteralString

from chargera.app.log_ports import MessageRange, TopicInfo
from chargera.domain.errors import Conflict, NotFound
from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.running_hash import ZERO_HASH
from chargera.store.connection import Connection
from chargera.store.unit_of_work import Database

_TOPIC: LiteralString = (
    "select topic_id, memo, payer_account_id, running_hash, sequence_number,"
    " consensus_timestamp_ns from topic where topic_id = %s"
)
# The hash before a message is that of the message before it.
_MESSAGE: LiteralString = (
    "select m.topic_id, m.payer_account_id, m.sequence_number, m.consensus_timestamp_ns,"
    " m.message, m.running_hash, p.running_hash from topic_message m"
    " left join topic_message p"
    " on p.topic_id = m.topic_id and p.sequence_number = m.sequence_number - 1"
)
_NS_PER_S = 10**9
_LAST = 2**63 - 1


class PostgresTopicStore:
    """A `TopicStore` over the tables `topic` and `topic_message`."""

    def __init__(self, database: Database) -> None:
        """Read and write through units of work of `database`."""
        self._database = database

    async def create(self, info: TopicInfo) -> None:
        """Make the topic unless it exists."""
        async with self._database.work() as work:
            await work.connection.execute(
                "insert into topic (topic_id, memo, payer_account_id, running_hash,"
                " sequence_number, consensus_timestamp_ns) values (%s, %s, %s, %s, %s, %s)"
                " on conflict do nothing",
                [
                    info.topic_id,
                    info.memo,
                    info.payer_account_id,
                    info.running_hash,
                    info.sequence_number,
                    info.consensus_timestamp_ns,
                ],
            )
            await work.commit()

    async def info(self, topic_id: str) -> TopicInfo:
        """Return the topic. Raises NotFound."""
        async with self._database.work() as work:
            return await _info(work.connection, topic_id, lock=False)

    async def append(
        self,
        topic_id: str,
        hedera_transaction_id: str,
        follow: Callable[[TopicInfo], AnchoredMessage],
    ) -> AnchoredMessage:
        """Store the message that `follow` makes; the topic's row lock orders all appends."""
        async with self._database.work() as work:
            topic = await _info(work.connection, topic_id, lock=True)
            known = await work.connection.execute(
                "select 1 from topic_message where hedera_transaction_id = %s",
                [hedera_transaction_id],
            )
            if await known.fetchone() is not None:
                raise Conflict(f"DUPLICATE_TRANSACTION: {hedera_transaction_id}")
            message = follow(topic)
            await _insert(work.connection, hedera_transaction_id, message)
            await work.commit()
        return message

    async def find(self, hedera_transaction_id: str) -> AnchoredMessage | None:
        """Return the message of that transaction, None if there is none."""
        async with self._database.work() as work:
            cursor = await work.connection.execute(
                _MESSAGE + " where m.hedera_transaction_id = %s", [hedera_transaction_id]
            )
            row = await cursor.fetchone()
        return None if row is None else _message(row)

    async def messages(
        self, topic_id: str, within: MessageRange, limit: int
    ) -> Sequence[AnchoredMessage]:
        """Return the messages of a range in its order, at most `limit`."""
        order: LiteralString = "desc" if within.newest_first else "asc"
        async with self._database.work() as work:
            cursor = await work.connection.execute(
                _MESSAGE + " where m.topic_id = %s and m.sequence_number between %s and %s"
                " and m.consensus_timestamp_ns between %s and %s"
                " order by m.sequence_number " + order + " limit %s",
                [
                    topic_id,
                    min(within.from_sequence_number, _LAST),
                    _LAST if within.to_sequence_number is None else within.to_sequence_number,
                    min(within.from_timestamp_ns, _LAST),
                    _LAST if within.to_timestamp_ns is None else within.to_timestamp_ns,
                    limit,
                ],
            )
            rows = await cursor.fetchall()
        return [_message(row) for row in rows]


async def _info(connection: Connection, topic_id: str, *, lock: bool) -> TopicInfo:
    query = _TOPIC + (" for update" if lock else "")
    row = await (await connection.execute(query, [topic_id])).fetchone()
    if row is None:
        raise NotFound(f"no topic {topic_id}")
    name, memo, payer, running_hash, sequence_number, time_ns = row
    return TopicInfo(name, memo, payer, bytes(running_hash), sequence_number, time_ns)


async def _insert(
    connection: Connection, hedera_transaction_id: str, message: AnchoredMessage
) -> None:
    seconds, nanoseconds = message.consensus_timestamp.split(".")
    time_ns = int(seconds) * _NS_PER_S + int(nanoseconds)
    await connection.execute(
        "insert into topic_message (topic_id, sequence_number, consensus_timestamp_ns,"
        " hedera_transaction_id, payer_account_id, message, running_hash)"
        " values (%s, %s, %s, %s, %s, %s, %s)",
        [
            message.topic_id,
            message.sequence_number,
            time_ns,
            hedera_transaction_id,
            message.payer_account_id,
            message.message,
            message.running_hash,
        ],
    )
    await connection.execute(
        "update topic set running_hash = %s, sequence_number = %s, consensus_timestamp_ns = %s"
        " where topic_id = %s",
        [message.running_hash, message.sequence_number, time_ns, message.topic_id],
    )


def _message(row: Sequence[Any]) -> AnchoredMessage:
    topic_id, payer, sequence_number, time_ns, message, running_hash, previous = row
    return AnchoredMessage(
        topic_id=topic_id,
        payer_account_id=payer,
        sequence_number=sequence_number,
        consensus_timestamp=f"{time_ns // _NS_PER_S}.{time_ns % _NS_PER_S:09}",
        message=bytes(message),
        running_hash=bytes(running_hash),
        previous_running_hash=ZERO_HASH if previous is None else bytes(previous),
    )
