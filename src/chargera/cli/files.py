"""Files that commands read and write: errors with words, nothing left half written."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from chargera.domain.errors import Refused, Unreadable

FILE_BYTES_MAX = 256 * 2**20


def read_bytes(path: Path, limit: int = FILE_BYTES_MAX) -> bytes:
    """Return a file's bytes; `-` is stdin. Raises Unreadable."""
    try:
        if str(path) == "-":
            with os.fdopen(os.dup(0), "rb") as stdin:
                data = stdin.read(limit + 1)
        else:
            with path.open("rb") as file:
                data = file.read(limit + 1)
    except OSError as error:
        raise Unreadable(
            f"{path} cannot be read: {error.strerror}", field="file", remedy="check the path"
        ) from error
    if len(data) > limit:
        raise Unreadable(f"{path} has more than {limit} bytes", field="file")
    return data


def key_text(path: Path) -> str:
    """Return a key file as text; binary DER as hex. Raises Unreadable."""
    data = read_bytes(path)
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        return data.hex()


def write_whole(path: Path, pieces: Iterable[bytes], *, private: bool = False) -> int:
    """Write a file that is there whole or not at all; return its size in bytes.

    `private`: readable by its owner alone. Raises Refused if it cannot be written.
    """
    size = 0
    try:
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in pieces:
                    size += file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            if not private:
                Path(draft).chmod(0o666 & ~_umask())
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Refused(
            f"{path} cannot be written: {error.strerror}",
            field="file",
            remedy="name a file in a folder that you may write to",
        ) from error
    return size


def _umask() -> int:
    """Return the process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
