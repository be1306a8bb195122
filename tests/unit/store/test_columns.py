from typing import NamedTuple

from chargera.store import binary
from chargera.store.columns import INT4, WORD, Column, Table


class Row(NamedTuple):
    name: str
    count: int


TABLE = Table(
    "things",
    "insert into thing select * from {rows}",
    (Column("name", WORD), Column("twice", INT4, lambda row: 2 * row.count)),
)


def test_table__is_a_statement_over_one_array_a_column() -> None:
    statement, parameters = TABLE.of([Row("a", 1), Row("b", 2)])
    assert statement.query == (
        "insert into thing select * from (select unnest($1) as name, unnest($2) as twice) as v"
    )
    assert statement.types == (1009, 1007)
    assert parameters == [
        binary.array(binary.TEXT, [binary.text("a"), binary.text("b")]),
        binary.array(binary.INT4, [binary.int4(2), binary.int4(4)]),
    ]


def test_table__is_one_statement_however_often() -> None:
    assert TABLE.of([Row("a", 1)]).statement is TABLE.of([Row("b", 2)]).statement
