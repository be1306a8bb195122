"""The pages of ChargEra: server-rendered, readable without script, live with it.

`create_pages` returns the ASGI app for everything that is not REST, log tiles or health. Mount
it last at `/`, so that an address that nobody knows gets a page that helps.
"""

import asyncio
import logging
from dataclasses import dataclass
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route

from chargera.app.permissions import ANONYMOUS
from chargera.app.registry import station_rows
from chargera.domain.errors import ChargEraError
from chargera.web.assets import Assets
from chargera.web.live import LiveStreams, Pace
from chargera.web.pages import (
    attesters,
    gate,
    holder,
    id_tokens,
    log,
    overview,
    passport,
    review,
    search,
    session,
    settlement,
    station,
    tariffs,
)
from chargera.web.pages.errors import ErrorPages
from chargera.web.pages.power_history import PowerHistory
from chargera.web.pages.services import NetworkFacts, PageServices, PageSettlement
from chargera.web.pages.site import Site, route
from chargera.web.pages.streams import Streams
from chargera.web.pages.verify import check_receipt, show_verify

__all__ = ["NetworkFacts", "PageServices", "PageSettlement", "Pages", "create_pages"]

SAMPLE_INTERVAL_S = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of one server: the app, and what runs beside it."""

    app: Starlette
    live: LiveStreams
    site: Site

    async def run(self, interval_s: float = SAMPLE_INTERVAL_S) -> None:
        """Sample the network's power for the first page, until cancelled."""
        while True:
            try:
                await self.sample()
            except (ChargEraError, OSError):
                _log.warning("the network's power could not be sampled", exc_info=True)
            await asyncio.sleep(interval_s)

    async def sample(self) -> None:
        """Take one sample."""
        services = self.site.services
        async with services.database.work() as work:
            rows = await station_rows(work, ANONYMOUS, services.is_connected)
        self.site.history.add(services.clock.now(), sum(row.power_w for row in rows))

    def close(self) -> None:
        """End the live streams, so that the server can stop."""
        self.live.close()


def create_pages(services: PageServices, pace: Pace | None = None) -> Pages:
    """Return the pages over these services; `pace` is how often live pages are served."""
    assets = Assets()
    site = Site(services, assets, PowerHistory())
    live = LiveStreams(services.feed, pace)
    errors = ErrorPages(site)
    app = Starlette(
        routes=_routes(site, Streams(live)),
        exception_handlers={
            ChargEraError: errors.refused,
            HTTPException: errors.routing,
            Exception: errors.failed,
        },
    )
    return Pages(app, live, site)


def _routes(site: Site, streams: Streams) -> list[Route]:
    """Return every address of a page."""
    at = partial(route, site)
    return [
        Route("/static/{name:path}", site.assets.serve, name="static"),
        at("/", overview.show_overview),
        at("/stations", station.show_stations),
        at("/s/{station_id}", station.show_one_station),
        at("/s/{station_id}/commands", station.send_command, "POST"),
        at("/s/{station_id}/tests", station.begin_test, "POST"),
        at("/sessions", session.show_sessions),
        at("/session/{session_id}", session.show_one_session),
        at("/session/{session_id}/readings.csv", session.download_readings),
        at("/session/{session_id}/session.json", session.download_session),
        at("/session/{session_id}/receipt.json", session.download_receipt),
        at("/session/{session_id}/decision", review.decide, "POST"),
        at("/tariffs", tariffs.show_tariffs),
        at("/id-tokens", id_tokens.show_id_tokens),
        at("/id-tokens", id_tokens.register_id_token, "POST"),
        at("/id-tokens/block", id_tokens.block_id_token, "POST"),
        at("/log", log.show_log),
        at("/log/entry", log.find_entry),
        at("/log/entry/{index}", log.show_one_entry),
        at("/passports", passport.show_passports),
        at("/passport/{passport_id}", passport.show_one_passport),
        at("/settlement", settlement.show_settlement),
        at("/settlement/{digest}", settlement.show_batch),
        at("/attesters", attesters.show_attesters),
        at("/attesters.json", attesters.download_attesters),
        at("/holder/{address}.json", holder.download_holder),
        at("/holder/{address}", holder.show_holder),
        at("/search", search.search),
        at("/verify", show_verify),
        at("/verify", check_receipt, "POST"),
        at("/login", gate.show_login),
        at("/login", gate.sign_in, "POST"),
        at("/logout", gate.leave, "POST"),
        at("/appearance", gate.choose_appearance, "POST"),
        at("/live/overview", streams.overview),
        at("/live/log", streams.log),
        at("/live/s/{station_id}", streams.station),
        at("/live/session/{session_id}", streams.session),
    ]
