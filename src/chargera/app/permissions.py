"""Who may do what: roles, scopes of API keys and the reach of each, as tables.

A role allows actions; an API key's scopes can only take some of them away. *Which* stations
and sessions an allowed action reaches is the caller's `Reach`, and every query of `store`
applies it, so that what belongs to somebody else is not found rather than refused.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from chargera.domain.errors import InvalidInput, NotPermitted


class Role(StrEnum):
    """What a login is here for."""

    OPERATOR = "operator"
    AUDITOR = "auditor"
    HOST = "host"
    DRIVER = "driver"
    TECHNICIAN = "technician"
    ANONYMOUS = "anonymous"
    """Nobody has signed in; no login has this role."""


class Action(StrEnum):
    """What can be allowed; each is also the name of a scope."""

    STATIONS_READ = "stations:read"
    STATIONS_REGISTER = "stations:register"
    STATIONS_PASSWORD = "stations:password"  # noqa: S105 - the name of an action, no secret
    STATIONS_PRICE = "stations:price"
    STATIONS_COMMAND = "stations:command"
    MESSAGES_READ = "messages:read"
    ID_TOKENS_READ = "id-tokens:read"
    ID_TOKENS_WRITE = "id-tokens:write"
    ID_TOKENS_ERASE = "id-tokens:erase"
    TARIFFS_READ = "tariffs:read"
    TARIFFS_WRITE = "tariffs:write"
    SESSIONS_READ = "sessions:read"
    SESSIONS_DECIDE = "sessions:decide"
    LOG_READ = "log:read"
    RECORDS_READ = "records:read"
    ANCHORS_WRITE = "anchors:write"
    LOGINS_READ = "logins:read"
    LOGINS_WRITE = "logins:write"
    CLOCK_WRITE = "clock:write"
    BACKUP_READ = "backup:read"
    SETTINGS_READ = "settings:read"
    SETTLEMENT_WRITE = "settlement:write"
    PASSPORTS_WRITE = "passports:write"
    PASSPORTS_SIGN = "passports:sign"
    """Hand in what a charger's host has signed."""
    PAYMENTS_OPEN = "payments:open"
    FEED = "feed"
    """Read what attesters are asked, and answer. No login has it but by a key of that scope."""


class Reach(StrEnum):
    """Which stations, sessions, identifiers and records a caller sees."""

    ALL = "all"
    OWN_STATIONS = "own_stations"
    """Stations whose host the login is, and what happened at them."""
    OWN_ID_TOKENS = "own_id_tokens"
    """Sessions that were started with an identifier of the login, wherever that was."""
    PUBLIC = "public"
    """What everybody may see: stations on the map, tariffs, the public log."""


_PUBLIC = frozenset({Action.STATIONS_READ, Action.TARIFFS_READ, Action.LOG_READ})
_AUDIT = _PUBLIC | {
    Action.MESSAGES_READ,
    Action.ID_TOKENS_READ,
    Action.SESSIONS_READ,
    Action.RECORDS_READ,
    Action.LOGINS_READ,
    Action.SETTINGS_READ,
}

ALLOWED: Mapping[Role, frozenset[Action]] = {
    Role.OPERATOR: frozenset(Action),
    Role.AUDITOR: _AUDIT,
    Role.HOST: _PUBLIC
    | {
        Action.MESSAGES_READ,
        Action.SESSIONS_READ,
        Action.RECORDS_READ,
        Action.STATIONS_PASSWORD,
        Action.STATIONS_PRICE,
        Action.STATIONS_COMMAND,
        Action.PASSPORTS_SIGN,
    },
    Role.DRIVER: _PUBLIC | {Action.ID_TOKENS_READ, Action.SESSIONS_READ, Action.RECORDS_READ},
    Role.TECHNICIAN: _PUBLIC,
    Role.ANONYMOUS: _PUBLIC,
}
"""What each role may do at all."""

REACH: Mapping[Role, Reach] = {
    Role.OPERATOR: Reach.ALL,
    Role.AUDITOR: Reach.ALL,
    Role.HOST: Reach.OWN_STATIONS,
    Role.DRIVER: Reach.OWN_ID_TOKENS,
    Role.TECHNICIAN: Reach.PUBLIC,
    Role.ANONYMOUS: Reach.PUBLIC,
}
"""How far what it may do goes."""

SCOPES: Mapping[str, frozenset[Action]] = {
    "all": frozenset(Action),
    "read": frozenset(a for a in Action if a.endswith(":read") and a is not Action.BACKUP_READ),
    **{str(action): frozenset({action}) for action in Action},
}
"""What an API key may be given; it never allows more than its login's role does, nor less than a
visitor may do."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `scopes` None: the login itself, without the limits of an API key."""

    login_id: str | None
    name: str
    role: Role
    scopes: frozenset[str] | None = None

    @property
    def reach(self) -> Reach:
        """Which stations and sessions this caller sees."""
        return REACH[self.role]

    @property
    def is_signed_in(self) -> bool:
        """Whether a login stands behind the caller."""
        return self.login_id is not None

    def may(self, action: Action) -> bool:
        """Say whether the caller may do this, to whatever is within its reach."""
        if action not in ALLOWED[self.role]:
            return False
        if self.scopes is None or action in _PUBLIC:
            return True
        return any(action in SCOPES[scope] for scope in self.scopes)

    def require(self, action: Action) -> None:
        """Raise NotPermitted unless the caller may do this."""
        if not self.may(action):
            raise NotPermitted(
                f"{self.name} may not do this ({action})",
                field=None,
                remedy="sign in, or use a login or an API key that may"
                if not self.is_signed_in
                else f"use a login or an API key with the scope {action}",
            )


ANONYMOUS = Caller(None, "a visitor", Role.ANONYMOUS)
"""Nobody in particular."""


def check_role(value: str) -> Role:
    """Return the role of that name that a login may have; raise InvalidInput otherwise."""
    roles = [role for role in Role if role is not Role.ANONYMOUS]
    if value not in roles:
        raise InvalidInput(
            f"'{value[:32]}' is not a role", field="role", remedy=f"use one of {', '.join(roles)}"
        )
    return Role(value)


def check_scopes(values: Iterable[str]) -> frozenset[str]:
    """Return the scopes, at least one and all known; raise InvalidInput otherwise."""
    scopes = frozenset(values)
    unknown = sorted(scopes - SCOPES.keys())
    if unknown or not scopes:
        raise InvalidInput(
            f"'{unknown[0][:32]}' is not a scope" if unknown else "an API key needs a scope",
            field="scopes",
            remedy=f"use one or more of {', '.join(SCOPES)}",
        )
    return scopes
