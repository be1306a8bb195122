"""OCPP-J frames: bytes to CALL, CALLRESULT and CALLERROR and back, with every bound checked.

Sources: OCPP-J 1.6 section 4; OCPP 2.0.1 part 4 sections 4.1 to 4.3.
"""

import json
import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

import orjson

MESSAGE_ID_CHARS_MAX = 36
ACTION_CHARS_MAX = 50
DESCRIPTION_CHARS_MAX = 255
UNREADABLE_ID = "-1"
"""The message id of an error about a message whose own id cannot be read (2.0.1 part 4, 4.2.3)."""

MEMBER_BYTES_MIN = 4
"""No member of an object is shorter than `"":0`."""

Payload = dict[str, Any]


class MessageType(IntEnum):
    """`MessageTypeId` of both versions."""

    CALL = 2
    CALLRESULT = 3
    CALLERROR = 4


_CALL = MessageType.CALL.value


class Fault(StrEnum):
    """What can be wrong with a call, spelled as OCPP 2.0.1 does (part 4, table 7)."""

    FORMAT = "FormatViolation"
    GENERIC = "GenericError"
    INTERNAL = "InternalError"
    MESSAGE_TYPE = "MessageTypeNotSupported"
    NOT_IMPLEMENTED = "NotImplemented"
    NOT_SUPPORTED = "NotSupported"
    OCCURRENCE = "OccurrenceConstraintViolation"
    PROPERTY = "PropertyConstraintViolation"
    PROTOCOL = "ProtocolError"
    RPC = "RpcFrameworkError"
    SECURITY = "SecurityError"
    TYPE = "TypeConstraintViolation"


class Call(NamedTuple):
    """A request of the other side."""

    message_id: str
    action: str
    payload: Payload


class CallResult(NamedTuple):
    """The answer to a call of ours."""

    message_id: str
    payload: Payload


class CallError(NamedTuple):
    """The refusal of a call of ours."""

    message_id: str
    code: str
    description: str


Message = Call | CallResult | CallError


@dataclass(frozen=True, slots=True)
class FrameBounds:
    """How large and how deep a frame may be."""

    bytes_max: int
    depth_max: int
    members_max: int


class CallRefused(Exception):  # noqa: N818 - it is a verdict that is sent, no failure of ours
    """A well-framed call that is answered with a CALLERROR."""

    def __init__(self, fault: Fault, detail: str) -> None:
        """Say what is wrong and where."""
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail


class BadFrame(Exception):  # noqa: N818 - as above
    """Bytes that are no message.

    `message_id` is None if it cannot be read. `message_type` is what the frame claims to be,
    None if that cannot be read either: answers and errors are never answered with an error.
    """

    def __init__(
        self,
        fault: Fault,
        detail: str,
        message_id: str | None = None,
        message_type: int | None = None,
    ) -> None:
        """Say what is wrong, and which message it was."""
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail
        self.message_id = message_id
        self.message_type = message_type


def decode(frame: bytes, bounds: FrameBounds) -> Message:
    """Return the message in a frame; raise BadFrame if there is none."""
    document = _parse(frame, bounds)
    if document.__class__ is not list or not document:
        raise BadFrame(Fault.RPC, "a message is a JSON array")
    message_type = document[0]
    if message_type.__class__ is not int:
        raise BadFrame(Fault.RPC, "the message type is no integer")
    message_id = _message_id(document, message_type)
    if message_type == _CALL:
        if len(document) != 4:
            raise BadFrame(Fault.RPC, "a CALL has 4 elements", message_id, message_type)
        action, payload = document[2], document[3]
        if action.__class__ is not str or not 1 <= len(action) <= ACTION_CHARS_MAX:
            raise BadFrame(
                Fault.RPC,
                f"the action is no text of 1 to {ACTION_CHARS_MAX} characters",
                message_id,
                message_type,
            )
        if "\0" in action:
            raise BadFrame(Fault.RPC, "the action has a NUL", message_id, message_type)
        if payload.__class__ is not dict:
            raise BadFrame(Fault.FORMAT, "the payload is no object", message_id, message_type)
        return Call(message_id, action, payload)
    return _decode_reply(document, message_type, message_id)


def _decode_reply(document: list[Any], message_type: int, message_id: str) -> Message:
    if message_type == MessageType.CALLRESULT:
        if len(document) != 3 or document[2].__class__ is not dict:
            raise BadFrame(
                Fault.FORMAT,
                "a CALLRESULT has 3 elements, the last an object",
                message_id,
                message_type,
            )
        return CallResult(message_id, document[2])
    if message_type == MessageType.CALLERROR:
        if len(document) < 3 or document[2].__class__ is not str:
            raise BadFrame(Fault.FORMAT, "a CALLERROR has an error code", message_id, message_type)
        description = document[3] if len(document) > 3 else ""
        if description.__class__ is not str:
            description = ""
        return CallError(message_id, _one_line(document[2]), _one_line(description))
    raise BadFrame(
        Fault.MESSAGE_TYPE,
        f"message type {str(message_type)[:12]} is not known",
        message_id,
        message_type,
    )


def encode_call(message_id: str, action: str, payload: Payload) -> bytes:
    """Return the frame of a request."""
    return orjson.dumps([MessageType.CALL.value, message_id, action, payload])


def encode_result(message_id: str, payload: Payload) -> bytes:
    """Return the frame of an answer."""
    return orjson.dumps([3, message_id, payload])


def encode_error(message_id: str, code: str, description: str) -> bytes:
    """Return the frame of a refusal."""
    return orjson.dumps([4, message_id, code, _one_line(description), {}])


def _message_id(document: list[Any], message_type: int) -> str:
    message_id = document[1] if len(document) > 1 else None
    if message_id.__class__ is not str:
        raise BadFrame(Fault.RPC, "the message id is no text", None, message_type)
    if 1 <= len(message_id) <= MESSAGE_ID_CHARS_MAX and "\0" not in message_id:
        return str(message_id)
    raise BadFrame(
        Fault.RPC,
        f"a message id has 1 to {MESSAGE_ID_CHARS_MAX} characters",
        None,
        message_type,
    )


def _parse(frame: bytes, bounds: FrameBounds) -> Any:
    """Return the JSON value of a frame, refusing what is too large, too deep or ambiguous."""
    if len(frame) > bounds.bytes_max:
        raise BadFrame(
            Fault.RPC, f"{len(frame)} bytes, at most {bounds.bytes_max} are taken", *_salvage(frame)
        )
    try:
        document = orjson.loads(frame)
    except orjson.JSONDecodeError as error:
        raise BadFrame(Fault.RPC, f"no JSON: {error}"[:120], *_salvage(frame)) from None
    # Brackets and colons are counted in the bytes, those in texts too: counting runs at the speed
    # of memory, and only a frame that is suspicious by it is looked at closely.
    brackets = frame.count(b"[") + frame.count(b"{")
    if brackets > bounds.depth_max and _is_deeper(document, bounds.depth_max):
        raise BadFrame(
            Fault.RPC, f"more than {bounds.depth_max} levels of nesting", *_salvage(frame)
        )
    many = len(frame) > MEMBER_BYTES_MIN * bounds.members_max
    if many and frame.count(b":") > bounds.members_max:
        raise BadFrame(Fault.RPC, f"more than {bounds.members_max} members", *_salvage(frame))
    compact = orjson.dumps(document)
    if compact != frame and _has_duplicates(frame, compact):
        raise BadFrame(Fault.FORMAT, "an object names a member twice", *_salvage(frame))
    return document


def _has_duplicates(frame: bytes, compact: bytes) -> bool:
    """Say whether an object names a member twice, which leaves open what it means.

    orjson keeps the last one, so `compact`, the parsed value written again, lacks exactly the
    colons of what was dropped. Texts with escapes may be written otherwise: those frames are
    parsed a second time.
    """
    if b"\\" not in frame:
        return compact.count(b":") != frame.count(b":")
    try:
        json.loads(frame, object_pairs_hook=_object_without_duplicates)
    except _DuplicateMemberError:
        return True
    return False


class _DuplicateMemberError(Exception):
    pass


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> Payload:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _DuplicateMemberError
    return result


def _is_deeper(document: Any, depth_max: int) -> bool:
    """Say whether arrays and objects nest deeper than `depth_max` (one level a round)."""
    level = [document]
    for _ in range(depth_max):
        level = [
            child
            for parent in level
            for child in (parent.values() if parent.__class__ is dict else parent)
            if child.__class__ is dict or child.__class__ is list
        ]
        if not level:
            return False
    return True


_HEAD = re.compile(rb'\s*\[\s*(\d{1,3})\s*,\s*(?:"([^"\\\x00-\x1f]{1,36})")?')


def _salvage(frame: bytes) -> tuple[str | None, int | None]:
    """Return message id and type of a frame that is not read as JSON, as far as they show."""
    head = _HEAD.match(frame[:256])
    if head is None:
        return None, None
    message_id = head[2] and head[2].decode(errors="replace")
    return message_id or None, int(head[1])


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:DESCRIPTION_CHARS_MAX])
