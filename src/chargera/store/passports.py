"""Registrations of passports: where each stands, and what its steps wait for."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import orjson
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from chargera.app.passports import AnchoredPlace, PassportRow, Step
from chargera.domain.passport import Protocol, protocol_of
from chargera.domain.station import OcppVersion
from chargera.proofs.entry import EntryKind
from chargera.proofs.onboarding import shows_meter
from chargera.proofs.standard_run import protocol_that_passed

_JSON = frozenset({"metadata", "request"})
_COLUMNS = tuple(field.name for field in fields(PassportRow))
_INSERTED = tuple(name for name in _COLUMNS if name != "registration_no")
_LATEST = (
    " order by (step = 'refused'), (mint_transaction_hash is null), registration_no desc limit 1"
)


class PostgresPassports:
    """A `PassportStore` on one connection."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        """Work within the transaction of `connection`."""
        self._connection = connection

    async def of_station(self, station_id: str) -> PassportRow | None:
        """Return a station's registration, locked; a refused one only if there is no other."""
        rows = await self._rows(
            f"select * from passport where station_id = %s{_LATEST} for update", [station_id]
        )
        return _row(rows[0]) if rows else None

    async def by_id(self, passport_id: str) -> PassportRow | None:
        """Return the registration of a passport: minted before pending, pending before refused."""
        rows = await self._rows(
            f"select * from passport where passport_id = %s{_LATEST}", [passport_id]
        )
        return _row(rows[0]) if rows else None

    async def minted(self, passport_id: str) -> PassportRow | None:
        """Return the registration by which a passport was minted here, locked."""
        rows = await self._rows(
            "select * from passport where passport_id = %s and mint_transaction_hash is not null"
            " for update",
            [passport_id],
        )
        return _row(rows[0]) if rows else None

    async def add(self, row: PassportRow) -> None:
        """Insert a registration; its number is given by the database."""
        places = ", ".join("%s" for _ in _INSERTED)
        await self._connection.execute(
            f"insert into passport ({', '.join(_INSERTED)}, changed_at)"
            f" values ({places}, %s)".encode(),
            [*_values(row), row.requested_at],
        )

    async def update(self, row: PassportRow) -> None:
        """Replace what may change of a registration."""
        assignments = ", ".join(f"{name} = %s" for name in _INSERTED)
        await self._connection.execute(
            f"update passport set {assignments} where registration_no = %s".encode(),
            [*_values(row), row.registration_no],
        )

    async def open(self) -> Sequence[PassportRow]:
        """Return the registrations that are under way, oldest first."""
        rows = await self._rows(
            "select * from passport where step not in ('registered', 'refused')"
            " order by registration_no",
            [],
        )
        return [_row(row) for row in rows]

    async def rows(
        self, before: int | None = None, limit: int | None = None
    ) -> Sequence[PassportRow]:
        """Return registrations with numbers below `before` (None: all), newest first."""
        rows = await self._rows(
            "select * from passport where %(before)s::bigint is null"
            " or registration_no < %(before)s order by registration_no desc limit %(limit)s",
            {"before": before, "limit": limit},
        )
        return [_row(row) for row in rows]

    async def lock(self, registration_no: int) -> PassportRow:
        """Return one registration, locked for this unit of work."""
        rows = await self._rows(
            "select * from passport where registration_no = %s for update", [registration_no]
        )
        return _row(rows[0])

    async def anchored(self, log_index: int) -> AnchoredPlace | None:
        """Return where an entry is anchored; None: nowhere yet."""
        rows = await self._rows(
            "select tree_size, topic_id, sequence_number from anchor"
            " where state = 'anchored' and tree_size > %s order by tree_size limit 1",
            [log_index],
        )
        return AnchoredPlace(**rows[0]) if rows else None

    async def reading_of(self, station_id: str, after: int, identification: str) -> int | None:
        """Return the index of a verified signed value of a station with that identification.

        Only of those that a signed head covers: attesters open it under that.
        """
        rows = await self._rows(
            "select e.log_index, e.record, s.meter_key_der_hex from log_entry e"
            " join station s using (station_id) where e.station_id = %s and e.kind = %s"
            " and e.log_index > %s and e.record is not null"
            " and e.log_index < (select max(tree_size) from checkpoint) order by e.log_index",
            [station_id, str(EntryKind.SIGNED_VALUE), after],
        )
        for row in rows:
            signed = orjson.loads(row["record"])["ocmf_base64"]
            if shows_meter(signed, row["meter_key_der_hex"] or "", identification):
                return int(row["log_index"])
        return None

    async def spoken(self, station_id: str) -> tuple[Sequence[Protocol], Mapping[Protocol, int]]:
        """Return the protocols that a station has spoken, and the entries of tests it passed."""
        observed = await self._rows(
            "select distinct ocpp_version from charging_session where station_id = %s"
            " union select ocpp_version from station where station_id = %s"
            " and ocpp_version is not null",
            [station_id, station_id],
        )
        tested = await self._rows(
            "select log_index, record from log_entry where station_id = %s and kind = %s"
            " and record is not null order by log_index",
            [station_id, str(EntryKind.PROTOCOL_TESTED)],
        )
        passed: dict[Protocol, int] = {}
        for row in tested:
            protocol = protocol_that_passed(orjson.loads(row["record"]))
            if protocol is not None:
                passed[protocol] = row["log_index"]
        return [protocol_of(OcppVersion(row["ocpp_version"])) for row in observed], passed

    async def signatures(self, digest: str) -> Mapping[int, str]:
        """Return the attesters' signatures of a digest by their place in the registry."""
        rows = await self._rows(
            "select place, signature from attestation where digest = %s and decision = 'signed'",
            [digest],
        )
        return {row["place"]: row["signature"] for row in rows}

    async def refusals(self, digest: str) -> Sequence[str]:
        """Return why attesters refuse a digest, once for each who does."""
        rows = await self._rows(
            "select reason from attestation where digest = %s and decision = 'refused'", [digest]
        )
        return [row["reason"] or "" for row in rows]

    async def _rows(self, query: str, values: Sequence[Any] | Mapping[str, Any]) -> list[DictRow]:
        async with self._connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query.encode(), values)
            return await cursor.fetchall()


def _values(row: PassportRow) -> list[Any]:
    values = [getattr(row, name) for name in _INSERTED]
    return [
        Jsonb(dict(value)) if name in _JSON else value
        for name, value in zip(_INSERTED, values, strict=True)
    ]


def _row(row: DictRow) -> PassportRow:
    members = {name: row[name] for name in _COLUMNS}
    return PassportRow(**members | {"step": Step(row["step"])})
