"""What the log shows: its files by path, proofs for one entry, proofs between heads, exports."""

from collections.abc import Callable
from pathlib import Path

from chargera.domain.errors import InvalidInput, NotFound, Unavailable, Unreadable
from chargera.eventlog.files import DurableFiles, OsDisk
from chargera.eventlog.tiles import CHECKPOINT, StoredTiles, width_at
from chargera.proofs.checkpoint import Checkpoint, parse_checkpoint
from chargera.proofs.tiles import (
    ENTRIES,
    TILE_WIDTH,
    Tile,
    split_bundle,
    split_tile,
    tile_reader,
    tiles_of,
)
from chargera.proofs.tlog_proof import TlogProof
from chargera.proofs.tree import (
    consistency_proof,
    inclusion_proof,
    leaf_hashes,
    root_of,
    root_of_size,
    verify_inclusion,
)

EXPORT_BATCH = 256
"""Files of an export that are synced together."""


class LogReader:
    """Reads the published log; everything it gives out lies under a signed head.

    The methods block for a few small files: from a coroutine call them in a thread.
    """

    def __init__(self, files: DurableFiles) -> None:
        """Read from `files`, where the sequencer writes."""
        self._files = files
        self._stored = StoredTiles(files)

    def checkpoint(self) -> bytes:
        """Return the newest signed note. Raises NotFound before the first."""
        return self._files.read(CHECKPOINT)

    def head(self) -> Checkpoint:
        """Return the newest head. Raises NotFound before the first."""
        return parse_checkpoint(self.checkpoint())

    def file(self, path: str) -> bytes:
        """Return what a client of the log gets at `path`: `checkpoint`, `tile/...`.

        Raises NotFound for whatever the newest head does not cover and for any other path, so a
        path from outside reaches no other file.
        """
        if path == CHECKPOINT:
            return self.checkpoint()
        try:
            tile = Tile.parse(path)
        except Unreadable:
            raise NotFound(f"the log has no file {path!r}") from None
        size = self.head().size
        if tile.width > width_at(tile.level, tile.index, size):
            raise NotFound(f"the log has no {path} yet")
        return self._stored.fetch(tile, size)

    def proof(self, log_index: int, note: bytes | None = None) -> bytes:
        """Return the tlog-proof text of an entry under the signed head `note` (else the newest).

        Raises NotFound if that head does not cover the entry, Unavailable if the stored tiles are
        damaged: no proof is given out that does not hold.
        """
        newest = self.checkpoint()
        checkpoint = newest if note is None else note
        head, newest_size = parse_checkpoint(checkpoint), parse_checkpoint(newest).size
        if not 0 <= log_index < head.size <= newest_size:
            raise NotFound(
                f"entry {log_index} is not under the head of {head.size} entries",
                remedy="it will be under the next one, within two checkpoint intervals",
            )
        read = self._stored.nodes(newest_size)
        path = inclusion_proof(log_index, head.size, read)
        try:
            verify_inclusion(read(0, log_index), log_index, head.size, path, head.root_hash)
        except InvalidInput as error:
            raise Unavailable(
                f"the log's tiles are damaged: {error.message}",
                remedy="restart the server: tiles are then compared with the database and mended",
            ) from error
        return TlogProof(log_index, tuple(path), checkpoint).to_bytes()

    def consistency(self, old_size: int, new_size: int) -> list[bytes]:
        """Return the proof that the log of `old_size` entries is a prefix of that of `new_size`.

        Raises InvalidInput unless 0 < old_size <= new_size, NotFound if the newest head is smaller.
        """
        newest_size = self.head().size
        if new_size > newest_size:
            raise NotFound(f"no head of {new_size} entries is published yet")
        return consistency_proof(old_size, new_size, self._stored.nodes(newest_size))

    def damaged(self) -> list[str]:
        """Read every file of the newest head again; return the paths that do not hold together.

        Each bundle is compared with the leaf hashes above it, each full tile with its hash in the
        tile above it, the right edge with the signed root. Raises NotFound before the first head.
        """
        head = self.head()
        found = []
        for tile in tiles_of(head.size):
            try:
                if not self._matches_above(tile, head.size):
                    found.append(tile.path)
            except (NotFound, Unreadable):
                found.append(tile.path)
        try:
            root = root_of_size(head.size, tile_reader(head.size, self._stored.fetch))
        except (NotFound, Unreadable):
            return found
        return found if root == head.root_hash else [*found, CHECKPOINT]

    def _matches_above(self, tile: Tile, size: int) -> bool:
        """Say whether the tile above has the hashes that follow from `tile`, if there is one."""
        data = self._stored.fetch(tile)
        if tile.level == ENTRIES:
            leaves = Tile(0, tile.index, tile.width)
            return self._stored.fetch(leaves) == b"".join(leaf_hashes(split_bundle(tile, data)))
        hashes = split_tile(tile, data)
        if not tile.is_full:
            return True
        index, place = divmod(tile.index, TILE_WIDTH)
        above = Tile(tile.level + 1, index, width_at(tile.level + 1, index, size))
        return split_tile(above, self._stored.fetch(above))[place] == root_of(hashes)

    def export(self, folder: Path, on_file: Callable[[int, int], None] | None = None) -> Checkpoint:
        """Copy the newest checkpoint and all its tiles and bundles into `folder`; return its head.

        `on_file` is told how many files of how many are written. A later export into the same
        folder adds what is new. Raises NotFound before the first head, Unavailable if the folder
        cannot be written.
        """
        note = self.checkpoint()
        head = parse_checkpoint(note)
        tiles = list(tiles_of(head.size))
        target = DurableFiles(OsDisk(folder))
        for start in range(0, len(tiles), EXPORT_BATCH):
            batch = tiles[start : start + EXPORT_BATCH]
            target.write_changed({tile.path: self._stored.fetch(tile) for tile in batch})
            if on_file is not None:
                on_file(start + len(batch), len(tiles) + 1)
        target.write({CHECKPOINT: note})  # last: what it names is there
        if on_file is not None:
            on_file(len(tiles) + 1, len(tiles) + 1)
        return head
