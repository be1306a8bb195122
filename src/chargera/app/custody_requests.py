"""Custody records as people ask for them: what happened to a charger, and the host's signature.

`CHANGES` is a table of what each kind needs and does; the record, and the registration that changes
with it, are entries of one commit. From there `custody.CustodyRecords` goes on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from chargera.app.custody import (
    PASSPORT,
    WAITS_FOR,
    CustodyRow,
    CustodyStep,
    CustodyStore,
    check_signature,
)
from chargera.app.passports import PassportStore, Step, passport_domain_of
from chargera.app.permissions import Action, Caller
from chargera.app.ports import NewEntry
from chargera.app.registry import no_station
from chargera.app.settlement_ports import Contracts, NetworkTerms
from chargera.domain.errors import Conflict, InvalidInput, NotFound
from chargera.domain.passport import CustodyKind, PassportStatus, degrees_e7
from chargera.domain.station import ChargingStation, check_coordinate, check_time_zone
from chargera.proofs import records
from chargera.proofs.chain_values import (
    WORD_BYTES,
    ZERO_ADDRESS,
    ZERO_WORD,
    address_text,
    hex_text,
    operator_word,
    parse_address,
    parse_hex,
    parse_signer,
)
from chargera.proofs.entry import EntryKind
from chargera.proofs.meter_key import load_meter_key
from chargera.proofs.passport import custody_value, key_hash

NOTE_CHARS_MAX = 500
_STATUSES = tuple(PassportStatus)


@dataclass(frozen=True, slots=True)
class CustodyRequest:
    """What somebody says of a charger; which members it needs depends on `kind`."""

    station_id: str
    kind: str
    note: str = ""
    meter_key: str | None = None
    """Of a new meter: its public key, PEM or hex DER; None: it does not sign."""
    latitude: str | None = None
    longitude: str | None = None
    time_zone: str | None = None
    host: str | None = None
    """The new host's address."""
    operator_id: str | None = None


class StationChanges(Protocol):
    """Registrations of stations as a custody record changes them."""

    async def reaches(self, caller: Caller, station_id: str) -> bool:
        """Say whether the station exists and belongs to what the caller may change."""

    async def registered(self, station_id: str) -> ChargingStation | None:
        """Return the registration, locked for this unit of work."""

    async def change(self, station: ChargingStation, until_log_index: int) -> None:
        """Replace place, time zone and meter key; the former ones hold for sessions until then."""


class CustodyRequestWork(Protocol):
    """One unit of work."""

    @property
    def custody(self) -> CustodyStore:
        """Custody records."""

    @property
    def passports(self) -> PassportStore:
        """Registrations of passports."""

    @property
    def stations(self) -> StationChanges:
        """Registrations of stations."""

    async def accept(self, id_token: str, now: datetime) -> None:
        """Let an identifier of this server's own start a session."""

    def append(self, entry: NewEntry) -> None:
        """Append an entry to the log."""

    async def flush(self) -> int | None:
        """Write appended entries now and return the first one's index."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a record says to the chain, and how its station is registered from now on."""

    value: bytes
    station: ChargingStation | None = None


async def open_custody(
    work: CustodyRequestWork,
    caller: Caller,
    terms: NetworkTerms,
    contracts: Contracts,
    wanted: CustodyRequest,
    *,
    now: datetime,
) -> CustodyRow:
    """Begin a custody record; the same one again, while it is under way, is found.

    Raises InvalidInput naming the member that is wrong, NotFound for a station that the caller does
    not run, Conflict where the passport is not in force or another record is under way.
    """
    caller.require(Action.PASSPORTS_WRITE)
    kind = _kind(wanted.kind)
    station_id = wanted.station_id
    if not await work.stations.reaches(caller, station_id):
        raise no_station(station_id)
    station = await work.stations.registered(station_id)
    assert station is not None, "whatever is reached is registered"
    passport = await work.passports.of_station(station_id)
    if passport is None or passport.step is not Step.REGISTERED:
        raise Conflict(
            f"station {station_id} has no passport yet",
            field="station_id",
            remedy="`chargera passport show` says what its registration waits for",
        )
    change = CHANGES[kind](wanted, station)
    for earlier in await work.custody.of_station(station_id):
        if earlier.step in WAITS_FOR:
            same = (earlier.kind, earlier.word, earlier.record["note"])
            if same == (kind, change.value, wanted.note):
                return earlier
            raise _under_way(earlier)
    token_id = parse_hex(passport.passport_id, WORD_BYTES, field="passport_id")
    facts = await contracts.read(PASSPORT, "factsOf", token_id)
    _check_in_force(station_id, facts, terms)
    await _check_possible(work, contracts, token_id, kind, change, station, facts)
    record = records.custody_record(
        station_id=station_id,
        passport_id=passport.passport_id,
        number=len(await contracts.read(PASSPORT, "custodyOf", token_id)),
        kind=kind,
        value=hex_text(change.value),
        note=wanted.note,
        by=str(caller.role),
        at=now,
    )
    row = CustodyRow(
        custody_no=0,
        passport_id=passport.passport_id,
        station_id=station_id,
        kind=kind,
        number=record["number"],
        value=record["value"],
        record=record,
        log_index=0,
        host=address_text(parse_address(facts.host, field="host")),
        step=CustodyStep.ANCHOR,
        requested_at=now,
    )
    return await _begin(work, row, change.station, now)


async def _begin(
    work: CustodyRequestWork, row: CustodyRow, station: ChargingStation | None, now: datetime
) -> CustodyRow:
    """Log a record, and before it the registration that changes with it."""
    identification = row.identification
    if identification is not None:
        row = replace(row, step=CustodyStep.READING)
        await work.accept(identification, now)
    if station is not None:
        plate = records.station_record(station)
        work.append(NewEntry(EntryKind.STATION_REGISTERED, row.station_id, None, plate, now))
    work.append(NewEntry(EntryKind.CUSTODY, row.station_id, None, row.record, now))
    first = await work.flush()
    assert first is not None, "an entry has a place"
    if station is None:
        return await work.custody.add(replace(row, log_index=first))
    await work.stations.change(station, first)
    return await work.custody.add(replace(row, log_index=first + 1, station_log_index=first))


async def sign_custody(
    work: CustodyRequestWork,
    caller: Caller,
    terms: NetworkTerms,
    station_id: str,
    signature: str,
) -> CustodyRow:
    """Keep the host's signature of the custody record that is under way.

    Raises InvalidInput if it is not his, NotFound if none is waited for.
    """
    caller.require(Action.PASSPORTS_SIGN)
    row = await _open_of(work, caller, station_id)
    if row.kind is CustodyKind.RETIREMENT:
        raise Conflict(
            "a retirement is the host's own transaction, not his signature",
            field="signature",
            remedy="send it with the host's key: chargera passport sign",
        )
    signed = replace(row, host_signature=signature)
    check_signature(signed, passport_domain_of(terms))
    await work.custody.update(signed)
    return signed


async def withdraw_custody(work: CustodyRequestWork, caller: Caller, station_id: str) -> CustodyRow:
    """Give up the custody record that is under way, unless all have signed it.

    Its entry stays; how the station is registered now stays too. Raises NotFound, Conflict.
    """
    caller.require(Action.PASSPORTS_WRITE)
    row = await _open_of(work, caller, station_id)
    if row.step is CustodyStep.TRANSACTION and row.kind is not CustodyKind.RETIREMENT:
        raise Conflict(
            "all have signed it, and anybody may put it on chain",
            field="station_id",
            remedy="let it be recorded, then ask for another record",
        )
    given_up = replace(row, step=CustodyStep.REFUSED, refusal=f"withdrawn by {caller.role}")
    await work.custody.update(given_up)
    return given_up


async def _open_of(work: CustodyRequestWork, caller: Caller, station_id: str) -> CustodyRow:
    if not await work.stations.reaches(caller, station_id):
        raise no_station(station_id)
    for row in await work.custody.of_station(station_id):
        if row.step in WAITS_FOR:
            locked = await work.custody.lock(row.custody_no)
            if locked.step in WAITS_FOR:
                return locked
    raise NotFound(
        f"no custody record of station {station_id} is under way",
        field="station_id",
        remedy="`chargera passport show` shows the custody of a charger",
    )


async def require_earning(
    work: CustodyRequestWork, contracts: Contracts, terms: NetworkTerms, station_id: str
) -> None:
    """Raise Conflict for a station whose passport earns here no more, by what the chain says now.

    One that has no passport yet is not refused: what its sessions cost is payable off chain.
    """
    passport = await work.passports.of_station(station_id)
    if passport is not None and passport.step is Step.REGISTERED:
        token_id = parse_hex(passport.passport_id, WORD_BYTES, field="passport_id")
        facts = await contracts.read(PASSPORT, "factsOf", token_id)
        _check_in_force(station_id, facts, terms)


# What must be so ---------------------------------------------------------------------------------


def _kind(name: str) -> CustodyKind:
    if name not in tuple(CustodyKind):
        raise InvalidInput(
            f"'{name[:32]}' is no kind of custody record",
            field="kind",
            remedy=f"use one of {', '.join(CustodyKind)}",
        )
    return CustodyKind(name)


def _under_way(row: CustodyRow) -> Conflict:
    return Conflict(
        f"custody record {row.number} ({row.kind}) of this passport waits for"
        f" {WAITS_FOR[row.step]}",
        field="station_id",
        remedy="let it be recorded, or withdraw it: chargera passport withdraw",
    )


def _check_in_force(station_id: str, facts: Any, terms: NetworkTerms) -> None:
    status = _STATUSES[facts.status]
    if status is PassportStatus.RETIRED:
        raise Conflict(
            f"the passport of station {station_id} is retired, for ever",
            field="station_id",
            remedy="a charger with another serial number gets a passport of its own",
        )
    if facts.operatorId != operator_word(terms.operator_id):
        operator = facts.operatorId.rstrip(b"\0").decode("ascii", "replace")
        raise Conflict(
            f"the passport of station {station_id} is operator {operator}'s now",
            field="station_id",
            remedy="ask that operator",
        )


async def _check_possible(
    work: CustodyRequestWork,
    contracts: Contracts,
    token_id: bytes,
    kind: CustodyKind,
    change: Change,
    station: ChargingStation,
    facts: Any,
) -> None:
    """See what the contract would refuse at the end, or what cannot be told apart later."""
    if kind is CustodyKind.METER and change.value != ZERO_WORD:
        holder = await contracts.read(PASSPORT, "meterKeyHolder", change.value)
        if holder not in (ZERO_WORD, token_id):
            raise Conflict(
                f"that meter key is held by passport {hex_text(holder)}",
                field="meter_key",
                remedy="a meter key stays with its first charger for ever: use another meter",
            )
    same = {
        CustodyKind.METER: facts.meterKeyHash,
        CustodyKind.LOCATION: custody_value(CustodyKind.LOCATION, (facts.latE7, facts.lonE7)),
        CustodyKind.OWNER: custody_value(
            CustodyKind.OWNER, parse_address(facts.host, field="host")
        ),
        CustodyKind.OPERATOR: facts.operatorId.ljust(WORD_BYTES, b"\0"),
    }
    if same.get(kind) == change.value != ZERO_WORD:
        raise Conflict(
            f"the passport has this {kind} already",
            field=_FIELDS[kind],
            remedy="there is nothing to record",
        )
    if change.station is not None and await work.custody.is_charging(station.station_id):
        raise Conflict(
            f"a session is running at station {station.station_id}",
            field="station_id",
            remedy="stop it first, so that it is billed by what it began with",
        )


# What each kind needs and does -------------------------------------------------------------------


def _owner(wanted: CustodyRequest, station: ChargingStation) -> Change:
    host = parse_signer(_needed(wanted, "host"), field="host")
    if host == ZERO_ADDRESS:
        raise InvalidInput("nobody is no host", field="host", remedy="name the new host's address")
    return Change(custody_value(CustodyKind.OWNER, host))


def _operator(wanted: CustodyRequest, station: ChargingStation) -> Change:
    operator_id = _needed(wanted, "operator_id")
    return Change(custody_value(CustodyKind.OPERATOR, operator_id))


def _meter(wanted: CustodyRequest, station: ChargingStation) -> Change:
    der_hex = None
    if wanted.meter_key is not None:
        try:
            der_hex = load_meter_key(wanted.meter_key).canonical_der_hex
        except InvalidInput as error:
            raise InvalidInput(error.message, field="meter_key", remedy=error.remedy) from error
    return Change(key_hash(der_hex), replace(station, meter_key_der_hex=der_hex))


def _location(wanted: CustodyRequest, station: ChargingStation) -> Change:
    latitude = check_coordinate(_needed(wanted, "latitude"), field="latitude", limit=90)
    longitude = check_coordinate(_needed(wanted, "longitude"), field="longitude", limit=180)
    moved = replace(station, latitude=latitude, longitude=longitude)
    if wanted.time_zone is not None:
        moved = replace(moved, time_zone=check_time_zone(wanted.time_zone))
    return Change(
        custody_value(CustodyKind.LOCATION, (degrees_e7(latitude), degrees_e7(longitude))), moved
    )


def _nothing(wanted: CustodyRequest, station: ChargingStation) -> Change:
    return Change(ZERO_WORD)


def _noted(wanted: CustodyRequest, station: ChargingStation) -> Change:
    if not wanted.note:
        raise InvalidInput(
            "a record that changes no fact must say what was done", field="note", remedy="say it"
        )
    return Change(ZERO_WORD)


def _needed(wanted: CustodyRequest, name: str) -> str:
    value = getattr(wanted, name)
    if not isinstance(value, str):
        raise InvalidInput(
            f"a custody record of kind {wanted.kind} needs {name}", field=name, remedy="name it"
        )
    return value


CHANGES: Mapping[CustodyKind, Callable[[CustodyRequest, ChargingStation], Change]] = {
    CustodyKind.OWNER: _owner,
    CustodyKind.OPERATOR: _operator,
    CustodyKind.METER: _meter,
    CustodyKind.FIRMWARE: _noted,
    CustodyKind.LOCATION: _location,
    CustodyKind.REPAIR: _noted,
    CustodyKind.RETIREMENT: _nothing,
}
"""What each kind of record says to the chain, out of a request."""

_FIELDS: Mapping[CustodyKind, str] = {
    CustodyKind.OWNER: "host",
    CustodyKind.OPERATOR: "operator_id",
    CustodyKind.METER: "meter_key",
    CustodyKind.LOCATION: "latitude",
}
