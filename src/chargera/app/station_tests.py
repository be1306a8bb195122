"""Standard runs of stations: begun by who may command them, recorded as log entries, shown.

A run is kept as a command, so that one that a crash cut off is found again at the next start and
ends as interrupted. Its transaction is under an identifier of its own that nobody pays for
(`domain.standard_run.is_run_identifier`) and that may not charge once the run is over.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from chargera.app.admin_ports import (
    AdminDatabase,
    AdminWork,
    EntryFilter,
    MessageFilter,
    NewIdToken,
    SessionFilter,
)
from chargera.app.commands import CommandName, CommandRequest, StationControl
from chargera.app.id_tokens import put_id_tokens
from chargera.app.idempotency import check_key
from chargera.app.permissions import Action, Caller
from chargera.app.ports import Clock, Entropy, LiveConnection, NewEntry, Probing
from chargera.app.registry import no_station
from chargera.app.standard_run import Heard, InterruptedRun, RunPatience, RunPlan, Walk
from chargera.app.views import CommandView, SessionView
from chargera.domain.errors import (
    ChargEraError,
    Conflict,
    InvalidInput,
    NotFound,
    Unavailable,
)
from chargera.domain.messages import IdTokenRef, Probe, ProbeAnswer, StationMessage
from chargera.domain.standard_run import (
    RunOutcome,
    StandardRun,
    StepResult,
    run_identifier,
)
from chargera.domain.station import ChargingStation, Connector, OcppVersion
from chargera.proofs import records
from chargera.proofs.entry import EntryKind
from chargera.proofs.standard_run import read_standard_run

ACTION = "standard-run"
"""What a run is called among a station's commands."""

RUNNING = "running"
HEARD_MAX = 1_000
IDENTIFIER_LASTS = timedelta(days=1)
"""Network time, which may pass faster than ours; the run's end blocks the identifier before."""

STOPPED = "the server stopped before the run had ended"

_log = logging.getLogger(__name__)

ReadAgain = Callable[[str, str], StationMessage | None]
"""OCPP version and frame of a logged message to what it says."""


@dataclass(frozen=True, slots=True)
class StepView:
    """A step that was made; `number` is its place in the table of the standard run."""

    number: int
    step: str
    outcome: str
    """passed, failed or not_applicable."""
    detail: str


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as it stands: on its way, or as its log entry tells it."""

    run_id: str
    station_id: str
    ocpp_version: str
    state: str
    """running, passed, failed or interrupted."""
    reason: str | None
    connection: int
    evse: int
    connector: int
    requested_by: str
    started_at: datetime
    ended_at: datetime | None
    session_id: str | None
    log_index: int | None
    steps: tuple[StepView, ...]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What is asked for; without an EVSE the first one where nothing charges."""

    station_id: str
    evse: int | None = None
    connector: int | None = None
    with_reset: bool = False


@dataclass(slots=True)
class _Running:
    """A run on its way."""

    run_id: str
    caller: Caller
    station_id: str
    connection: LiveConnection
    plan: RunPlan
    started_at: datetime
    walk: Walk

    def ended(self, at: datetime, reason: str | None) -> StandardRun:
        return StandardRun(
            run_id=self.run_id,
            station_id=self.station_id,
            ocpp_version=self.connection.ocpp_version,
            connection=self.connection.number,
            evse=self.plan.plug.evse,
            connector=self.plan.plug.connector,
            requested_by=self.caller.name,
            started_at=self.started_at,
            ended_at=at,
            results=tuple(self.walk.results),
            session_id=self.walk.session_id,
            reason=reason,
        )


class StationTests:
    """Begins standard runs, keeps them going, and tells of them."""

    def __init__(
        self,
        database: AdminDatabase,
        control: StationControl,
        probing: Probing,
        read_again: ReadAgain,
        clock: Clock,
        entropy: Entropy,
        *,
        pause: Callable[[float], Awaitable[None]],
        monotonic_s: Callable[[], float],
        patience: RunPatience | None = None,
    ) -> None:
        """Reach stations by `control` and `probing`; `pause` waits in real time."""
        self._database = database
        self._control = control
        self._probing = probing
        self._read_again = read_again
        self._clock = clock
        self._entropy = entropy
        self._pause = pause
        self._monotonic_s = monotonic_s
        self._patience = patience or RunPatience()
        self._running: dict[str, _Running] = {}
        """By station: one at a time each."""
        self._tasks: set[asyncio.Task[None]] = set()

    # What is asked for --------------------------------------------------------------------

    async def start(
        self, caller: Caller, wanted: RunRequest, idempotency_key: str | None = None
    ) -> RunView:
        """Begin a run and return it; its steps are made meanwhile.

        Raises NotPermitted, NotFound, InvalidInput, Unavailable if the station is not connected,
        Conflict if a run of it is on its way, every connector is charging, or the key was used
        for something else.
        """
        caller.require(Action.STATIONS_COMMAND)
        station_id, run_id = wanted.station_id, self._run_id(caller, idempotency_key)
        async with self._database.work() as work:
            station = await _reached(work, caller, station_id)
            earlier = await work.commands.show(caller, run_id)
            if earlier is not None:
                if (earlier.station_id, earlier.action) != (station_id, ACTION):
                    raise _key_was_used()
                return await self.show(caller, station_id, run_id)
            connection = self._probing.connection(station_id)
            if connection is None:
                raise Unavailable(
                    f"station {station_id} is not connected",
                    field="station_id",
                    remedy="a standard run is made over its live connection",
                )
            if station_id in self._running:
                raise Conflict(
                    f"a standard run of station {station_id} is on its way",
                    field="station_id",
                    remedy="wait for its end",
                )
            plan = RunPlan(
                station.connectors,
                await _plug(work, caller, station, wanted),
                run_identifier(self._entropy.bytes(4)),
                wanted.with_reset,
                await self._booted_as(work, caller, station_id),
            )
            run = self._prepared(caller, run_id, station_id, connection, plan)
            self._running[station_id] = run
            try:
                await self._announce(work, run)
                await work.commit()
            except BaseException:
                del self._running[station_id]
                raise
        task = asyncio.create_task(self._make(run), name=f"standard run {run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return _view_of_running(run)

    async def show(self, caller: Caller, station_id: str, run_id: str) -> RunView:
        """Return a run as it stands. Raises NotPermitted, NotFound."""
        for run in await self.rows(caller, station_id):
            if run.run_id == run_id:
                return run
        raise NotFound(
            f"station {station_id} has no such standard run",
            field="run_id",
            remedy=f"`chargera station tests {station_id}` lists them",
        )

    async def rows(self, caller: Caller, station_id: str) -> list[RunView]:
        """Return a station's runs, newest first. Raises NotPermitted, NotFound."""
        caller.require(Action.STATIONS_COMMAND)
        running = self._running.get(station_id)
        async with self._database.work() as work:
            if not await work.stations.reaches(caller, station_id):
                raise no_station(station_id)
            entries = await work.log.entries(
                caller, EntryFilter(kind=str(EntryKind.PROTOCOL_TESTED), station_id=station_id)
            )
        views = [
            _view_of(read_standard_run(entry.record), entry.log_index)
            for entry in reversed(entries)
            if entry.record is not None
        ]
        known = {view.run_id for view in views}
        if running is not None and running.run_id not in known:
            views.insert(0, _view_of_running(running))
        return views

    # From start to stop of the server -------------------------------------------------------

    async def recover(self) -> None:
        """Let runs that the server's end cut off end as interrupted."""
        async with self._database.work() as work:
            for command in await work.commands.unanswered(ACTION):
                cut_off = _cut_off(command, self._clock.now())
                await _record(work, cut_off, command.request.get("id_token"))
            await work.commit()

    async def close(self) -> None:
        """End the runs that are on their way, as interrupted."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # A run --------------------------------------------------------------------------------

    def _run_id(self, caller: Caller, idempotency_key: str | None) -> str:
        if idempotency_key is None:
            return self._entropy.session_id(self._clock.now())
        check_key(idempotency_key)
        return str(uuid.uuid5(uuid.UUID(caller.login_id), f"{ACTION} {idempotency_key}"))

    def _prepared(
        self,
        caller: Caller,
        run_id: str,
        station_id: str,
        connection: LiveConnection,
        plan: RunPlan,
    ) -> _Running:
        line = _Line(self, caller, station_id, plan.identifier)
        walk = Walk(
            line,
            connection,
            plan,
            pause=self._pause,
            monotonic_s=self._monotonic_s,
            patience=self._patience,
        )
        now = self._clock.now()
        return _Running(run_id, caller, station_id, connection, plan, now, walk)

    async def _booted_as(
        self, work: AdminWork, caller: Caller, station_id: str
    ) -> tuple[str, str] | None:
        view = await work.stations.show(caller, station_id, self._control.is_connected)
        if view is None or view.private is None or view.private.last_boot_at is None:
            return None
        return view.private.vendor_reported or "", view.private.model_reported or ""

    async def _announce(self, work: AdminWork, run: _Running) -> None:
        """Write down what is about to be tried, and let its identifier charge."""
        now, plug = run.started_at, run.plan.plug
        request: dict[str, Any] = {
            "connection": run.connection.number,
            "connector": plug.connector,
            "evse": plug.evse,
            "id_token": run.plan.identifier,
            "ocpp_version": str(run.connection.ocpp_version),
            "reset": run.plan.with_reset,
        }
        by = run.caller.name
        if not await work.commands.add(run.run_id, run.station_id, ACTION, request, by, now):
            raise _key_was_used()
        id_token = NewIdToken(_ref(run.plan.identifier), False, now + IDENTIFIER_LASTS)
        await put_id_tokens(work, by, [id_token], now)
        record = records.command_record(run.run_id, ACTION, request, by, now)
        work.append(NewEntry(EntryKind.STATION_COMMAND, run.station_id, None, record, now))

    async def _make(self, run: _Running) -> None:
        """Walk the steps and record what came of them, however that ends."""
        reason: str | None = None
        try:
            await run.walk.walk()
        except InterruptedRun as interrupted:
            reason = str(interrupted)
        except asyncio.CancelledError:
            reason = STOPPED
        except ChargEraError as error:
            reason = error.message
        except Exception as error:
            _log.exception("standard run %s failed", run.run_id)
            reason = f"the run itself failed: {type(error).__name__}"
        try:
            async with self._database.work() as work:
                ended = run.ended(self._clock.now(), reason)
                await _record(work, ended, run.plan.identifier)
                await work.commit()
        except Exception:
            # The next start of the server finds it without an answer and records its end.
            _log.exception("standard run %s could not be recorded", run.run_id)
        finally:
            del self._running[run.station_id]

    # What a run's line needs ----------------------------------------------------------------

    def connection(self, station_id: str) -> LiveConnection | None:
        """Return a station's live connection."""
        return self._probing.connection(station_id)

    async def probe(self, station_id: str, probe: Probe) -> ProbeAnswer:
        """Send a probe."""
        return await self._probing.probe(station_id, probe)

    async def command(self, caller: Caller, wanted: CommandRequest) -> CommandView:
        """Send a command."""
        return await self._control.command(caller, wanted)

    async def heard(
        self, caller: Caller, station_id: str, after: int | None, action: str | None
    ) -> list[Heard]:
        """Return exchanges after a number, oldest first; None: the last one alone."""
        limit = 1 if after is None else HEARD_MAX
        inbound = None if action is None else True
        wanted = MessageFilter(limit=limit, action=action, inbound=inbound, after=after)
        async with self._database.work() as work:
            rows = await work.stations.messages(caller, station_id, wanted)
        return [
            Heard(
                row.message_no,
                row.received_at,
                row.action,
                row.outcome,
                self._read_again(row.ocpp_version, row.frame) if row.inbound else None,
            )
            for row in reversed(rows)
        ]

    async def session(self, caller: Caller, command_id: str) -> SessionView | None:
        """Return the session that a remote start began."""
        command = await self._control.show(caller, command_id)
        if command.session_id is None:
            return None
        async with self._database.work() as work:
            now = self._clock.now()
            return await work.sessions.show(caller, command.session_id, now, linked=False)


class _Line:
    """One station as its run reaches it: a `RunLine`."""

    def __init__(
        self, tests: StationTests, caller: Caller, station_id: str, identifier: str
    ) -> None:
        self._tests = tests
        self._caller = caller
        self._station_id = station_id
        self._identifier = identifier

    def connection(self) -> LiveConnection | None:
        return self._tests.connection(self._station_id)

    async def command(
        self,
        name: CommandName,
        plug: Connector | None = None,
        *,
        message: str | None = None,
        session_id: str | None = None,
    ) -> CommandView:
        wanted = CommandRequest(
            self._station_id,
            name,
            evse=None if plug is None else plug.evse,
            connector=None if plug is None else plug.connector,
            id_token=self._identifier if name is CommandName.REMOTE_START else None,
            session_id=session_id,
            message=message,
        )
        return await self._tests.command(self._caller, wanted)

    async def probe(self, probe: Probe) -> ProbeAnswer:
        return await self._tests.probe(self._station_id, probe)

    async def heard(self, after: int | None, action: str | None = None) -> Sequence[Heard]:
        return await self._tests.heard(self._caller, self._station_id, after, action)

    async def session(self, command_id: str) -> SessionView | None:
        return await self._tests.session(self._caller, command_id)


async def _reached(work: AdminWork, caller: Caller, station_id: str) -> ChargingStation:
    if not await work.stations.reaches(caller, station_id):
        raise no_station(station_id)
    station = await work.stations.registered(station_id)
    assert station is not None, "it is within reach"
    return station


async def _plug(
    work: AdminWork, caller: Caller, station: ChargingStation, wanted: RunRequest
) -> Connector:
    """Return the connector for the run's transaction: the one asked for, or a free one."""
    if wanted.evse is not None:
        found = station.connector_of(wanted.evse, wanted.connector)
        if found is None:
            raise InvalidInput(
                f"station {station.station_id} has no such connector",
                field="evse",
                remedy=f"`chargera station show {station.station_id}` lists them",
            )
        candidates = [found]
    else:
        candidates = list(station.connectors)
    running = SessionFilter(station_id=station.station_id, state="charging")
    taken = {row.evse for row in await work.sessions.rows(caller, running)}
    for plug in candidates:
        if plug.evse not in taken:
            return plug
    raise Conflict(
        "the run needs a connector where nothing charges",
        field="evse",
        remedy="begin it when a session there has ended",
    )


async def _record(work: AdminWork, run: StandardRun, identifier: str | None) -> None:
    """Record a run that has ended, answer its command, and block its identifier.

    `identifier` None: it was erased.
    """
    now, outcome = run.ended_at, run.outcome
    accepted = None if outcome is RunOutcome.INTERRUPTED else outcome is RunOutcome.PASSED
    answer = str(outcome) if run.reason is None else f"{outcome}: {run.reason}"
    await work.commands.answered(run.run_id, accepted, answer, now)
    answered = records.command_answer_record(run.run_id, accepted, answer, now)
    work.append(NewEntry(EntryKind.STATION_COMMAND, run.station_id, None, answered, now))
    if identifier is not None:
        blocked = NewIdToken(_ref(identifier), blocked=True)
        await put_id_tokens(work, run.requested_by, [blocked], now)
    record = records.protocol_tested_record(run)
    work.append(NewEntry(EntryKind.PROTOCOL_TESTED, run.station_id, None, record, now))


def _cut_off(command: CommandView, now: datetime) -> StandardRun:
    request = command.request
    return StandardRun(
        run_id=command.command_id,
        station_id=command.station_id,
        ocpp_version=OcppVersion(request["ocpp_version"]),
        connection=request["connection"],
        evse=request["evse"],
        connector=request["connector"],
        requested_by=command.requested_by,
        started_at=command.requested_at,
        ended_at=now,
        results=(),
        reason=STOPPED,
    )


def _view_of(run: StandardRun, log_index: int | None) -> RunView:
    return RunView(
        run_id=run.run_id,
        station_id=run.station_id,
        ocpp_version=str(run.ocpp_version),
        state=str(run.outcome),
        reason=run.reason,
        connection=run.connection,
        evse=run.evse,
        connector=run.connector,
        requested_by=run.requested_by,
        started_at=run.started_at,
        ended_at=run.ended_at,
        session_id=run.session_id,
        log_index=log_index,
        steps=_steps(run.results),
    )


def _view_of_running(run: _Running) -> RunView:
    so_far = _view_of(run.ended(run.started_at, None), None)
    return replace(so_far, state=RUNNING, ended_at=None)


def _steps(results: Sequence[StepResult]) -> tuple[StepView, ...]:
    return tuple(
        StepView(number, str(each.step), str(each.outcome), each.detail)
        for number, each in enumerate(results, 1)
    )


def _ref(identifier: str) -> IdTokenRef:
    return IdTokenRef(identifier, "Central")


def _key_was_used() -> Conflict:
    return Conflict(
        "this Idempotency-Key was used for another command",
        field="Idempotency-Key",
        remedy="use a new key for a new command",
    )
