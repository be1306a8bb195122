"""The signer signs extensions of its own last head over what is stored, and nothing else."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chargera.domain.errors import Refused, Unavailable
from chargera.eventlog.custody import LogKey
from chargera.eventlog.files import DurableFiles
from chargera.eventlog.signer import Signer
from chargera.eventlog.testing import MemoryDisk, MemoryHeads
from chargera.eventlog.tiles import Edge, StoredTiles
from chargera.proofs.checkpoint import Checkpoint, open_checkpoint
from chargera.proofs.note import Sign
from chargera.proofs.tiles import tile_reader
from chargera.proofs.tree import consistency_proof
from tests.unit.eventlog.log_under_test import KEY, ORIGIN


class Bench:
    """Tiles on a disk, and a signer that reads them."""

    def __init__(self) -> None:
        self.disk = MemoryDisk()
        self.files = DurableFiles(self.disk)
        self.memory = MemoryHeads()
        self.signer = Signer(KEY, self.memory, StoredTiles(self.files).fetch)
        self.edge = Edge()
        self.head: Checkpoint | None = None

    def write(self, count: int) -> Checkpoint:
        """Store that many more entries; return the head that they make."""
        new = [f"entry {self.edge.size + n}".encode() for n in range(count)]
        self.edge, tiles = self.edge.grown(new)
        self.files.write({tile.path: data for tile, data in tiles.items()})
        return self.edge.head(ORIGIN)

    def proof(self, new: Checkpoint) -> list[bytes]:
        if self.head is None:
            return []
        read = tile_reader(new.size, StoredTiles(self.files).fetch)
        return consistency_proof(self.head.size, new.size, read)

    def sign(self, new: Checkpoint) -> bytes:
        note = self.signer.sign(self.head, new, self.proof(new))
        self.head = new
        return note


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    "steps", [[1], [1, 1], [5, 300], [256, 256], [255, 1, 1], [700, 1], [65_536, 1], [70_000]]
)
def test_every_extension_is_signed(bench: Bench, steps: list[int]) -> None:
    for step in steps:
        new = bench.write(step)
        note = bench.sign(new)
        assert open_checkpoint(note, ORIGIN, [KEY.verifier]) == new
        assert bench.signer.last() == new
        assert bench.memory.note == note


def test_the_same_head_is_the_same_note(bench: Bench) -> None:
    first = bench.sign(bench.write(5))
    head = bench.head
    assert head is not None
    assert bench.signer.sign(None, head, []) == first
    assert bench.signer.sign(head, head, []) == first


def test_its_verifier_key_is_published(bench: Bench) -> None:
    assert bench.signer.vkeys == (str(KEY.verifier),)


def test_another_head_of_that_size_is_refused(bench: Bench) -> None:
    bench.sign(bench.write(5))
    fork = Checkpoint(ORIGIN, 5, bytes(32))
    with pytest.raises(Refused, match="5 entries is signed"):
        bench.signer.sign(bench.head, fork, [])


def test_a_smaller_head_is_refused(bench: Bench) -> None:
    small = bench.write(5)
    bench.head = None
    bench.sign(bench.write(5))
    with pytest.raises(Refused, match="10 entries is signed"):
        bench.signer.sign(bench.head, small, [])


def test_only_its_own_last_head_is_extended(bench: Bench) -> None:
    first = bench.write(5)
    bench.sign(first)
    second = bench.write(5)
    proof = bench.proof(second)
    bench.sign(second)
    third = bench.write(5)
    for other in (None, first, Checkpoint(ORIGIN, 10, bytes(32))):
        with pytest.raises(Refused, match="last head has 10 entries"):
            bench.signer.sign(other, third, proof)


def test_a_proof_of_something_else_is_refused(bench: Bench) -> None:
    bench.sign(bench.write(5))
    new = bench.write(5)
    proof = bench.proof(new)
    for wrong in ([], proof[:-1], [*proof, bytes(32)], [bytes(32), *proof[1:]], [b""]):
        with pytest.raises(Refused, match="not signed"):
            bench.signer.sign(bench.head, new, wrong)
    assert bench.signer.sign(bench.head, new, proof)


def test_the_first_head_has_no_proof(bench: Bench) -> None:
    with pytest.raises(Refused, match="extends nothing"):
        bench.signer.sign(None, bench.write(1), [bytes(32)])


def test_a_root_that_is_not_stored_is_refused(bench: Bench) -> None:
    bench.write(5)
    with pytest.raises(Refused, match="do not have this root"):
        bench.signer.sign(None, Checkpoint(ORIGIN, 5, bytes(32)), [])
    with pytest.raises(Refused, match="no file"):
        bench.signer.sign(None, Checkpoint(ORIGIN, 6, bytes(32)), [])


def test_another_log_is_refused(bench: Bench) -> None:
    bench.write(5)
    with pytest.raises(Refused, match="signs for"):
        bench.signer.sign(None, bench.edge.head("log.example/other"), [])


@pytest.mark.parametrize("steps", [(300,), (5, 300), (256, 256)])
def test_a_flipped_bit_in_any_new_file_is_never_signed(steps: tuple[int, ...]) -> None:
    """F4: entry, leaf hash and tile, each bit position of each file in turn by sampling."""
    template = Bench()
    for step in steps[:-1]:
        template.sign(template.write(step))
    before = set(template.disk.paths())
    new = template.write(steps[-1])
    fresh = [path for path in template.disk.paths() if path not in before]
    assert any(path.startswith("tile/entries/") for path in fresh)
    proof = template.proof(new)
    for path in fresh:
        bits = 8 * len(template.disk.read(path))
        for bit in range(0, bits, max(bits // 40, 1)):
            template.disk.flip_bit(path, bit)
            with pytest.raises(Refused):
                template.signer.sign(template.head, new, proof)
            template.disk.flip_bit(path, bit)
    assert template.signer.sign(template.head, new, proof)


def test_a_flipped_bit_under_the_last_head_is_found(bench: Bench) -> None:
    bench.sign(bench.write(5))
    new = bench.write(5)
    proof = bench.proof(new)
    bench.disk.flip_bit("tile/0/000.p/5", 100)
    with pytest.raises(Refused, match="no longer have the root"):
        bench.signer.sign(bench.head, new, proof)


def test_tiles_that_hide_a_wrong_parent_are_refused(bench: Bench) -> None:
    new = bench.write(256 * 3)
    bench.disk.flip_bit("tile/1/000.p/3", 0)
    with pytest.raises(Refused, match="hashes of what is below"):
        bench.signer.sign(None, new, [])


def test_a_damaged_memory_signs_nothing(bench: Bench) -> None:
    bench.sign(bench.write(5))
    note = bench.memory.note
    assert note is not None
    for damaged in (b"", note.replace(b"5", b"6", 1), note[:-3] + b"AA\n"):
        bench.memory.note = damaged
        with pytest.raises(Refused, match="memory"):
            bench.signer.last()
        with pytest.raises(Refused, match="memory"):
            bench.signer.sign(bench.head, bench.edge.head(ORIGIN), [])


def test_a_disk_that_cannot_be_read_is_not_a_verdict(bench: Bench) -> None:
    new = bench.write(5)
    bench.disk.faults.at = len(bench.disk.faults.calls) + 1
    with pytest.raises(Unavailable):
        bench.signer.sign(None, new, [])
    assert bench.signer.sign(None, new, [])


def test_nothing_is_given_out_that_is_not_remembered(bench: Bench) -> None:
    class Forgetful(MemoryHeads):
        def swap(self, old: bytes | None, new: bytes) -> None:
            raise Unavailable("the disk is full")

    new = bench.write(5)
    signer = Signer(KEY, Forgetful(), StoredTiles(bench.files).fetch)
    with pytest.raises(Unavailable):
        signer.sign(None, new, [])


def test_a_key_that_answers_wrongly_signs_nothing(bench: Bench) -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    wrong_keys: list[Sign] = [lambda text: bytes(64), other.sign]
    for wrong in wrong_keys:
        signer = Signer(LogKey(KEY.verifier, wrong), bench.memory, StoredTiles(bench.files).fetch)
        new = bench.write(1)
        with pytest.raises(Refused, match="has another key"):
            signer.sign(None, new, [])
        assert bench.memory.note is None
