import asyncio
from dataclasses import replace
from itertools import count
from typing import Any

import orjson
import pytest

from chargera.domain.errors import InvalidInput, Unavailable
from chargera.domain.messages import CommandAnswer, Reset, TriggerMessage
from chargera.ocpp import v16
from chargera.ocpp.commands import StationCommands
from chargera.ocpp.connection import Channel, Connection
from chargera.ocpp.counters import CappedLog, ChannelCounters
from chargera.ocpp.limits import ChannelLimits
from chargera.ocpp.stations import ConnectedStations
from tests.unit.ocpp.doubles import FakeTransport, FixedClock, HeldGateway, SilentLogger, Ticks

LIMITS = replace(
    ChannelLimits(), command_timeout_s=10.0, command_settle_s=0.02, commands_queued_max=3
)
HASTY = replace(LIMITS, command_timeout_s=0.1)


class Rig:
    """A connected station that answers nothing by itself."""

    def __init__(self, *, booted: bool = True, limits: ChannelLimits = LIMITS) -> None:
        self.ticks = Ticks()
        self.gateway = HeldGateway(self.ticks)
        self.counters = ChannelCounters()
        log = CappedLog(SilentLogger(), self.ticks)
        self.stations = ConnectedStations(log)
        channel = Channel(self.gateway, FixedClock(), self.ticks, limits, self.counters, log)
        numbers = count(1)
        self.commands = StationCommands(
            self.stations,
            self.gateway,
            FixedClock(),
            limits,
            self.counters,
            self.ticks,
            lambda: f"m{next(numbers)}",
        )
        self.connection = Connection("CP-1", v16.DIALECT, 1, channel, self.stations.remove)
        self.transport = FakeTransport()
        self.connection.on_ws_connected(self.transport)
        self.stations.settle("CP-1", self.connection)
        if booted:
            self.connection.booted_at_s = self.ticks.now_s - 1

    def answer_next(self, *answers: Any) -> None:
        """Answer the calls that were sent so far but not answered."""
        asked = [message for message in self.transport.sent if message[0] == 2]
        for call, answer in zip(asked[-len(answers) :], answers, strict=True):
            frame = [3, call[1], answer] if isinstance(answer, dict) else [4, call[1], *answer]
            self.connection.receive(orjson.dumps(frame))


async def sent(rig: Rig, number: int = 1) -> None:
    async with asyncio.timeout(1):
        while len(rig.transport.sent) < number:
            await asyncio.sleep(0.001)


async def test_send__accepted__is_answered_and_recorded() -> None:
    rig = Rig()
    task = asyncio.create_task(rig.commands.send("CP-1", Reset(True)))
    await sent(rig)
    assert rig.transport.sent == [[2, "m1", "Reset", {"type": "Hard"}]]
    rig.answer_next({"status": "Accepted"})
    assert await task == CommandAnswer(True, "Accepted")
    (row,) = rig.gateway.rows
    assert (row.inbound, row.action, row.message_id, row.outcome) == (False, "Reset", "m1", "ok")
    assert row.frame == b'[2,"m1","Reset",{"type":"Hard"}]'
    assert row.answer == b'[3,"m1",{"status":"Accepted"}]'
    assert rig.counters.commands == {"ok": 1}
    assert rig.commands.is_connected("CP-1")
    assert not rig.commands.is_connected("CP-2")


@pytest.mark.parametrize(
    ("reply", "answer", "outcome"),
    [
        ({"status": "Rejected"}, CommandAnswer(False, "Rejected"), "not accepted: Rejected"),
        ({}, CommandAnswer(False, "unreadable"), "not accepted: unreadable; deviation: status"),
        (["NotSupported", "no", {}], CommandAnswer(False, "NotSupported"), "error: NotSupported"),
    ],
)
async def test_send__refused__is_the_stations_word(
    reply: Any, answer: CommandAnswer, outcome: str
) -> None:
    rig = Rig()
    task = asyncio.create_task(rig.commands.send("CP-1", Reset(False)))
    await sent(rig)
    rig.answer_next(reply)
    assert await task == answer
    assert rig.gateway.rows[0].outcome.startswith(outcome)


async def test_send__no_answer__times_out_and_the_next_command_is_free() -> None:
    rig = Rig(limits=HASTY)
    with pytest.raises(Unavailable, match="did not answer Reset"):
        await rig.commands.send("CP-1", Reset(False))
    assert rig.gateway.rows[0].outcome == "no answer"
    assert rig.gateway.rows[0].answer is None
    task = asyncio.create_task(rig.commands.send("CP-1", Reset(False)))
    await sent(rig, 2)
    rig.connection.receive(b'[3,"m1",{"status":"Accepted"}]')
    rig.answer_next({"status": "Rejected"})
    assert await task == CommandAnswer(False, "Rejected")
    assert rig.gateway.exchanges[0].outcome == "unsolicited"


async def test_send__two_at_once__are_sent_one_after_the_other() -> None:
    rig = Rig()
    tasks = [asyncio.create_task(rig.commands.send("CP-1", Reset(hard))) for hard in (True, False)]
    await sent(rig)
    await asyncio.sleep(0.01)
    assert len(rig.transport.sent) == 1
    rig.answer_next({"status": "Accepted"})
    await sent(rig, 2)
    rig.answer_next({"status": "Rejected"})
    assert [a.answer for a in await asyncio.gather(*tasks)] == ["Accepted", "Rejected"]
    assert not rig.commands._slots
    assert not rig.commands._waiting


async def test_send__too_many_at_once__are_refused() -> None:
    rig = Rig(limits=HASTY)
    tasks = [asyncio.create_task(rig.commands.send("CP-1", Reset(True))) for _ in range(4)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    messages = [error.message for error in results if isinstance(error, Unavailable)]
    assert [m for m in messages if "not answered yet" in m] == [
        "3 commands to CP-1 are not answered yet"
    ]


async def test_send__not_connected__is_unavailable() -> None:
    with pytest.raises(Unavailable, match="CP-9 is not connected"):
        await Rig().commands.send("CP-9", Reset(True))


async def test_send__that_the_version_cannot_express__is_refused_unsent() -> None:
    rig = Rig()
    with pytest.raises(InvalidInput):
        await rig.commands.send("CP-1", TriggerMessage("Coffee", None, None, None))
    assert rig.transport.sent == []


async def test_send__before_the_boot_is_answered__is_unavailable() -> None:
    rig = Rig(booted=False)
    with pytest.raises(Unavailable, match="has not booted"):
        await rig.commands.send("CP-1", Reset(True))
    assert rig.transport.sent == []


async def test_send__right_after_the_boot__waits_until_it_has_settled() -> None:
    rig = Rig(booted=False)
    rig.connection.booted_at_s = rig.ticks.now_s
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    task = asyncio.create_task(rig.commands.send("CP-1", Reset(True)))
    await sent(rig)
    assert loop.time() - began_s >= LIMITS.command_settle_s * 0.9
    rig.answer_next({"status": "Accepted"})
    await task


async def test_send__station_that_boots_per_reboot_only__is_served_after_a_while() -> None:
    rig = Rig(booted=False)
    rig.ticks.now_s += LIMITS.command_unbooted_s + 1
    task = asyncio.create_task(rig.commands.send("CP-1", Reset(True)))
    await sent(rig)
    rig.answer_next({"status": "Accepted"})
    assert (await task).accepted


async def test_send__connection_lost_while_waiting__is_unavailable_and_recorded() -> None:
    rig = Rig()
    tasks = [asyncio.create_task(rig.commands.send("CP-1", Reset(True))) for _ in range(2)]
    await sent(rig)
    rig.connection.on_ws_disconnected(rig.transport)
    first, second = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, Unavailable)
    assert "was lost" in first.message
    assert isinstance(second, Unavailable)
    assert "not connected" in second.message
    assert [row.outcome for row in rig.gateway.rows] == ["connection lost"]


async def test_send__connection_lost_while_settling__is_unavailable() -> None:
    rig = Rig()
    rig.connection.booted_at_s = rig.ticks.now_s
    task = asyncio.create_task(rig.commands.send("CP-1", Reset(True)))
    await asyncio.sleep(0)
    rig.connection.on_ws_disconnected(rig.transport)
    with pytest.raises(Unavailable, match="was lost"):
        await task
