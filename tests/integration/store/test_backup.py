"""A backup restores to the same log; damage, a used database and a newer head are refused."""

import hashlib
import json
import tarfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from chargera.app.clock import NetworkClock, SystemEntropy
from chargera.app.ports import NewEntry
from chargera.domain.errors import ChargEraError, Conflict, NotFound, Refused, Unreadable
from chargera.eventlog.custody import open_key
from chargera.proofs.checkpoint import Checkpoint, sign_checkpoint
from chargera.proofs.entry import EntryKind
from chargera.store.backup import archive, restore
from chargera.store.unit_of_work import Database

ORIGIN = "log.test/backup/1"
NOW = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)


async def write(database: Database, count: int) -> None:
    async with database.work() as work:
        for number in range(count):
            work.append(NewEntry(EntryKind.POLICY_CHANGED, None, None, {"n": number}, NOW))
        await work.commit()


def head(data_dir: Path, size: int, origin: str = ORIGIN) -> bytes:
    """Sign a head as the log's own signer would."""
    key = open_key(data_dir / "signer", ORIGIN, SystemEntropy())
    if origin != ORIGIN:
        key = type(key)(type(key.verifier)(origin, key.verifier.public_key), key.sign)
    return sign_checkpoint(Checkpoint(origin, size, bytes(32)), key.verifier, key.sign)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    clock = NetworkClock(lambda: NOW, lambda: 0.0, manual=True)
    opened = Database(database_url, clock, SystemEntropy())
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def made(database: Database, tmp_path: Path) -> dict[str, Any]:
    """A network of three entries, its data folder and its archive."""
    data_dir = tmp_path / "old"
    data_dir.mkdir()
    async with database.work() as work:
        await work.connection.execute(
            "insert into network (operator_id, log_origin, created_at) values ('NL*C4E', %s, %s)",
            [ORIGIN, NOW],
        )
        await work.commit()
    await write(database, 3)
    (data_dir / "signer").mkdir(mode=0o700)
    note = head(data_dir, 3)
    (data_dir / "signer" / "last-head").write_bytes(note)
    (data_dir / "signer" / "lock").touch()
    (data_dir / "chargera.toml").write_text('[operator]\nid = "NL*C4E"\n')
    (data_dir / "serve.json").write_text('{"api_key": "secret"}')
    file = tmp_path / "backup.tar"
    file.write_bytes(b"".join([piece async for piece in archive(database, data_dir)]))
    return {"data_dir": data_dir, "file": file, "note": note}


async def test_restore__brings_everything_back(
    made: dict[str, Any], database: Database, empty_database_url: str, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    restored = await restore(made["file"], empty_database_url, new, made["note"])
    assert (restored.log_origin, restored.log_size, restored.head_size) == (ORIGIN, 3, 3)
    assert restored.files == ("chargera.toml", "signer/key.pem", "signer/last-head")
    for name in restored.files:
        assert (new / name).read_bytes() == (made["data_dir"] / name).read_bytes()
        assert (new / name).stat().st_mode & 0o077 == 0
    query = "select * from log_entry order by log_index"
    with psycopg.connect(empty_database_url) as copy, psycopg.connect(database.url) as original:
        assert copy.execute(query).fetchall() == original.execute(query).fetchall()
    assert list(new.iterdir()) != []
    assert not [path for path in new.iterdir() if path.name.startswith("chargera-")]


async def test_archive__has_no_session_secret_and_says_what_it_is_of(made: dict[str, Any]) -> None:
    with tarfile.open(made["file"]) as tar:
        names = tar.getnames()
        manifest = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
    assert names[0] == "manifest.json"
    assert names[-1] == "database.dump"
    assert "files/serve.json" not in names
    assert "files/signer/lock" not in names
    assert manifest["log_origin"] == ORIGIN
    assert manifest["head"] == made["note"].decode()


async def test_archive__before_the_first_start_there_is_nothing_to_keep(
    database: Database, tmp_path: Path
) -> None:
    with pytest.raises(NotFound):
        await anext(archive(database, tmp_path))


@pytest.mark.parametrize("where", ["kept by somebody", "remembered by the signer"])
async def test_restore__never_behind_a_head_that_was_signed(
    made: dict[str, Any], empty_database_url: str, tmp_path: Path, where: str
) -> None:
    new = tmp_path / "new"
    (new / "signer").mkdir(parents=True)
    newer = head(made["data_dir"], 5)
    known = newer if where.startswith("kept") else None
    if known is None:
        (new / "signer" / "last-head").write_bytes(newer)
    with pytest.raises(Refused, match="a head of 5 entries was signed, the archive has about 3"):
        await restore(made["file"], empty_database_url, new, known)
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select to_regclass('log_entry')").fetchone() == (None,)


async def test_restore__of_another_log_is_refused(
    made: dict[str, Any], empty_database_url: str, tmp_path: Path
) -> None:
    other = head(made["data_dir"], 1, "log.test/other/1")
    with pytest.raises(Refused, match="is of the log"):
        await restore(made["file"], empty_database_url, tmp_path, other)


async def test_restore__only_into_an_empty_database(
    made: dict[str, Any], database_url: str, tmp_path: Path
) -> None:
    with pytest.raises(Conflict, match="not empty"):
        await restore(made["file"], database_url, tmp_path)


def _rewritten(file: Path, target: Path, change: Any) -> Path:
    """Copy an archive; `change` gets {name: bytes} and may do anything with it."""
    with tarfile.open(file) as tar:
        members = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
    change(members)
    with tarfile.open(target, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            import io

            tar.addfile(info, io.BytesIO(data))
    return target


def _flip(members: dict[str, bytes]) -> None:
    members["database.dump"] = members["database.dump"][:-1] + b"?"


def _drop(members: dict[str, bytes]) -> None:
    del members["files/signer/key.pem"]


def _add(members: dict[str, bytes]) -> None:
    members["files/signer/other.pem"] = b"x"


def _no_manifest(members: dict[str, bytes]) -> None:
    del members["manifest.json"]


def _other_format(members: dict[str, bytes]) -> None:
    members["manifest.json"] = b'{"format": "other/1", "members": []}'


def _too_many(members: dict[str, bytes]) -> None:
    manifest = json.loads(members["manifest.json"])
    manifest["members"] *= 1_000
    members["manifest.json"] = json.dumps(manifest).encode()


def _escape(members: dict[str, bytes], name: str = "files/signer/../../escaped") -> None:
    manifest = json.loads(members["manifest.json"])
    manifest["members"].append(
        {"name": name, "bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()}
    )
    members["manifest.json"] = json.dumps(manifest).encode()
    members[name] = b"x"


def _stranger(members: dict[str, bytes]) -> None:
    _escape(members, "files/.bashrc")


def _not_enough(members: dict[str, bytes]) -> None:
    manifest = json.loads(members["manifest.json"])
    manifest["head"] = manifest["head"].replace("\n3\n", "\n9\n")
    members["manifest.json"] = json.dumps(manifest).encode()


@pytest.mark.parametrize(
    "change",
    [_flip, _drop, _add, _no_manifest, _other_format, _too_many, _escape, _stranger],
)
async def test_restore__a_damaged_archive_is_unreadable_and_changes_nothing(
    made: dict[str, Any], empty_database_url: str, tmp_path: Path, change: Any
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    file = _rewritten(made["file"], tmp_path / "changed.tar", change)
    with pytest.raises(Unreadable, match="no backup, or a damaged one"):
        await restore(file, empty_database_url, new)
    assert list(new.iterdir()) == []
    assert not (tmp_path / "escaped").exists()
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select to_regclass('log_entry')").fetchone() == (None,)


async def test_restore__no_archive_at_all_is_unreadable(
    empty_database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    for data in (b"", b"hello", bytes(10_240)):
        file.write_bytes(data)
        with pytest.raises(Unreadable):
            await restore(file, empty_database_url, tmp_path)
    with pytest.raises(Unreadable):
        await restore(tmp_path / "none", empty_database_url, tmp_path)


async def test_restore__a_log_that_does_not_reach_its_own_head_is_refused(
    made: dict[str, Any], empty_database_url: str, tmp_path: Path
) -> None:
    file = _rewritten(made["file"], tmp_path / "changed.tar", _not_enough)
    with pytest.raises(Refused, match="does not have the entries of its signed head"):
        await restore(file, empty_database_url, tmp_path)


async def test_a_database_that_cannot_be_dumped_says_so_without_its_password(
    database: Database, made: dict[str, Any]
) -> None:
    database.url = "postgresql://nobody:hunter2@127.0.0.1:1/none"
    with pytest.raises(ChargEraError, match="pg_dump failed") as failed:
        await anext(archive(database, made["data_dir"]))
    assert "hunter2" not in failed.value.message
