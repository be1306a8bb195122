"""A bill as an OCPI 2.2.1 CDR that any partner can price again."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from chargera.app.billing import BillingCase, facts_of
from chargera.domain.bill import Bill
from chargera.domain.countries import alpha3
from chargera.domain.errors import Conflict, NotFound
from chargera.domain.messages import ReadingContext
from chargera.domain.station import Connector
from chargera.proofs import records
from chargera.proofs.cdr import Correction, SessionFacts, judge
from chargera.proofs.ocpi_cdr import (
    AuthMethod,
    CdrFacts,
    CdrLocation,
    CdrToken,
    CdrTokenType,
    SignedData,
    SignedValue,
    cdr_to_ocpi,
)
from chargera.proofs.ocpi_location import NOT_GIVEN, PLUGS

NATURES = {ReadingContext.BEGIN: "Start", ReadingContext.END: "End"}


class CdrWork(Protocol):
    """The database as the export needs it."""

    async def load_case(self, session_id: str) -> BillingCase | None:
        """Return one session with all that its bill depends on."""

    async def id_token_text(self, session_id: str) -> str | None:
        """Return the identifier as it was presented; None without one or after erasure."""

    async def tariff_document(self, tariff_id: str, version: int) -> Mapping[str, Any]:
        """Return a tariff version's OCPI document."""


@dataclass(frozen=True, slots=True)
class _Billed:
    case: BillingCase
    bill: Bill
    connector: Connector


async def cdr_document(work: CdrWork, session_id: str) -> dict[str, object]:
    """Return the OCPI 2.2.1 CDR of a session's bill that stands, its tariff inside.

    Raises NotFound, Conflict if there is no bill.
    """
    case = await work.load_case(session_id)
    if case is None:
        raise NotFound(f"there is no session {session_id}", field="session_id")
    if case.current is None or case.tariff is None:
        raise Conflict(
            f"session {session_id} has no bill yet",
            field="session_id",
            remedy="a session is billed within seconds of its end, unless it is in review",
        )
    record = case.current.record
    judgement = judge(_as_billed(case, record))
    assert judgement.bill is not None, "what was billed can be billed again"
    connector = case.station.connector_of(record["evse"], record["connector"])
    assert connector is not None, "a billed session was at a registered connector"
    facts = _facts(
        _Billed(case, judgement.bill, connector), record, await work.id_token_text(session_id)
    )
    tariff = await work.tariff_document(record["tariff"]["tariff_id"], record["tariff"]["version"])
    return dict(cdr_to_ocpi(judgement.bill, facts, tariff))


def _as_billed(case: BillingCase, record: Mapping[str, Any]) -> SessionFacts:
    """Return the facts of the bill that stands: its readings, and a person's correction."""
    correction = record["correction"]
    facts = facts_of(case)
    if correction is not None:
        times = {
            name: records.time_value(correction[name], field=f"correction.{name}")
            for name in ("started_at", "ended_at")
        }
        facts = replace(facts, correction=Correction(**{**correction, **times}))
    return replace(facts, events=facts.events[: record["events"]["count"]])


def _facts(billed: _Billed, record: Mapping[str, Any], id_token: str | None) -> CdrFacts:
    case = billed.case
    country_code, party_id = record["operator_id"].split("*")
    started_by_us = case.transaction.remote_start_id is not None
    return CdrFacts(
        cdr_id=record["cdr_id"],
        country_code=country_code,
        party_id=party_id,
        session_id=record["session_id"],
        started_at=records.time_value(record["started_at"], field="started_at"),
        ended_at=records.time_value(record["ended_at"], field="ended_at"),
        token=_token(country_code, party_id, id_token),
        auth_method=AuthMethod.COMMAND if started_by_us else AuthMethod.AUTH_REQUEST,
        location=_location(billed, country_code),
        last_updated=records.time_value(record["ended_at"], field="ended_at"),
        signed_data=_signed_data(case),
    )


def _token(country_code: str, party_id: str, id_token: str | None) -> CdrToken:
    if id_token is None:
        return CdrToken(country_code, party_id, "unknown", CdrTokenType.OTHER, "unknown")
    return CdrToken(country_code, party_id, id_token, CdrTokenType.RFID, id_token)


def _location(billed: _Billed, country_code: str) -> CdrLocation:
    station, connector = billed.case.station, billed.connector
    plug = PLUGS[connector.connector_type]
    evse_uid = f"{station.station_id[:30]}-{connector.evse}"
    return CdrLocation(
        location_id=station.station_id[:36],
        address=NOT_GIVEN,
        city=NOT_GIVEN,
        country=alpha3(country_code),
        latitude=station.latitude,
        longitude=station.longitude,
        evse_uid=evse_uid,
        evse_id=evse_uid,
        connector_id=str(connector.connector),
        connector_standard=plug.standard,
        connector_format=plug.form,
        connector_power_type=plug.power_type,
        name=f"{station.manufacturer} {station.model}",
    )


def _signed_data(case: BillingCase) -> SignedData | None:
    """Return the meter's own proof, as it came."""
    if not case.signed:
        return None
    values = tuple(
        SignedValue(
            NATURES.get(value.context, "Intermediate"),
            "",
            base64.b64encode(value.raw).decode("ascii"),
        )
        for value in case.signed
    )
    key = case.station.meter_key_der_hex
    public_key = base64.b64encode(bytes.fromhex(key)).decode("ascii") if key else None
    return SignedData("OCMF", values, public_key=public_key)
