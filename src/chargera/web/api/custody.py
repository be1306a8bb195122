"""Routes of custody: what happens to a charger after its registration, and its host's part."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import Response

from chargera.app import custody_requests, passport_views
from chargera.app.custody_requests import NOTE_CHARS_MAX, CustodyRequest
from chargera.app.custody_views import CustodyView, custody_rows, custody_view
from chargera.app.permissions import Action
from chargera.web.api.context import ApiCall, Call, SettlementServices, shown
from chargera.web.api.passports import PassportId, settlement_of, work_of
from chargera.web.api.shapes import Shape, answers

router = APIRouter(prefix="/passports", tags=["passports"])

StationId = Annotated[str, Path(max_length=48)]


class CustodyBody(Shape):
    """What happened to a charger; which members it needs depends on `kind`."""

    kind: str = Field(
        description="owner, operator, meter, firmware, location, repair or retirement"
    )
    note: str = Field(default="", max_length=NOTE_CHARS_MAX, description="for people; public")
    meter_key: str | None = Field(
        default=None, description="of a new meter that signs: public key, PEM or hex DER"
    )
    latitude: str | None = Field(default=None, description="of a move: decimal degrees as text")
    longitude: str | None = Field(default=None, description="likewise")
    time_zone: str | None = Field(default=None, description="of a move into another one")
    host: str | None = Field(default=None, description="of a change of owner: the new host")
    operator_id: str | None = Field(default=None, description="of a change of operator")


class CustodySignatureBody(Shape):
    """The host's signature of the custody record's digest."""

    signature: str


@router.get("/{passport_id}/custody", responses=answers(list[CustodyView]))
async def list_custody(call: ApiCall, passport_id: PassportId) -> Response:
    """List the custody records of a passport, oldest first."""
    services = settlement_of(call)
    work = work_of(call)
    row = await passport_views.find(work, passport_id)
    return shown(await custody_rows(work, services.terms, row.station_id, services.custodial))


@router.post("/{station_id}/custody", status_code=201, responses=answers(CustodyView, 201))
async def request_custody(call: ApiCall, station_id: StationId, body: CustodyBody) -> Response:
    """Begin a custody record. The same one again, while it is under way, is found."""
    call.caller.require(Action.PASSPORTS_WRITE)
    services = settlement_of(call)
    wanted = CustodyRequest(
        station_id=station_id,
        kind=body.kind,
        note=body.note,
        meter_key=body.meter_key,
        latitude=body.latitude,
        longitude=body.longitude,
        time_zone=body.time_zone,
        host=body.host,
        operator_id=body.operator_id,
    )
    made = await call.created(
        lambda: _request(call, services, wanted), forget=lambda view: [view.station_id]
    )
    services.wake()
    return made


async def _request(call: Call, services: SettlementServices, wanted: CustodyRequest) -> CustodyView:
    row = await custody_requests.open_custody(
        work_of(call), call.caller, services.terms, services.contracts, wanted, now=call.now
    )
    return custody_view(row, services.terms, services.custodial)


@router.post("/{station_id}/custody/signature", responses=answers(CustodyView))
async def sign_custody(
    call: ApiCall, station_id: StationId, body: CustodySignatureBody
) -> Response:
    """Take the host's signature of the record under way; it was made where his key is."""
    call.caller.require(Action.PASSPORTS_SIGN)
    services = settlement_of(call)
    row = await custody_requests.sign_custody(
        work_of(call), call.caller, services.terms, station_id, body.signature
    )
    answer = await call.changed(custody_view(row, services.terms, services.custodial))
    services.wake()
    return answer


@router.delete("/{station_id}/custody", responses=answers(CustodyView))
async def withdraw_custody(call: ApiCall, station_id: StationId) -> Response:
    """Give up the record under way, unless all have signed it."""
    call.caller.require(Action.PASSPORTS_WRITE)
    services = settlement_of(call)
    row = await custody_requests.withdraw_custody(work_of(call), call.caller, station_id)
    return await call.changed(custody_view(row, services.terms, services.custodial))
