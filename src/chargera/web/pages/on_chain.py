"""Pages about the chain: what they share, and what is shown where nothing is settled on it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, cast

import orjson
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from chargera.app.chain_pages import Asset, assets_of
from chargera.app.settlement_ports import Contracts, NetworkTerms
from chargera.app.views import as_json
from chargera.domain.settlement import BPS
from chargera.web.pages.formats import DASH
from chargera.web.pages.rendering import View
from chargera.web.pages.services import PageSettlement
from chargera.web.pages.site import Handler, Site, Visit

SHORT_DIGITS = 8


@dataclass(frozen=True, slots=True)
class ChainVisit:
    """A request for a page about the chain."""

    site: Site
    visit: Visit
    request: Request
    settlement: PageSettlement

    @property
    def contracts(self) -> Contracts:
        """The network's contracts."""
        return self.settlement.contracts

    @property
    def terms(self) -> NetworkTerms:
        """What the network agreed on."""
        return self.settlement.terms

    @property
    def view(self) -> View:
        """Who looks."""
        return self.visit.view

    @property
    def work(self) -> Any:
        """The unit of work with the parts that settlement has in it."""
        return cast("Any", self.visit.work)

    async def words(self) -> "ChainWords":
        """Return how amounts and addresses are written here."""
        return ChainWords(self.view, await assets_of(self.contracts, self.terms), self.terms)

    def rpc_url(self) -> str:
        """Return where a wallet reaches the chain."""
        return self.settlement.rpc or f"{str(self.request.base_url).rstrip('/')}/rpc"


def on_chain(handler: Callable[[ChainVisit], Awaitable[Response]]) -> Handler:
    """Make a handler of a page that needs settlement; without it, the page says so."""

    @wraps(handler)
    async def answer(site: Site, request: Request) -> Response:
        async with site.visit(request) as visit:
            settlement = site.services.settlement
            if settlement is None:
                return site.page(visit, "settlement_off.html", "", {}, 404)
            return await handler(ChainVisit(site, visit, request, settlement))

    return answer


@dataclass(frozen=True, slots=True)
class ChainWords:
    """Writes values of the chain for people."""

    view: View
    assets: Mapping[str, Asset]
    terms: NetworkTerms

    def amount(self, asset: str | Asset, amount: int) -> str:
        """Return `12.345678 simEUR`, with all digits that it has."""
        found = self.assets[asset] if isinstance(asset, str) else asset
        return self.view.formats.asset(amount, found.decimals, found.symbol)

    def figure(self, asset: str | Asset, amount: int) -> str:
        """Return an amount that may be broken before its symbol, for large type."""
        return self.amount(asset, amount).replace("\N{NO-BREAK SPACE}", " ")

    def c4e(self, amount: int) -> str:
        """Return an amount of C4E."""
        return self.amount(self.terms.c4e, amount)

    def share(self, bps: int) -> str:
        """Return basis points in per cent: `12.5 %`."""
        return self.view.formats.percent(bps, BPS)

    def holder(self, address: str) -> Markup:
        """Return an address, shortened for the eye, as a link to what it holds."""
        return Markup('<a class="mono" href="/holder/{0}" title="{0}">{1}</a>').format(
            address, short(address)
        )

    def passport(self, passport_id: str) -> Markup:
        """Return a passport id, shortened for the eye, as a link to the passport."""
        return Markup('<a class="mono" href="/passport/{0}" title="{0}">{1}</a>').format(
            passport_id, short(passport_id)
        )


def short(text: str) -> str:
    """Return the first and last digits of a long value."""
    if len(text) <= 2 * SHORT_DIGITS + 2:
        return text or DASH
    return f"{text[: SHORT_DIGITS + 2]}…{text[-SHORT_DIGITS:]}"


def whole_number(text: str | None) -> int | None:
    """Return the number that a query says; None for anything else."""
    is_number = text is not None and text.isascii() and text.isdigit() and len(text) < 16
    return int(text) if is_number and text else None


def json_page(value: Any) -> Response:
    """Return the JSON twin of a page that REST does not have."""
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(orjson.dumps(as_json(value)), media_type="application/json", headers=headers)
