"""Attesters with their bonds, and who controls the contracts: all of it read from the chain."""

from datetime import UTC, datetime

from starlette.responses import Response

from chargera.app.chain_pages import Control, attesters_of, control_of
from chargera.web.pages.facts import Fact, exact
from chargera.web.pages.on_chain import ChainVisit, json_page, on_chain
from chargera.web.pages.rendering import View


@on_chain
async def show_attesters(chain: ChainVisit) -> Response:
    """Answer `/attesters`."""
    found = await attesters_of(chain.contracts, chain.settlement.own_attesters)
    control = await control_of(chain.contracts)
    values = {
        "words": await chain.words(),
        "attesters": found.attesters,
        "quorum": found.quorum,
        "own": found.own_active,
        "own_is_quorum": found.own_active >= found.quorum,
        "control": control,
        "facts": control_facts(chain.view, control),
        "changes": {
            each.name: datetime.fromtimestamp(each.executable_from, UTC)
            for each in control.owned
            if each.executable_from
        },
    }
    return chain.site.page(chain.visit, "attesters.html", "attesters", values)


@on_chain
async def download_attesters(chain: ChainVisit) -> Response:
    """Answer `/attesters.json`: what the page shows."""
    found = await attesters_of(chain.contracts, chain.settlement.own_attesters)
    control = await control_of(chain.contracts)
    return json_page({"attesters": found.attesters, "control": control, "quorum": found.quorum})


def control_facts(view: View, control: Control) -> list[Fact]:
    """Return who may propose what, and how long everybody sees it coming."""
    t, write = view.texts, view.formats
    proposes = "control.proposes" if control.bootstrap_proposes else "control.handed_over"
    return [
        exact("timelock", control.timelock),
        Fact("timelock_delay", write.period(control.delay_s)),
        exact("bootstrap_key", control.bootstrap),
        Fact("bootstrap_may", t(proposes)),
        exact("governor", control.governor)
        if control.governor
        else Fact("governor", t("control.no_governor")),
        Fact("upgrade_notice", write.period(control.upgrade_notice_s)),
        Fact("upgrade_term", write.period(control.upgrade_term_s)),
    ]
