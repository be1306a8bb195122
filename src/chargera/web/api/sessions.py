"""Routes of charging sessions: lists, details, receipts, CDRs and decisions on reviews."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from chargera.app import sessions
from chargera.app.admin_ports import SessionFilter
from chargera.app.billing import ReviewDecision
from chargera.app.id_tokens import check_time
from chargera.app.permissions import Action
from chargera.app.views import SessionRow, session_json
from chargera.web.api.context import ApiCall, Call, json_bytes, open_call, page, shown
from chargera.web.api.context import LongCall as Briefly
from chargera.web.api.shapes import PAGE_MAX, Limit, Shape, answers, pages

router = APIRouter(prefix="/sessions", tags=["sessions"])

SessionId = Annotated[str, Path(max_length=36)]


class DecisionBody(Shape):
    """A person's decision on a session in review; what is null stays as the station said."""

    reason: str = Field(min_length=1, max_length=500)
    meter_start_wh: int | None = None
    meter_stop_wh: int | None = None
    started_at: str | None = None
    ended_at: str | None = None
    tariff_id: str | None = None

    def decision(self) -> ReviewDecision:
        """Return the decision with its times read."""
        return ReviewDecision(
            self.reason,
            self.meter_start_wh,
            self.meter_stop_wh,
            self._time("started_at"),
            self._time("ended_at"),
            self.tariff_id,
        )

    def _time(self, name: str) -> datetime | None:
        return check_time(getattr(self, name), field=name)


@router.get("", responses=pages(SessionRow))
async def list_sessions(
    call: ApiCall,
    station: Annotated[str | None, Query(max_length=48)] = None,
    state: Annotated[str | None, Query(max_length=16)] = None,
    before: Annotated[str | None, Query(max_length=36)] = None,
    limit: Limit = PAGE_MAX,
) -> Response:
    """List the sessions that the caller may see, newest first."""
    rows = await sessions.list_sessions(
        call.work, call.caller, SessionFilter(station, state, before, limit)
    )
    return page(rows, limit, lambda row: row.session_id)


@router.get("/{session_id}", responses=answers(SessionRow))
async def show_session(call: ApiCall, session_id: SessionId) -> Response:
    """Show a session with its readings, bills and log entries."""
    view = await sessions.show_session(call.work, call.caller, session_id, now=call.now)
    return shown(session_json(view))


@router.get("/{session_id}/receipt", responses=answers(dict[str, object]))
async def receipt(call: Briefly, session_id: SessionId) -> Response:
    """Give the receipt that a stranger can check, byte for byte."""
    await _require(call, session_id, Action.SESSIONS_READ)
    return json_bytes(await call.services.receipt(session_id))


@router.get("/{session_id}/cdr", responses=answers(dict[str, object]))
async def cdr(call: Briefly, session_id: SessionId) -> Response:
    """Give the OCPI 2.2.1 CDR of a billed session with its tariff."""
    await _require(call, session_id, Action.SESSIONS_READ)
    return json_bytes(await call.services.cdr_document(session_id))


@router.post("/{session_id}/decision", responses=answers(SessionRow))
async def decide(call: Briefly, session_id: SessionId, body: DecisionBody) -> Response:
    """Bill a session in review as a person decided; the decision is a log entry."""
    await _require(call, session_id, Action.SESSIONS_DECIDE)
    await call.services.decide_review(session_id, body.decision(), call.caller.name)
    async with open_call(call.request) as after:
        view = await sessions.show_session(after.work, after.caller, session_id, now=after.now)
    return shown(session_json(view))


async def _require(call: Call, session_id: str, action: Action) -> None:
    async with call.services.database.work() as work:
        await sessions.require_session(work, call.caller, session_id, action)
