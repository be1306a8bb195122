"""Live pages: when something happened, the fragments that show it are rendered anew and sent.

A page connects to the stream of its own address under `/live`. Each client is served at most
about twice a second and has no queue that could grow: an event only marks its page as stale, and
what is sent is always the present state, as that viewer may see it. A fragment that did not
change is not sent. Without events a page is looked at again every few seconds, since ages grow
by themselves.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import NamedTuple

from starlette.responses import StreamingResponse

from chargera.app.ports import Feed, LiveEvent
from chargera.domain.errors import ChargEraError, Unavailable

HEARTBEAT = b": still here\n\n"


class Fragment(NamedTuple):
    """A part of a page that is sent anew: the id of its element, and its template."""

    element_id: str
    template: str


Look = Callable[[], Awaitable[Sequence[tuple[str, str]]]]
"""Returns (element id, HTML) of every fragment of a page as it is now."""

Wants = Callable[[LiveEvent], bool]
"""Says whether an event may have changed a page."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The times of streams, in seconds of the machine's clock, and how many there may be."""

    interval_s: float = 0.5
    """Between two looks for one client."""
    looks_per_s_max: float = 50.0
    """For all clients together: with many of them each is served less often."""
    idle_s: float = 5.0
    """A page is looked at again after this, whatever happened."""
    heartbeat_s: float = 15.0
    """Proxies and browsers take longer silence for a dead connection."""
    lifetime_s: float = 1800.0
    """Then the stream ends and the browser comes back: it may be signed out by now."""
    clients_max: int = 500


class LiveStreams:
    """All open streams of one server."""

    def __init__(self, feed: Feed, pace: Pace | None = None) -> None:
        """Follow `feed`."""
        self._feed = feed
        self._pace = pace or Pace()
        self._stale: set[asyncio.Event] = set()
        self._closing = False

    @property
    def clients(self) -> int:
        """How many streams are open now."""
        return len(self._stale)

    def open(self, wants: Wants, look: Look) -> StreamingResponse:
        """Return the response that streams a page.

        Raises Unavailable while there are too many, or while the server stops.
        """
        if self._closing or self.clients >= self._pace.clients_max:
            raise Unavailable(
                "this page cannot be live now", remedy="reload it to see how things stand"
            )
        return StreamingResponse(
            self.stream(wants, look),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    def close(self) -> None:
        """End all streams within about `interval_s`, and open no more."""
        self._closing = True
        for stale in self._stale:
            stale.set()

    async def stream(self, wants: Wants, look: Look) -> AsyncIterator[bytes]:
        """Yield server-sent events for one client until it leaves or its time is over."""
        stale = asyncio.Event()
        self._stale.add(stale)
        listener = asyncio.create_task(self._mark(wants, stale))
        # It must listen before the first look, or what happens in between would go unseen.
        await asyncio.sleep(0)
        try:
            async for event in self._events(look, stale, listener):
                yield event
        except ChargEraError:
            # Its viewer may not see the page any more, or it is gone: the browser asks again.
            return
        finally:
            self._stale.discard(stale)
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener

    async def _events(
        self, look: Look, stale: asyncio.Event, listener: "asyncio.Task[None]"
    ) -> AsyncIterator[bytes]:
        now = asyncio.get_running_loop().time
        ends_at = now() + self._pace.lifetime_s
        sent: dict[str, int] = {}
        spoke_at = now()
        while not self._closing and now() < ends_at:
            stale.clear()
            shown = await look()
            news = [(name, html) for name, html in shown if sent.get(name) != hash(html)]
            if news:
                sent |= {name: hash(html) for name, html in news}
                yield encode(news)
                spoke_at = now()
            elif now() - spoke_at >= self._pace.heartbeat_s:
                yield HEARTBEAT
                spoke_at = now()
            if listener.done():
                listener.result()
                return
            await self._pause(stale)

    async def _pause(self, stale: asyncio.Event) -> None:
        crowded_s = self.clients / self._pace.looks_per_s_max
        await asyncio.sleep(max(self._pace.interval_s, crowded_s))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pace.idle_s):
                await stale.wait()

    async def _mark(self, wants: Wants, stale: asyncio.Event) -> None:
        async with aclosing(self._feed.listen()) as events:  # type: ignore[type-var]  # a generator in every feed
            async for event in events:
                if wants(event):
                    stale.set()


def encode(fragments: Sequence[tuple[str, str]]) -> bytes:
    """Return one server-sent event that swaps these elements (htmx 4 `hx-partial`, morphing)."""
    text = "\n".join(
        f'<hx-partial hx-target="#{name}" hx-swap="outerMorph">{html}</hx-partial>'
        for name, html in fragments
    )
    return "".join(f"data: {line}\n" for line in text.splitlines()).encode() + b"\n"
