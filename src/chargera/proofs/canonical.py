"""One sequence of bytes for one value: RFC 8785 (JCS) and the profile of it that the log uses.

The profile: keys are ASCII, numbers are integers with |n| < 2^53, text is not normalised, and
nothing nests deeper than 32. In it the bytes do not depend on how a language prints floats or
sorts text, so every JSON library that sorts its keys produces them.
"""

import json
import math
from json.encoder import encode_basestring
from typing import TypeAlias

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.proofs.nesting import check_nesting

JsonValue: TypeAlias = bool | int | str | list["JsonValue"] | dict[str, "JsonValue"] | None
"""What the profile can carry, and what `decode` returns."""

DEPTH_MAX = 32
"""Lists and objects inside each other, the outermost counted."""

INTEGER_LIMIT = 2**53
"""Every integer below it in magnitude is the same number in every JSON implementation."""


def encode(value: object) -> bytes:
    """Return the canonical bytes of `value`.

    `value` is made of dict (ASCII keys), list, str, int, bool and None, of exactly these types,
    so that what `decode` returns equals what was encoded; a subclass of str (an enum member) is
    written as its text.

    Raises InvalidInput whose `field` is the path of what does not fit, such as `lines[2].price`.
    """
    try:
        return _profile_text(value, DEPTH_MAX).encode()
    except _MisfitError as misfit:
        path = "".join(misfit.steps[::-1]).removeprefix(".")
        raise InvalidInput(
            f"{path or 'the value'}: {misfit.reason}",
            field=path or None,
            remedy="use integers, text, true, false, null, lists and objects with ASCII keys",
        ) from None


def decode(data: bytes) -> JsonValue:
    """Return the value whose canonical bytes are `data`.

    Raises Unreadable for everything that `encode` would not have written: other spacing, order or
    escapes, a key twice, a float, an integer out of range, bad UTF-8, too deep a nesting.
    """
    try:
        check_nesting(data)
        value: JsonValue = json.loads(data.decode())
    except ValueError as error:
        raise Unreadable(f"not JSON in UTF-8: {error}") from None
    try:
        canonical = encode(value)
    except InvalidInput as error:
        raise Unreadable(error.message, field=error.field) from None
    if canonical != data:
        raise Unreadable(
            "JSON, but not in canonical form (RFC 8785)",
            remedy="keys sorted and each once, no spaces, no escape that is not needed",
        )
    return value


def rfc8785(value: object) -> bytes:
    """Return the RFC 8785 form of any I-JSON `value`, floats and non-ASCII keys included.

    Raises InvalidInput for NaN, infinities, integers that a double does not hold exactly, lone
    surrogates and types that JSON does not have.
    """
    try:
        return _general_text(value, DEPTH_MAX).encode()
    except _MisfitError as misfit:
        raise InvalidInput(f"no RFC 8785 form: {misfit.reason}") from None


class _MisfitError(Exception):
    """A value outside the profile; `steps` are the parts of its path, innermost first."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = []


def _profile_text(value: object, depth_left: int) -> str:
    # The order of the branches is the order of frequency in log records: this is a hot path.
    if type(value) is str:
        return _string_text(value)
    if type(value) is int:
        return _integer_text(value)
    if type(value) is dict:
        return _profile_object_text(value, depth_left)
    if type(value) is list:
        return _profile_list_text(value, depth_left)
    if value is None:
        return "null"
    if type(value) is bool:
        return "true" if value else "false"
    if isinstance(value, str):
        return _string_text(value)
    raise _MisfitError(f"{type(value).__name__} has no place in a record")


def _profile_object_text(members: dict[str, object], depth_left: int) -> str:
    if not depth_left:
        raise _MisfitError(f"nested deeper than {DEPTH_MAX}")
    for key in members:
        if type(key) is not str or not key.isascii():
            raise _MisfitError(f"key {key!a} is not ASCII text")
    texts = []
    # ASCII keys sort alike by code point and by UTF-16 unit, which is the order of RFC 8785.
    for key in sorted(members):
        try:
            texts.append(f"{encode_basestring(key)}:{_profile_text(members[key], depth_left - 1)}")
        except _MisfitError as misfit:
            misfit.steps.append(f".{key}")
            raise
    return "{" + ",".join(texts) + "}"


def _profile_list_text(items: list[object], depth_left: int) -> str:
    if not depth_left:
        raise _MisfitError(f"nested deeper than {DEPTH_MAX}")
    texts = []
    for index, item in enumerate(items):
        try:
            texts.append(_profile_text(item, depth_left - 1))
        except _MisfitError as misfit:
            misfit.steps.append(f"[{index}]")
            raise
    return "[" + ",".join(texts) + "]"


def _general_text(value: object, depth_left: int) -> str:
    if not depth_left and isinstance(value, dict | list):
        raise _MisfitError(f"nested deeper than {DEPTH_MAX}")
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return _integer_text(value)
        case float():
            return _float_text(value)
        case str():
            return _string_text(value)
        case list():
            return "[" + ",".join(_general_text(item, depth_left - 1) for item in value) + "]"
        case dict():
            if not all(isinstance(key, str) for key in value):
                raise _MisfitError("a key is not text")
            members = sorted((_utf16_units(key), key) for key in value)
            return (
                "{"
                + ",".join(
                    f"{_string_text(key)}:{_general_text(value[key], depth_left - 1)}"
                    for _, key in members
                )
                + "}"
            )
        case _:
            raise _MisfitError(f"{type(value).__name__} is no JSON type")


def _string_text(text: str) -> str:
    # The escapes of the standard library are those of RFC 8785, section 3.2.2.2: \b \t \n \f \r
    # \" \\ by name, other characters below U+0020 as \u00xx, everything else as it is.
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _MisfitError("text holds a lone surrogate") from None
    return encode_basestring(text)


def _integer_text(number: int) -> str:
    if not -INTEGER_LIMIT < number < INTEGER_LIMIT:
        raise _MisfitError("an integer must be less than 2^53 in magnitude")
    return int.__repr__(number)


def _float_text(number: float) -> str:
    """Return `number` as ECMAScript's Number::toString does (ECMA-262, section 6.1.6.1.20)."""
    if not math.isfinite(number):
        raise _MisfitError("JSON has no NaN and no infinity")
    if number == 0:
        return "0"  # minus zero too
    sign = "-" if number < 0 else ""
    # Python's repr already gives the shortest digits that read back as the same double.
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    leading = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(leading)
    digits = leading.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    head = digits if count == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{sign}{head}e{point - 1:+d}"


def _utf16_units(text: str) -> bytes:
    return text.encode("utf-16-be", "surrogatepass")
