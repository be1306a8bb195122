"""Migrations are read from files in order, and a package's own steps are pinned."""

import hashlib
import re
from pathlib import Path

import pytest

from chargera.domain.errors import Refused
from chargera.store.migrate import MIGRATIONS, PackagedSteps, _package_files, load

QUEUE = ("procrastinate", "sql/migrations")


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        stem, _, suffix = name.rpartition("_")
        (folder / f"{stem[1:]}.{suffix}").write_text(text)


def packaged(last: str, digest: str, after: str = "") -> str:
    package, folder = QUEUE
    return (
        f'package = "{package}"\nfolder = "{folder}"\nafter = "{after}"\n'
        f'last = "{last}"\nsha256 = "{digest}"\n'
    )


def queue_files() -> list[Path]:
    return _package_files(PackagedSteps(*QUEUE, after="", last="", sha256=""))


def digest_of(files: list[Path]) -> str:
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return hashlib.sha256(text.encode()).hexdigest()


def test_product__its_migrations_load_and_none_controls_its_transaction() -> None:
    migrations = load()
    assert [migration.version for migration in migrations] == [*range(1, len(migrations) + 1)]
    assert [str(migration) for migration in migrations[:2]] == [
        "0001_initial",
        "0002_procrastinate",
    ]
    for migration in migrations:
        control = re.compile(
            r"^\s*(begin|start transaction|commit|rollback)\s*;", re.IGNORECASE | re.MULTILINE
        )
        assert not control.search(migration.sql), migration


def test_product__its_packaged_files_cover_all_that_the_installed_queue_brings() -> None:
    last = [
        line.partition("=")[2].strip().strip('"')
        for path in sorted(MIGRATIONS.glob("*.toml"))
        for line in path.read_text().splitlines()
        if line.startswith("last")
    ]
    assert last[-1] == queue_files()[-1].name


def test_load__gives_version_name_text_and_its_digest(tmp_path: Path) -> None:
    write(tmp_path, _0001_first_sql="select 1;", _0002_second_one_sql="select 'ü';")
    (tmp_path / "README.md").write_text("not a migration")
    first, second = load(tmp_path)
    assert (first.version, first.name, first.sql) == (1, "first", "select 1;")
    assert (second.version, second.name) == (2, "second_one")
    assert second.sha256 == hashlib.sha256("select 'ü';".encode()).hexdigest()


@pytest.mark.parametrize(
    "names",
    [
        ["0002_a.sql"],
        ["0001_a.sql", "0003_b.sql"],
        ["0001_a.sql", "0001_b.sql"],
        ["1_a.sql"],
        ["0001_A.sql"],
        ["0001_.sql"],
        ["0000_a.sql"],
    ],
)
def test_load__numbers_out_of_order__are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("select 1;")
    with pytest.raises(Refused, match=f"migration {names[-1]} is out of order"):
        load(tmp_path)


def test_load__steps_of_a_package_can_be_continued(tmp_path: Path) -> None:
    files = queue_files()
    write(
        tmp_path,
        _0001_queue_toml=packaged(files[2].name, digest_of(files[:3])),
        _0002_more_toml=packaged(files[-1].name, digest_of(files[3:]), after=files[2].name),
    )
    first, second = load(tmp_path)
    assert first.sha256 == digest_of(files[:3])
    assert second.sha256 == digest_of(files[3:])


def test_load__package_that_differs_from_its_pin__is_refused_with_its_digest(
    tmp_path: Path,
) -> None:
    files = queue_files()
    write(tmp_path, _0001_queue_toml=packaged(files[-1].name, "0" * 64))
    with pytest.raises(Refused, match=digest_of(files)):
        load(tmp_path)


def test_load__last_step_that_the_package_lacks__is_refused(tmp_path: Path) -> None:
    write(tmp_path, _0001_queue_toml=packaged("99.sql", digest_of(queue_files())))
    with pytest.raises(Refused, match="does not bring the schema steps of 0001_queue"):
        load(tmp_path)


def test_load__step_that_no_migration_names__is_refused(tmp_path: Path) -> None:
    files = queue_files()
    write(tmp_path, _0001_queue_toml=packaged(files[-2].name, digest_of(files[:-1])))
    with pytest.raises(Refused, match=files[-1].name):
        load(tmp_path)


def test_load__package_that_is_not_installed__is_refused(tmp_path: Path) -> None:
    text = packaged("1.sql", "").replace("procrastinate", "no_such_package")
    write(tmp_path, _0001_queue_toml=text)
    with pytest.raises(Refused, match="no_such_package is not installed"):
        load(tmp_path)
