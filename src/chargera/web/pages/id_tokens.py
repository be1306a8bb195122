"""IdTokens: the list within the viewer's reach, and for the operator forms to add and block."""

from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from chargera.app.id_tokens import (
    DEFAULT_TYPE,
    ID_TOKEN_TYPES,
    IdTokenRequest,
    add_id_token,
    cursor_of,
    list_id_tokens,
    set_blocked,
)
from chargera.app.permissions import Action
from chargera.domain.errors import Conflict, InvalidInput, NotFound
from chargera.web.pages.site import Site, Visit, see_other

ID_TOKENS_A_PAGE = 100


async def show_id_tokens(site: Site, request: Request) -> Response:
    """Answer `/id-tokens`."""
    async with site.visit(request) as visit:
        after = request.query_params.get("after")
        return await _page(site, visit, after, {"id_token_type": DEFAULT_TYPE}, None)


async def register_id_token(site: Site, request: Request) -> Response:
    """Answer the form that adds an IdToken."""
    async with site.visit(request) as visit:
        fields = await site.form(request, visit)
        wanted = IdTokenRequest(
            fields.get("id_token", "").strip(),
            fields.get("id_token_type", DEFAULT_TYPE),
            login=fields.get("login", "").strip() or None,
        )
        try:
            await add_id_token(visit.work, visit.viewer, wanted, now=site.services.clock.now())
        except (InvalidInput, NotFound, Conflict) as error:
            return await _page(site, visit, None, fields, error.message, 422)
        await visit.work.commit()
    return see_other("/id-tokens")


async def block_id_token(site: Site, request: Request) -> Response:
    """Answer the button that blocks or unblocks an IdToken."""
    async with site.visit(request) as visit:
        fields = await site.form(request, visit)
        await set_blocked(
            visit.work,
            visit.viewer,
            fields.get("id_token", ""),
            fields.get("type"),
            blocked=fields.get("blocked") == "yes",
            now=site.services.clock.now(),
        )
        await visit.work.commit()
    return see_other("/id-tokens")


async def _page(
    site: Site,
    visit: Visit,
    after: str | None,
    draft: Mapping[str, str],
    problem: str | None,
    status: int = 200,
) -> Response:
    rows = await list_id_tokens(
        visit.work,
        visit.viewer,
        now=site.services.clock.now(),
        after=after,
        limit=ID_TOKENS_A_PAGE,
    )
    more = None
    if len(rows) == ID_TOKENS_A_PAGE:
        more = f"/id-tokens?{urlencode({'after': cursor_of(rows[-1])})}"
    values = {
        "id_tokens": rows,
        "next_page": more,
        "may_write": visit.viewer.may(Action.ID_TOKENS_WRITE),
        "id_token_types": tuple(ID_TOKEN_TYPES),
        "draft": {"id_token": None, "id_token_type": DEFAULT_TYPE, "login": None, **draft},
        "problem": problem,
    }
    return site.page(visit, "id_tokens.html", "id_tokens", values, status)
