"""Tariffs: publish a version, put it in force at a station, show what is in force where."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chargera.app.admin_ports import AdminWork
from chargera.app.permissions import Action, Caller
from chargera.app.ports import NewEntry, QuotedTariff
from chargera.app.registry import no_station
from chargera.app.views import TariffView
from chargera.domain.errors import NotFound
from chargera.proofs import ocpi, records
from chargera.proofs.entry import EntryKind


@dataclass(frozen=True, slots=True)
class Published:
    """A tariff version; `stations` are those whose new sessions now get it."""

    tariff_id: str
    version: int
    digest: str
    stations: tuple[str, ...]


async def publish_tariff(
    work: AdminWork, caller: Caller, document: Mapping[str, object], *, now: datetime
) -> Published:
    """Publish an OCPI 2.2.1 Tariff object (see `proofs.ocpi.parse_json`).

    A document that says what the current version says is that version again. Otherwise it is
    the next version, and stations that this tariff is assigned to price new sessions by it from
    now on; sessions that run keep the version that they were quoted.

    Raises Unsupported or InvalidInput whose `field` is the path of what cannot be priced.
    """
    caller.require(Action.TARIFFS_WRITE)
    tariff = ocpi.tariff_from_ocpi(document)
    normal = ocpi.normalise_tariff(document)
    digest = ocpi.tariff_digest(normal)
    current = await work.tariffs.current(tariff.tariff_id)
    if current is not None and current.digest == digest:
        return Published(tariff.tariff_id, current.version, digest, ())
    version = 1 if current is None else current.version + 1
    record = records.tariff_record(tariff.tariff_id, version, digest, normal, now)
    work.append(NewEntry(EntryKind.TARIFF_PUBLISHED, None, None, record, now))
    stations = await work.tariffs.stations_with(tariff.tariff_id)
    for station_id in stations:
        _append_assignment(work, station_id, tariff.tariff_id, version, digest, caller, now)
    log_index = await work.flush()
    assert log_index is not None, "an entry was appended"
    quoted = QuotedTariff(tariff.tariff_id, version, digest, tariff, log_index)
    await work.tariffs.add(quoted, normal, now)
    for station_id in stations:
        await work.tariffs.assign(station_id, now, tariff.tariff_id, version)
    return Published(tariff.tariff_id, version, digest, tuple(stations))


async def assign_tariff(
    work: AdminWork, caller: Caller, station_id: str, tariff_id: str, *, now: datetime
) -> Published:
    """From now on price new sessions of a station by a tariff, in its newest version.

    Raises NotFound for a station that the caller does not run or a tariff that does not exist.
    """
    caller.require(Action.STATIONS_PRICE)
    if not await work.stations.reaches(caller, station_id):
        raise no_station(station_id)
    current = await work.tariffs.current(tariff_id)
    if current is None:
        raise no_tariff(tariff_id)
    published = Published(tariff_id, current.version, current.digest, (station_id,))
    if station_id not in await work.tariffs.stations_with(tariff_id):
        _append_assignment(
            work, station_id, tariff_id, current.version, current.digest, caller, now
        )
        await work.tariffs.assign(station_id, now, tariff_id, current.version)
    return published


async def list_tariffs(work: AdminWork, caller: Caller) -> list[TariffView]:
    """Return the current version of each tariff; prices are public."""
    caller.require(Action.TARIFFS_READ)
    return await work.tariffs.rows(None, None)


async def show_tariff(
    work: AdminWork, caller: Caller, tariff_id: str, version: int | None = None
) -> TariffView:
    """Return one version of a tariff, the newest by default."""
    caller.require(Action.TARIFFS_READ)
    rows = await work.tariffs.rows(tariff_id, version)
    if not rows:
        raise no_tariff(tariff_id)
    return rows[0]


def document_of(view: TariffView) -> dict[str, Any]:
    """Return the tariff as OCPI writes it, numbers as numbers, for `ocpi.encode_json`."""
    return ocpi.with_numbers(view.document)


def no_tariff(tariff_id: str) -> NotFound:
    """Return the error for a tariff that does not exist."""
    return NotFound(
        f"there is no tariff '{tariff_id[:36]}'",
        field="tariff_id",
        remedy="publish it first: chargera tariff set FILE",
    )


def _append_assignment(
    work: AdminWork,
    station_id: str,
    tariff_id: str,
    version: int,
    digest: str,
    caller: Caller,
    now: datetime,
) -> None:
    record = records.tariff_assigned_record(
        station_id, tariff_id, version, digest, now, caller.name
    )
    work.append(NewEntry(EntryKind.TARIFF_ASSIGNED, station_id, None, record, now))
