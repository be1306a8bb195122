"""Rows of tariff versions and of where they are in force."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from chargera.app.ports import QuotedTariff
from chargera.app.views import TariffView
from chargera.store.registrations import read_newest_tariff

Connection = AsyncConnection[Any]

_NOW_IN_FORCE = (
    "select distinct on (station_id) station_id, tariff_id, version from tariff_in_force"
    " order by station_id, from_at desc"
)


class PostgresTariffs:
    """A `TariffStore` on one connection."""

    def __init__(self, connection: Connection) -> None:
        """Work within the transaction of `connection`."""
        self._connection = connection

    async def current(self, tariff_id: str) -> QuotedTariff | None:
        """Return the newest version; nobody else publishes or assigns this tariff meanwhile."""
        await self._connection.execute(
            "select pg_advisory_xact_lock(hashtextextended('tariff ' || %s, 0))", [tariff_id]
        )
        return await read_newest_tariff(self._connection, tariff_id)

    async def add(
        self, quoted: QuotedTariff, document: dict[str, Any], published_at: datetime
    ) -> None:
        """Insert a version."""
        await self._connection.execute(
            "insert into tariff_version (tariff_id, version, digest, document, published_at,"
            " log_index) values (%s, %s, %s, %s, %s, %s)",
            [
                quoted.tariff_id,
                quoted.version,
                quoted.digest,
                Jsonb(document),
                published_at,
                quoted.log_index,
            ],
        )

    async def stations_with(self, tariff_id: str) -> list[str]:
        """Return the stations whose new sessions get this tariff now."""
        rows = await self._rows(
            f"select station_id from ({_NOW_IN_FORCE}) f where tariff_id = %(tariff_id)s"
            " order by station_id",
            {"tariff_id": tariff_id},
        )
        return [row["station_id"] for row in rows]

    async def assign(
        self, station_id: str, from_at: datetime, tariff_id: str, version: int
    ) -> None:
        """From `from_at` on, new sessions of the station get this version."""
        await self._connection.execute(
            "insert into tariff_in_force (station_id, from_at, tariff_id, version)"
            " values (%s, %s, %s, %s) on conflict (station_id, from_at)"
            " do update set tariff_id = excluded.tariff_id, version = excluded.version",
            [station_id, from_at, tariff_id, version],
        )

    async def rows(self, tariff_id: str | None, version: int | None) -> list[TariffView]:
        """Return the current versions; those of one tariff, newest first, if one is named."""
        rows = await self._rows(
            "select t.*, t.version = n.newest as is_current,"
            " array(select f.station_id"
            f"  from ({_NOW_IN_FORCE}) f where f.tariff_id = t.tariff_id"
            "  and f.version = t.version order by f.station_id) as stations"
            " from tariff_version t join (select tariff_id, max(version) as newest"
            "  from tariff_version group by tariff_id) n using (tariff_id)"
            " where case when %(tariff_id)s::text is null then t.version = n.newest"
            "  else t.tariff_id = %(tariff_id)s"
            "   and (%(version)s::int is null or t.version = %(version)s) end"
            " order by t.tariff_id, t.version desc",
            {"tariff_id": tariff_id, "version": version},
        )
        return [
            TariffView(
                tariff_id=row["tariff_id"],
                version=row["version"],
                digest=row["digest"],
                currency=row["document"]["currency"],
                published_at=row["published_at"],
                log_index=row["log_index"],
                is_current=row["is_current"],
                stations=tuple(row["stations"]),
                document=row["document"],
            )
            for row in rows
        ]

    async def _rows(self, query: str, values: Mapping[str, Any]) -> list[DictRow]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall()
