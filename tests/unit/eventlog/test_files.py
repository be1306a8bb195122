"""Files are whole after a power cut, on the real disk and on its double."""

import errno
import os
from pathlib import Path
from random import Random

import pytest

from chargera.app.log_testing import Faults
from chargera.domain.errors import NotFound, Unavailable
from chargera.eventlog.files import ASIDE, Disk, DurableFiles, OsDisk
from chargera.eventlog.testing import MemoryDisk


class DiskContract:
    """What every `Disk` does."""

    def test_a_file_is_read_as_written(self, disk: Disk) -> None:
        disk.write("a/b/c", b"one")
        disk.sync("a/b/c")
        disk.sync("a/b")
        disk.sync("")
        assert disk.read("a/b/c") == b"one"

    def test_writing_again_replaces_all_of_it(self, disk: Disk) -> None:
        disk.write("f", b"a long content")
        disk.write("f", b"short")
        assert disk.read("f") == b"short"

    @pytest.mark.parametrize("path", ["missing", "no/folder", "f/below-a-file"])
    def test_what_is_not_there_cannot_be_read(self, disk: Disk, path: str) -> None:
        disk.write("f", b"")
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            disk.read(path)

    def test_a_folder_is_no_file(self, disk: Disk) -> None:
        disk.write("a/b", b"")
        with pytest.raises(IsADirectoryError):
            disk.read("a")
        with pytest.raises(IsADirectoryError):
            disk.write("a", b"")

    def test_a_file_is_no_folder(self, disk: Disk) -> None:
        disk.write("a", b"")
        with pytest.raises(OSError):
            disk.write("a/b", b"")

    def test_renaming_replaces_and_leaves_the_old_name_free(self, disk: Disk) -> None:
        disk.write("a/new", b"new")
        disk.write("a/f", b"old")
        disk.rename("a/new", "a/f")
        assert disk.read("a/f") == b"new"
        with pytest.raises(FileNotFoundError):
            disk.read("a/new")

    def test_what_is_missing_cannot_be_renamed_or_synced(self, disk: Disk) -> None:
        with pytest.raises(FileNotFoundError):
            disk.rename("a", "b")
        with pytest.raises(FileNotFoundError):
            disk.sync("a")

    def test_removing_takes_files_folders_and_nothing_alike(self, disk: Disk) -> None:
        disk.write("f", b"")
        disk.write("a/b/c", b"")
        for path in ("f", "a", "never/there"):
            disk.remove(path)
            with pytest.raises(FileNotFoundError):
                disk.read(path)
        with pytest.raises(FileNotFoundError):
            disk.read("a/b/c")


class TestOsDisk(DiskContract):
    @pytest.fixture
    def disk(self, tmp_path: Path) -> Disk:
        return OsDisk(tmp_path / "made" / "when-needed")

    def test_private_files_are_the_owners_alone(self, tmp_path: Path) -> None:
        old = os.umask(0)
        try:
            OsDisk(tmp_path / "p", private=True).write("below/key", b"secret")
        finally:
            os.umask(old)
        assert (tmp_path / "p").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "p/below").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "p/below/key").stat().st_mode & 0o777 == 0o600


class TestMemoryDisk(DiskContract):
    @pytest.fixture
    def disk(self) -> Disk:
        return MemoryDisk()

    def test_a_power_cut_keeps_what_was_synced(self) -> None:
        for seed in range(20):
            disk = MemoryDisk()
            DurableFiles(disk).write({"a/b/f": b"kept", "g": b"too"})
            disk.cut_power(Random(seed))
            assert disk.paths() == ["a/b/f", "g"]
            assert disk.read("a/b/f") == b"kept"

    def test_a_power_cut_loses_tears_or_keeps_what_was_not(self) -> None:
        outcomes = set()
        for seed in range(60):
            disk = MemoryDisk()
            disk.write("f", b"content")
            disk.cut_power(Random(seed))
            outcomes.add(disk.read("f") if disk.paths() else None)
        assert {None, b"", b"content"} < outcomes
        assert any(outcome and b"\0" in outcome for outcome in outcomes)

    def test_a_flipped_bit_stays_flipped(self) -> None:
        disk = MemoryDisk()
        disk.write("f", b"\x00\x00")
        disk.flip_bit("f", 9)
        assert disk.read("f") == b"\x00\x02"


@pytest.fixture(params=["memory", "os"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> DurableFiles:
    return DurableFiles(MemoryDisk() if request.param == "memory" else OsDisk(tmp_path))


def test_written_files_are_read_back(files: DurableFiles) -> None:
    files.write({"a": b"1", "b/c": b"2"})
    assert (files.read("a"), files.read("b/c")) == (b"1", b"2")
    with pytest.raises(NotFound):
        files.read("a" + ASIDE)


def test_only_what_differs_is_written(files: DurableFiles) -> None:
    assert files.write_changed({"a": b"1", "b": b"2"}) == 2
    assert files.write_changed({"a": b"1", "b": b"3"}) == 1
    assert files.write_changed({"a": b"1", "b": b"3"}) == 0
    assert files.holds("b", b"3")


def test_a_folder_where_a_file_should_be_cannot_be_read(files: DurableFiles) -> None:
    files.write({"a/b": b"1"})
    with pytest.raises(Unavailable):
        files.read("a")


@pytest.mark.parametrize("seed", range(150))
def test_after_a_power_cut_each_file_is_old_or_new(seed: int) -> None:
    """F2 of the fault list: cut at a random call, look at what is left."""
    random = Random(seed)
    faults = Faults(after=random.random() < 0.5)
    disk = MemoryDisk(faults)
    DurableFiles(disk).write({"a/f": b"old", "a/g": b"old"})
    faults.at = len(faults.calls) + random.randint(1, 12)
    acknowledged = True
    try:
        DurableFiles(disk).write({"a/f": b"the new content", "b/h": b"new"})
    except Unavailable:
        acknowledged = False
    faults.at = 0
    disk.cut_power(random)
    files = DurableFiles(disk)
    assert files.read("a/g") == b"old"
    assert files.read("a/f") in {b"old", b"the new content"}
    if acknowledged:
        assert files.read("a/f") == b"the new content"
        assert files.read("b/h") == b"new"


def test_without_syncs_power_cuts_are_seen_to_lose_files() -> None:
    """The control: the harness above finds a writer that forgets to sync."""

    class Forgetful(MemoryDisk):
        def sync(self, path: str) -> None:
            pass

    lost = 0
    for seed in range(150):
        disk = Forgetful()
        DurableFiles(disk).write({"a/f": b"acknowledged"})
        disk.cut_power(Random(seed))
        if disk.paths() != ["a/f"] or disk.read("a/f") != b"acknowledged":
            lost += 1
    assert lost > 75


def test_a_full_disk_fails_this_write_and_not_the_next() -> None:
    faults = Faults(at=1, error=OSError(errno.ENOSPC, "no space"))
    files = DurableFiles(MemoryDisk(faults))
    with pytest.raises(Unavailable, match="no space"):
        files.write({"f": b"1"})
    files.write({"f": b"1"})
    assert files.read("f") == b"1"


def test_a_failed_sync_is_final() -> None:
    """The kernel may have dropped the data already and would report success the second time."""
    faults = Faults(at=2, error=OSError(errno.EIO, "bad medium"))
    files = DurableFiles(MemoryDisk(faults))
    for _ in range(2):
        with pytest.raises(Unavailable, match="bad medium"):
            files.write({"f": b"1"})
    assert faults.calls == ["write f.new", "sync f.new"]


def test_faults_of_reading_and_removing_are_named() -> None:
    faults = Faults(at=1, error=OSError(errno.EIO, "bad medium"))
    with pytest.raises(Unavailable, match="bad medium"):
        DurableFiles(MemoryDisk(faults)).read("f")
    faults.calls.clear()
    with pytest.raises(Unavailable, match="bad medium"):
        DurableFiles(MemoryDisk(faults)).remove("f")


def test_renaming_moves_the_content_only_once_it_is_durable() -> None:
    disk = MemoryDisk()
    DurableFiles(disk).write({"a/b": b"1"})
    assert disk.faults.calls == [
        "write a/b.new",
        "sync a/b.new",
        "rename a/b.new a/b",
        "sync a",
        "sync ",
    ]
