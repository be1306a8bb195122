"""The operator's money: it is said before it ends, and when it comes again everything goes on."""

import re
from pathlib import Path

import pytest

from chargera.app.log_ports import AnchorState
from chargera.domain.errors import Undetermined
from tests.integration.hedera.settlement_rig import settling_site

DAY_S = 86_400
OPERATOR = 1001
WAITS = r"INSUFFICIENT_PAYER_BALANCE|not known yet"
"""Why nothing is anchored without money: what the node says, and then that it may still come."""


async def test_money_that_ends__warned_before__waits__goes_on(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with settling_site(database_url, tmp_path) as site, site.served() as net:
        await site.begin()
        account, server = site.emulator.ledger.accounts[OPERATOR], net.server
        funds = server.ledger.funds
        assert funds is not None
        await site.charge()
        await net.call("POST", "/anchors")
        server.clock.advance(DAY_S)
        await funds.look()
        (a_day,) = funds.days_left.values()
        spent_a_day = account.balance // int(a_day)

        account.balance = 5 * spent_a_day  # there is some, for five days
        await funds.look()
        assert [r.message for r in caplog.records if "transfer HBAR" in r.message] == [
            f"{site.emulator.operator_id} has money for 5 days; transfer HBAR to it"
        ]
        metrics = (await net.http.get("/metrics")).text
        assert f'chargera_ledger_days_left{{account="{site.emulator.operator_id}"}} 5.0' in metrics
        assert (await server.readiness())[1]["funds"] == "ok"
        await site.charge()
        await net.call("POST", "/anchors")  # a warning stops nothing

        full, account.balance = account.balance, 0
        session_id = await site.charge()
        # Whoever asks after the server's own attempt hears that this one is not decided yet.
        with pytest.raises(Undetermined, match=WAITS):
            await server.anchor_now()
        await funds.look()
        is_ready, checks = await server.readiness()
        assert not is_ready
        assert "is empty: transfer HBAR to it" in checks["funds"]
        assert re.search(WAITS, checks["anchor"])
        assert "anchoring waits: INSUFFICIENT_PAYER_BALANCE" in caplog.text

        account.balance = full
        server.clock.advance(DAY_S)
        await server.anchor_now()
        await funds.look()
        assert await site.settle(session_id)
        assert (await server.readiness())[1]["funds"] == "ok"
        anchors = await server.anchors.anchors(0, 100)
        done = [a.tree_size for a in anchors if a.state is AnchorState.ANCHORED]
        assert len(done) == len(set(done))
        topic = site.emulator.ledger.topics[int(server.ledger.topics[-1].topic_id[4:])]
        assert topic.sequence_number == len(done)
