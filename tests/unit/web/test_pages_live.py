"""Live streams: the present state, not too often, only what changed, and an end when asked."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from chargera.app.feed import LocalFeed
from chargera.app.ports import LiveEvent
from chargera.domain.errors import NotFound, Unavailable
from chargera.web.live import HEARTBEAT, LiveStreams, Pace, encode

FAST = Pace(interval_s=0.01, looks_per_s_max=1e6, idle_s=0.05, heartbeat_s=60.0)


class Page:
    """A page of one fragment that tests change; it counts how often it was looked at."""

    def __init__(self) -> None:
        self.html = "<p>0</p>"
        self.looks = 0
        self.error: Exception | None = None

    async def look(self) -> Sequence[tuple[str, str]]:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return [("figure", self.html), ("still", "<p>same</p>")]


def anything(event: LiveEvent) -> bool:
    return True


def event(topic: str = "session", key: str = "1") -> LiveEvent:
    return LiveEvent(topic, key)


async def next_of(stream: AsyncIterator[bytes], timeout_s: float = 2.0) -> bytes:
    return await asyncio.wait_for(anext(stream), timeout_s)


async def test_a_client_gets_the_present_state_first() -> None:
    page, live = Page(), LiveStreams(LocalFeed(), FAST)
    stream = live.stream(anything, page.look)
    first = await next_of(stream)
    assert b'hx-target="#figure"' in first
    assert b"<p>same</p>" in first
    await stream.aclose()


async def test_what_happens_during_the_first_look_is_not_missed() -> None:
    feed = LocalFeed()
    live = LiveStreams(feed, Pace(interval_s=0.01, idle_s=30.0, heartbeat_s=60.0))

    class Hasty(Page):
        async def look(self) -> Sequence[tuple[str, str]]:
            shown = await super().look()
            if self.looks == 1:
                self.html = "<p>1</p>"
                feed.publish(event())
            return shown

    stream = live.stream(anything, Hasty().look)
    assert b"<p>0</p>" in await next_of(stream)
    assert b"<p>1</p>" in await next_of(stream)
    await stream.aclose()


async def test_only_fragments_that_changed_are_sent() -> None:
    page, feed = Page(), LocalFeed()
    live = LiveStreams(feed, FAST)
    stream = live.stream(anything, page.look)
    await next_of(stream)
    page.html = "<p>1</p>"
    feed.publish(event())
    second = await next_of(stream)
    assert b"<p>1</p>" in second
    assert b"still" not in second
    await stream.aclose()


async def test_an_event_of_another_page_is_no_reason_to_look() -> None:
    page, feed = Page(), LocalFeed()
    live = LiveStreams(feed, Pace(interval_s=0.01, idle_s=30.0, heartbeat_s=60.0))
    stream = live.stream(lambda e: e.key == "mine", page.look)
    await next_of(stream)
    waiting = asyncio.create_task(next_of(stream, 5.0))
    await asyncio.sleep(0.05)
    feed.publish(event(key="other"))
    await asyncio.sleep(0.05)
    assert page.looks == 1
    page.html = "<p>1</p>"
    feed.publish(event(key="mine"))
    assert b"<p>1</p>" in await waiting
    await stream.aclose()


async def test_without_events_a_page_is_looked_at_again() -> None:
    page, live = Page(), LiveStreams(LocalFeed(), FAST)
    stream = live.stream(anything, page.look)
    await next_of(stream)
    page.html = "<p>older</p>"
    assert b"older" in await next_of(stream)
    await stream.aclose()


async def test_a_storm_of_events_is_one_look() -> None:
    page, feed = Page(), LocalFeed()
    live = LiveStreams(feed, Pace(interval_s=0.2, idle_s=30.0, heartbeat_s=60.0))
    stream = live.stream(anything, page.look)
    await next_of(stream)
    waiting = asyncio.create_task(next_of(stream))
    for count in range(2000):
        page.html = f"<p>{count}</p>"
        feed.publish(event())
        if not count % 500:
            await asyncio.sleep(0.01)
    shown = await waiting
    while b"<p>1999</p>" not in shown:  # a busy machine may be in the middle of the storm
        shown = await next_of(stream)
    assert page.looks <= 10
    await stream.aclose()


async def test_many_clients_are_served_less_often() -> None:
    feed = LocalFeed()
    live = LiveStreams(feed, Pace(interval_s=0.0, looks_per_s_max=20.0, idle_s=0.0))
    pages = [Page() for _ in range(10)]
    streams = [live.stream(anything, page.look) for page in pages]
    readers = [asyncio.create_task(drain(stream)) for stream in streams]
    await asyncio.sleep(1.2)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    assert sum(page.looks for page in pages) <= 45


async def drain(stream: AsyncIterator[bytes]) -> None:
    async for _ in stream:
        pass


async def test_silence_is_filled_with_heartbeats() -> None:
    page = Page()
    pace = Pace(interval_s=0.01, idle_s=0.01, heartbeat_s=0.05)
    stream = LiveStreams(LocalFeed(), pace).stream(anything, page.look)
    await next_of(stream)
    assert await next_of(stream) == HEARTBEAT
    assert HEARTBEAT.startswith(b":")
    await stream.aclose()


async def test_a_stream_ends_after_its_lifetime() -> None:
    pace = Pace(interval_s=0.01, idle_s=0.01, lifetime_s=0.1)
    stream = LiveStreams(LocalFeed(), pace).stream(anything, Page().look)
    await asyncio.wait_for(drain(stream), 2.0)


async def test_closing_ends_every_stream_and_opens_no_more() -> None:
    live = LiveStreams(LocalFeed(), Pace(interval_s=0.01, idle_s=30.0))
    readers = [asyncio.create_task(drain(live.stream(anything, Page().look))) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert live.clients == 3
    live.close()
    await asyncio.wait_for(asyncio.gather(*readers), 2.0)
    assert live.clients == 0
    with pytest.raises(Unavailable):
        live.open(anything, Page().look)


async def test_there_is_a_bound_on_clients() -> None:
    live = LiveStreams(LocalFeed(), Pace(clients_max=1, idle_s=30.0))
    stream = live.stream(anything, Page().look)
    await next_of(stream)
    with pytest.raises(Unavailable):
        live.open(anything, Page().look)
    await stream.aclose()
    assert live.open(anything, Page().look).media_type == "text/event-stream"


async def test_a_stream_ends_when_its_viewer_may_not_see_the_page_any_more() -> None:
    page, live = Page(), LiveStreams(LocalFeed(), FAST)
    stream = live.stream(anything, page.look)
    await next_of(stream)
    page.error = NotFound("there is no such session")
    await asyncio.wait_for(drain(stream), 2.0)
    assert live.clients == 0


async def test_a_client_that_leaves_is_forgotten() -> None:
    feed = LocalFeed()
    live = LiveStreams(feed, FAST)
    stream = live.stream(anything, Page().look)
    await next_of(stream)
    await asyncio.sleep(0)
    assert feed.listeners == 1
    await stream.aclose()
    assert (live.clients, feed.listeners) == (0, 0)


async def test_a_feed_that_breaks_ends_the_stream_with_its_error() -> None:
    class Broken(LocalFeed):
        async def listen(self) -> AsyncIterator[LiveEvent]:
            raise OSError("the feed is gone")
            yield  # pragma: no cover

    stream = LiveStreams(Broken(), FAST).stream(anything, Page().look)
    await next_of(stream)
    with pytest.raises(OSError, match="the feed is gone"):
        await drain(stream)


def test_html_of_many_lines_is_one_event() -> None:
    sent = encode([("a", "<p>\none\r\ntwo</p>"), ("b", "<i/>")]).decode()
    assert sent.endswith("\n\n")
    assert all(line.startswith("data: ") for line in sent.strip().split("\n"))
    assert sent.count("<hx-partial") == 2
