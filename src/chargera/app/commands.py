"""Commands to stations: recorded before they are sent, answered once, linked to what they start.

A command is the one use case that commits by itself, twice: what is about to be sent must be
durable before it leaves, and the answer arrives long after. A command with an Idempotency-Key
gets its id from that key, so that sending it again finds the first one instead.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from chargera.app.admin_ports import AdminDatabase, AdminWork, OpenTransaction
from chargera.app.idempotency import check_key
from chargera.app.permissions import Action, Caller
from chargera.app.ports import Clock, Commands, Entropy, NewEntry
from chargera.app.registry import no_station
from chargera.app.sessions import no_session
from chargera.app.views import CommandView
from chargera.domain.errors import Conflict, InvalidInput, NotFound, Unavailable
from chargera.domain.messages import (
    IdTokenRef,
    RemoteStart,
    RemoteStop,
    Reset,
    StationCommand,
    TriggerMessage,
    UnlockConnector,
)
from chargera.domain.station import ChargingStation, Connector
from chargera.proofs import records
from chargera.proofs.entry import EntryKind

SESSION_POLLS = 20
SESSION_POLL_S = 0.1
"""How long an accepted remote start waits for the transaction that it begins: two seconds."""

MESSAGES = frozenset(
    {
        "BootNotification",
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
        "Heartbeat",
        "LogStatusNotification",
        "MeterValues",
        "PublishFirmwareStatusNotification",
        "SignChargingStationCertificate",
        "SignCombinedCertificate",
        "SignV2GCertificate",
        "StatusNotification",
        "TransactionEvent",
    }
)
"""What OCPP 1.6 (`MessageTrigger`) and 2.0.1 (`MessageTriggerEnumType`) can ask for."""


class CommandName(StrEnum):
    """What a station can be told, as people write it."""

    REMOTE_START = "remote-start"
    REMOTE_STOP = "remote-stop"
    RESET = "reset"
    UNLOCK = "unlock"
    TRIGGER = "trigger"


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """A command as it is asked for; which members it needs depends on its name."""

    station_id: str
    name: str
    evse: int | None = None
    connector: int | None = None
    id_token: str | None = None
    session_id: str | None = None
    hard: bool = False
    message: str | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    command: StationCommand
    request: dict[str, Any]
    """What is recorded of it."""


class StationControl:
    """Sends commands for callers; needs the database, the stations' channel and the clock."""

    def __init__(
        self,
        database: AdminDatabase,
        channel: Commands,
        clock: Clock,
        entropy: Entropy,
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        """Send over `channel`; `pause` waits in real time between looks for a new session."""
        self._database = database
        self._channel = channel
        self._clock = clock
        self._entropy = entropy
        self._pause = pause

    async def command(
        self, caller: Caller, wanted: CommandRequest, idempotency_key: str | None = None
    ) -> CommandView:
        """Send a command and return it with its answer and, if known, its session.

        A station that is not connected or gives no answer is an answer too: `accepted` None and
        the reason. Raises InvalidInput, NotFound, NotPermitted, and Conflict for a key that was
        used for another command.
        """
        caller.require(Action.STATIONS_COMMAND)
        name = _name(wanted.name)
        command_id = self._command_id(caller, idempotency_key)
        async with self._database.work() as work:
            prepared = await self._prepare(work, caller, name, wanted)
            now = self._clock.now()
            added = await work.commands.add(
                command_id, wanted.station_id, name, prepared.request, caller.name, now
            )
            if not added:
                return await _repeated(work, caller, command_id, wanted, name)
            record = records.command_record(command_id, name, prepared.request, caller.name, now)
            _append(work, wanted.station_id, wanted.session_id, record, now)
            await work.commit()
        accepted, answer = await self._send(wanted.station_id, prepared.command)
        async with self._database.work() as work:
            now = self._clock.now()
            await work.commands.answered(command_id, accepted, answer, now)
            record = records.command_answer_record(command_id, accepted, answer, now)
            _append(work, wanted.station_id, wanted.session_id, record, now)
            await work.commit()
        polls = SESSION_POLLS if name is CommandName.REMOTE_START and accepted else 0
        return await self._with_session(caller, command_id, polls)

    def is_connected(self, station_id: str) -> bool:
        """Say whether a station can be told anything now."""
        return self._channel.is_connected(station_id)

    async def show(self, caller: Caller, command_id: str) -> CommandView:
        """Return a command as it stands now."""
        caller.require(Action.STATIONS_COMMAND)
        return await self._with_session(caller, command_id, 0)

    async def _with_session(self, caller: Caller, command_id: str, polls: int) -> CommandView:
        """Return the command; look a few times more for the session that it starts."""
        while True:
            async with self._database.work() as work:
                view = await work.commands.show(caller, command_id)
                await work.commit()
            if view is None:
                raise NotFound("there is no such command", field="command_id")
            if view.session_id is not None or not polls:
                return view
            polls -= 1
            await self._pause(SESSION_POLL_S)

    async def _send(self, station_id: str, command: StationCommand) -> tuple[bool | None, str]:
        try:
            answer = await self._channel.send(station_id, command)
        except (Unavailable, InvalidInput) as error:
            return None, error.message
        return answer.accepted, answer.answer

    def _command_id(self, caller: Caller, idempotency_key: str | None) -> str:
        if idempotency_key is None:
            return self._entropy.session_id(self._clock.now())
        check_key(idempotency_key)
        return str(uuid.uuid5(uuid.UUID(caller.login_id), idempotency_key))

    async def _prepare(
        self, work: AdminWork, caller: Caller, name: CommandName, wanted: CommandRequest
    ) -> _Prepared:
        if not await work.stations.reaches(caller, wanted.station_id):
            raise no_station(wanted.station_id)
        station = await work.stations.registered(wanted.station_id)
        assert station is not None, "it is within reach"
        match name:
            case CommandName.REMOTE_START:
                return await self._remote_start(work, station, wanted)
            case CommandName.REMOTE_STOP:
                return await _remote_stop(work, caller, wanted)
            case CommandName.RESET:
                return _Prepared(Reset(wanted.hard), {"hard": wanted.hard})
            case CommandName.UNLOCK:
                plug = _connector(station, wanted)
                command = UnlockConnector(plug.evse, plug.connector, plug.ocpp16_connector_id)
                return _Prepared(command, {"connector": plug.connector, "evse": plug.evse})
            case CommandName.TRIGGER:
                return _trigger(station, wanted)

    async def _remote_start(
        self, work: AdminWork, station: ChargingStation, wanted: CommandRequest
    ) -> _Prepared:
        plug = _connector(station, wanted)
        id_token = await self._usable_id_token(work, wanted.id_token)
        start_id = int.from_bytes(self._entropy.bytes(4)) & 0x7FFF_FFFF
        command = RemoteStart(
            plug.evse, plug.connector, plug.ocpp16_connector_id, id_token, start_id
        )
        request = {
            "connector": plug.connector,
            "evse": plug.evse,
            "id_token": id_token.value,
            "id_token_key": id_token.key,
            "remote_start_id": start_id,
        }
        return _Prepared(command, request)

    async def _usable_id_token(self, work: AdminWork, value: str | None) -> IdTokenRef:
        """Return the identifier to start for: one that the station's start will be billed to.

        Of one value under several types all must be fit: an OCPP 1.6 start does not say which.
        """
        if value is None:
            raise _missing("id_token", "--id-token")
        key = IdTokenRef(value, None).key
        known = (await work.id_tokens.known([key])).get(key, [])
        now = self._clock.now()
        expired = any(one.expires_at is not None and one.expires_at <= now for one in known)
        if not known or expired or any(one.blocked for one in known):
            raise InvalidInput(
                "this identifier may not charge: it is unknown, blocked or expired",
                field="id_token",
                remedy="add it (chargera token add) or unblock it first",
            )
        return known[0].ref


def _name(value: str) -> CommandName:
    if value not in tuple(CommandName):
        raise InvalidInput(
            f"'{value[:32]}' is not a command",
            field="command",
            remedy=f"use one of {', '.join(CommandName)}",
        )
    return CommandName(value)


async def _remote_stop(work: AdminWork, caller: Caller, wanted: CommandRequest) -> _Prepared:
    if wanted.session_id is None:
        raise _missing("session_id", "--session")
    found: OpenTransaction | None = await work.commands.transaction(caller, wanted.session_id)
    if found is None or found.station_id != wanted.station_id:
        raise no_session(wanted.session_id)
    if not found.is_open:
        raise Conflict(
            f"session {found.session_id} does not run any more",
            field="session_id",
            remedy="only a running session can be stopped",
        )
    request = {"session_id": found.session_id, "transaction_id": found.transaction_id}
    return _Prepared(RemoteStop(found.transaction_id), request)


def _trigger(station: ChargingStation, wanted: CommandRequest) -> _Prepared:
    message = wanted.message
    if message is None or message not in MESSAGES:
        raise InvalidInput(
            f"'{(message or '')[:40]}' is not a message that can be asked for",
            field="message",
            remedy=f"use one of {', '.join(sorted(MESSAGES))}",
        )
    if wanted.evse is None:
        return _Prepared(TriggerMessage(message, None, None, None), {"message": message})
    plug = _connector(station, wanted)
    command = TriggerMessage(message, plug.evse, plug.connector, plug.ocpp16_connector_id)
    return _Prepared(command, {"evse": plug.evse, "message": message})


def _connector(station: ChargingStation, wanted: CommandRequest) -> Connector:
    if wanted.evse is None:
        raise _missing("evse", "--evse")
    found = station.connector_of(wanted.evse, wanted.connector)
    if found is None:
        raise InvalidInput(
            f"station {station.station_id} has no EVSE {wanted.evse}"
            + ("" if wanted.connector is None else f" with a connector {wanted.connector}"),
            field="evse",
            remedy=f"chargera station show {station.station_id} lists them",
        )
    return found


async def _repeated(
    work: AdminWork,
    caller: Caller,
    command_id: str,
    wanted: CommandRequest,
    name: CommandName,
) -> CommandView:
    """Return the command that this key was used for; Conflict if that was another."""
    view = await work.commands.show(caller, command_id)
    if view is None or (view.station_id, view.action) != (wanted.station_id, name):
        raise Conflict(
            "this Idempotency-Key was used for another command",
            field="Idempotency-Key",
            remedy="use a new key for a new command",
        )
    return view


def _missing(field: str, option: str) -> InvalidInput:
    return InvalidInput(f"this command needs {field}", field=field, remedy=f"give it with {option}")


def _append(
    work: AdminWork,
    station_id: str,
    session_id: str | None,
    record: Mapping[str, Any],
    now: datetime,
) -> None:
    work.append(NewEntry(EntryKind.STATION_COMMAND, station_id, session_id, record, now))
