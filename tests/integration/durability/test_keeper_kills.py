"""kill -9 at every step from the batch to the payout: nothing is lost, nothing is paid twice."""

from collections.abc import Callable
from random import Random

import pytest

from tests.integration.durability.keeper_ordeal import STEPS, KeeperOrdeal, Kill
from tests.server import data_folder

TEN = (
    "executed prepay:",
    "signed batch",
    "stored propose:",
    "executed propose:",
    "proposed batch",
    "stored settle:",
    "executed settle:",
    "stored claim:",
    "executed claim:",
    "stored withdraw:",
)
LATE_S = 0.02


def two_rounds(random: Random) -> list[list[Kill]]:
    """Each of ten steps in one of two batches, by chance."""
    rounds: list[list[Kill]] = [[], []]
    for step in TEN:
        random.choice(rounds).append(Kill(step))
    return rounds


def twenty_rounds(random: Random) -> list[list[Kill]]:
    """Five steps of each of twenty batches; the last kill comes a little after its step."""
    rounds = []
    for _ in range(20):
        *steps, last = sorted(random.sample(STEPS, 5), key=STEPS.index)
        rounds.append([*map(Kill, steps), Kill(last, random.uniform(0, LATE_S))])
    return rounds


@pytest.mark.parametrize(
    ("rounds_of", "kills", "steps"),
    [
        pytest.param(two_rounds, 10, TEN, marks=pytest.mark.timeout(600), id="10"),
        pytest.param(
            twenty_rounds,
            100,
            STEPS,
            marks=[pytest.mark.long, pytest.mark.timeout(3_600)],
            id="100",
        ),
    ],
)
def test_killed_at_every_step__all_is_proposed_settled_and_paid_once(
    rounds_of: Callable[[Random], list[list[Kill]]], kills: int, steps: tuple[str, ...]
) -> None:
    random = Random(kills)
    with data_folder() as folder:
        ordeal = KeeperOrdeal(folder, random)
        try:
            ordeal.prepare()
            for each in rounds_of(random):
                ordeal.charge()
                ordeal.play(each)
            assert len(ordeal.killed) == kills
            assert {event.partition("0x")[0].strip() for event in ordeal.killed} == set(steps)
            ordeal.check()
        finally:
            ordeal.server.discard()
