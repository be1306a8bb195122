"""The topics of Hedera that this log is anchored on, one after the other."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from chargera.app.ports import NewEntry
from chargera.domain.errors import Conflict
from chargera.store.unit_of_work import Database


@dataclass(frozen=True, slots=True)
class HederaTopicRow:
    """A topic: heads of `from_size` entries and more are anchored there, until the next begins.

    `network` is the name of its profile; `submit_keys` are compressed public keys in hex by what
    they are for: `current`, `next`, `cold`. Any one of them may submit.
    """

    from_size: int
    topic_id: str
    network: str
    payer_account_id: str
    submit_keys: Mapping[str, str]


class PostgresHederaTopics:
    """Topics in the table `hedera_topic`; each method is one commit, durable on return."""

    def __init__(self, database: Database) -> None:
        """Read and write through units of work of `database`."""
        self._database = database

    async def all(self) -> list[HederaTopicRow]:
        """Return the topics in order, the present one last."""
        async with self._database.work() as work:
            cursor = await work.connection.execute(
                "select from_size, topic_id, network, payer_account_id, submit_keys"
                " from hedera_topic order by from_size"
            )
            return [HederaTopicRow(*row) for row in await cursor.fetchall()]

    async def add(
        self, row: HederaTopicRow, made_at: datetime, entry: NewEntry | None = None
    ) -> None:
        """Store a topic that exists and, with it, the log's `entry`; the same again is no change.

        Raises Conflict if another topic begins at that size.
        """
        async with self._database.work() as work:
            try:
                added = await work.connection.execute(
                    "insert into hedera_topic (from_size, topic_id, network, payer_account_id,"
                    " submit_keys, made_at) values (%s, %s, %s, %s, %s, %s)"
                    " on conflict (topic_id) do nothing",
                    [
                        row.from_size,
                        row.topic_id,
                        row.network,
                        row.payer_account_id,
                        Jsonb(dict(row.submit_keys)),
                        made_at,
                    ],
                )
            except UniqueViolation:
                raise Conflict(
                    f"another topic begins at size {row.from_size}", field="from_size"
                ) from None
            if added.rowcount and entry is not None:
                work.append(entry)
            await work.commit()
