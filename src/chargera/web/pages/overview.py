"""The first page: what the network does right now, and the line from a meter to the ledger."""

from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from chargera.app.admin_ports import SessionFilter
from chargera.app.permissions import Action
from chargera.app.registry import overview, station_rows
from chargera.app.sessions import list_sessions, log_head, show_today
from chargera.app.views import LogHeadView, Overview, StationRow, Today
from chargera.domain.transaction import SessionState
from chargera.web.live import Fragment
from chargera.web.pages.charts import draw_chart
from chargera.web.pages.rendering import Values, View
from chargera.web.pages.site import Site, Visit

LIVE_MAX = 50
RECENT_MAX = 8

FRAGMENTS = (
    Fragment("overview-hero", "live/overview_hero.html"),
    Fragment("overview-line", "live/overview_line.html"),
    Fragment("overview-sessions", "live/overview_sessions.html"),
)
TOPICS = frozenset({"session", "station", "log"})


@dataclass(frozen=True, slots=True)
class LineStop:
    """A stop of the line with a live number."""

    key: str
    icon: str
    href: str
    status: str
    """ok, or pending where nothing has got there yet."""
    value: str | Markup
    note: Markup


async def show_overview(site: Site, request: Request) -> Response:
    """Answer `/`."""
    async with site.visit(request) as visit:
        values = dict(await gather_overview(site, visit))
        values["recent"] = None
        if visit.viewer.may(Action.SESSIONS_READ):
            wanted = SessionFilter(state=SessionState.BILLED, limit=RECENT_MAX)
            values["recent"] = await list_sessions(visit.work, visit.viewer, wanted)
        return site.page(
            visit, "overview.html", "overview", values | {"live_url": "/live/overview"}
        )


async def gather_overview(site: Site, visit: Visit) -> Values:
    """Return what the live fragments of the page show."""
    work, viewer, now = visit.work, visit.viewer, site.services.clock.now()
    figures = await overview(work, viewer, site.services.is_connected)
    stations = await station_rows(work, viewer, site.services.is_connected)
    today = await show_today(work, viewer, now=now, limit=LIVE_MAX)
    head = await log_head(work)
    points = site.history.points()
    return {
        "overview": figures,
        "drawing": _drawing(figures, today),
        "today": today,
        "power_chart": draw_chart(points, "slopes") if len(points) > 1 else None,
        "line": _line(visit.view, figures, today, stations, head, now),
        "shows_cost": any(row.cost_minor is not None for row in today.sessions),
        "power_most": max((row.power_w or 0 for row in today.sessions), default=0),
    }


def _drawing(figures: Overview, today: Today) -> int:
    """Return how many cars draw power; the parked ones are left out as far as all are known."""
    if figures.sessions_charging > len(today.sessions):
        return figures.sessions_charging
    return sum(session.charging for session in today.sessions)


def _line(
    view: View,
    figures: Overview,
    today: Today,
    stations: list[StationRow],
    head: LogHeadView,
    now: datetime,
) -> list[LineStop]:
    """Return the six stops, each with what has got there."""
    t, write = view.texts, view.formats
    signing = sum(station.signs_meter_values for station in stations)
    anchored, signed = head.anchored_size, head.checkpoint_size
    never = t("line_value.never")
    return [
        LineStop(
            "meter",
            "meter",
            "/stations",
            "ok",
            write.power(figures.power_w),
            t("line_note.meter", count=signing),
        ),
        LineStop(
            "station",
            "plug",
            "/stations",
            "ok",
            write.number(figures.stations_connected),
            t("line_note.station", count=figures.stations),
        ),
        LineStop(
            "bill",
            "receipt",
            "/sessions" if view.viewer.may(Action.SESSIONS_READ) else "/tariffs",
            "ok" if today.bills else "pending",
            write.number(today.bills),
            t("line_note.bill", count=today.bills),
        ),
        LineStop(
            "entry",
            "entry",
            "/log",
            "ok" if head.size else "pending",
            write.number(head.size),
            t("line_note.entry", count=head.size),
        ),
        LineStop(
            "checkpoint",
            "seal",
            "/log#log-head",
            "pending" if signed is None else "ok",
            write.ago(head.signed_at, now) if head.signed_at else never,
            t("line_note.no_checkpoint")
            if signed is None
            else t("line_note.checkpoint", size=write.number(signed)),
        ),
        LineStop(
            "anchor",
            "anchor",
            "/log#anchors-title",
            "pending" if anchored is None else "ok",
            write.ago(head.anchored_at, now) if head.anchored_at else never,
            t("line_note.no_anchor")
            if anchored is None
            else t("line_note.anchor", size=write.number(anchored)),
        ),
    ]
