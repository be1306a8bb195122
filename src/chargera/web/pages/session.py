"""One charging session: live while it runs, afterwards its bill and its proof, step by step."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import orjson
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from chargera.app.admin_ports import SessionFilter
from chargera.app.registry import show_station
from chargera.app.sessions import is_link_key, list_sessions, show_session
from chargera.app.views import ReadingView, SessionView, as_json, session_json
from chargera.domain.errors import Conflict, NotFound, Refused
from chargera.proofs.receipt import parse_receipt
from chargera.proofs.records import time_text
from chargera.web.live import Fragment
from chargera.web.pages.bill import bill_of
from chargera.web.pages.charts import Chart, Point, draw_chart
from chargera.web.pages.facts import Fact, exact
from chargera.web.pages.formats import DASH
from chargera.web.pages.proof_line import ProofLine, ProofWords
from chargera.web.pages.rendering import Values, View
from chargera.web.pages.review import gather_review
from chargera.web.pages.site import Site, Visit

SESSIONS_A_PAGE = 50

FRAGMENTS = (
    Fragment("session-now", "live/session_now.html"),
    Fragment("session-charts", "live/session_charts.html"),
    Fragment("session-bill", "live/session_bill.html"),
    Fragment("session-proof", "live/session_proof.html"),
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

CSV_COLUMNS = (
    "n",
    "at",
    "received_at",
    "kind",
    "context",
    "seq_no",
    "register_wh",
    "power_w",
    "charging",
)


async def show_sessions(site: Site, request: Request) -> Response:
    """Answer `/sessions`: those that the viewer sees, newest first."""
    query = request.query_params
    wanted = SessionFilter(
        station_id=query.get("station") or None,
        state=query.get("state") or None,
        before=query.get("before"),
        limit=SESSIONS_A_PAGE,
    )
    async with site.visit(request) as visit:
        rows = await list_sessions(visit.work, visit.viewer, wanted)
        older = None
        if len(rows) == SESSIONS_A_PAGE:
            chosen = {"station": wanted.station_id, "state": wanted.state}
            kept = {name: value for name, value in chosen.items() if value}
            older = f"/sessions?{urlencode(kept | {'before': rows[-1].session_id})}"
        filters = {"station": wanted.station_id, "state": wanted.state}
        values = {"rows": rows, "next_page": older, "filter": filters}
        return site.page(visit, "sessions.html", "sessions", values)


async def show_one_session(site: Site, request: Request) -> Response:
    """Answer `/session/{session_id}`."""
    session_id = request.path_params["session_id"]
    key = request.query_params.get("key")
    async with site.visit(request) as visit:
        values = dict(await gather_session(site, visit, session_id, key))
        live_url = f"/live/session/{session_id}{_key_query(key)}"
        values |= {
            "facts": session_facts(visit.view, values["view"]),
            "live_url": live_url,
            **await gather_review(visit, values["view"]),
        }
        return site.page(visit, "session.html", "sessions", values)


async def gather_session(site: Site, visit: Visit, session_id: str, key: str | None) -> Values:
    """Return what the live fragments of a session show."""
    view = await _session(site, visit, session_id, key)
    row = view.session
    receipt = await _receipt(site, view)
    bill = bill_of(visit.view, view)
    is_final = bill is not None and bill.is_final
    links = _links(session_id, key)
    now = site.services.clock.now()
    return {
        "view": view,
        "row": row,
        "phase": _phase(view),
        "lasted": visit.view.formats.duration((row.ended_at or now) - row.started_at),
        "said": _said(visit.view, view),
        "power_chart": power_chart(view.readings),
        "energy_chart": energy_chart(view.readings),
        "bill": bill,
        "proof": await _proof(site, visit, view, receipt),
        "receipt_url": links.receipt if is_final and receipt else None,
        "cdr_url": links.cdr,
        "csv_url": links.readings,
        "json_url": links.json,
    }


async def download_readings(site: Site, request: Request) -> Response:
    """Answer `/session/{session_id}/readings.csv`: everything that the charts show."""
    session_id = request.path_params["session_id"]
    async with site.visit(request) as visit:
        view = await _session(site, visit, session_id, request.query_params.get("key"))
    name = f'attachment; filename="session-{quote(session_id, safe="")}.csv"'
    return Response(
        readings_csv(view.readings),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": name, "Cache-Control": "no-store"},
    )


async def download_session(site: Site, request: Request) -> Response:
    """Answer `/session/{session_id}/session.json`, for who came by the session's link."""
    session_id = request.path_params["session_id"]
    async with site.visit(request) as visit:
        view = await _session(site, visit, session_id, request.query_params.get("key"))
    return _json(orjson.dumps(as_json(session_json(view))))


async def download_receipt(site: Site, request: Request) -> Response:
    """Answer `/session/{session_id}/receipt.json`, for who came by the session's link."""
    session_id = request.path_params["session_id"]
    async with site.visit(request) as visit:
        await _session(site, visit, session_id, request.query_params.get("key"))
    return _json(await site.services.receipt(session_id))


def readings_csv(readings: Sequence[ReadingView]) -> str:
    """Return the readings in the order of their arrival, one a line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")  # RFC 4180
    writer.writerow(CSV_COLUMNS)
    for reading in readings:
        values = [getattr(reading, column) for column in CSV_COLUMNS]
        writer.writerow([time_text(v) if isinstance(v, datetime) else v for v in values])
    return text.getvalue()


def power_chart(readings: Sequence[ReadingView]) -> Chart | None:
    """Return the power over the session's time; what was reported holds until the next value."""
    return draw_chart(_series(readings, "power_w"), "steps", _window(readings))


def energy_chart(readings: Sequence[ReadingView]) -> Chart | None:
    """Return the energy since the first register."""
    registers = _series(readings, "register_wh")
    if len(registers) < 2:
        return None
    first = registers[0].value
    risen = [Point(at, max(value - first, 0)) for at, value in registers]
    return draw_chart(risen, "slopes", _window(readings))


def session_facts(view: View, session: SessionView) -> list[Fact]:
    """Return what is known of a session, each with its place in the log where it has one."""
    write, row, t = view.formats, session.session, view.texts
    facts = [
        exact("session_id", row.session_id),
        Fact("station_id", row.station_id, href=f"/s/{quote(row.station_id, safe='')}"),
        Fact("ocpp_version", f"OCPP {row.ocpp_version}"),
        Fact("time_zone", session.time_zone),
    ]
    if row.transaction_id is not None:
        facts.append(exact("transaction_id", row.transaction_id))
    if session.id_token is not None:
        facts.append(exact("id_token", session.id_token))
    if session.id_token_status is not None:
        word = t.word("id_token_status", session.id_token_status.lower())
        facts.append(Fact("id_token_status", word))
    for key, register in (("meter_start", row.meter_start_wh), ("meter_stop", row.meter_stop_wh)):
        if register is not None:
            facts.append(Fact(key, write.energy_exact(register), str(register)))
    if session.stop_reason is not None:
        facts.append(Fact("stop_reason", session.stop_reason))
    if session.tariff_id is not None:
        word = t("tariff.version", tariff=session.tariff_id, version=session.tariff_version)
        href = f"/tariffs#{quote(session.tariff_id, safe='')}"
        facts.append(Fact("tariff", word, href=href))
    facts += _settlement(view, row.settlement)
    entries = {
        "tariff_entry": session.tariff_log_index,
        "started_entry": session.started_log_index,
        "ended_entry": session.ended_log_index,
        "cdr_entry": row.cdr_log_index,
    }
    facts += [
        Fact(key, t("entry.numbered", index=write.number(index)), href=f"/log/entry/{index}")
        for key, index in entries.items()
        if index is not None
    ]
    return facts


def _settlement(view: View, said: Mapping[str, Any] | None) -> list[Fact]:
    """Return how far the bill is settled on chain; nothing where none is."""
    if said is None:
        return []
    batch = said["batch"]
    href = f"/settlement/{batch}#leaf-{said['cdr_no']}" if batch else None
    facts = [Fact("settlement", view.texts(f"lane_state.{said['state']}"), batch, href=href)]
    if said["cdr_no"] is not None:
        facts.append(Fact("cdr_no", view.formats.number(said["cdr_no"])))
    return facts


async def _session(site: Site, visit: Visit, session_id: str, key: str | None) -> SessionView:
    linked = key is not None and is_link_key(site.services.link_secret, session_id, key)
    now = site.services.clock.now()
    return await show_session(visit.work, visit.viewer, session_id, now=now, linked=linked)


async def _receipt(site: Site, view: SessionView) -> bytes | None:
    """Return the receipt; None while there is no bill, or after its records were erased."""
    if view.session.cdr_log_index is None:
        return None
    try:
        return await site.services.receipt(view.session.session_id)
    except (Conflict, Refused, NotFound):
        return None


async def _proof(site: Site, visit: Visit, view: SessionView, receipt: bytes | None) -> ProofLine:
    words = ProofWords(visit.view.texts, visit.view.formats)
    if receipt is None:
        station = await show_station(
            visit.work, visit.viewer, view.session.station_id, site.services.is_connected
        )
        return words.of_running(view, station.station.signs_meter_values)
    verdict = await site.judge.judge(receipt, await site.services.trust())
    return words.of_receipt(parse_receipt(receipt), verdict)


def _series(readings: Sequence[ReadingView], name: str) -> list[Point]:
    """Return the values of one kind in order of the station's time, one a moment."""
    values: dict[datetime, int] = {}
    for reading in sorted(readings, key=lambda reading: (reading.at, reading.n)):
        value = getattr(reading, name)
        if value is not None:
            values[reading.at] = value
    return [Point(at, value) for at, value in values.items()]


def _window(readings: Sequence[ReadingView]) -> tuple[datetime, datetime]:
    """Return the time of the session by its readings, so that its charts stand side by side."""
    times = [reading.at for reading in readings]
    return min(times, default=EPOCH), max(times, default=EPOCH)


def _phase(view: SessionView) -> str:
    """Return the state as people see it: a session that runs may be parked."""
    if view.live is not None and not view.live.charging:
        return "parked"
    return view.session.state


def _said(view: View, session: SessionView) -> Markup:
    """Return what a screen reader is told, at most every ten seconds."""
    write, row, live = view.formats, session.session, session.live
    energy = write.energy(row.energy_wh or 0)
    if live is not None:
        cost = live.cost_so_far
        amount = write.money(cost["gross_minor"], cost["currency"]) if cost else DASH
        power = write.power(live.power_w or 0)
        return view.texts("session.said", energy=energy, power=power, cost=amount)
    amount = DASH
    if row.gross_minor is not None and row.currency is not None:
        amount = write.money(row.gross_minor, row.currency)
    return view.texts("session.said_billed", energy=energy, cost=amount)


@dataclass(frozen=True, slots=True)
class _Links:
    """Where the data of a session's page is; REST, unless the viewer has its link alone."""

    json: str
    receipt: str
    cdr: str | None
    readings: str


def _links(session_id: str, key: str | None) -> _Links:
    page, query = f"/session/{session_id}", _key_query(key)
    readings = f"{page}/readings.csv{query}"
    if key is not None:
        return _Links(f"{page}/session.json{query}", f"{page}/receipt.json{query}", None, readings)
    api = f"/api/v1/sessions/{session_id}"
    return _Links(api, f"{api}/receipt", f"{api}/cdr", readings)


def _json(document: bytes) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(document, media_type="application/json", headers=headers)


def _key_query(key: str | None) -> str:
    return f"?{urlencode({'key': key})}" if key is not None else ""
