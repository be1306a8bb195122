"""The signer of the log's heads: it reads what is stored, derives the root itself, then signs.

It trusts nobody's memory but its own. Yeti 2022, a public log, ended because of one flipped bit
in one leaf hash under a signed head: so what is signed here was read back and hashed again, by
other code than wrote it. Never two heads of one size, never a smaller one.
"""

from collections.abc import Sequence

from chargera.domain.errors import ChargEraError, InvalidInput, NotFound, Refused
from chargera.eventlog.custody import HeadMemory, LogKey
from chargera.proofs.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from chargera.proofs.tiles import (
    ENTRIES,
    TILE_WIDTH,
    FetchTile,
    split_bundle,
    split_tile,
    tile_reader,
    tiles_written,
)
from chargera.proofs.tree import Frontier, leaf_hash, rederive_root, verify_consistency


class Signer:
    """A `HeadSigner` with a key and a memory of its own, in this process."""

    def __init__(self, key: LogKey, memory: HeadMemory, stored: FetchTile) -> None:
        """Sign with `key`, remember in `memory`, and read what is signed through `stored`."""
        self._key = key
        self._memory = memory
        self._stored = stored

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The verifier keys under which its signatures are valid."""
        return (str(self._key.verifier),)

    def last(self) -> Checkpoint | None:
        """Return the last head that it signed. Raises Refused if its memory is damaged."""
        return self._opened(self._memory.load())

    def sign(
        self, old: Checkpoint | None, new: Checkpoint, consistency_proof: Sequence[bytes]
    ) -> bytes:
        """Return the signed note of `new`, an extension of its last head `old`."""
        note = self._memory.load()
        last = self._opened(note)
        if note is not None and last == new:
            # Whoever asks again did not get the answer. Remember it again too: the first time may
            # have ended between the rename and the sync that make it survive a power cut.
            self._memory.swap(note, note)
            return note
        if last != old:
            raise Refused(
                f"the signer's last head has {_size(last)} entries, not {_size(old)}, "
                "or another root",
                remedy="two servers may be writing one log: stop both, compare their databases",
            )
        if new.origin != self._key.verifier.name:
            raise Refused(f"this key signs for {self._key.verifier.name}, not {new.origin}")
        if new.size <= _size(last):
            raise Refused(f"a head of {_size(last)} entries is signed: none of {new.size} follows")
        try:
            self._check_extension(last, new, consistency_proof)
            signed = sign_checkpoint(new, self._key.verifier, self._key.sign)
        except (InvalidInput, NotFound) as error:
            raise Refused(
                f"head of {new.size} entries not signed: {error.message}",
                remedy="restart: the files are then compared with the database and made anew",
            ) from error
        self._memory.swap(note, signed)  # before anyone sees it: what is seen is remembered
        return signed

    def _opened(self, note: bytes | None) -> Checkpoint | None:
        if note is None:
            return None
        try:
            return open_checkpoint(note, self._key.verifier.name, [self._key.verifier])
        except ChargEraError as error:
            raise Refused(
                f"the signer's memory of its last head is not what it signed: {error.message}",
                remedy="restore the folder of the signing key; without it nothing is signed",
            ) from error

    def _check_extension(
        self, old: Checkpoint | None, new: Checkpoint, proof: Sequence[bytes]
    ) -> None:
        """Raise InvalidInput or NotFound unless what is stored is `old`, extended to `new`."""
        before = Frontier()
        if old is not None:
            before = self._frontier(old.size)
            if before.root() != old.root_hash:
                raise InvalidInput("the stored tiles no longer have the root of the last head")
            verify_consistency(old.size, new.size, proof, old.root_hash, new.root_hash)
        elif proof:
            raise InvalidInput("the first head extends nothing, so it has no proof")
        leaves = self._checked_leaves(before.size, new.size)
        if rederive_root(leaves, before) != new.root_hash:
            raise InvalidInput("the stored entries do not have this root")
        if self._frontier(new.size).root() != new.root_hash:
            raise InvalidInput("the stored tiles do not have this root")

    def _frontier(self, size: int) -> Frontier:
        """Return the peaks of the tree of `size` leaves, read from stored tiles."""
        read = tile_reader(size, self._stored)
        levels = [level for level in reversed(range(size.bit_length())) if size >> level & 1]
        return Frontier(size, tuple(read(level, (size >> level) - 1) for level in levels))

    def _checked_leaves(self, old_size: int, new_size: int) -> list[bytes]:
        """Return the hashes of the stored entries from `old_size` on.

        Raises InvalidInput unless each stored tile that is new holds the hashes of what is below
        it: with the root over the right edge that covers every byte of every new file.
        """
        derived: dict[tuple[int, int], bytes] = {}
        for tile in tiles_written(old_size, new_size):
            data = self._stored(tile)
            first = tile.index * TILE_WIDTH
            if tile.level == ENTRIES:
                for place, entry in enumerate(split_bundle(tile, data)):
                    derived[0, first + place] = leaf_hash(entry)
                continue
            hashes = split_tile(tile, data)
            for place, stored in enumerate(hashes):
                if derived.get((tile.level, first + place), stored) != stored:
                    raise InvalidInput(f"{tile.path}: does not hold the hashes of what is below")
            if tile.is_full:
                derived[tile.level + 1, tile.index] = rederive_root(hashes)
        return [derived[0, index] for index in range(old_size, new_size)]


def _size(head: Checkpoint | None) -> int:
    return 0 if head is None else head.size
