"""A standard run that was passed, to be changed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from chargera.domain.standard_run import RunStep, StandardRun, StepOutcome, StepResult
from chargera.domain.station import OcppVersion
from tests.unit.proofs.sample_receipt import START, STATION_ID

RESULTS = tuple(StepResult(step, StepOutcome.PASSED, f"did {step}") for step in RunStep)


def passed_run(**changes: Any) -> StandardRun:
    run = StandardRun(
        run_id="01890000-0000-7000-8000-000000000001",
        station_id=STATION_ID,
        ocpp_version=OcppVersion.V2_0_1,
        connection=3,
        evse=1,
        connector=1,
        requested_by="ada",
        started_at=START,
        ended_at=START + timedelta(seconds=9),
        results=RESULTS,
        session_id="s",
    )
    return replace(run, **changes)


def with_outcome(step: RunStep, outcome: StepOutcome) -> tuple[StepResult, ...]:
    """The results of a passed run, but for one step."""
    return tuple(replace(r, outcome=outcome) if r.step is step else r for r in RESULTS)
