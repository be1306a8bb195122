"""The shipped contracts against the reference model, over random histories, equal to the unit."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

pytest.importorskip("pyrevm")

from tests.reference_model.machine import SettlementHistory  # needs pyrevm

MUST_HAPPEN = (
    "open",
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


def run(histories: int, steps: int) -> Counter[str]:
    SettlementHistory.count.clear()
    SettlementHistory.operations = 0
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
    return SettlementHistory.count


@pytest.mark.timeout(300)
def test_histories__ten_thousand_operations__model_and_contracts_are_equal() -> None:
    count = run(histories=110, steps=100)
    assert SettlementHistory.operations >= 10_000
    missing = [name for name in MUST_HAPPEN if not count[f"{name}: done"]]
    assert not missing, f"never done: {missing}"


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_histories__two_hundred_thousand_operations__model_and_contracts_are_equal() -> None:
    run(histories=1_400, steps=150)
    assert SettlementHistory.operations >= 200_000
