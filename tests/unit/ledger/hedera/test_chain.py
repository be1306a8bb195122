"""What a mirror's rows mean for receipts, where they differ from what the emulator shows."""

from typing import Any

import httpx2
import pytest

from chargera.app.chain_ports import NOBODY
from chargera.domain.errors import NotFound, Unavailable
from chargera.ledger.hedera.chain import MirrorChain
from tests.unit.ledger.hedera.fakes import mirror_answering, paths

HASH = b"\x11" * 32
CONTRACT = "0x" + "c0" * 20


def row(**changed: Any) -> dict[str, Any]:
    return {
        "address": CONTRACT,
        "block_hash": "0x" + "bb" * 48,
        "block_number": 7,
        "call_result": "0x2a",
        "contract_id": "0.0.5",
        "created_contract_ids": [],
        "error_message": None,
        "from": "0x" + "aa" * 20,
        "gas_used": 21_000,
        "logs": [{"address": CONTRACT, "topics": ["0x" + "01" * 32], "data": "0x"}],
        "result": "SUCCESS",
        "timestamp": "1767225600.000000009",
        "to": CONTRACT,
        **changed,
    }


def chain(document: Any) -> MirrorChain:
    return MirrorChain(mirror_answering(paths({f"/contracts/results/0x{HASH.hex()}": document})), 5)


async def test_receipt__of_a_call() -> None:
    receipt = await chain(row()).receipt(HASH)
    assert receipt is not None
    assert (receipt.succeeded, receipt.output, receipt.created) == (True, b"\x2a", None)
    assert (receipt.block.number, receipt.block.time) == (7, 1_767_225_600)
    assert receipt.to == bytes.fromhex(CONTRACT[2:])
    assert receipt.digest == b"\xbb" * 32
    assert receipt.logs[0].data == b""


async def test_receipt__of_a_creation__although_the_mirror_says_to_whom() -> None:
    """A mirror names the new contract as the receiver; a factory's contracts are not its own."""
    made = await chain(row(created_contract_ids=["0.0.5", "0.0.6"])).receipt(HASH)
    assert made is not None
    assert (made.to, made.created) == (None, bytes.fromhex(CONTRACT[2:]))
    factory = await chain(row(created_contract_ids=["0.0.6"])).receipt(HASH)
    assert factory is not None
    assert (factory.to, factory.created) == (bytes.fromhex(CONTRACT[2:]), None)


@pytest.mark.parametrize(
    ("message", "output"), [("0x0bad", b"\x0b\xad"), ("INSUFFICIENT_GAS", b""), (None, b"")]
)
async def test_receipt__of_a_failure__the_contracts_error(message: Any, output: bytes) -> None:
    document = row(result="CONTRACT_REVERT_EXECUTED", error_message=message, call_result="0x99")
    receipt = await chain(document).receipt(HASH)
    assert receipt is not None
    assert (receipt.succeeded, receipt.output) == (False, output)


@pytest.mark.parametrize("result", ["WRONG_NONCE", "DUPLICATE_TRANSACTION"])
async def test_receipt__a_row_of_another_sending__none(result: str) -> None:
    assert await chain(row(result=result)).receipt(HASH) is None


async def test_receipt__a_partial_row_of_what_never_ran__none() -> None:
    partial = httpx2.Response(
        206, json=row(result="INSUFFICIENT_PAYER_BALANCE", gas_used=None, call_result=None)
    )
    assert await chain(partial).receipt(HASH) is None


@pytest.mark.parametrize("missing", ["timestamp", "from", "logs", "block_hash"])
async def test_receipt__a_row_of_another_form__unavailable(missing: str) -> None:
    document = row()
    del document[missing]
    with pytest.raises(Unavailable, match="not of its form"):
        await chain(document).receipt(HASH)


async def test_call__of_nobody__names_no_sender() -> None:
    asked: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.content)
        return httpx2.Response(200, json={"result": "0x"})

    read = MirrorChain(mirror_answering(answer), 5)
    assert await read.call(b"\1" * 20, b"", NOBODY) == b""
    assert b'"from"' not in asked[0]
    assert read.chain_id == 5


async def test_gas_for__never_more_than_there_is() -> None:
    most = mirror_answering(paths({"/contracts/call": {"result": hex(14_999_999)}}))
    assert await MirrorChain(most, 5).gas_for(None, b"\1", b"\2" * 20) == 15_000_000


async def test_connected__nobody_there__unavailable() -> None:
    transport = httpx2.MockTransport(lambda request: httpx2.Response(503, json={}))
    with pytest.raises(Unavailable):
        async with MirrorChain.connected(["http://m.example"], 5, transport=transport):
            pass


async def test_logs__a_contract_that_is_not_known__not_found() -> None:
    from chargera.app.chain_ports import LogFilter

    with pytest.raises(NotFound):
        await MirrorChain(mirror_answering(paths({})), 5).logs(
            LogFilter(0, 9, frozenset({b"\1" * 20}))
        )
