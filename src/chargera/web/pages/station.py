"""Stations: the list, and one station with its price, sessions, messages, commands and tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from chargera.app.admin_ports import MessageFilter, SessionFilter
from chargera.app.commands import MESSAGES, CommandName, CommandRequest
from chargera.app.permissions import Action
from chargera.app.registry import message_log, show_station, station_rows
from chargera.app.sessions import list_sessions
from chargera.app.station_tests import RunRequest
from chargera.app.tariffs import list_tariffs, show_tariff
from chargera.app.views import MessageView, SessionRow, StationView
from chargera.domain.errors import InvalidInput, NotFound
from chargera.web.live import Fragment
from chargera.web.pages.facts import Fact, exact
from chargera.web.pages.formats import DASH
from chargera.web.pages.frames import read_exchange
from chargera.web.pages.prices import PriceWords
from chargera.web.pages.rendering import Values, View
from chargera.web.pages.site import Site, Visit, see_other

STATIONS_A_PAGE = 60
SESSIONS_SHOWN = 20
MESSAGES_A_PAGE = 25
COMMANDS_SHOWN = 10

FRAGMENTS = (Fragment("station-head", "live/station_head.html"),)
TOPICS = frozenset({"session", "station"})


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of a command's form; with `choices` (value, label) it is a list."""

    name: str
    choices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CommandForm:
    """What a command asks for."""

    action: str
    fields: tuple[FormField, ...] = ()


async def show_stations(site: Site, request: Request) -> Response:
    """Answer `/stations`."""
    async with site.visit(request) as visit:
        rows = await station_rows(
            visit.work,
            visit.viewer,
            site.services.is_connected,
            after=request.query_params.get("after"),
            limit=STATIONS_A_PAGE,
        )
        words = PriceWords(visit.view.texts, visit.view.formats)
        tariffs = await list_tariffs(visit.work, visit.viewer)
        prices = {tariff.tariff_id: words.summary(tariff) for tariff in tariffs}
        more = None
        if len(rows) == STATIONS_A_PAGE:
            more = f"/stations?{urlencode({'after': rows[-1].station_id})}"
        values = {"stations": rows, "prices": prices, "next_page": more}
        return site.page(visit, "stations.html", "stations", values)


async def show_one_station(site: Site, request: Request) -> Response:
    """Answer `/s/{station_id}`."""
    station_id = request.path_params["station_id"]
    async with site.visit(request) as visit:
        values = dict(await gather_station(site, visit, station_id))
        view: StationView = values["view"]
        row, private = view.station, view.private
        values |= await _price(visit, row.tariff_id, row.tariff_version)
        values |= {
            "private": private,
            "facts": station_facts(visit.view, view)
            + _passport(visit.view, station_id, settles=site.services.settlement is not None),
            "sessions": await _sessions(visit, station_id),
            "live_url": f"/live/s/{quote(station_id, safe='')}",
        }
        values |= await _messages(visit, station_id, request.query_params)
        values["command_forms"] = command_forms(view, values["sessions"] or [])
        values["commands"], values["runs"] = [], None
        values["evses"] = sorted({plug.evse for plug in row.connectors})
        if private and private.may_command:
            values["commands"] = await visit.work.commands.rows(
                visit.viewer, station_id, COMMANDS_SHOWN
            )
            values["runs"] = await site.services.tests.rows(visit.viewer, station_id)
        return site.page(visit, "station.html", "stations", values)


async def gather_station(site: Site, visit: Visit, station_id: str) -> Values:
    """Return what the live fragment of a station shows."""
    view = await show_station(visit.work, visit.viewer, station_id, site.services.is_connected)
    return {"view": view, "station": view.station}


async def send_command(site: Site, request: Request) -> Response:
    """Answer the forms of a station's page: send the command and show what became of it."""
    station_id = request.path_params["station_id"]
    async with site.visit(request) as visit:
        fields = await site.form(request, visit)
        viewer = visit.viewer
    wanted = CommandRequest(
        station_id,
        fields.get("action", ""),
        evse=_evse(fields.get("evse")),
        id_token=fields.get("id_token"),
        session_id=fields.get("session_id"),
        message=fields.get("message"),
    )
    sent = await site.services.control.command(viewer, wanted)
    return see_other(f"/s/{quote(station_id, safe='')}#command-{sent.command_id}")


async def begin_test(site: Site, request: Request) -> Response:
    """Answer the form of the standard run: begin it and show how far it is."""
    station_id = request.path_params["station_id"]
    async with site.visit(request) as visit:
        fields = await site.form(request, visit)
        viewer = visit.viewer
    wanted = RunRequest(
        station_id, evse=_evse(fields.get("evse") or None), with_reset=fields.get("reset") == "yes"
    )
    await site.services.tests.start(viewer, wanted)
    return see_other(f"/s/{quote(station_id, safe='')}#standard-run")


def station_facts(view: View, station: StationView) -> list[Fact]:
    """Return what is known of a station, as far as the viewer may know it."""
    t, write, row, private = view.texts, view.formats, station.station, station.private
    key = station.meter_key_der_hex
    facts = [
        exact("station_id", row.station_id),
        Fact("manufacturer", row.manufacturer),
        Fact("model", row.model),
        exact("position", f"{row.latitude}, {row.longitude}"),
        Fact("time_zone", row.time_zone),
        Fact("registered_at", write.time(station.registered_at)),
        Fact("last_seen_at", write.time(row.last_seen_at)),
        exact("meter_key", key) if key else Fact("meter_key", t("fact.no_meter_key")),
    ]
    if row.ocpp_version:
        facts.append(Fact("ocpp_version", f"OCPP {row.ocpp_version}"))
    if private is not None:
        reported = " ".join(filter(None, (private.vendor_reported, private.model_reported)))
        facts += [
            exact("serial_number", private.serial_number),
            Fact("reported_as", reported or DASH),
            Fact("firmware_version", private.firmware_version or DASH),
            Fact("last_boot_at", write.time(private.last_boot_at)),
            Fact("ocpp_versions", ", ".join(private.ocpp_versions)),
            Fact("security_profile", write.number(private.security_profile)),
            Fact("host", private.host or DASH),
        ]
    return facts


def _passport(view: View, station_id: str, *, settles: bool) -> list[Fact]:
    """Return the way to a station's passport, in a network that has passports."""
    if not settles:
        return []
    href = f"/passport/{quote(station_id, safe='')}"
    return [Fact("passport", view.texts("fact.passport_of_station"), href=href)]


def command_forms(view: StationView, sessions: Sequence[SessionRow]) -> list[CommandForm]:
    """Return the forms of the commands that make sense now."""
    evses = sorted({plug.evse for plug in view.station.connectors})
    evse = FormField("evse", tuple((str(number), str(number)) for number in evses))
    running = tuple(
        (row.session_id, f"{row.evse}-{row.connector} · {row.session_id[-6:]}")
        for row in sessions
        if row.state == "charging"
    )
    forms = [CommandForm(CommandName.REMOTE_START, (evse, FormField("id_token")))]
    if running:
        forms.append(CommandForm(CommandName.REMOTE_STOP, (FormField("session_id", running),)))
    messages = tuple((name, name) for name in sorted(MESSAGES))
    return [
        *forms,
        CommandForm(CommandName.UNLOCK, (evse,)),
        CommandForm(CommandName.TRIGGER, (FormField("message", messages),)),
        CommandForm(CommandName.RESET),
    ]


async def _price(visit: Visit, tariff_id: str | None, version: int | None) -> Values:
    if tariff_id is None:
        return {"tariff": None, "price_lines": []}
    tariff = await show_tariff(visit.work, visit.viewer, tariff_id, version)
    words = PriceWords(visit.view.texts, visit.view.formats)
    return {"tariff": tariff, "price_lines": words.lines(tariff.document)}


async def _sessions(visit: Visit, station_id: str) -> list[SessionRow] | None:
    """Return the station's sessions that the viewer sees; None for who sees none anywhere."""
    if not visit.viewer.may(Action.SESSIONS_READ):
        return None
    wanted = SessionFilter(station_id=station_id, limit=SESSIONS_SHOWN)
    return await list_sessions(visit.work, visit.viewer, wanted)


async def _messages(visit: Visit, station_id: str, query: Mapping[str, str]) -> Values:
    """Return the message log for who may read it, filtered as the address says."""
    none: Values = {
        "messages": None,
        "older_messages": None,
        "message_filter": {},
        "message_actions": [],
    }
    if not visit.viewer.may(Action.MESSAGES_READ):
        return none
    chosen = {name: query.get(name) or None for name in ("action", "direction", "outcome")}
    try:
        rows = await message_log(visit.work, visit.viewer, station_id, _wanted(query))
    except NotFound:
        return none
    return {
        "messages": [read_exchange(row) for row in rows[:MESSAGES_A_PAGE]],
        "older_messages": _older(rows, chosen),
        "message_filter": chosen,
        "message_actions": sorted({row.action for row in rows if row.action}),
    }


def _wanted(query: Mapping[str, str]) -> MessageFilter:
    """Return what an address asks for, and one message more; what makes no sense asks for all."""
    before = query.get("before", "")
    return MessageFilter(
        before=int(before) if before.isdecimal() and len(before) < 19 else None,
        limit=MESSAGES_A_PAGE + 1,
        action=query.get("action") or None,
        inbound={"in": True, "out": False}.get(query.get("direction", "")),
        ok={"ok": True, "odd": False}.get(query.get("outcome", "")),
    )


def _older(rows: Sequence[MessageView], chosen: Mapping[str, str | None]) -> str | None:
    """Return the address of the messages before those that are shown."""
    if len(rows) <= MESSAGES_A_PAGE:
        return None
    before = rows[MESSAGES_A_PAGE - 1].message_no
    query = {name: value for name, value in chosen.items() if value} | {"before": before}
    return f"?{urlencode(query)}#messages"


def _evse(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isdecimal() and len(text) < 6):
        raise InvalidInput("an EVSE is a number", field="evse", remedy="choose one of the list")
    return int(text)
