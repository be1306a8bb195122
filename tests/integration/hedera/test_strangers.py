"""What mirrors may do to a stranger: make him wait, and never make him believe."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.doubles.hedera import FaultKind
from tests.doubles.hedera.mirror_topics import LIES
from tests.integration.hedera.settlement_rig import SettlingSite, settling_site
from tests.integration.hedera.strangers import Stranger

LAG_S = 10**7
ALL = (None, 0, 1)
"""Which of two mirrors: both, the first, the second."""


@dataclass
class Case:
    site: SettlingSite
    stranger: Stranger
    receipt: Path
    trust: Path

    async def judged(self) -> tuple[int, bool]:
        """Return what `verify` exits with, and whether `audit` finds every promise kept."""
        code, failed = await self.stranger.verify(self.receipt, self.trust)
        assert failed is None
        verdicts = set((await self.stranger.audit(self.trust)).values())
        assert "failed" not in verdicts  # a mirror's lie is no offence of the network's
        return code, verdicts == {"ok"}


@pytest.fixture
async def case(database_url: str, tmp_path: Path) -> AsyncIterator[Case]:
    async with settling_site(database_url, tmp_path) as site, site.served() as net:
        await site.begin()
        session_id = await site.charge()
        await net.call("POST", "/anchors")
        stranger = Stranger(site, tmp_path)
        receipt = await stranger.receipt(session_id, "receipt.json")
        made = Case(site, stranger, receipt, await stranger.trust("trust.json"))
        assert await made.judged() == (0, True)
        yield made


async def test_mirrors_that_lie_or_are_behind__3_and_never_0(case: Case) -> None:
    faults = case.site.emulator.faults
    for lie in LIES:
        for mirror in (None, 1):
            faults.add(FaultKind.MIRROR_LIE, times=None, value=lie, mirror=mirror)
            code, is_kept = await case.judged()
            assert code == 3, (lie, mirror)
            # A topic that all mirrors leave empty is that of a network that anchors later.
            assert is_kept == (lie == "omitted" and mirror is None), (lie, mirror)
            faults.clear()
    for mirror in ALL:
        faults.lag_mirror(LAG_S, mirror=mirror)
        assert (await case.judged())[0] == 3, mirror
        faults.clear()
        faults.add(FaultKind.MIRROR_DOWN, times=None, method="/api/v1/topics", mirror=mirror)
        assert await case.judged() == (3, False), mirror
        faults.clear()
    assert await case.judged() == (0, True)


async def test_exported_anchors__stand_in_for_a_mirror(case: Case, tmp_path: Path) -> None:
    stranger = case.stranger
    exported = tmp_path / "anchors.json"
    _, rows = await stranger.run("anchor", "list", "--data-dir", str(case.site.folder))
    exported.write_text(stranger.said)
    assert {row["state"] for row in rows} == {"anchored"}
    words = ["verify", str(case.receipt), "--trust", str(case.trust), "--anchors", str(exported)]
    assert (await stranger.run(*words))[0] == 0
    case.site.emulator.faults.add(FaultKind.MIRROR_LIE, times=None, value=LIES[0], mirror=1)
    assert (await stranger.run(*words, *stranger.anchors))[0] == 3
