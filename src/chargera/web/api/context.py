"""What the REST routes need from the rest of the server, and one request's way through them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import Depends, Request
from starlette.responses import Response

from chargera.app import idempotency
from chargera.app.access import Passwords
from chargera.app.admin_ports import AdminDatabase, AdminWork, IsConnected
from chargera.app.billing import ReviewDecision
from chargera.app.commands import StationControl
from chargera.app.passports import PassportRow
from chargera.app.payments import OpenedSession, OpenRequest, Payments
from chargera.app.permissions import Caller
from chargera.app.ports import Clock, Entropy
from chargera.app.settlement import Settlement
from chargera.app.settlement_ports import Contracts, NetworkTerms
from chargera.app.settlement_views import BatchView, ClaimView
from chargera.app.station_tests import StationTests
from chargera.app.views import as_json
from chargera.web.auth import CSRF_HEADER, identify, require_form_value


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementServices:
    """What settles on chain."""

    terms: NetworkTerms
    contracts: Contracts
    settlement: Settlement
    payments: Payments
    close: Callable[[], Awaitable[list[BatchView]]]
    """Anchor, form batches of all that waits, and go as far as that goes now."""
    settle: Callable[[], Awaitable[list[BatchView]]]
    """Settle what may be settled now, and return all batches."""
    claim: Callable[[str, str | None], Awaitable[list[ClaimView]]]
    """Passport and holder (None: all of them): have them paid."""
    open_session: Callable[[Caller, OpenRequest], Awaitable[OpenedSession]]
    """Open an escrow, and start its session at its EVSE."""
    passport_file: Callable[[PassportRow], Awaitable[bytes]]
    """A registration to the file by which a stranger recomputes it."""
    wake: Callable[[], None]
    """Told that an attester has answered, or that there is something new to do."""
    custodial: str | None = None
    """The host who left his key to this server; on the embedded network only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The use cases and parts of the server behind the REST API.

    The callables have checked nothing: the routes check permission and reach before they call.
    """

    database: AdminDatabase
    clock: Clock
    entropy: Entropy
    passwords: Passwords
    control: StationControl
    tests: StationTests
    is_connected: IsConnected
    forget_stations: Callable[[Sequence[str]], None]
    """Called after the commit of whatever the channel may have cached of these stations."""
    receipt: Callable[[str], Awaitable[bytes]]
    """Session id to its receipt."""
    cdr_document: Callable[[str], Awaitable[bytes]]
    """Session id to its OCPI 2.2.1 CDR with its tariff."""
    decide_review: Callable[[str, ReviewDecision, str], Awaitable[None]]
    """Bill a session in review: session id, decision, who decided; commits."""
    sign_head: Callable[[], Awaitable[None]]
    """Sign and publish a head over all that is durable."""
    anchor_now: Callable[[], Awaitable[int]]
    """Sign and anchor the newest head; return its size once it has its sequence number."""
    advance_clock: Callable[[float], Awaitable[datetime]]
    """Move a manual clock; return once all work that is due then is done."""
    backup: Callable[[], AsyncIterator[bytes]]
    """The archive of everything, in pieces."""
    settings: Callable[[], Mapping[str, Any]]
    """All settings, secrets masked."""
    version: str
    settlement: SettlementServices | None = None
    """None: this network settles nothing on chain."""


@dataclass(slots=True)
class Call:
    """One request: who makes it, its unit of work, and its answer."""

    services: Services
    request: Request
    work: AdminWork
    caller: Caller
    body: bytes

    @property
    def now(self) -> datetime:
        """The network's time."""
        return self.services.clock.now()

    async def created(
        self,
        effect: Callable[[], Awaitable[Any]],
        *,
        secret: str | None = None,
        forget: Callable[[Any], Sequence[str]] = lambda made: (),
        status: int = 201,
    ) -> Response:
        """Make something once, commit, and answer with it.

        With an Idempotency-Key the same request again gets the same answer without a second
        effect, but for the member `secret`, which leaves only once. `forget` names stations
        that the channel must load anew after what was made.
        """
        key = self.request.headers.get("Idempotency-Key")
        if key is not None and self.caller.is_signed_in:
            digest = idempotency.request_digest(
                self.request.method, self.request.url.path, self.body
            )
            earlier = await idempotency.claim(self.work, self.caller, key, digest)
            if earlier is not None:
                return json_bytes(earlier.response, earlier.status)
        made = await effect()
        answer = as_json(made)
        if key is not None and self.caller.is_signed_in:
            kept = answer if secret is None else answer | {secret: None}
            await idempotency.remember(self.work, self.caller, key, status, orjson.dumps(kept))
        await self.work.commit()
        self.services.forget_stations(forget(made))
        return json_bytes(orjson.dumps(answer), status)

    async def changed(self, answer: Any, *, forget: Sequence[str] = ()) -> Response:
        """Commit and answer with what was changed."""
        await self.work.commit()
        self.services.forget_stations(forget)
        return json_bytes(orjson.dumps(as_json(answer)))


def shown(answer: Any, status: int = 200) -> Response:
    """Answer with a view."""
    return json_bytes(orjson.dumps(as_json(answer)), status)


def page(items: Sequence[Any], limit: int, cursor: Callable[[Any], Any]) -> Response:
    """Answer with one page of a list: `next` is what to ask for next, null at the end."""
    full = len(items) == limit
    return shown({"items": items, "next": cursor(items[-1]) if full and items else None})


def json_bytes(body: bytes, status: int = 200) -> Response:
    """Answer with encoded JSON; nothing of the API is kept by caches."""
    return Response(
        body,
        status,
        media_type="application/json",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )


def services_of(request: Request) -> Services:
    """Return the services that this API was made with."""
    services: Services = request.app.state.services
    return services


@asynccontextmanager
async def open_call(request: Request) -> AsyncIterator[Call]:
    """Open a unit of work for a request and find out who makes it."""
    services = services_of(request)
    body = await request.body()
    async with services.database.work() as work:
        identity = await identify(work, request)
        request.state.caller = identity.caller
        require_form_value(identity, request.method, request.headers.get(CSRF_HEADER))
        yield Call(services, request, work, identity.caller, body)


async def _in_one_unit_of_work(request: Request) -> AsyncIterator[Call]:
    async with open_call(request) as call:
        yield call


async def _identified(request: Request) -> Call:
    async with open_call(request) as call:
        return call


ApiCall = Annotated[Call, Depends(_in_one_unit_of_work, scope="function")]
"""The dependency of most routes; its unit of work ends before the answer is sent."""

LongCall = Annotated[Call, Depends(_identified)]
"""The dependency of routes that wait for something outside: its unit of work has ended already,
so that no connection is held meanwhile. Only `caller` and `services` are of use."""
