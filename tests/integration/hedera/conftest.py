"""A running emulator and the Python SDK's client for it; both are of one test."""

import itertools
from collections.abc import Iterator

import httpx2
import pytest
from hiero_sdk_python import AccountId, Client, PrivateKey, TransactionId
from hiero_sdk_python.hapi.services.timestamp_pb2 import Timestamp

from tests.doubles.hedera.emulator import Emulator, start, stop

_distinctions = itertools.count(1)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    started = start(seed="tests", mirrors=2)
    yield started
    stop(started)


@pytest.fixture
def operator(emulator: Emulator) -> PrivateKey:
    return PrivateKey.from_string_ecdsa(emulator.operator_key_hex)


@pytest.fixture
def client(emulator: Emulator, operator: PrivateKey) -> Iterator[Client]:
    made = Client.for_network({emulator.grpc_address: AccountId.from_string("0.0.3")}, "localhost")
    made.set_operator(AccountId.from_string(emulator.operator_id), operator)
    made.network.mirror_address = emulator.mirror_grpc_address
    yield made
    made.close()


class MirrorReader:
    """Reads a mirror's REST API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx2.Client(base_url=url)

    def get(self, path: str, status: int = 200, **query):
        if path.startswith("/api/v1"):  # a link of the mirror itself
            answer = self._client.get(path)
        else:
            answer = self._client.get(f"/api/v1{path}", params=query or None)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, path: str, body, status: int = 200):
        answer = self._client.post(f"/api/v1{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def mirror(emulator: Emulator) -> Iterator[MirrorReader]:
    reader = MirrorReader(emulator.mirror_url)
    yield reader
    reader.close()


def at_emulated_time(emulator: Emulator, transaction):
    """Give a transaction an id of the emulator's present; the SDK goes by the machine's clock."""
    start = emulator.clock.now_ns() - next(_distinctions)  # also where the clock stands
    stamp = Timestamp(seconds=start // 10**9, nanos=start % 10**9)
    payer = AccountId.from_string(emulator.operator_id)
    return transaction.set_transaction_id(TransactionId(payer, stamp))
