"""The decision of a person on a session that could not be billed by itself."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from chargera.app.billing import ReviewDecision
from chargera.app.id_tokens import check_time
from chargera.app.permissions import Action
from chargera.app.sessions import require_session
from chargera.app.tariffs import list_tariffs
from chargera.app.views import SessionView
from chargera.domain.errors import InvalidInput
from chargera.web.pages.rendering import Values
from chargera.web.pages.site import Site, Visit, see_other

REASON_CHARS_MAX = 500
REGISTER_DIGITS_MAX = 12


async def gather_review(visit: Visit, view: SessionView) -> Values:
    """Return what the form shows; no tariffs to choose from where one was quoted."""
    if not (view.may_decide and view.session.state == "review"):
        return {"may_decide": False, "review_tariffs": []}
    tariffs = [] if view.tariff_id else await list_tariffs(visit.work, visit.viewer)
    return {"may_decide": True, "review_tariffs": [tariff.tariff_id for tariff in tariffs]}


async def decide(site: Site, request: Request) -> Response:
    """Answer the form on the page of a session in review."""
    session_id = request.path_params["session_id"]
    async with site.visit(request) as visit:
        fields = await site.form(request, visit)
        await require_session(visit.work, visit.viewer, session_id, Action.SESSIONS_DECIDE)
        decided_by = visit.viewer.name
    await site.services.decide_review(session_id, read_decision(fields), decided_by)
    return see_other(f"/session/{session_id}")


def read_decision(fields: Mapping[str, str]) -> ReviewDecision:
    """Return the decision in a form; an empty field keeps what the station said."""
    reason = fields.get("reason", "").strip()
    if not 1 <= len(reason) <= REASON_CHARS_MAX:
        raise InvalidInput(
            f"a decision needs a reason of at most {REASON_CHARS_MAX} characters",
            field="reason",
            remedy="say why these values are right: the reason goes into the log",
        )
    return ReviewDecision(
        reason,
        _register(fields, "meter_start_wh"),
        _register(fields, "meter_stop_wh"),
        check_time(fields.get("started_at", "").strip() or None, field="started_at"),
        check_time(fields.get("ended_at", "").strip() or None, field="ended_at"),
        fields.get("tariff_id") or None,
    )


def _register(fields: Mapping[str, str], name: str) -> int | None:
    text = fields.get(name, "").strip()
    if not text:
        return None
    if not (text.isdecimal() and len(text) <= REGISTER_DIGITS_MAX):
        raise InvalidInput(
            "a register is a whole number of Wh", field=name, remedy="write for example 1234567"
        )
    return int(text)
