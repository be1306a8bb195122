"""Tiles and entry bundles (C2SP tlog-tiles): the log as a set of static files.

A tile holds up to 256 hashes of one tree level out of eight; a bundle holds the entries under a
tile of level 0. Everything here is about paths and bytes; where they are kept is the caller's.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.proofs.entry import ENTRY_BYTES_MAX
from chargera.proofs.tree import HASH_BYTES, SIZE_LIMIT, HashReader, leaf_hashes, root_of

TILE_HEIGHT = 8
TILE_WIDTH = 256
LEVEL_MAX = 63

ENTRIES = -1
"""The level of entry bundles: below the leaf hashes."""

_PATH = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*)([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, slots=True)
class Tile:
    """The `index`-th tile of `level` (or entry bundle, level `ENTRIES`), `width` items wide."""

    level: int
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        """Raise InvalidInput if there is no such tile."""
        if not ENTRIES <= self.level <= LEVEL_MAX:
            raise InvalidInput("tile level: must be 0 to 63, or entries", field="level")
        if not 0 <= self.index < SIZE_LIMIT:
            raise InvalidInput("tile index: must be 0 or more", field="index")
        if not 1 <= self.width <= TILE_WIDTH:
            raise InvalidInput("tile width: must be 1 to 256", field="width")

    @classmethod
    def parse(cls, path: str) -> Self:
        """Return the tile at `path`, such as `tile/0/x001/x234/067` or `tile/entries/000.p/3`.

        Raises Unreadable for any other path: a tile has exactly one.
        """
        match = _PATH.fullmatch(path)
        if match is None:
            raise Unreadable(f"{path!r}: not the path of a tile")
        level, high, low, width = match.groups()
        try:
            tile = cls(
                ENTRIES if level == "entries" else int(level),
                int(high.replace("x", "").replace("/", "") + low),
                int(width or TILE_WIDTH),
            )
        except InvalidInput as error:
            raise Unreadable(f"{path!r}: {error.message}") from None
        if tile.path != path:
            raise Unreadable(f"{path!r}: a tile path has no needless digits")
        return tile

    @property
    def path(self) -> str:
        """The path below the log's prefix, without a leading slash."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        digits = str(self.index)
        groups = digits.zfill(-(-len(digits) // 3) * 3)
        steps = [groups[start : start + 3] for start in range(0, len(groups), 3)]
        number = "".join(f"x{step}/" for step in steps[:-1]) + steps[-1]
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{number}{partial}"

    @property
    def is_full(self) -> bool:
        """Whether it will never change again."""
        return self.width == TILE_WIDTH


FetchTile: TypeAlias = Callable[[Tile], bytes]
"""Returns the bytes of a tile or bundle; raises what its source raises."""


def tiles_of(size: int) -> Iterator[Tile]:
    """Yield every tile and entry bundle that a log of `size` entries serves."""
    return tiles_written(0, size)


def tiles_written(old_size: int, new_size: int) -> Iterator[Tile]:
    """Yield every tile and bundle to write when the log grows from `old_size` to `new_size`.

    Bundles first, then tiles from the leaves up: a reader that finds one finds what is below it.
    A partial tile that was served before keeps its own path, so nothing is ever overwritten.
    """
    if not 0 <= old_size <= new_size < SIZE_LIMIT:
        raise InvalidInput(f"no log of {old_size} grows into one of {new_size}", field="old_size")
    yield from _row_written(ENTRIES, old_size, new_size)
    level = 0
    while new_size > old_size:
        yield from _row_written(level, old_size, new_size)
        level, old_size, new_size = level + 1, old_size >> TILE_HEIGHT, new_size >> TILE_HEIGHT


def grow(old_size: int, entries: Sequence[bytes], fetch: FetchTile) -> Iterator[tuple[Tile, bytes]]:
    """Yield the tiles and bundles of `tiles_written`, with their bytes, for appended `entries`.

    `fetch` is asked only for the partial tiles and the partial bundle at the old right edge.
    Raises InvalidInput if an entry is too long, Unreadable if a fetched tile is not of its size.
    """
    bundle = _old_partial(ENTRIES, old_size, fetch)
    yield from _fill(ENTRIES, old_size, [*bundle, *entries])
    row, size, level = leaf_hashes(entries), old_size, 0
    while row:
        row = [*_old_partial(level, size, fetch), *row]
        full = []
        for tile, data in _fill(level, size, row):
            yield tile, data
            if tile.is_full:
                full.append(root_of(split_tile(tile, data)))
        row, size, level = full, size >> TILE_HEIGHT, level + 1


def tile_reader(size: int, fetch: FetchTile) -> HashReader:
    """Return a reader of the complete nodes of a log of `size` entries, made of its tiles.

    The reader raises Unreadable if a tile is not of its size; that its hashes are right is for
    the proof or root made of them to show.
    """

    def read(level: int, index: int) -> bytes:
        row, height = divmod(level, TILE_HEIGHT)
        first = index << height
        tile_index, offset = divmod(first, TILE_WIDTH)
        width = min((size >> row * TILE_HEIGHT) - tile_index * TILE_WIDTH, TILE_WIDTH)
        tile = Tile(row, tile_index, width)
        return root_of(split_tile(tile, fetch(tile))[offset : offset + (1 << height)])

    return read


def split_tile(tile: Tile, data: bytes) -> list[bytes]:
    """Return the hashes in `data`; raise Unreadable unless there are `tile.width` of them."""
    if len(data) != tile.width * HASH_BYTES:
        raise Unreadable(f"{tile.path}: must be {tile.width * HASH_BYTES} bytes")
    return [data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return `entries`, each behind its length as a big-endian uint16."""
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > ENTRY_BYTES_MAX:
            raise InvalidInput(f"entry: over {ENTRY_BYTES_MAX} bytes", field="entry")
        parts += (len(entry).to_bytes(2), entry)
    return b"".join(parts)


def split_bundle(tile: Tile, data: bytes) -> list[bytes]:
    """Return the entries in `data`; raise Unreadable unless there are exactly `tile.width`."""
    entries = []
    start = 0
    for _ in range(tile.width):
        end = start + 2 + int.from_bytes(data[start : start + 2])
        # A length that is cut off reads as less than two bytes, which the end then exceeds.
        if end > len(data):
            raise Unreadable(f"{tile.path}: ends inside an entry")
        entries.append(data[start + 2 : end])
        start = end
    if start != len(data):
        raise Unreadable(f"{tile.path}: has more than {tile.width} entries")
    return entries


def _row_written(level: int, old_size: int, new_size: int) -> Iterator[Tile]:
    """Yield the tiles of one level, which had `old_size` hashes and has `new_size` now."""
    if new_size == old_size:
        return
    for index in range(old_size // TILE_WIDTH, -(-new_size // TILE_WIDTH)):
        yield Tile(level, index, min(new_size - index * TILE_WIDTH, TILE_WIDTH))


def _old_partial(level: int, size: int, fetch: FetchTile) -> list[bytes]:
    """Return what the partial tile at the right edge of a level with `size` items holds."""
    index, width = divmod(size, TILE_WIDTH)
    if not width:
        return []
    tile = Tile(level, index, width)
    return split_bundle(tile, fetch(tile)) if level == ENTRIES else split_tile(tile, fetch(tile))


def _fill(level: int, old_size: int, row: Sequence[bytes]) -> Iterator[tuple[Tile, bytes]]:
    """Yield the tiles made of `row`, which starts where the first tile that changes starts."""
    new_size = old_size // TILE_WIDTH * TILE_WIDTH + len(row)
    join = encode_bundle if level == ENTRIES else b"".join
    for number, tile in enumerate(_row_written(level, old_size, new_size)):
        start = number * TILE_WIDTH
        yield tile, join(row[start : start + tile.width])
