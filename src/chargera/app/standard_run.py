"""A standard run on its way: walks the steps of `domain.standard_run` over one station's line.

It hears the station by its message log, so that a step passes by what was recorded and answered.
A lost connection, or another one in its place, ends the run: what it shows is of one connection.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import NamedTuple, Protocol, TypeVar

from chargera.app.commands import CommandName
from chargera.app.ports import LiveConnection
from chargera.app.views import CommandView, SessionView
from chargera.domain.errors import Unavailable
from chargera.domain.messages import (
    Probe,
    ProbeAnswer,
    StationMessage,
    StatusNotification,
)
from chargera.domain.standard_run import (
    CLOCK_TOLERANCE,
    DETAIL_CHARS_MAX,
    RunStep,
    StepOutcome,
    StepResult,
)
from chargera.domain.station import Connector, OcppVersion

UNKNOWN_VENDOR = frozenset({"UnknownVendorId"})
REFUSES_ACTION = frozenset({"NotImplemented", "NotSupported"})
REFUSES_PAYLOAD = frozenset(
    {
        "FormationViolation",
        "FormatViolation",
        "OccurenceConstraintViolation",
        "OccurrenceConstraintViolation",
        "ProtocolError",
    }
)
"""What may be said of a payload that lacks a member, in the spellings of both versions."""

UNLOCK_ANSWERS: Mapping[OcppVersion, frozenset[str]] = {
    OcppVersion.V1_6: frozenset({"Unlocked", "UnlockFailed"}),
    OcppVersion.V2_0_1: frozenset({"Unlocked", "UnlockFailed", "OngoingAuthorizedTransaction"}),
}
NO_LOCK = "NotSupported"
METER_TRIGGER: Mapping[OcppVersion, str] = {
    OcppVersion.V1_6: "MeterValues",
    OcppVersion.V2_0_1: "TransactionEvent",
}

FOUL = ("deviation:", "refused:", "unsolicited", "unreadable")
"""What the outcome of an exchange has in it where the station departed from the specification."""


class Heard(NamedTuple):
    """One exchange with the station; `message` None: it was not the station's call."""

    message_no: int
    received_at: datetime
    action: str | None
    outcome: str
    message: StationMessage | None


class RunLine(Protocol):
    """One station as its run reaches it."""

    def connection(self) -> LiveConnection | None:
        """Return its live connection."""

    async def command(
        self,
        name: CommandName,
        plug: Connector | None = None,
        *,
        message: str | None = None,
        session_id: str | None = None,
    ) -> CommandView:
        """Send a command, recorded like any other; one without an answer has `accepted` None."""

    async def probe(self, probe: Probe) -> ProbeAnswer:
        """Send a probe. Raises Unavailable without an answer."""

    async def heard(self, after: int | None, action: str | None = None) -> Sequence[Heard]:
        """Return exchanges after that number, oldest first; with `action` only its calls.

        `after` None: the last one alone.
        """

    async def session(self, command_id: str) -> SessionView | None:
        """Return the session that a remote start began; None while there is none."""


@dataclass(frozen=True, slots=True)
class RunPatience:
    """How long a run waits, in real seconds."""

    poll_s: float = 0.1
    message_s: float = 30.0
    """For a message that was asked for."""
    begin_s: float = 120.0
    """For the transaction: somebody may still have to plug a car in."""
    end_s: float = 60.0
    reconnect_s: float = 180.0
    whole_s: float = 900.0


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What is tried: the plug of the transaction, and whether the station is reset at the end."""

    connectors: Sequence[Connector]
    plug: Connector
    identifier: str
    with_reset: bool
    booted_as: tuple[str, str] | None
    """Vendor and model of the last BootNotification that was accepted; None: there was none."""


class InterruptedRun(Exception):  # noqa: N818 - it is an outcome of the run
    """The run cannot go on; the message says why."""


_Found = TypeVar("_Found")
_Finding = tuple[StepOutcome, str]


class Walk:
    """One run; `walk` makes its steps and leaves their results in `results` as they come."""

    def __init__(
        self,
        line: RunLine,
        connection: LiveConnection,
        plan: RunPlan,
        *,
        pause: Callable[[float], Awaitable[None]],
        monotonic_s: Callable[[], float],
        patience: RunPatience,
    ) -> None:
        """Run over `connection`; `pause` waits in real time between two looks."""
        self.results: list[StepResult] = []
        self.session_id: str | None = None
        self._line = line
        self._connection = connection
        self._plan = plan
        self._pause = pause
        self._monotonic_s = monotonic_s
        self._patience = patience
        self._ends_s = monotonic_s() + patience.whole_s
        self._began_no = 0
        self._times: list[tuple[datetime, datetime]] = []
        """What the station's clock showed, and when we heard it."""
        self._start: CommandView | None = None
        """The remote start, once it was accepted."""
        self._steps: Mapping[RunStep, Callable[[], Awaitable[_Finding]]] = {
            RunStep.CONNECTION: self._see_connection,
            RunStep.BOOT: self._see_boot,
            RunStep.HEARTBEAT: self._ask_heartbeat,
            RunStep.STATUS: self._ask_status,
            RunStep.CLOCK: self._compare_clock,
            RunStep.UNKNOWN_VENDOR: partial(
                self._probe, Probe.UNKNOWN_VENDOR, False, UNKNOWN_VENDOR
            ),
            RunStep.UNKNOWN_ACTION: partial(
                self._probe, Probe.UNKNOWN_ACTION, True, REFUSES_ACTION
            ),
            RunStep.BROKEN_CALL: partial(self._probe, Probe.BROKEN_CALL, True, REFUSES_PAYLOAD),
            RunStep.REMOTE_START: self._remote_start,
            RunStep.TRANSACTION_BEGIN: self._see_begin,
            RunStep.METER_VALUES: self._ask_meter_values,
            RunStep.REMOTE_STOP: self._remote_stop,
            RunStep.TRANSACTION_END: self._see_end,
            RunStep.UNLOCK: self._unlock,
            RunStep.FORM: self._see_form,
            RunStep.RESET: self._reset,
        }

    async def walk(self) -> None:
        """Make the steps in their order. Raises InterruptedRun where the run cannot go on."""
        self._began_no = await self._newest()
        for step in RunStep:
            self._require_line()
            outcome, detail = await self._steps[step]()
            if outcome is StepOutcome.FAILED and step is not RunStep.RESET:
                self._require_line()  # without it nothing is said of the station
            self.results.append(StepResult(step, outcome, detail[:DETAIL_CHARS_MAX]))

    # Waiting ------------------------------------------------------------------------------

    def _require_line(self) -> None:
        connection = self._line.connection()
        if connection is None:
            raise InterruptedRun("the connection was lost")
        if connection != self._connection:
            raise InterruptedRun("the station connected anew")
        self._require_time()

    def _require_time(self) -> None:
        if self._monotonic_s() >= self._ends_s:
            raise InterruptedRun(f"it took longer than {self._patience.whole_s:.0f} s")

    async def _until(
        self,
        look: Callable[[], Awaitable[_Found | None]],
        patience_s: float,
        require: Callable[[], None],
    ) -> _Found | None:
        """Look again and again; None if there is nothing to be seen in time."""
        ends_s = self._monotonic_s() + patience_s
        while True:
            found = await look()
            if found is not None:
                return found
            require()
            if self._monotonic_s() >= ends_s:
                return None
            await self._pause(self._patience.poll_s)

    async def _newest(self) -> int:
        """Return the number of the last exchange."""
        heard = await self._line.heard(None)
        return heard[-1].message_no if heard else 0

    async def _triggered(
        self, message: str, plug: Connector | None, fits: Callable[[Heard], bool]
    ) -> tuple[Heard | None, str]:
        """Ask for a message; return it, or None and why there is none."""
        after = await self._newest()
        answer = await self._line.command(CommandName.TRIGGER, plug, message=message)
        if not answer.accepted:
            return None, f"TriggerMessage ({message}) was answered {answer.answer}"

        async def look() -> Heard | None:
            return next(filter(fits, await self._line.heard(after, message)), None)

        patience_s = self._patience.message_s
        heard = await self._until(look, patience_s, self._require_line)
        return heard, f"accepted, and no {message} came within {patience_s:.0f} s"

    # Who it is ----------------------------------------------------------------------------

    async def _see_connection(self) -> _Finding:
        connection = self._connection
        return _passed(f"connection {connection.number}, OCPP {connection.ocpp_version}")

    async def _see_boot(self) -> _Finding:
        booted = self._plan.booted_as
        if booted is None:
            return _failed("no BootNotification of this station is on record")
        vendor, model = booted
        if not vendor.strip() or not model.strip():
            return _failed("its last BootNotification names no vendor or no model")
        return _passed(f"{vendor} {model}")

    async def _ask_heartbeat(self) -> _Finding:
        heard, why = await self._triggered("Heartbeat", None, lambda one: True)
        return _failed(why) if heard is None else _passed("asked for, and it came")

    async def _ask_status(self) -> _Finding:
        for plug in self._plan.connectors:
            heard, why = await self._triggered("StatusNotification", plug, partial(_is_of, plug))
            if heard is None:
                return _failed(f"connector {plug.evse}-{plug.connector}: {why}")
            assert isinstance(heard.message, StatusNotification), "that was looked for"
            if heard.message.at is not None:
                self._times.append((heard.message.at, heard.received_at))
        return _passed(f"of {len(self._plan.connectors)} connectors")

    async def _compare_clock(self) -> _Finding:
        if not self._times:
            if self._connection.ocpp_version is OcppVersion.V1_6:
                return StepOutcome.NOT_APPLICABLE, "the station gave no time"
            return _failed("the station gave no time that can be read")
        worst = max(abs(said - heard) for said, heard in self._times)
        text = f"at most {worst // timedelta(seconds=1)} s from ours"
        return _passed(text) if worst <= CLOCK_TOLERANCE else _failed(text)

    # What it refuses ----------------------------------------------------------------------

    async def _probe(self, probe: Probe, is_error: bool, words: frozenset[str]) -> _Finding:
        """Send a probe, and hold the answer against what may be answered."""
        try:
            answer = await self._line.probe(probe)
        except Unavailable as error:
            return _failed(error.message)
        said = f"answered {'the error ' if answer.is_error else ''}{answer.word}"
        return _judged(answer.is_error is is_error and answer.word in words, said)

    # A transaction ------------------------------------------------------------------------

    async def _remote_start(self) -> _Finding:
        answer = await self._line.command(CommandName.REMOTE_START, self._plan.plug)
        if answer.accepted:
            self._start = answer
        return _judged(bool(answer.accepted), f"answered {answer.answer}")

    async def _session(self, fits: Callable[[SessionView], bool]) -> SessionView | None:
        assert self._start is not None, "only a transaction that was asked for is looked for"
        session = await self._line.session(self._start.command_id)
        if session is None:
            return None
        self.session_id = session.session.session_id
        return session if fits(session) else None

    async def _see_begin(self) -> _Finding:
        if self._start is None:
            return _failed("the remote start was not accepted")
        plug, patience = self._plan.plug, self._patience
        session = await self._until(
            lambda: self._session(lambda one: True), patience.begin_s, self._require_line
        )
        if session is None:
            return _failed(f"no transaction began within {patience.begin_s:.0f} s")
        row = session.session
        if (row.evse, row.connector) != (plug.evse, plug.connector):
            return _failed(f"it began on connector {row.evse}-{row.connector}")
        session = await self._until(
            lambda: self._session(self._has_begun), patience.message_s, self._require_line
        )
        if session is None:
            return _failed("it began without a begin register, or for another identifier")
        return _passed(f"at {session.session.meter_start_wh} Wh")

    def _has_begun(self, session: SessionView) -> bool:
        id_token = session.id_token or ""
        ours = id_token.casefold() == self._plan.identifier.casefold()
        return ours and session.session.meter_start_wh is not None

    async def _ask_meter_values(self) -> _Finding:
        session = await self._known()
        if session is None:
            return _failed("no transaction runs")
        before = len(_registers(session))
        version = self._connection.ocpp_version
        heard, why = await self._triggered(METER_TRIGGER[version], self._plan.plug, lambda _: True)
        if heard is None:
            return _failed(why)
        session = await self._until(
            lambda: self._session(lambda one: len(_registers(one)) > before),
            self._patience.message_s,
            self._require_line,
        )
        if session is None:
            return _failed("what came has no register of the transaction")
        return _rising(_registers(session))

    async def _remote_stop(self) -> _Finding:
        session = await self._known()
        if session is None:
            return _failed("no transaction runs")
        answer = await self._line.command(
            CommandName.REMOTE_STOP, session_id=session.session.session_id
        )
        return _judged(bool(answer.accepted), f"answered {answer.answer}")

    async def _see_end(self) -> _Finding:
        if await self._known() is None:
            return _failed("no transaction runs")
        patience_s = self._patience.end_s
        session = await self._until(
            lambda: self._session(lambda one: one.session.ended_at is not None),
            patience_s,
            self._require_line,
        )
        if session is None:
            return _failed(f"it did not end within {patience_s:.0f} s")
        numbers = sorted({r.seq_no for r in session.readings if r.seq_no is not None})
        if any(after - before != 1 for before, after in pairwise(numbers)):
            return _failed("its events are not numbered without a hole")
        if session.session.meter_stop_wh is None:
            return _failed("it ended without an end register")
        return _rising([*_registers(session), session.session.meter_stop_wh])

    async def _known(self) -> SessionView | None:
        """Return the transaction if it has begun."""
        return None if self._start is None else await self._session(lambda one: True)

    # The rest -----------------------------------------------------------------------------

    async def _unlock(self) -> _Finding:
        answer = await self._line.command(CommandName.UNLOCK, self._plan.plug)
        version, word = self._connection.ocpp_version, answer.answer or "nothing"
        if version is OcppVersion.V1_6 and word == NO_LOCK:
            return StepOutcome.NOT_APPLICABLE, "the connector has no lock"
        return _judged(word in UNLOCK_ANSWERS[version], f"answered {word}")

    async def _see_form(self) -> _Finding:
        heard = await self._line.heard(self._began_no)
        for one in heard:
            if any(mark in one.outcome for mark in FOUL):
                return _failed(f"{one.action or 'a frame'}: {one.outcome}")
        return _passed(f"{len(heard)} messages and answers")

    async def _reset(self) -> _Finding:
        if not self._plan.with_reset:
            return StepOutcome.NOT_APPLICABLE, "not asked for"
        after = await self._newest()
        answer = await self._line.command(CommandName.RESET)
        if not answer.accepted:
            return _failed(f"answered {answer.answer}")
        patience_s = self._patience.reconnect_s

        async def back() -> LiveConnection | None:
            now = self._line.connection()
            return None if now is None or now.number == self._connection.number else now

        found = await self._until(back, patience_s, self._require_time)
        if found is None:
            return _failed(f"it did not connect again within {patience_s:.0f} s")
        if found.ocpp_version is not self._connection.ocpp_version:
            return _failed(f"it came back with OCPP {found.ocpp_version}")

        async def booted() -> Heard | None:
            boots = await self._line.heard(after, "BootNotification")
            return next((one for one in boots if one.outcome.startswith("ok")), None)

        boot = await self._until(booted, self._patience.message_s, self._require_time)
        if boot is None:
            return _failed("it came back and did not boot")
        return _passed(f"back as connection {found.number}, and booted")


def _passed(detail: str) -> _Finding:
    return StepOutcome.PASSED, detail


def _failed(detail: str) -> _Finding:
    return StepOutcome.FAILED, detail


def _judged(fits: bool, detail: str) -> _Finding:
    return (StepOutcome.PASSED if fits else StepOutcome.FAILED), detail


def _is_of(plug: Connector, heard: Heard) -> bool:
    """Say whether a message is the state of a connector; 1.6 numbers them over the station."""
    message = heard.message
    if not isinstance(message, StatusNotification):
        return False
    if message.evse is None:
        return message.connector == plug.ocpp16_connector_id
    return (message.evse, message.connector) == (plug.evse, plug.connector)


def _registers(session: SessionView) -> list[int]:
    """Return a session's registers in the order in which the station numbers or sends them."""
    rows = [reading for reading in session.readings if reading.register_wh is not None]
    rows.sort(key=lambda reading: (reading.seq_no or 0, reading.at, reading.n))
    return [reading.register_wh for reading in rows if reading.register_wh is not None]


def _rising(registers: Sequence[int]) -> _Finding:
    for before, after in pairwise(registers):
        if after < before:
            return _failed(f"a register of {after} Wh came after one of {before} Wh")
    return _passed(f"{len(registers)} registers, {registers[0]} to {registers[-1]} Wh")
