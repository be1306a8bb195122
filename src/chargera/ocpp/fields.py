"""Reading single values out of a payload, with the error that OCPP names for each failure.

A payload that broke its schema in a tolerated way is read with the same functions as a valid
one: they take nothing for granted. `notes` collects what was read though it was not as it
should be.
"""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from chargera.ocpp.framing import CallRefused, Fault, Payload

TEXT_CHARS_MAX = 512
"""Longer than any field that is read, short enough to store; longer ones are refused."""

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1
QUANTITY_MAX = 10**15
"""Larger registers (Wh) and powers (W) are no measurement."""

Notes = list[str]


def text(payload: Payload, member: str) -> str:
    """Return a text that must be there."""
    value = payload.get(member)
    if value is None:
        raise CallRefused(Fault.OCCURRENCE, f"{member}: is required")
    return _checked_text(value, member)


def optional_text(payload: Payload, member: str) -> str | None:
    """Return a text, None if it is absent or null."""
    value = payload.get(member)
    return None if value is None else _checked_text(value, member)


def _checked_text(value: Any, member: str) -> str:
    if value.__class__ is not str:
        raise CallRefused(Fault.TYPE, f"{member}: is no text")
    if len(value) > TEXT_CHARS_MAX or "\0" in value:
        raise CallRefused(
            Fault.PROPERTY, f"{member}: has a NUL or more than {TEXT_CHARS_MAX} characters"
        )
    return value


def integer(payload: Payload, member: str, low: int = 0, high: int = INT32_MAX) -> int:
    """Return an integer that must be there and within its range."""
    value = payload.get(member)
    if value is None:
        raise CallRefused(Fault.OCCURRENCE, f"{member}: is required")
    return _checked_integer(value, member, low, high)


def optional_integer(
    payload: Payload, member: str, low: int = 0, high: int = INT32_MAX
) -> int | None:
    """Return an integer, None if it is absent or null."""
    value = payload.get(member)
    return None if value is None else _checked_integer(value, member, low, high)


def _checked_integer(value: Any, member: str, low: int, high: int) -> int:
    if value.__class__ is float and value.is_integer():  # 1.0 is an integer in draft 6
        value = int(value)
    if value.__class__ is not int:
        raise CallRefused(Fault.TYPE, f"{member}: is no integer")
    if not low <= value <= high:
        raise CallRefused(Fault.PROPERTY, f"{member}: is not within {low} to {high}")
    return value


def member_object(payload: Payload, member: str) -> Payload:
    """Return an object that must be there."""
    value = optional_object(payload, member)
    if value is None:
        raise CallRefused(Fault.OCCURRENCE, f"{member}: is required")
    return value


def optional_object(payload: Payload, member: str) -> Payload | None:
    """Return an object, None if it is absent or null."""
    value = payload.get(member)
    if value is not None and value.__class__ is not dict:
        raise CallRefused(Fault.TYPE, f"{member}: is no object")
    return value


def objects(payload: Payload, member: str) -> list[Payload]:
    """Return a list of objects, empty if it is absent or null."""
    value = payload.get(member)
    if value is None:
        return []
    if value.__class__ is not list:
        raise CallRefused(Fault.TYPE, f"{member}: is no list")
    for item in value:
        if item.__class__ is not dict:
            raise CallRefused(Fault.TYPE, f"{member}: is no list of objects")
    return value


def moment(payload: Payload, member: str, notes: Notes) -> datetime:
    """Return a time that must be there, as aware UTC in whole milliseconds."""
    at = optional_moment(payload, member, notes)
    if at is None:
        raise CallRefused(Fault.OCCURRENCE, f"{member}: is required")
    return at


def optional_moment(payload: Payload, member: str, notes: Notes) -> datetime | None:
    """Return a time, None if it is absent or null. A time without a zone is taken as UTC."""
    value = payload.get(member)
    if value is None:
        return None
    if value.__class__ is not str:
        raise CallRefused(Fault.TYPE, f"{member}: is no time")
    at, has_zone = _instant(value)
    if at is None:
        raise CallRefused(Fault.PROPERTY, f"{member}: is no RFC 3339 time")
    if not has_zone:
        notes.append(f"{member}: has no time zone")
    return at


@lru_cache(maxsize=1_024)
def _instant(value: str) -> tuple[datetime | None, bool]:
    """Return the UTC time of an ISO 8601 date and time, None if it is none, and if it has a zone.

    Remembered, because a message repeats the time of its event with each of its values.
    """
    if not 16 <= len(value) <= 40 or value[10] not in "Tt ":
        return None, True
    if value[-1] == "z":
        value = f"{value[:-1]}Z"
    leap_second = value[17:19] == "60"  # RFC 3339 has it, `datetime` does not
    if leap_second:
        value = f"{value[:17]}59{value[19:]}"
    try:
        at = datetime.fromisoformat(value)
        has_zone = at.tzinfo is not None
        at = at.astimezone(UTC) if has_zone else at.replace(tzinfo=UTC)
        at = at + timedelta(seconds=1) if leap_second else at
    except (ValueError, OverflowError):
        return None, True
    return at.replace(microsecond=at.microsecond // 1000 * 1000), has_zone


def number(value: Any) -> int | Decimal | None:
    """Return a measured number given as JSON number or text, None if it is none."""
    if value.__class__ is str:
        if value.isdecimal() and value.isascii() and len(value) <= 15:
            return int(value)
        if len(value) > 40:
            return None
    elif value.__class__ is int:
        return value if -QUANTITY_MAX <= value <= QUANTITY_MAX else None
    elif value.__class__ is not float:
        return None
    try:
        result = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    # The exponent is looked at before anything is computed with it: "1e999999999" is short.
    if not result.is_finite() or result.adjusted() > 15:
        return None
    return result


def rounded(value: int | Decimal) -> int | None:
    """Return a quantity as an integer, half up; None if it is no plausible measurement."""
    if value.__class__ is int:
        whole = int(value)
    else:
        whole = int(Decimal(value).to_integral_value(ROUND_HALF_UP))
    return whole if -QUANTITY_MAX <= whole <= QUANTITY_MAX else None


def register(payload: Payload, member: str, notes: Notes) -> int:
    """Return an energy register in Wh that must be there."""
    value = payload.get(member)
    if value.__class__ is int and 0 <= value <= QUANTITY_MAX:
        return int(value)
    if value is None:
        raise CallRefused(Fault.OCCURRENCE, f"{member}: is required")
    read = number(value)
    whole = None if read is None else rounded(read)
    if whole is None:
        raise CallRefused(Fault.TYPE, f"{member}: is no number of watt-hours")
    if read != whole:
        notes.append(f"{member}: is no whole number")
    return whole


def time_text(at: datetime) -> str:
    """Return a time as RFC 3339 with milliseconds and `Z`, which all stations read."""
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
