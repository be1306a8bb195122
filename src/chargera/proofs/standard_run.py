"""Standard runs as they were logged: read again and held against the table of steps."""

from collections.abc import Mapping
from typing import Any

from chargera.domain.errors import Unreadable
from chargera.domain.passport import Protocol, protocol_of
from chargera.domain.standard_run import (
    RUN_NAME,
    RunOutcome,
    RunStep,
    StandardRun,
    StepOutcome,
    StepResult,
)
from chargera.domain.station import OcppVersion
from chargera.proofs.records import protocol_tested_record, time_value

_VERSIONS: Mapping[str, OcppVersion] = {
    str(protocol_of(version)): version for version in OcppVersion
}


def read_standard_run(record: Mapping[str, Any]) -> StandardRun:
    """Return the run that a record tells of.

    Raises Unreadable for what `protocol_tested_record` would not have written: another table of
    steps, a member too many, or an outcome that its steps do not have.
    """
    try:
        run = StandardRun(
            run_id=record["run_id"],
            station_id=record["station_id"],
            ocpp_version=_VERSIONS[record["protocol"]],
            connection=record["connection"],
            evse=record["evse"],
            connector=record["connector"],
            requested_by=record["requested_by"],
            started_at=time_value(record["started_at"], field="started_at"),
            ended_at=time_value(record["at"], field="at"),
            results=tuple(
                StepResult(RunStep(row["step"]), StepOutcome(row["outcome"]), row["detail"])
                for row in record["steps"]
            ),
            session_id=record["session_id"],
            reason=record["reason"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"not the record of a standard run: {error}", field="steps") from None
    if record.get("run") != RUN_NAME:
        raise Unreadable(f"not the run {RUN_NAME}", field="run")
    if protocol_tested_record(run) != record:
        raise Unreadable("the outcome is not that of its steps", field="outcome")
    return run


def protocol_that_passed(record: Mapping[str, Any]) -> Protocol | None:
    """Return the protocol that a record shows as tested; None: it shows nothing of the kind."""
    try:
        run = read_standard_run(record)
    except Unreadable:
        return None
    return protocol_of(run.ocpp_version) if run.outcome is RunOutcome.PASSED else None
