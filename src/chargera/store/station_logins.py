"""Station logins, read for each handshake."""

from typing import Any

from psycopg.rows import dict_row

from chargera.app.access import StationLogin
from chargera.domain.station import OcppVersion
from chargera.store.unit_of_work import Database


class PostgresStationLogins:
    """Finds what the channel must know of a station to let it in."""

    def __init__(self, database: Database) -> None:
        """Read from `database`, so that a new password counts at once."""
        self._database = database

    async def find(self, station_id: str) -> StationLogin | None:
        """Return the login of a station; None if there is no such station."""
        async with (
            self._database.work() as work,
            work.connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(
                "select station_id, password_hash, security_profile, plain_allowed,"
                " ocpp_versions, password_verified as verified"
                " from station where station_id = %s",
                [station_id],
            )
            row: dict[str, Any] | None = await cursor.fetchone()
        if row is None:
            return None
        versions = frozenset(OcppVersion(version) for version in row.pop("ocpp_versions"))
        return StationLogin(**row, ocpp_versions=versions)

    async def remember(self, login: StationLogin, fingerprint: bytes) -> None:
        """Keep the fingerprint of a verified password, unless the password has changed since."""
        async with self._database.work() as work:
            await work.connection.execute(
                "update station set password_verified = %s"
                " where station_id = %s and password_hash = %s",
                [fingerprint, login.station_id, login.password_hash],
            )
            await work.commit()
