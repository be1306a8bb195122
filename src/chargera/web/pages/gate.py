"""Signing in and out, and the choice of light or dark."""

from starlette.requests import Request
from starlette.responses import Response

from chargera.app.logins import sign_out
from chargera.domain.errors import NotPermitted
from chargera.web.auth import clear_visit_cookie, set_visit_cookie, visit_cookie
from chargera.web.pages.rendering import APPEARANCE_COOKIE, APPEARANCES
from chargera.web.pages.site import Site, Visit, own_path, require_own_origin, see_other

YEAR_S = 365 * 24 * 3600


async def show_login(site: Site, request: Request) -> Response:
    """Answer `GET /login`; whoever is signed in already goes on."""
    wanted = request.query_params.get("next")
    async with site.visit(request) as visit:
        if visit.viewer.is_signed_in:
            return see_other(own_path(wanted))
        return _page(site, visit, wanted)


async def sign_in(site: Site, request: Request) -> Response:
    """Answer the login form."""
    async with site.visit(request) as visit:
        fields = await site.form(request, visit)
        name, wanted = fields.get("name", "").strip(), own_path(fields.get("next"))
        address = request.client.host if request.client else ""
        try:
            signed_in = await site.services.sign_in.sign_in(
                visit.work, name, fields.get("password", ""), address
            )
        except NotPermitted as error:
            return _page(site, visit, wanted, name, f"{error.message}; {error.remedy}", 403)
        await visit.work.commit()
    response = see_other(wanted)
    set_visit_cookie(response, signed_in, secure=site.services.secure_cookies)
    return response


async def leave(site: Site, request: Request) -> Response:
    """Answer the button that signs out."""
    async with site.visit(request) as visit:
        await site.form(request, visit)
        cookie = visit_cookie(request)
        if cookie is not None:
            await sign_out(visit.work, cookie)
            await visit.work.commit()
    response = see_other("/")
    clear_visit_cookie(response, secure=site.services.secure_cookies)
    return response


async def choose_appearance(site: Site, request: Request) -> Response:
    """Answer the buttons at the foot of every page; the choice is a cookie, not a login's."""
    require_own_origin(request)
    async with request.form(max_files=0, max_fields=2, max_part_size=4096) as form:
        chosen, back = form.get("appearance"), form.get("next")
    response = see_other(own_path(back if isinstance(back, str) else None))
    if chosen in APPEARANCES:
        response.set_cookie(
            APPEARANCE_COOKIE,
            str(chosen),
            max_age=YEAR_S,
            secure=site.services.secure_cookies,
            httponly=True,
            samesite="lax",
        )
    return response


def _page(
    site: Site,
    visit: Visit,
    wanted: str | None,
    name: str = "",
    problem: str | None = None,
    status: int = 200,
) -> Response:
    values = {"wanted": wanted, "name": name, "problem": problem, "next_url": wanted}
    return site.page(visit, "login.html", "login", values, status)
