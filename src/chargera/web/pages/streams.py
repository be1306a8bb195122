"""The streams of live pages: which events concern a page, and what is rendered anew."""

from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response

from chargera.app.ports import LiveEvent
from chargera.web.live import Fragment, LiveStreams
from chargera.web.pages import log, overview, session, station
from chargera.web.pages.rendering import Values
from chargera.web.pages.site import Site, Visit

Gather = Callable[[Visit], Awaitable[Values]]


class Streams:
    """Answers the addresses under `/live`."""

    def __init__(self, live: LiveStreams) -> None:
        """Open streams of `live`."""
        self._live = live

    async def overview(self, site: Site, request: Request) -> Response:
        """Stream the first page."""
        return await self._open(
            site,
            request,
            overview.FRAGMENTS,
            lambda event: event.topic in overview.TOPICS,
            lambda visit: overview.gather_overview(site, visit),
        )

    async def log(self, site: Site, request: Request) -> Response:
        """Stream the head of the log."""
        return await self._open(
            site,
            request,
            log.FRAGMENTS,
            lambda event: event.topic in log.TOPICS,
            lambda visit: log.gather_log(site, visit),
        )

    async def station(self, site: Site, request: Request) -> Response:
        """Stream a station."""
        station_id = request.path_params["station_id"]

        def wants(event: LiveEvent) -> bool:
            return event.topic == "session" or (event.topic, event.key) == ("station", station_id)

        return await self._open(
            site,
            request,
            station.FRAGMENTS,
            wants,
            lambda visit: station.gather_station(site, visit, station_id),
        )

    async def session(self, site: Site, request: Request) -> Response:
        """Stream a session; events of the log bring it closer to its anchor."""
        session_id = request.path_params["session_id"]
        key = request.query_params.get("key")

        def wants(event: LiveEvent) -> bool:
            return event.topic == "log" or (event.topic, event.key) == ("session", session_id)

        return await self._open(
            site,
            request,
            session.FRAGMENTS,
            wants,
            lambda visit: session.gather_session(site, visit, session_id, key),
        )

    async def _open(
        self,
        site: Site,
        request: Request,
        fragments: Sequence[Fragment],
        wants: Callable[[LiveEvent], bool],
        gather: Gather,
    ) -> Response:
        async def look() -> list[tuple[str, str]]:
            async with site.visit(request) as visit:
                values = await gather(visit)
            render = site.renderer.fragment
            return [(f.element_id, render(visit.view, f.template, values)) for f in fragments]

        # Whoever may not see the page gets the error now, as a status, and no stream.
        async with site.visit(request) as visit:
            await gather(visit)
        return self._live.open(wants, look)
