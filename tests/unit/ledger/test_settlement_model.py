"""The shipped contracts against the reference model, over random histories, equal to the unit."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

pytest.importorskip("pyrevm")

from tests.reference_model.machine import SettlementHistory, play  # needs pyrevm

MUST_HAPPEN = (
    "open",
    "openWithPermit",
    "openWithAuthorization",
    "lowerMax",
    "askRefund",
    "refund",
    "depositGateway",
    "withdrawGateway",
    "prepay",
    "unprepay",
    "withdraw",
    "withdrawFor",
    "propose",
    "settle",
    "challengeImpossible",
    "challengeOverlap",
    "killWithoutQuorum",
    "slashEquivocation",
    "dispute",
    "endDispute",
    "rule",
    "askUnbond",
    "withdrawBond",
    "admit",
    "release",
    "claim",
    "lowerCommission",
    "retire",
    "record",
    "append",
)


def explore(histories: int, steps: int) -> int:
    """Let hypothesis look for a history in which they differ; return how many operations it saw."""
    before = SettlementHistory.operations
    run_state_machine_as_test(
        SettlementHistory,
        settings=settings(
            max_examples=histories,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return SettlementHistory.operations - before


def replay(seeds: range, steps: int) -> Counter[str]:
    """Play the histories of these seeds; return what was done and refused in them, by kind."""
    SettlementHistory.count.clear()
    for seed in seeds:
        play(seed, steps)
    return SettlementHistory.count


@pytest.mark.timeout(300)
def test_histories__eleven_thousand_operations_of_every_kind__equal() -> None:
    count = replay(range(110), steps=100)
    missing = [name for name in MUST_HAPPEN if not count[f"{name}: done"]]
    assert not missing, f"never done: {missing}"


@pytest.mark.timeout(300)
def test_histories__some_more_that_hypothesis_chooses__equal() -> None:
    # It looks for the odd. Choosing costs it far more than playing, under coverage most of all: the
    # tens of thousands are in the long test.
    assert explore(histories=3, steps=40) >= 40


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_histories__two_hundred_thousand_operations__equal() -> None:
    replay(range(1_000, 2_500), steps=100)
    assert explore(histories=700, steps=100) >= 60_000
