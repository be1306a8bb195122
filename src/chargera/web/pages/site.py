"""One request's way through the pages: its unit of work, who looks, and the page that comes out."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from chargera.app.admin_ports import AdminWork
from chargera.app.permissions import Caller
from chargera.domain.errors import NotFound, Refused
from chargera.web.assets import Assets
from chargera.web.auth import CSRF_FIELD, identify, require_form_value
from chargera.web.pages.judge import ReceiptJudge
from chargera.web.pages.power_history import PowerHistory
from chargera.web.pages.rendering import Renderer, Values, View
from chargera.web.pages.services import PageServices

FORM_FIELDS_MAX = 20
FORM_FIELD_BYTES_MAX = 16 * 1024

OWN_SITES = ("same-origin", "none")
"""`Sec-Fetch-Site` of what our own pages, or the person himself, asked for."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A request under way: an open unit of work and who looks. Reads need no commit."""

    work: AdminWork
    view: View

    @property
    def viewer(self) -> Caller:
        """On whose behalf everything is read."""
        return self.view.viewer


@dataclass(slots=True)
class Site:
    """All pages of one server."""

    services: PageServices
    assets: Assets
    history: PowerHistory
    judge: ReceiptJudge = field(default_factory=ReceiptJudge)
    renderer: Renderer = field(init=False)

    def __post_init__(self) -> None:
        """Compile the templates for this network."""
        services = self.services
        self.renderer = Renderer(
            services.network, self.assets, settles=services.settlement is not None
        )

    @asynccontextmanager
    async def visit(self, request: Request) -> AsyncIterator[Visit]:
        """Open a unit of work and find out who looks; the view is kept for an error page."""
        async with self.services.database.work() as work:
            view = View.of(request, await identify(work, request))
            request.state.view = view
            yield Visit(work, view)

    async def form(self, request: Request, visit: Visit) -> dict[str, str]:
        """Return the text fields of a form of ours.

        Raises Refused if another site sent it, NotPermitted without the visit's form value.
        """
        require_own_origin(request)
        async with request.form(
            max_files=0, max_fields=FORM_FIELDS_MAX, max_part_size=FORM_FIELD_BYTES_MAX
        ) as form:
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
        identity = await identify(visit.work, request)
        require_form_value(identity, request.method, fields.pop(CSRF_FIELD, None))
        return fields

    def page(
        self, visit: Visit, template: str, here: str, values: Values, status: int = 200
    ) -> Response:
        """Return a rendered page."""
        return self.renderer.page(visit.view, template, here, values, status)


Handler = Callable[[Site, Request], Awaitable[Response]]


def route(site: Site, path: str, handler: Handler, *methods: str) -> Route:
    """Bind a handler to an address; without methods it answers GET."""

    async def answer(request: Request) -> Response:
        await _require_text(request)
        return await handler(site, request)

    return Route(path, answer, methods=methods or ("GET",), name=handler.__name__)


async def _require_text(request: Request) -> None:
    """Raise NotFound for a NUL in an address or a form: no text holds one, and no database does."""
    typed = b""
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        typed = await request.body()
    if "\0" in request.scope["path"] or b"%00" in request.scope["query_string"] + typed:
        raise NotFound("nothing is named by a NUL character", field="path")


def require_own_origin(request: Request) -> None:
    """Raise Refused if the browser says that another site sent this form.

    It also keeps others from signing a visitor in, which no form value can: he has none yet.
    """
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign or request.headers.get("sec-fetch-site", "same-origin") not in OWN_SITES:
        raise Refused("this form came from another site", remedy="open the page here and try again")


def see_other(path: str) -> RedirectResponse:
    """Send the browser to another page of ours after a form."""
    return RedirectResponse(path, 303)


def own_path(path: str | None) -> str:
    """Return a path of this server, or `/`: nobody is sent to another host after signing in."""
    if path is None or not path.startswith("/") or path.startswith(("//", "/\\")):
        return "/"
    return path if path.isprintable() else "/"
