"""Batches go their way on Hedera whatever its nodes and mirrors do: settled once, paid once."""

import asyncio
import contextlib

import pytest

from tests.doubles.hedera import FaultKind
from tests.integration.hedera.test_outage import Site, site
from tests.integration.settlement.net import Net

__all__ = ["site"]

# What is lost in flight is waited for a minute: test_adapter_faults has it, without the waiting.
FAULTS = (
    FaultKind.BUSY,
    FaultKind.UNAVAILABLE,
    FaultKind.TIMEOUT_AFTER_SUCCESS,
    FaultKind.RECEIPT_LOST,
    FaultKind.RECEIPT_UNKNOWN,
    FaultKind.MIRROR_DOWN,
)
WINDOW_S = 600
"""Of the policy, as is the contest period: see `policy_settings`."""
STEP_S = 20
"""Network time between two looks; an id of Hedera has no effect after 120 s."""


async def close(net: Net) -> None:
    """Close what waits into batches; it may say that the ledger is away."""
    with contextlib.suppress(AssertionError):
        await net.call("POST", "/settlement/close")


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_each_fault_at_each_step__every_batch_settled_once_and_paid_once(
    site: Site,
) -> None:
    net, server, faults = site.net, site.server, site.emulator.faults
    attesting = asyncio.ensure_future(net.attest())
    try:
        await net.station()
        await net.call("POST", "/id-tokens", {"id_token": "CARD", "type": "ISO14443"})

        async def registered() -> bool:
            server.clock.advance(WINDOW_S)
            return (await net.call("GET", "/passports/CP-1"))["registration"] == "registered"

        await site.until(registered)
        for kind in FAULTS:
            await site.charge()
            rows = (await net.call("GET", "/sessions?limit=1"))["items"]
            session_id = rows[0]["session_id"]
            struck = [faults.add(kind, times=2)]

            closing = asyncio.ensure_future(close(net))

            async def settled(session_id: str = session_id) -> bool:
                batches = await net.call("GET", "/settlement/batches?all=true")
                if any(batch["state"] == "proposed" for batch in batches):
                    struck.append(faults.add(kind, times=1))  # noqa: B023 - of this round
                    server.clock.advance(WINDOW_S + 1)
                server.clock.advance(STEP_S)  # what was lost on its way expires
                await asyncio.sleep(0.5)
                found = (await net.session(session_id))["settlement"]
                return bool(found["state"] == "settled")

            await site.until(settled)
            await closing
            assert sum(fault.struck for fault in struck) >= 1, kind
            faults.clear()
        contracts = net.contracts
        proposed = await contracts.events("SettlementHub", "Proposed")
        batches = {event.members.digest for event in proposed}
        assert len(proposed) == len(batches) >= 1
        finished = await contracts.events("SettlementHub", "Settled")
        assert {event.members.digest for event in finished} == batches
        assert len(finished) == len(batches)
        leaves = await net.call("GET", "/sessions?limit=200")
        assert [row["state"] for row in leaves["items"]] == ["billed"] * len(FAULTS)
        assert server.settling is not None
        host = server.settling.keys.host.address_text
        euro = contracts.address("TestEuro")
        # 5 kWh at 0.30: 1.50 EUR net each; 30 % commission, 64 % the holders', who is the host.
        due = len(FAULTS) * (450_000 + 960_000)

        async def paid() -> bool:
            return await net.balance(euro, host) == due

        await site.until(paid)
    finally:
        attesting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await attesting
