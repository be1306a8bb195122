"""Tiles: paths to the letter, and a log that grows in any steps but is always the same files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.proofs.entry import ENTRY_BYTES_MAX
from chargera.proofs.tiles import (
    ENTRIES,
    Tile,
    encode_bundle,
    grow,
    split_bundle,
    split_tile,
    tile_reader,
    tiles_of,
    tiles_written,
)
from chargera.proofs.tree import (
    SIZE_LIMIT,
    MemoryTree,
    consistency_proof,
    inclusion_proof,
    leaf_hashes,
    root_of,
    root_of_size,
)


class Files:
    """The static files of a log."""

    def __init__(self) -> None:
        self.by_path: dict[str, bytes] = {}
        self.size = 0

    def fetch(self, tile: Tile) -> bytes:
        return self.by_path[tile.path]

    def append(self, entries: list[bytes]) -> None:
        for tile, data in grow(self.size, entries, self.fetch):
            assert tile.path not in self.by_path, "a file that was served is never written again"
            self.by_path[tile.path] = data
        self.size += len(entries)


def entries_of(start: int, end: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(start, end)]


def log_of(size: int) -> Files:
    files = Files()
    files.append(entries_of(0, size))
    return files


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1_234_067), "tile/0/x001/x234/067"),
        (Tile(1, 67, 3), "tile/1/067.p/3"),
        (Tile(ENTRIES, 0, 1), "tile/entries/000.p/1"),
        (Tile(ENTRIES, 1000, 255), "tile/entries/x001/000.p/255"),
        (Tile(63, 999), "tile/63/999"),
        (Tile(0, 10**18), "tile/0/x001/x000/x000/x000/x000/x000/000"),
    ],
)
def test_tile__path__as_the_specification_writes_it(tile, path):
    assert tile.path == path
    assert Tile.parse(path) == tile


@given(st.integers(ENTRIES, 63), st.integers(0, SIZE_LIMIT - 1), st.integers(1, 256))
def test_tile__any_tile__comes_back_from_its_path(level, index, width):
    tile = Tile(level, index, width)
    assert Tile.parse(tile.path) == tile
    assert tile.is_full == (width == 256)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/000\n",
        "tile//000",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/data/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/x1/001",
        "tile/0/001/001",
        "tile/0/x001",
        "tile/0/../000",
        "tile/0/000.p",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/" + "x999/" * 7 + "999",
        "tile/0/\N{ARABIC-INDIC DIGIT ZERO}00",
    ],
)
def test_tile__any_other_path__unreadable(path):
    with pytest.raises(Unreadable):
        Tile.parse(path)


@pytest.mark.parametrize(
    ("level", "index", "width"),
    [(-2, 0, 1), (64, 0, 1), (0, -1, 1), (0, SIZE_LIMIT, 1), (0, 0, 0), (0, 0, 257)],
)
def test_tile__impossible_value__refused(level, index, width):
    with pytest.raises(InvalidInput):
        Tile(level, index, width)


def test_tiles_of__the_example_of_the_specification__70000_entries():
    tiles = list(tiles_of(70_000))
    level_0 = [tile for tile in tiles if tile.level == 0]
    assert [tile.is_full for tile in level_0] == [True] * 273 + [False]
    assert level_0[-1].width == 112
    assert [t.path for t in tiles if t.level > 0] == [
        "tile/1/000",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    ]
    assert sum(tile.level == ENTRIES for tile in tiles) == 274
    assert [tile.path for tile in tiles_of(256)] == [
        "tile/entries/000",
        "tile/0/000",
        "tile/1/000.p/1",
    ]
    assert list(tiles_of(0)) == []


@pytest.mark.untraced  # what it runs is run by others
@given(st.lists(st.sampled_from([0, 1, 2, 255, 256, 257, 700]), max_size=8))
def test_grow__in_any_steps__same_log_and_nothing_overwritten(steps):
    files = Files()
    for step in steps:
        before = set(files.by_path)
        expected = {tile.path for tile in tiles_written(files.size, files.size + step)}
        files.append(entries_of(files.size, files.size + step))
        assert files.by_path.keys() - before == expected
        assert {tile.path for tile in tiles_of(files.size)} <= files.by_path.keys()
        root = root_of_size(files.size, tile_reader(files.size, files.fetch))
        assert root == root_of(leaf_hashes(entries_of(0, files.size)))
    at_once = log_of(files.size).by_path
    assert at_once.items() <= files.by_path.items()


def test_tile_reader__three_levels__same_proofs_as_the_whole_tree():
    size = 66_000
    files = log_of(size)
    tree = MemoryTree(leaf_hashes(entries_of(0, size)))
    read = tile_reader(size, files.fetch)
    for index in (0, 255, 256, 32_767, 65_535, 65_536, size - 1):
        assert inclusion_proof(index, size, read) == inclusion_proof(index, size, tree.node)
        if index:
            assert consistency_proof(index, size, read) == consistency_proof(index, size, tree.node)


def test_tile_reader__tile_of_another_size__unreadable():
    files = log_of(300)
    files.by_path["tile/0/000"] += b"x"
    with pytest.raises(Unreadable, match="tile/0/000: must be 8192 bytes"):
        tile_reader(300, files.fetch)(0, 3)


def test_grow__damaged_old_edge__unreadable():
    for path, level in (("tile/entries/000.p/3", "bundle"), ("tile/0/000.p/3", "tile")):
        files = log_of(3)
        files.by_path[path] = files.by_path[path][:-1]
        with pytest.raises(Unreadable, match=path):
            files.append([level.encode()])


def test_tiles_written__shrinking_or_negative__refused():
    for old, new in ((2, 1), (-1, 1), (0, SIZE_LIMIT)):
        with pytest.raises(InvalidInput):
            list(tiles_written(old, new))


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundle__any_entries__come_back(entries):
    data = encode_bundle(entries)
    assert split_bundle(Tile(ENTRIES, 0, len(entries)), data) == entries
    assert len(data) == sum(2 + len(entry) for entry in entries)


def test_bundle__known_entries__exact_bytes():
    assert encode_bundle([b"ab", b"", b"c"]) == b"\0\2ab\0\0\0\1c"
    longest = bytes(ENTRY_BYTES_MAX)
    assert split_bundle(Tile(ENTRIES, 0, 1), encode_bundle([longest])) == [longest]
    with pytest.raises(InvalidInput, match="over 65535 bytes"):
        encode_bundle([longest + b"x"])


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\1", b"\0\1a", b"\0\1a\0", b"\0\1a\0\0x"])
def test_split_bundle__wrong_number_of_bytes__unreadable(data):
    with pytest.raises(Unreadable, match=r"tile/entries/000\.p/2"):
        split_bundle(Tile(ENTRIES, 0, 2), data)


def test_split_tile__exact_number_of_hashes__else_unreadable():
    tile = Tile(0, 0, 2)
    assert split_tile(tile, b"a" * 32 + b"b" * 32) == [b"a" * 32, b"b" * 32]
    for data in (b"", bytes(63), bytes(65), bytes(96)):
        with pytest.raises(Unreadable):
            split_tile(tile, data)
