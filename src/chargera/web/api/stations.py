"""Routes of stations: registration, password, tariff, messages, commands and standard runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from chargera.app import passport_views, passports, registry, tariffs
from chargera.app.admin_ports import MessageFilter
from chargera.app.commands import CommandRequest
from chargera.app.passport_views import ConsentView
from chargera.app.permissions import Action
from chargera.app.registry import Registered, Registration
from chargera.app.station_tests import RunRequest, RunView
from chargera.app.views import CommandView, MessageView, StationRow, station_json
from chargera.web.api.context import ApiCall, Call, LongCall, page, shown
from chargera.web.api.passports import HostBody, work_of
from chargera.web.api.shapes import PAGE_MAX, Limit, Shape, answers, pages

router = APIRouter(prefix="/stations", tags=["stations"])

StationId = Annotated[str, Path(max_length=48)]


class RegistrationBody(Shape):
    """What a station is registered as."""

    station_id: str
    manufacturer: str
    model: str
    serial_number: str
    latitude: str = Field(description="decimal degrees as text", examples=["52.3702"])
    longitude: str = Field(description="decimal degrees as text", examples=["4.8952"])
    evse: str = Field(description="N:TYPE:WATTS,...", examples=["1:type2:22000,2:ccs2:150000"])
    profile: int = Field(description="OCPP security profile: 1, 2 or 3")
    time_zone: str = "UTC"
    ocpp: list[str] = Field(default=["1.6", "2.0.1"], max_length=4)
    allow_plain: bool = False
    meter_key: str | None = Field(default=None, description="public key, PEM or hex DER")
    host: str | None = Field(default=None, description="name of a login with the role host")
    owner: HostBody | None = Field(default=None, description="whose charger it is, on chain")


@dataclass(frozen=True, slots=True)
class RegisteredStation:
    """A registered station and its passport's registration; None: nothing settles on chain here."""

    station_id: str
    password: str | None
    registration: str | None = None
    """pending, registered, refused or retired."""
    passport_id: str | None = None
    registration_hash: str | None = None
    transaction_hash: str | None = None
    consent: ConsentView | None = None
    """What the host is still to sign."""
    metadata: Mapping[str, Any] | None = None
    refusal: str | None = None


class PasswordBody(Shape):
    """A station's new password; without one it is generated."""

    password: str | None = None


class TariffBody(Shape):
    """Which tariff prices a station's new sessions."""

    tariff_id: str


class CommandBody(Shape):
    """A command; which members it needs depends on `command`."""

    command: str = Field(description="remote-start, remote-stop, reset, unlock or trigger")
    evse: int | None = None
    connector: int | None = None
    id_token: str | None = None
    session_id: str | None = None
    hard: bool = False
    message: str | None = None


class TestBody(Shape):
    """A standard run; without `evse` the first EVSE where nothing charges."""

    evse: int | None = None
    connector: int | None = None
    reset: bool = Field(default=False, description="reset the station as the last step")


@router.post("", status_code=201, responses=answers(RegisteredStation, 201))
async def register(call: ApiCall, body: RegistrationBody) -> Response:
    """Register a station. The same facts again find it, without its password."""
    wanted = Registration(
        station_id=body.station_id,
        manufacturer=body.manufacturer,
        model=body.model,
        serial_number=body.serial_number,
        latitude=body.latitude,
        longitude=body.longitude,
        evse=body.evse,
        profile=body.profile,
        time_zone=body.time_zone,
        ocpp_versions=tuple(body.ocpp),
        allow_plain=body.allow_plain,
        meter_key=body.meter_key,
        host=body.host,
    )
    return await call.created(
        lambda: _register(call, wanted, body.owner),
        secret="password",  # noqa: S106 - the name of a member
        forget=lambda made: [made.station_id],
    )


async def _register(call: Call, wanted: Registration, owner: HostBody | None) -> RegisteredStation:
    """Register a station, and begin the registration of its passport."""
    registered = await registry.register_station(
        call.work,
        call.caller,
        wanted,
        passwords=call.services.passwords,
        entropy=call.services.entropy,
        now=call.now,
    )
    settlement = call.services.settlement
    if settlement is None:
        return RegisteredStation(registered.station_id, registered.password)
    station = await call.work.stations.registered(registered.station_id)
    assert station is not None, "it was just registered"
    row = await passports.open_registration(
        work_of(call),
        station,
        settlement.terms,
        None if owner is None else owner.host(),
        entropy=call.services.entropy,
        now=call.now,
    )
    view = passport_views.view_of(row, settlement.terms)
    return RegisteredStation(
        registered.station_id,
        registered.password,
        view.registration,
        view.passport_id,
        view.registration_hash,
        view.transaction_hash,
        view.consent,
        view.metadata,
        view.refusal,
    )


@router.get("", responses=pages(StationRow))
async def list_stations(
    call: ApiCall,
    after: Annotated[str | None, Query(max_length=48)] = None,
    limit: Limit = PAGE_MAX,
) -> Response:
    """List stations in order of their ids; a host sees its own."""
    rows = await registry.station_rows(
        call.work, call.caller, call.services.is_connected, after=after, limit=limit
    )
    return page(rows, limit, lambda row: row.station_id)


@router.get("/{station_id}", responses=answers(StationRow))
async def show_station(call: ApiCall, station_id: StationId) -> Response:
    """Show one station; what is not public only to who runs or audits it."""
    view = await registry.show_station(
        call.work, call.caller, station_id, call.services.is_connected
    )
    return shown(station_json(view))


@router.post("/{station_id}/password", responses=answers(Registered))
async def set_password(call: ApiCall, station_id: StationId, body: PasswordBody) -> Response:
    """Replace a station's password; the new one is shown once."""
    return await call.created(
        lambda: _new_password(call, station_id, body.password),
        secret="password",  # noqa: S106 - the name of a member
        forget=lambda made: [station_id],
        status=200,
    )


async def _new_password(call: Call, station_id: str, password: str | None) -> Registered:
    chosen = await registry.set_station_password(
        call.work,
        call.caller,
        station_id,
        password,
        passwords=call.services.passwords,
        entropy=call.services.entropy,
        now=call.now,
    )
    return Registered(station_id, chosen)


@router.put("/{station_id}/tariff", responses=answers(tariffs.Published))
async def assign_tariff(call: ApiCall, station_id: StationId, body: TariffBody) -> Response:
    """From now on price the station's new sessions by this tariff."""
    published = await tariffs.assign_tariff(
        call.work, call.caller, station_id, body.tariff_id, now=call.now
    )
    return await call.changed(published, forget=[station_id])


@router.get("/{station_id}/messages", responses=pages(MessageView))
async def list_messages(
    call: ApiCall,
    station_id: StationId,
    before: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
    limit: Limit = PAGE_MAX,
    action: Annotated[str | None, Query(max_length=64)] = None,
    inbound: bool | None = None,
    ok: bool | None = None,
) -> Response:
    """List the exchanges with a station, newest first, as they went over the wire.

    `inbound` true: what the station said. `ok` false: what was not answered as usual.
    """
    wanted = MessageFilter(before, limit, action, inbound, ok)
    rows = await registry.message_log(call.work, call.caller, station_id, wanted)
    return page(rows, limit, lambda row: row.message_no)


@router.post("/{station_id}/commands", responses=answers(CommandView))
async def command(call: LongCall, station_id: StationId, body: CommandBody) -> Response:
    """Send a command and wait for the station's answer."""
    wanted = CommandRequest(
        station_id=station_id,
        name=body.command,
        evse=body.evse,
        connector=body.connector,
        id_token=body.id_token,
        session_id=body.session_id,
        hard=body.hard,
        message=body.message,
    )
    key = call.request.headers.get("Idempotency-Key")
    return shown(await call.services.control.command(call.caller, wanted, key))


@router.get("/{station_id}/commands", responses=answers(list[CommandView]))
async def list_commands(call: ApiCall, station_id: StationId, limit: Limit = 100) -> Response:
    """List a station's last commands, newest first."""
    call.caller.require(Action.STATIONS_COMMAND)
    if not await call.work.stations.reaches(call.caller, station_id):
        raise registry.no_station(station_id)
    return shown(await call.work.commands.rows(call.caller, station_id, limit))


@router.get("/{station_id}/commands/{command_id}", responses=answers(CommandView))
async def show_command(call: LongCall, station_id: StationId, command_id: UUID) -> Response:
    """Show a command as it stands now, with the session that it started."""
    return shown(await call.services.control.show(call.caller, str(command_id)))


@router.post("/{station_id}/tests", status_code=202, responses=answers(RunView, 202))
async def begin_test(call: LongCall, station_id: StationId, body: TestBody) -> Response:
    """Begin the standard run of the version that the station speaks now; it goes on by itself."""
    wanted = RunRequest(station_id, body.evse, body.connector, body.reset)
    key = call.request.headers.get("Idempotency-Key")
    return shown(await call.services.tests.start(call.caller, wanted, key), 202)


@router.get("/{station_id}/tests", responses=answers(list[RunView]))
async def list_tests(call: LongCall, station_id: StationId) -> Response:
    """List a station's standard runs, newest first."""
    return shown(await call.services.tests.rows(call.caller, station_id))


@router.get("/{station_id}/tests/{run_id}", responses=answers(RunView))
async def show_test(call: LongCall, station_id: StationId, run_id: UUID) -> Response:
    """Show a standard run: the steps made so far, or what became of it."""
    return shown(await call.services.tests.show(call.caller, station_id, str(run_id)))
