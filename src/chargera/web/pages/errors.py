"""Error pages: what went wrong, and what to do next."""

import logging
from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from chargera.domain.errors import ChargEraError, NotPermitted
from chargera.web.api.problems import http_status
from chargera.web.auth import VISITOR
from chargera.web.pages.rendering import View
from chargera.web.pages.site import Site, see_other

KINDS: Mapping[int, str] = {
    400: "invalid",
    401: "not_signed_in",
    403: "not_permitted",
    404: "not_found",
    409: "refused",
    422: "invalid",
    503: "busy",
}
"""Which texts a status has; every other one is a fault of ours."""

RETRY_AFTER_S = "5"

_log = logging.getLogger(__name__)


class ErrorPages:
    """The exception handlers of the pages."""

    def __init__(self, site: Site) -> None:
        """Render with the site's templates."""
        self._site = site

    async def refused(self, request: Request, error: Exception) -> Response:
        """Answer an error of ours; a visitor who may not do this is asked to sign in."""
        assert isinstance(error, ChargEraError), "registered for these alone"
        view = _view(request)
        may_sign_in = isinstance(error, NotPermitted) and not view.viewer.is_signed_in
        if may_sign_in and request.method == "GET" and not request.url.path.startswith("/live/"):
            return see_other(f"/login?{urlencode({'next': view.path})}")
        status = http_status(error, signed_in=view.viewer.is_signed_in)
        return self._page(view, status, error.message, error.remedy)

    async def routing(self, request: Request, error: Exception) -> Response:
        """Answer an address that does not exist, a method that it has not, a broken form."""
        assert isinstance(error, HTTPException), "registered for these alone"
        status = error.status_code if error.status_code in KINDS else 400
        response = self._page(_view(request), status, "", "")
        response.status_code = error.status_code
        return response

    async def failed(self, request: Request, error: Exception) -> Response:
        """Answer a fault of ours. It is logged, and nothing of it is shown."""
        _log.error("page failed: %s %s", request.method, request.url.path, exc_info=error)
        return self._page(_view(request), 500, "", "")

    def _page(self, view: View, status: int, message: str, remedy: str) -> Response:
        values = {
            "kind": KINDS.get(status, "failed"),
            "status": status,
            "message": message,
            "remedy": remedy,
        }
        response = self._site.renderer.page(view, "error.html", "", values, status)
        if status == 503:
            response.headers["Retry-After"] = RETRY_AFTER_S
        return response


def _view(request: Request) -> View:
    """Return who looks, or a visitor where that was not found out before the error."""
    view = getattr(request.state, "view", None)
    return view if isinstance(view, View) else View.of(request, VISITOR)
