"""The generated parts of the pages, by name: facts of the code as Markdown."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from chargera import __version__, settings, telemetry
from chargera.app import permissions
from chargera.cli import app
from chargera.domain import errors
from chargera.domain.errors import ChargEraError, Unsupported
from chargera.domain.messages import (
    IdTokenRef,
    NotServed,
    RemoteStart,
    RemoteStop,
    Reset,
    TriggerMessage,
    UnlockConnector,
    UnservedCall,
)
from chargera.domain.proof_level import MEANINGS
from chargera.domain.standard_run import STEPS as STEPS_OF_RUN
from chargera.domain.transaction import BLOCKING, CURABLE, Anomaly
from chargera.ocpp import deviations, schemas, v16, v201
from chargera.ocpp.counters import ChannelCounters
from chargera.ocpp.dialect import Dialect
from chargera.ocpp.framing import CallRefused, Fault
from chargera.ocpp.limits import ChannelLimits
from chargera.proofs import meter_checks, receipt
from chargera.proofs.entry import EntryKind
from chargera.proofs.ocpi_cdr import CdrDimensionType
from chargera.proofs.ocpi_tariff import tariff_from_ocpi
from chargera.web.api import openapi_document
from chargera.web.api.problems import http_status
from scripts.docs.words import (
    ANOMALIES,
    KINDS,
    LIMIT_SETTINGS,
    LIMITS,
    METER_STEPS,
    METRIC_NOTES,
    PREVENTS,
    STEPS,
    TARIFF_MEMBERS,
    WITHOUT_EFFECT,
)

Rows = Iterable[Sequence[str]]


class WordsMissing(Exception):  # noqa: N818 - it says what is missing, nothing went wrong
    """A fact of the code has no words, or words have no fact."""


def commands() -> Iterator[str]:
    """Yield every command with its arguments and options."""
    root = typer.main.get_command(app)
    for path, command in walk(root, "chargera"):
        required = [usage_of(p) for p in command.params if p.required]
        optional = any(not p.required for p in command.params)
        yield f"### {path}\n\n"
        usage = " ".join([path, *required, *(["[OPTIONS]"] if optional else [])])
        yield f"```text\n{usage}\n```\n\n{cleaned(command.help)}\n\n"
        rows = [row_of(p) for p in command.params if p.name not in ("data_dir", "as_json", "limit")]
        if "limit" in {p.name for p in command.params}:
            rows.append(("`--limit`", "integer", "", "Print at most this many."))
        if path == "chargera demo":
            rows.insert(0, row_of(next(p for p in command.params if p.name == "data_dir")))
        if rows:
            yield table(("argument or option", "value", "default", "meaning"), rows)
            yield "\n"


def walk(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield (words, command) of all commands below a group, nouns after plain commands."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from walk(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def usage_of(parameter: Any) -> str:
    """Return how a required parameter is written."""
    name = parameter.opts[0]
    if name.startswith("-"):
        return f"{name} {kind_of(parameter).split(',')[0].upper()}"
    return str(parameter.metavar or name.upper())


def row_of(parameter: Any) -> tuple[str, str, str, str]:
    """Return the row of an argument or option."""
    names = ", ".join(f"`{name}`" for name in parameter.opts)
    if not parameter.opts[0].startswith("-"):
        names = f"`{usage_of(parameter)}`"
    default = parameter.default
    shown = "" if default is None or default is False else f"`{default}`"
    return (
        names,
        kind_of(parameter),
        "required" if parameter.required else shown,
        cleaned(parameter.help or ""),
    )


KIND_NAMES = {str: "text", int: "integer", float: "number", bool: "", Path: "path"}


def kind_of(parameter: Any) -> str:
    """Return what an argument or option takes, nothing for a flag."""
    annotation = parameter.type_descriptor.annotation
    words = getattr(annotation, "__args__", None)
    if words and all(isinstance(word, str) for word in words):
        return " or ".join(words)
    if words:  # list[str]
        return f"{KIND_NAMES[words[0]]}, may be repeated"
    return KIND_NAMES[annotation]


def settings_tables() -> Iterator[str]:
    """Yield one table a section."""
    known = {
        f"{section}.{name}"
        for section, field in settings.Settings.model_fields.items()
        for name in model_of(field).model_fields
    }
    require_words("setting", known, PREVENTS)
    for section, field in settings.Settings.model_fields.items():
        model = model_of(field)
        properties = model.model_json_schema()["properties"]
        yield f"### {section}\n\n{cleaned(model.__doc__)}\n\n"
        rows = []
        for name, schema in properties.items():
            variable = f"{settings.PREFIX}{section}_{name}".upper()
            rows.append(
                (
                    f"`{name}`<br>`{variable}`",
                    value_of(schema),
                    default_of(schema),
                    schema["description"],
                    PREVENTS[f"{section}.{name}"],
                )
            )
        yield table(("setting", "value", "default", "meaning", "what it prevents"), rows)
        yield "\n"


def model_of(field: Any) -> type[BaseModel]:
    """Return the model of a section."""
    model = field.annotation
    assert isinstance(model, type), "every setting stands in a section"
    assert issubclass(model, BaseModel), "every setting stands in a section"
    return model


SETTING_TYPES = {
    "string": "text",
    "number": "number",
    "integer": "integer",
    "boolean": "true or false",
}
"""Types of JSON schema in words."""


def value_of(schema: Mapping[str, Any]) -> str:
    """Return what values a setting may have."""
    kinds = [s for s in schema.get("anyOf", [schema]) if s.get("type") != "null"]
    [only] = kinds
    if "const" in only or "enum" in only:
        return " or ".join(f"`{word}`" for word in only.get("enum", [only.get("const")]))
    bounds = []
    for name, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤")):
        if name in only:
            bounds.append(f"{sign} {only[name]:g}" if only[name] < 1e6 else f"{sign} {only[name]}")
    if "pattern" in only:
        bounds.append(f"`{only['pattern']}`")
    if only.get("format") == "password":
        bounds.append("secret")
    kind = SETTING_TYPES[only["type"]]
    return ", ".join([kind, *bounds])


def default_of(schema: Mapping[str, Any]) -> str:
    """Return a setting's default."""
    default = schema["default"]
    return "none" if default is None else "empty" if default == "" else f"`{default}`"


def metrics() -> Iterator[str]:
    """Yield the table of metrics."""
    described = telemetry.server_metrics(
        channel=ChannelCounters(),
        sequencer=lambda: None,  # type: ignore[arg-type,return-value]  # nothing is read
        anchoring=lambda: None,  # type: ignore[arg-type,return-value]  # nothing is read
        settlement=lambda: None,  # type: ignore[arg-type,return-value]  # nothing is read
        password_hashes=lambda: 0,
        logins_refused=lambda: 0,
        listeners=lambda: 0,
        loop_failures=dict,
        checks=dict,
    )
    names = {d.name.removeprefix("chargera_") for d in described}
    require_words("metric", names, METRIC_NOTES)
    rows = []
    for d in described:
        kind = getattr(d, "kind", "histogram")
        label = getattr(d, "label", None)
        name = f"{d.name}_total" if kind == "counter" else d.name
        shown = f"`{name}{{{label}}}`" if label else f"`{name}`"
        rows.append((shown, kind, d.help, METRIC_NOTES[d.name.removeprefix("chargera_")]))
    yield table(("metric", "kind", "what it counts", "look at it for"), rows)


def error_tree() -> Iterator[str]:
    """Yield the error classes with their codes."""
    rows = []

    def visit(cls: type[ChargEraError], depth: int) -> None:
        error = cls("")
        indent = "&nbsp;&nbsp;" * 2 * depth
        status = str(http_status(error))
        if cls is errors.NotPermitted:
            status = "403; 401 before login"
        rows.append(
            (
                f"{indent}{cls.__name__}",
                f"`{cls.code}`",
                str(errors.exit_code(error)),
                status,
                cleaned(cls.__doc__),
            )
        )
        for child in cls.__subclasses__():
            if child.__module__ == errors.__name__:
                visit(child, depth + 1)

    visit(ChargEraError, 0)
    yield table(("error", "code", "exit", "HTTP", "meaning"), rows)


def anomalies() -> Iterator[str]:
    """Yield the anomalies, those that need a person first."""
    require_words("anomaly", Anomaly, ANOMALIES)
    ordered = sorted(Anomaly, key=lambda a: (a not in BLOCKING, list(Anomaly).index(a)))
    rows = []
    for anomaly in ordered:
        needs = "no"
        if anomaly in BLOCKING:
            needs = "yes, unless the missing event still comes" if anomaly in CURABLE else "yes"
        rows.append((f"`{anomaly}`", needs, ANOMALIES[anomaly]))
    yield table(("code", "needs a person", "what happened"), rows)


def kinds() -> Iterator[str]:
    """Yield the kinds of entries with the members of their records."""
    require_words("kind", EntryKind, KINDS)
    rows = []
    for kind in EntryKind:
        words, writers = KINDS[kind]
        shapes = [", ".join(f"`{name}`" for name in members_of(writer)) for writer in writers]
        rows.append((f"`{kind}`", words, "; or ".join(shapes)))
    yield table(("kind", "written when", "members of the record"), rows)


def members_of(writer: Any) -> list[str]:
    """Return the members of the one record that a function returns or calls `record`."""
    found: list[ast.Dict] = []
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(writer)))):
        match node:
            case ast.Return(value=ast.Dict() as shape):
                found.append(shape)
            case ast.Assign(targets=[ast.Name(id="record")], value=ast.Dict() as shape):
                found.append(shape)
    assert len(found) == 1, f"{writer.__qualname__} writes {len(found)} records"
    return sorted(str(key.value) for key in found[0].keys if isinstance(key, ast.Constant))


def receipt_steps() -> Iterator[str]:
    """Yield the steps of `verify`."""
    names = ["form", *receipt._CHECKS]  # noqa: SLF001 - the table is the order of the steps
    require_words("step", names, STEPS)
    yield table(("step", "ok means"), [(f"`{name}`", STEPS[name]) for name in names])


def meter_steps() -> Iterator[str]:
    """Yield the steps of `verify-meter`."""
    require_words("meter step", meter_checks.CHECKS, METER_STEPS)
    rows = [(f"`{name}`", METER_STEPS[name]) for name in meter_checks.CHECKS]
    yield table(("step", "ok means"), rows)


def proof_levels() -> Iterator[str]:
    """Yield the proof levels."""
    yield table(("level", "what speaks for the energy"), list(MEANINGS.items()))


def actions(dialect: Dialect) -> Iterator[str]:
    """Yield what is served and sent, and how every other action is answered."""
    served = [a for a in sorted(schemas.actions(dialect.version)) if is_served(dialect, a)]
    sent = {dialect.command(command)[0] for command in COMMANDS}
    others = sorted(schemas.actions(dialect.version) - set(served) - sent)
    rows = [
        *((f"`{action}`", "station to us", "served") for action in served),
        *((f"`{action}`", "us to station", "sent") for action in sorted(sent)),
    ]
    yield table(("action", "direction", ""), rows)
    codes = {code_of(dialect, action) for action in others}
    assert len(codes) == 1, "all that is not served is answered alike"
    yield f"\nA station that sends one of these is answered `{codes.pop()}`, and the message is"
    yield f" recorded: {', '.join(f'`{action}`' for action in others)}.\n\n"
    yield f"An action that OCPP {dialect.version} does not know is answered"
    yield f" `{code_of(dialect, 'NoSuchAction')}`.\n"


COMMANDS = (
    RemoteStart(
        evse=1,
        connector=1,
        ocpp16_connector_id=1,
        id_token=IdTokenRef("T", None),
        remote_start_id=1,
    ),
    RemoteStop("1"),
    Reset(hard=False),
    UnlockConnector(evse=1, connector=1, ocpp16_connector_id=1),
    TriggerMessage(
        requested_message="Heartbeat", evse=None, connector=None, ocpp16_connector_id=None
    ),
)


def is_served(dialect: Dialect, action: str) -> bool:
    """Say whether a call of a station is understood."""
    try:
        return not isinstance(dialect.read(action, {}).message, UnservedCall)
    except CallRefused:
        return True  # an empty payload lacks what a served action needs


def code_of(dialect: Dialect, action: str) -> str:
    """Return the error with which an action is answered that is not served."""
    try:
        dialect.write(action, NotServed(action))
    except CallRefused as refused:
        return dialect.code(refused.fault)
    raise AssertionError("what is not served is refused")


def faults() -> Iterator[str]:
    """Yield the error codes as both versions spell them."""
    rows = [(f"`{v16.DIALECT.code(f)}`", f"`{v201.DIALECT.code(f)}`") for f in Fault]
    yield table(("1.6", "2.0.1"), rows)


def tolerated() -> Iterator[str]:
    """Yield the breaches of a schema that are served."""
    for keyword in sorted(deviations.TOLERATED_KEYWORDS):
        yield f"- `{keyword}`, anywhere\n"
    for keyword, member in sorted(deviations.TOLERATED_FIELDS):
        yield f"- `{keyword}` of `{member}`\n"


def limits() -> Iterator[str]:
    """Yield the bounds of the channel."""
    require_words("limit", [f.name for f in fields(ChannelLimits)], LIMITS)
    defaults = ChannelLimits()
    rows = []
    for field in fields(ChannelLimits):
        setting = LIMIT_SETTINGS.get(field.name)
        shown = f"`{setting}`" if setting else ""
        value = getattr(defaults, field.name)
        default = f"{value:g}" if value < 1e5 else str(value)
        rows.append((f"`{field.name}`", default, shown, LIMITS[field.name]))
    yield table(("limit", "default", "setting", "what it bounds"), rows)


def tariff_members() -> Iterator[str]:
    """Yield what becomes of each member of OCPI 2.2.1's Tariff, by trying it."""
    for name, members in TARIFF_MEMBERS.items():
        rows = [(f"`{member}`", fate(name, member, value)) for member, value in members.items()]
        yield f"### {name}\n\n"
        yield table(("member", ""), rows)
        yield "\n"


def fate(name: str, member: str, value: object) -> str:
    """Return what becomes of one member of a tariff."""
    tariff: dict[str, object] = {"id": "T", "currency": "EUR"}
    component = dict(TARIFF_MEMBERS["PriceComponent"])
    element: dict[str, object] = {"price_components": [component]}
    tariff["elements"] = [element]
    if name == "TariffRestrictions":
        element["restrictions"] = {member: value}
    elif name == "Tariff" and member != "elements":
        tariff[member] = value
    try:
        tariff_from_ocpi(tariff)
    except Unsupported as error:
        return f"**refused** as `{error.field}`"
    if name == "Tariff" and member in WITHOUT_EFFECT:
        return "kept, changes no price"
    return "priced" if name != "Tariff" else "used"


def dimensions() -> Iterator[str]:
    """Yield the CDR dimensions that are read."""
    priced = ("ENERGY", "TIME", "PARKING_TIME")
    for word in CdrDimensionType:
        yield f"- `{word}`: {'priced' if word in priced else 'read, changes no price'}\n"


def routes() -> Iterator[str]:
    """Yield the routes of the OpenAPI document."""
    document = openapi_document(__version__)
    rows = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            query = [
                f"`{p['name']}`" for p in operation.get("parameters", ()) if p["in"] == "query"
            ]
            words = re.split(r"\.\s", cleaned(operation["description"]))[0].rstrip(".")
            rows.append((f"`{method.upper()} /api{path}`", words, ", ".join(query)))
    yield table(("route", "what it does", "query"), rows)


def roles() -> Iterator[str]:
    """Yield what each role may do, and how far it reaches."""
    named = [role for role in permissions.Role if role in permissions.ALLOWED]
    rows = [
        [f"`{action}`", *("yes" if action in permissions.ALLOWED[r] else "" for r in named)]
        for action in permissions.Action
    ]
    rows.append(["reach", *(permissions.REACH[r].replace("_", " ") for r in named)])
    heads = ["visitor" if role is permissions.Role.ANONYMOUS else str(role) for role in named]
    yield table(("action and scope", *heads), rows)


def standard_run() -> Iterator[str]:
    """Yield the steps of the standard run."""
    rows = [
        (
            str(number),
            f"`{spec.step}`",
            _once(spec.sends.values()),
            spec.expects,
            _once(spec.source.values()),
            spec.not_applicable or "",
        )
        for number, spec in enumerate(STEPS_OF_RUN, 1)
    ]
    head = ("", "step", "we send", "it passes if", "source", "does not apply to")
    yield table(head, rows)


def _once(texts: Iterable[str]) -> str:
    """Return texts of both versions, or the one that they share."""
    return " / ".join(dict.fromkeys(texts))


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "actions-1.6": lambda: actions(v16.DIALECT),
    "actions-2.0.1": lambda: actions(v201.DIALECT),
    "anomalies": anomalies,
    "cdr-dimensions": dimensions,
    "commands": commands,
    "deviations": tolerated,
    "errors": error_tree,
    "kinds": kinds,
    "faults": faults,
    "limits": limits,
    "meter-steps": meter_steps,
    "metrics": metrics,
    "proof-levels": proof_levels,
    "receipt-steps": receipt_steps,
    "roles": roles,
    "routes": routes,
    "settings": settings_tables,
    "standard-run": standard_run,
    "tariff-members": tariff_members,
}


def table(head: Sequence[str], rows: Rows) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def cleaned(text: str | None) -> str:
    """Return a docstring on one line a paragraph."""
    paragraphs = (text or "").strip().split("\n\n")
    return "\n\n".join(" ".join(p.split()) for p in paragraphs)


def require_words(what: str, facts: Iterable[str], words: Mapping[Any, object]) -> None:
    """Raise WordsMissing unless exactly these facts have words."""
    facts = set(facts)
    for fact in sorted(facts - words.keys()):
        raise WordsMissing(f"say in scripts/docs/words.py what the {what} {fact} means")
    for word in sorted(words.keys() - facts):
        raise WordsMissing(f"there is no {what} {word} any more: take it out of words.py")
