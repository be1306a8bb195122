"""The contracts on the embedded chain: made on a slow machine, and after a killed start."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chargera import settings as configuration
from chargera.app.clock import SystemEntropy
from chargera.deploying import DeployingParts, Keys, deploy_contracts, deployed
from chargera.domain.errors import Refused
from chargera.ledger.chain_reads import read_policies
from chargera.ledger.evm.chain import EmbeddedChain
from chargera.ledger.network_contracts import ChainContracts
from chargera.proofs.note import VerifierKey
from chargera.store.chain import LEASE_KEY, PostgresChainJournal, PostgresSnapshots
from chargera.store.log import PostgresLease
from chargera.store.unit_of_work import Database

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
VKEY = str(VerifierKey("log.example", bytes(range(32))))


class LabouringClock:
    """Time of a machine on which each look at it comes `step_s` after the one before."""

    manual = False
    rate = 1.0

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s
        self.time = START

    def now(self) -> datetime:
        self.time += timedelta(seconds=self.step_s)
        return self.time


async def make(database_url: str, folder: Path, clock: Any) -> int:
    """Make the contracts, and return from when the policy holds."""
    entropy = SystemEntropy()
    database = Database(database_url, clock, entropy)
    await database.open()
    chain = await EmbeddedChain.open(
        PostgresChainJournal(database),
        PostgresSnapshots(database),
        PostgresLease(database_url, LEASE_KEY, "chargera-chain"),
        clock,
        entropy,
    )
    try:
        settings = configuration.load(folder, {})
        parts = DeployingParts(folder, settings, database, clock, chain, "0.0.1001", VKEY)
        made = await deploy_contracts(parts, Keys.open(folder, entropy))
        assert await deployed(database) == made
        [policy] = await read_policies(ChainContracts(chain, made))
        return policy.holds_from
    finally:
        await chain.close()
        await database.close()


async def test_slow_machine__more_time_is_left_at_the_next_try(
    database_url: str, tmp_path: Path
) -> None:
    holds_from = await make(database_url, tmp_path, LabouringClock(0.5))
    assert int(START.timestamp()) + 15 < holds_from


async def test_killed_before_the_contracts_were_made__the_next_start_decides_afresh(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "policy-from").write_text(str(int(START.timestamp()) - 3_600))
    holds_from = await make(database_url, tmp_path, LabouringClock(0.001))
    assert 0 <= holds_from - int(START.timestamp()) <= 3


async def test_machine_that_never_gets_there__told_so(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="not made within 120 s"):
        await make(database_url, tmp_path, LabouringClock(60))
