"""The right edge grows into the tiles of the specification, and stored tiles are read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import NotFound, Unreadable
from chargera.eventlog.files import DurableFiles
from chargera.eventlog.testing import MemoryDisk
from chargera.eventlog.tiles import Edge, StoredTiles, partials_folder
from chargera.proofs.tiles import ENTRIES, Tile, tile_reader, tiles_of
from chargera.proofs.tree import (
    EMPTY_ROOT,
    MemoryTree,
    leaf_hashes,
    rederive_root,
    root_of_size,
)


def entries(count: int) -> list[bytes]:
    return [f"entry {number}".encode() for number in range(count)]


def test_an_empty_log_has_the_empty_root() -> None:
    assert Edge().root() == EMPTY_ROOT


@given(st.lists(st.integers(0, 700), min_size=1, max_size=6))
def test_however_it_grows_the_tiles_are_those_of_its_size(steps: list[int]) -> None:
    edge, stored = Edge(), {}
    everything = entries(sum(steps))
    for step in steps:
        edge, written = edge.grown(everything[edge.size : edge.size + step])
        stored.update(written)
    assert edge.size == len(everything)
    assert edge.root() == rederive_root(leaf_hashes(everything))
    assert edge.head("log").root_hash == edge.root()
    tiles = set(tiles_of(edge.size))
    assert tiles <= stored.keys()
    assert {tile for tile, _ in edge.partial.values()} == {t for t in tiles if not t.is_full}
    read = tile_reader(edge.size, stored.__getitem__)
    assert root_of_size(edge.size, read) == edge.root()


@pytest.fixture
def files() -> DurableFiles:
    files = DurableFiles(MemoryDisk())
    _, written = Edge().grown(entries(256))
    files.write({tile.path: data for tile, data in written.items()})
    return files


def test_a_partial_tile_is_cut_from_the_full_one(files: DurableFiles) -> None:
    stored = StoredTiles(files)
    _, written = Edge().grown(entries(5))
    for tile, data in written.items():
        assert stored.fetch(tile) == data


def test_a_partial_tile_of_its_own_is_preferred(files: DurableFiles) -> None:
    files.write({"tile/0/000.p/5": b"as it was served"})
    assert StoredTiles(files).fetch(Tile(0, 0, 5)) == b"as it was served"


def test_a_tile_that_is_nowhere_is_not_found(files: DurableFiles) -> None:
    for tile in (Tile(0, 1), Tile(0, 1, 5), Tile(ENTRIES, 1, 5)):
        with pytest.raises(NotFound):
            StoredTiles(files).fetch(tile)


def test_nothing_is_cut_from_a_damaged_tile(files: DurableFiles) -> None:
    files.write({"tile/0/000": b"short", "tile/entries/000": b"short"})
    for level in (0, ENTRIES):
        with pytest.raises(Unreadable):
            StoredTiles(files).fetch(Tile(level, 0, 5))


def test_partial_tiles_lie_beside_their_full_one() -> None:
    assert Tile(1, 1234, 7).path.startswith(partials_folder(Tile(1, 1234)) + "/")


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700])
def test_nodes_are_those_of_the_tree_and_each_tile_is_read_once(size: int) -> None:
    disk = MemoryDisk()
    files = DurableFiles(disk)
    _, written = Edge().grown(entries(size))
    files.write({tile.path: data for tile, data in written.items()})
    disk.faults.calls.clear()
    tree = MemoryTree(leaf_hashes(entries(size)))
    read = StoredTiles(files).nodes(size)
    for level in range(size.bit_length()):
        for index in range(size >> level):
            assert read(level, index) == tree.node(level, index)
    assert len(disk.faults.calls) == len(set(disk.faults.calls))


def test_the_cache_is_bounded(files: DurableFiles) -> None:
    stored = StoredTiles(files, cached_tiles=1)
    read = stored.nodes(256)
    assert read(8, 0) != read(0, 5)
    assert stored._subtree.cache_info().currsize == 1
