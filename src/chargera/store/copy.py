"""Rows in PostgreSQL's binary COPY format, built with as little work per row as possible.

Format: https://www.postgresql.org/docs/current/sql-copy.html (section "Binary Format"). A row
is a field count, then each field as its length and bytes; -1 is null.
"""

import struct
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from psycopg import AsyncConnection

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
TRUE = b"\0\0\0\x01\x01"
FALSE = b"\0\0\0\x01\x00"

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_length = struct.Struct("!i").pack
_int4 = struct.Struct("!ii").pack
_int8 = struct.Struct("!iq").pack


async def into(connection: AsyncConnection[Any], target: str, stream: bytes) -> None:
    """Copy a stream into `target`, a table with its columns in parentheses."""
    async with (
        connection.cursor() as cursor,
        cursor.copy(f"copy {target} from stdin (format binary)".encode()) as sink,
    ):
        await sink.write(stream)


def text(value: str | None) -> bytes:
    """Return a text field. NUL, which PostgreSQL refuses in text, becomes U+FFFD."""
    if value is None:
        return NULL
    data = value.encode("utf-8", "replace")
    if b"\0" in data:
        data = data.replace(b"\0", b"\xef\xbf\xbd")
    return _length(len(data)) + data


word = lru_cache(maxsize=65_536)(text)
"""`text` for values that come again and again, such as station ids and actions."""


def bytea(value: bytes | None) -> bytes:
    """Return a bytea field."""
    return NULL if value is None else _length(len(value)) + value


def int4(value: int) -> bytes:
    """Return an integer field of 32 bits."""
    return _int4(4, value)


def int8(value: int | None) -> bytes:
    """Return an integer field of 64 bits."""
    return NULL if value is None else _int8(8, value)


def boolean(value: bool) -> bytes:
    """Return a boolean field."""
    return TRUE if value else FALSE


def timestamp(value: datetime) -> bytes:
    """Return a timestamptz field: microseconds since 2000-01-01 UTC."""
    since = value - _EPOCH
    return _int8(8, (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def rows(fields: int, encoded: Iterable[bytes]) -> bytes:
    """Return the whole COPY stream of rows that were joined from their fields."""
    start = struct.pack("!h", fields)
    return HEADER + b"".join(start + row for row in encoded) + TRAILER
