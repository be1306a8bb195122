"""Meter values of a message as samples: registers in Wh, powers in W, signed strings as bytes.

What billing and live pages use is taken; voltages, currents and the like stay in the raw frame.

* A register or power without phase is the total. Where an element gives phases only, the total
  is their sum (`L1` and `L1-N` name one phase).
* Values measured at the EV are not the station's; values at the inlet, before the station's own
  losses, stand back behind any other.
* Values are rounded half up to whole Wh and W, after the sum.
"""

from collections.abc import Callable
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
Scale = Callable[[Payload], tuple[str, int] | None]
"""Returns unit and decimal exponent of a sampled value; None if they cannot be read."""
SignedBytes = Callable[[Payload], tuple[bytes, bool] | None]
"""Returns a sampled value's signed bytes and whether it is a plain number besides; None: none."""

EXPONENT_OF_UNIT = {
    (ENERGY, ""): 0,
    (ENERGY, "wh"): 0,
    (ENERGY, "kwh"): 3,
    (ENERGY, "mwh"): 6,
    (POWER, ""): 0,
    (POWER, "w"): 0,
    (POWER, "kw"): 3,
    (POWER, "mw"): 6,
}
"""By measurand and unit, without regard to case: `kWH` and `KWH` are in the field."""

CONTEXTS = {
    "Transaction.Begin": ReadingContext.BEGIN,
    "Transaction.End": ReadingContext.END,
    "Sample.Periodic": ReadingContext.PERIODIC,
    "Sample.Clock": ReadingContext.CLOCK,
    None: ReadingContext.PERIODIC,
}

PHASES = {f"{line}{end}": line for line in ("L1", "L2", "L3") for end in ("", "-N")}

_Values = dict[tuple[ReadingContext, str, str | None], Number]


def read(
    elements: list[Payload], scale: Scale, signed_bytes: SignedBytes, notes: Notes
) -> tuple[Samples, Signed]:
    """Return the samples and signed values of a list of `MeterValue` elements."""
    samples: list[MeterSample] = []
    signed: list[SignedValue] = []
    if len(elements) > ELEMENTS_MAX:
        raise CallRefused(Fault.OCCURRENCE, f"meterValue: more than {ELEMENTS_MAX} elements")
    for element in elements:
        at = fields.moment(element, "timestamp", notes)
        values: _Values = {}
        for sampled in fields.objects(element, "sampledValue"):
            measurand = sampled.get("measurand", ENERGY)
            signature = signed_bytes(sampled)
            if signature is not None:
                signed.append(SignedValue(signature[0], _context(sampled), at))
                if not signature[1]:
                    continue
            if measurand in (ENERGY, POWER, None):
                _take(values, sampled, measurand or ENERGY, scale, notes)
        if values:
            _close(samples, values, at)
    return tuple(samples), tuple(signed)


def _context(sampled: Payload) -> ReadingContext:
    context: Any = sampled.get("context")
    if context is None or context.__class__ is str:
        return CONTEXTS.get(context, ReadingContext.OTHER)
    raise CallRefused(Fault.TYPE, "context: is no text")


def _take(values: _Values, sampled: Payload, measurand: str, scale: Scale, notes: Notes) -> None:
    """Put one value under its context, measurand and phase; what cannot be read is noted."""
    unit = scale(sampled)
    exponent = None if unit is None else EXPONENT_OF_UNIT.get((measurand, unit[0].casefold()))
    value = fields.number(sampled.get("value"))
    if exponent is None or unit is None or value is None:
        notes.append(f"{measurand}: value or unit cannot be read")
        return
    exponent += unit[1]
    if exponent > 0:
        value = value * 10**exponent
    elif exponent < 0:
        value = Decimal(value).scaleb(exponent)
    phase = sampled.get("phase")
    if phase is not None:
        phase = PHASES.get(phase) if phase.__class__ is str else None
        if phase is None:
            return  # a difference between phases, or the neutral: no part of the total
    key = (_context(sampled), measurand, phase)
    location = sampled.get("location")
    if location == "EV" or (location == "Inlet" and key in values):
        return
    values[key] = value


def _close(samples: list[MeterSample], values: _Values, at: datetime) -> None:
    """Turn the values of one element into a sample for each context."""
    for context in dict.fromkeys(key[0] for key in values):
        register = _total(values, context, ENERGY)
        power = _total(values, context, POWER)
        if register is not None or power is not None:
            samples.append(MeterSample(at, context, register, power))


def _total(values: _Values, context: ReadingContext, measurand: str) -> int | None:
    total = values.get((context, measurand, None))
    if total is None:
        phases = [
            values[key]
            for line in ("L1", "L2", "L3")
            if (key := (context, measurand, line)) in values
        ]
        if not phases:
            return None
        total = sum(phases)
    return fields.rounded(total)
