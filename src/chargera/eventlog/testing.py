"""Doubles of what the signer and the files stand on: a disk that loses power, a head in memory."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from random import Random

from chargera.app.log_testing import Faults
from chargera.domain.errors import Refused


@dataclass(eq=False, slots=True)
class _File:
    """A file's content as programs see it, and as the medium has it (None: nothing yet)."""

    content: bytes
    durable: bytes | None = None


@dataclass(eq=False, slots=True)
class _Folder:
    """Names in a folder as programs see them, and as the medium has them."""

    names: "dict[str, _File | _Folder]" = field(default_factory=dict)
    durable: "dict[str, _File | _Folder]" = field(default_factory=dict)


class MemoryDisk:
    """A `Disk` in memory that can lose power: what was not synced may be undone or torn."""

    def __init__(self, faults: Faults | None = None) -> None:
        """Start empty; `faults` may strike at any call."""
        self.faults = faults or Faults()
        self._top = _Folder()

    def read(self, path: str) -> bytes:
        """Return the content of a file."""
        with self.faults.around(f"read {path}"):
            return self._file(path).content

    def write(self, path: str, data: bytes) -> None:
        """Create or replace a file, and the folders above it."""
        with self.faults.around(f"write {path}"):
            folder, name = self._parent(path, make=True)
            match folder.names.get(name):
                case _File() as file:
                    file.content = data
                case None:
                    folder.names[name] = _File(data)
                case _Folder():
                    raise IsADirectoryError(path)

    def sync(self, path: str) -> None:
        """Make a file's content or a folder's names survive a power cut."""
        with self.faults.around(f"sync {path}"):
            match self._find(path):
                case _File() as file:
                    file.durable = file.content
                case _Folder() as folder:
                    folder.durable = dict(folder.names)
                case None:
                    raise FileNotFoundError(path)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, replacing what had it."""
        with self.faults.around(f"rename {old} {new}"):
            file = self._file(old)
            folder, name = self._parent(new)
            folder.names[name] = file
            old_folder, old_name = self._parent(old)
            del old_folder.names[old_name]

    def remove(self, path: str) -> None:
        """Delete a file or a folder; nothing there is no error."""
        with self.faults.around(f"remove {path}"):
            if self._find(path) is not None:
                folder, name = self._parent(path)
                del folder.names[name]

    def cut_power(self, random: Random) -> None:
        """Lose power: each change that was not synced survives whole, in part or not at all."""
        self._top = _after_power_cut(self._top, random)

    def paths(self) -> list[str]:
        """Return the paths of all files, sorted."""
        return sorted(_walk(self._top, ""))

    def flip_bit(self, path: str, bit: int) -> None:
        """Damage a file as a failing medium would."""
        file = self._file(path)
        damaged = bytearray(file.content)
        damaged[bit // 8] ^= 1 << bit % 8
        file.content = file.durable = bytes(damaged)

    def _find(self, path: str) -> "_File | _Folder | None":
        here: _File | _Folder | None = self._top
        for part in PurePosixPath(path).parts:
            if not isinstance(here, _Folder):
                return None
            here = here.names.get(part)
        return here

    def _file(self, path: str) -> _File:
        match self._find(path):
            case _File() as file:
                return file
            case None:
                raise FileNotFoundError(path)
            case _Folder():
                raise IsADirectoryError(path)

    def _parent(self, path: str, *, make: bool = False) -> tuple[_Folder, str]:
        *folders, name = PurePosixPath(path).parts
        here = self._top
        for part in folders:
            below = here.names.get(part)
            if below is None and make:
                below = here.names[part] = _Folder()
            if not isinstance(below, _Folder):
                raise FileNotFoundError(path)
            here = below
        return here, name


def _after_power_cut(folder: _Folder, random: Random) -> _Folder:
    names: dict[str, _File | _Folder] = {}
    for name in sorted({*folder.names, *folder.durable}):
        now, then = folder.names.get(name), folder.durable.get(name)
        survivor = now if now is then else random.choice((now, then))
        match survivor:
            case _File() as file:
                content = _surviving_content(file, random)
                names[name] = _File(content, content)
            case _Folder() as below:
                names[name] = _after_power_cut(below, random)
            case None:
                pass
    return _Folder(names, dict(names))


def _surviving_content(file: _File, random: Random) -> bytes:
    if file.content == file.durable:
        return file.content
    torn = file.content[: random.randint(0, len(file.content))]
    return random.choice((file.durable or b"", torn, bytes(len(torn)), file.content))


def _walk(folder: _Folder, prefix: str) -> Iterator[str]:
    for name, below in folder.names.items():
        if isinstance(below, _Folder):
            yield from _walk(below, f"{prefix}{name}/")
        else:
            yield prefix + name


class MemoryHeads:
    """A `HeadMemory` without a disk."""

    def __init__(self) -> None:
        """Start before the first head."""
        self.note: bytes | None = None

    def load(self) -> bytes | None:
        """Return the last note."""
        return self.note

    def swap(self, old: bytes | None, new: bytes) -> None:
        """Replace `old` by `new`."""
        if self.note != old:
            raise Refused("the signer's memory has changed meanwhile")
        self.note = new
