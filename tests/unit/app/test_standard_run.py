"""The walk through the steps, over a line that says what it is told to say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chargera.app.commands import CommandName
from chargera.app.ports import LiveConnection
from chargera.app.standard_run import (
    Heard,
    InterruptedRun,
    RunLine,
    RunPatience,
    RunPlan,
    Walk,
)
from chargera.app.views import CommandView, ReadingView, SessionRow, SessionView
from chargera.domain.errors import Unavailable
from chargera.domain.messages import (
    Heartbeat,
    Probe,
    ProbeAnswer,
    StationMessage,
    StatusNotification,
    UnservedCall,
)
from chargera.domain.standard_run import (
    DETAIL_CHARS_MAX,
    RunOutcome,
    RunStep,
    StepOutcome,
    outcome_of,
)
from chargera.domain.station import Connector, ConnectorStatus, OcppVersion, parse_evses

AT = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
V16, V201 = OcppVersion.V1_6, OcppVersion.V2_0_1
PLUGS = parse_evses("1:type2:22000,2:ccs2:50000")
IDENTIFIER = "STANDARD-RUN-0000001"
PATIENCE = RunPatience(1.0, 5.0, 5.0, 5.0, 5.0, 500.0)
TRIGGERED = {"Heartbeat", "StatusNotification", "MeterValues", "TransactionEvent"}


def command(accepted: bool | None, answer: str | None = None) -> CommandView:
    return CommandView("c", "CP-1", "a", {}, "ada", AT, "answered", accepted, answer, AT, None)


def reading(n: int, register_wh: int | None, seq_no: int | None = None) -> ReadingView:
    return ReadingView(n, "Updated", AT, AT, seq_no, register_wh, None, "Other", None)


@dataclass
class Line(RunLine):
    """A station that does all of it right; tests change what it says."""

    version: OcppVersion = V201
    now_s: float = 0.0
    answers: dict[str, CommandView] = field(default_factory=dict)
    """Answers other than "accepted", by command, or by what a trigger asks for."""
    probes: dict[Probe, ProbeAnswer | None] = field(
        default_factory=lambda: {
            Probe.UNKNOWN_VENDOR: ProbeAnswer("UnknownVendorId", is_error=False),
            Probe.UNKNOWN_ACTION: ProbeAnswer("NotSupported", is_error=True),
            Probe.BROKEN_CALL: ProbeAnswer("OccurenceConstraintViolation", is_error=True),
        }
    )
    """None: no answer."""
    log: list[Heard] = field(default_factory=list)
    readings: list[ReadingView] = field(default_factory=lambda: [reading(0, 100, 0)])
    row: dict[str, Any] = field(default_factory=dict)
    """Members of the session's row that are otherwise."""
    id_token: str | None = IDENTIFIER
    begins: bool = True
    ends: bool = True
    ignored: frozenset[str] = frozenset()
    """Messages that are promised and never come."""
    clock: timedelta | None = timedelta(0)
    """How far the station's clock is off; None: it tells no time."""
    number: int = 1
    after_reset: tuple[int, OcppVersion] = (2, V201)
    boots: bool = True
    loses_at: str = ""
    """The command during which the connection is lost."""
    ended: bool = False

    def connection(self) -> LiveConnection | None:
        return LiveConnection(self.number, self.version) if self.number else None

    async def command(
        self,
        name: CommandName,
        plug: Connector | None = None,
        *,
        message: str | None = None,
        session_id: str | None = None,
    ) -> CommandView:
        if name == self.loses_at:
            self.number = 0
            return command(None, "the connection was lost")
        answer = self.answers.get(message or name, command(True, "Accepted"))
        if not answer.accepted:
            return answer
        match name:
            case CommandName.TRIGGER if message in TRIGGERED - self.ignored:
                self._come(str(message), plug)
            case CommandName.REMOTE_STOP if self.ends:
                self.ended = True
                self.readings.append(reading(9, 120, len(self.readings)))
            case CommandName.RESET:
                self.number, self.version = self.after_reset
                if self.boots:
                    self.hear("BootNotification", UnservedCall("BootNotification"))
        return replace(answer, answer="Unlocked") if name is CommandName.UNLOCK else answer

    def _come(self, action: str, plug: Connector | None) -> None:
        said: StationMessage = Heartbeat()
        if action == "StatusNotification":
            assert plug is not None
            at = None if self.clock is None else AT + self.clock
            place = (plug.evse, plug.connector)
            if self.version is V16:
                place = (None, plug.ocpp16_connector_id)  # type: ignore[assignment]  # as 1.6 says
            said = StatusNotification(*place, ConnectorStatus.AVAILABLE, "Available", at, None)
        elif action in ("MeterValues", "TransactionEvent"):
            self.readings.append(reading(len(self.readings), 110, len(self.readings)))
        self.hear(action, said)

    def hear(self, action: str, said: StationMessage | None, outcome: str = "ok") -> None:
        self.log.append(Heard(len(self.log) + 1, AT, action, outcome, said))

    async def probe(self, probe: Probe) -> ProbeAnswer:
        answer = self.probes[probe]
        if answer is None:
            raise Unavailable("it did not answer " + "x" * 500)
        return answer

    async def heard(self, after: int | None, action: str | None = None) -> Sequence[Heard]:
        fits = [one for one in self.log if action in (None, one.action)]
        return fits[-1:] if after is None else [one for one in fits if one.message_no > after]

    async def session(self, command_id: str) -> SessionView | None:
        if not self.begins:
            return None
        row: Any = {
            "session_id": "s", "evse": 1, "connector": 1, "meter_start_wh": 100,
            "meter_stop_wh": 120 if self.ended else None,
            "ended_at": AT if self.ended else None, **self.row,
        }  # fmt: skip
        session = dict.fromkeys(SessionRow.__dataclass_fields__) | row
        view = dict.fromkeys(SessionView.__dataclass_fields__)
        return SessionView(
            **view  # type: ignore[arg-type]  # the rest is not looked at
            | {
                "session": SessionRow(**session),
                "readings": tuple(self.readings),
                "id_token": self.id_token,
            }
        )


def walk_of(line: Line, *, with_reset: bool = False, **plan: Any) -> Walk:
    async def pause(seconds: float) -> None:
        line.now_s += seconds

    wanted = RunPlan(PLUGS, PLUGS[0], IDENTIFIER, with_reset, ("Maker", "M"))
    connection = line.connection()
    assert connection is not None
    return Walk(
        line,
        connection,
        replace(wanted, **plan),
        pause=pause,
        monotonic_s=lambda: line.now_s,
        patience=PATIENCE,
    )


async def walked(line: Line, *, with_reset: bool = False, **plan: Any) -> dict[RunStep, str]:
    """Walk to the end; return what did not pass, with its detail."""
    walk = walk_of(line, with_reset=with_reset, **plan)
    await walk.walk()
    assert [result.step for result in walk.results] == list(RunStep)
    return {
        result.step: f"{result.outcome}: {result.detail}"
        for result in walk.results
        if result.outcome is not StepOutcome.PASSED
    }


@pytest.mark.parametrize("version", [V16, V201])
async def test_walk__a_good_station__passes(version: OcppVersion) -> None:
    line = Line(version=version, after_reset=(2, version))
    walk = walk_of(line, with_reset=True)
    await walk.walk()
    assert outcome_of(walk.results) is RunOutcome.PASSED
    assert walk.session_id == "s"
    details = {result.step: result.detail for result in walk.results}
    assert details[RunStep.CONNECTION] == f"connection 1, OCPP {version}"
    assert details[RunStep.METER_VALUES] == "2 registers, 100 to 110 Wh"
    assert details[RunStep.TRANSACTION_END] == "4 registers, 100 to 120 Wh"


NOT_APPLICABLE = {RunStep.RESET: "not_applicable: not asked for"}
FAILED = "failed: "


def status_16(line: Line) -> None:
    line.version, line.clock = V16, None


CASES: list[tuple[Callable[[Line], Any], dict[RunStep, str]]] = [
    (status_16, {RunStep.CLOCK: "not_applicable: the station gave no time"}),
    (
        lambda line: setattr(line, "clock", None),
        {RunStep.CLOCK: FAILED + "the station gave no time that can be read"},
    ),
    (
        lambda line: setattr(line, "clock", timedelta(seconds=-301)),
        {RunStep.CLOCK: FAILED + "at most 301 s from ours"},
    ),
    (
        lambda line: line.answers.update(Heartbeat=command(False, "Rejected")),
        {RunStep.HEARTBEAT: FAILED + "TriggerMessage (Heartbeat) was answered Rejected"},
    ),
    (
        lambda line: setattr(line, "ignored", frozenset({"Heartbeat"})),
        {RunStep.HEARTBEAT: FAILED + "accepted, and no Heartbeat came within 5 s"},
    ),
    (
        lambda line: line.probes.update({Probe.UNKNOWN_ACTION: None}),
        {RunStep.UNKNOWN_ACTION: (FAILED + "it did not answer " + "x" * 500)[: 300 + len(FAILED)]},
    ),
    (
        lambda line: line.probes.update(
            {Probe.UNKNOWN_VENDOR: ProbeAnswer("UnknownVendorId", is_error=True)}
        ),
        {RunStep.UNKNOWN_VENDOR: FAILED + "answered the error UnknownVendorId"},
    ),
    (
        lambda line: line.probes.update(
            {Probe.BROKEN_CALL: ProbeAnswer("NotSupported", is_error=True)}
        ),
        {RunStep.BROKEN_CALL: FAILED + "answered the error NotSupported"},
    ),
    (
        lambda line: line.row.update(evse=2),
        {RunStep.TRANSACTION_BEGIN: FAILED + "it began on connector 2-1"},
    ),
    (
        lambda line: setattr(line, "id_token", None),
        {
            RunStep.TRANSACTION_BEGIN: FAILED
            + "it began without a begin register, or for another identifier"
        },
    ),
    (
        lambda line: line.row.update(meter_start_wh=None),
        {
            RunStep.TRANSACTION_BEGIN: FAILED
            + "it began without a begin register, or for another identifier"
        },
    ),
    (
        lambda line: line.answers.update(TransactionEvent=command(False, "NotImplemented")),
        {
            RunStep.METER_VALUES: FAILED
            + "TriggerMessage (TransactionEvent) was answered NotImplemented"
        },
    ),
    (
        lambda line: line.row.update(meter_stop_wh=None),
        {RunStep.TRANSACTION_END: FAILED + "it ended without an end register"},
    ),
    (
        lambda line: line.row.update(meter_stop_wh=119),
        {RunStep.TRANSACTION_END: FAILED + "a register of 119 Wh came after one of 120 Wh"},
    ),
    (
        lambda line: setattr(line, "ends", False),
        {RunStep.TRANSACTION_END: FAILED + "it did not end within 5 s"},
    ),
    (
        lambda line: line.readings.insert(0, reading(7, 90, 5)),
        {RunStep.TRANSACTION_END: FAILED + "its events are not numbered without a hole"},
    ),
    (
        lambda line: line.answers.update(unlock=command(False, "OngoingTransaction")),
        {RunStep.UNLOCK: FAILED + "answered OngoingTransaction"},
    ),
    (
        lambda line: line.answers.update(unlock=command(None)),
        {RunStep.UNLOCK: FAILED + "answered nothing"},
    ),
]


@pytest.mark.parametrize(("change", "expected"), CASES)
async def test_walk__what_a_station_does_wrong__fails_its_step(
    change: Callable[[Line], Any], expected: dict[RunStep, str]
) -> None:
    line = Line()
    change(line)
    found = await walked(line)
    for step, detail in expected.items():
        assert found[step] == detail
    assert all(len(detail) <= DETAIL_CHARS_MAX + len(FAILED) for detail in found.values())


async def test_walk__a_station_that_has_not_booted() -> None:
    found = await walked(Line(), booted_as=None)
    assert found[RunStep.BOOT] == FAILED + "no BootNotification of this station is on record"
    found = await walked(Line(), booted_as=("", "M"))
    assert found[RunStep.BOOT] == FAILED + "its last BootNotification names no vendor or no model"


async def test_walk__no_transaction__what_needs_it_fails_too() -> None:
    found = await walked(Line(begins=False))
    assert found.pop(RunStep.RESET) == "not_applicable: not asked for"
    assert found == {
        RunStep.TRANSACTION_BEGIN: FAILED + "no transaction began within 5 s",
        RunStep.METER_VALUES: FAILED + "no transaction runs",
        RunStep.REMOTE_STOP: FAILED + "no transaction runs",
        RunStep.TRANSACTION_END: FAILED + "no transaction runs",
    }
    refused = Line(answers={CommandName.REMOTE_START: command(False, "Rejected")})
    found = await walked(refused)
    assert found[RunStep.REMOTE_START] == FAILED + "answered Rejected"
    assert found[RunStep.TRANSACTION_BEGIN] == FAILED + "the remote start was not accepted"


async def test_walk__a_value_without_a_register__is_no_reading() -> None:
    class Mute(Line):
        def _come(self, action: str, plug: Connector | None) -> None:
            super()._come(action, plug)
            if action == "TransactionEvent":
                self.readings[-1] = reading(1, None, 1)

    found = await walked(Mute())
    assert found[RunStep.METER_VALUES] == FAILED + "what came has no register of the transaction"


async def test_walk__a_state_of_another_connector__is_not_that_of_this_one() -> None:
    class Stuck(Line):
        def _come(self, action: str, plug: Connector | None) -> None:
            super()._come(action, PLUGS[0] if plug else None)

    found = await walked(Stuck())
    assert found[RunStep.STATUS].startswith(FAILED + "connector 2-1: accepted, and no Status")

    class Wrong(Line):
        def _come(self, action: str, plug: Connector | None) -> None:
            self.hear(action, Heartbeat())

    assert RunStep.STATUS in await walked(Wrong())


@pytest.mark.parametrize(
    "outcome", ["ok; deviation: extra: unknown", "refused: FormatViolation: x", "unsolicited"]
)
async def test_walk__form__only_what_was_said_during_the_run_counts(outcome: str) -> None:
    line = Line()
    line.hear("Heartbeat", None, outcome)
    assert await walked(line) == NOT_APPLICABLE

    class Foul(Line):
        def _come(self, action: str, plug: Connector | None) -> None:
            super()._come(action, plug)
            self.hear("", None, outcome)

    found = await walked(Foul())
    assert found[RunStep.FORM] == f"{FAILED}a frame: {outcome}"


async def test_walk__unlock__a_station_of_1_6_may_have_no_lock() -> None:
    answers = {CommandName.UNLOCK: command(False, "NotSupported")}
    found = await walked(Line(version=V16, answers=dict(answers)))
    assert found[RunStep.UNLOCK] == "not_applicable: the connector has no lock"
    found = await walked(Line(answers=dict(answers)))
    assert found[RunStep.UNLOCK] == FAILED + "answered NotSupported"


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"answers": {CommandName.RESET: command(False, "Rejected")}}, "answered Rejected"),
        ({"after_reset": (1, V201)}, "it did not connect again within 5 s"),
        ({"after_reset": (0, V201)}, "it did not connect again within 5 s"),
        ({"after_reset": (2, V16)}, "it came back with OCPP 1.6"),
        ({"boots": False}, "it came back and did not boot"),
    ],
)
async def test_walk__reset__that_does_not_bring_the_station_back(
    changes: dict[str, Any], detail: str
) -> None:
    found = await walked(Line(**changes), with_reset=True)
    assert found == {RunStep.RESET: FAILED + detail}


@pytest.mark.parametrize("name", [CommandName.TRIGGER, CommandName.REMOTE_STOP])
async def test_walk__connection_lost__interrupted_there(name: CommandName) -> None:
    walk = walk_of(Line(loses_at=name))
    with pytest.raises(InterruptedRun, match="the connection was lost"):
        await walk.walk()
    assert outcome_of(walk.results) is RunOutcome.INTERRUPTED
    assert len(walk.results) < len(RunStep)


async def test_walk__another_connection__interrupted() -> None:
    line = Line()
    walk = walk_of(line)
    line.number = 5
    with pytest.raises(InterruptedRun, match="connected anew"):
        await walk.walk()
    assert walk.results == []


async def test_walk__too_long__interrupted() -> None:
    line = Line()
    walk = walk_of(line)
    line.now_s = 501.0
    with pytest.raises(InterruptedRun, match="longer than 500 s"):
        await walk.walk()
