"""The standard run: its table, and what results are worth."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.messages import IdTokenRef
from chargera.domain.standard_run import (
    SPECS,
    STEPS,
    RunOutcome,
    RunStep,
    StepOutcome,
    StepResult,
    failed_steps,
    is_run_identifier,
    outcome_of,
    run_identifier,
)
from chargera.domain.station import OcppVersion
from tests.unit.proofs.sample_run import RESULTS, passed_run, with_outcome


def test_table__every_step_once_in_order_and_in_both_versions() -> None:
    assert [spec.step for spec in STEPS] == list(RunStep)
    for spec in STEPS:
        assert set(spec.sends) == set(spec.source) == set(OcppVersion)
        assert spec.expects
        assert all(spec.sends.values())
        assert all(spec.source.values())


def test_outcome__every_step_passed() -> None:
    assert outcome_of(RESULTS) is RunOutcome.PASSED
    assert failed_steps(RESULTS) == ()


@pytest.mark.parametrize("step", list(RunStep))
def test_outcome__any_step_that_failed__fails_the_run(step: RunStep) -> None:
    results = with_outcome(step, StepOutcome.FAILED)
    assert outcome_of(results) is RunOutcome.FAILED
    assert failed_steps(results) == (step,)


@pytest.mark.parametrize("step", list(RunStep))
def test_outcome__not_applicable__counts_only_where_the_table_says_so(step: RunStep) -> None:
    results = with_outcome(step, StepOutcome.NOT_APPLICABLE)
    may_be = step in (RunStep.CLOCK, RunStep.UNLOCK, RunStep.RESET)
    assert (SPECS[step].not_applicable is not None) is may_be
    assert outcome_of(results) is (RunOutcome.PASSED if may_be else RunOutcome.FAILED)


@given(st.lists(st.sampled_from(RESULTS), max_size=20))
def test_outcome__steps_missing_twice_or_in_another_order__is_no_passed_run(
    results: list[StepResult],
) -> None:
    if tuple(results) != RESULTS:
        assert outcome_of(results) is RunOutcome.INTERRUPTED
    assert outcome_of([*results, *RESULTS]) is not RunOutcome.PASSED or not results


def test_run__with_a_reason__was_interrupted_but_what_failed_has_failed() -> None:
    assert passed_run().outcome is RunOutcome.PASSED
    assert passed_run(reason="lost").outcome is RunOutcome.INTERRUPTED
    assert passed_run(results=RESULTS[:3], reason="lost").outcome is RunOutcome.INTERRUPTED
    failed = replace(RESULTS[0], outcome=StepOutcome.FAILED)
    assert passed_run(results=(failed,), reason="lost").outcome is RunOutcome.FAILED


@given(st.binary(min_size=4, max_size=4))
def test_identifier__fits_1_6_and_is_known_again_in_any_case(random: bytes) -> None:
    value = run_identifier(random)
    assert len(value) == 20
    assert value.isascii()
    assert is_run_identifier(IdTokenRef(value, "Central").key)
    assert is_run_identifier(IdTokenRef(value.lower(), None).key)


@pytest.mark.parametrize(
    "key",
    [
        None,
        "",
        "standard-run",
        "standard-run-12345",
        "standard-run-12345678",
        "xstandard-run-1234567",
    ],
)
def test_identifier__nothing_else_is_one(key: str | None) -> None:
    assert not is_run_identifier(key)
