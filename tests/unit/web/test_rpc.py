"""`/rpc`: what wallets and web3 libraries ask, and what they get for asking wrongly."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from chargera.app.chain_ports import GAS_LIMIT
from chargera.app.chain_testing import MemoryJournal
from chargera.app.log_testing import MemoryLease
from chargera.domain.errors import Unavailable
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.chain import EmbeddedChain
from chargera.ledger.evm.engine import CODE_BYTES_MAX, INITCODE_BYTES_MAX
from chargera.ledger.evm.transaction import RAW_BYTES_MAX, parse
from chargera.proofs.chain_values import address_text
from chargera.web.rpc import endpoint
from chargera.web.rpc.methods import LOG_BLOCKS_MAX, LOGS_MAX, Methods
from chargera.web.rpc.values import bloom
from tests.evm_contracts import COUNTER, ENDLESS, KEEPER, REFUSER, Account, word

NOW = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
KEY = ChainKey(b"\x07" * 32)
SENDER = address_text(KEY.address)


class FixedClock:
    """A time that stands still."""

    def now(self) -> datetime:
        return NOW


class Zeros:
    """No randomness."""

    def bytes(self, count: int) -> bytes:
        return bytes(count)

    def session_id(self, now: datetime) -> str:
        raise AssertionError("nobody asks")


class Rpc:
    """A client of one node."""

    def __init__(self, chain: EmbeddedChain, **options: Any) -> None:
        self.chain = chain
        self.account = Account(KEY, chain.chain_id)
        app = Starlette(routes=[endpoint.rpc_route(chain, "test/1", **options)])
        self.http = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app), base_url="http://node"
        )

    async def post(self, document: Any) -> Any:
        response = await self.http.post("/rpc", content=json.dumps(document))
        assert response.status_code == 200
        return response.json()

    async def answer(self, method: str, *parameters: Any) -> dict[str, Any]:
        asked = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(parameters)}
        answer = await self.post(asked)
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", 7)
        return answer

    async def ask(self, method: str, *parameters: Any) -> Any:
        return (await self.answer(method, *parameters))["result"]

    async def error(self, method: str, *parameters: Any) -> dict[str, Any]:
        return (await self.answer(method, *parameters))["error"]

    async def deploy(self, code: bytes) -> str:
        sent = await self.ask("eth_sendRawTransaction", f"0x{self.account.creation(code).hex()}")
        return (await self.ask("eth_getTransactionReceipt", sent))["contractAddress"]

    async def send(self, to: str, data: bytes = b"") -> str:
        raw = self.account.transaction(bytes.fromhex(to[2:]), data)
        return await self.ask("eth_sendRawTransaction", f"0x{raw.hex()}")


@pytest.fixture
async def rpc() -> Rpc:
    journal = MemoryJournal()
    return Rpc(
        await EmbeddedChain.open(journal, journal.snapshots, MemoryLease(), FixedClock(), Zeros())
    )


@pytest.mark.parametrize(
    ("method", "parameters", "result"),
    [
        ("eth_chainId", [], "0x800000000000"),
        ("net_version", [], str(2**47)),
        ("eth_gasPrice", [], "0x0"),
        ("eth_maxPriorityFeePerGas", [], "0x0"),
        ("eth_blockNumber", [], "0x0"),
        ("eth_getBalance", [SENDER, "latest"], "0x0"),
        ("eth_getTransactionCount", [SENDER, "pending"], "0x0"),
        ("eth_getCode", [SENDER, "latest"], "0x"),
        ("eth_getStorageAt", [SENDER, "0x0", "latest"], "0x" + "00" * 32),
        ("eth_getTransactionReceipt", ["0x" + "00" * 32], None),
        ("eth_getTransactionByHash", ["0x" + "00" * 32], None),
        ("eth_getBlockByNumber", ["0x1", False], None),
        ("eth_getLogs", [{}], []),
        ("eth_accounts", [], []),
        ("eth_syncing", [], False),
        ("net_listening", [], True),
        ("web3_clientVersion", [], "test/1"),
        (
            "eth_feeHistory",
            [4, "latest", [25, 75]],
            {
                "oldestBlock": "0x0",
                "baseFeePerGas": ["0x0", "0x0"],
                "gasUsedRatio": [0.0],
                "reward": [["0x0", "0x0"]],
            },
        ),
        (
            "eth_feeHistory",
            ["0x0", "latest"],
            {"oldestBlock": "0x1", "baseFeePerGas": ["0x0"], "gasUsedRatio": []},
        ),
    ],
)
async def test_empty_chain__answers(rpc, method, parameters, result):
    assert await rpc.ask(method, *parameters) == result


async def test_transaction__from_its_bytes_to_receipt_block_and_logs(rpc):
    counter = await rpc.deploy(COUNTER)
    raw = rpc.account.transaction(bytes.fromhex(counter[2:]), b"\x01\x02")
    sent = await rpc.ask("eth_sendRawTransaction", f"0x{raw.hex()}")
    assert sent == "0x" + parse(raw).hash.hex()
    receipt = await rpc.ask("eth_getTransactionReceipt", sent)
    block = await rpc.ask("eth_getBlockByNumber", "latest", False)
    assert receipt["status"] == "0x1"
    assert (receipt["from"], receipt["to"], receipt["contractAddress"]) == (SENDER, counter, None)
    assert (receipt["blockNumber"], receipt["blockHash"]) == ("0x2", block["hash"])
    (log,) = receipt["logs"]
    assert log["topics"] == ["0x" + word(0xAA).hex()]
    assert log["data"] == "0x" + word(1).hex()
    assert int(receipt["logsBloom"], 16).bit_count() in range(4, 7)
    assert block["transactions"] == [sent]
    assert block["timestamp"] == hex(int(NOW.timestamp()))
    parent = await rpc.ask("eth_getBlockByNumber", "0x1", False)
    genesis = await rpc.ask("eth_getBlockByNumber", "earliest", False)
    assert block["parentHash"] == parent["hash"]
    assert parent["parentHash"] == genesis["hash"]
    assert (genesis["number"], genesis["transactions"]) == ("0x0", [])
    whole = await rpc.ask("eth_getTransactionByHash", sent)
    assert (whole["input"], whole["nonce"], whole["from"]) == ("0x0102", "0x1", SENDER)
    full = await rpc.ask("eth_getBlockByNumber", "0x2", True)
    assert full["transactions"] == [whole]
    assert await rpc.ask("eth_getLogs", {"fromBlock": "0x0", "address": counter}) == [log]
    assert await rpc.ask("eth_getLogs", {"topics": [None]}) == [log]
    assert await rpc.ask("eth_getLogs", {"topics": [["0x" + word(5).hex()]]}) == []
    assert await rpc.ask("eth_getLogs", {"topics": [[], []], "toBlock": "0x2"}) == []
    storage = await rpc.ask("eth_getStorageAt", counter, "0x" + "00" * 32, "latest")
    assert storage == "0x" + word(1).hex()
    assert await rpc.ask("eth_getCode", counter, "latest") == "0x" + COUNTER.hex()
    assert await rpc.ask("eth_getTransactionCount", SENDER, "latest") == "0x2"


async def test_failed_transaction__has_a_receipt_that_says_so(rpc):
    refuser = await rpc.deploy(REFUSER)
    receipt = await rpc.ask("eth_getTransactionReceipt", await rpc.send(refuser))
    assert (receipt["status"], receipt["logs"]) == ("0x0", [])
    assert receipt["logsBloom"] == "0x" + "00" * 256


async def test_call__returns__and_a_refusal_has_code_3_and_the_contracts_error(rpc):
    counter, refuser = await rpc.deploy(COUNTER), await rpc.deploy(REFUSER)
    call = {"to": counter, "from": SENDER, "data": "0x", "gas": "0xffffffff", "value": "0x0"}
    assert await rpc.ask("eth_call", call, "latest") == "0x" + word(1).hex()
    assert await rpc.ask("eth_call", {"to": counter, "input": "0x12"}) == "0x" + word(1).hex()
    assert await rpc.ask("eth_call", {"to": counter}, "0x2") == "0x" + word(1).hex()
    error = await rpc.error("eth_call", {"to": refuser}, "latest")
    assert error == {
        "code": 3,
        "message": "execution reverted",
        "data": "0x" + word(0xBAD).hex(),
    }
    assert (await rpc.error("eth_estimateGas", {"to": refuser}))["code"] == 3
    endless = await rpc.deploy(ENDLESS)
    halted = await rpc.error("eth_call", {"to": endless}, "latest")
    assert (halted["code"], halted["data"]) == (3, "0x")


async def test_call__that_makes_a_contract__can_be_tried_and_estimated(rpc):
    keeper = {"data": "0x" + KEEPER.hex()}
    assert await rpc.ask("eth_call", keeper) == "0x"
    assert int(await rpc.ask("eth_estimateGas", keeper), 16) > 53_000


@pytest.mark.parametrize(
    ("method", "parameters", "code", "said"),
    [
        ("eth_mine", [], -32601, "no method eth_mine"),
        ("eth_call", [{"to": SENDER}, "0x0"], None, None),
        ("eth_call", [{"to": SENDER}, "0x5"], -32004, "only the latest state"),
        ("eth_call", [{"to": SENDER}, {"blockNumber": "0x0"}], -32602, "block"),
        ("eth_call", [{"to": SENDER}, "latest", {SENDER: {}}], -32004, "overrides"),
        ("eth_call", [{"to": "0x12"}, "latest"], -32602, "40 hex digits"),
        ("eth_call", [{"to": SENDER, "data": "0x1"}], -32602, "data"),
        ("eth_call", [{"to": SENDER, "value": "0x1"}], -32000, "insufficient funds"),
        ("eth_call", [{"to": SENDER, "gas": "0x1"}], -32000, "intrinsic gas"),
        ("eth_call", ["0x"], -32602, "object"),
        ("eth_call", [], -32602, "object"),
        ("eth_getTransactionCount", [SENDER, "0x05"], -32602, "quantity"),
        ("eth_sendRawTransaction", ["0x02"], -32000, "not RLP"),
        ("eth_sendRawTransaction", ["0xf86c"], -32000, "only EIP-1559"),
        ("eth_sendRawTransaction", [5], -32602, "transaction"),
        ("eth_getTransactionReceipt", ["0x12"], -32602, "64 hex digits"),
        ("eth_getLogs", [{"fromBlock": "0x0", "toBlock": "0xfffff"}], -32602, "blocks"),
        ("eth_getLogs", [{"topics": [None] * 5}], -32602, "topics"),
        ("eth_getLogs", [{"topics": "0x"}], -32602, "topics"),
        ("eth_getLogs", [{"address": [SENDER] * 1001}], -32602, "alternatives"),
        ("eth_getLogs", [{"blockHash": "0x" + "00" * 32}], -32004, "by number"),
        ("eth_feeHistory", [1, "latest", 5], -32602, "list"),
        ("eth_feeHistory", [1, "latest", [1] * 101], -32602, "too many"),
    ],
)
async def test_wrong_call__is_answered_by_code_and_words(rpc, method, parameters, code, said):
    if code is None:
        assert "result" in await rpc.answer(method, *parameters)
        return
    error = await rpc.error(method, *parameters)
    assert error["code"] == code
    assert said in error["message"]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({}, -32600),
        ({"jsonrpc": "1.0", "id": 1, "method": "eth_chainId"}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": 5}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": {}}, -32600),
        ("eth_chainId", -32600),
        ([], -32600),
        ([{"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}] * 201, -32005),
    ],
)
async def test_request_of_the_wrong_form__is_an_error(rpc, document, code):
    assert (await rpc.post(document))["error"]["code"] == code


async def test_body__not_json_or_too_long__is_an_error(rpc):
    response = await rpc.http.post("/rpc", content=b"{")
    assert response.json()["error"]["code"] == -32700
    response = await rpc.http.post("/rpc", content=b" " * (endpoint.BODY_BYTES_MAX + 1))
    assert (response.status_code, response.json()["error"]["code"]) == (413, -32005)


async def test_batch__is_answered_in_order_and_without_notifications(rpc):
    counter = bytes.fromhex((await rpc.deploy(COUNTER))[2:])
    raws = [rpc.account.transaction(counter) for _ in range(3)]
    calls = [
        {
            "jsonrpc": "2.0",
            "id": n,
            "method": "eth_sendRawTransaction",
            "params": ["0x" + raw.hex()],
        }
        for n, raw in enumerate(raws)
    ]
    silent = {"jsonrpc": "2.0", "method": "eth_chainId"}
    answers = await rpc.post([*calls, silent, {"jsonrpc": "2.0", "id": "x", "method": "no"}, 5])
    assert [answer["id"] for answer in answers] == [0, 1, 2, "x", None]
    assert [answer.get("result") for answer in answers[:3]] == [
        "0x" + parse(raw).hash.hex() for raw in raws
    ]
    assert await rpc.chain.storage(counter, 0) == 3
    response = await rpc.http.post("/rpc", content=json.dumps(silent))
    assert (response.status_code, response.content) == (204, b"")


async def test_batch__takes_too_long__its_rest_is_refused(rpc):
    hasty = Rpc(rpc.chain, batch_s_max=-1.0)
    calls = [{"jsonrpc": "2.0", "id": n, "method": "eth_chainId"} for n in range(3)]
    answers = await hasty.post(calls)
    assert [answer["error"]["code"] for answer in answers] == [-32005] * 3
    assert "result" in await hasty.post(calls[0])


async def test_part_of_the_server_fails__is_an_error_with_words(rpc):
    rpc.chain._journal.faults.error = Unavailable("the database is away", remedy="wait")
    rpc.chain._journal.faults.at = len(rpc.chain._journal.faults.calls) + 1
    error = await rpc.error("eth_getTransactionReceipt", "0x" + "00" * 32)
    assert error == {"code": -32000, "message": "the database is away: wait"}


async def test_page_of_another_origin__may_ask(rpc):
    preflight = await rpc.http.options("/rpc", headers={"Origin": "https://wallet.example"})
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "Content-Type" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in preflight.headers
    answer = await rpc.http.post("/rpc", content=b"{}")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert (await rpc.http.get("/rpc")).status_code == 405


def test_bloom__of_nothing__is_empty():
    assert bloom(()) == "0x" + "00" * 256


async def test_reference__names_every_method_and_limit(rpc):
    page = (Path(__file__).parents[3] / "docs" / "reference" / "chain.md").read_text()
    named = set(re.findall(r"^\| `((?:eth|net|web3)_\w+)`", page, re.MULTILINE))
    assert named == set(Methods(rpc.chain, "").table)
    for said in (
        f"{LOG_BLOCKS_MAX:,} blocks and {LOGS_MAX:,} logs",
        f"{endpoint.BODY_BYTES_MAX // 2**20} MiB, {endpoint.BATCH_MAX} calls",
        f"after {endpoint.BATCH_S_MAX:.0f} seconds",
        f"{CODE_BYTES_MAX:,} B, init code up to {INITCODE_BYTES_MAX:,} B",
        f"{GAS_LIMIT:,} gas and {RAW_BYTES_MAX:,} B",
    ):
        assert said in page
