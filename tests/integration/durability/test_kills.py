"""kill -9 of server and database at any moment: what was acknowledged is there, and once."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.integration.durability.load import LostError
from tests.integration.durability.ordeal import CLOCK_RATE, SETTINGS, KillStyle, Ordeal
from tests.server import ServerProcess, data_folder

STYLES = (*[KillStyle.RUNNING] * 4, KillStyle.STALLED, KillStyle.FROZEN, KillStyle.STARTING)


@pytest.fixture
def folder() -> Iterator[Path]:
    with data_folder() as folder:
        yield folder


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(10, marks=pytest.mark.timeout(300)),
        pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
async def test_kills_at_random_moments__nothing_acknowledged_is_lost_or_billed_twice(
    folder: Path, kills: int
) -> None:
    random = Random(kills)
    server = ServerProcess(folder, "--clock-rate", CLOCK_RATE, settings=SETTINGS)
    try:
        ordeal = Ordeal(server, random)
        await ordeal.prepare()
        await ordeal.run([*STYLES, *random.choices(STYLES, k=kills)][:kills])
        await ordeal.finish()
        ordeal.check_acknowledged()
        ordeal.check_log()
        ordeal.check_bills()
        ordeal.check_anchors()
        before = ordeal.state_of_bills()
        await ordeal.repeat_everything()
        assert ordeal.state_of_bills() == before
        server.stop()
    finally:
        server.discard()


async def test_acknowledgement_before_commit__the_same_harness_finds_the_loss(folder: Path) -> None:
    server = ServerProcess(folder, settings=SETTINGS, acknowledge_before_commit=True)
    try:
        ordeal = Ordeal(server, Random(3), stall_s=20)
        await ordeal.prepare()
        with pytest.raises(ExceptionGroup) as caught:
            await ordeal.run([KillStyle.STALLED])
        assert caught.group_contains(LostError)
    finally:
        server.discard()
