"""What a station did, in order, and ways in which the news of it arrives.

A `History` is a list of sessions that really happened. `clean_delivery` tells it as it happened;
`noisy_delivery` repeats messages under new ids, delays some past others, and restarts the server
in between. Whatever way it arrives, the same sessions and bills must come out, or a review.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Any, Protocol

from hypothesis import strategies as st

from chargera.app.billing import Billing
from chargera.app.charging import Charging, ChargingPolicy
from chargera.app.clock import NetworkClock
from chargera.app.ports import InboundCall, QuotedTariff, TariffInForce
from chargera.app.testing import SeededEntropy
from chargera.domain.messages import (
    IdTokenRef,
    MeterSample,
    ReadingContext,
    StationMessage,
    StatusNotification,
    TransactionAnswer,
    TransactionEvent,
    TransactionEventKind,
)
from chargera.domain.pricing import ChargingState
from chargera.domain.station import (
    ChargingStation,
    Connector,
    ConnectorStatus,
    ConnectorType,
    OcppVersion,
)
from chargera.proofs.ocpi import tariff_digest, tariff_from_ocpi

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
STATION_ID = "CP-1"
S, U, E = TransactionEventKind.STARTED, TransactionEventKind.UPDATED, TransactionEventKind.ENDED
CONTEXT = {S: ReadingContext.BEGIN, U: ReadingContext.PERIODIC, E: ReadingContext.END}
TARIFF: dict[str, Any] = {
    "country_code": "NL",
    "currency": "EUR",
    "elements": [
        {
            "price_components": [
                {"price": "0.30", "step_size": 1, "type": "ENERGY", "vat": "21"},
                {"price": "1.00", "step_size": 1, "type": "PARKING_TIME", "vat": "21"},
            ]
        }
    ],
    "id": "T1",
    "last_updated": "2026-01-01T00:00:00Z",
    "party_id": "C4E",
}
IN_FORCE = TariffInForce(
    START, QuotedTariff("T1", 1, tariff_digest(TARIFF), tariff_from_ocpi(TARIFF), 1)
)
STATION = ChargingStation(
    station_id=STATION_ID,
    manufacturer="M",
    model="X",
    serial_number="N",
    latitude="52",
    longitude="4",
    time_zone="UTC",
    connectors=(
        Connector(1, 1, ConnectorType.TYPE2, 22_000, 1),
        Connector(2, 1, ConnectorType.TYPE2, 22_000, 2),
    ),
    ocpp_versions=frozenset(OcppVersion),
    security_profile=1,
    plain_allowed=True,
    meter_key_der_hex=None,
    host_name=None,
    registered_at=START,
)


# What happened ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a station reports of a session; `number` None: outside of it (a status)."""

    at: datetime
    kind: TransactionEventKind | None
    register_wh: int | None = None
    charging: ChargingState | None = None
    status: str | None = None
    seq_no: int | None = None


@dataclass(slots=True)
class PastSession:
    """One session that really happened; its registers are nobody else's."""

    place: int
    evse: int
    number: str
    id_token: str
    fault: "Fault | None" = None
    steps: list[Step] = field(default_factory=list)

    truly_at: list[datetime] = field(default_factory=list)

    def spoken_at(self, step: Step) -> datetime:
        """When a step was really reported."""
        if self.fault in CLOCKLESS:
            return self.truly_at[self.steps.index(step)]
        return step.at

    @property
    def begin_wh(self) -> int:
        return next(s.register_wh for s in self.steps if s.register_wh is not None)


@dataclass(slots=True)
class History:
    """All of a station's sessions."""

    version: OcppVersion
    sessions: list[PastSession]


@st.composite
def histories(
    draw: st.DrawFn, version: OcppVersion, *, sessions_max: int = 5, reuse: bool = False
) -> History:
    """Sessions on two EVSEs, one after the other on each, with values, pauses and stops.

    `reuse`: the station counts its transactions from 0 again after each.
    """
    free_at = {1: START, 2: START}
    register_wh = {1: 1_000, 2: 50_000_000}
    sessions = []
    for place in range(draw(st.integers(1, sessions_max))):
        evse = 1 if reuse else draw(st.sampled_from([1, 2]))
        session = PastSession(
            place, evse, "0" if reuse else f"tx-{place}", draw(st.sampled_from(["ABC", "DEF"]))
        )
        at = free_at[evse] + timedelta(minutes=draw(st.integers(11, 50)))
        wh = register_wh[evse] + 4  # the meter moves on between stop and the opening relay
        steps = [Step(at, S, wh)]
        idle = False
        for minutes in draw(st.lists(st.integers(1, 30), max_size=6)):
            at += timedelta(minutes=minutes)
            wh += 0 if idle else draw(st.integers(0, 5_000))
            turns = draw(st.booleans())
            idle = idle != turns
            state = ChargingState.IDLE if idle else ChargingState.CHARGING
            if version is OcppVersion.V1_6 and turns:
                steps.append(Step(at + timedelta(seconds=5), None, charging=state, status="S"))
            steps.append(Step(at, U, wh, charging=None if version is OcppVersion.V1_6 else state))
        at += timedelta(minutes=draw(st.integers(1, 30)))
        wh += 0 if idle else draw(st.integers(0, 5_000))
        steps.append(Step(at, E, wh))
        if version is OcppVersion.V1_6 and draw(st.booleans()):
            steps.append(Step(at + timedelta(minutes=1), None, status="Available"))
        steps.sort(key=lambda step: step.at)
        session.steps = _numbered(steps) if version is not OcppVersion.V1_6 else steps
        sessions.append(session)
        free_at[evse], register_wh[evse] = at, wh
    return History(version, sessions)


def _numbered(steps: Iterable[Step]) -> list[Step]:
    return [Step(s.at, s.kind, s.register_wh, s.charging, s.status, n) for n, s in enumerate(steps)]


class Fault(StrEnum):
    """What went wrong in a session; where a bill cannot follow from it, that is said."""

    NONE = "none"
    NO_START = "no start"
    NO_END = "no end"
    NO_CLOCK = "clock in 1970"
    CLOCK_AHEAD = "clock ahead for one message"
    CLOCK_BACK = "clock back for one message"
    FELL_BELOW_BEGIN = "register below the begin"
    ENDS_BELOW_BEGIN = "end below the begin"
    ENDS_TWICE = "two ends with different registers"
    END_REPEATED = "the end again, later"
    NO_END_REGISTER = "no register at the end"
    STRANGER = "unknown token"
    UNNUMBERED_STOP = "stop with id -1"


NEVER_BILLED = frozenset(
    {
        Fault.NO_START,
        Fault.NO_END,
        Fault.ENDS_BELOW_BEGIN,
        Fault.NO_END_REGISTER,
        Fault.STRANGER,
    }
)
CONTRADICTED = frozenset({Fault.FELL_BELOW_BEGIN, Fault.ENDS_TWICE})
"""Not billed, unless what contradicts comes after the bill: then that stands, and is marked."""
CLOCKLESS = frozenset({Fault.NO_CLOCK, Fault.CLOCK_AHEAD, Fault.CLOCK_BACK})


def spoil(session: PastSession, fault: Fault, version: OcppVersion) -> None:
    """Put a fault into a session."""
    steps = session.steps
    start = next(i for i, s in enumerate(steps) if s.kind is S)
    end = next(i for i, s in enumerate(steps) if s.kind is E)
    session.fault = fault
    session.truly_at = [step.at for step in steps]
    match fault:
        case Fault.NO_START:
            del steps[start]
        case Fault.NO_END:
            del steps[end]
        case Fault.NO_CLOCK:
            since = steps[0].at - datetime(1970, 1, 1, tzinfo=UTC)
            steps[:] = [replace(s, at=s.at - since) for s in steps]
        case Fault.CLOCK_AHEAD:
            steps[start + 1] = replace(
                steps[start + 1], at=steps[start + 1].at + timedelta(days=400)
            )
        case Fault.CLOCK_BACK:
            back = steps[start].at - timedelta(minutes=40)
            values = [i for i, step in enumerate(steps) if step.kind is U]
            steps[:] = [replace(s, at=back) if i in values[:1] else s for i, s in enumerate(steps)]
        case Fault.FELL_BELOW_BEGIN:
            value = Step(
                steps[start].at + timedelta(seconds=30), U, session.begin_wh - 500, seq_no=None
            )
            steps.insert(start + 1, value)
        case Fault.ENDS_BELOW_BEGIN:
            steps[end] = replace(steps[end], register_wh=session.begin_wh - 2)
        case Fault.ENDS_TWICE | Fault.END_REPEATED:
            more = 7 if fault is Fault.ENDS_TWICE else 0
            last = steps[end]
            again = replace(
                last,
                at=last.at + timedelta(minutes=2),
                register_wh=(last.register_wh or 0) + more,
            )
            steps.append(again)
        case Fault.NO_END_REGISTER:
            steps[end] = replace(steps[end], register_wh=None)
        case Fault.STRANGER:
            session.id_token = "XYZ"
        case _:
            pass
    if version is not OcppVersion.V1_6:
        steps[:] = _numbered(steps)


# How the news arrives --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class News:
    """One message of a session, as often as it arrives."""

    session: PastSession
    step: Step


@dataclass(frozen=True, slots=True)
class Delivery:
    """Batches of messages. `restarts`: before which the server forgot; `bills`: after which it
    billed what was due."""

    batches: list[list[News]]
    restarts: frozenset[int] = frozenset()
    bills: frozenset[int] = frozenset()
    late: bool = False


def clean_delivery(history: History) -> Delivery:
    """Each message once, as it happened, in a batch of its own."""
    news = [News(session, step) for session in history.sessions for step in session.steps]
    # A station without a clock speaks in its turn nevertheless.
    news.sort(key=lambda n: (n.session.spoken_at(n.step), n.session.steps.index(n.step)))
    return Delivery([[n] for n in news])


def noisy_delivery(history: History, random: Random, *, reach: float = 6.0) -> Delivery:
    """Messages repeated and delayed past up to `reach` others, in batches, between restarts.

    A 1.6 station learns a session's number from the answer to its start, so that the start comes
    first; what it says of a session in a status comes after it, too.
    """
    ordered = clean_delivery(history).batches
    first_at: dict[int, float] = {}
    placed: list[tuple[float, News]] = []
    for place, (news,) in enumerate(ordered):
        key = place + random.uniform(0, reach)
        copies = [key]
        while random.random() < 0.4 and len(copies) < 4:
            copies.append(key + random.uniform(0, 2 * reach))
        waits = history.version is OcppVersion.V1_6
        if waits and news.step.kind is S:
            first_at[news.session.place] = key
        elif waits:
            copies = [max(c, first_at.get(news.session.place, 0.0) + 1e-6) for c in copies]
        placed += [(copy, news) for copy in copies]
    placed.sort(key=lambda item: item[0])
    batches: list[list[News]] = [[]]
    for _, news in placed:
        if random.random() < 0.4:
            batches.append([])
        batches[-1].append(news)
    batches = [batch for batch in batches if batch]
    chosen = [i for i in range(len(batches)) if random.random() < 0.3]
    billed = [i for i in range(len(batches)) if random.random() < 0.3]
    return Delivery(batches, frozenset(chosen), frozenset(billed), late=True)


# What comes of it ------------------------------------------------------------------------------


class Databases(Protocol):
    """A database under test: in memory or PostgreSQL."""

    def work(self) -> AbstractAsyncContextManager[Any]:
        """Open a unit of work."""

    def channel_work(self) -> AbstractAsyncContextManager[Any]:
        """Open a unit of work of the channel."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a session."""

    state: str
    energy_wh: int | None
    gross_minor: int | None


class Csms:
    """Charging and billing over a database."""

    def __init__(self, database: Databases, seed: int = 0) -> None:
        self.clock = NetworkClock(lambda: START, lambda: 0.0, manual=True)
        entropy = SeededEntropy(seed)
        self.database = database
        self.charging = Charging(self.clock, entropy, ChargingPolicy())
        self.billing = Billing(self.clock, entropy, "NL*C4E")
        self.numbers: dict[int, str] = {}
        self.messages = 0

    async def receive(self, history: History, delivery: Delivery) -> None:
        """Take all of it and bill at the end."""
        ended_at = max(n.session.spoken_at(n.step) for b in delivery.batches for n in b)
        for place, batch in enumerate(delivery.batches):
            if place in delivery.restarts:
                self.charging.forget([STATION_ID])
            if delivery.late:
                now = max(self.clock.now(), ended_at) + timedelta(seconds=1)
            else:
                now = max(n.session.spoken_at(n.step) for n in batch) + timedelta(seconds=1)
            await self._take(history.version, batch, max(now, self.clock.now()))
            if place in delivery.bills:
                await self.bill()
        await self.bill()

    async def _take(self, version: OcppVersion, batch: list[News], now: datetime) -> None:
        self.clock.advance((now - self.clock.now()).total_seconds())
        pending = list(batch)
        while pending:
            # A 1.6 station cannot use a number before it was answered.
            known: list[News] = []
            while pending and (
                pending[0].step.kind is S
                or version is not OcppVersion.V1_6
                or pending[0].session.place in self.numbers
                or pending[0].session.fault is Fault.NO_START
                or not known
            ):
                known.append(pending.pop(0))
            await self.say(
                version,
                [message_of(version, n, self.numbers.get(n.session.place)) for n in known],
                [n.session.place for n in known],
            )

    async def say(
        self,
        version: OcppVersion,
        messages: Sequence[StationMessage],
        places: Sequence[int] = (),
    ) -> list[Any]:
        """Handle messages as one batch, each under a new message id."""
        calls = []
        for message in messages:
            self.messages += 1
            calls.append(
                InboundCall(
                    STATION_ID,
                    version,
                    self.clock.now(),
                    f"m{self.messages}",
                    "Action",
                    message,
                    b"[]",
                )
            )
        async with self.database.channel_work() as work:
            answers = await self.charging.handle(work, calls)
            await work.commit()
        for place, message, answer in zip(places, messages, answers, strict=False):
            if isinstance(message, TransactionEvent) and message.kind is S:
                assert isinstance(answer, TransactionAnswer)
                number = self.numbers.setdefault(place, answer.transaction_id)
                if version is OcppVersion.V1_6:
                    assert number == answer.transaction_id, "a repeated start has one number"
        return answers

    async def bill(self) -> None:
        """Bill until nothing is due."""
        while True:
            async with self.database.work() as work:
                told = await self.billing.bill_due(work)
                await work.commit()
            if not told:
                return


def message_of(version: OcppVersion, news: News, number: str | None) -> StationMessage:
    """Return the message that reports a step."""
    session, step = news.session, news.step
    if step.kind is None:
        return StatusNotification(
            evse=None,
            connector=session.evse,
            status=ConnectorStatus.AVAILABLE
            if step.status == "Available"
            else ConnectorStatus.OCCUPIED,
            detail=step.status or "",
            at=step.at,
            charging=step.charging,
        )
    is_1_6 = version is OcppVersion.V1_6
    if is_1_6:
        transaction_id = None if step.kind is S else number or f"77{session.place}"
        if step.kind is E and session.fault is Fault.UNNUMBERED_STOP:
            transaction_id = "-1"
    else:
        transaction_id = session.number
    names_token = step.kind is S or transaction_id == "-1"
    samples = ()
    if step.register_wh is not None:
        samples = (MeterSample(step.at, CONTEXT[step.kind], step.register_wh, 11_000),)
    kind = None if is_1_6 else "ISO14443"
    return TransactionEvent(
        kind=step.kind,
        transaction_id=transaction_id,
        seq_no=step.seq_no,
        evse=None if is_1_6 else session.evse,
        connector=None if is_1_6 and step.kind is E else session.evse if is_1_6 else 1,
        at=step.at,
        id_token=IdTokenRef(session.id_token, kind) if names_token else None,
        samples=samples,
        signed=(),
        charging=step.charging,
        stop_reason=None,
        offline=False,
        remote_start_id=None,
    )
