"""Files in a folder that belongs to another account, handled by root without trusting its owner.

Whoever owns a folder can put a link in the place of any name in it. Root that follows such a link
while it changes owners, modes or contents does so to any file of the machine. So every name here
is opened without following a link, and changed through its descriptor.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from chargera.store.account import Account

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class OwnedFolder:
    """A folder of mode 0700 and whom it belongs to, if not us."""

    path: Path
    account: Account | None

    def make(self) -> None:
        """Make the folder unless it exists, and close it to everybody but its owner.

        Raises: PermissionError, when it belongs to somebody else and we are not root; OSError,
        when it is no folder.
        """
        with suppress(FileExistsError):
            self.path.mkdir(mode=0o700)
        with self.descriptor() as folder:
            os.fchmod(folder, 0o700)
            if self.account:
                os.fchown(folder, self.account.uid, self.account.gid)

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """Give a descriptor of the folder itself."""
        folder = os.open(self.path, FOLDER)
        try:
            yield folder
        finally:
            os.close(folder)

    def open(self, name: str, flags: int) -> int:
        """Return a descriptor of the file `name`, which is made for the owner if it is missing."""
        with self.descriptor() as folder:
            file = os.open(name, flags | FILE, 0o600, dir_fd=folder)
        if self.account:
            os.fchown(file, self.account.uid, self.account.gid)
        return file

    def append(self, name: str, text: str) -> None:
        """Append `text` to the file `name`."""
        with os.fdopen(self.open(name, os.O_WRONLY | os.O_APPEND), "a") as file:
            file.write(text)

    def replace(self, name: str, text: str) -> None:
        """Make `text` the content of `name`, whole or not at all, and durable."""
        part = f"{name}.part"
        self.remove(part)
        with os.fdopen(self.open(part, os.O_WRONLY | os.O_EXCL), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        self.rename(part, name)

    def rename(self, name: str, to: str) -> None:
        """Give what is called `name` the name `to`, durably."""
        with self.descriptor() as folder:
            os.rename(name, to, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)

    def remove(self, name: str) -> None:
        """Remove the file `name` if it exists, or what stands in its place."""
        with suppress(FileNotFoundError), self.descriptor() as folder:
            os.unlink(name, dir_fd=folder)

    def lines(self, name: str) -> list[str]:
        """Return the lines of the file `name`; none if it is missing."""
        try:
            with self.descriptor() as folder:
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            return []
        with os.fdopen(file, errors="replace") as text:
            return text.read().splitlines()

    def hand_over(self) -> None:
        """Give the folder and all in it to the account; where that is us, do nothing."""
        if self.account is None:
            return
        uid, gid = self.account.uid, self.account.gid
        for _, folders, files, place in os.fwalk(self.path):
            os.fchown(place, uid, gid)
            for name in (*folders, *files):
                os.chown(name, uid, gid, dir_fd=place, follow_symlinks=False)
