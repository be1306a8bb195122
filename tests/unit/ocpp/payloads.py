"""Payloads and frames derived from the official schemas: valid ones, and broken ones.

Everything comes from a seeded `Random`, so a frame that found a fault can be made again.
"""

import copy
import random
from collections.abc import Iterator
from typing import Any

import orjson

from chargera.domain.station import OcppVersion
from chargera.ocpp import schemas

JSON_VALUES: list[Any] = [
    None, True, False, 0, -1, 1.5, 2**31, 2**63 - 1, 2**63, "", "x", "\0", "é" * 40, "A" * 3000,
    "1e999999999", "NaN", [], {}, [[]], {"": ""}, [None], "2024-01-01", -(2**63),
]  # fmt: skip

SERVED = {
    OcppVersion.V1_6: [
        "Authorize", "BootNotification", "DataTransfer", "Heartbeat", "MeterValues",
        "StartTransaction", "StatusNotification", "StopTransaction",
    ],
    OcppVersion.V2_0_1: [
        "Authorize", "BootNotification", "DataTransfer", "Heartbeat", "MeterValues",
        "StatusNotification", "TransactionEvent",
    ],
}  # fmt: skip

TEXTS = ["", "A", "idTag-01", "ünï", "x" * 20, '"quoted"', "back\\slash", "a:b", "{[", "1234", "-1"]
TIMES = [
    "2026-11-24T12:00:00Z",
    "2026-11-24T12:00:00.123Z",
    "2026-11-24T12:00:00.123456789+01:00",
    "1970-01-01T00:00:00Z",
    "2026-02-28T23:59:59-11:30",
]


def any_json(rng: random.Random) -> Any:
    """A JSON value of any kind, the extremes included."""
    return copy.deepcopy(rng.choice(JSON_VALUES))


def valid_payload(schema: schemas.PayloadSchema, rng: random.Random) -> Any:
    """A payload that the schema takes."""
    payload = _value(schema.document, schema.document.get("definitions", {}), rng)
    assert schema.is_valid(payload), payload
    return payload


def _value(schema: dict[str, Any], definitions: dict[str, Any], rng: random.Random) -> Any:
    if "$ref" in schema:
        return _value(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions, rng)
    if "enum" in schema:
        return rng.choice(schema["enum"])
    low, high = int(schema.get("minimum", -7)), int(schema.get("maximum", 2**31))
    match schema.get("type"):
        case "object":
            required = schema.get("required", [])
            return {
                name: _value(child, definitions, rng)
                for name, child in schema.get("properties", {}).items()
                if name in required or rng.random() < 0.5
            }
        case "array":
            fewest = schema.get("minItems", 0)
            most = min(schema.get("maxItems", fewest + 3), fewest + 3)
            count = rng.randint(fewest, most)
            return [_value(schema["items"], definitions, rng) for _ in range(count)]
        case "integer":
            return min(max(rng.choice([0, 1, 2, 7, 41, 1234567, -3, 2**31 - 1]), low), high)
        case "number":
            fine = 123456.8 if "multipleOf" in schema else 123456.789
            return min(max(rng.choice([0, 1, 12.5, 0.1, -7, 1e6, fine]), low), high)
        case "boolean":
            return rng.random() < 0.5
        case "string" if schema.get("format") == "date-time":
            return rng.choice(TIMES)
        case "string" if schema.get("format") == "uri":
            return "https://example.com/firmware"
        case "string":
            return rng.choice(TEXTS)[: schema.get("maxLength", 100)]
        case _:
            return rng.choice([None, 1, "any", {"a": [1]}])


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, the root included."""
    yield path
    children = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, child in children:
        yield from places(child, (*path, key))


def broken_payload(schema: schemas.PayloadSchema, rng: random.Random) -> Any:
    """A payload with one to three places changed, dropped or added."""
    payload = valid_payload(schema, rng)
    for _ in range(rng.randint(1, 3)):
        path = rng.choice(list(places(payload)))
        if not path:
            payload = payload if rng.random() < 0.5 else any_json(rng)
            continue
        parent = payload
        for key in path[:-1]:
            parent = parent[key]
        match rng.randint(0, 2):
            case 0:
                parent[path[-1]] = any_json(rng)
            case 1:
                del parent[path[-1]]
            case _ if isinstance(parent, dict):
                parent[rng.choice(["extra", "customData", "0", ""])] = any_json(rng)
            case _:
                parent.insert(0, any_json(rng))
    return payload


def bad_frames(version: OcppVersion, seed: int, count: int) -> Iterator[bytes]:
    """Frames that no honest station sends, derived from the version's request schemas."""
    rng = random.Random(seed)
    actions = sorted(schemas.actions(version))
    for number in range(count):
        action = rng.choice(SERVED[version] if rng.random() < 0.8 else actions)
        schema = schemas.request_schema(version, action)
        call = [2, f"{seed}-{number}", action, broken_payload(schema, rng)]
        yield _mangled(orjson.dumps(_misframed(call, rng)), rng)


def _misframed(call: list[Any], rng: random.Random) -> Any:
    match rng.randint(0, 9):
        case 0:
            call[rng.randint(0, 3)] = any_json(rng)
        case 1:
            return call[: rng.randint(0, 3)]
        case 2:
            call[0] = rng.choice([3, 4, 5, 0, -1, "2", 2.0, True, None])
        case 3:
            return any_json(rng)
        case 4:
            call.append({})
        case _:
            pass
    return call


def _mangled(frame: bytes, rng: random.Random) -> bytes:
    match rng.randint(0, 19):
        case 0:
            return frame[: rng.randint(0, len(frame))]
        case 1 if frame:
            place = rng.randrange(len(frame))
            return frame[:place] + bytes([rng.randrange(256)]) + frame[place + 1 :]
        case 2:
            return frame.replace(b"{", b'{"a":1,"a":2,', 1)
        case 3:
            return frame.replace(b"}", b',"deep":' + b"[" * 200 + b"]" * 200 + b"}", 1)
        case 4:
            return b"[" * rng.randint(1, 5000)
        case 5:
            return frame + rng.choice([b"\0", b"x", b" ", b"]", frame])
        case 6:
            return frame.replace(b'"', b'"\xff', 1)
        case _:
            return frame
