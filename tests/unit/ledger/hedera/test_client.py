"""The SDK is asked for only where Hedera is used, and every way it gives up has its word."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from chargera.ledger.chain_key import ChainKey
from chargera.ledger.hedera import sdk
from chargera.ledger.hedera.client import HapiClient, HapiNetwork
from chargera.ledger.hedera.failures import NO_ANSWER, NODE_DOWN, HapiFailure, Stage
from chargera.ledger.hedera.signer import KeySigner

WITHOUT_THE_EXTRA = """
import sys
sys.modules["hiero_sdk_python"] = None
import chargera.ledger.network_contracts, chargera.ledger.hedera.topic, chargera.cli
from chargera.domain.errors import Refused
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.hedera.client import HapiClient, HapiNetwork
from chargera.ledger.hedera.signer import KeySigner
try:
    HapiClient(HapiNetwork("custom", {}), "0.0.2", KeySigner(ChainKey(bytes([1]) * 32)))
except Refused as error:
    print(error.message, error.remedy)
"""


def test_without_the_extra__everything_loads_and_the_client_names_it() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA], capture_output=True, text=True, check=True
    )
    assert "pip install 'chargera[hedera]'" in ran.stdout
    assert "hiero_sdk_python" in ran.stdout


@pytest.fixture
async def client() -> Any:
    signer = KeySigner(ChainKey(b"\1" * 32))
    made = HapiClient(HapiNetwork("custom", {"127.0.0.1:1": "0.0.3"}), "0.0.2", signer)
    yield made
    await made.close()


class Status:
    name = "DEADLINE_EXCEEDED"


class RpcError(Exception):
    """As gRPC raises them."""

    def code(self) -> type[Status]:
        return Status

    def details(self) -> str:
        return "too late\nand more"


@pytest.mark.parametrize(
    ("raised", "stage", "name"),
    [
        (
            sdk.PrecheckError(sdk.ResponseCode.INVALID_SIGNATURE),
            Stage.PRECHECK,
            "INVALID_SIGNATURE",
        ),
        (
            sdk.MaxAttemptsError("x", "0.0.3", sdk.PrecheckError(sdk.ResponseCode.BUSY)),
            Stage.PRECHECK,
            "BUSY",
        ),
        (
            sdk.MaxAttemptsError(
                "x", "0.0.3", sdk.PrecheckError(sdk.ResponseCode.RECEIPT_NOT_FOUND)
            ),
            Stage.RECEIPT,
            "RECEIPT_NOT_FOUND",
        ),
        (
            sdk.MaxAttemptsError(
                "x", "0.0.3", sdk.ReceiptStatusError(sdk.ResponseCode.UNKNOWN, None, None)
            ),
            Stage.RECEIPT,
            "UNKNOWN",
        ),
        (sdk.MaxAttemptsError("x", "0.0.3", RpcError()), Stage.TRANSPORT, "DEADLINE_EXCEEDED"),
        (sdk.MaxAttemptsError("x", "0.0.3", None), Stage.TRANSPORT, NODE_DOWN),
        (RuntimeError("All nodes are unhealthy"), Stage.TRANSPORT, NODE_DOWN),
        (ConnectionRefusedError("no"), Stage.TRANSPORT, NODE_DOWN),
        (RpcError(), Stage.TRANSPORT, "DEADLINE_EXCEEDED"),
        (ValueError("No certificate available."), Stage.TRANSPORT, NO_ANSWER),
        (KeyError(), Stage.TRANSPORT, NO_ANSWER),
    ],
    ids=lambda part: getattr(part, "name", None) or type(part).__name__,
)
async def test_failures__each_way_the_sdk_gives_up(
    client: HapiClient, raised: Exception, stage: Stage, name: str
) -> None:
    def call(sdk_: Any, client_: Any, node: Any) -> None:
        raise raised

    with pytest.raises(HapiFailure) as told:
        await client._run(call)
    assert (told.value.stage, told.value.name) == (stage, name)
    assert "\n" not in str(told.value)


async def test_calls__go_on_while_another_blocks(client: HapiClient) -> None:
    """The loop is free, and several calls run at a time."""
    first, second = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def one(sdk_: Any, client_: Any, node: Any) -> str:
        loop.call_soon_threadsafe(first.set)
        asyncio.run_coroutine_threadsafe(second.wait(), loop).result(5)
        return "one"

    def two(sdk_: Any, client_: Any, node: Any) -> str:
        loop.call_soon_threadsafe(second.set)
        return "two"

    waiting = asyncio.create_task(client._run(one))
    await first.wait()
    assert await client._run(two) == "two"
    assert await waiting == "one"


async def test_public_networks__verify_certificates(client: HapiClient) -> None:
    """What the SDK does by default stays on: nothing here turns it off."""
    connected = client._connect()
    assert connected.is_verify_certificates()
    assert not connected.is_transport_security()  # of nodes of one's own without TLS
    assert connected.max_attempts == 1
    tls = HapiClient(
        HapiNetwork("custom", {"127.0.0.1:50212": "0.0.3"}, tls_roots=b"pem"),
        "0.0.2",
        KeySigner(ChainKey(b"\1" * 32)),
    )
    assert tls._connect().get_tls_root_certificates() == b"pem"
    await tls.close()
