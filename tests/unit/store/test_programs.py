"""The wheel is found without being imported, and permission bits are read as others see them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chargera.domain.errors import Refused
from chargera.store.programs import PACKAGE, Programs, installed, is_open, readable_by_others


def make(site: Path) -> Programs:
    """Make an installation of small files that nobody else can read."""
    programs = Programs(site)
    for part in ("lib/postgresql/pgxs", "share", "bin"):
        (programs.postgres.parents[1] / part).mkdir(parents=True)
    (site / f"{PACKAGE}.libs").mkdir()
    for path in (
        *(programs.postgres, programs.initdb, programs.pg_dump, programs.pg_restore),
        programs.postgres.parents[1] / "share" / "postgres.bki",
        programs.postgres.parents[1] / "lib" / "postgresql" / "pgxs" / "Makefile",
        site / f"{PACKAGE}.libs" / "libpq.so",
    ):
        path.write_text(path.name)
        path.chmod(0o700)
    return programs


@pytest.fixture
def opened(tmp_path: Path) -> Path:
    """A folder that others could enter, if they could enter those above."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.geteuid() and folder.is_relative_to("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o011)
    return tmp_path


def test_installed__does_not_import_the_wheel() -> None:
    program = (
        "import sys; from chargera.store.programs import installed\n"
        f"assert installed().postgres.is_file() and {PACKAGE!r} not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_installed__has_all_programs_that_are_named() -> None:
    programs = installed()
    for path in (programs.postgres, programs.initdb, programs.pg_dump, programs.pg_restore):
        assert os.access(path, os.X_OK)


def test_is_open__every_folder_above_counts(opened: Path) -> None:
    path = opened / "folder" / "file"
    path.parent.mkdir(mode=0o711)
    path.touch(0o755)
    assert is_open(path, executable=True)
    path.chmod(0o744)
    assert is_open(path)
    assert not is_open(path, executable=True)
    path.chmod(0o711)
    assert not is_open(path)
    path.chmod(0o755)
    path.parent.chmod(0o700)
    assert not is_open(path)
    assert not is_open(path.parent / "absent", exists=False)


def test_readable_by_others__open_installation__is_used_as_it_is(opened: Path) -> None:
    programs = make(opened / "site")
    for path in opened.rglob("*"):
        path.chmod(0o755)
    with readable_by_others(programs, opened) as used:
        assert used == programs


def test_readable_by_others__closed_installation__one_copy_for_all_its_users(opened: Path) -> None:
    (opened / "site").mkdir(mode=0o700)
    programs, temporary = make(opened / "site"), opened / "temporary"
    temporary.mkdir(mode=0o777)
    with readable_by_others(programs, temporary) as first:
        assert is_open(first.postgres, executable=True)
        assert is_open(first.initdb, executable=True)
        assert not first.pg_dump.exists()
        names = {path.name for path in first.site.rglob("*") if path.is_file()}
        assert names == {"postgres", "initdb", "postgres.bki", "libpq.so"}
        with readable_by_others(programs, temporary) as second:
            assert second == first
        assert first.postgres.exists()
    assert list(temporary.iterdir()) == []


def test_readable_by_others__name_taken_by_what_others_can_write__is_refused(opened: Path) -> None:
    (opened / "site").mkdir(mode=0o700)
    programs, temporary = make(opened / "site"), opened / "temporary"
    temporary.mkdir(mode=0o777)
    with readable_by_others(programs, temporary) as used:
        place = used.site
    place.mkdir()
    place.chmod(0o777)
    with (
        pytest.raises(Refused, match="belongs to somebody else"),
        readable_by_others(programs, temporary),
    ):
        pass


def test_readable_by_others__closed_temporary_folder__is_refused(opened: Path) -> None:
    (opened / "site").mkdir(mode=0o700)
    programs, temporary = make(opened / "site"), opened / "temporary"
    temporary.mkdir(mode=0o700)
    with (
        pytest.raises(Refused, match="runs no programs for them"),
        readable_by_others(programs, temporary),
    ):
        pass
