"""From a template and values to a response: one environment, one context for every page.

Every page carries the same strict Content-Security-Policy: no inline script or style, nothing
from another host, no framing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from starlette.requests import Request
from starlette.responses import HTMLResponse

from chargera.app.permissions import Action, Caller
from chargera.app.views import AnchorView
from chargera.proofs.chain_values import parse_address, parse_hex
from chargera.web.assets import Assets
from chargera.web.auth import Identity
from chargera.web.catalogue import Texts, choose_language, load_texts
from chargera.web.pages.formats import NOTHING, Formats
from chargera.web.pages.services import Explorer, NetworkFacts

CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CSP,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Of every page. No other host sees an address: the link of a session is a secret."""

APPEARANCE_COOKIE = "chargera_appearance"
APPEARANCES = ("auto", "light", "dark")

MENU = (
    ("overview", "/", None),
    ("stations", "/stations", None),
    ("sessions", "/sessions", Action.SESSIONS_READ),
    ("tariffs", "/tariffs", None),
    ("id_tokens", "/id-tokens", Action.ID_TOKENS_READ),
    ("log", "/log", None),
    ("passports", "/passports", None),
    ("settlement", "/settlement", None),
    ("attesters", "/attesters", None),
    ("verify", "/verify", None),
)
"""Key, address, and what a viewer must be allowed to see the item."""

ON_CHAIN = frozenset({"passports", "settlement", "attesters"})
"""Items that only a network has which settles on chain."""


Values = Mapping[str, Any]
"""What a template is given."""


@dataclass(frozen=True, slots=True)
class MenuItem:
    """One item of the main menu."""

    key: str
    href: str


@dataclass(frozen=True, slots=True)
class View:
    """Who looks, in which language, from where: what every template may use."""

    viewer: Caller
    csrf: str
    texts: Texts
    formats: Formats
    appearance: str
    path: str
    """Of this page with its query, for forms that come back to it."""

    @classmethod
    def of(cls, request: Request, identity: Identity) -> "View":
        """Return the view of a request."""
        texts = load_texts(choose_language(request.headers.get("accept-language", "")))
        chosen = request.cookies.get(APPEARANCE_COOKIE, "")
        query = f"?{request.url.query}" if request.url.query else ""
        return cls(
            viewer=identity.caller,
            csrf=identity.csrf or "",
            texts=texts,
            formats=Formats(texts.locale),
            appearance=chosen if chosen in APPEARANCES else APPEARANCES[0],
            path=request.url.path + query,
        )

    def menu(self, *, settles: bool) -> list[MenuItem]:
        """Return the menu that this viewer has."""
        return [
            MenuItem(key, href)
            for key, href, needed in MENU
            if (needed is None or self.viewer.may(needed)) and (settles or key not in ON_CHAIN)
        ]


class Elsewhere:
    """Pages of a public explorer that show what ours do; None where there is no explorer."""

    def __init__(self, explorer: Explorer | None) -> None:
        """Link to `explorer`."""
        self._explorer = explorer

    def message(self, anchor: AnchorView) -> str | None:
        """Return the page of an anchor's message, once it has its place on the topic."""
        where = (anchor.topic_id, anchor.sequence_number, anchor.consensus_timestamp)
        topic_id, sequence_number, consensus_timestamp = where
        if topic_id is None or sequence_number is None or consensus_timestamp is None:
            return None
        if self._explorer is None:
            return None
        return self._explorer.message(topic_id, sequence_number, consensus_timestamp)

    def transaction(self, transaction_hash: str) -> str | None:
        """Return the page of a transaction by its hash as text."""
        if self._explorer is None:
            return None
        return self._explorer.transaction(parse_hex(transaction_hash, 32, field="transaction"))

    def contract(self, address: str) -> str | None:
        """Return the page of a contract by its address as text."""
        if self._explorer is None:
            return None
        return self._explorer.contract(parse_address(address, field="address"))


class Renderer:
    """Renders pages and fragments of pages."""

    def __init__(self, network: NetworkFacts, assets: Assets, *, settles: bool) -> None:
        """Render for this network; templates are those of the package."""
        self._settles = settles
        self._environment = Environment(
            loader=PackageLoader("chargera.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals |= {
            "asset": assets.url,
            "elsewhere": Elsewhere(network.explorer),
            "network": network,
            "settles": settles,
        }
        self._environment.filters |= FILTERS

    def page(
        self, view: View, template: str, here: str, values: Values, status: int = 200
    ) -> HTMLResponse:
        """Return a page; `here` is the menu item that it belongs to."""
        menu = view.menu(settles=self._settles)
        framed = {"here": here, "menu": menu, "next_url": view.path, **values}
        text = self.fragment(view, template, framed)
        return HTMLResponse(text, status, headers=dict(SECURITY_HEADERS))

    def fragment(self, view: View, template: str, values: Values) -> str:
        """Return the text of one template."""
        common = {
            "t": view.texts,
            "formats": view.formats,
            "viewer": view.viewer,
            "csrf_value": view.csrf,
            "appearance": view.appearance,
            "path": view.path,
        }
        return self._environment.get_template(template).render(common | dict(values))


# Filters: `{{ row.energy_wh | energy }}` -------------------------------------------------------


def _formats(context: Context) -> Formats:
    formats = context["formats"]
    assert isinstance(formats, Formats), "every template is rendered with formats"
    return formats


def _filter(name: str) -> Callable[..., str]:
    """Return a filter that writes a value as the method of `Formats` of that name does."""

    @pass_context
    def write(context: Context, value: object, *more: object) -> str:
        text: str = getattr(_formats(context), name)(value, *more)
        return text

    return write


@pass_context
def _measure(context: Context, value: int | None, unit: str) -> str:
    """Write a value as the filter `unit` does; a dash where there is none."""
    if value is None:
        return NOTHING
    text: str = getattr(_formats(context), unit)(value)
    return text


_WRITERS = (
    "ago",
    "energy",
    "energy_max",
    "money",
    "number",
    "power",
    "power_max",
    "price",
    "time",
)
FILTERS: dict[str, Callable[..., str]] = {
    **{name: _filter(name) for name in _WRITERS},
    "measure": _measure,
}
