"""Behind a relay of Hedera whoever sends pays: gas is estimated there, and its price offered."""

from typing import Any

import httpx2
import orjson
import pytest

from chargera.app.chain_ports import Reverted
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.rpc_backend import RpcChain
from chargera.ledger.evm.transaction import parse
from chargera.ledger.network_contracts import ChainContracts, signed
from chargera.proofs.chain_values import address_text, parse_hex

KEY = ChainKey(b"\x05" * 32)
EURO = b"\x11" * 20
PRICE = 710_000_000_000
"""71 tinybar, in weibar."""


class Relay:
    """Answers as a relay does, and keeps what it was asked."""

    def __init__(self, chain_id: int, estimate: int = 50_000) -> None:
        self.asked: dict[str, Any] = {}
        self.answers: dict[str, Any] = {
            "eth_chainId": hex(chain_id),
            "eth_call": "0x",
            "eth_estimateGas": hex(estimate),
            "eth_gasPrice": hex(PRICE),
            "eth_getTransactionCount": "0x3",
        }

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        asked = orjson.loads(request.content)
        self.asked[asked["method"]] = asked["params"]
        return httpx2.Response(200, json={"result": self.answers[asked["method"]]})


async def transaction(relay: Relay) -> Any:
    transport = httpx2.MockTransport(relay)
    async with RpcChain.connected("http://relay.example", transport=transport) as chain:
        contracts = ChainContracts(chain, {"TestEuro": address_text(EURO)})
        holder = address_text(b"\x22" * 20)
        return parse(await signed(contracts, KEY, "TestEuro", "transfer", (holder, 5)))


@pytest.mark.parametrize("chain_id", [295, 296, 297, 298])
async def test_a_relay_of_hedera__gas_estimated_and_its_price_offered(chain_id: int) -> None:
    relay = Relay(chain_id)
    sent = await transaction(relay)
    assert (sent.gas_limit, sent.max_fee, sent.nonce) == (60_000, PRICE, 3)
    (asked,) = relay.asked["eth_estimateGas"]
    assert parse_hex(asked["to"], 20, field="to") == EURO
    assert parse_hex(asked["from"], 20, field="from") == KEY.address


async def test_a_relay_of_hedera__never_more_gas_than_there_is() -> None:
    assert (await transaction(Relay(296, 14_000_000))).gas_limit == 15_000_000


async def test_another_chain__most_gas_and_no_price() -> None:
    relay = Relay(31_337)
    sent = await transaction(relay)
    assert (sent.gas_limit, sent.max_fee) == (15_000_000, 0)
    assert "eth_estimateGas" not in relay.asked
    assert "eth_gasPrice" not in relay.asked


async def test_a_creation__estimated_without_a_receiver() -> None:
    relay = Relay(296)
    transport = httpx2.MockTransport(relay)
    async with RpcChain.connected("http://relay.example", transport=transport) as chain:
        assert await chain.gas_for(None, b"\1", KEY.address) == 60_000
    assert "to" not in relay.asked["eth_estimateGas"][0]


async def test_an_estimate_that_reverts__with_the_contracts_error() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        method = orjson.loads(request.content)["method"]
        if method == "eth_chainId":
            return httpx2.Response(200, json={"result": "0x128"})
        error = {"code": 3, "message": "execution reverted", "data": "0x0bad"}
        return httpx2.Response(200, json={"error": error})

    transport = httpx2.MockTransport(answer)
    async with RpcChain.connected("http://relay.example", transport=transport) as chain:
        with pytest.raises(Reverted) as raised:
            await chain.gas_for(EURO, b"", KEY.address)
    assert raised.value.data == b"\x0b\xad"
