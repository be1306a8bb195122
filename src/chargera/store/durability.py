"""What a database must promise before we acknowledge anything that is stored in it.

A station that was answered deletes its copy, so a commit must be on stable storage when it
returns. PostgreSQL promises that only with these settings, and a kill test cannot tell whether it
does (the operating system's cache survives a kill), so they are read at each start and a weaker
database is refused by the name of the setting:

- `fsync`: off, and a power cut may corrupt the whole database.
- `full_page_writes`: off, and a power cut may tear a page that the log then cannot repair.
- `synchronous_commit`: off, and a crash loses the last commits. `on`, `remote_apply` and
  `remote_write` all wait for our own disk. `local` does too and is the same as `on` as long as no
  `synchronous_standby_names` are set; where they are, the operator wants a commit to survive the
  loss of the primary, and `local` would acknowledge what the standby has never seen: refused.
- Not only in this session: where our role or the database overrides `synchronous_commit` with
  something weaker, an address that happens to set it for itself saves only who uses that address.

Beside that: the version (tested from 14), UTF-8 (station texts are Unicode), and that the server
can be written to.
"""

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from chargera.domain.errors import Refused
from chargera.store.connection import database_errors

VERSION_MIN = 14
_DURABLE_COMMIT = frozenset({"on", "true", "yes", "1", "remote_apply", "remote_write"})

_SETTINGS = """
select name, setting, source from pg_settings where name in ('fsync', 'full_page_writes',
    'synchronous_commit', 'synchronous_standby_names', 'server_version_num', 'server_encoding')
"""
_OVERRIDES = """
select r.rolname, d.datname, split_part(c.setting, '=', 2)
from pg_db_role_setting s
    cross join lateral unnest(s.setconfig) as c(setting)
    left join pg_roles r on r.oid = s.setrole
    left join pg_database d on d.oid = s.setdatabase
where c.setting like 'synchronous\\_commit=%'
    and coalesce(r.rolname, session_user) = session_user
    and coalesce(d.datname, current_database()) = current_database()
order by 1, 2
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that makes a database unfit, in PostgreSQL's words."""

    setting: str
    value: str
    why: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database says about itself."""

    settings: dict[str, str]
    """Values in this session, by name."""
    sources: dict[str, str]
    """Where each value comes from, as in `pg_settings.source`."""
    overrides: tuple[tuple[str | None, str | None, str], ...]
    """Role, database (None = any) and value of each override of `synchronous_commit` for us."""
    is_standby: bool


async def check(connection: AsyncConnection[Any]) -> Facts:
    """Read what the database promises; return it if that is enough.

    Raises: Refused, naming each setting with its value, why it matters and what to do, `field` is
    the first of them; Unavailable, when the database does not answer.
    """
    facts = await read(connection)
    if found := faults(facts):
        raise Refused(
            "this database may lose what was acknowledged: "
            + "; ".join(f"{fault.setting} = {fault.value} ({fault.why})" for fault in found),
            field=found[0].setting,
            remedy="; ".join(dict.fromkeys(fault.remedy for fault in found)),
        )
    return facts


async def read(connection: AsyncConnection[Any]) -> Facts:
    """Ask the database for its settings; Unavailable if it does not answer."""
    with database_errors():
        async with connection.transaction():
            rows = await (await connection.execute(_SETTINGS)).fetchall()
            overrides = await (await connection.execute(_OVERRIDES)).fetchall()
            standby = await (await connection.execute("select pg_is_in_recovery()")).fetchone()
    return Facts(
        settings={name: value for name, value, _ in rows},
        sources={name: source for name, _, source in rows},
        overrides=tuple((role, database, value) for role, database, value in overrides),
        is_standby=bool(standby and standby[0]),
    )


def faults(facts: Facts) -> list[Fault]:
    """Return all that makes a database with these facts unfit, the worst first."""
    found = [
        Fault(
            name,
            facts.settings[name],
            why,
            f"set {name} = on (postgresql.conf or ALTER SYSTEM) and reload",
        )
        for name, why in (
            ("fsync", "a power cut may destroy everything"),
            ("full_page_writes", "a power cut may tear pages"),
        )
        if facts.settings[name] != "on"
    ]
    found.extend(_commit_faults(facts))
    version = int(facts.settings["server_version_num"])
    if version < VERSION_MIN * 10_000:
        found.append(
            Fault(
                "server_version",
                f"{version // 10_000}.{version % 10_000}",
                f"older than {VERSION_MIN}",
                f"use PostgreSQL {VERSION_MIN} or newer",
            )
        )
    if facts.settings["server_encoding"] != "UTF8":
        encoding = facts.settings["server_encoding"]
        remedy = "create the database with ENCODING 'UTF8'"
        found.append(Fault("server_encoding", encoding, "texts of stations are Unicode", remedy))
    if facts.is_standby:
        remedy = "connect to the primary (target_session_attrs=read-write)"
        found.append(Fault("pg_is_in_recovery", "on", "a standby cannot be written to", remedy))
    return found


def _commit_faults(facts: Facts) -> list[Fault]:
    """Return what is wrong with `synchronous_commit`: where it is overridden, else in general."""
    setting, why = "synchronous_commit", "a commit returns before it is safe"
    found = [
        Fault(setting, value, why, f"ALTER {_target(role, database)} RESET {setting}")
        for role, database, value in facts.overrides
        if not _is_durable(value, facts)
    ]
    value = facts.settings[setting]
    if not found and not _is_durable(value, facts):
        general = f"set {setting} = on (postgresql.conf or ALTER SYSTEM) and reload"
        found.append(
            Fault(setting, value, why, _REMEDY_BY_SOURCE.get(facts.sources[setting], general))
        )
    return found


def _is_durable(value: str, facts: Facts) -> bool:
    has_standbys = bool(facts.settings["synchronous_standby_names"].strip())
    return value.lower() in _DURABLE_COMMIT or (value.lower() == "local" and not has_standbys)


def _target(role: str | None, database: str | None) -> str:
    if role is None:
        return "ROLE ALL" if database is None else f"DATABASE {database}"
    return f"ROLE {role}" if database is None else f"ROLE {role} IN DATABASE {database}"


_REMEDY_BY_SOURCE = {
    "client": "take synchronous_commit out of the database's address and of PGOPTIONS",
    "environment variable": "take synchronous_commit out of the server's environment",
}
"""What to do about a value that neither a file nor a role nor a database gives."""
