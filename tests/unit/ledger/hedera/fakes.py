"""Nodes, mirrors and stores in memory, whose faults a test sets."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from chargera.app.hedera_ports import HederaSend, HederaSendState
from chargera.domain.errors import Conflict
from chargera.ledger.hedera.mirror import HederaMirror

START = datetime(2026, 9, 1, 12, tzinfo=UTC)

Answer = Callable[[httpx2.Request], httpx2.Response]


class HandClock:
    """A clock that a test moves; pauses move it too."""

    def __init__(self) -> None:
        self.time = START
        self.paused_s = 0.0

    def now(self) -> datetime:
        return self.time

    async def pause(self, seconds: float) -> None:
        self.paused_s += seconds
        self.time += timedelta(seconds=seconds)


class MemoryHederaSends:
    """A `HederaSendStore` in memory; `events` tells in which order things were noted."""

    def __init__(self) -> None:
        self.rows: dict[str, HederaSend] = {}
        self.events: list[str] = []

    async def find(self, purpose: str) -> HederaSend | None:
        open_ = (HederaSendState.SENT, HederaSendState.DONE)
        found = [row for row in self.rows.values() if row.purpose == purpose and row.state in open_]
        assert len(found) < 2, "one effect for one purpose"
        return found[0] if found else None

    async def add(self, hedera_transaction_id: str, purpose: str, at: datetime) -> None:
        if hedera_transaction_id in self.rows or await self.find(purpose) is not None:
            raise Conflict(f"{purpose} is being sent already")
        self.rows[hedera_transaction_id] = HederaSend(hedera_transaction_id, purpose)
        self.events.append(f"stored {hedera_transaction_id}")

    async def settle(self, send: HederaSend, at: datetime) -> None:
        if self.rows[send.hedera_transaction_id].state is HederaSendState.SENT:
            self.rows[send.hedera_transaction_id] = send

    def states(self) -> list[str]:
        return [str(row.state) for row in self.rows.values()]


def mirror_answering(answer: Answer, urls: tuple[str, ...] = ("https://mirror.example",)) -> Any:
    """A mirror whose answers are a test's."""
    return HederaMirror(urls, httpx2.AsyncClient(transport=httpx2.MockTransport(answer)))


def paths(documents: dict[str, Any]) -> Answer:
    """Answers by the path after `/api/v1`; what is not there is not found."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        document = documents.get(request.url.path.removeprefix("/api/v1"))
        if document is None:
            return httpx2.Response(404, json={"_status": {"messages": [{"message": "Not found"}]}})
        if isinstance(document, httpx2.Response):
            return document
        return httpx2.Response(200, json=document)

    return answer
