"""A credit after settlement: owed by the host until his own transfer is found on chain."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from chargera.app.ports import InboundCall
from chargera.domain.messages import (
    IdTokenRef,
    MeterSample,
    ReadingContext,
    TransactionEvent,
    TransactionEventKind,
)
from chargera.domain.pricing import ChargingState
from chargera.domain.station import OcppVersion
from chargera.ledger.network_contracts import DirectSender
from tests.integration.settlement.net import TARIFF, Net, open_net

BY_TIME = TARIFF | {
    "id": "HOURLY",
    "elements": [
        {
            "price_components": [
                {"price": 3.00, "step_size": 1, "type": "TIME", "vat": 21},
                {"price": 0.00, "step_size": 1, "type": "PARKING_TIME", "vat": 21},
            ]
        }
    ],
}


@pytest.fixture
async def net(database_url: str, tmp_path: Path) -> AsyncIterator[Net]:
    async with open_net(database_url, tmp_path) as net:
        yield net


async def say_late(net: Net, at: datetime) -> None:
    """The station tells late that the car took nothing from then on."""
    event = TransactionEvent(
        kind=TransactionEventKind.UPDATED,
        transaction_id="tx-late",
        seq_no=1,
        evse=1,
        connector=1,
        at=at,
        id_token=IdTokenRef("CARD", "ISO14443"),
        samples=(MeterSample(at, ReadingContext.PERIODIC, 11_000, 0),),
        signed=(),
        charging=ChargingState.IDLE,
        stop_reason=None,
        offline=False,
        remote_start_id=None,
    )
    call = InboundCall("CP-1", OcppVersion.V2_0_1, net.now, "m", "TransactionEvent", event, b"[]")
    async with net.server.database.channel_work() as work:
        await net.server.charging.handle(work, [call])
        await work.commit()


async def test_credit_after_settlement__owed_until_the_host_has_returned_it(net: Net) -> None:
    await net.registered_station()
    await net.call("POST", "/tariffs", BY_TIME)
    await net.call("PUT", "/stations/CP-1/tariff", {"tariff_id": "HOURLY"})
    kinds = TransactionEventKind
    await net.say("CP-1", kinds.STARTED, "tx-late", 1, 1_000, "CARD", seq_no=0)
    await net.advance(3_600)
    await net.say("CP-1", kinds.ENDED, "tx-late", 1, 11_000, "CARD", seq_no=2)
    await net.advance(1)
    session_id = await net.bill()
    [batch] = await net.settle()
    before = await net.session(session_id)
    assert before["net_minor"] == 300
    assert before["settlement"]["state"] == "settled"
    assert "owed_minor" not in before["settlement"]

    ended_at = datetime.fromisoformat(before["ended_at"])
    await say_late(net, ended_at - timedelta(minutes=40))
    await net.bill()
    after = await net.session(session_id)
    owed = before["net_minor"] - after["net_minor"]
    assert owed > 0
    assert after["settlement"]["owed_minor"] == owed, "the gateway keeps the VAT"

    settling = net.server.settling
    assert settling is not None
    host = DirectSender(net.contracts, settling.keys.host)
    sent = await host.send("", "TestEuro", "transfer", settling.gateway.address, owed * 10_000)
    await net.advance(1)
    returned = (await net.session(session_id))["settlement"]
    assert "owed_minor" not in returned
    assert (returned["returned_minor"], returned["returned_by"]) == (owed, sent)
    assert returned["batch"] == batch["batch"]
