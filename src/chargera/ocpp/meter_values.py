"""Meter values of a message as samples: registers in Wh, powers in W, signed strings as bytes.

What billing and live pages use is taken; voltages, currents and the like stay in the raw frame.

* A register or power without phase is the total. Where an element gives phases only, the total
  is their sum (`L1` and `L1-N` name one phase).
* Values measured at the EV are not the station's; values at the inlet, before the station's own
  losses, stand back behind any other.
* Values are rounded half up to whole Wh and W, after the sum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from chargera.domain.messages import MeterSample, ReadingContext, SignedValue
from chargera.ocpp import fields
from chargera.ocpp.fields import Notes
from chargera.ocpp.framing import CallRefused, Fault, Payload

ENERGY = "Energy.Active.Import.Register"
POWER = "Power.Active.Import"
ELEMENTS_MAX = 5_000

Number = int | Decimal
Samples = tuple[MeterSample, ...]
Signed = tuple[SignedValue, ...]

EXPONENT_OF_UNIT: dict[str, dict[str | None, int]] = {
    ENERGY: {"": 0, "Wh": 0, "wh": 0, "kWh": 3, "kwh": 3, "mwh": 6},
    POWER: {"": 0, "W": 0, "w": 0, "kW": 3, "kw": 3, "mw": 6},
}
"""By measurand and unit, as it should be and in small letters: `kWH` and `KWH` are in the field."""

CONTEXTS = {
    "Transaction.Begin": ReadingContext.BEGIN,
    "Transaction.End": ReadingContext.END,
    "Sample.Periodic": ReadingContext.PERIODIC,
    "Sample.Clock": ReadingContext.CLOCK,
    None: ReadingContext.PERIODIC,
}

PHASES = {f"{line}{end}": line for line in ("L1", "L2", "L3") for end in ("", "-N")}


@dataclass(frozen=True, slots=True)
class Style:
    """How a version writes a `SampledValue`."""

    scale: Callable[[Payload], tuple[str | None, int]]
    """Returns unit and decimal exponent; None for a unit that cannot be read."""
    signed_member: str
    """The member without which there is no signed value."""
    signed_bytes: Callable[[Payload], bytes | None]
    """Returns the signed value; None: there is none after all."""
    signed_has_number: bool
    """Whether a plain number stands beside the signed value."""


_READ = (ENERGY, POWER, None)

_Quantities = dict[str | tuple[str, str], Number]
"""By measurand, or by measurand and phase."""
_Values = dict[ReadingContext, _Quantities]


def read(elements: list[Payload], style: Style, notes: Notes) -> tuple[Samples, Signed]:
    """Return the samples and signed values of a list of `MeterValue` elements."""
    samples: list[MeterSample] = []
    signed: list[SignedValue] = []
    if len(elements) > ELEMENTS_MAX:
        raise CallRefused(Fault.OCCURRENCE, f"meterValue: more than {ELEMENTS_MAX} elements")
    signed_member = style.signed_member
    for element in elements:
        at = fields.moment(element, "timestamp", notes)
        values: _Values = {}
        for sampled in fields.objects(element, "sampledValue"):
            if signed_member in sampled:
                signature = style.signed_bytes(sampled)
                if signature is not None:
                    signed.append(SignedValue(signature, _context(sampled), at))
                    if not style.signed_has_number:
                        continue
            measurand = sampled.get("measurand", ENERGY)
            if measurand in _READ:
                _take(values, sampled, measurand or ENERGY, style, notes)
        if values:
            _close(samples, values, at)
    return tuple(samples), tuple(signed)


def _context(sampled: Payload) -> ReadingContext:
    context: Any = sampled.get("context")
    if context is None or context.__class__ is str:
        return CONTEXTS.get(context, ReadingContext.OTHER)
    raise CallRefused(Fault.TYPE, "context: is no text")


def _take(values: _Values, sampled: Payload, measurand: str, style: Style, notes: Notes) -> None:
    """Put one value under its context, measurand and phase; what cannot be read is noted."""
    unit, multiplier = style.scale(sampled)
    exponents = EXPONENT_OF_UNIT[measurand]
    exponent = exponents.get(unit)
    if exponent is None and unit is not None:
        exponent = exponents.get(unit.casefold())
    value = fields.number(sampled.get("value"))
    if exponent is None or value is None:
        notes.append(f"{measurand}: value or unit cannot be read")
        return
    exponent += multiplier
    if exponent > 0:
        value = value * 10**exponent
    elif exponent < 0:
        value = Decimal(value).scaleb(exponent)
    key: str | tuple[str, str] = measurand
    phase = sampled.get("phase")
    if phase is not None:
        phase = PHASES.get(phase) if phase.__class__ is str else None
        if phase is None:
            return  # a difference between phases, or the neutral: no part of the total
        key = (measurand, phase)
    context = _context(sampled)
    quantities = values.get(context)
    if quantities is None:
        quantities = values[context] = {}
    location = sampled.get("location")
    if location == "EV" or (location == "Inlet" and key in quantities):
        return
    quantities[key] = value


def _close(samples: list[MeterSample], values: _Values, at: datetime) -> None:
    """Turn the values of one element into a sample for each context."""
    for context, quantities in values.items():
        register = _total(quantities, ENERGY)
        power = _total(quantities, POWER)
        if register is not None or power is not None:
            samples.append(MeterSample(at, context, register, power))


def _total(quantities: _Quantities, measurand: str) -> int | None:
    total = quantities.get(measurand)
    if total is None:
        phases = [
            quantities[key]
            for line in ("L1", "L2", "L3")
            if (key := (measurand, line)) in quantities
        ]
        if not phases:
            return None
        total = sum(phases)
    return fields.rounded(total)
