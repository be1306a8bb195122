"""Routes of running an installation: who am I, overview, clock, settings, backup."""

from collections.abc import AsyncIterator

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response, StreamingResponse

from chargera.app import registry, sessions
from chargera.app.permissions import Action
from chargera.app.views import Overview, Today
from chargera.web.api.context import ApiCall, LongCall, shown
from chargera.web.api.shapes import Shape, answers, content

router = APIRouter(tags=["operation"])


class CallerShape(BaseModel):
    """Who the API takes the caller for, and what that allows."""

    name: str
    role: str
    scopes: list[str] | None
    actions: list[str]
    version: str


class AdvanceBody(Shape):
    """How far to move a manual clock."""

    seconds: float = Field(strict=False, allow_inf_nan=False)


class NowShape(BaseModel):
    """The network's time."""

    now: str


@router.get("/whoami", responses=answers(CallerShape))
async def whoami(call: ApiCall) -> Response:
    """Show who is calling and what that allows."""
    caller = call.caller
    return shown(
        {
            "name": caller.name,
            "role": str(caller.role),
            "scopes": None if caller.scopes is None else sorted(caller.scopes),
            "actions": [str(action) for action in Action if caller.may(action)],
            "version": call.services.version,
        }
    )


@router.get("/overview", responses=answers(Overview))
async def overview(call: ApiCall) -> Response:
    """Show the figures of the first page."""
    return shown(await registry.overview(call.work, call.caller, call.services.is_connected))


@router.get("/today", responses=answers(Today))
async def today(call: ApiCall) -> Response:
    """Show what goes on now and what the day (UTC) has brought."""
    return shown(await sessions.show_today(call.work, call.caller, now=call.now))


@router.get("/clock", responses=answers(NowShape))
async def clock(call: ApiCall) -> Response:
    """Show the network's time."""
    return shown({"now": call.now})


@router.post("/clock/advance", responses=answers(NowShape))
async def advance_clock(call: LongCall, body: AdvanceBody) -> Response:
    """Move a manual clock; answers once all work that is due then is done."""
    call.caller.require(Action.CLOCK_WRITE)
    return shown({"now": await call.services.advance_clock(body.seconds)})


@router.get("/settings", responses=answers(dict[str, object]))
async def settings(call: ApiCall) -> Response:
    """Show all settings, secrets masked."""
    call.caller.require(Action.SETTINGS_READ)
    return shown(call.services.settings())


@router.get("/backup", responses=content("application/x-tar", "database, keys and settings"))
async def backup(call: LongCall) -> Response:
    """Stream an archive of everything that a restore needs; it holds secrets."""
    call.caller.require(Action.BACKUP_READ)
    pieces = call.services.backup()
    first = await anext(pieces)  # what fails, fails before the answer begins
    return StreamingResponse(
        _joined(first, pieces),
        media_type="application/x-tar",
        headers={"Cache-Control": "no-store"},
    )


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
