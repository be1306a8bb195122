"""Rows of drivers' identifiers, and what it takes to forget one."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from chargera.app.admin_ports import NewIdToken
from chargera.app.permissions import Caller
from chargera.app.views import IdTokenView
from chargera.domain.errors import Conflict
from chargera.domain.messages import IdTokenRef
from chargera.proofs.entry import EntryKind
from chargera.store import message_packs, reach

Connection = AsyncConnection[Any]


class PostgresIdTokens:
    """An `IdTokenStore` on one connection."""

    def __init__(self, connection: Connection) -> None:
        """Work within the transaction of `connection`."""
        self._connection = connection

    async def known(self, keys: Sequence[str]) -> dict[str, list[NewIdToken]]:
        """Return what is registered under these keys, of each in order of types, locked."""
        rows = await self._rows(
            "select * from id_token where id_token_key = any(%(keys)s)"
            " order by id_token_key, id_token_type for update",
            {"keys": list(keys)},
        )
        found: dict[str, list[NewIdToken]] = {}
        for row in rows:
            id_token = NewIdToken(
                IdTokenRef(row["id_token"], row["id_token_type"]),
                row["blocked"],
                row["expires_at"],
                str(row["login_id"]) if row["login_id"] else None,
            )
            found.setdefault(row["id_token_key"], []).append(id_token)
        return found

    async def put(self, id_tokens: Sequence[NewIdToken], now: datetime) -> None:
        """Insert or replace identifiers."""
        async with self._connection.cursor() as cursor:
            await cursor.executemany(
                "insert into id_token (id_token_key, id_token, id_token_type, blocked, expires_at,"
                " login_id, created_at) values (%s, %s, %s, %s, %s, %s, %s)"
                " on conflict (id_token_key, id_token_type) do update"
                " set id_token = excluded.id_token, blocked = excluded.blocked,"
                " expires_at = excluded.expires_at, login_id = excluded.login_id",
                [
                    (
                        id_token.ref.key,
                        id_token.ref.value,
                        id_token.ref.kind,
                        id_token.blocked,
                        id_token.expires_at,
                        id_token.login_id,
                        now,
                    )
                    for id_token in id_tokens
                ],
            )

    async def rows(
        self, caller: Caller, now: datetime, *, after: IdTokenRef | None, limit: int | None
    ) -> list[IdTokenView]:
        """Return identifiers in order of their keys and types."""
        rows = await self._rows(
            "select t.*, l.name as login from id_token t left join login l using (login_id)"
            f" where {reach.ID_TOKENS[caller.reach]}"
            " and (%(key)s::text is null or t.id_token_key > %(key)s"
            "  or t.id_token_key = %(key)s and t.id_token_type > %(type)s::text)"
            " order by t.id_token_key, t.id_token_type limit %(limit)s",
            reach.parameters(
                caller,
                key=None if after is None else after.key,
                type=None if after is None else after.kind,
                limit=limit,
            ),
        )
        return [
            IdTokenView(
                id_token=row["id_token"],
                type=row["id_token_type"],
                status=_status(row, now),
                expires_at=row["expires_at"],
                login=row["login"],
                created_at=row["created_at"],
            )
            for row in rows
        ]

    async def erase(self, key: str) -> tuple[list[int], list[str]]:
        """Forget a person's identifier; say which entries lost their record, and its stations."""
        values = {"key": key, **_needles(key)}
        await self._connection.execute("set local statement_timeout = 0")
        if await self._rows(
            "select from charging_session where id_token_key = %(key)s and not ended"
            " and state in ('charging', 'refused')",
            values,
        ):
            raise Conflict(
                "a session with this identifier is running",
                field="id_token",
                remedy="stop it first, then erase",
            )
        stations = await self._rows(
            "select distinct station_id from charging_session where id_token_key = %(key)s"
            " order by station_id",
            values,
        )
        erased = await self._rows(_ERASE_ENTRIES, values)
        signed = await self._rows(_SIGNED, values)
        moments = {(row["station_id"], row["received_at"]) for row in signed}
        await message_packs.erase(self._connection, _json_texts(key), moments)
        for statement in _FORGET:
            await self._connection.execute(statement.encode(), values)
        indexes = sorted(row["log_index"] for row in erased)
        return indexes, [row["station_id"] for row in stations]

    async def _rows(self, query: str, values: Mapping[str, Any]) -> list[DictRow]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall()


# Identifiers are printable ASCII and compared without regard to case. In bytes they are looked
# for in the `escape` form, which leaves ASCII as it is whatever else stands around it.
def _holds(column: str) -> str:
    text = f"lower(encode({column}, 'escape'))"
    return f"(strpos({text}, %(plain)s) > 0 or strpos({text}, %(nested)s) > 0)"


_ERASE_ENTRIES = (
    "update log_entry e set record = null, salt = null where e.record is not null"
    f" and (e.kind in ('{EntryKind.AUTHORIZE}', '{EntryKind.SESSION_STARTED}',"
    f" '{EntryKind.ID_TOKEN_CHANGED}', '{EntryKind.STATION_COMMAND}', '{EntryKind.DEVIATION}')"
    f" and {_holds('e.record')}"
    f" or e.kind = '{EntryKind.SIGNED_VALUE}' and exists (select from charging_session c"
    "  join signed_value v using (session_id) where c.session_id = e.session_id"
    f"  and c.id_token_key = %(key)s and {_holds('v.raw')}))"
    " returning e.log_index"
)

# A frame may carry the identifier inside a signed value that is base64 there: such frames are known
# by the moment at which the signed value came.
_SIGNED = (
    "select c.station_id, v.received_at from charging_session c join signed_value v"
    f" using (session_id) where c.id_token_key = %(key)s and {_holds('v.raw')}"
)

_FORGET = (
    (
        "update signed_value v set raw = '' from charging_session c"
        " where c.session_id = v.session_id and c.id_token_key = %(key)s"
        f" and {_holds('v.raw')}"
    ),
    (
        "update station_command k set request = k.request - 'id_token' - 'id_token_key'"
        " where k.request ->> 'id_token_key' = %(key)s"
    ),
    "update charging_session set id_token_key = null, login_id = null where id_token_key = %(key)s",
    f"delete from idempotency where {_holds('response')}",
    "delete from id_token where id_token_key = %(key)s",
)


def _json_texts(key: str) -> tuple[bytes, bytes]:
    """Return an identifier as a JSON text: by itself, and where it stands within another text."""
    plain = json.dumps(key)
    return plain.encode(), json.dumps(plain)[1:-1].encode()


def _needles(key: str) -> dict[str, str]:
    """Return these texts in the escape form, which doubles backslashes."""
    plain, nested = (text.decode().replace("\\", "\\\\") for text in _json_texts(key))
    return {"plain": plain, "nested": nested}


def _status(row: DictRow, now: datetime) -> str:
    if row["blocked"]:
        return "blocked"
    if row["expires_at"] is not None and row["expires_at"] <= now:
        return "expired"
    return "accepted"
