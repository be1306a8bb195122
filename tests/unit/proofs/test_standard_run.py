"""Standard runs in the log: read as they were written, or not at all."""

from typing import Any

import pytest

from chargera.domain.errors import Unreadable
from chargera.domain.passport import Protocol
from chargera.domain.standard_run import RunStep, StandardRun, StepOutcome
from chargera.domain.station import OcppVersion
from chargera.proofs import canonical, records
from chargera.proofs.standard_run import protocol_that_passed, read_standard_run
from tests.unit.proofs.sample_run import RESULTS, passed_run, with_outcome

RUNS = [
    passed_run(),
    passed_run(
        ocpp_version=OcppVersion.V1_6,
        results=with_outcome(RunStep.CLOCK, StepOutcome.NOT_APPLICABLE),
    ),
    passed_run(results=with_outcome(RunStep.BOOT, StepOutcome.FAILED), session_id=None),
    passed_run(results=RESULTS[:2], reason="the connection was lost"),
    passed_run(results=(), reason="the server stopped"),
]


@pytest.mark.parametrize("run", RUNS)
def test_record__is_read_as_it_was_written(run: StandardRun) -> None:
    record = records.protocol_tested_record(run)
    again = canonical.decode(records.encode(record))
    assert isinstance(again, dict)
    assert read_standard_run(again) == run


def test_record__only_a_passed_run_shows_a_protocol() -> None:
    shown = [protocol_that_passed(records.protocol_tested_record(run)) for run in RUNS]
    assert shown == [Protocol.OCPP_2_0_1, Protocol.OCPP_1_6, None, None, None]
    assert protocol_that_passed({"protocol": "ocpp1.6", "failed": []}) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"run": "chargera.standard-run/0"},
        {"outcome": "passed"},
        {"protocol": "ocpp2.1"},
        {"protocol": []},
        {"steps": None},
        {"steps": [1]},
        {"steps": [{"detail": "", "outcome": "passed", "step": "dance"}]},
        {"steps": [{"detail": "", "outcome": "passed", "step": "boot", "more": 1}]},
        {"started_at": "yesterday"},
        {"more": 1},
    ],
)
def test_record__in_any_other_form__unreadable(changes: dict[str, Any]) -> None:
    failed = passed_run(results=with_outcome(RunStep.FORM, StepOutcome.FAILED))
    with pytest.raises(Unreadable):
        read_standard_run(records.protocol_tested_record(failed) | changes)


@pytest.mark.parametrize("member", sorted(records.protocol_tested_record(passed_run())))
def test_record__without_a_member__unreadable(member: str) -> None:
    record = records.protocol_tested_record(passed_run())
    del record[member]
    with pytest.raises(Unreadable):
        read_standard_run(record)
