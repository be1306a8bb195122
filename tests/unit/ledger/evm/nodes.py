"""Chains in memory for tests."""

from datetime import UTC, datetime

import httpx2
from starlette.applications import Starlette

from chargera.app.chain_testing import MemoryJournal
from chargera.app.log_testing import MemoryLease
from chargera.ledger.evm.chain import EmbeddedChain
from chargera.ledger.evm.machine import EngineMaker
from chargera.web.rpc.endpoint import rpc_route

NOW = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)


class HandClock:
    """A time that is moved by hand."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time


class Counting:
    """No randomness at all."""

    def bytes(self, count: int) -> bytes:
        return bytes(range(1, count + 1))

    def session_id(self, now: datetime) -> str:
        raise AssertionError("nobody asks")


async def memory_chain(
    clock: HandClock | None = None, make_engine: EngineMaker | None = None
) -> EmbeddedChain:
    """Return an empty chain over a journal of its own."""
    journal = MemoryJournal()
    return await EmbeddedChain.open(
        journal,
        journal.snapshots,
        MemoryLease(),
        clock or HandClock(),
        Counting(),
        make_engine=make_engine,
    )


def transport(chain: EmbeddedChain) -> httpx2.ASGITransport:
    """Return a transport that reaches the chain's `/rpc` without a socket."""
    return httpx2.ASGITransport(app=Starlette(routes=[rpc_route(chain, "test/1")]))
