"""Files that survive a power cut: written aside, synced, renamed, and their folders synced."""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from shutil import rmtree
from typing import Protocol

from chargera.domain.errors import NotFound, Unavailable

ASIDE = ".new"
"""Suffix of a file that is being written; left over after a crash, replaced by the next try."""


class Disk(Protocol):
    """A folder of files, each named by a relative path with `/`.

    Nothing is durable before `sync`: a power cut may undo, tear or reorder all that was done
    since. Every method may raise OSError; after one raised by `sync` nobody knows what the medium
    holds, so whoever gets it stops (see `DurableFiles`).
    """

    def read(self, path: str) -> bytes:
        """Return the content of a file. Raises FileNotFoundError."""

    def write(self, path: str, data: bytes) -> None:
        """Create or replace a file, and the folders above it. Not atomic."""

    def sync(self, path: str) -> None:
        """Make durable what a file holds, or which names a folder has (`""` is the top)."""

    def rename(self, old: str, new: str) -> None:
        """Give a file another name in one step, replacing what had that name."""

    def remove(self, path: str) -> None:
        """Delete a file, or a folder with all that is in it; nothing there is no error."""


class OsDisk:
    """A `Disk` in a folder of the operating system."""

    def __init__(self, folder: Path, *, private: bool = False) -> None:
        """Work in `folder`, which is made when first written to.

        `private`: only the owner may read the files (0600) and enter the folders (0700).
        """
        self._folder = folder
        self._file_mode = 0o600 if private else 0o644
        self._folder_mode = 0o700 if private else 0o755

    def read(self, path: str) -> bytes:
        """Return the content of a file. Raises FileNotFoundError."""
        return (self._folder / path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        """Create or replace a file, and the folders above it."""
        target = self._folder / path
        try:
            number = self._create(target)
        except FileNotFoundError:
            self._make_folders(target.parent)
            number = self._create(target)
        with os.fdopen(number, "wb") as file:
            file.write(data)

    def sync(self, path: str) -> None:
        """Flush a file or a folder to the medium."""
        number = os.open(self._folder / path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(number)
        finally:
            os.close(number)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, replacing what had it."""
        (self._folder / old).replace(self._folder / new)

    def remove(self, path: str) -> None:
        """Delete a file or a folder."""
        target = self._folder / path
        try:
            target.unlink()
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError):  # the second is POSIX's word for a folder
            rmtree(target)

    def _create(self, target: Path) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        return os.open(target, flags, self._file_mode)

    def _make_folders(self, folder: Path) -> None:
        missing = [folder, *folder.parents][::-1]
        for level in missing:
            if not level.exists():
                level.mkdir(self._folder_mode, exist_ok=True)


class DurableFiles:
    """Whole files on a `Disk`: after a power cut each is what it was or what it became.

    A failed sync is final (the kernel may have dropped the data and will not say so twice): from
    then on every write raises Unavailable, until a new process has read the medium afresh.
    """

    def __init__(self, disk: Disk) -> None:
        """Work on `disk`; nobody else may write to it."""
        self._disk = disk
        self._sync_failure: OSError | None = None

    def read(self, path: str) -> bytes:
        """Return the content of the file `path`. Raises NotFound, Unavailable."""
        try:
            return self._disk.read(path)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"no file {path}") from None
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error}") from error

    def write(self, files: Mapping[str, bytes]) -> None:
        """Create or replace each of `files` (path: content); on return all are durable.

        Each is replaced in one step; between two of them there is no order. Raises Unavailable:
        then some may be written, and a later try may succeed unless a sync has failed.
        """
        if self._sync_failure is not None:
            raise Unavailable(
                f"an earlier write did not reach the disk: {self._sync_failure}",
                remedy="check the disk, then restart",
            )
        try:
            for path, data in files.items():
                self._disk.write(path + ASIDE, data)
            for path in files:
                self._sync(path + ASIDE)
            for path in files:
                self._disk.rename(path + ASIDE, path)
            # A folder that is new is a name in the folder above it, up to the top.
            folders = dict.fromkeys(str(f) for path in files for f in PurePosixPath(path).parents)
            for folder in folders:
                self._sync("" if folder == "." else folder)
        except OSError as error:
            raise Unavailable(
                f"the log's files cannot be written: {error}",
                remedy="free or repair the disk; entries stay safe in the database meanwhile",
            ) from error

    def write_changed(self, files: Mapping[str, bytes]) -> int:
        """Write those of `files` that are missing or differ; return how many there were."""
        changed = {path: data for path, data in files.items() if not self.holds(path, data)}
        if changed:
            self.write(changed)
        return len(changed)

    def remove(self, path: str) -> None:
        """Delete what is no longer needed; a power cut may bring it back. Raises Unavailable."""
        try:
            self._disk.remove(path)
        except OSError as error:
            raise Unavailable(f"{path} cannot be removed: {error}") from error

    def holds(self, path: str, data: bytes) -> bool:
        """Say whether a file has exactly this content. Raises Unavailable."""
        try:
            return self.read(path) == data
        except NotFound:
            return False

    def _sync(self, path: str) -> None:
        try:
            self._disk.sync(path)
        except OSError as error:
            self._sync_failure = error
            raise
