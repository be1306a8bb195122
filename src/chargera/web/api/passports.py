"""Routes of passports: how far each is, what it says, and the host's consent."""

from typing import Annotated, Any, cast

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import Response

from chargera.app import passport_views, passports
from chargera.app.custody_views import located
from chargera.app.passport_views import PassportView
from chargera.app.passports import Host
from chargera.app.permissions import Action
from chargera.domain.errors import Unavailable
from chargera.proofs.ocpi_json import encode_json
from chargera.proofs.ocpi_location import location_to_ocpi
from chargera.web.api.context import ApiCall, Call, SettlementServices, json_bytes, shown
from chargera.web.api.shapes import Shape, answers

router = APIRouter(prefix="/passports", tags=["passports"])

PassportId = Annotated[str, Path(max_length=66, description="passport id or station id")]


class HostBody(Shape):
    """Whose charger it is, and what he signed."""

    address: str = Field(description="0x and 40 hex digits")
    consent: str | None = Field(default=None, description="his signature of the consent")
    nonce: str | None = Field(default=None, description="of a consent that was signed beforehand")
    commission_bps: int = Field(default=passports.COMMISSION_BPS, ge=0, le=8_000)

    def host(self) -> Host:
        """Return it as the use case takes it."""
        return Host(self.address, self.consent, self.nonce, self.commission_bps)


class ConsentBody(Shape):
    """The host's signature of his consent."""

    signature: str


def settlement_of(call: Call) -> SettlementServices:
    """Return what settles on chain. Raises Unavailable where nothing does."""
    found = call.services.settlement
    if found is None:
        raise Unavailable(
            "this network settles nothing on chain",
            remedy="start the server with settlement.enabled = true",
        )
    return found


def work_of(call: Call) -> Any:
    """Return the unit of work with the parts that settlement has in it."""
    return cast("Any", call.work)


@router.get("", responses=answers(list[PassportView]))
async def list_passports(call: ApiCall) -> Response:
    """List all registrations, newest first."""
    services = settlement_of(call)
    return shown(await passport_views.rows(work_of(call), services.terms))


@router.get("/{passport_id}", responses=answers(PassportView))
async def show_passport(call: ApiCall, passport_id: PassportId) -> Response:
    """Show a passport, and what a pending one waits for."""
    services = settlement_of(call)
    return shown(
        await passport_views.show(
            work_of(call), services.terms, services.contracts, passport_id, services.custodial
        )
    )


@router.get("/{passport_id}/location", responses=answers(dict[str, object]))
async def show_location(call: ApiCall, passport_id: PassportId) -> Response:
    """Show a passport's metadata, where it stands now, as an OCPI 2.2.1 Location."""
    settlement_of(call)
    row = await passport_views.find(work_of(call), passport_id)
    location = location_to_ocpi(*await located(work_of(call), row))
    return json_bytes(encode_json(location))


@router.get("/{passport_id}/export", responses=answers(dict[str, object]))
async def export_passport(call: ApiCall, passport_id: PassportId) -> Response:
    """Give the file by which a stranger recomputes a passport, byte for byte."""
    services = settlement_of(call)
    row = await passport_views.find(work_of(call), passport_id)
    return json_bytes(await services.passport_file(row))


@router.post("/{station_id}/consent", responses=answers(PassportView))
async def give_consent(
    call: ApiCall, station_id: Annotated[str, Path(max_length=48)], body: ConsentBody
) -> Response:
    """Take the host's signature of his consent; it was made where his key is."""
    call.caller.require(Action.STATIONS_REGISTER)
    services = settlement_of(call)
    row = await passports.give_consent(work_of(call), services.terms, station_id, body.signature)
    return await call.changed(passport_views.view_of(row, services.terms))
