"""What the log shows is covered by a signed head, and enough for a stranger to check it."""

from pathlib import Path

import pytest

from chargera.domain.errors import InvalidInput, NotFound, Unavailable
from chargera.eventlog.files import DurableFiles, OsDisk
from chargera.eventlog.reading import LogReader
from chargera.proofs.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from chargera.proofs.tiles import ENTRIES, split_bundle, tile_reader, tiles_of
from chargera.proofs.tlog_proof import parse_tlog_proof
from chargera.proofs.tree import leaf_hash, leaf_hashes, root_of_size, verify_consistency
from tests.unit.eventlog.log_under_test import KEY, ORIGIN, LogUnderTest


@pytest.fixture
async def log() -> LogUnderTest:
    log = LogUnderTest()
    for count in (1, 4, 300, 260):
        log.append(count)
        await log.publish()
    return log


def test_before_the_first_head_there_is_nothing() -> None:
    reader = LogUnderTest().reader
    with pytest.raises(NotFound):
        reader.checkpoint()
    with pytest.raises(NotFound):
        reader.file("tile/0/000.p/1")


def test_every_file_of_the_head_is_served(log: LogUnderTest) -> None:
    assert log.reader.head().size == 565
    assert log.reader.file("checkpoint") == log.reader.checkpoint()
    for tile in tiles_of(565):
        assert log.reader.file(tile.path)


def test_a_stranger_derives_the_root_from_files_alone(log: LogUnderTest) -> None:
    head = open_checkpoint(log.reader.file("checkpoint"), ORIGIN, [KEY.verifier])
    fetched = {tile: log.reader.file(tile.path) for tile in tiles_of(head.size)}
    read = tile_reader(head.size, fetched.__getitem__)
    assert root_of_size(head.size, read) == head.root_hash
    entries = [
        entry
        for tile in fetched
        if tile.level == ENTRIES
        for entry in split_bundle(tile, fetched[tile])
    ]
    assert [read(0, index) for index in range(head.size)] == leaf_hashes(entries)


def test_partial_tiles_that_were_served_once_are_served_for_ever(log: LogUnderTest) -> None:
    for size in sorted(log.rows.heads):
        for tile in tiles_of(size):
            assert log.reader.file(tile.path)


async def test_what_was_served_once_outlives_the_loss_of_all_files() -> None:
    log = LogUnderTest()
    for count in (5, 2, 300, 3):
        log.append(count)
        await log.publish()
    for path in log.log_disk.paths():
        log.log_disk.remove(path)
    log.restart()
    await log.sequencer.start()
    for size, head in log.rows.heads.items():
        for tile in tiles_of(size):
            assert log.reader.file(tile.path)
        for index in (0, size - 1):
            proof = parse_tlog_proof(log.reader.proof(index, head.note))
            proof.verify(leaf_hash(log.rows.entries[index]), ORIGIN, [KEY.verifier])


@pytest.mark.parametrize(
    "path",
    [
        "",
        "checkpoint.new",
        "../signer/key.pem",
        "tile/0/../../checkpoint",
        "tile/0/000.p/0",
        "tile/0/000.p/257",
        "tile/0/0",
        "tile/0/x000/000",
        "tile/8/0/000",
        "tile/64/000",
        "tile/entries/x999",
        "/tile/0/000",
        "tile/0/000\n",
    ],
)
def test_no_other_path_reaches_a_file(log: LogUnderTest, path: str) -> None:
    with pytest.raises(NotFound):
        log.reader.file(path)


@pytest.mark.parametrize("path", ["tile/0/002", "tile/0/002.p/54", "tile/1/000", "tile/2/000.p/1"])
def test_what_no_head_covers_is_not_served(log: LogUnderTest, path: str) -> None:
    """Tiles of a head that is not signed yet may lie on the disk already."""
    log.files.write({path: b"from the future"})
    with pytest.raises(NotFound):
        log.reader.file(path)


@pytest.mark.parametrize("index", [0, 4, 255, 256, 511, 512, 564])
def test_an_entry_is_proven_under_every_head_that_covers_it(log: LogUnderTest, index: int) -> None:
    leaf = leaf_hash(log.rows.entries[index])
    notes = [None, *(head.note for size, head in log.rows.heads.items() if index < size)]
    for note in notes:
        proof = parse_tlog_proof(log.reader.proof(index, note))
        assert proof.verify(leaf, ORIGIN, [KEY.verifier]).size in log.rows.heads


def test_an_entry_that_is_not_covered_has_no_proof_yet(log: LogUnderTest) -> None:
    for index in (-1, 565):
        with pytest.raises(NotFound):
            log.reader.proof(index)
    with pytest.raises(NotFound):
        log.reader.proof(5, log.rows.heads[5].note)
    unpublished = sign_checkpoint(Checkpoint(ORIGIN, 600, bytes(32)), KEY.verifier, KEY.sign)
    with pytest.raises(NotFound):
        log.reader.proof(5, unpublished)


def test_every_pair_of_heads_is_consistent(log: LogUnderTest) -> None:
    """Promise P1."""
    heads = {
        size: open_checkpoint(head.note, ORIGIN, [KEY.verifier])
        for size, head in log.rows.heads.items()
    }
    for old in heads.values():
        for new in heads.values():
            if old.size > new.size:
                with pytest.raises(InvalidInput):
                    log.reader.consistency(old.size, new.size)
                continue
            proof = log.reader.consistency(old.size, new.size)
            verify_consistency(old.size, new.size, proof, old.root_hash, new.root_hash)
    with pytest.raises(NotFound):
        log.reader.consistency(5, 566)


async def test_an_export_is_the_log(log: LogUnderTest, tmp_path: Path) -> None:
    """Promise P7: no account, no network but the files."""
    progress: list[tuple[int, int]] = []
    head = log.reader.export(tmp_path, lambda done, of: progress.append((done, of)))
    count = len(list(tiles_of(565))) + 1
    assert progress[-1] == (count, count)
    exported = LogReader(DurableFiles(OsDisk(tmp_path)))
    assert exported.head() == head
    for tile in tiles_of(head.size):
        assert (tmp_path / tile.path).read_bytes() == log.reader.file(tile.path)
    log.append(1)
    await log.publish()
    assert log.reader.export(tmp_path).size == 566
    assert exported.consistency(565, 566)


def test_a_log_that_holds_together_has_no_damaged_files(log: LogUnderTest) -> None:
    assert log.reader.damaged() == []


def test_a_scrub_finds_each_flipped_bit(log: LogUnderTest) -> None:
    """F4: in every file of the head; the same head is served meanwhile."""
    checkpoint = log.reader.checkpoint()
    for tile in tiles_of(565):
        for bit in (3, 8 * len(log.log_disk.read(tile.path)) - 1):
            log.log_disk.flip_bit(tile.path, bit)
            assert log.reader.damaged(), tile.path
            assert log.reader.checkpoint() == checkpoint
            log.log_disk.flip_bit(tile.path, bit)
    assert log.reader.damaged() == []


def test_a_scrub_finds_each_file_that_is_missing_or_short(log: LogUnderTest) -> None:
    for tile in tiles_of(565):
        kept = log.log_disk.read(tile.path)
        log.log_disk.write(tile.path, kept[:-1])
        assert tile.path in log.reader.damaged()
        log.log_disk.remove(tile.path)
        assert tile.path in log.reader.damaged()
        log.log_disk.write(tile.path, kept)
    assert log.reader.damaged() == []


def test_no_proof_is_given_out_that_does_not_hold(log: LogUnderTest) -> None:
    log.log_disk.flip_bit("tile/0/001", 5)
    with pytest.raises(Unavailable, match="damaged"):
        log.reader.proof(300)
