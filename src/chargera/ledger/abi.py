"""Calls, answers and refusals of the contracts, by the names that their interfaces have.

The interfaces come with the package (`contracts/NAME.json`, exported from the sources). Structs
go in as sequences in the order of their members and come out as `Struct`; `bytesN` are bytes,
addresses EIP-55 text, integers integers.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError

from chargera.app.chain_ports import FoundLog
from chargera.domain.errors import InvalidInput, NotFound, Unreadable
from chargera.proofs.chain_values import address_text, hex_text
from chargera.proofs.keccak import keccak256

ARTIFACTS = Path(__file__).with_name("contracts")
SELECTOR_BYTES = 4
WORD_BYTES = 32


class Struct(dict[str, Any]):
    """A struct's members by name; also read as attributes."""

    def __getattr__(self, name: str) -> Any:
        """Return a member."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a contract: how it is called and what it answers."""

    name: str
    selector: bytes
    inputs: tuple[str, ...]
    outputs: tuple[Mapping[str, Any], ...]

    def encode(self, arguments: Sequence[Any]) -> bytes:
        """Return the calldata. Raises InvalidInput for arguments that do not fit."""
        try:
            return self.selector + encode(self.inputs, arguments)
        except (EncodingError, TypeError, ValueError) as error:
            raise InvalidInput(f"{self.name}: {error}", field=self.name) from error

    def decode(self, data: bytes) -> Any:
        """Return the answer: nothing, one value, or a tuple. Raises Unreadable."""
        values = _decoded(self.outputs, data, self.name)
        match values:
            case []:
                return None
            case [value]:
                return value
            case _:
                return tuple(values)


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded event of a contract."""

    name: str
    members: Struct
    address: str
    transaction_hash: str
    block_number: int
    log_index: int
    block_time: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Interface:
    """What one contract understands and says."""

    name: str
    functions: Mapping[str, Function]
    events: Mapping[bytes, Mapping[str, Any]]
    """By topic 0."""

    def function(self, name: str) -> Function:
        """Return a function. Raises NotFound."""
        try:
            return self.functions[name]
        except KeyError:
            raise NotFound(f"{self.name} has no function {name}", field="function") from None

    def topic_of(self, event: str) -> bytes:
        """Return topic 0 of an event. Raises NotFound."""
        for topic, description in self.events.items():
            if description["name"] == event:
                return topic
        raise NotFound(f"{self.name} has no event {event}", field="event")

    def event(self, found: FoundLog) -> Event | None:
        """Read a log; None for one that is no event of this contract."""
        log = found.log
        description = self.events.get(log.topics[0]) if log.topics else None
        if description is None:
            return None
        name, inputs = description["name"], description["inputs"]
        indexed = [member for member in inputs if member["indexed"]]
        others = [member for member in inputs if not member["indexed"]]
        members = dict(
            zip((m["name"] for m in others), _decoded(others, log.data, name), strict=True)
        )
        for member, topic in zip(indexed, log.topics[1:], strict=True):
            (members[member["name"]],) = _decoded([member], topic, name)
        return Event(
            name,
            Struct(members),
            address_text(log.address),
            hex_text(found.transaction_hash),
            found.block.number,
            found.log_index,
            found.block.time,
        )


@dataclass(frozen=True, slots=True)
class Revert:
    """A refusal of a contract: its custom error and what it says, or a reason in words."""

    name: str
    arguments: Struct

    def __str__(self) -> str:
        """Return it as one line."""
        said = ", ".join(f"{name} {_shown(value)}" for name, value in self.arguments.items())
        return f"{self.name}({said})"


@cache
def interface(name: str) -> Interface:
    """Return the interface of a contract of the network. Raises NotFound."""
    path = ARTIFACTS / f"{name}.json"
    try:
        members = json.loads(path.read_bytes())["abi"]
    except FileNotFoundError:
        raise NotFound(f"there is no contract {name}", field="contract") from None
    functions = {}
    events = {}
    for member in members:
        if member["type"] == "function" and member["name"] not in functions:
            types = tuple(canonical_type(part) for part in member["inputs"])
            functions[member["name"]] = Function(
                member["name"],
                keccak256(signature_of(member))[:SELECTOR_BYTES],
                types,
                tuple(member["outputs"]),
            )
        elif member["type"] == "event":
            events[keccak256(signature_of(member))] = member
    return Interface(name, functions, events)


@cache
def _errors() -> Mapping[bytes, Mapping[str, Any]]:
    """Every custom error of every contract by its selector, and Solidity's two own."""
    text = [{"name": "reason", "type": "string"}]
    code = [{"name": "code", "type": "uint256"}]
    described: list[dict[str, Any]] = [
        {"name": "Error", "inputs": text},
        {"name": "Panic", "inputs": code},
    ]
    for path in ARTIFACTS.glob("*.json"):
        described += [m for m in json.loads(path.read_bytes())["abi"] if m["type"] == "error"]
    return {keccak256(signature_of(error))[:SELECTOR_BYTES]: error for error in described}


def read_revert(data: bytes) -> Revert:
    """Return what a contract refused with; data that is no known error is shown as hex."""
    description = _errors().get(data[:SELECTOR_BYTES])
    if description is not None:
        try:
            inputs = description["inputs"]
            values = _decoded(inputs, data[SELECTOR_BYTES:], description["name"])
        except Unreadable:
            pass
        else:
            names = [member["name"] or f"_{place}" for place, member in enumerate(inputs)]
            return Revert(description["name"], Struct(zip(names, values, strict=True)))
    return Revert("Revert", Struct(data=data))


def signature_of(described: Mapping[str, Any]) -> bytes:
    """Return what the selector of a function or error, or the topic of an event, is the hash of."""
    types = ",".join(map(canonical_type, described["inputs"]))
    return f"{described['name']}({types})".encode()


def canonical_type(member: Mapping[str, Any]) -> str:
    """Return the canonical type of a parameter; structs as tuples."""
    kind: str = member["type"]
    if not kind.startswith("tuple"):
        return kind
    parts = ",".join(canonical_type(part) for part in member["components"])
    return f"({parts}){kind.removeprefix('tuple')}"


def _decoded(members: Sequence[Mapping[str, Any]], data: bytes, name: str) -> list[Any]:
    try:
        values = decode([canonical_type(member) for member in members], data)
    except (DecodingError, OverflowError, ValueError) as error:
        raise Unreadable(f"{name}: the answer is not of its type: {error}", field=name) from error
    return [_named(member, value) for member, value in zip(members, values, strict=True)]


def _named(member: Mapping[str, Any], value: Any) -> Any:
    """Give structs the names of their members and addresses their checksum."""
    kind: str = member["type"]
    if kind.endswith("]"):
        of = {**member, "type": kind[: kind.rindex("[")]}
        return [_named(of, each) for each in value]
    if kind == "tuple":
        parts = member["components"]
        return Struct(
            (part["name"], _named(part, each)) for part, each in zip(parts, value, strict=True)
        )
    if kind == "address":
        return address_text(bytes.fromhex(value.removeprefix("0x")))
    return value


def _shown(value: Any) -> str:
    return hex_text(value) if isinstance(value, bytes) else str(value)
