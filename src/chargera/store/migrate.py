"""Migrations: the database's schema as a row of numbered steps that only go forward.

A step is a file in `migrations/`:

- `NNNN_name.sql`: our own SQL;
- `NNNN_name.toml`: steps that an installed package brings, pinned by their digest:
  `package`, `folder` (inside the package), `after` (last file of the step before, or "" for the
  beginning), `last` (file names, both compared as text) and `sha256` of the joined files.

Each is applied in one transaction under an advisory lock and recorded in `schema_migration` with
the digest of its SQL. Processes that start together therefore apply each step once. Refused are:
a database that is newer than this program, a recorded step whose SQL has changed since, a step
that is missing in the middle, and a package whose own steps differ from what was pinned.
"""

import hashlib
import importlib.util
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from chargera.domain.errors import Refused
from chargera.store.connection import database_errors

MIGRATIONS = Path(__file__).with_name("migrations")
LOCK_KEY = 0x43_68_61_72_67_45_72_61
"""Key of the advisory lock: "ChargEra" in ASCII."""

_FILE_NAME = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.(?:sql|toml)")
_RECORD_TABLE = """
create table if not exists schema_migration (
    version int primary key,
    name text not null,
    sha256 text not null,
    applied_at timestamptz not null default now()
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema."""

    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Digest of the SQL, hexadecimal."""
        return _digest(self.sql)

    def __str__(self) -> str:
        return f"{self.version:04d}_{self.name}"


@dataclass(frozen=True, slots=True)
class PackagedSteps:
    """Where a migration takes its SQL from, if not from its own file."""

    package: str
    folder: str
    after: str
    last: str
    sha256: str


def load(folder: Path = MIGRATIONS) -> tuple[Migration, ...]:
    """Read all migrations in `folder`, by their numbers.

    Raises: Refused, when numbers are not 1, 2, 3 ..., or when an installed package does not bring
    the steps that a file pins, or brings more of them than the last such file knows.
    """
    migrations: list[Migration] = []
    newest: dict[str, PackagedSteps] = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix in {".sql", ".toml"}):
        match = _FILE_NAME.fullmatch(path.name)
        expected = len(migrations) + 1
        if match is None or int(match["version"]) != expected:
            raise Refused(
                f"migration {path.name} is out of order",
                remedy=f"name it {expected:04d}_name.sql with a name in a-z, 0-9 and _",
            )
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            steps = PackagedSteps(**tomllib.loads(text))
            newest[steps.package] = steps
            text = _packaged_sql(path.name, steps)
        migrations.append(Migration(expected, match["name"], text))
    for steps in newest.values():
        unknown = [path.name for path in _package_files(steps) if path.name > steps.last]
        if unknown:
            raise Refused(
                f"the installed {steps.package} has schema steps that no migration names: "
                + ", ".join(unknown),
                remedy=f"add a migration after {steps.last}, or install the pinned version",
            )
    return tuple(migrations)


async def plan(
    connection: AsyncConnection[Any], migrations: Sequence[Migration] | None = None
) -> list[Migration]:
    """Return the migrations that `apply` would apply, without changing anything.

    Raises: Refused, as `apply` would.
    """
    known = load() if migrations is None else migrations
    with database_errors():
        async with connection.transaction():
            return _pending(await _recorded(connection), known)


async def apply(
    connection: AsyncConnection[Any],
    migrations: Sequence[Migration] | None = None,
    on_applied: Callable[[Migration], None] = lambda migration: None,
) -> list[Migration]:
    """Bring the database to the newest schema; return what was applied, in order.

    `connection` must not be in a transaction. Each step is durable when `on_applied` is called.

    Raises: Refused, when the database is newer or not what was recorded, or when a step fails (it
    is then rolled back, the ones before it stay); Unavailable, when the database does not answer.
    """
    assert connection.info.transaction_status is TransactionStatus.IDLE, "commit first"
    known = load() if migrations is None else migrations
    applied: list[Migration] = []
    with database_errors():
        while (migration := await _apply_next(connection, known)) is not None:
            applied.append(migration)
            on_applied(migration)
    return applied


async def _apply_next(
    connection: AsyncConnection[Any], known: Sequence[Migration]
) -> Migration | None:
    async with connection.transaction():
        # To the end of this transaction: whoever waits reads afterwards what we recorded.
        await connection.execute("set local lock_timeout = 0")
        await connection.execute("set local statement_timeout = 0")
        await connection.execute("select pg_advisory_xact_lock(%s)", (LOCK_KEY,))
        pending = _pending(await _recorded(connection), known)
        if not pending:
            return None
        migration = pending[0]
        try:
            await connection.execute(_RECORD_TABLE)
            await connection.execute(migration.sql.encode())
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise Refused(
                f"migration {migration} failed and was rolled back: {error}",
                remedy="the database's role must own the database; else report this",
            ) from error
        await connection.execute(
            "insert into schema_migration (version, name, sha256) values (%s, %s, %s)",
            (migration.version, migration.name, migration.sha256),
        )
    return migration


async def _recorded(connection: AsyncConnection[Any]) -> dict[int, tuple[str, str]]:
    """Return name and digest of each applied version."""
    found = await (await connection.execute("select to_regclass('schema_migration')")).fetchone()
    if found is None or found[0] is None:
        return {}
    cursor = await connection.execute("select version, name, sha256 from schema_migration")
    return {version: (name, digest) for version, name, digest in await cursor.fetchall()}


def _pending(recorded: dict[int, tuple[str, str]], known: Sequence[Migration]) -> list[Migration]:
    newest = max(recorded, default=0)
    if newest > len(known):
        raise Refused(
            f"the database has schema {newest} ({recorded[newest][0]}), this program knows "
            f"{len(known)}",
            remedy="run a newer ChargEra, or restore a backup into an empty database",
        )
    for migration in known[:newest]:
        if migration.version not in recorded:
            raise Refused(
                f"migration {migration} was skipped in this database",
                remedy="restore a backup into an empty database",
            )
        name, digest = recorded[migration.version]
        if digest != migration.sha256:
            raise Refused(
                f"migration {migration} is not the one that was applied ({name}, {digest})",
                remedy="never edit an applied migration; add a new one",
            )
    return list(known[newest:])


def _packaged_sql(source: str, steps: PackagedSteps) -> str:
    files = [p for p in _package_files(steps) if steps.after < p.name <= steps.last]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    if not files or files[-1].name != steps.last or _digest(text) != steps.sha256:
        raise Refused(
            f"the installed {steps.package} does not bring the schema steps of {source}: "
            f"their digest is {_digest(text)}",
            remedy="install the pinned version (requirements/base.txt)",
        )
    return text


def _package_files(steps: PackagedSteps) -> list[Path]:
    spec = importlib.util.find_spec(steps.package)
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise Refused(
            f"the package {steps.package} is not installed", remedy="install the requirements"
        )
    return sorted((Path(next(iter(places))) / steps.folder).glob("*.sql"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
