"""Batches go their way whatever nodes, mirrors and we ourselves do: settled once, paid once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from chargera.domain.errors import ChargEraError
from chargera.ledger.hedera.delivery import UNANSWERED_MAX
from tests.doubles.hedera import FaultKind
from tests.integration.hedera.initialising import Crash, Crashes
from tests.integration.hedera.settlement_rig import SettlingSite, calls, settling_site

STEPS = (
    ("TestEuro", "faucet"),
    ("TestEuro", "approve"),
    ("SettlementHub", "depositGateway"),
    ("SettlementHub", "propose"),
    ("SettlementHub", "settle"),
    ("ChargerShares", "claim"),
    ("SettlementHub", "withdrawFor"),
)
"""Every transaction between a batch that is signed and the last payment from it."""
ROUNDS = 12
HEALED_AFTER = 4
"""Rounds; what would last for ever ends then."""
EXPIRY_S = 130
WRITES_MAX = 120
"""Of a whole settlement there are about 80, counted in `Crashes`."""


@dataclass(frozen=True)
class Case:
    name: str
    strike: Callable[[SettlingSite], Awaitable[None]]


def at_each_step(kind: FaultKind, *, times: int = 1, value: object = None) -> Case:
    """The fault strikes so often at each of the transactions."""

    async def strike(site: SettlingSite) -> None:
        for contract, function in STEPS:
            is_it = calls(contract, function)
            site.emulator.faults.add(kind, times=times, value=value, where=is_it)

    return Case(f"{value or kind}-{times}-at-each-step", strike)


def everywhere(kind: FaultKind, *, times: int | None, value: object = None) -> Case:
    async def strike(site: SettlingSite) -> None:
        mirror = 0 if kind is FaultKind.MIRROR_LIE else None
        site.emulator.faults.add(kind, times=times, value=value, mirror=mirror)

    return Case(f"{kind}-{times or 'always'}", strike)


async def nothing_comes_back(site: SettlingSite) -> None:
    """Each is executed, its answer and its receipt are lost, and the mirrors are behind."""
    await at_each_step(FaultKind.TIMEOUT_AFTER_SUCCESS).strike(site)
    site.emulator.faults.add(FaultKind.RECEIPT_LOST, times=None)
    site.emulator.faults.lag_mirror(40)


async def mirrors_behind(site: SettlingSite) -> None:
    site.emulator.faults.lag_mirror(20)


async def throttled(site: SettlingSite) -> None:
    site.emulator.faults.throttles["ethereumTransaction"] = 0


async def node_restarts(site: SettlingSite) -> None:
    await site.emulator.restart_node()


TELLING = [
    at_each_step(FaultKind.LOST_IN_FLIGHT, times=UNANSWERED_MAX),
    Case("executed-and-nothing-comes-back", nothing_comes_back),
]
"""Where a second transaction is needed, and where one would be a second payment."""
OTHERS = [
    at_each_step(FaultKind.LOST_IN_FLIGHT),
    at_each_step(FaultKind.TIMEOUT_AFTER_SUCCESS),
    at_each_step(FaultKind.BUSY, times=3),
    at_each_step(FaultKind.WRONG_FEE, value=10),
    *(
        at_each_step(FaultKind.REFUSED, value=value)
        for value in ("TRANSACTION_EXPIRED", "INSUFFICIENT_PAYER_BALANCE", "PLATFORM_NOT_ACTIVE")
    ),
    everywhere(FaultKind.UNAVAILABLE, times=9),
    everywhere(FaultKind.RECEIPT_LOST, times=None),
    everywhere(FaultKind.RECEIPT_UNKNOWN, times=None),
    everywhere(FaultKind.MIRROR_DOWN, times=40),
    everywhere(FaultKind.MIRROR_LIE, times=None, value="message"),
    Case("mirrors-behind", mirrors_behind),
    Case("throttled", throttled),
    Case("node-restarts", node_restarts),
]


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[SettlingSite]:
    async with settling_site(database_url, tmp_path) as made, made.served():
        await made.begin()
        yield made


async def settle_in_the_end(site: SettlingSite, session_id: str) -> None:
    """A keeper a round, with time between them in which what was lost expires."""
    is_settled = False
    for turn in range(ROUNDS):
        with suppress(ChargEraError):
            is_settled = await site.settle(session_id)
        site.net.server.clock.advance(EXPIRY_S)
        if is_settled or turn == HEALED_AFTER:
            site.emulator.faults.clear()
        if is_settled:
            break
    assert await site.settle(session_id)  # whoever was not paid then is paid now


async def settle_each(site: SettlingSite, cases: list[Case]) -> None:
    for case in cases:
        session_id = await site.charge()
        await case.strike(site)
        await settle_in_the_end(site, session_id)
    await site.check_paid(len(cases))


async def test_lost_or_unheard_of_at_each_step__settled_once_and_paid_once(
    site: SettlingSite,
) -> None:
    await settle_each(site, TELLING)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_each_fault_at_each_step__settled_once_and_paid_once(site: SettlingSite) -> None:
    await settle_each(site, OTHERS)


@pytest.mark.parametrize(
    "after", [True, pytest.param(False, marks=pytest.mark.long)], ids=["after", "before"]
)
async def test_processes_that_end_at_some_write__settled_once_and_paid_once(
    site: SettlingSite, after: bool
) -> None:
    """Each ends at its first to seventh write, in turn, until one comes through."""
    session_id = await site.charge()
    crashed, is_settled = 0, False
    while not is_settled:
        with suppress(Crash):
            is_settled = await site.settle(session_id, Crashes(at=1 + crashed % 7, after=after))
        crashed += not is_settled
    assert crashed > len(STEPS)
    await site.check_paid(1)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_a_crash_at_each_write__settled_once_and_paid_once(site: SettlingSite) -> None:
    """A session for each number of the write at which the process ends."""
    for number in range(1, WRITES_MAX):
        session_id = await site.charge()
        crashes = Crashes(at=number)
        try:
            is_settled = await site.settle(session_id, crashes)
        except Crash:
            await settle_in_the_end(site, session_id)
        else:
            assert is_settled
            break
    assert 3 * len(STEPS) < number < WRITES_MAX - 1
    await site.check_paid(number)
