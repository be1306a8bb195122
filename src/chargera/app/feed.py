"""Live events in one process: a slow reader loses events, never delays the writer."""

import asyncio
from collections.abc import AsyncIterator

from chargera.app.ports import LiveEvent

QUEUE_MAX = 256


class LocalFeed:
    """Hands each event to everyone who listens at that moment."""

    def __init__(self) -> None:
        """Start without listeners."""
        self._queues: set[asyncio.Queue[LiveEvent]] = set()
        self.lost = 0
        """Events that slow readers did not get."""

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._queues)

    def publish(self, event: LiveEvent) -> None:
        """Tell everyone who listens now; of a full reader the oldest event is dropped."""
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
                self.lost += 1
            queue.put_nowait(event)

    async def listen(self) -> AsyncIterator[LiveEvent]:
        """Yield events from now on until the iterator is closed."""
        queue: asyncio.Queue[LiveEvent] = asyncio.Queue(QUEUE_MAX)
        self._queues.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._queues.discard(queue)
