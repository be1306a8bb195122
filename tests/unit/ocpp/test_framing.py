import contextlib
import json
import random

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.ocpp import framing
from chargera.ocpp.framing import BadFrame, Call, CallError, CallResult, Fault, FrameBounds

BOUNDS = FrameBounds(bytes_max=4096, depth_max=8, members_max=100)
ID36 = "0" * 36

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=10,
)


def refused(frame: bytes, bounds: FrameBounds = BOUNDS) -> BadFrame:
    with pytest.raises(BadFrame) as caught:
        framing.decode(frame, bounds)
    return caught.value


def test_decode__call__is_read() -> None:
    assert framing.decode(b'[2,"a","Heartbeat",{}]', BOUNDS) == Call("a", "Heartbeat", {})


def test_decode__white_space_and_escapes__are_read() -> None:
    frame = b' [ 2 , "\\u0061" , "Heartbeat" , { "x" : "a\\"b:c" } ] '
    assert framing.decode(frame, BOUNDS) == Call("a", "Heartbeat", {"x": 'a"b:c'})


def test_decode__replies__are_read() -> None:
    assert framing.decode(b'[3,"a",{"status":"Accepted"}]', BOUNDS) == CallResult(
        "a", {"status": "Accepted"}
    )
    assert framing.decode(b'[4,"a","GenericError","no",{}]', BOUNDS) == CallError(
        "a", "GenericError", "no"
    )
    assert framing.decode(b'[4,"a","GenericError"]', BOUNDS) == CallError("a", "GenericError", "")
    assert framing.decode(b'[4,"a","X",5,{}]', BOUNDS) == CallError("a", "X", "")


def test_encode__roundtrip__is_the_same_message() -> None:
    assert framing.decode(framing.encode_call("i", "Reset", {"type": "Soft"}), BOUNDS) == Call(
        "i", "Reset", {"type": "Soft"}
    )
    assert framing.decode(framing.encode_result("i", {"a": 1}), BOUNDS) == CallResult("i", {"a": 1})
    assert framing.decode(framing.encode_error("i", "InternalError", "x\ny"), BOUNDS) == CallError(
        "i", "InternalError", "x y"
    )


def test_encode_error__long_text__is_cut_to_what_the_specification_allows() -> None:
    description = orjson.loads(framing.encode_error("i", "GenericError", "z" * 1000))[3]
    assert len(description) == framing.DESCRIPTION_CHARS_MAX


@pytest.mark.parametrize(
    ("frame", "fault", "message_id", "message_type"),
    [
        (b"", Fault.RPC, None, None),
        (b"hello", Fault.RPC, None, None),
        (b"[]", Fault.RPC, None, None),
        (b"{}", Fault.RPC, None, None),
        (b"null", Fault.RPC, None, None),
        (b'["2","a","Heartbeat",{}]', Fault.RPC, None, None),
        (b'[true,"a","Heartbeat",{}]', Fault.RPC, None, None),
        (b"[2]", Fault.RPC, None, 2),
        (b'[2,7,"Heartbeat",{}]', Fault.RPC, None, 2),
        (b'[2,"","Heartbeat",{}]', Fault.RPC, None, 2),
        (b'[2,"a\\u0000","Heartbeat",{}]', Fault.RPC, None, 2),
        (b'[2,"' + b"i" * 37 + b'","Heartbeat",{}]', Fault.RPC, None, 2),
        (b'[2,"a","Heartbeat"]', Fault.RPC, "a", 2),
        (b'[2,"a","Heartbeat",{},{}]', Fault.RPC, "a", 2),
        (b'[2,"a","",{}]', Fault.RPC, "a", 2),
        (b'[2,"a","' + b"A" * 51 + b'",{}]', Fault.RPC, "a", 2),
        (b'[2,"a","Heart\\u0000beat",{}]', Fault.RPC, "a", 2),
        (b'[2,"a",5,{}]', Fault.RPC, "a", 2),
        (b'[2,"a","Heartbeat",[]]', Fault.FORMAT, "a", 2),
        (b'[2,"a","Heartbeat",null]', Fault.FORMAT, "a", 2),
        (b'[3,"a"]', Fault.FORMAT, "a", 3),
        (b'[3,"a",[]]', Fault.FORMAT, "a", 3),
        (b'[4,"a"]', Fault.FORMAT, "a", 4),
        (b'[4,"a",5]', Fault.FORMAT, "a", 4),
        (b'[6,"a","X",{}]', Fault.MESSAGE_TYPE, "a", 6),
        (b'[-99999999999999,"a"]', Fault.MESSAGE_TYPE, "a", -99999999999999),
        (b'[2,"a","Heartbeat",{"x":NaN}]', Fault.RPC, "a", 2),
        (b'[2,"a","Heartbeat",{"x":1e400}]', Fault.RPC, "a", 2),
        (b'[2,"a","Heartbeat",{"x":"\xff"}]', Fault.RPC, "a", 2),
        (b'[2,"a","Heartbeat",{"x":"\\ud800"}]', Fault.RPC, "a", 2),
        (b'[2,"a","Heartbeat",{', Fault.RPC, "a", 2),
        (b'  [ 2 , "a" , ', Fault.RPC, "a", 2),
        (b"[" * 100_000, Fault.RPC, None, None),
        (b'[2,"a","Heartbeat",{"a":1,"a":2}]', Fault.FORMAT, "a", 2),
        (b'[2,"a","Heartbeat",{"a":"\\"","a":2}]', Fault.FORMAT, "a", 2),
        (b'[2,"a","Heartbeat",{"a":{"b":1,"b":1}}]', Fault.FORMAT, "a", 2),
        (b'[2,"a","Heartbeat",{"\\u0061":"x","a":"y"}]', Fault.FORMAT, "a", 2),
    ],
)
def test_decode__bad_frame__names_fault_and_what_can_be_read(
    frame: bytes, fault: Fault, message_id: str | None, message_type: int | None
) -> None:
    bad = refused(frame)
    assert (bad.fault, bad.message_id, bad.message_type) == (fault, message_id, message_type)
    assert bad.detail.isprintable()


def test_decode__size__is_bounded_to_the_byte() -> None:
    head, tail = b'[2,"a","X",{"v":"', b'"}]'
    filler = b"x" * (BOUNDS.bytes_max - len(head) - len(tail))
    assert framing.decode(head + filler + tail, BOUNDS)
    bad = refused(head + filler + b"x" + tail)
    assert bad.message_id == "a"
    assert "4097 bytes" in bad.detail


def test_decode__depth__is_bounded_to_the_level() -> None:
    def nested(levels: int) -> bytes:
        inner = levels - 2  # the frame and the payload are levels too
        return b'[2,"a","X",{"v":' + b"[" * inner + b"]" * inner + b"}]"

    assert framing.decode(nested(8), BOUNDS)
    assert "levels" in refused(nested(9)).detail
    assert "levels" in refused(nested(1000)).detail


def test_decode__brackets_in_texts__are_no_depth() -> None:
    frame = b'[2,"a","X",{"v":"' + b"[" * 500 + b'"}]'
    assert framing.decode(frame, BOUNDS)


def test_decode__wide_frame__is_no_deep_one() -> None:
    payload = {"v": [{"w": n} for n in range(40)]}
    assert framing.decode(framing.encode_call("a", "X", payload), BOUNDS)


def test_decode__members__are_bounded() -> None:
    payload = {str(n): n for n in range(100)}
    assert framing.decode(framing.encode_call("a", "X", payload), BOUNDS)
    payload["one more"] = 0
    assert "members" in refused(framing.encode_call("a", "X", payload)).detail


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=6))
def test_decode__any_object__is_kept_whatever_its_writing(payload: dict[str, object]) -> None:
    wide = FrameBounds(10**6, 100, 10**6)
    call = [2, ID36, "DataTransfer", payload]
    for frame in (
        orjson.dumps(call),
        orjson.dumps(call, option=orjson.OPT_INDENT_2),
        json.dumps(call).encode(),
        json.dumps(call, ensure_ascii=False).encode(),
    ):
        assert framing.decode(frame, wide) == Call(ID36, "DataTransfer", payload)


@given(st.dictionaries(st.text(max_size=8), json_values, min_size=1, max_size=4), st.data())
def test_decode__a_member_named_twice__is_always_found(
    payload: dict[str, object], data: st.DataObject
) -> None:
    wide = FrameBounds(10**6, 100, 10**6)
    name = data.draw(st.sampled_from(sorted(payload)))
    is_ascii = data.draw(st.booleans())
    again = json.dumps({name: 0}, ensure_ascii=is_ascii)[1:]
    body = json.dumps(payload, ensure_ascii=is_ascii)[:-1] + ", " + again
    bad = refused(f'[2,"a","X",{body}]'.encode(), wide)
    assert (bad.fault, bad.message_id) == (Fault.FORMAT, "a")


@given(st.binary(max_size=200))
def test_decode__any_bytes__is_a_message_or_a_refusal(frame: bytes) -> None:
    with contextlib.suppress(BadFrame):
        framing.decode(frame, BOUNDS)


def test_decode__damaged_frame__keeps_its_id_where_it_shows() -> None:
    rng = random.Random(5)
    whole = framing.encode_call("id-1", "BootNotification", {"reason": "PowerUp"})
    for _ in range(200):
        cut = whole[: rng.randrange(12, len(whole) - 1)]
        assert refused(cut).message_id == "id-1"
