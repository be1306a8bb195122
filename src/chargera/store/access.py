"""Rows of logins, browser visits, API keys and idempotency keys.

Visits and idempotency keys last in wall time (`now()`): an accelerated network clock must
neither sign people out nor forget answers.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from chargera.app.admin_ports import StoredAnswer, StoredKey, StoredLogin, StoredVisit
from chargera.app.permissions import Role
from chargera.app.views import ApiKeyView, LoginView

Connection = AsyncConnection[Any]

_IN_PROGRESS = 0
"""Status of an idempotency key whose unit of work has not committed: nobody else ever sees it."""


class PostgresLogins:
    """A `LoginStore` on one connection."""

    def __init__(self, connection: Connection) -> None:
        """Work within the transaction of `connection`."""
        self._connection = connection

    async def by_name(self, name: str) -> StoredLogin | None:
        """Return a login; None if there is none."""
        rows = await self._rows("select * from login where name = %s", [name])
        return _login(rows[0]) if rows else None

    async def add(
        self, login_id: str, name: str, role: Role, password_hash: str | None, now: datetime
    ) -> bool:
        """Insert a login; False if the name is taken."""
        cursor = await self._connection.execute(
            "insert into login (login_id, name, role, password_hash, created_at)"
            " values (%s, %s, %s, %s, %s) on conflict (name) do nothing",
            [login_id, name, role, password_hash, now],
        )
        return bool(cursor.rowcount)

    async def set_password(self, login_id: str, password_hash: str) -> None:
        """Replace a password; every visit of the login ends."""
        await self._connection.execute(
            "update login set password_hash = %s where login_id = %s", [password_hash, login_id]
        )
        await self._connection.execute("delete from login_visit where login_id = %s", [login_id])

    async def disable(self, login_id: str, now: datetime) -> None:
        """Close a login."""
        await self._connection.execute(
            "update login set disabled_at = %s where login_id = %s", [now, login_id]
        )
        await self._connection.execute("delete from login_visit where login_id = %s", [login_id])

    async def rows(self) -> list[LoginView]:
        """Return all logins by name."""
        return [
            LoginView(
                login_id=str(row["login_id"]),
                name=row["name"],
                role=row["role"],
                created_at=row["created_at"],
                disabled_at=row["disabled_at"],
                has_password=row["password_hash"] is not None,
            )
            for row in await self._rows("select * from login order by name", [])
        ]

    async def visit(self, visit_hash: bytes) -> StoredVisit | None:
        """Return a visit that has not expired, of a login that is not disabled."""
        rows = await self._rows(
            "select l.*, v.csrf_secret from login_visit v join login l using (login_id)"
            " where v.visit_hash = %s and v.expires_at > now() and l.disabled_at is null",
            [visit_hash],
        )
        return StoredVisit(_login(rows[0]), rows[0]["csrf_secret"]) if rows else None

    async def add_visit(
        self, visit_hash: bytes, login_id: str, csrf_secret: str, lasts_s: int
    ) -> None:
        """Insert a visit, and forget those that have expired."""
        await self._connection.execute("delete from login_visit where expires_at <= now()")
        await self._connection.execute(
            "insert into login_visit (visit_hash, login_id, csrf_secret, created_at, expires_at)"
            " values (%s, %s, %s, now(), now() + make_interval(secs => %s))",
            [visit_hash, login_id, csrf_secret, lasts_s],
        )

    async def end_visit(self, visit_hash: bytes) -> None:
        """Forget a visit."""
        await self._connection.execute(
            "delete from login_visit where visit_hash = %s", [visit_hash]
        )

    async def key(self, key_hash: bytes) -> StoredKey | None:
        """Return a key that is not revoked, of a login that is not disabled."""
        rows = await self._rows(
            "select l.*, k.name as key_name, k.scopes from api_key k join login l using (login_id)"
            " where k.key_hash = %s and k.revoked_at is null and l.disabled_at is null",
            [key_hash],
        )
        if not rows:
            return None
        return StoredKey(_login(rows[0]), rows[0]["key_name"], frozenset(rows[0]["scopes"]))

    async def add_key(
        self,
        api_key_id: str,
        name: str,
        login_id: str,
        key_hash: bytes,
        scopes: Sequence[str],
        now: datetime,
    ) -> None:
        """Insert a key."""
        await self._connection.execute(
            "insert into api_key (api_key_id, name, login_id, key_hash, scopes, created_at)"
            " values (%s, %s, %s, %s, %s, %s)",
            [api_key_id, name, login_id, key_hash, list(scopes), now],
        )

    async def revoke_keys(self, name: str, now: datetime) -> int:
        """Revoke all keys of that name; return how many there were."""
        cursor = await self._connection.execute(
            "update api_key set revoked_at = %s where name = %s and revoked_at is null",
            [now, name],
        )
        return cursor.rowcount

    async def keys(self) -> list[ApiKeyView]:
        """Return all keys, newest first."""
        rows = await self._rows(
            "select k.*, l.name as login, l.role from api_key k join login l using (login_id)"
            " order by k.created_at desc, k.name",
            [],
        )
        return [
            ApiKeyView(
                api_key_id=str(row["api_key_id"]),
                name=row["name"],
                login=row["login"],
                role=row["role"],
                scopes=tuple(row["scopes"]),
                created_at=row["created_at"],
                revoked_at=row["revoked_at"],
            )
            for row in rows
        ]

    async def _rows(self, query: str, values: Sequence[Any]) -> list[DictRow]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall()


class PostgresIdempotency:
    """An `IdempotencyStore` on one connection."""

    def __init__(self, connection: Connection) -> None:
        """Work within the transaction of `connection`."""
        self._connection = connection

    async def claim(self, login_id: str, key: str, request_digest: bytes) -> StoredAnswer | None:
        """Take a key for this unit of work; what was answered if it was used before.

        The primary key makes a second unit of work wait until the first has ended.
        """
        await self._connection.execute(
            "delete from idempotency where created_at < now() - interval '1 day'"
        )
        cursor = await self._connection.execute(
            "insert into idempotency (login_id, key, request_digest, status, response, created_at)"
            " values (%s, %s, %s, %s, '', now()) on conflict do nothing",
            [login_id, key, request_digest, _IN_PROGRESS],
        )
        if cursor.rowcount:
            return None
        cursor = await self._connection.execute(
            "select request_digest, status, response from idempotency"
            " where login_id = %s and key = %s",
            [login_id, key],
        )
        row = await cursor.fetchone()
        assert row is not None, "the insert met it"
        return StoredAnswer(bytes(row[0]), row[1], bytes(row[2]))

    async def remember(self, login_id: str, key: str, status: int, response: bytes) -> None:
        """Keep the answer, in the commit of its effect."""
        await self._connection.execute(
            "update idempotency set status = %s, response = %s where login_id = %s and key = %s",
            [status, response, login_id, key],
        )


def _login(row: DictRow) -> StoredLogin:
    return StoredLogin(
        login_id=str(row["login_id"]),
        name=row["name"],
        role=Role(row["role"]),
        password_hash=row["password_hash"],
        disabled=row["disabled_at"] is not None,
    )
