"""Live events: everyone who listens hears; who is slow loses the oldest."""

import asyncio

from chargera.app.feed import QUEUE_MAX, LocalFeed
from chargera.app.ports import LiveEvent


async def test_publish__listeners_hear_in_order_and_leave() -> None:
    feed = LocalFeed()
    feed.publish(LiveEvent("log", "before"))
    stream = feed.listen()
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    assert feed.listeners == 1
    feed.publish(LiveEvent("session", "1"))
    feed.publish(LiveEvent("session", "2"))
    assert (await first).key == "1"
    assert (await anext(stream)).key == "2"
    await stream.aclose()
    assert feed.listeners == 0


async def test_publish__slow_listener__loses_the_oldest_and_delays_nobody() -> None:
    feed = LocalFeed()
    stream = feed.listen()
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    for number in range(QUEUE_MAX + 10):
        feed.publish(LiveEvent("session", str(number)))
    await waiting
    assert feed.lost == 10
    await stream.aclose()
