"""The network that a database belongs to, and where its time stood when it last ran."""

from datetime import datetime

from chargera.app.ports import NewEntry
from chargera.domain.errors import Refused
from chargera.proofs import records
from chargera.proofs.entry import EntryKind
from chargera.store import durability, migrate
from chargera.store.connection import UNLIMITED, connect
from chargera.store.unit_of_work import UnitOfWork


async def prepare(url: str) -> datetime | None:
    """Check durability, migrate, and return where the network's time stood at least.

    None: it has never run. Raises Refused, Unavailable.
    """
    async with await connect(url, limits=UNLIMITED) as connection:
        await durability.check(connection)
        await migrate.apply(connection)
        cursor = await connection.execute(
            "select greatest((select max(received_at) from log_entry"
            " where log_index >= (select size - 1000 from log_head)),"
            " (select max(signed_at) from checkpoint))"
        )
        row = await cursor.fetchone()
    stood: datetime | None = row[0] if row else None
    return stood


async def make_or_find(work: UnitOfWork, operator_id: str, log_origin: str, now: datetime) -> None:
    """Make the network at the first start, or see that it is the one that is configured.

    Raises Refused if the data is another network's.
    """
    cursor = await work.connection.execute("select operator_id, log_origin from network")
    found = await cursor.fetchone()
    if found is None:
        await work.connection.execute(
            "insert into network (operator_id, log_origin, created_at) values (%s, %s, %s)",
            [operator_id, log_origin, now],
        )
        record = {
            "created_at": records.time_text(now),
            "log_origin": log_origin,
            "operator_id": operator_id,
        }
        work.append(NewEntry(EntryKind.NETWORK_CREATED, None, None, record, now))
    elif found != (operator_id, log_origin):
        raise Refused(
            f"this data belongs to {found[0]} with the log {found[1]}",
            field="operator_id",
            remedy="start with the settings that it was made with, or another data folder",
        )
