"""The log's static files: its right edge in memory, its tiles and bundles on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from chargera.domain.errors import NotFound
from chargera.eventlog.files import DurableFiles
from chargera.proofs.checkpoint import Checkpoint
from chargera.proofs.tiles import (
    ENTRIES,
    TILE_HEIGHT,
    TILE_WIDTH,
    Tile,
    encode_bundle,
    grow,
    split_bundle,
    split_tile,
    tile_reader,
)
from chargera.proofs.tree import HashReader, MemoryTree, root_of_size

CACHED_TILES = 256
"""So many tiles hold the proofs of the newest 65,000 entries."""

CHECKPOINT = "checkpoint"
"""The path of the newest signed head, beside `tile/`."""


@dataclass(frozen=True, slots=True)
class Edge:
    """All of a log that may still change: its size and the partial tile of each level."""

    size: int = 0
    partial: Mapping[int, tuple[Tile, bytes]] = field(default_factory=dict)

    def grown(self, entries: Sequence[bytes]) -> "tuple[Edge, dict[Tile, bytes]]":
        """Return the edge after appending `entries`, and the tiles and bundles that makes."""
        written = dict(grow(self.size, entries, self._fetch))
        partial = dict(self.partial)
        for tile, data in written.items():  # on each level a partial tile comes last
            if tile.is_full:
                partial.pop(tile.level, None)
            else:
                partial[tile.level] = (tile, data)
        return Edge(self.size + len(entries), partial), written

    def root(self) -> bytes:
        """Return the root hash."""
        return root_of_size(self.size, tile_reader(self.size, self._fetch))

    def head(self, origin: str) -> Checkpoint:
        """Return the head of the log `origin` at this size."""
        return Checkpoint(origin, self.size, self.root())

    def _fetch(self, tile: Tile) -> bytes:
        # Every peak of a tree lies in the partial tile of its level: nothing else is asked for.
        return self.partial[tile.level][1]


class StoredTiles:
    """Tiles and bundles as they stand on the disk."""

    def __init__(self, files: DurableFiles, cached_tiles: int = CACHED_TILES) -> None:
        """Read from `files`; `cached_tiles` bounds the cache of `nodes`, 37 KB each."""
        self._files = files
        self._subtree = lru_cache(cached_tiles)(self._read_subtree)

    def fetch(self, tile: Tile, log_size: int | None = None) -> bytes:
        """Return the stored bytes of a tile or bundle: a `FetchTile`.

        A partial one whose own file is gone is cut from the full one, which replaces all partials,
        or from the one that a log of `log_size` entries has in its place. Raises NotFound if there
        is none of them, Unreadable if the one that is cut is damaged.
        """
        try:
            return self._files.read(tile.path)
        except NotFound:
            if tile.is_full:
                raise
        wider = Tile(tile.level, tile.index)
        if log_size is not None:
            wider = Tile(tile.level, tile.index, width_at(tile.level, tile.index, log_size))
        data = self._files.read(wider.path)
        if tile.level == ENTRIES:
            return encode_bundle(split_bundle(wider, data)[: tile.width])
        return b"".join(split_tile(wider, data)[: tile.width])

    def nodes(self, size: int) -> HashReader:
        """Return a reader of the complete nodes of the log of `size` entries, for proofs.

        They are nodes of every smaller log too, as far as they are complete there. A proof asks
        for many nodes of few tiles: each tile is read and hashed once and kept. What is kept may
        be older than the disk, so whoever checks the disk uses `fetch`.
        """

        def read(level: int, index: int) -> bytes:
            row, height = divmod(level, TILE_HEIGHT)
            tile_index, offset = divmod(index << height, TILE_WIDTH)
            tile = Tile(row, tile_index, width_at(row, tile_index, size))
            return self._subtree(tile).node(height, offset >> height)

        return read

    def _read_subtree(self, tile: Tile) -> MemoryTree:
        return MemoryTree(split_tile(tile, self.fetch(tile)))


def partials_folder(tile: Tile) -> str:
    """Return the folder of the partial tiles that the full `tile` replaces."""
    return f"{tile.path}.p"


def width_at(level: int, index: int, log_size: int) -> int:
    """Return how many items a tile or bundle has in a log of `log_size` entries (<= 0: none)."""
    items = log_size >> TILE_HEIGHT * max(level, 0)
    return min(items - index * TILE_WIDTH, TILE_WIDTH)
