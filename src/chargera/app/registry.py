"""Stations as people administer them: register, password, price, and what is shown of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from chargera.app.access import Passwords, check_station_password, new_password
from chargera.app.admin_ports import AdminWork, IsConnected, MessageFilter, StoredLogin
from chargera.app.permissions import Action, Caller, Role
from chargera.app.ports import Entropy, NewEntry
from chargera.app.views import MessageView, Overview, StationRow, StationView
from chargera.domain.errors import Conflict, InvalidInput, NotFound
from chargera.domain.station import (
    ChargingStation,
    OcppVersion,
    check_coordinate,
    check_station_id,
    check_text,
    check_time_zone,
    parse_evses,
)
from chargera.proofs import records
from chargera.proofs.entry import EntryKind
from chargera.proofs.meter_key import load_meter_key

PROFILES = (1, 2, 3)
MESSAGES_MAX = 500


@dataclass(frozen=True, slots=True)
class Registration:
    """What somebody asks to register a station as; texts as they were typed."""

    station_id: str
    manufacturer: str
    model: str
    serial_number: str
    latitude: str
    longitude: str
    evse: str
    """`N:TYPE:WATTS,...`"""
    profile: int
    time_zone: str = "UTC"
    ocpp_versions: tuple[str, ...] = ("1.6", "2.0.1")
    allow_plain: bool = False
    meter_key: str | None = None
    """PEM, or hex DER."""
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """A registered station; `password` is None when it was registered before."""

    station_id: str
    password: str | None


async def register_station(
    work: AdminWork,
    caller: Caller,
    wanted: Registration,
    *,
    passwords: Passwords,
    entropy: Entropy,
    now: datetime,
) -> Registered:
    """Register a station, or find it registered with the very same facts.

    The password is made here and leaves only once: a repeat returns None in its place (a lost
    one is replaced with `set_station_password`).

    Raises InvalidInput naming the fact that is wrong, Conflict naming the first that differs
    from what is registered, NotPermitted.
    """
    caller.require(Action.STATIONS_REGISTER)
    host = await _host(work, wanted.host)
    station = _station(wanted, now)
    known = await work.stations.registered(station.station_id)
    if known is None:
        password = new_password(entropy)
        password_hash = await passwords.hash(password)
        if await work.stations.add(station, password_hash, host.login_id if host else None):
            record = records.station_record(station)
            _append(work, EntryKind.STATION_REGISTERED, station.station_id, record, now)
            return Registered(station.station_id, password)
        known = await work.stations.registered(station.station_id)
        assert known is not None, "its insert was refused because it exists"
    _require_same(known, station)
    return Registered(station.station_id, None)


async def set_station_password(
    work: AdminWork,
    caller: Caller,
    station_id: str,
    password: str | None,
    *,
    passwords: Passwords,
    entropy: Entropy,
    now: datetime,
) -> str:
    """Replace a station's password by a given or a generated one, and return it.

    Raises InvalidInput, NotFound for a station that the caller does not run, NotPermitted.
    """
    caller.require(Action.STATIONS_PASSWORD)
    chosen = new_password(entropy) if password is None else check_station_password(password)
    password_hash = await passwords.hash(chosen)
    if not await work.stations.set_password(caller, station_id, password_hash):
        raise no_station(station_id)
    record = records.station_change_record(station_id, "password", caller.name, now)
    _append(work, EntryKind.STATION_CHANGED, station_id, record, now)
    return chosen


async def station_rows(
    work: AdminWork,
    caller: Caller,
    is_connected: IsConnected,
    *,
    after: str | None = None,
    limit: int | None = None,
) -> list[StationRow]:
    """Return the stations in order of their ids; they are public."""
    caller.require(Action.STATIONS_READ)
    return await work.stations.rows(caller, is_connected, after=after, limit=limit)


async def show_station(
    work: AdminWork, caller: Caller, station_id: str, is_connected: IsConnected
) -> StationView:
    """Return one station; what is not public of it only to who runs or audits it."""
    caller.require(Action.STATIONS_READ)
    view = await work.stations.show(caller, station_id, is_connected)
    if view is None:
        raise no_station(station_id)
    return view


async def message_log(
    work: AdminWork,
    caller: Caller,
    station_id: str,
    wanted: MessageFilter,
) -> list[MessageView]:
    """Return a station's exchanges, newest first, at most `MESSAGES_MAX`."""
    caller.require(Action.MESSAGES_READ)
    if not await work.stations.reaches(caller, station_id):
        raise no_station(station_id)
    bounded = replace(wanted, limit=min(wanted.limit, MESSAGES_MAX))
    return await work.stations.messages(caller, station_id, bounded)


async def overview(work: AdminWork, caller: Caller, is_connected: IsConnected) -> Overview:
    """Return the figures of the first page, over what the caller reaches."""
    return await work.stations.overview(caller, is_connected)


def no_station(station_id: str) -> NotFound:
    """Return the error for a station that does not exist or is somebody else's."""
    return NotFound(
        f"there is no station '{station_id[:48]}' that you run",
        field="station_id",
        remedy="`chargera station list` shows the stations",
    )


async def _host(work: AdminWork, name: str | None) -> StoredLogin | None:
    if name is None:
        return None
    login = await work.logins.by_name(name)
    if login is None or login.role is not Role.HOST:
        raise InvalidInput(
            f"'{name[:64]}' is not a login with the role host",
            field="host",
            remedy=f"add it first: chargera login add {name[:64]} --role host",
        )
    return login


def _station(wanted: Registration, now: datetime) -> ChargingStation:
    """Check every fact and return the registration that it makes."""
    if wanted.profile not in PROFILES:
        raise InvalidInput(
            f"there is no security profile {wanted.profile}",
            field="profile",
            remedy="use 1 (plain), 2 (TLS and password) or 3 (TLS with a client certificate)",
        )
    if wanted.profile == 1 and not wanted.allow_plain:
        raise InvalidInput(
            "profile 1 sends the password in the clear",
            field="profile",
            remedy="use --profile 2, or allow it for this station with --allow-plain",
        )
    return ChargingStation(
        station_id=check_station_id(wanted.station_id),
        manufacturer=check_text(wanted.manufacturer, field="manufacturer"),
        model=check_text(wanted.model, field="model"),
        serial_number=check_text(wanted.serial_number, field="serial_number"),
        latitude=check_coordinate(wanted.latitude, field="latitude", limit=90),
        longitude=check_coordinate(wanted.longitude, field="longitude", limit=180),
        time_zone=check_time_zone(wanted.time_zone),
        connectors=parse_evses(wanted.evse),
        ocpp_versions=_versions(wanted.ocpp_versions),
        security_profile=wanted.profile,
        plain_allowed=wanted.allow_plain,
        meter_key_der_hex=_meter_key(wanted.meter_key),
        host_name=wanted.host,
        registered_at=now,
    )


def _meter_key(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return load_meter_key(text).canonical_der_hex
    except InvalidInput as error:
        raise InvalidInput(error.message, field="meter_key", remedy=error.remedy) from error


def _versions(names: Sequence[str]) -> frozenset[OcppVersion]:
    unknown = [name for name in names if name not in tuple(OcppVersion)]
    if unknown or not names:
        raise InvalidInput(
            f"'{unknown[0][:16] if unknown else ''}' is not a version of OCPP that is served",
            field="ocpp",
            remedy=f"use one or more of {', '.join(OcppVersion)}",
        )
    return frozenset(OcppVersion(name) for name in names)


_FACTS = {
    "manufacturer": "manufacturer",
    "model": "model",
    "serial_number": "serial_number",
    "latitude": "latitude",
    "longitude": "longitude",
    "time_zone": "time_zone",
    "connectors": "evse",
    "ocpp_versions": "ocpp",
    "security_profile": "profile",
    "plain_allowed": "allow_plain",
    "meter_key_der_hex": "meter_key",
    "host_name": "host",
}
"""Attributes that make two registrations the same, and their names in a request."""


def _require_same(known: ChargingStation, wanted: ChargingStation) -> None:
    for attribute, field in _FACTS.items():
        if getattr(known, attribute) != getattr(wanted, attribute):
            raise Conflict(
                f"station {known.station_id} is registered with another {field}",
                field=field,
                remedy="register it under another id, or repeat with the facts that it has",
            )


def _append(
    work: AdminWork, kind: EntryKind, station_id: str, record: records.Record, now: datetime
) -> None:
    work.append(NewEntry(kind, station_id, None, record, now))
