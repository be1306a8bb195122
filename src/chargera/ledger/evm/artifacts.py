"""The contracts that come with the package: ABI and bytecode, exported from their sources."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_abi.abi import encode

from chargera.domain.errors import NotFound
from chargera.ledger.abi import ARTIFACTS, SELECTOR_BYTES, canonical_type, signature_of
from chargera.proofs.keccak import keccak256

Arguments = Mapping[str, Any]
"""Values by the names of the parameters; structs as mappings, addresses as 20 bytes."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled contract."""

    name: str
    abi: Sequence[Mapping[str, Any]]
    bytecode: bytes
    deployed_size: int
    """Bytes of its code once it is deployed."""

    def creation(self, arguments: Arguments) -> bytes:
        """Return the init code with its constructor's arguments, found by their names."""
        constructor = [entry for entry in self.abi if entry["type"] == "constructor"]
        inputs = constructor[0]["inputs"] if constructor else []
        return self.bytecode + _encoded(inputs, arguments)

    def call(self, function: str, arguments: Arguments) -> bytes:
        """Return the calldata of a function that is not overloaded. Raises NotFound."""
        for entry in self.abi:
            if entry["type"] == "function" and entry["name"] == function:
                selector = keccak256(signature_of(entry))[:SELECTOR_BYTES]
                return selector + _encoded(entry["inputs"], arguments)
        raise NotFound(f"{self.name} has no function {function}", field="function")


@cache
def load(name: str) -> Artifact:
    """Return a contract by its name. Raises NotFound."""
    try:
        document = json.loads((ARTIFACTS / f"{name}.json").read_bytes())
    except FileNotFoundError:
        raise NotFound(f"there is no contract {name}", field="contract") from None
    return Artifact(
        name,
        document["abi"],
        bytes.fromhex(document["bytecode"].removeprefix("0x")),
        document["deployed_size"],
    )


def _encoded(parameters: Sequence[Mapping[str, Any]], arguments: Arguments) -> bytes:
    types = [canonical_type(parameter) for parameter in parameters]
    encoded: bytes = encode(types, [_value(p, arguments[p["name"]]) for p in parameters])
    return encoded


def _value(parameter: Mapping[str, Any], value: Any) -> Any:
    """Return a value as the encoder takes it: the members of structs in their order."""
    kind: str = parameter["type"]
    if kind.endswith("]"):
        element = {**parameter, "type": kind[: kind.rindex("[")]}
        return [_value(element, each) for each in value]
    if kind == "tuple":
        return tuple(_value(member, value[member["name"]]) for member in parameter["components"])
    return value
