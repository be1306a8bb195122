"""Values in PostgreSQL's binary format, built with as little work per value as possible.

What the channel writes for every message goes to the database column by column: one array a
column, encoded here instead of being adapted value by value. A field is its length and bytes, -1
standing for null; an array is its shape and type, then its fields (`array_send` of PostgreSQL).
"""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

NULL = b"\xff\xff\xff\xff"
TRUE = b"\0\0\0\x01\x01"
FALSE = b"\0\0\0\x01\x00"
YES = b"\x01"
"""True, as it comes in a result."""

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_length = struct.Struct("!i").pack
_int4 = struct.Struct("!ii").pack
_int8 = struct.Struct("!iq").pack
_shape = struct.Struct("!iiiii").pack


class Kind(NamedTuple):
    """A type of the database by its object identifiers (`pg_type`)."""

    oid: int
    array_oid: int


BOOLEAN = Kind(16, 1000)
BYTEA = Kind(17, 1001)
INT8 = Kind(20, 1016)
INT4 = Kind(23, 1007)
TEXT = Kind(25, 1009)
TIMESTAMPTZ = Kind(1184, 1185)


def array(kind: Kind, fields: Sequence[bytes]) -> bytes:
    """Return an array with one dimension of fields of one kind."""
    if not fields:
        return struct.pack("!iii", 0, 0, kind.oid)
    return _shape(1, 0, kind.oid, len(fields), 1) + b"".join(fields)


# Fields ----------------------------------------------------------------------------------------


def text(value: str | None) -> bytes:
    """Return a text field. NUL, which PostgreSQL refuses in text, becomes U+FFFD."""
    if value is None:
        return NULL
    data = value.encode("utf-8", "replace")
    if b"\0" in data:
        data = data.replace(b"\0", b"\xef\xbf\xbd")
    return _length(len(data)) + data


word = lru_cache(maxsize=8_192)(text)
"""`text` for values of which there are few: station ids, actions, states."""


def bytea(value: bytes | None) -> bytes:
    """Return a bytea field."""
    return NULL if value is None else _length(len(value)) + value


def int4(value: int | None) -> bytes:
    """Return an integer field of 32 bits."""
    return NULL if value is None else _int4(4, value)


def int8(value: int | None) -> bytes:
    """Return an integer field of 64 bits."""
    return NULL if value is None else _int8(8, value)


def boolean(value: bool) -> bytes:
    """Return a boolean field."""
    return TRUE if value else FALSE


@lru_cache(maxsize=1_024)
def timestamp(value: datetime | None) -> bytes:
    """Return a timestamptz field: microseconds since 2000-01-01 UTC."""
    return NULL if value is None else _int8(8, (value - _EPOCH) // _MICROSECOND)


# Plain values: parameters and results that are no arrays ----------------------------------------


def plain_int4(value: int) -> bytes:
    """Return an integer of 32 bits as a parameter."""
    return value.to_bytes(4, signed=True)


def plain_int8(value: int) -> bytes:
    """Return an integer of 64 bits as a parameter."""
    return value.to_bytes(8, signed=True)


def integer(data: bytes | None) -> int:
    """Read an integer of 32 or 64 bits that is not null from a result."""
    assert data is not None, "the query gives no null"
    return int.from_bytes(data, signed=True)


def string(data: bytes | None) -> str:
    """Read a text that is not null from a result."""
    assert data is not None, "the query gives no null"
    return data.decode()


def flag(data: bytes) -> bool:
    """Read a boolean from a result."""
    return data == YES


def moment(data: bytes) -> datetime:
    """Read a timestamptz from a result."""
    return _EPOCH + timedelta(microseconds=int.from_bytes(data, signed=True))
