"""The node's gRPC server, on the service classes that come with the Python SDK."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from hiero_sdk_python.hapi.services import (
    consensus_service_pb2_grpc,
    crypto_service_pb2_grpc,
    file_service_pb2_grpc,
    network_service_pb2_grpc,
    schedule_service_pb2_grpc,
    smart_contract_service_pb2_grpc,
)
from hiero_sdk_python.hapi.services.query_pb2 import Query
from hiero_sdk_python.hapi.services.transaction_pb2 import Transaction
from hiero_sdk_python.hapi.services.transaction_response_pb2 import TransactionResponse

from tests.doubles.hedera import queries
from tests.doubles.hedera.faults import FaultKind
from tests.doubles.hedera.ledger import Ledger

SERVICES = {
    "ConsensusService": consensus_service_pb2_grpc,
    "CryptoService": crypto_service_pb2_grpc,
    "FileService": file_service_pb2_grpc,
    "NetworkService": network_service_pb2_grpc,
    "ScheduleService": schedule_service_pb2_grpc,
    "SmartContractService": smart_contract_service_pb2_grpc,
}
TRANSACTIONS = {
    "createTopic", "updateTopic", "deleteTopic", "submitMessage",
    "createAccount", "updateAccount", "cryptoTransfer",
    "createFile", "appendContent",
    "createSchedule", "signSchedule", "deleteSchedule",
    "createContract", "contractCallMethod", "callEthereum",
}  # fmt: skip
QUERIES = {
    "getTopicInfo", "cryptoGetBalance", "getAccountInfo", "getTransactionReceipts",
    "getTxRecordByTxID", "getFileContent", "getVersionInfo", "getScheduleInfo",
    "contractCallLocalMethod", "getContractInfo", "ContractGetBytecode",
}  # fmt: skip
"""What is not named answers UNIMPLEMENTED, as the generated classes do."""
THREADS = 16


class Node:
    """One consensus node that listens on a port of this machine."""

    def __init__(self, ledger: Ledger, port: int = 0) -> None:
        """Listen on loopback; port 0 takes a free one."""
        self._ledger = ledger
        self.port = port
        self._server: Any = None
        self.start()

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begin to listen, on the same port as before."""
        self._server = grpc.server(
            ThreadPoolExecutor(THREADS, thread_name_prefix="hapi"),
            options=[("grpc.so_reuseport", 0)],
        )
        for name, module in SERVICES.items():
            register = getattr(module, f"add_{name}Servicer_to_server")
            register(self._servicer(getattr(module, f"{name}Servicer")), self._server)
        self.port = self._server.add_insecure_port(self.address)
        self._server.start()

    def stop(self) -> None:
        """Hear nobody any more; whoever waits for an answer gets none."""
        self._server.stop(grace=None).wait()

    def restart(self, down_s: float = 0.0) -> None:
        """Stop and start again; the ledger is as it was."""
        self.stop()
        time.sleep(down_s)
        self.start()

    def _servicer(self, generated: type) -> Any:
        methods: dict[str, Any] = {}
        for name in dir(generated):
            if name in TRANSACTIONS:
                methods[name] = self._transaction_method(name)
            elif name in QUERIES:
                methods[name] = self._query_method(name)
        return type(f"Emulated{generated.__name__}", (generated,), methods)()

    def _transaction_method(self, method: str) -> Any:
        def transact(servicer: Any, request: Transaction, context: Any) -> TransactionResponse:
            self._check_up(method, context)
            code, arrived = self._ledger.submit(request, method)
            late = FaultKind.TIMEOUT_AFTER_SUCCESS
            if arrived and self._ledger.faults.strikes(late, method, arrived.body):
                context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the answer never came")
            return TransactionResponse(nodeTransactionPrecheckCode=code)

        return transact

    def _query_method(self, method: str) -> Any:
        def ask(servicer: Any, request: Query, context: Any) -> Any:
            self._check_up(method, context)
            return queries.answer(self._ledger, request, method)

        return ask

    def _check_up(self, method: str, context: Any) -> None:
        if self._ledger.faults.strikes(FaultKind.UNAVAILABLE, method):
            context.abort(grpc.StatusCode.UNAVAILABLE, "the node is down")
