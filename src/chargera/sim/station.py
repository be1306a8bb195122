"""A charging station in software: plays planned sessions over OCPP, obeys orders, loses nothing."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from chargera.domain.errors import ChargEraError, InvalidInput
from chargera.domain.station import Connector, OcppVersion
from chargera.sim.clock import FIRST_TIME, StationClock
from chargera.sim.dialect import Charge, Dialect, Orders, Payload, PlugState, Sample, StopCause
from chargera.sim.link import Access, Letter, Link, Patience
from chargera.sim.meter import Identification, MeterReading, ReadingKind, SigningMeter
from chargera.sim.plan import ChargingCurve, PlannedSession
from chargera.sim.v16 import Dialect16
from chargera.sim.v201 import Dialect201

ANSWER_S = 0.1
"""How long a reset waits, in real seconds, so that its answer leaves before the line ends."""
ROOM_POLL_S = 0.1
"""How long, in real seconds, until a car that was started from afar makes room for the plan."""

DIALECTS: Mapping[OcppVersion, Callable[[tuple[Connector, ...], Orders], Dialect]] = {
    OcppVersion.V1_6: Dialect16,
    OcppVersion.V2_0_1: Dialect201,
}


@dataclass(frozen=True, slots=True)
class StationModel:
    """What a simulated station is."""

    access: Access
    version: OcppVersion
    connectors: tuple[Connector, ...]
    manufacturer: str = "ChargEra"
    model: str = "Simulated station"
    serial_number: str = "SIM-0"
    firmware: str = "1.0.0"
    sample_interval_s: int = 60
    """Network seconds between two readings of a transaction."""
    register_wh: int = 0
    """What every connector's meter shows at first."""
    signs_together: bool = False
    """The meter signs begin and end in one string at the end, not each in one of its own."""
    rate: float | None = None
    """Network seconds in a real one; None measures it after the first boot."""
    behind: timedelta = timedelta(0)
    """How long before the network's time the station's story begins; it then catches up."""
    speed: float = 240.0
    """Its seconds in a real one while it catches up."""
    patience: Patience = field(default_factory=Patience)


@dataclass(slots=True)
class Tally:
    """What a station has done so far."""

    ended: int = 0
    refused: int = 0
    """Visits whose driver was not let charge."""
    energy_wh: int = 0
    orders: list[str] = field(default_factory=list)
    """What the other side ordered, by name, in order."""
    boots: int = 0


@dataclass(slots=True)
class _Place:
    """A connector with its meter and what happens at it."""

    connector: Connector
    register_wh: int
    visits: int = 0
    """Cars that are there or wait for it."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    free_at: datetime = FIRST_TIME
    state: PlugState = PlugState.AVAILABLE
    charge: "_Running | None" = None


@dataclass(slots=True)
class _Running:
    """A transaction with the means to end it."""

    charge: Charge
    curve: ChargingCurve
    begin_wh: int
    seq_no: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    cause: StopCause = StopCause.LOCAL
    is_remote: bool = False
    """Nobody planned it: it was ordered from afar."""

    def sample(self, at: datetime) -> Sample:
        """Read the meter at `at` for the next message."""
        elapsed_ms = (at - self.charge.started_at) // timedelta(milliseconds=1)
        sample = Sample(
            seq_no=self.seq_no,
            at=at,
            register_wh=self.begin_wh + self.curve.energy_at(elapsed_ms),
            power_w=self.curve.power_at(elapsed_ms),
        )
        self.seq_no += 1
        return sample

    def order_stop(self, cause: StopCause) -> None:
        """End it for `cause` unless something ended it before."""
        if not self.stop.is_set():
            self.cause = cause
            self.stop.set()


class SimulatedStation:
    """One station: `run` plays its sessions; the other side's orders are obeyed meanwhile."""

    def __init__(self, model: StationModel, rng: Random, meter: SigningMeter | None = None) -> None:
        """Make a station; `rng` decides jitter, ids and what a remote start draws.

        Raises InvalidInput if a signing meter would have to count for several connectors: its
        pages tell transactions apart only where they do not overlap.
        """
        if meter is not None and len(model.connectors) != 1:
            raise InvalidInput(
                "a signing meter counts for one connector",
                field="connectors",
                remedy="make a station with a single connector",
            )
        self.model = model
        self.tally = Tally()
        self.clock = StationClock(model.rate, behind=model.behind, speed=model.speed)
        self._rng = rng
        self._meter = meter
        self._places = [_Place(c, model.register_wh) for c in model.connectors]
        self._dialect: Dialect = DIALECTS[model.version](model.connectors, self)
        self._link = Link(
            model.access,
            self._dialect,
            {
                "manufacturer": model.manufacturer,
                "model": model.model,
                "serial_number": model.serial_number,
                "firmware": model.firmware,
            },
            self.clock,
            rng,
            model.patience,
            self._after_boot,
        )
        self._began_at = FIRST_TIME
        self._group = asyncio.TaskGroup()
        self._work: set[asyncio.Task[None]] = set()

    @property
    def is_online(self) -> bool:
        """The network has accepted the station on its present connection."""
        return self._link.is_online

    @property
    def unsent(self) -> int:
        """How many messages about transactions wait for an answer."""
        return len(self._link.outbox)

    @property
    def dropped(self) -> int:
        """How many messages about transactions were given up, refused again and again."""
        return self._link.dropped

    @property
    def register_wh(self) -> int:
        """The highest register of its connectors, as of their last transactions."""
        return max(place.register_wh for place in self._places)

    async def run(self, sessions: Iterable[PlannedSession], *, stay: bool = False) -> Tally:
        """Play `sessions`, wait until every message is answered, and leave; `stay` for ever.

        `sessions` are in the order of their arrivals and are taken as they come due, so that they
        may be without end. Raises NotPermitted if the password is refused at first.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                line = group.create_task(self._link.run())
                await self._play(sessions, stay=stay)
                line.cancel()
        except BaseExceptionGroup as errors:
            ours = errors.subgroup(ChargEraError)
            raise ours.exceptions[0] if ours else errors from None
        return self.tally

    def hang_up(self) -> None:
        """Lose the connection, as a bad line does; the station reconnects by itself."""
        self._link.hang_up()

    # What the other side may order (`Orders`)

    def remote_start(
        self, connector: Connector | None, id_token: str, kind: str, remote_start_id: int | None
    ) -> bool:
        """Start at `connector` or any free one, as if a car of a random size came."""
        self.tally.orders.append("remote_start")
        candidates = [p for p in self._places if connector in (None, p.connector)]
        place = next((p for p in candidates if not p.visits), None)
        if place is None:
            return False
        energy_wh = self._rng.randrange(4_000, 20_000)
        power_w = min(place.connector.power_w_max, 50_000)
        session = PlannedSession(
            arrives_after=self.clock.now() - self._began_at,
            parked_for=timedelta(hours=self._rng.randrange(2, 5)),
            energy_wh=energy_wh,
            power_w=power_w,
            id_token=id_token,
            id_token_kind=kind,
            evse=place.connector.evse,
        )
        self._receive(place, session, remote_start_id, is_remote=True)
        return True

    def remote_stop(self, transaction_id: str) -> bool:
        """End the transaction with this id, if it runs."""
        self.tally.orders.append("remote_stop")
        for running in self._running():
            if running.charge.transaction_id == transaction_id:
                running.order_stop(StopCause.REMOTE)
                return True
        return False

    def reset(self) -> bool:
        """End everything, hang up and boot anew."""
        self.tally.orders.append("reset")
        self._start(self._reset())
        return True

    def unlock(self, connector: Connector | None) -> bool:
        """Release the plug of `connector`, ending its transaction."""
        self.tally.orders.append("unlock")
        for place in self._places:
            if place.connector == connector:
                if place.charge is not None:
                    place.charge.order_stop(StopCause.UNLOCK)
                return True
        return False

    def trigger(self, message: str, connector: Connector | None) -> bool:
        """Send the message with this action name; say whether the station can."""
        self.tally.orders.append(f"trigger {message}")
        places = [p for p in self._places if connector in (None, p.connector)]
        match message:
            case "Heartbeat":
                payloads = [self._dialect.heartbeat()]
            case "BootNotification":
                payloads = [self._dialect.boot(self._link.identity, after_reset=False)]
            case "StatusNotification":
                now = self.clock.now()
                payloads = [self._dialect.status(p.connector, p.state, now) for p in places]
            case "MeterValues" | "TransactionEvent":
                for place in places:
                    if place.charge is not None:
                        self._post_update(place.charge, self.clock.now(), full=False)
                return True
            case _:
                return False
        self._start(self._tell(payloads))
        return True

    # What the station does

    async def _play(self, sessions: Iterable[PlannedSession], *, stay: bool) -> None:
        await self._link.booted.wait()
        self._began_at = self.clock.begin()
        for session in sessions:
            await self.clock.sleep_until(self._began_at + session.arrives_after)
            self._receive(self._place_of(session), session, None, is_remote=False)
        while stay:
            await asyncio.sleep(3600)
        while self._work:
            await asyncio.wait(self._work, timeout=ROOM_POLL_S)
            self._make_room()
        await self._link.outbox.flushed()

    def _make_room(self) -> None:
        """End what was started from afar: the station plays what is planned, and leaves."""
        for running in self._running():
            if running.is_remote:
                running.order_stop(StopCause.LOCAL)

    def _place_of(self, session: PlannedSession) -> _Place:
        for place in self._places:
            if place.connector.evse == session.evse:
                return place
        raise InvalidInput(
            f"the station has no EVSE {session.evse}",
            field="evse",
            remedy="plan sessions at the EVSEs of its connectors",
        )

    def _receive(
        self,
        place: _Place,
        session: PlannedSession,
        remote_start_id: int | None,
        *,
        is_remote: bool,
    ) -> None:
        """Let one car come, charge and leave; it waits where another one is."""

        async def visit() -> None:
            async with place.turn:
                at = max(self._began_at + session.arrives_after, place.free_at)
                await self._show(place, PlugState.PREPARING, at)
                if is_remote or await self._may_charge(session):
                    await self._charge(place, session, remote_start_id, at, is_remote=is_remote)
                else:
                    self.tally.refused += 1
                await self._show(place, PlugState.AVAILABLE, max(at, place.free_at))
            place.visits -= 1

        place.visits += 1
        self._start(visit())

    async def _may_charge(self, session: PlannedSession) -> bool:
        """Ask whether the driver may charge; without an answer, yes."""
        request = self._dialect.authorize(session.id_token, session.id_token_kind)
        answer = await self._link.ask(request)
        return answer is None or self._dialect.accepts(answer)

    async def _charge(
        self,
        place: _Place,
        session: PlannedSession,
        remote_start_id: int | None,
        at: datetime,
        *,
        is_remote: bool,
    ) -> None:
        charge = Charge(
            connector=place.connector,
            id_token=session.id_token,
            id_token_kind=session.id_token_kind,
            transaction_id=str(UUID(int=self._rng.getrandbits(128), version=4)),
            started_at=at,
            remote_start_id=remote_start_id,
            public_key_hex=self._meter.public_key_hex if self._meter else None,
        )
        curve = session.curve(place.connector.power_w_max)
        running = _Running(charge, curve, place.register_wh, is_remote=is_remote)
        place.charge = running
        try:
            begin = running.sample(at)
            self._sign(running, begin, ReadingKind.BEGIN)
            self._post_start(running, begin)
            await self._show(place, PlugState.CHARGING, at)
            ended_at = await self._draw(place, running, at + session.parked_for)
            end = running.sample(ended_at)
            self._sign(running, end, ReadingKind.END, begin)
            self._post_end(running, end)
        finally:
            place.charge = None
        place.register_wh, place.free_at = end.register_wh, end.at
        self.tally.ended += 1
        self.tally.energy_wh += end.register_wh - begin.register_wh
        await self._show(place, PlugState.FINISHING, end.at)

    async def _draw(self, place: _Place, running: _Running, leaves_at: datetime) -> datetime:
        """Report readings until the car leaves or is stopped; return when that is."""
        interval = timedelta(seconds=self.model.sample_interval_s)
        started_at = running.charge.started_at
        full_at = started_at + timedelta(milliseconds=running.curve.full_after_ms)
        next_at = started_at + interval
        is_full = False
        while True:
            at = min(next_at, leaves_at) if is_full else min(next_at, full_at, leaves_at)
            if not await self.clock.sleep_until(at, running.stop):
                return self.clock.now()
            if at == leaves_at:
                return at
            if at == full_at and not is_full:
                is_full = True
                self._post_update(running, at, full=True)
                await self._show(place, PlugState.SUSPENDED_EV, at)
            if at == next_at:
                next_at += interval
                if at != full_at:
                    self._post_update(running, at, full=False)

    def _sign(
        self, running: _Running, sample: Sample, kind: ReadingKind, begin: Sample | None = None
    ) -> None:
        """Let the meter sign `sample`; a meter that signs together waits for the end."""
        if self._meter is None:
            return
        charge = running.charge
        readings = [MeterReading(sample.register_wh, sample.at, kind)]
        if self.model.signs_together:
            if begin is None:
                return
            readings.insert(0, MeterReading(begin.register_wh, begin.at, ReadingKind.BEGIN))
        who = Identification(charge.id_token, charge.id_token_kind.upper())
        charge.signed.append((sample, self._meter.record(readings, who)))

    def _post_start(self, running: _Running, begin: Sample) -> None:
        charge, offline = running.charge, not self.is_online

        def answered(answer: Payload) -> None:
            self._dialect.note_answer(charge, answer)
            self._obey(running, answer)

        self._link.outbox.post(
            Letter(lambda: self._dialect.started(charge, begin, offline=offline), answered)
        )

    def _post_update(self, running: _Running, at: datetime, *, full: bool) -> None:
        sample, offline = running.sample(at), not self.is_online
        self._link.outbox.post(
            Letter(
                lambda: self._dialect.updated(running.charge, sample, offline=offline, full=full),
                lambda answer: self._obey(running, answer),
            )
        )

    def _post_end(self, running: _Running, end: Sample) -> None:
        cause, offline = running.cause, not self.is_online
        self._link.outbox.post(
            Letter(
                lambda: self._dialect.ended(running.charge, end, cause, offline=offline),
                lambda _: None,
            )
        )

    def _obey(self, running: _Running, answer: Payload) -> None:
        if not self._dialect.accepts(answer):
            running.order_stop(StopCause.DEAUTHORIZED)

    async def _reset(self) -> None:
        await asyncio.sleep(ANSWER_S)
        for running in self._running():
            running.order_stop(StopCause.RESET)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.model.patience.flush_s):
                while self._running():
                    await asyncio.sleep(0.01)
                await self._link.outbox.flushed()
        self._link.reset()

    def _running(self) -> list[_Running]:
        return [place.charge for place in self._places if place.charge is not None]

    async def _show(self, place: _Place, state: PlugState, at: datetime) -> None:
        before = self._dialect.status(place.connector, place.state, at)
        place.state = state
        if (status := self._dialect.status(place.connector, state, at)) != before:
            await self._link.ask(status)

    async def _after_boot(self) -> None:
        self.tally.boots += 1
        for place in self._places:
            # Built when its turn comes: what it tells must not be older than what was told before.
            now = self.clock.now()
            await self._link.ask(self._dialect.status(place.connector, place.state, now))

    async def _tell(self, payloads: list[Payload]) -> None:
        for payload in payloads:
            await self._link.ask(payload)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._group.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
