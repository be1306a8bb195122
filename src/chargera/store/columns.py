"""Rows as arrays, one a column: how a statement that writes many rows gets them.

A `Table` is the statement's text with its columns as data; `of` encodes rows for it. In SQL the
rows stand where the text says `{rows}`, as `v` with the names of the columns.
"""

from collections.abc import Callable, Collection, Sequence
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from chargera.store import binary
from chargera.store.binary import Kind
from chargera.store.pipeline import Call, Statement


class Type(NamedTuple):
    """A type of the database and how a value of it is encoded."""

    kind: Kind
    encode: Callable[[Any], bytes]


BOOLEAN = Type(binary.BOOLEAN, binary.boolean)
BYTEA = Type(binary.BYTEA, binary.bytea)
INT4 = Type(binary.INT4, binary.int4)
INT8 = Type(binary.INT8, binary.int8)
TEXT = Type(binary.TEXT, binary.text)
TIME = Type(binary.TIMESTAMPTZ, binary.timestamp)
WORD = Type(binary.TEXT, binary.word)
"""Text of which there are few different values."""


class Column(NamedTuple):
    """A column of the rows: its name, type, and where in a row its value is."""

    name: str
    type: Type
    value: Callable[[Any], Any] | None = None
    """None: the attribute of that name."""


def in_order(*columns: tuple[str, Type]) -> tuple[Column, ...]:
    """Return the columns of rows that are tuples: each value is at the place of its column."""
    return tuple(Column(*column, itemgetter(place)) for place, column in enumerate(columns))


class Table:
    """A statement over rows."""

    @classmethod
    def inserting(cls, name: str, into: str, columns: Sequence[Column]) -> "Table":
        """Return the statement that inserts rows into a table whose columns are called so."""
        names = ", ".join(column.name for column in columns)
        return cls(name, f"insert into {into} ({names}) select * from {{rows}}", columns)

    def __init__(self, name: str, query: str, columns: Sequence[Column]) -> None:
        """`query` holds `{rows}` once.

        Each array is unnested in the list of results, which takes its values one by one; in the
        list of tables each would first be written to a store of its own.
        """
        arrays = ", ".join(
            f"unnest(${place}) as {column.name}" for place, column in enumerate(columns, 1)
        )
        self._statement = Statement(
            name,
            query.replace("{rows}", f"(select {arrays}) as v"),
            tuple(column.type.kind.array_oid for column in columns),
        )
        self._columns = [
            (column.type.kind, column.type.encode, column.value or attrgetter(column.name))
            for column in columns
        ]

    def of(self, rows: Collection[Any]) -> Call:
        """Return the statement with its rows."""
        return Call(
            self._statement,
            [
                binary.array(kind, [encode(value(row)) for row in rows])
                for kind, encode, value in self._columns
            ],
        )
