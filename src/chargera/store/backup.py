"""Backup and restore: the database, the keys and the signer's memory as one checked archive.

    manifest.json       format, when and of what it was made, digest of every other member
    files/...           keys, the signer's last head, settings: read before the database
    database.dump       pg_dump's custom format, of one moment

The files are read first, so the database in an archive has at least the entries of the signer's
last head. Tiles are left out: the sequencer makes them anew from the entries. A restore never
turns a log back: where a head is known that the archive does not reach, it refuses.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from chargera.domain.errors import Conflict, NotFound, Refused, Unavailable, Unreadable
from chargera.proofs.checkpoint import parse_checkpoint
from chargera.store import migrate
from chargera.store.connection import UNLIMITED, connect
from chargera.store.programs import installed
from chargera.store.unit_of_work import Database

FORMAT = "chargera.backup/1"
MANIFEST = "manifest.json"
DUMP = "database.dump"
FILES = "files"
LAST_HEAD = "signer/last-head"
KEPT = (
    *("chargera.toml", "clock.json", "link.key", "signer", "tls", "keys"),
    *("attester-1", "attester-2", "attester-3", "attester-4"),
)
"""What of the data folder cannot be made anew: files and folders."""
SKIPPED_NAMES = frozenset({"lock"})

FILE_BYTES_MAX = 16 * 2**20
FILES_MAX = 1_000
MANIFEST_BYTES_MAX = 2**20
CHUNK = 2**20

_PASSED_ON = {"PATH", "LD_LIBRARY_PATH", "TMPDIR", "SSL_CERT_FILE"}


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored."""

    made_at: str
    log_origin: str
    log_size: int
    head_size: int
    files: tuple[str, ...]


async def archive(database: Database, data_dir: Path) -> AsyncIterator[bytes]:
    """Make an archive of a running server and yield it in pieces.

    Raises Unavailable if the database cannot be dumped, before the first piece.
    """
    files = await asyncio.to_thread(_read_files, data_dir)
    facts = await _facts(database)
    with tempfile.TemporaryDirectory(prefix="chargera-backup-", dir=data_dir) as folder:
        dump = Path(folder) / DUMP
        await asyncio.to_thread(
            _run, "pg_dump", database.url, ["--format=custom", f"--file={dump}"]
        )
        manifest = await asyncio.to_thread(_manifest, files, dump, facts)
        pieces = _tar(manifest, files, dump)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece


async def restore(
    file: Path, database_url: str, data_dir: Path, known_checkpoint: bytes | None = None
) -> Restored:
    """Restore an archive into an empty database and a data folder whose server does not run.

    `known_checkpoint` is a signed head of the log that somebody kept.

    Raises Unreadable for a damaged archive, Conflict if the database is not empty, Refused if a
    head is known that the archive does not reach.
    """
    with tempfile.TemporaryDirectory(prefix="chargera-restore-", dir=data_dir) as folder:
        unpacked = Path(folder)
        manifest = await asyncio.to_thread(_unpack, file, unpacked)
        _require_newest(manifest, data_dir, known_checkpoint)
        await _require_empty(database_url)
        arguments = ["--exit-on-error", "--single-transaction", str(unpacked / DUMP)]
        await asyncio.to_thread(_run, "pg_restore", database_url, arguments)
        log_size = await _check_restored(database_url, manifest)
        names = await asyncio.to_thread(_put_files, unpacked / FILES, data_dir)
    return Restored(
        manifest["made_at"], manifest["log_origin"], log_size, _head_size(manifest), tuple(names)
    )


# Making ----------------------------------------------------------------------------------------


def _read_files(data_dir: Path) -> dict[str, bytes]:
    """Return the files to keep by their path below the data folder."""
    files: dict[str, bytes] = {}
    for name in KEPT:
        place = data_dir / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and path.name not in SKIPPED_NAMES:
                files[path.relative_to(data_dir).as_posix()] = path.read_bytes()
    return files


async def _facts(database: Database) -> dict[str, Any]:
    async with database.work() as work:
        cursor = await work.connection.execute(
            "select n.operator_id, n.log_origin, h.size from network n, log_head h"
        )
        row = await cursor.fetchone()
    if row is None:
        raise NotFound("the network was never started", remedy="start the server first")
    return {"operator_id": row[0], "log_origin": row[1], "log_size_at_least": row[2]}


def _manifest(files: Mapping[str, bytes], dump: Path, facts: Mapping[str, Any]) -> bytes:
    members = [
        {"name": f"{FILES}/{name}", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    ]
    with dump.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    members.append({"name": DUMP, "bytes": dump.stat().st_size, "sha256": digest})
    head = files.get(LAST_HEAD)
    document = {
        **facts,
        "format": FORMAT,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "head": None if head is None else head.decode(),
        "members": members,
    }
    return json.dumps(document, indent=1, sort_keys=True).encode()


def _tar(manifest: bytes, files: Mapping[str, bytes], dump: Path) -> Iterator[bytes]:
    """Yield a tar archive; each member's header, then its bytes, padded to whole blocks."""
    for name, data in [(MANIFEST, manifest), *((f"{FILES}/{n}", d) for n, d in files.items())]:
        yield _header(name, len(data)) + data + _padding(len(data))
    size = dump.stat().st_size
    yield _header(DUMP, size)
    with dump.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
    yield _padding(size) + bytes(2 * tarfile.BLOCKSIZE)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


# Restoring -------------------------------------------------------------------------------------


def _unpack(file: Path, target: Path) -> dict[str, Any]:
    """Write the members to `target` and return the manifest that they agree with."""
    try:
        with tarfile.open(file, "r:") as tar:
            manifest = _read_manifest(tar)
            expected = {member["name"]: member for member in manifest["members"]}
            for info in tar:
                if info.name == MANIFEST:
                    continue
                member = expected.pop(info.name, None)
                if member is None or not info.isreg() or info.size != member["bytes"]:
                    raise _damaged(f"its member {info.name[:100]!r} is not in its manifest")
                _copy(tar, info, target, member["sha256"])
    except (OSError, tarfile.TarError, KeyError, TypeError, ValueError) as error:
        raise _damaged(str(error)) from error
    if expected:
        raise _damaged(f"{min(expected)} is missing")
    return manifest


def _read_manifest(tar: tarfile.TarFile) -> dict[str, Any]:
    info = tar.next()
    stream = tar.extractfile(info) if info is not None and info.name == MANIFEST else None
    if info is None or stream is None or info.size > MANIFEST_BYTES_MAX:
        raise _damaged("it does not begin with a manifest")
    manifest = json.loads(stream.read())
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise _damaged(f"its format is not {FORMAT}")
    if len(manifest["members"]) > FILES_MAX:
        raise _damaged("it has too many members")
    return manifest


def _copy(tar: tarfile.TarFile, info: tarfile.TarInfo, target: Path, sha256: str) -> None:
    name = PurePosixPath(info.name)
    kept = name.parts[0] == FILES and len(name.parts) > 1 and name.parts[1] in KEPT
    if ".." in name.parts or name.is_absolute() or not (kept or info.name == DUMP):
        raise _damaged(f"{info.name[:100]!r} has no place in a backup")
    if kept and info.size > FILE_BYTES_MAX:
        raise _damaged(f"{info.name[:100]!r} is too large")
    path = target / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source, digest = tar.extractfile(info), hashlib.sha256()
    assert source is not None, "it is a regular file"
    with path.open("wb") as file:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != sha256:
        raise _damaged(f"{info.name} is not what its manifest says")


def _require_newest(
    manifest: Mapping[str, Any], data_dir: Path, known_checkpoint: bytes | None
) -> None:
    """Refuse to turn the log back behind a head that was signed."""
    memory = data_dir / LAST_HEAD
    known = [known_checkpoint, memory.read_bytes() if memory.exists() else None]
    heads = [parse_checkpoint(note) for note in known if note is not None]
    for head in heads:
        if head.origin != manifest["log_origin"]:
            raise Refused(
                f"the archive is of the log {manifest['log_origin']}, not of {head.origin}",
                remedy="restore it into a data folder of its own",
            )
        if head.size > manifest["log_size_at_least"]:
            raise Refused(
                f"a head of {head.size} entries was signed, the archive has about"
                f" {manifest['log_size_at_least']}: entries would be lost that the log promised",
                field="file",
                remedy="find a newer backup; with none, begin a new log under another origin",
            )


async def _require_empty(database_url: str) -> None:
    async with await connect(database_url, limits=UNLIMITED) as connection:
        cursor = await connection.execute(
            "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname = 'public' and c.relkind = 'r'"
        )
        row = await cursor.fetchone()
    if row is None or row[0]:
        raise Conflict(
            "the database is not empty",
            field="data_dir",
            remedy="restore into a new data folder, or into an empty database",
        )


async def _check_restored(database_url: str, manifest: Mapping[str, Any]) -> int:
    """Return the size of the restored log; Refused if it does not reach the head."""
    async with await connect(database_url, limits=UNLIMITED) as connection:
        await migrate.plan(connection)
        cursor = await connection.execute(
            "select h.size, (select count(*) from log_entry) from log_head h"
        )
        row = await cursor.fetchone()
    if row is None or row[0] != row[1] or row[0] < _head_size(manifest):
        raise Refused(
            "the restored log does not have the entries of its signed head",
            remedy="use another backup, in a new data folder",
        )
    return int(row[0])


def _put_files(source: Path, data_dir: Path) -> list[str]:
    """Move the restored files to their places, readable by us alone."""
    names = []
    for path in sorted(source.rglob("*")):
        if path.is_file():
            name = path.relative_to(source)
            target = data_dir / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(0o600)
            path.replace(target)
            names.append(name.as_posix())
    return names


def _head_size(manifest: Mapping[str, Any]) -> int:
    head = manifest["head"]
    return 0 if head is None else parse_checkpoint(head.encode()).size


def _damaged(fault: str) -> Unreadable:
    return Unreadable(
        f"this is no backup, or a damaged one: {fault}", field="file", remedy="use another copy"
    )


# PostgreSQL's own programs ---------------------------------------------------------------------


def _run(program: str, database_url: str, arguments: list[str]) -> None:
    """Run pg_dump or pg_restore of the installed wheel; the password goes by the environment."""
    programs = installed()
    path = programs.pg_dump if program == "pg_dump" else programs.pg_restore
    address, environment = _address(database_url)
    done = subprocess.run(  # noqa: S603 - our own program, no shell
        [
            str(path),
            "--no-owner",
            "--no-privileges",
            "--no-password",
            f"--dbname={address}",
            *arguments,
        ],
        env=environment,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        fault = done.stderr.decode("utf-8", "replace").strip()[-500:]
        raise Unavailable(
            f"{program} failed: {fault}",
            remedy="see the database's log; the server may be newer than this program",
        )


def _address(database_url: str) -> tuple[str, dict[str, str]]:
    """Return the address without its password, and an environment that has it."""
    parts = conninfo_to_dict(database_url)
    password = parts.pop("password", None)
    environment = {name: value for name, value in os.environ.items() if name in _PASSED_ON}
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    text = " ".join(f"{name}={_quoted(str(value))}" for name, value in parts.items())
    return text, environment


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
