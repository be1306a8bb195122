"""OCPI 2.2.1 documents that ChargEra reads and writes, and the price that follows from two of them.

`price_documents` is what `chargera tariff price` does: it needs no server, so that anyone can
check a bill with the tariff and the CDR, or with the readings.
"""

from collections.abc import Mapping
from datetime import datetime

from chargera.domain.errors import InvalidInput
from chargera.domain.pricing import (
    MAX_READINGS,
    Bill,
    ChargingState,
    MeteredSession,
    RegisterValue,
    StateChange,
    bill_as_json,
    price_periods,
    price_session,
)
from chargera.domain.tariff import Tariff
from chargera.proofs.ocpi_cdr import (
    AuthMethod,
    CdrFacts,
    CdrLocation,
    CdrToken,
    CdrTokenType,
    MeteredCdr,
    SignedData,
    SignedValue,
    cdr_from_ocpi,
    cdr_to_ocpi,
)
from chargera.proofs.ocpi_json import (
    Fields,
    encode_json,
    instant,
    list_of,
    located,
    one_of,
    parse_json,
    text,
    whole,
)
from chargera.proofs.ocpi_tariff import (
    normalise_tariff,
    tariff_digest,
    tariff_from_ocpi,
    tariff_to_ocpi,
    with_numbers,
)

__all__ = [
    "AuthMethod",
    "CdrFacts",
    "CdrLocation",
    "CdrToken",
    "CdrTokenType",
    "MeteredCdr",
    "SignedData",
    "SignedValue",
    "cdr_from_ocpi",
    "cdr_to_ocpi",
    "encode_json",
    "normalise_tariff",
    "parse_json",
    "price_documents",
    "session_from_json",
    "tariff_digest",
    "tariff_from_ocpi",
    "tariff_to_ocpi",
    "with_numbers",
]

_SESSION = frozenset({"started_at", "ended_at", "time_zone", "readings"})
_READING = frozenset({"at", "register_wh", "state"})


def price_documents(
    tariff: Mapping[str, object],
    *,
    cdr: Mapping[str, object] | None = None,
    session: Mapping[str, object] | None = None,
    time_zone: str | None = None,
) -> dict[str, object]:
    """Price a CDR or a session (exactly one of them) and return the bill as `bill_as_json` does.

    Local times are those of `time_zone`; without it the session's own, and UTC for a CDR.

    Raises:
        InvalidInput: a document is wrong (`field` is the path in it), refused by name, or in
            another currency than the tariff.
    """
    priced = tariff_from_ocpi(tariff)
    if (cdr is None) == (session is None):
        raise InvalidInput("give a CDR or a session", remedy="give exactly one of the two")
    if cdr is not None:
        return bill_as_json(_price_cdr(priced, cdr_from_ocpi(cdr), time_zone or "UTC"))
    metered = session_from_json(session, time_zone=time_zone)
    return bill_as_json(price_session(priced, metered))


def session_from_json(document: object, *, time_zone: str | None = None) -> MeteredSession:
    """Read `{started_at, ended_at, time_zone, readings: [{at, register_wh, state}]}`.

    `time_zone` (the argument first) defaults to UTC. A reading without `state` leaves it as it
    was. Readings are in order of time.

    Raises:
        InvalidInput: a member is missing, wrong or not known; `field` is its path.
    """
    fields = Fields.of(document, "", _SESSION)
    own_zone = fields.optional("time_zone", text(64))
    readings = fields.optional("readings", list_of(_reading, MAX_READINGS)) or ()
    started_at = fields.required("started_at", instant)
    ended_at = fields.required("ended_at", instant)
    registers = tuple(RegisterValue(at, register_wh) for at, register_wh, _ in readings)
    changes = tuple(StateChange(at, state) for at, _, state in readings if state is not None)
    zone = time_zone or own_zone or "UTC"
    with located("", {"registers": "readings"}):
        return MeteredSession(started_at, ended_at, zone, registers, changes)


def _reading(value: object, path: str) -> tuple[datetime, int, ChargingState | None]:
    fields = Fields.of(value, path, _READING)
    return (
        fields.required("at", instant),
        fields.required("register_wh", whole),
        fields.optional("state", one_of(ChargingState)),
    )


def _price_cdr(tariff: Tariff, cdr: MeteredCdr, time_zone: str) -> Bill:
    if cdr.currency != tariff.currency:
        raise InvalidInput(
            f"the CDR is in {cdr.currency}, the tariff in {tariff.currency}",
            field="currency",
            remedy="price it with the tariff of its session",
        )
    return price_periods(
        tariff,
        cdr.periods,
        started_at=cdr.started_at,
        ended_at=cdr.ended_at,
        time_zone=time_zone,
    )
