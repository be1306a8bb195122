"""Behind a relay of Hedera whoever sends pays: gas is estimated there, and its price offered."""

from typing import Any

import httpx2
import orjson
import pytest

from chargera.app.chain_ports import LogFilter, Reverted
from chargera.domain.errors import Unavailable
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.rpc_backend import LOG_REQUESTS_MAX, RpcChain
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


# Logs, of which relays give few blocks at once -------------------------------------------------


class LogRelay:
    """Has one log a block in some blocks, and gives those of so many blocks at once."""

    def __init__(self, newest: int, window: int, refusal: str = "Exceeded maximum block range"):
        self.newest = newest
        self.window = window
        self.refusal = refusal
        self.places = {0, min(1, newest), newest // 2, newest}
        self.asked: list[tuple[int, int]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        asked = orjson.loads(request.content)
        match asked["method"]:
            case "eth_chainId":
                return httpx2.Response(200, json={"result": hex(296)})
            case "eth_blockNumber":
                return httpx2.Response(200, json={"result": hex(self.newest)})
            case "eth_getBlockByNumber":
                return httpx2.Response(200, json={"result": {"timestamp": "0x1"}})
        (wanted,) = asked["params"]
        first, last = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
        self.asked.append((first, last))
        if last - first + 1 > self.window:
            error = {"code": -32000, "message": self.refusal}
            return httpx2.Response(400, json={"error": error})
        logs = [self.log(place) for place in sorted(self.places) if first <= place <= last]
        return httpx2.Response(200, json={"result": logs})

    def log(self, block: int) -> dict[str, Any]:
        return {
            "address": address_text(EURO),
            "topics": [],
            "data": "0x",
            "blockNumber": hex(block),
            "blockHash": "0x01",
            "transactionHash": "0x02",
            "logIndex": "0x0",
        }


async def logs_of(relay: LogRelay, *, times: int = 1) -> list[int]:
    transport = httpx2.MockTransport(relay)
    async with RpcChain.connected("http://relay.example", transport=transport) as chain:
        for _ in range(times):
            found = await chain.logs(LogFilter(0, 2**62))
    return [each.block.number for each in found]


@pytest.mark.parametrize("window", [10_000, 1_000, 999, 7, 1])
@pytest.mark.parametrize("newest", [0, 1, 25, 1_000])
async def test_logs__a_relay_that_gives_fewer_blocks__all_of_them_once(
    newest: int, window: int
) -> None:
    relay = LogRelay(newest, window)
    assert await logs_of(relay) == sorted(relay.places)


async def test_logs__what_a_relay_gives_is_remembered() -> None:
    relay = LogRelay(20_000, 1_000)
    assert await logs_of(relay, times=2) == sorted(relay.places)
    refused = [first for first, last in relay.asked if last - first + 1 > relay.window]
    assert refused == [0, 0, 0, 0]  # 10,000, 5,000, 2,500, 1,250


async def test_logs__a_relay_that_refuses_a_single_block__told() -> None:
    with pytest.raises(Unavailable, match="Exceeded maximum"):
        await logs_of(LogRelay(100, 0))


async def test_logs__a_relay_that_is_asked_too_often__not_asked_more() -> None:
    relay = LogRelay(100, 0, "IP Rate limit exceeded")
    with pytest.raises(Unavailable, match="Rate limit"):
        await logs_of(relay)
    assert len(relay.asked) == 1


async def test_logs__too_many_questions__a_mirror_is_named() -> None:
    relay = LogRelay(LOG_REQUESTS_MAX * 100, 10)
    with pytest.raises(Unavailable, match="blocks at once") as raised:
        await logs_of(relay)
    assert "mirror:" in raised.value.remedy
    assert len(relay.asked) < 20
