"""Runs the emulator: node, mirrors and control address in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.hedera import system_contract
from tests.doubles.hedera.clock import EmulatorClock, TimeSource
from tests.doubles.hedera.entities import entity_text
from tests.doubles.hedera.faults import Faults
from tests.doubles.hedera.hapi import Node
from tests.doubles.hedera.http import HttpServer
from tests.doubles.hedera.ledger import OPERATOR, Ledger
from tests.doubles.hedera.mirror import Mirror
from tests.doubles.hedera.mirror_grpc import MirrorGrpc
from tests.doubles.hedera.rest import not_found

CHAIN_ID = 298
"""That of a local network."""
NODE_ACCOUNT = "0.0.3"
CONTROL = "/_emulator"


@dataclass(slots=True)
class Emulator:
    """What a test needs to know of a running emulator."""

    ledger: Ledger
    node: Node
    mirror_grpc: MirrorGrpc
    clock: EmulatorClock
    faults: Faults
    servers: list[HttpServer] = field(default_factory=list)

    @property
    def grpc_address(self) -> str:
        """`host:port` of the node, whose account is 0.0.3."""
        return self.node.address

    @property
    def mirror_grpc_address(self) -> str:
        """`host:port` where topics can be subscribed to."""
        return self.mirror_grpc.address

    @property
    def mirror_url(self) -> str:
        """Address of the first mirror, without `/api/v1`."""
        return self.servers[0].url

    @property
    def mirror_urls(self) -> list[str]:
        """Addresses of all mirrors."""
        return [server.url for server in self.servers]

    @property
    def operator_id(self) -> str:
        """An account with 10,000 HBAR."""
        return str(entity_text(OPERATOR))

    @property
    def operator_key_hex(self) -> str:
        """Its secret on secp256k1, 64 hex digits; a test key, made of the seed."""
        return self.ledger.operator_secret.hex()

    @property
    def chain_id(self) -> int:
        """What transactions of Ethereum are signed for."""
        return self.ledger.evm.chain_id

    async def restart_node(self, down_s: float = 0.0) -> None:
        """Let the node be gone for a while; its state stays."""
        await asyncio.to_thread(self.node.restart, down_s)

    def set_schedules_busy(self, busy: bool) -> None:
        """Let `scheduleCall` answer SCHEDULE_EXPIRY_IS_BUSY, or no longer."""
        with self.ledger.lock:
            system_contract.set_busy(self.ledger.evm, busy)

    def description(self) -> dict[str, Any]:
        """Return what `python -m tests.doubles.hedera` prints."""
        return {
            "grpc": self.grpc_address,
            "node_account": NODE_ACCOUNT,
            "mirror_grpc": self.mirror_grpc_address,
            "mirror": self.mirror_url,
            "mirrors": self.mirror_urls,
            "control": f"{self.mirror_url}{CONTROL}",
            "chain_id": self.chain_id,
            "operator_id": self.operator_id,
            "operator_test_key": self.operator_key_hex,
        }

    def control(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        """Answer a request to the control address: see `Faults.take` and `EmulatorClock`."""
        try:
            match method, path.removeprefix(CONTROL):
                case "GET", "":
                    return 200, self.description() | {"now": self.clock.now().isoformat()}
                case "POST", "/faults":
                    self.faults.take(body)
                case "DELETE", "/faults":
                    self.faults.clear()
                case "POST", "/clock":
                    if "scale" in body:
                        self.clock.run_at(float(body["scale"]))
                    self.clock.advance(float(body.get("advance_s", 0)))
                case "POST", "/restart":
                    self.node.restart(float((body or {}).get("down_s", 0)))
                case _:
                    error = not_found()
                    return error.status, error.document
        except (KeyError, TypeError, ValueError) as error:
            return 400, {"error": repr(error)}
        return 200, {"now": self.clock.now().isoformat()}


def start(
    seed: str = "chargera",
    clock: TimeSource | None = None,
    *,
    mirrors: int = 1,
    grpc_port: int = 0,
    mirror_port: int = 0,
    chain_id: int = CHAIN_ID,
    engine: str = "auto",
) -> Emulator:
    """Start an emulator; `stop` ends it. The operator's key is made of `seed`."""
    emulated = clock if isinstance(clock, EmulatorClock) else EmulatorClock(clock)
    faults = Faults()
    ledger = Ledger(seed, emulated, faults, chain_id, engine)
    node = Node(ledger, grpc_port)
    emulator = Emulator(ledger, node, MirrorGrpc(ledger), emulated, faults)
    for number in range(mirrors):
        mirror = Mirror(ledger, number, lambda: node.address)

        def answer(
            method: str,
            path: str,
            items: list[tuple[str, str]],
            body: Any,
            mirror: Mirror = mirror,
        ) -> tuple[int, dict[str, Any]]:
            if path.startswith(CONTROL):
                return emulator.control(method, path, body)
            return mirror.answer(method, path, items, body)

        emulator.servers.append(HttpServer(answer, mirror_port if number == 0 else 0))
    return emulator


def stop(emulator: Emulator) -> None:
    """End node and mirrors."""
    emulator.node.stop()
    emulator.mirror_grpc.stop()
    for server in emulator.servers:
        server.stop()


@asynccontextmanager
async def running_emulator(
    seed: str = "chargera", clock: TimeSource | None = None, **options: Any
) -> AsyncIterator[Emulator]:
    """Run an emulator as long as the block runs; options as of `start`."""
    emulator = await asyncio.to_thread(start, seed, clock, **options)
    try:
        yield emulator
    finally:
        await asyncio.to_thread(stop, emulator)
