"""Commands to stations: one at a time each, correlated, timed out and recorded."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar

from chargera.app.ports import Clock, LiveConnection, MessageRow
from chargera.domain.errors import Unavailable
from chargera.domain.messages import CommandAnswer, Probe, ProbeAnswer, StationCommand
from chargera.ocpp import framing
from chargera.ocpp.connection import Connection, Gateway, Reply
from chargera.ocpp.counters import ChannelCounters
from chargera.ocpp.framing import CallError
from chargera.ocpp.limits import ChannelLimits
from chargera.ocpp.stations import ConnectedStations

PROBES: Mapping[Probe, tuple[str, framing.Payload]] = {
    Probe.UNKNOWN_VENDOR: (
        "DataTransfer",
        {"vendorId": "org.chargera.nobody", "messageId": "standard-run"},
    ),
    Probe.UNKNOWN_ACTION: ("NoSuchAction", {}),
    Probe.BROKEN_CALL: ("TriggerMessage", {}),
}
"""Action and payload of each probe, the same in both versions; none of them asks for anything."""

_Answer = TypeVar("_Answer")
_ReadReply = Callable[[Connection, str, Reply], tuple[_Answer | None, str]]


class StationCommands:
    """The ports `Commands` and `Probing` over the live connections."""

    def __init__(
        self,
        stations: ConnectedStations,
        gateway: Gateway,
        clock: Clock,
        limits: ChannelLimits,
        counters: ChannelCounters,
        monotonic_s: Callable[[], float],
        new_message_id: Callable[[], str],
    ) -> None:
        """Send over `stations` and record with `gateway`."""
        self._stations = stations
        self._gateway = gateway
        self._clock = clock
        self._limits = limits
        self._counters = counters
        self._monotonic_s = monotonic_s
        self._new_message_id = new_message_id
        self._slots: dict[str, asyncio.Lock] = {}
        self._waiting: Counter[str] = Counter()

    def is_connected(self, station_id: str) -> bool:
        """Say whether the station has a live connection."""
        return self._stations.get(station_id) is not None

    def connection(self, station_id: str) -> LiveConnection | None:
        """Return the station's live connection; None if there is none."""
        connection = self._stations.get(station_id)
        if connection is None:
            return None
        return LiveConnection(connection.epoch, connection.dialect.version)

    async def send(self, station_id: str, command: StationCommand) -> CommandAnswer:
        """Send a command and wait for the station's answer.

        Raises InvalidInput if the station's OCPP version cannot express the command, and
        Unavailable if the station is not connected, has not booted on this connection, has too
        many commands before this one, or does not answer in time.
        """
        action, payload = self._connection(station_id).dialect.command(command)
        return await self._in_turn(station_id, action, payload, self._read)

    async def probe(self, station_id: str, probe: Probe) -> ProbeAnswer:
        """Send a probe and wait for the station's answer; raises Unavailable as `send` does."""
        self._connection(station_id)
        return await self._in_turn(station_id, *PROBES[probe], _read_probe)

    async def _in_turn(
        self,
        station_id: str,
        action: str,
        payload: framing.Payload,
        read: _ReadReply[_Answer],
    ) -> _Answer:
        """Call the station once those before have been answered."""
        if self._waiting[station_id] >= self._limits.commands_queued_max:
            raise Unavailable(
                f"{self._waiting[station_id]} commands to {station_id} are not answered yet",
                field="station_id",
                remedy="wait for their answers",
            )
        self._waiting[station_id] += 1
        slot = self._slots.setdefault(station_id, asyncio.Lock())
        try:
            async with slot:
                connection = self._connection(station_id)
                await self._settle(connection)
                return await self._call(connection, action, payload, read)
        finally:
            self._waiting[station_id] -= 1
            if not self._waiting[station_id]:
                del self._waiting[station_id]
                del self._slots[station_id]

    def _connection(self, station_id: str) -> Connection:
        connection = self._stations.get(station_id)
        if connection is None:
            raise Unavailable(
                f"station {station_id} is not connected",
                field="station_id",
                remedy="try again when it is online",
            )
        return connection

    async def _settle(self, connection: Connection) -> None:
        """Wait a moment after the boot; some stations take no command before it is answered.

        Boot per reboot, not per connection, is common too: a station that does not boot on this
        connection takes commands after `command_unbooted_s`.
        """
        now_s = self._monotonic_s()
        if connection.booted_at_s is not None:
            await asyncio.sleep(connection.booted_at_s + self._limits.command_settle_s - now_s)
            return
        wait_s = connection.connected_at_s + self._limits.command_unbooted_s - now_s
        if wait_s > 0:
            raise Unavailable(
                f"station {connection.station_id} has not booted on this connection yet",
                field="station_id",
                remedy=f"try again in {wait_s:.0f} s",
            )

    async def _call(
        self,
        connection: Connection,
        action: str,
        payload: framing.Payload,
        read: _ReadReply[_Answer],
    ) -> _Answer:
        if not connection.is_open:
            raise self._lost(connection)
        message_id = self._new_message_id()
        sent_at = self._clock.now()
        frame = framing.encode_call(message_id, action, payload)
        try:
            async with asyncio.timeout(self._limits.command_timeout_s):
                reply = await connection.ask(message_id, frame)
        except TimeoutError:
            self._record(connection, sent_at, message_id, action, frame, None, "no answer")
            raise Unavailable(
                f"station {connection.station_id} did not answer {action} "
                f"within {self._limits.command_timeout_s:.0f} s",
                remedy="see whether it acted before you send the command again",
            ) from None
        finally:
            connection.stop_waiting()
        answer, outcome = read(connection, action, reply)
        self._record(connection, sent_at, message_id, action, frame, reply.frame, outcome)
        if answer is None:
            raise self._lost(connection)
        return answer

    def _read(
        self, connection: Connection, action: str, reply: Reply
    ) -> tuple[CommandAnswer | None, str]:
        """Return what the station answered, and the outcome to record."""
        if reply.message is None:
            return None, "connection lost"
        if isinstance(reply.message, CallError):
            code = reply.message.code
            return CommandAnswer(False, code), f"error: {code}: {reply.message.description}"
        answer, deviation = connection.dialect.command_answer(action, reply.message.payload)
        outcome = "ok" if answer.accepted else f"not accepted: {answer.answer}"
        return answer, outcome if deviation is None else f"{outcome}; deviation: {deviation}"

    def _record(
        self,
        connection: Connection,
        sent_at: datetime,
        message_id: str,
        action: str,
        frame: bytes,
        answer: bytes | None,
        outcome: str,
    ) -> None:
        self._counters.commands[outcome.split(":", maxsplit=1)[0].split(";", maxsplit=1)[0]] += 1
        self._gateway.record(
            MessageRow(
                station_id=connection.station_id,
                received_at=sent_at,
                inbound=False,
                ocpp_version=connection.dialect.version,
                action=action,
                message_id=message_id,
                frame=frame,
                answer=answer,
                outcome=outcome,
            )
        )

    def _lost(self, connection: Connection) -> Unavailable:
        return Unavailable(
            f"the connection to {connection.station_id} was lost",
            field="station_id",
            remedy="try again when it is online",
        )


def _read_probe(
    connection: Connection, action: str, reply: Reply
) -> tuple[ProbeAnswer | None, str]:
    """Return what the station answered to a probe, and the outcome to record."""
    if reply.message is None:
        return None, "connection lost"
    if isinstance(reply.message, CallError):
        code = reply.message.code
        return ProbeAnswer(code, is_error=True), f"probe: error {code}"
    if action != PROBES[Probe.UNKNOWN_VENDOR][0]:
        return ProbeAnswer("a result", is_error=False), "probe: a result"
    answer, deviation = connection.dialect.command_answer(action, reply.message.payload)
    outcome = f"probe: {answer.answer}"
    return (
        ProbeAnswer(answer.answer, is_error=False),
        outcome if deviation is None else f"{outcome}; deviation: {deviation}",
    )
