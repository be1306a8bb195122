"""Charging sessions and the log as people read them, each within the caller's reach."""

import hmac
from collections.abc import AsyncIterator
from datetime import datetime

from chargera.app.admin_ports import AdminDatabase, AdminWork, EntryFilter, SessionFilter
from chargera.app.permissions import Action, Caller
from chargera.app.views import (
    AnchorView,
    LogEntryView,
    LogHeadView,
    SessionRow,
    SessionView,
    Today,
)
from chargera.domain.errors import InvalidInput, NotFound
from chargera.domain.transaction import SessionState
from chargera.proofs.entry import EntryKind


async def list_sessions(work: AdminWork, caller: Caller, wanted: SessionFilter) -> list[SessionRow]:
    """Return sessions, newest first. Raises InvalidInput for a state that no session has."""
    caller.require(Action.SESSIONS_READ)
    if wanted.state is not None and wanted.state not in tuple(SessionState):
        raise InvalidInput(
            f"'{wanted.state[:20]}' is not a state of a session",
            field="state",
            remedy=f"use one of {', '.join(SessionState)}",
        )
    return await work.sessions.rows(caller, wanted)


async def show_session(
    work: AdminWork, caller: Caller, session_id: str, *, now: datetime, linked: bool = False
) -> SessionView:
    """Return one session.

    `linked`: the caller came by the session's unguessable link, which shows the session and its
    bill to whoever holds it, but not whose identifier started it.
    """
    if not linked:
        caller.require(Action.SESSIONS_READ)
    view = await work.sessions.show(caller, session_id, now, linked=linked)
    if view is None:
        raise no_session(session_id)
    return view


async def require_session(
    work: AdminWork, caller: Caller, session_id: str, action: Action = Action.SESSIONS_READ
) -> None:
    """Raise NotPermitted or NotFound unless the caller may do this to this session."""
    caller.require(action)
    if await work.commands.transaction(caller, session_id) is None:
        raise no_session(session_id)


def no_session(session_id: str) -> NotFound:
    """Return the error for a session that does not exist or is somebody else's."""
    return NotFound(
        f"there is no session '{session_id[:36]}' that you may see",
        field="session_id",
        remedy="`chargera session list` shows those that you may see",
    )


async def show_today(work: AdminWork, caller: Caller, *, now: datetime, limit: int = 50) -> Today:
    """Return what goes on now and what the day (UTC) has brought; public.

    Who does not reach a running session sees its station, energy and power, which its display
    shows to every passer-by, but neither its address nor its cost.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return await work.sessions.today(caller, midnight, now, limit)


# The log ---------------------------------------------------------------------------------------


async def log_head(work: AdminWork) -> LogHeadView:
    """Return how far the log is recorded, signed and anchored; public."""
    return await work.log.head()


async def show_entry(work: AdminWork, caller: Caller, log_index: int) -> LogEntryView:
    """Return one entry: its public envelope, and its record if the caller may read that."""
    caller.require(Action.LOG_READ)
    view = await work.log.entry(caller, log_index)
    if view is None:
        raise NotFound(
            f"the log has no entry {log_index} yet",
            field="log_index",
            remedy="`chargera log head` says how many there are",
        )
    return view


async def list_entries(work: AdminWork, caller: Caller, wanted: EntryFilter) -> list[LogEntryView]:
    """Return entries in order of the log."""
    caller.require(Action.LOG_READ)
    if wanted.kind is not None and wanted.kind not in tuple(EntryKind):
        raise InvalidInput(
            f"'{wanted.kind[:32]}' is not a kind of entry",
            field="kind",
            remedy=f"use one of {', '.join(EntryKind)}",
        )
    return await work.log.entries(caller, wanted)


async def stream_records(
    database: AdminDatabase, caller: Caller, size: int | None = None
) -> AsyncIterator[bytes]:
    """Stream the records of the first `size` entries that the caller may read, as JSON lines.

    Each piece is a unit of work of its own, so that a slow reader holds no transaction open:
    entries are never changed, only erased.
    """
    caller.require(Action.LOG_READ)
    after = -1
    while True:
        async with database.work() as work:
            if size is None:
                size = (await work.log.head()).size
            piece = await work.log.records(caller, after, size)
        if piece is None:
            return
        lines, after = piece
        yield lines


async def stream_readings(
    database: AdminDatabase, caller: Caller, size: int | None = None
) -> AsyncIterator[bytes]:
    """Stream the readings that the records of `stream_records` commit to, as JSON lines.

    A session's readings are no entries; with these its bill can be recomputed from the log.
    """
    caller.require(Action.LOG_READ)
    after = ""
    while True:
        async with database.work() as work:
            if size is None:
                size = (await work.log.head()).size
            piece = await work.log.readings(caller, after, size)
        if piece is None:
            return
        lines, after = piece
        yield lines


async def list_anchors(
    work: AdminWork, *, before: int | None = None, limit: int | None = None
) -> list[AnchorView]:
    """Return anchors, newest first; public."""
    return await work.log.anchors(before, limit)


# Unguessable links -----------------------------------------------------------------------------


def link_key(secret: bytes, session_id: str) -> str:
    """Return what the link of a session carries: 32 hex digits that only this server can make."""
    return hmac.new(secret, b"chargera.session/1\n" + session_id.encode(), "sha256").hexdigest()[
        :32
    ]


def is_link_key(secret: bytes, session_id: str, presented: str) -> bool:
    """Say whether a link of this session carries the right key."""
    return hmac.compare_digest(link_key(secret, session_id).encode(), presented.encode())
