"""The official JSON schemas of OCPP, compiled once, from the installed `ocpp` package.

The package is used as a source of schemas only. Schemas of 1.6 are JSON Schema draft 4, those
of 2.0.1 draft 6; formats (RFC 3339 times) are checked.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any

import jsonschema_rs
import orjson

from chargera.domain.station import OcppVersion

VIOLATIONS_MAX = 1_000
"""Violations that are looked at in one payload."""

_PACKAGES = {OcppVersion.V1_6: "ocpp.v16", OcppVersion.V2_0_1: "ocpp.v201"}
_REQUEST_SUFFIX = {OcppVersion.V1_6: "", OcppVersion.V2_0_1: "Request"}


@dataclass(frozen=True, slots=True)
class Violation:
    """One way in which a payload breaks its schema."""

    keyword: str
    """The JSON Schema keyword, such as `maxLength`."""
    path: str
    """Where: members joined by `.`, array places left out."""
    detail: str
    is_null: bool
    """The offending value is null."""


@dataclass(frozen=True, slots=True)
class PayloadSchema:
    """A compiled schema."""

    document: dict[str, Any]
    is_valid: Callable[[Any], bool]
    iter_errors: Callable[[Any], Iterator[jsonschema_rs.ValidationError]]

    def violations(self, payload: Any) -> list[Violation]:
        """Return the first `VIOLATIONS_MAX` violations of a payload; empty if it is valid."""
        return [_violation(error) for error in islice(self.iter_errors(payload), VIOLATIONS_MAX)]


@cache
def actions(version: OcppVersion) -> frozenset[str]:
    """Return every action that the version knows, in either direction."""
    names = (entry.name for entry in _folder(version).iterdir())
    stems = {name.removesuffix(".json") for name in names if name.endswith(".json")}
    suffix = _REQUEST_SUFFIX[version]
    return frozenset(stem.removesuffix(suffix) for stem in stems if not stem.endswith("Response"))


@cache
def request_schema(version: OcppVersion, action: str) -> PayloadSchema:
    """Return the schema of an action's request; raise FileNotFoundError if there is none."""
    return _compile(version, f"{action}{_REQUEST_SUFFIX[version]}")


@cache
def response_schema(version: OcppVersion, action: str) -> PayloadSchema:
    """Return the schema of an action's response; raise FileNotFoundError if there is none."""
    return _compile(version, f"{action}Response")


def _folder(version: OcppVersion) -> Any:
    return files(_PACKAGES[version]).joinpath("schemas")


def _compile(version: OcppVersion, name: str) -> PayloadSchema:
    # Some of the published files begin with a byte order mark, which JSON does not allow.
    raw = _folder(version).joinpath(f"{name}.json").read_bytes().removeprefix(b"\xef\xbb\xbf")
    document = orjson.loads(raw)
    validator = jsonschema_rs.validator_for(document, validate_formats=True, offline=True)
    return PayloadSchema(document, validator.is_valid, validator.iter_errors)


def _violation(error: jsonschema_rs.ValidationError) -> Violation:
    keyword = error.kind.name
    members = [part for part in error.instance_path if isinstance(part, str)]
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Required):
        members.append(str(error.kind.as_dict()["property"]))
    detail = "".join(c if c.isprintable() else " " for c in error.message[:160])
    is_null = keyword in ("type", "enum") and error.instance is None
    return Violation(keyword, ".".join(members), detail, is_null)
