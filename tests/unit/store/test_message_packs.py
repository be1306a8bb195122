"""Packs of the message log: what goes in comes out, and what is erased does not."""

import zlib
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.app.ports import MessageRow
from chargera.store import message_packs
from chargera.store.message_packs import packed, unpacked

AT = datetime(2026, 5, 4, 8, 0, 0, 123456, UTC)

words = st.text(max_size=12)
rows = st.builds(
    MessageRow,
    station_id=words,
    received_at=st.datetimes(timezones=st.just(UTC)),
    inbound=st.booleans(),
    ocpp_version=st.sampled_from(["1.6", "2.0.1"]),
    action=st.none() | words,
    message_id=st.none() | words,
    frame=st.binary(max_size=40),
    answer=st.none() | st.binary(max_size=40),
    outcome=words,
)


def row(number: int, frame: bytes = b"[2]") -> MessageRow:
    return MessageRow("CP-1", AT, True, "1.6", "Heartbeat", str(number), frame, b"[3]", "ok")


@given(st.lists(rows, min_size=1, max_size=8))
def test_unpacked__is_what_was_packed(exchanges: list[MessageRow]) -> None:
    assert [*unpacked(packed(exchanges))] == exchanges


def test_packed__exchanges_that_are_alike__take_a_tenth() -> None:
    exchanges = [
        row(number, b'[2,"%d","MeterValues",{"connectorId":1}]' % number * 10)
        for number in range(100)
    ]
    assert len(packed(exchanges)) < sum(len(each.frame) for each in exchanges) / 10


def test_unpacked__a_body_of_the_migration__is_not_compressed() -> None:
    head = orjson.dumps([["CP-1"], [AT], [True], ["1.6"], ["Heartbeat"], ["1"], ["ok"], [3], [-1]])
    [read] = unpacked(b"\0" + len(head).to_bytes(4) + head + b"[2]")
    assert read == row(1)._replace(answer=None)


@pytest.mark.parametrize("body", [b"", b"\x01", packed([row(1)])[:-1]])
def test_unpacked__what_is_no_pack__is_an_error(body: bytes) -> None:
    with pytest.raises(zlib.error):
        next(unpacked(body))


def test_calls__more_than_a_pack_holds__are_several() -> None:
    exchanges = [row(number) for number in range(message_packs.ROWS_MAX + 1)]
    calls = message_packs.calls(exchanges)
    bodies = [call.parameters[1] or b"" for call in calls]
    assert [read for body in bodies for read in unpacked(body)] == exchanges
    assert [len([*unpacked(body)]) for body in bodies] == [message_packs.ROWS_MAX, 1]
