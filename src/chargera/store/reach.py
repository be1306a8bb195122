"""What a caller reaches, as SQL: the one place where ownership becomes a condition.

Each table of predicates has every reach, so a new one cannot be forgotten. The predicates use
the parameter `%(login_id)s`.
"""

from collections.abc import Mapping
from typing import Any

from chargera.app.permissions import Action, Caller, Reach
from chargera.proofs.entry import EntryKind

STATIONS: Mapping[Reach, str] = {
    Reach.ALL: "true",
    Reach.OWN_STATIONS: "s.host_login_id = %(login_id)s::uuid",
    Reach.OWN_ID_TOKENS: "false",
    Reach.PUBLIC: "false",
}
"""Which stations `s` are the caller's to run or to audit."""

SHOWN_STATIONS: Mapping[Reach, str] = {
    Reach.ALL: "true",
    Reach.OWN_STATIONS: STATIONS[Reach.OWN_STATIONS],
    Reach.OWN_ID_TOKENS: "true",
    Reach.PUBLIC: "true",
}
"""Which stations `s` are shown at all: the map is public, a host looks after its own."""

SESSIONS: Mapping[Reach, str] = {
    Reach.ALL: "true",
    Reach.OWN_STATIONS: "exists (select from station h where h.station_id = c.station_id"
    " and h.host_login_id = %(login_id)s::uuid)",
    Reach.OWN_ID_TOKENS: "c.login_id = %(login_id)s::uuid",
    Reach.PUBLIC: "false",
}
"""Which sessions `c` the caller sees."""

ID_TOKENS: Mapping[Reach, str] = {
    Reach.ALL: "true",
    Reach.OWN_STATIONS: "false",
    Reach.OWN_ID_TOKENS: "t.login_id = %(login_id)s::uuid",
    Reach.PUBLIC: "false",
}
"""Which identifiers `t` the caller sees."""

_PUBLIC_RECORDS = f"e.kind = '{EntryKind.TARIFF_PUBLISHED}'"
"""Prices are public, and no bill can be recomputed without them."""

_OWN_REGISTRATIONS = (
    f"(e.kind = '{EntryKind.STATION_REGISTERED}' and exists (select from charging_session c"
    " where c.station_id = e.station_id and c.login_id = %(login_id)s::uuid))"
)
"""Registrations of the stations where the caller charged: the time zone and the meter's key that
the bills depend on. Each stands in the receipts from that station, too."""

RECORDS: Mapping[Reach, str] = {
    Reach.ALL: "true",
    Reach.OWN_STATIONS: f"({_PUBLIC_RECORDS} or exists (select from station h"
    " where h.station_id = e.station_id and h.host_login_id = %(login_id)s::uuid))",
    Reach.OWN_ID_TOKENS: f"({_PUBLIC_RECORDS} or exists (select from charging_session c"
    " where c.session_id = e.session_id and c.login_id = %(login_id)s::uuid)"
    f" or {_OWN_REGISTRATIONS})",
    Reach.PUBLIC: _PUBLIC_RECORDS,
}
"""Whose records of entries `e` the caller may read; the entries themselves are public."""


def parameters(caller: Caller, **others: Any) -> dict[str, Any]:
    """Return the parameters of a query with one of the predicates."""
    return {"login_id": caller.login_id, **others}


def records_of(caller: Caller) -> str:
    """Return the predicate for records; an API key without `records:read` has public ones."""
    if caller.may(Action.RECORDS_READ):
        return RECORDS[caller.reach]
    return RECORDS[Reach.PUBLIC]
