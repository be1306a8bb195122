"""anvil, Foundry's node, as a process of its own."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import orjson

NODE_MODULES = Path(__file__).parents[2] / "contracts" / "node_modules" / ".bin" / "anvil"
START_TIMEOUT_S = 20.0
JSON = {"content-type": "application/json"}


def anvil_program() -> str | None:
    """Return the path of anvil, from contracts/node_modules or PATH."""
    return str(NODE_MODULES) if NODE_MODULES.exists() else shutil.which("anvil")


class Anvil:
    """A client of a running node."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid
        self.http = httpx2.Client(timeout=30)

    def ask(self, method: str, *parameters: Any) -> Any:
        """Return the result of one call."""
        (answer,) = self.batch([(method, list(parameters))])
        assert "error" not in answer, answer
        return answer["result"]

    def batch(self, calls: list[tuple[str, list[Any]]]) -> list[dict[str, Any]]:
        """Send calls as one JSON-RPC batch."""
        asked = [
            {"jsonrpc": "2.0", "id": n, "method": method, "params": parameters}
            for n, (method, parameters) in enumerate(calls)
        ]
        told = self.http.post(self.url, content=orjson.dumps(asked), headers=JSON)
        answers = orjson.loads(told.content)
        return sorted(answers, key=lambda answer: answer["id"])


@contextmanager
def running_anvil(
    program: str, chain_id: int, start_s: int, *arguments: str, gas_limit: int = 15_000_000
) -> Iterator[Anvil]:
    """A node with our chain's rules: Cancun, free gas, blocks of `gas_limit`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [
        program, "--silent", "--host", "127.0.0.1", "--port", str(port), "--hardfork", "cancun",
        "--chain-id", str(chain_id), "--timestamp", str(start_s), "--gas-limit", str(gas_limit),
        "--base-fee", "0", "--gas-price", "0", "--accounts", "1", *arguments,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    node = Anvil(f"http://127.0.0.1:{port}", process.pid)
    try:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                node.ask("eth_chainId")
                break
            except httpx2.HTTPError:
                assert process.poll() is None, "anvil has ended"
                assert time.monotonic() < deadline_s, "anvil says nothing"
                time.sleep(0.05)
        yield node
    finally:
        node.http.close()
        process.terminate()
        process.wait(10)
