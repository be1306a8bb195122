"""Routes for attesters: what waits for their signature, what it rests on, and their answers."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from chargera.app import attester_feed
from chargera.app.attester_feed import BatchQuestion, CustodyQuestion, RegistrationQuestion
from chargera.app.permissions import Action
from chargera.app.settlement import Answer
from chargera.web.api.context import ApiCall, LongCall, shown
from chargera.web.api.passports import settlement_of, work_of
from chargera.web.api.shapes import Shape, answers

router = APIRouter(prefix="/feed", tags=["feed"])

Attester = Annotated[str | None, Query(max_length=42, description="leave out what he answered")]


class AnswerBody(Shape):
    """An attester's answer: a signature, or why there is none."""

    digest: str
    signature: str | None = None
    attester: str | None = None
    record: int | None = None
    reason: str | None = None


@router.get("/batches", responses=answers(list[BatchQuestion]))
async def batches(call: ApiCall, attester: Attester = None) -> Response:
    """List the batches that wait, with the records and readings that they rest on."""
    call.caller.require(Action.FEED)
    settlement_of(call)
    return shown(await attester_feed.batch_questions(work_of(call), call.caller, attester))


@router.get("/registrations", responses=answers(list[RegistrationQuestion]))
async def registrations(call: ApiCall, attester: Attester = None) -> Response:
    """List the registrations that wait, with the records that they rest on."""
    call.caller.require(Action.FEED)
    services = settlement_of(call)
    return shown(
        await attester_feed.registration_questions(
            work_of(call), call.caller, services.terms, attester
        )
    )


@router.get("/custody", responses=answers(list[CustodyQuestion]))
async def custody(call: ApiCall, attester: Attester = None) -> Response:
    """List the custody records that wait, with the records that they rest on."""
    call.caller.require(Action.FEED)
    services = settlement_of(call)
    return shown(
        await attester_feed.custody_questions(work_of(call), call.caller, services.terms, attester)
    )


@router.post("/answers", responses=answers(Answer))
async def answer(call: LongCall, body: AnswerBody) -> Response:
    """Take an answer to a batch, a registration or a custody record."""
    call.caller.require(Action.FEED)
    services = settlement_of(call)
    taken = await services.settlement.answer(
        body.digest,
        signature=body.signature,
        record=body.record,
        reason=None if body.reason is None else body.reason[:500],
        attester=body.attester,
    )
    services.wake()
    return shown(taken)
