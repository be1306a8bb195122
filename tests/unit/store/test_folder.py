"""Nothing that a folder's owner puts into it makes us touch a file outside."""

import os
import stat
from pathlib import Path

import pytest

from chargera.store.account import Account
from chargera.store.folder import OwnedFolder


@pytest.fixture
def folder(tmp_path: Path) -> OwnedFolder:
    folder = OwnedFolder(tmp_path / "owned", None)
    folder.make()
    return folder


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("secret")
    path.chmod(0o644)
    return path


def state(path: Path) -> tuple[str, int, int, int]:
    facts = path.stat()
    return path.read_text(), facts.st_mode, facts.st_uid, facts.st_ino


def test_make__closes_a_folder_that_exists(tmp_path: Path) -> None:
    (tmp_path / "owned").mkdir(mode=0o755)
    OwnedFolder(tmp_path / "owned", None).make()
    assert stat.S_IMODE((tmp_path / "owned").stat().st_mode) == 0o700


def test_make__a_link_or_a_file_is_no_folder(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "target").mkdir(mode=0o755)
    (tmp_path / "owned").symlink_to(tmp_path / "target")
    for name in ("owned", "secret"):
        with pytest.raises(OSError):
            OwnedFolder(tmp_path / name, None).make()
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o755
    assert stat.S_IMODE(secret.stat().st_mode) == 0o644


def test_files__are_written_read_renamed_and_removed(folder: OwnedFolder) -> None:
    assert folder.lines("a") == []
    folder.append("a", "one\n")
    folder.append("a", "two\n")
    assert folder.lines("a") == ["one", "two"]
    folder.replace("a", "three\n")
    assert folder.lines("a") == ["three"]
    assert stat.S_IMODE((folder.path / "a").stat().st_mode) == 0o600
    folder.rename("a", "b")
    assert folder.lines("b") == ["three"]
    folder.remove("b")
    folder.remove("b")
    assert list(folder.path.iterdir()) == []


def test_links__are_never_followed(folder: OwnedFolder, secret: Path) -> None:
    before = state(secret)
    (folder.path / "link").symlink_to(secret)
    for call in (
        lambda: folder.append("link", "x"),
        lambda: os.close(folder.open("link", os.O_RDONLY)),
        lambda: folder.lines("link"),
    ):
        with pytest.raises(OSError):
            call()
    (folder.path / "new.part").symlink_to(secret)
    folder.replace("new", "mine")
    assert (folder.path / "new").read_text() == "mine"
    folder.replace("link", "mine")
    assert not (folder.path / "link").is_symlink()
    assert state(secret) == before


def test_remove__takes_the_link_and_leaves_its_target(folder: OwnedFolder, secret: Path) -> None:
    (folder.path / "link").symlink_to(secret)
    folder.remove("link")
    assert not (folder.path / "link").is_symlink()
    assert secret.read_text() == "secret"


def test_remove__in_a_folder_that_is_missing__is_nothing(tmp_path: Path) -> None:
    OwnedFolder(tmp_path / "missing", None).remove("a")
    assert OwnedFolder(tmp_path / "missing", None).lines("a") == []


def test_hand_over__to_ourselves_changes_nothing(folder: OwnedFolder) -> None:
    folder.append("a", "one")
    before = state(folder.path / "a")
    folder.hand_over()
    assert state(folder.path / "a") == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_hand_over__gives_links_but_not_their_targets(tmp_path: Path, secret: Path) -> None:
    account = Account(60578, 60578)
    OwnedFolder(tmp_path / "owned", None).make()
    inner = tmp_path / "owned" / "inner"
    inner.mkdir()
    (inner / "link").symlink_to(secret)
    (inner / "file").touch()
    before = state(secret)
    OwnedFolder(tmp_path / "owned", account).hand_over()
    for path in (tmp_path / "owned", inner, inner / "link", inner / "file"):
        assert (path.lstat().st_uid, path.lstat().st_gid) == account
    assert state(secret) == before
    assert tmp_path.stat().st_uid == 0
