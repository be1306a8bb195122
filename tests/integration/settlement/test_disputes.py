"""A dispute that nobody rules on: the keeper ends it in time, and the leaf pays as attested."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chargera.ledger.evm.deployment import C4E, DEFAULT_POLICY
from chargera.ledger.network_contracts import DirectSender
from chargera.proofs.batch_file import decode_batch_file
from chargera.proofs.settlement import abi_batch
from tests.integration.settlement.net import WINDOW_S, Net, open_net


@pytest.fixture
async def net(database_url: str, tmp_path: Path) -> AsyncIterator[Net]:
    async with open_net(database_url, tmp_path) as net:
        yield net


async def test_dispute__nobody_rules__ended_by_default_and_everybody_is_paid(net: Net) -> None:
    settling = net.server.settling
    assert settling is not None
    await net.registered_station()
    session_id = await net.charge()
    [batch] = await net.close()
    file = decode_batch_file((await net.http.get(f"/settlement/{batch['batch']}.json")).content)
    disputer = DirectSender(net.contracts, settling.keys.wallet)
    hub = net.contracts.address("SettlementHub")
    await disputer.send("", "C4EToken", "approve", hub, 1_000 * C4E)
    await disputer.send("", "SettlementHub", "dispute", abi_batch(file.batch), 0, b"\1" * 32)

    await net.advance(WINDOW_S + 2)
    assert (await net.session(session_id))["settlement"]["state"] == "disputed"
    host = settling.keys.host.address_text
    assert await net.balance(batch["asset"], host) == 0

    await net.advance(DEFAULT_POLICY.ruling_timeout_s)
    assert (await net.session(session_id))["settlement"]["state"] == "settled"
    # 3.00 EUR net as in any other batch: 64 % for the holders, 30 % commission.
    assert await net.balance(batch["asset"], host) == 1_920_000 + 900_000
    [lane] = await net.call("GET", "/settlement/lanes")
    assert (lane["numbers"], lane["settled"], lane["unsettled"]) == (1, 1, [])
