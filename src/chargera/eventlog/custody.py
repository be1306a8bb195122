"""What only the signer touches: its private key and its memory of the last head it signed."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from chargera.app.ports import Entropy
from chargera.domain.errors import NotFound, Refused
from chargera.eventlog.files import DurableFiles, OsDisk
from chargera.proofs.note import KEY_BYTES, Sign, VerifierKey

KEY_FILE = "key.pem"
HEAD_FILE = "last-head"
LOCK_FILE = "lock"


@dataclass(frozen=True, slots=True)
class LogKey:
    """The key that signs a log's heads; `sign` may reach into hardware or another process."""

    verifier: VerifierKey
    sign: Sign

    @classmethod
    def of(cls, origin: str, private_key: Ed25519PrivateKey) -> Self:
        """Return the key of the log `origin`."""
        public = private_key.public_key().public_bytes_raw()
        return cls(VerifierKey(origin, public), private_key.sign)


def open_key(folder: Path, origin: str, entropy: Entropy) -> LogKey:
    """Return the key in `folder`/key.pem (PKCS8), made at the first start, readable by us alone.

    Raises Refused if others may read it, if it is no Ed25519 key, or if it is missing although a
    head was signed: a new key there would start a second log under the old one's name.
    """
    files = DurableFiles(OsDisk(folder, private=True))
    path = folder / KEY_FILE
    has_signed = (folder / HEAD_FILE).exists()
    if has_signed and not path.exists():
        raise Refused(
            f"the log's signing key {path} is missing, but it has signed before",
            remedy="restore the key file from your backup",
        )
    if not path.exists():
        made = Ed25519PrivateKey.from_private_bytes(entropy.bytes(KEY_BYTES))
        pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        files.write({KEY_FILE: pem})
    pem = files.read(KEY_FILE)
    if path.stat().st_mode & 0o077:
        raise Refused(f"others may read the log's signing key {path}", remedy=f"chmod 600 {path}")
    try:
        loaded = load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise Refused(f"{path} cannot be read as a private key: {error}") from None
    if not isinstance(loaded, Ed25519PrivateKey):
        raise Refused(f"{path} is not an Ed25519 key")
    if not has_signed:  # the start that made it may have ended before it was durable
        files.write({KEY_FILE: pem})
    return LogKey.of(origin, loaded)


class HeadMemory(Protocol):
    """Where a signer remembers the note of its last head, apart from everything else.

    It is what makes a second head of one size impossible, so it must not be part of the backup
    that the database comes from, nor go back with it.
    """

    def load(self) -> bytes | None:
        """Return the note, None before the first."""

    def swap(self, old: bytes | None, new: bytes) -> None:
        """Replace `old` by `new`, durable on return.

        Raises Refused if what is stored is not `old`: somebody else signs with this memory.
        """


class FileHeadMemory:
    """A `HeadMemory` in a file."""

    def __init__(
        self, files: DurableFiles, alone: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Keep the note in `files`; `alone` keeps other processes out while it is swapped."""
        self._files = files
        self._alone = alone

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """Keep the note in a folder that only we may enter."""
        return cls(DurableFiles(OsDisk(folder, private=True)), lambda: _locked(folder))

    def load(self) -> bytes | None:
        """Return the note, None before the first."""
        try:
            return self._files.read(HEAD_FILE)
        except NotFound:
            return None

    def swap(self, old: bytes | None, new: bytes) -> None:
        """Replace `old` by `new`, durable on return."""
        with self._alone():
            if self.load() != old:
                raise Refused(
                    "another process has signed a head with this key meanwhile",
                    remedy="run one server on this data folder",
                )
            self._files.write({HEAD_FILE: new})


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(0o700, parents=True, exist_ok=True)
    number = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)
