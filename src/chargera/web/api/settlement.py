"""Routes of settlement: close, list, show, claim; wallet sessions; shares."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field
from starlette.responses import Response

from chargera.app import settlement_views
from chargera.app.payments import OpenedSession, OpenRequest, OpenTerms
from chargera.app.permissions import Action
from chargera.app.settlement_views import BatchView, ClaimView, SharesView
from chargera.web.api.context import ApiCall, LongCall, shown
from chargera.web.api.passports import settlement_of, work_of
from chargera.web.api.shapes import Shape, answers

router = APIRouter(tags=["settlement"])

Digest = Annotated[str, Path(max_length=66)]
PassportId = Annotated[str, Path(max_length=66)]


class ClaimBody(Shape):
    """Whom to pay: every holder of a passport, or one."""

    passport_id: str
    holder: str | None = None


class OpenBody(Shape):
    """A wallet session: what its payer signed."""

    station_id: str
    evse: int
    payer: str
    asset: str
    max: int = Field(description="minor units of the asset")
    session_key: str
    deadline: int
    signature: str
    permit_signature: str


@router.get("/settlement/batches", responses=answers(list[BatchView]))
async def list_batches(
    call: ApiCall, every: Annotated[bool, Query(alias="all")] = False
) -> Response:
    """List batches, newest first; with `all` those too that are not signed or were dropped."""
    settlement_of(call)
    return shown(await settlement_views.batches(work_of(call), every=every))


@router.get("/settlement/batches/{digest}", responses=answers(dict[str, object]))
async def show_batch(call: ApiCall, digest: Digest) -> Response:
    """Show a batch with its leaves, who answered what, and what it paid."""
    settlement_of(call)
    return shown(await settlement_views.batch(work_of(call), call.caller, digest))


@router.get("/settlement/lanes", responses=answers(list[dict[str, object]]))
async def list_lanes(call: ApiCall) -> Response:
    """List the lanes: how many numbers each has, and which are not settled."""
    services = settlement_of(call)
    return shown(await settlement_views.lanes(work_of(call), services.terms))


@router.post("/settlement/close", responses=answers(list[BatchView]))
async def close(call: LongCall) -> Response:
    """Anchor, put all that waits into batches, and bring them as far as they go now."""
    call.caller.require(Action.SETTLEMENT_WRITE)
    return shown(await settlement_of(call).close())


@router.post("/settlement/settle", responses=answers(list[BatchView]))
async def settle(call: LongCall) -> Response:
    """Settle every batch whose window is over; the keeper does it by itself, too."""
    call.caller.require(Action.SETTLEMENT_WRITE)
    return shown(await settlement_of(call).settle())


@router.post("/settlement/claim", responses=answers(list[ClaimView]))
async def claim(call: LongCall, body: ClaimBody) -> Response:
    """Have the holders of a passport paid; whoever asks, only a holder gets anything."""
    call.caller.require(Action.SETTLEMENT_WRITE)
    return shown(await settlement_of(call).claim(body.passport_id, body.holder))


@router.get("/shares/{passport_id}", responses=answers(SharesView))
async def show_shares(call: LongCall, passport_id: PassportId) -> Response:
    """Show who holds the units of a passport, and what each is owed."""
    services = settlement_of(call)
    return shown(await settlement_views.shares(services.contracts, passport_id))


@router.get("/payments/terms", responses=answers(OpenTerms))
async def open_terms(call: LongCall, payer: str, asset: str) -> Response:
    """Show what a payer must know to sign an escrow."""
    return shown(await settlement_of(call).payments.open_terms(payer, asset))


@router.post("/payments", responses=answers(OpenedSession))
async def open_session(call: LongCall, body: OpenBody) -> Response:
    """Open an escrow on chain and start its session; everything in it was signed elsewhere."""
    members: Mapping[str, Any] = body.model_dump()
    wanted = OpenRequest(
        maximum=members["max"], **{name: members[name] for name in members if name != "max"}
    )
    call.caller.require(Action.PAYMENTS_OPEN)
    return shown(await settlement_of(call).open_session(call.caller, wanted))
