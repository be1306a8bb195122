"""OCPP frames for reading: what came over the wire, and beside it what it means."""

import json
from dataclasses import dataclass
from typing import Any

from chargera.app.views import MessageView
from chargera.proofs.nesting import check_nesting


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame: the parts around the payload, and the payload laid out."""

    kind: str
    """call, result or error."""
    facts: tuple[tuple[str, str], ...]
    payload: str


@dataclass(frozen=True, slots=True)
class Side:
    """One direction of an exchange: the bytes as text, and the frame if they are one."""

    title: str
    raw: str
    frame: Frame | None


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message with its answer, if it has one."""

    row: MessageView
    sides: tuple[Side, ...]


def read_exchange(row: MessageView) -> Exchange:
    """Return both sides of an exchange, decoded as far as they can be."""
    sides = [Side("frame", row.frame, decode_frame(row.frame))]
    if row.answer is not None:
        sides.append(Side("answer", row.answer, decode_frame(row.answer)))
    return Exchange(row, tuple(sides))


def decode_frame(text: str) -> Frame | None:
    """Return the frame in `text`; None if it is none (OCPP-J, section 4: message types 2 to 4)."""
    try:
        check_nesting(text.encode())
        frame = json.loads(text)
    except ValueError:
        return None
    match frame:
        case [2, message_id, action, payload]:
            return _frame("call", payload, message_id=message_id, action=action)
        case [3, message_id, payload]:
            return _frame("result", payload, message_id=message_id)
        case [4, message_id, code, description, details]:
            return _frame(
                "error", details, message_id=message_id, error_code=code, error_text=description
            )
        case _:
            return None


def _frame(kind: str, payload: object, **parts: Any) -> Frame:
    facts = tuple((name, str(value)) for name, value in parts.items() if value not in ("", None))
    return Frame(kind, facts, json.dumps(payload, indent=2, ensure_ascii=False))
