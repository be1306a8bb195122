"""Tariffs: every price in words, with its digest, its place in the log and where it is in force."""

from dataclasses import dataclass

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from chargera.app.tariffs import list_tariffs
from chargera.app.views import TariffView
from chargera.web.pages.facts import Fact, exact
from chargera.web.pages.prices import PriceLine, PriceWords
from chargera.web.pages.rendering import View
from chargera.web.pages.site import Site


@dataclass(frozen=True, slots=True)
class ShownTariff:
    """A tariff with its words."""

    tariff: TariffView
    description: str | None
    lines: list[PriceLine]
    facts: list[Fact]


async def show_tariffs(site: Site, request: Request) -> Response:
    """Answer `/tariffs`."""
    async with site.visit(request) as visit:
        words = PriceWords(visit.view.texts, visit.view.formats)
        shown = [
            ShownTariff(
                tariff,
                words.description(tariff.document),
                words.lines(tariff.document),
                tariff_facts(visit.view, tariff),
            )
            for tariff in await list_tariffs(visit.work, visit.viewer)
        ]
        return site.page(visit, "tariffs.html", "tariffs", {"tariffs": shown})


def tariff_facts(view: View, tariff: TariffView) -> list[Fact]:
    """Return what is known of a tariff version."""
    t, write = view.texts, view.formats
    links = [
        Markup('<a class="nowrap" href="/s/{}">{}</a>').format(station, station)
        for station in tariff.stations
    ]
    return [
        Fact("version", write.number(tariff.version)),
        Fact("currency", tariff.currency),
        Fact("published_at", write.time(tariff.published_at)),
        Fact(
            "published_entry",
            t("entry.numbered", index=write.number(tariff.log_index)),
            href=f"/log/entry/{tariff.log_index}",
        ),
        exact("digest", tariff.digest),
        Fact("stations", Markup(", ").join(links) if links else t("fact.none")),
    ]
