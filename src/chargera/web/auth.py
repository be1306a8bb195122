"""Who is calling over HTTP: a bearer key, a browser's cookie, or a visitor.

Bearer keys are for programs. A cookie is sent by the browser on its own, so whatever changes
something under a cookie must carry the visit's form value too (`X-CSRF` or the field `csrf`),
which no other site can read.
"""

import hmac
from dataclasses import dataclass

from starlette.requests import HTTPConnection
from starlette.responses import Response

from chargera.app.admin_ports import AdminWork
from chargera.app.logins import (
    VISIT_S,
    Visit,
    caller_of_key,
    caller_of_visit,
    csrf_value,
)
from chargera.app.permissions import ANONYMOUS, Caller
from chargera.domain.errors import NotPermitted

COOKIE = "chargera_visit"
SECURE_COOKIE = "__Host-chargera_visit"
"""Over TLS: browsers take this name only from this very host, over TLS."""

CSRF_HEADER = "X-CSRF"
CSRF_FIELD = "csrf"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is calling, and what the forms of its pages carry (None without a cookie)."""

    caller: Caller
    csrf: str | None = None


VISITOR = Identity(ANONYMOUS)


class NotSignedIn(NotPermitted):
    """This needs a login, and what was presented stands for none."""

    code = "not_signed_in"


async def identify(work: AdminWork, request: HTTPConnection) -> Identity:
    """Return who is calling.

    Raises NotSignedIn for a bearer key that is unknown or revoked; an old cookie is a visitor.
    """
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, api_key = header.partition(" ")
        caller = (
            await caller_of_key(work, api_key.strip()) if scheme.casefold() == "bearer" else None
        )
        if caller is None:
            raise NotSignedIn(
                "this API key is not known here, or it was revoked",
                field="Authorization",
                remedy="send `Authorization: Bearer KEY` with a key of `chargera api-key add`",
            )
        return Identity(caller)
    cookie = visit_cookie(request)
    found = await caller_of_visit(work, cookie) if cookie else None
    if found is None:
        return VISITOR
    caller, csrf_secret = found
    return Identity(caller, csrf_value(csrf_secret))


def require_form_value(identity: Identity, method: str, presented: str | None) -> None:
    """Raise NotPermitted for a change under a cookie without the visit's form value."""
    if identity.csrf is None or method in SAFE_METHODS:
        return
    if presented is None or not hmac.compare_digest(
        identity.csrf.encode(), presented.encode("utf-8", "surrogatepass")
    ):
        raise NotPermitted(
            "this request did not come from a page of this server",
            field=CSRF_HEADER,
            remedy="reload the page and try again",
        )


def set_visit_cookie(response: Response, visit: Visit, *, secure: bool) -> None:
    """Give the browser its cookie: not readable by scripts, not sent from other sites."""
    response.set_cookie(
        SECURE_COOKIE if secure else COOKIE,
        visit.cookie,
        max_age=VISIT_S,
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )


def clear_visit_cookie(response: Response, *, secure: bool) -> None:
    """Take the browser's cookie back."""
    response.delete_cookie(
        SECURE_COOKIE if secure else COOKIE,
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )


def visit_cookie(request: HTTPConnection) -> str | None:
    """Return the cookie that a browser presents, for signing out."""
    return request.cookies.get(SECURE_COOKIE) or request.cookies.get(COOKIE)
