"""What every `Chain` does: the embedded one, and the same one reached over JSON-RPC."""

from collections.abc import AsyncIterator

import httpx2
import orjson
import pytest

from chargera.app.chain_ports import GAS_LIMIT, BadTransaction, LogFilter, Reverted
from chargera.domain.errors import InvalidInput, Unavailable
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.rpc_backend import RpcChain
from chargera.ledger.evm.transaction import parse
from tests.evm_contracts import COUNTER, REFUSER, Account, word
from tests.unit.ledger.evm.nodes import NOW, memory_chain, transport

KEY = ChainKey(b"\x07" * 32)
URL = "http://node/rpc"


@pytest.fixture(params=["embedded", "rpc"])
async def chain(request) -> AsyncIterator:
    embedded = await memory_chain()
    if request.param == "embedded":
        yield embedded
        return
    async with RpcChain.connected(URL, transport=transport(embedded)) as connected:
        yield connected


async def made(chain, account: Account, code: bytes) -> bytes:
    return (await chain.receipt(await chain.send_raw(account.creation(code)))).created


async def test_transaction__is_sent_and_its_receipt_tells_all(chain):
    account = Account(KEY, chain.chain_id)
    counter = await made(chain, account, COUNTER)
    raw = account.transaction(counter)
    sent = await chain.send_raw(raw)
    receipt = await chain.receipt(sent)
    assert sent == parse(raw).hash == receipt.transaction_hash
    assert (receipt.sender, receipt.to, receipt.created) == (KEY.address, counter, None)
    assert (receipt.block.number, receipt.block.time) == (2, int(NOW.timestamp()))
    assert receipt.succeeded
    assert [log.data for log in receipt.logs] == [word(1)]
    assert await chain.send_raw(raw) == sent
    assert await chain.nonce(KEY.address) == 2
    assert chain.gas_limit == GAS_LIMIT
    assert await chain.receipt(b"\1" * 32) is None


async def test_call__returns_or_raises_what_the_contract_said(chain):
    account = Account(KEY, chain.chain_id)
    counter, refuser = [await made(chain, account, code) for code in (COUNTER, REFUSER)]
    assert await chain.call(counter, b"", KEY.address) == word(1)
    with pytest.raises(Reverted) as caught:
        await chain.call(refuser, b"")
    assert caught.value.data == word(0xBAD)
    failed = await chain.receipt(await chain.send_raw(account.transaction(refuser)))
    assert not failed.succeeded


async def test_logs__by_filter_and_never_more_than_its_limit(chain):
    account = Account(KEY, chain.chain_id)
    counter = await made(chain, account, COUNTER)
    for _ in range(3):
        await chain.send_raw(account.transaction(counter))
    wanted = LogFilter(0, 2**62, frozenset({counter}), (frozenset({word(0xAA)}),))
    found = await chain.logs(wanted)
    assert [(f.block.number, f.log_index, f.log.data) for f in found] == [
        (n + 1, 0, word(n)) for n in (1, 2, 3)
    ]
    assert {found_log.block.time for found_log in found} == {int(NOW.timestamp())}
    assert [len(await chain.logs(LogFilter(3, 3))), len(await chain.logs(LogFilter(9, 9)))] == [
        1,
        0,
    ]
    assert len(await chain.logs(LogFilter(0, 9, topics=(None,)))) == 3
    with pytest.raises(InvalidInput, match="more than 2"):
        await chain.logs(LogFilter(0, 9, limit=2))


async def test_send__what_the_chain_does_not_take__is_refused(chain):
    with pytest.raises(BadTransaction, match="nonce too high"):
        await chain.send_raw(Account(KEY, chain.chain_id, 7).creation(COUNTER))
    with pytest.raises(BadTransaction, match="type 2"):
        await chain.send_raw(b"\1\2")


# A node that is none ---------------------------------------------------------------------------


def answering(*answers: object) -> httpx2.MockTransport:
    """A node that says its chain id, and then these answers; bytes as they are."""
    left = [{"result": "0x5"}, *answers]

    def answer(request: httpx2.Request) -> httpx2.Response:
        said = left.pop(0)
        if isinstance(said, Exception):
            raise said
        return httpx2.Response(200, content=said if isinstance(said, bytes) else orjson.dumps(said))

    return httpx2.MockTransport(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        [],
        {},
        {"error": "no"},
        {"result": "seven"},
        {"result": 7},
        {"error": {"code": -32000, "message": "busy"}},
        httpx2.ConnectError("refused"),
    ],
)
async def test_node_answers_oddly__is_unavailable(answer):
    async with RpcChain.connected(URL, transport=answering(answer)) as chain:
        with pytest.raises(Unavailable):
            await chain.nonce(KEY.address)


@pytest.mark.parametrize("receipt", [{}, {"blockNumber": "0x1"}, []])
async def test_receipt_of_the_wrong_form__is_unavailable(receipt):
    node = answering({"result": receipt}, {"result": {"timestamp": "0x1"}})
    async with RpcChain.connected(URL, transport=node) as chain:
        with pytest.raises(Unavailable, match="not of its form"):
            await chain.receipt(b"\1" * 32)


async def test_error_data_within_an_object__is_found():
    error = {"code": -32015, "message": "VM execution error: reverted", "data": {"data": "0x0bad"}}
    async with RpcChain.connected(URL, transport=answering({"error": error})) as chain:
        with pytest.raises(Reverted) as caught:
            await chain.call(b"\1" * 20, b"")
    assert caught.value.data == b"\x0b\xad"


async def test_sent_already__is_no_error():
    raw = Account(KEY, 5).creation(COUNTER)
    node = answering(
        {"error": {"code": -32000, "message": "already known"}},
        {"result": None},
        {"result": {"blockNumber": "0x1", **_RECEIPT}},
        {"result": {"timestamp": "0x2"}},
    )
    async with RpcChain.connected(URL, transport=node) as chain:
        assert chain.chain_id == 5
        assert await chain.send_raw(raw) == parse(raw).hash


_RECEIPT = {
    "status": "0x1",
    "transactionHash": "0x" + "01" * 32,
    "from": "0x" + "02" * 20,
    "to": None,
    "gasUsed": "0x5208",
    "contractAddress": "0x" + "03" * 20,
    "blockHash": "0x" + "04" * 32,
    "logs": [],
}
