"""Routes of the event log and its anchors. The log's own files are served under `/log`."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response, StreamingResponse

from chargera.app import sessions
from chargera.app.admin_ports import EntryFilter
from chargera.app.permissions import Action
from chargera.app.views import AnchorView, LogEntryView, LogHeadView
from chargera.web.api.context import ApiCall, LongCall, page, shown
from chargera.web.api.shapes import PAGE_MAX, Limit, answers, content, pages

router = APIRouter(tags=["log"])

BIGINT_MAX = 2**63 - 1

Index = Annotated[int, Query(ge=0, le=BIGINT_MAX)]


@router.get("/log/head", responses=answers(LogHeadView))
async def head(call: ApiCall) -> Response:
    """Show how far the log is recorded, signed and anchored."""
    return shown(await sessions.log_head(call.work))


@router.post("/log/head", responses=answers(LogHeadView))
async def sign_head(call: LongCall) -> Response:
    """Sign a head over all that is durable now, without waiting for the next one that is due."""
    call.caller.require(Action.ANCHORS_WRITE)
    await call.services.sign_head()
    async with call.services.database.work() as work:
        return shown(await sessions.log_head(work))


@router.get("/log/entries", responses=pages(LogEntryView))
async def list_entries(
    call: ApiCall,
    from_index: Index = 0,
    kind: str | None = None,
    station: Annotated[str | None, Query(max_length=48)] = None,
    session: Annotated[str | None, Query(max_length=36)] = None,
    limit: Limit = PAGE_MAX,
) -> Response:
    """List entries in order; records only where the caller may read them."""
    rows = await sessions.list_entries(
        call.work, call.caller, EntryFilter(from_index, limit, kind, station, session)
    )
    return page(rows, limit, lambda row: row.log_index + 1)


@router.get("/log/entries/{log_index}", responses=answers(LogEntryView))
async def show_entry(
    call: ApiCall, log_index: Annotated[int, Path(ge=0, le=BIGINT_MAX)]
) -> Response:
    """Show one entry."""
    return shown(await sessions.show_entry(call.work, call.caller, log_index))


@router.get(
    "/log/records",
    responses=content("application/jsonl", "lines {index, kind, record, salt}"),
)
async def stream_records(
    call: LongCall, size: Annotated[int | None, Query(ge=0, le=BIGINT_MAX)] = None
) -> Response:
    """Stream the records of the first `size` entries that the caller may read."""
    call.caller.require(Action.LOG_READ)
    return StreamingResponse(
        sessions.stream_records(call.services.database, call.caller, size),
        media_type="application/jsonl",
        headers={"Cache-Control": "no-store"},
    )


@router.get("/log/readings", responses=content("application/jsonl", "lines {events, session_id}"))
async def stream_readings(
    call: LongCall, size: Annotated[int | None, Query(ge=0, le=BIGINT_MAX)] = None
) -> Response:
    """Stream the readings that those records commit to."""
    call.caller.require(Action.LOG_READ)
    return StreamingResponse(
        sessions.stream_readings(call.services.database, call.caller, size),
        media_type="application/jsonl",
        headers={"Cache-Control": "no-store"},
    )


@router.get("/anchors", responses=pages(AnchorView))
async def list_anchors(
    call: ApiCall, before: Index | None = None, limit: Limit = PAGE_MAX
) -> Response:
    """List anchors, newest first."""
    rows = await sessions.list_anchors(call.work, before=before, limit=limit)
    return page(rows, limit, lambda row: row.tree_size)


@router.post("/anchors", responses=answers(AnchorView))
async def anchor_now(call: LongCall) -> Response:
    """Anchor the newest head now; answers once the message has its sequence number."""
    call.caller.require(Action.ANCHORS_WRITE)
    size = await call.services.anchor_now()
    async with call.services.database.work() as work:
        (anchor,) = await sessions.list_anchors(work, before=size + 1, limit=1)
    return shown(anchor)
