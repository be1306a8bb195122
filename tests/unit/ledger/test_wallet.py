"""An escrow's refund from the payer's side: asked, then paid, and told when nothing is held."""

from typing import Any

import pytest

from chargera.domain.errors import NotFound
from chargera.ledger.abi import Struct
from chargera.ledger.wallet import take_back
from chargera.proofs.chain_values import operator_word
from tests.unit.app.settlement_rig import EURO_TEXT, OPERATOR, PAYER

KEY = "0x" + "ab" * 16


class Hub:
    """`Contracts` and `Sender`: one escrow of one payer."""

    address = PAYER

    def __init__(self, asset_index: int, asked_at: int) -> None:
        self.held = Struct(assetIndex=asset_index, askedAt=asked_at)
        self.sent: list[tuple[Any, ...]] = []

    async def read(self, contract: str, function: str, *arguments: Any) -> Any:
        return self.held if function == "escrowOf" else EURO_TEXT

    async def send(self, purpose: str, contract: str, *call: Any) -> str:
        self.sent.append(call)
        return f"0x{len(self.sent)}"


async def test_not_asked_yet__asked() -> None:
    hub = Hub(1, 0)
    assert await take_back(hub, hub, OPERATOR, KEY) == ("asked", "0x1")  # type: ignore[arg-type] # reads and sends
    assert hub.sent == [("askRefund", operator_word(OPERATOR), b"\xab" * 16)]


async def test_asked_before__credited_and_withdrawn() -> None:
    hub = Hub(1, 1)
    assert await take_back(hub, hub, OPERATOR, KEY) == ("paid", "0x2")  # type: ignore[arg-type] # reads and sends
    assert hub.sent == [
        ("refund", PAYER, operator_word(OPERATOR), b"\xab" * 16),
        ("withdrawFor", PAYER, EURO_TEXT),
    ]


async def test_nothing_held__said_and_nothing_sent() -> None:
    hub = Hub(0, 0)
    with pytest.raises(NotFound, match="holds nothing of this payer"):
        await take_back(hub, hub, OPERATOR, KEY)  # type: ignore[arg-type] # reads and sends
    assert hub.sent == []
