"""Rows of stations and of commands to them, within the caller's reach."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from chargera.app.admin_ports import IsConnected, MessageFilter, OpenTransaction
from chargera.app.permissions import Action, Caller, Reach
from chargera.app.views import (
    CommandView,
    ConnectorView,
    MessageView,
    Overview,
    StationPrivate,
    StationRow,
    StationView,
)
from chargera.domain.station import ChargingStation
from chargera.store import message_packs, reach, running
from chargera.store.registrations import read_stations

Connection = AsyncConnection[Any]

_IN_FORCE = (
    "left join lateral (select f.tariff_id, f.version from tariff_in_force f"
    " where f.station_id = s.station_id order by f.from_at desc limit 1) t on true"
)
_OPEN = (
    "left join lateral (select count(*) as open_sessions,"
    f" coalesce(sum({running.POWER_W}), 0) as power_w from charging_session c {running.LAST}"
    " where c.station_id = s.station_id and c.state = 'charging') o on true"
)
_STATION = (
    "select s.*, t.tariff_id, t.version as tariff_version, o.open_sessions, o.power_w"
    f" from station s {_IN_FORCE} {_OPEN}"
)


class PostgresStations:
    """A `StationStore` on one connection."""

    def __init__(self, connection: Connection) -> None:
        """Work within the transaction of `connection`."""
        self._connection = connection

    async def registered(self, station_id: str) -> ChargingStation | None:
        """Return the registration, locked for this unit of work."""
        await self._connection.execute(
            "select from station where station_id = %s for update", [station_id]
        )
        return (await read_stations(self._connection, [station_id])).get(station_id)

    async def add(
        self, station: ChargingStation, password_hash: str, host_login_id: str | None
    ) -> bool:
        """Insert a registration; False if the station exists."""
        cursor = await self._connection.execute(
            "insert into station (station_id, manufacturer, model, serial_number, latitude,"
            " longitude, time_zone, ocpp_versions, security_profile, plain_allowed, password_hash,"
            " meter_key_der_hex, host_login_id, registered_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " on conflict (station_id) do nothing",
            [
                station.station_id,
                station.manufacturer,
                station.model,
                station.serial_number,
                station.latitude,
                station.longitude,
                station.time_zone,
                sorted(station.ocpp_versions),
                station.security_profile,
                station.plain_allowed,
                password_hash,
                station.meter_key_der_hex,
                host_login_id,
                station.registered_at,
            ],
        )
        if not cursor.rowcount:
            return False
        async with self._connection.cursor() as writer:
            await writer.executemany(
                "insert into connector (station_id, evse, connector, ocpp16_connector_id,"
                " connector_type, power_w_max) values (%s, %s, %s, %s, %s, %s)",
                [
                    (
                        station.station_id,
                        c.evse,
                        c.connector,
                        c.ocpp16_connector_id,
                        c.connector_type,
                        c.power_w_max,
                    )
                    for c in station.connectors
                ],
            )
        return True

    async def change(self, station: ChargingStation, until_log_index: int) -> None:
        """Replace place, time zone and meter key; the former ones hold for sessions until then."""
        await self._connection.execute(
            "insert into former_registration"
            " select station_id, %s, latitude, longitude, time_zone, meter_key_der_hex"
            " from station where station_id = %s",
            [until_log_index, station.station_id],
        )
        await self._connection.execute(
            "update station set latitude = %s, longitude = %s, time_zone = %s,"
            " meter_key_der_hex = %s where station_id = %s",
            [
                station.latitude,
                station.longitude,
                station.time_zone,
                station.meter_key_der_hex,
                station.station_id,
            ],
        )

    async def set_password(self, caller: Caller, station_id: str, password_hash: str) -> bool:
        """Replace the password's hash; False if the caller reaches no such station."""
        cursor = await self._connection.execute(
            "update station s set password_hash = %(password_hash)s"
            f" where s.station_id = %(station_id)s and {reach.STATIONS[caller.reach]}",
            reach.parameters(caller, station_id=station_id, password_hash=password_hash),
        )
        return bool(cursor.rowcount)

    async def reaches(self, caller: Caller, station_id: str) -> bool:
        """Say whether the station exists and is the caller's to run or to audit."""
        rows = await self._rows(
            "select from station s"
            f" where s.station_id = %(station_id)s and {reach.STATIONS[caller.reach]}",
            reach.parameters(caller, station_id=station_id),
        )
        return bool(rows)

    async def rows(
        self,
        caller: Caller,
        is_connected: IsConnected,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[StationRow]:
        """Return stations in order of their ids: a host its own, everybody else all."""
        rows = await self._rows(
            f"{_STATION} where {reach.SHOWN_STATIONS[caller.reach]}"
            " and (%(after)s::text is null or s.station_id > %(after)s)"
            " order by s.station_id limit %(limit)s",
            reach.parameters(caller, after=after, limit=limit),
        )
        plugs = await self._connectors([row["station_id"] for row in rows])
        return [_station_row(row, plugs[row["station_id"]], is_connected) for row in rows]

    async def show(
        self, caller: Caller, station_id: str, is_connected: IsConnected
    ) -> StationView | None:
        """Return one station; `private` only for a caller to run or audit it."""
        rows = await self._rows(
            f"select x.*, l.name as host_name, {reach.STATIONS[caller.reach]} as own"
            f" from ({_STATION}) x join station s using (station_id)"
            " left join login l on l.login_id = s.host_login_id"
            f" where s.station_id = %(station_id)s and {reach.SHOWN_STATIONS[caller.reach]}",
            reach.parameters(caller, station_id=station_id),
        )
        if not rows:
            return None
        row = rows[0]
        plugs = await self._connectors([station_id])
        return StationView(
            station=_station_row(row, plugs[station_id], is_connected),
            registered_at=row["registered_at"],
            meter_key_der_hex=row["meter_key_der_hex"],
            private=_private(row, caller) if row["own"] else None,
        )

    async def messages(
        self, caller: Caller, station_id: str, wanted: MessageFilter
    ) -> list[MessageView]:
        """Return a station's exchanges, newest first."""
        seen = await self._rows(
            "select from station s where s.station_id = %(station_id)s"
            f" and {reach.STATIONS[caller.reach]}",
            reach.parameters(caller, station_id=station_id),
        )
        if not seen:
            return []
        return [
            MessageView(
                message_no=number,
                received_at=row.received_at,
                inbound=row.inbound,
                ocpp_version=row.ocpp_version,
                action=row.action,
                message_id=row.message_id,
                frame=_text(row.frame),
                answer=None if row.answer is None else _text(row.answer),
                outcome=row.outcome,
            )
            for number, row in await message_packs.newest(self._connection, station_id, wanted)
        ]

    async def overview(self, caller: Caller, is_connected: IsConnected) -> Overview:
        """Return the figures of the first page, over what the caller reaches."""
        stations = await self._rows(
            "select s.station_id, count(k.*) as connectors,"
            " count(k.*) filter (where k.status = 'Faulted') as faulted"
            " from station s left join connector k using (station_id)"
            f" where {reach.SHOWN_STATIONS[caller.reach]} group by s.station_id",
            reach.parameters(caller),
        )
        # Totals over all sessions name nobody: visitors see them like the operator does.
        seen, whole = reach.SESSIONS[caller.reach], caller.reach is Reach.ALL
        if not caller.is_signed_in:
            seen, whole = "true", True
        (sums,) = await self._rows(
            f"select r.*, b.*, (select count(*) from charging_session c"
            f"  where c.state = 'review' and {seen}) as review,"
            " (select size from log_head) as log_size"
            f" from (select count(*) as charging, coalesce(sum({running.POWER_W}), 0) as power_w"
            f"  from charging_session c {running.LAST} where c.state = 'charging' and {seen}) r"
            f" cross join ({_TOTALS_OF_ALL if whole else _TOTALS_OF.format(seen=seen)}) b",
            reach.parameters(caller),
        )
        return Overview(
            stations=len(stations),
            stations_connected=sum(is_connected(row["station_id"]) for row in stations),
            connectors=sum(row["connectors"] for row in stations),
            connectors_faulted=sum(row["faulted"] for row in stations),
            sessions_charging=sums["charging"],
            sessions_review=sums["review"],
            sessions_billed=sums["bills"],
            power_w=int(sums["power_w"]),
            energy_wh=int(sums["energy_wh"]),
            log_size=sums["log_size"],
        )

    async def _connectors(self, station_ids: Sequence[str]) -> dict[str, list[ConnectorView]]:
        plugs: dict[str, list[ConnectorView]] = defaultdict(list)
        for row in await self._rows(
            "select * from connector where station_id = any(%(ids)s)"
            " order by station_id, ocpp16_connector_id",
            {"ids": list(station_ids)},
        ):
            plugs[row["station_id"]].append(
                ConnectorView(
                    row["evse"],
                    row["connector"],
                    row["connector_type"],
                    row["power_w_max"],
                    row["status"],
                    row["status_detail"],
                    row["status_at"],
                )
            )
        return plugs

    async def _rows(self, query: str, values: Mapping[str, Any]) -> list[DictRow]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall()


_TOTALS_OF_ALL = "select bills, energy_wh from network_total"
_TOTALS_OF = (
    "select count(*) as bills, coalesce(sum(d.energy_wh), 0) as energy_wh"
    " from charging_session c join cdr d on d.log_index = c.cdr_log_index"
    "  and d.session_id = c.session_id where c.state = 'billed' and {seen}"
)
"""Bills that stand and their energy; of who sees only his own they are few enough to add up."""


class PostgresCommands:
    """A `CommandStore` on one connection."""

    def __init__(self, connection: Connection) -> None:
        """Work within the transaction of `connection`."""
        self._connection = connection

    async def add(
        self,
        command_id: str,
        station_id: str,
        action: str,
        request: dict[str, Any],
        requested_by: str,
        requested_at: datetime,
    ) -> bool:
        """Insert a queued command; False if this id exists."""
        cursor = await self._connection.execute(
            "insert into station_command (command_id, station_id, action, request, requested_by,"
            " requested_at, state) values (%s, %s, %s, %s, %s, %s, 'queued')"
            " on conflict (command_id) do nothing",
            [command_id, station_id, action, Jsonb(request), requested_by, requested_at],
        )
        return bool(cursor.rowcount)

    async def answered(
        self, command_id: str, accepted: bool | None, answer: str, answered_at: datetime
    ) -> None:
        """Note the answer; `accepted` None: there was none."""
        await self._connection.execute(
            "update station_command set state = %s, answer = %s, answered_at = %s"
            " where command_id = %s",
            [
                "failed" if accepted is None else "answered",
                Jsonb({"accepted": accepted, "answer": answer}),
                answered_at,
                command_id,
            ],
        )

    async def show(self, caller: Caller, command_id: str) -> CommandView | None:
        """Return a command with the session that it started, as far as that is known."""
        await self._connection.execute(_LINK_SESSION, {"command_id": command_id})
        rows = await self._rows(
            "select c.* from station_command c join station s using (station_id)"
            f" where c.command_id = %(command_id)s::uuid and {reach.STATIONS[caller.reach]}",
            reach.parameters(caller, command_id=command_id),
        )
        return _command(rows[0]) if rows else None

    async def rows(self, caller: Caller, station_id: str, limit: int) -> list[CommandView]:
        """Return a station's commands, newest first."""
        rows = await self._rows(
            "select c.* from station_command c join station s using (station_id)"
            f" where c.station_id = %(station_id)s and {reach.STATIONS[caller.reach]}"
            " order by c.requested_at desc, c.command_id desc limit %(limit)s",
            reach.parameters(caller, station_id=station_id, limit=limit),
        )
        return [_command(row) for row in rows]

    async def unanswered(self, action: str) -> list[CommandView]:
        """Return the commands of that name that have neither answer nor failure."""
        rows = await self._rows(
            "select * from station_command where action = %(action)s and state = 'queued'"
            " order by requested_at, command_id",
            {"action": action},
        )
        return [_command(row) for row in rows]

    async def transaction(self, caller: Caller, session_id: str) -> OpenTransaction | None:
        """Return a session as a command needs it; None if the caller does not reach it."""
        rows = await self._rows(
            "select c.session_id, c.station_id, c.transaction_id,"
            " not c.ended and c.state in ('charging', 'refused', 'review') as is_open"
            f" from charging_session c where c.session_id = %(session_id)s"
            f" and {reach.SESSIONS[caller.reach]}",
            reach.parameters(caller, session_id=session_id),
        )
        if not rows:
            return None
        row = rows[0]
        return OpenTransaction(
            row["session_id"], row["station_id"], row["transaction_id"] or "", row["is_open"]
        )

    async def _rows(self, query: str, values: Mapping[str, Any]) -> list[DictRow]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall()


_LINK_SESSION = (
    "update station_command k set session_id = c.session_id from charging_session c"
    " where k.command_id = %(command_id)s::uuid and k.action = 'remote-start'"
    " and k.session_id is null and k.state = 'answered'"
    " and (k.answer ->> 'accepted')::boolean and c.station_id = k.station_id"
    " and (c.remote_start_id = (k.request ->> 'remote_start_id')::bigint"
    "  or c.ocpp_version = '1.6' and c.received_at >= k.requested_at"
    "   and c.id_token_key = k.request ->> 'id_token_key'"
    "   and c.evse = (k.request ->> 'evse')::int"
    "   and c.connector = (k.request ->> 'connector')::int)"
    " and not exists (select from station_command o where o.session_id = c.session_id)"
)
"""OCPP 2.x names the remote start in its transaction; in 1.6 the next one there is taken for it."""


def _station_row(
    row: DictRow, connectors: Sequence[ConnectorView], is_connected: IsConnected
) -> StationRow:
    return StationRow(
        station_id=row["station_id"],
        manufacturer=row["manufacturer"],
        model=row["model"],
        latitude=row["latitude"],
        longitude=row["longitude"],
        time_zone=row["time_zone"],
        ocpp_version=row["ocpp_version"],
        connected=is_connected(row["station_id"]),
        last_seen_at=row["last_seen_at"],
        connectors=tuple(connectors),
        tariff_id=row["tariff_id"],
        tariff_version=row["tariff_version"],
        signs_meter_values=row["meter_key_der_hex"] is not None,
        power_w=int(row["power_w"]),
        open_sessions=row["open_sessions"],
    )


def _private(row: DictRow, caller: Caller) -> StationPrivate:
    return StationPrivate(
        serial_number=row["serial_number"],
        host=row["host_name"],
        ocpp_versions=tuple(row["ocpp_versions"]),
        security_profile=row["security_profile"],
        plain_allowed=row["plain_allowed"],
        vendor_reported=row["vendor_reported"],
        model_reported=row["model_reported"],
        firmware_version=row["firmware_version"],
        last_boot_at=row["last_boot_at"],
        may_command=caller.may(Action.STATIONS_COMMAND),
        may_price=caller.may(Action.STATIONS_PRICE),
    )


def _command(row: DictRow) -> CommandView:
    answer = row["answer"] or {}
    return CommandView(
        command_id=str(row["command_id"]),
        station_id=row["station_id"],
        action=row["action"],
        request=row["request"],
        requested_by=row["requested_by"],
        requested_at=row["requested_at"],
        state=row["state"],
        accepted=answer.get("accepted"),
        answer=answer.get("answer"),
        answered_at=row["answered_at"],
        session_id=row["session_id"] or row["request"].get("session_id"),
    )


def _text(raw: bytes) -> str:
    """Return a frame for people to read; what is not UTF-8 is shown as replaced."""
    return bytes(raw).decode("utf-8", "replace")
