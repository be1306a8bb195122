"""Custody records: where each stands."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from chargera.app.custody import CustodyRow, CustodyStep
from chargera.domain.passport import CustodyKind

_COLUMNS = tuple(field.name for field in fields(CustodyRow))
_INSERTED = tuple(name for name in _COLUMNS if name != "custody_no")


class PostgresCustody:
    """A `CustodyStore` on one connection."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        """Work within the transaction of `connection`."""
        self._connection = connection

    async def of_station(self, station_id: str) -> Sequence[CustodyRow]:
        """Return the records of a station's passport, oldest first."""
        rows = await self._rows(
            "select * from custody where station_id = %s order by custody_no", [station_id]
        )
        return [_row(row) for row in rows]

    async def add(self, row: CustodyRow) -> CustodyRow:
        """Insert a record and return it with the number that the database gave it."""
        places = ", ".join("%s" for _ in _INSERTED)
        (made,) = await self._rows(
            f"insert into custody ({', '.join(_INSERTED)}) values ({places}) returning custody_no",
            _values(row),
        )
        return replace(row, custody_no=made["custody_no"])

    async def update(self, row: CustodyRow) -> None:
        """Replace what may change of a record."""
        assignments = ", ".join(f"{name} = %s" for name in _INSERTED)
        await self._connection.execute(
            f"update custody set {assignments} where custody_no = %s".encode(),
            [*_values(row), row.custody_no],
        )

    async def open(self) -> Sequence[CustodyRow]:
        """Return the records that are under way, oldest first."""
        rows = await self._rows(
            "select * from custody where step not in ('recorded', 'refused') order by custody_no",
            [],
        )
        return [_row(row) for row in rows]

    async def lock(self, custody_no: int) -> CustodyRow:
        """Return one record, locked for this unit of work."""
        rows = await self._rows(
            "select * from custody where custody_no = %s for update", [custody_no]
        )
        return _row(rows[0])

    async def is_charging(self, station_id: str) -> bool:
        """Say whether a session is running at a station."""
        rows = await self._rows(
            "select from charging_session where station_id = %s and state = 'charging' limit 1",
            [station_id],
        )
        return bool(rows)

    async def _rows(self, query: str, values: Sequence[Any]) -> list[DictRow]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall()


def _values(row: CustodyRow) -> list[Any]:
    values = {name: getattr(row, name) for name in _INSERTED}
    return list((values | {"record": Jsonb(dict(row.record))}).values())


def _row(row: DictRow) -> CustodyRow:
    members = {name: row[name] for name in _COLUMNS}
    words = {"kind": CustodyKind(row["kind"]), "step": CustodyStep(row["step"])}
    return CustodyRow(**members | words)
