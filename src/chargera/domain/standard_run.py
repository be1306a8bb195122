"""The standard run: what a station must do on its connection before a version counts as tested.

The run is the table `STEPS`: it is walked by `app.standard_run`, printed in the reference, and
held against what was logged when a passport is verified. What is sent and expected is the same
for both versions but for the words of their messages.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chargera.domain.station import OcppVersion
from chargera.domain.word import Word

RUN_NAME = "chargera.standard-run/1"
"""Raised with every change of the table that changes what a passed run shows."""

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far a station's clock may be off: what is further in the future is not believed in bills."""

DETAIL_CHARS_MAX = 300

_RUN_IDENTIFIER = re.compile(r"standard-run-[0-9a-f]{7}")


class RunStep(Word):
    """The steps of a run, in their order."""

    CONNECTION = "connection"
    BOOT = "boot"
    HEARTBEAT = "heartbeat"
    STATUS = "status"
    CLOCK = "clock"
    UNKNOWN_VENDOR = "unknown_vendor"
    UNKNOWN_ACTION = "unknown_action"
    BROKEN_CALL = "broken_call"
    REMOTE_START = "remote_start"
    TRANSACTION_BEGIN = "transaction_begin"
    METER_VALUES = "meter_values"
    REMOTE_STOP = "remote_stop"
    TRANSACTION_END = "transaction_end"
    UNLOCK = "unlock"
    FORM = "form"
    RESET = "reset"


class StepOutcome(Word):
    """What became of a step."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not_applicable"


class RunOutcome(Word):
    """What became of a run."""

    PASSED = "passed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """The connection or the server ended, or the run took too long."""


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step: what we send, what must come, and where the specification says so."""

    step: RunStep
    sends: Mapping[OcppVersion, str]
    expects: str
    source: Mapping[OcppVersion, str]
    not_applicable: str | None = None
    """When the step does not count; None: it always does."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What became of a step, and why."""

    step: RunStep
    outcome: StepOutcome
    detail: str


@dataclass(frozen=True, slots=True)
class StandardRun:
    """A run that has ended, with all that is logged of it.

    `connection` counts the connections since the server started; `session_id` None: it began no
    transaction; `reason` says why an interrupted run did not come to its end.
    """

    run_id: str
    station_id: str
    ocpp_version: OcppVersion
    connection: int
    evse: int
    connector: int
    requested_by: str
    started_at: datetime
    ended_at: datetime
    results: tuple[StepResult, ...]
    session_id: str | None = None
    reason: str | None = None

    @property
    def outcome(self) -> RunOutcome:
        """What the results are worth; a run that was interrupted has not passed."""
        outcome = outcome_of(self.results)
        if self.reason is not None and outcome is RunOutcome.PASSED:
            return RunOutcome.INTERRUPTED
        return outcome


def _spec(
    step: RunStep,
    sends: tuple[str, str],
    expects: str,
    source: tuple[str, str],
    not_applicable: str | None = None,
) -> StepSpec:
    """Return a step; pairs are of OCPP 1.6 and 2.0.1."""
    versions = (OcppVersion.V1_6, OcppVersion.V2_0_1)
    return StepSpec(
        step,
        dict(zip(versions, sends, strict=True)),
        expects,
        dict(zip(versions, source, strict=True)),
        not_applicable,
    )


_NOTHING = ("nothing", "nothing")

STEPS: tuple[StepSpec, ...] = (
    _spec(
        RunStep.CONNECTION,
        _NOTHING,
        "the station is connected, has proven its identity and speaks this version",
        ("OCPP-J 1.6, 3.1 and 6", "2.0.1 part 4, 3.1; part 2, A00"),
    ),
    _spec(
        RunStep.BOOT,
        _NOTHING,
        "its last BootNotification was accepted and names vendor and model",
        ("1.6, 4.2", "2.0.1 part 2, B01"),
    ),
    _spec(
        RunStep.HEARTBEAT,
        ("TriggerMessage (Heartbeat)", "TriggerMessage (Heartbeat)"),
        "the request is accepted, and a Heartbeat comes",
        ("1.6, 4.6 and 5.17", "2.0.1 part 2, F06 and G02"),
    ),
    _spec(
        RunStep.STATUS,
        (
            "TriggerMessage (StatusNotification) for every registered connector",
            "TriggerMessage (StatusNotification) for every registered connector",
        ),
        "each request is accepted, and the state of that connector comes",
        ("1.6, 4.9 and 5.17", "2.0.1 part 2, F06 and G01"),
    ),
    _spec(
        RunStep.CLOCK,
        _NOTHING,
        "times in the states that came are within 5 minutes of ours",
        ("1.6, 4.2 and 4.6", "2.0.1 part 2, B01 and G02"),
        "a station of 1.6 that gives no time there: the member is optional",
    ),
    _spec(
        RunStep.UNKNOWN_VENDOR,
        (
            "DataTransfer of a vendor that nobody is",
            "DataTransfer of a vendor that nobody is",
        ),
        "the status UnknownVendorId",
        ("1.6, 4.3 and 5.6", "2.0.1 part 2, P01"),
    ),
    _spec(
        RunStep.UNKNOWN_ACTION,
        ("a CALL of an action that no version has", "a CALL of an action that no version has"),
        "a CALLERROR with NotImplemented or NotSupported",
        ("OCPP-J 1.6, 4.2.3", "2.0.1 part 4, 4.2.3"),
    ),
    _spec(
        RunStep.BROKEN_CALL,
        ("TriggerMessage without its message", "TriggerMessage without its message"),
        "a CALLERROR that blames the payload: a missing member or its form",
        ("OCPP-J 1.6, 4.2.3", "2.0.1 part 4, 4.2.3"),
    ),
    _spec(
        RunStep.REMOTE_START,
        ("RemoteStartTransaction", "RequestStartTransaction"),
        "the request is accepted",
        ("1.6, 5.11", "2.0.1 part 2, F01 and F02"),
    ),
    _spec(
        RunStep.TRANSACTION_BEGIN,
        _NOTHING,
        "a transaction of the test identifier begins on that connector, with a begin register",
        ("1.6, 4.8", "2.0.1 part 2, E02 and F02"),
    ),
    _spec(
        RunStep.METER_VALUES,
        ("TriggerMessage (MeterValues)", "TriggerMessage (TransactionEvent)"),
        "a reading of the transaction comes, and no register is below its predecessor",
        ("1.6, 4.7 and 5.17", "2.0.1 part 2, F06 and J02"),
    ),
    _spec(
        RunStep.REMOTE_STOP,
        ("RemoteStopTransaction", "RequestStopTransaction"),
        "the request is accepted",
        ("1.6, 5.12", "2.0.1 part 2, F03"),
    ),
    _spec(
        RunStep.TRANSACTION_END,
        _NOTHING,
        "the transaction ends, with an end register that is not below any reading",
        ("1.6, 4.10", "2.0.1 part 2, E06 and F03"),
    ),
    _spec(
        RunStep.UNLOCK,
        ("UnlockConnector", "UnlockConnector"),
        "an answer of the specification, and the connector is known",
        ("1.6, 5.18", "2.0.1 part 2, F05"),
        "a station of 1.6 that answers NotSupported: it has no lock",
    ),
    _spec(
        RunStep.FORM,
        _NOTHING,
        "every message and answer of the station during the run was of its official schema",
        ("1.6 JSON schemas", "2.0.1 part 3"),
    ),
    _spec(
        RunStep.RESET,
        ("Reset (Soft)", "Reset (OnIdle)"),
        "the request is accepted; the station connects again, is the same one and boots",
        ("1.6, 5.14", "2.0.1 part 2, B11"),
        "it was not asked for",
    ),
)

SPECS: Mapping[RunStep, StepSpec] = {spec.step: spec for spec in STEPS}


def outcome_of(results: Sequence[StepResult]) -> RunOutcome:
    """Return what results are worth: passed exactly if every step was made and counted as passed.

    A step that does not apply is passed where the table says that this may be.
    """
    if any(_has_failed(result) for result in results):
        return RunOutcome.FAILED
    is_whole = tuple(result.step for result in results) == tuple(RunStep)
    return RunOutcome.PASSED if is_whole else RunOutcome.INTERRUPTED


def failed_steps(results: Sequence[StepResult]) -> tuple[RunStep, ...]:
    """Return the steps that failed, in their order."""
    return tuple(result.step for result in results if _has_failed(result))


def _has_failed(result: StepResult) -> bool:
    if result.outcome is StepOutcome.NOT_APPLICABLE:
        return SPECS[result.step].not_applicable is None
    return result.outcome is StepOutcome.FAILED


def run_identifier(random: bytes) -> str:
    """Return a run's own identifier from 4 random bytes: 20 characters, as OCPP 1.6 allows."""
    return f"STANDARD-RUN-{random.hex()[:7].upper()}"


def is_run_identifier(key: str | None) -> bool:
    """Say whether an identifier's key (`IdTokenRef.key`) is of a standard run: nobody pays."""
    return key is not None and _RUN_IDENTIFIER.fullmatch(key) is not None
