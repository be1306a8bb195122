"""JSON of OCPI with exact numbers: read text, take values out with their path, write it again.

Numbers with a point are `Decimal` on this side, never float: `0.1` stays a tenth. Errors name the
path of the value as `field`, such as `elements[0].price_components[1].price`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import StrEnum
from json.encoder import encode_basestring
from typing import TypeVar

from chargera.domain.errors import InvalidInput, Unreadable, Unsupported
from chargera.proofs.nesting import check_nesting

MAX_BYTES = 4 * 2**20
MAX_DIGITS = 28
"""Digits of a number before and after its point together: what `Decimal` keeps by default."""

_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)
Reader = Callable[[object, str], _T]
"""Turns the JSON value at a path into a value, or raises InvalidInput with that path."""

_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def parse_json(data: bytes | str) -> dict[str, object]:
    """Return the object that `data` says, with `Decimal` where a number has a point.

    Raises:
        Unreadable: too long, not JSON in UTF-8, a key twice, NaN or infinity, or no object.
    """
    if len(data) > MAX_BYTES:
        raise Unreadable(f"longer than {MAX_BYTES} bytes", remedy="give a single document")
    try:
        text = data.decode() if isinstance(data, bytes) else data
        check_nesting(text.encode())
        value = json.loads(
            text,
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_refuse_twice,
        )
    except (ValueError, ArithmeticError) as error:
        raise Unreadable(f"not JSON in UTF-8: {error}", remedy="check the file") from None
    if not isinstance(value, dict):
        raise Unreadable("not a JSON object", remedy="give one object in braces")
    return value


def encode_json(value: object) -> bytes:
    """Write dict, list, str, int, Decimal, bool and None as compact JSON, decimals as numbers."""
    return _text(value).encode()


@dataclass(frozen=True, slots=True)
class Fields:
    """The members of an object that may be read; null counts as absent, as OCPI has it."""

    members: Mapping[str, object]
    path: str

    @staticmethod
    def of(value: object, path: str, known: frozenset[str] | None = None) -> "Fields":
        """Take an object; with `known`, refuse by name every other member that is not null."""
        if not isinstance(value, dict):
            raise _wrong(value, path, "an object")
        present = {name: member for name, member in value.items() if member is not None}
        for name in present:
            if known is not None and name not in known:
                raise Unsupported(
                    f"{name} cannot be priced",
                    field=join(path, name),
                    remedy="leave it out, or express the price without it",
                )
        return Fields(present, path)

    def required(self, name: str, reader: Reader[_T]) -> _T:
        """Return a member, or say that it is missing."""
        path = join(self.path, name)
        if name not in self.members:
            raise InvalidInput(f"{path} is missing", field=path, remedy=f"add {name}")
        return reader(self.members[name], path)

    def optional(self, name: str, reader: Reader[_T]) -> _T | None:
        """Return a member, or None where it is absent."""
        return self.required(name, reader) if name in self.members else None


def join(path: str, name: str) -> str:
    """Return the path of a member."""
    return f"{path}.{name}" if path else name


def text(limit: int) -> Reader[str]:
    """Read a string of 1 to `limit` printable characters."""

    def read(value: object, path: str) -> str:
        if not (isinstance(value, str) and 1 <= len(value) <= limit and value.isprintable()):
            raise _wrong(value, path, f"text of 1 to {limit} printable characters")
        return value

    return read


def whole(value: object, path: str) -> int:
    """Read an integer; `1.0` is one."""
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(decimal(value, path))
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(value, path, "a whole number")
    return value


def decimal(value: object, path: str) -> Decimal:
    """Read an exact number: an integer, a `Decimal`, or a plain decimal in a string."""
    if isinstance(value, str) and len(value) <= MAX_DIGITS + 2 and _DECIMAL.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if isinstance(value, Decimal) and value.is_finite():
        _, digits, exponent = value.as_tuple()
        if len(digits) <= MAX_DIGITS and abs(int(exponent)) <= MAX_DIGITS:
            return value.normalize() if value else Decimal(0)
    raise _wrong(value, path, f"a number of at most {MAX_DIGITS} digits")


def instant(value: object, path: str) -> datetime:
    """Read a time of RFC 3339 as aware UTC; without zone it is UTC, as OCPI has it."""
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        try:
            at = datetime.fromisoformat(value)
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise _wrong(value, path, "a time such as 2026-03-29T01:30:00Z")


def time_of_day(value: object, path: str) -> time:
    """Read HH:MM."""
    if isinstance(value, str) and _TIME_OF_DAY.fullmatch(value):
        return time.fromisoformat(value)
    raise _wrong(value, path, "a time of day such as 07:30")


def calendar_date(value: object, path: str) -> date:
    """Read YYYY-MM-DD."""
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise _wrong(value, path, "a date such as 2026-03-29")


def one_of(vocabulary: type[_E]) -> Reader[_E]:
    """Read a member of a closed vocabulary; another word is refused as unsupported."""

    def read(value: object, path: str) -> _E:
        if isinstance(value, str) and value in tuple(vocabulary):
            return vocabulary(value)
        raise Unsupported(
            f"{path} is {_shown(value)}, which is not supported",
            field=path,
            remedy=f"use one of {', '.join(vocabulary)}",
        )

    return read


def list_of(reader: Reader[_T], limit: int) -> Reader[tuple[_T, ...]]:
    """Read a list of at most `limit` values."""

    def read(value: object, path: str) -> tuple[_T, ...]:
        if not isinstance(value, list | tuple) or len(value) > limit:
            raise _wrong(value, path, f"a list of at most {limit}")
        return tuple(reader(item, f"{path}[{index}]") for index, item in enumerate(value))

    return read


@contextmanager
def located(path: str, names: Mapping[str, str]) -> Iterator[None]:
    """Put `path` before the field of errors of the domain, and call it by its name in JSON.

    Only the constructor of the domain's value may stand inside: readers know their paths.
    """
    try:
        yield
    except InvalidInput as error:
        field = error.field or ""
        for ours, theirs in names.items():
            if field.startswith(ours):
                field = theirs + field.removeprefix(ours)
        raise type(error)(error.message, field=join(path, field), remedy=error.remedy) from error


def _wrong(value: object, path: str, expected: str) -> InvalidInput:
    remedy = f"give {expected}"
    if isinstance(value, float):
        remedy = "read the document with exact decimals (ocpi.parse_json)"
    return InvalidInput(
        f"{path or 'the document'} is {_shown(value)}, not {expected}",
        field=path or None,
        remedy=remedy,
    )


def _shown(value: object) -> str:
    """Return what a value looks like, shortened."""
    shown = str(value) if isinstance(value, Decimal) else repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number of JSON")


def _refuse_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key occurs twice in an object")
    return members


def _text(value: object) -> str:
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case str():
            return encode_basestring(value)
        case int():
            return str(int(value))
        case Decimal():
            return format(value, "f")
        case dict():
            return "{" + ",".join(f"{_text(str(k))}:{_text(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(map(_text, value)) + "]"
    raise TypeError(f"{type(value).__name__} has no place in OCPI")
