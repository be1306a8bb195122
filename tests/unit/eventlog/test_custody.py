"""The signing key and the memory of the last head are made once, private, and never replaced."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from chargera.domain.errors import Refused
from chargera.eventlog.custody import HEAD_FILE, KEY_FILE, FileHeadMemory, HeadMemory, open_key
from chargera.eventlog.files import DurableFiles
from chargera.eventlog.testing import MemoryDisk, MemoryHeads
from tests.unit.eventlog.log_under_test import ORIGIN


class CountedEntropy:
    """The same bytes in every run, other ones in every call."""

    calls = 0

    def bytes(self, count: int) -> bytes:
        self.calls += 1
        return bytes([self.calls]) * count

    def session_id(self, now: object) -> str:
        raise NotImplementedError


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    entropy = CountedEntropy()
    key = open_key(tmp_path / "signer", ORIGIN, entropy)
    assert (tmp_path / "signer" / KEY_FILE).stat().st_mode & 0o777 == 0o600
    again = open_key(tmp_path / "signer", ORIGIN, entropy)
    assert again.verifier == key.verifier
    assert entropy.calls == 1
    assert key.verifier.name == ORIGIN
    assert key.verifier.has_signed(b"text", again.sign(b"text"))


def test_a_key_that_has_signed_is_only_read(tmp_path: Path) -> None:
    key = open_key(tmp_path, ORIGIN, CountedEntropy())
    (tmp_path / HEAD_FILE).write_bytes(b"a head was signed")
    written_at = (tmp_path / KEY_FILE).stat().st_mtime_ns
    assert open_key(tmp_path, ORIGIN, CountedEntropy()).verifier == key.verifier
    assert (tmp_path / KEY_FILE).stat().st_mtime_ns == written_at


def test_a_lost_key_is_not_replaced(tmp_path: Path) -> None:
    open_key(tmp_path, ORIGIN, CountedEntropy())
    (tmp_path / HEAD_FILE).write_bytes(b"a head was signed")
    (tmp_path / KEY_FILE).unlink()
    with pytest.raises(Refused, match="missing"):
        open_key(tmp_path, ORIGIN, CountedEntropy())


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    open_key(tmp_path, ORIGIN, CountedEntropy())
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(Refused, match="others may read"):
        open_key(tmp_path, ORIGIN, CountedEntropy())


def write_key(folder: Path, content: bytes) -> None:
    (folder / KEY_FILE).write_bytes(content)
    (folder / KEY_FILE).chmod(0o600)


def test_what_is_no_ed25519_key_is_refused(tmp_path: Path) -> None:
    write_key(tmp_path, b"-----BEGIN NONSENSE-----")
    with pytest.raises(Refused, match="private key"):
        open_key(tmp_path, ORIGIN, CountedEntropy())
    other = generate_private_key(SECP256R1())
    write_key(tmp_path, other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(Refused, match="Ed25519"):
        open_key(tmp_path, ORIGIN, CountedEntropy())


@pytest.fixture(params=["memory", "disk", "folder"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> HeadMemory:
    match request.param:
        case "memory":
            return MemoryHeads()
        case "disk":
            return FileHeadMemory(DurableFiles(MemoryDisk()), nullcontext)
        case _:
            return FileHeadMemory.in_folder(tmp_path / "signer")


def test_a_head_is_remembered(memory: HeadMemory) -> None:
    assert memory.load() is None
    memory.swap(None, b"first")
    memory.swap(b"first", b"second")
    assert memory.load() == b"second"


@pytest.mark.parametrize("old", [None, b"another"])
def test_a_head_replaces_only_the_one_it_extends(memory: HeadMemory, old: bytes | None) -> None:
    memory.swap(None, b"first")
    with pytest.raises(Refused):
        memory.swap(old, b"second")
    assert memory.load() == b"first"


def test_the_memory_is_private(tmp_path: Path) -> None:
    FileHeadMemory.in_folder(tmp_path / "signer").swap(None, b"first")
    assert (tmp_path / "signer").stat().st_mode & 0o777 == 0o700
    for path in (tmp_path / "signer").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
