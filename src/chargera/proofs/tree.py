"""The SHA-256 Merkle tree of RFC 9162, section 2.1: roots, proofs and their verification.

Levels count from the leaves (0); node `index` at `level` covers the leaves
[index * 2^level, (index + 1) * 2^level). A node whose leaves all exist is complete and never
changes again; proofs are made from complete nodes alone, so they can be read from tiles.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

from chargera.domain.errors import InvalidInput

HASH_BYTES = 32
SIZE_LIMIT = 2**63
"""Tree sizes are below it (C2SP tlog-cosignature)."""

EMPTY_ROOT = sha256().digest()

HashReader: TypeAlias = Callable[[int, int], bytes]
"""Given `level` and `index`, returns the hash of that complete node."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of the leaf that holds `entry`."""
    return sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Return the leaf hash of each of `entries`, in order."""
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node with these two children."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that is needed to append: the size and the complete subtrees that the tree is made of.

    There is one peak for each bit that is set in `size`, the largest (leftmost) first.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Raise InvalidInput if the peaks do not fit the size."""
        if not 0 <= self.size < SIZE_LIMIT:
            raise InvalidInput("tree size: must be 0 or more and below 2^63", field="size")
        if len(self.peaks) != self.size.bit_count() or not _are_hashes(self.peaks):
            raise InvalidInput("peaks: must be one 32-byte hash for each bit of the size")

    def extended(self, new_leaves: Sequence[bytes]) -> "Frontier":
        """Return the frontier after appending leaves with these hashes."""
        if not _are_hashes(new_leaves):
            raise InvalidInput("a leaf hash must have 32 bytes")
        row = list(new_leaves)
        old_peaks = list(self.peaks)
        new_peaks: list[bytes] = []
        remaining = self.size
        # One level a round: what the old tree left over on it, then what came up from below.
        while row:
            if remaining & 1:
                row.insert(0, old_peaks.pop())
            if len(row) & 1:
                new_peaks.append(row.pop())
            row = _row_above(row)
            remaining >>= 1
        return Frontier(self.size + len(new_leaves), (*old_peaks, *reversed(new_peaks)))

    def root(self) -> bytes:
        """Return the root hash of the tree."""
        if not self.peaks:
            return EMPTY_ROOT
        *others, root = self.peaks
        for peak in reversed(others):
            root = node_hash(peak, root)
        return root


class MemoryTree:
    """A tree with every complete node kept, for what fits into memory (about 100 B a leaf)."""

    def __init__(self, leaves: Sequence[bytes] = ()) -> None:
        """Start with leaves of these hashes."""
        self._levels: list[list[bytes]] = [[]]
        self.extend(leaves)

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return len(self._levels[0])

    def extend(self, new_leaves: Sequence[bytes]) -> None:
        """Append leaves with these hashes."""
        if not _are_hashes(new_leaves):
            raise InvalidInput("a leaf hash must have 32 bytes")
        row = list(new_leaves)
        level = 0
        while row:
            if level == len(self._levels):
                self._levels.append([])
            nodes = self._levels[level]
            half_pair = nodes[-1:] if len(nodes) & 1 else []
            nodes += row
            row = _row_above(half_pair + row)
            level += 1

    def node(self, level: int, index: int) -> bytes:
        """Return the hash of a complete node: a `HashReader`."""
        return self._levels[level][index]

    def root(self, size: int | None = None) -> bytes:
        """Return the root hash, now or when there were `size` leaves."""
        return root_of_size(self.size if size is None else size, self.node)


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root hash of a tree with leaves of these hashes."""
    return Frontier().extended(leaves).root()


def root_of_size(size: int, read: HashReader) -> bytes:
    """Return the root hash of the first `size` leaves."""
    return _right_edge(size, size.bit_length(), read) if size else EMPTY_ROOT


def rederive_root(leaves: Iterable[bytes], after: Frontier | None = None) -> bytes:
    """Return the root hash of `after` with `leaves` appended, by other code than `root_of`.

    A signer compares the two, so that one flipped bit or one mistake here cannot be signed. Leaf
    by leaf on a stack, equal heights merging (RFC 9162, section 2.1.2), nothing shared with the
    code above but the formula of a node.
    """
    stack: list[tuple[int, bytes]] = []
    if after is not None:
        heights = [height for height in range(after.size.bit_length()) if after.size >> height & 1]
        stack.extend(zip(reversed(heights), after.peaks, strict=True))
    for leaf in leaves:
        stack.append((0, leaf))
        while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
            _merge_top(stack)
    if not stack:
        return sha256(b"").digest()
    while len(stack) > 1:
        _merge_top(stack)
    return stack[0][1]


def inclusion_proof(index: int, size: int, read: HashReader) -> list[bytes]:
    """Return the audit path of leaf `index` in the tree of `size` leaves, leaf's sibling first.

    Raises InvalidInput unless 0 <= index < size. Section 2.1.3.1.
    """
    _check_index(index, size)
    return _path(0, index, size, read)


def consistency_proof(old_size: int, new_size: int, read: HashReader) -> list[bytes]:
    """Return the proof that the tree of `old_size` leaves is a prefix of that of `new_size`.

    Raises InvalidInput unless 0 < old_size <= new_size. Section 2.1.4.1.
    """
    _check_sizes(old_size, new_size)
    if old_size == new_size:
        return []
    # The proof is the path of the last complete subtree of the old tree, and that subtree itself
    # unless it is the whole old tree, whose root the verifier has.
    level = (old_size & -old_size).bit_length() - 1
    index = (old_size >> level) - 1
    start = [read(level, index)] if index else []
    return start + _path(level, index, new_size, read)


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Raise InvalidInput unless `proof` shows `leaf` at `index` in the tree of `size` and `root`.

    Insists on hashes of 32 bytes, so an empty text never stands for one. Section 2.1.3.2.
    """
    _check_index(index, size)
    if not _are_hashes([leaf, root, *proof]):
        raise InvalidInput("inclusion proof: every hash must have 32 bytes")
    node, last, here = index, size - 1, leaf
    for sibling in proof:
        if not last:
            raise InvalidInput("inclusion proof: too long for the size of the tree")
        if node & 1 or node == last:
            here = node_hash(sibling, here)
            node, last = _skip_left_edge(node, last)
        else:
            here = node_hash(here, sibling)
        node >>= 1
        last >>= 1
    if last:
        raise InvalidInput("inclusion proof: too short for the size of the tree")
    if here != root:
        raise InvalidInput("inclusion proof: does not lead to the root hash")


def verify_consistency(
    old_size: int,
    new_size: int,
    proof: Sequence[bytes],
    old_root: bytes,
    new_root: bytes,
) -> None:
    """Raise InvalidInput unless `proof` shows that the old tree is a prefix of the new one.

    Insists on hashes of 32 bytes and refuses an old size of 0, of which everything is an
    extension. Section 2.1.4.2.
    """
    _check_sizes(old_size, new_size)
    if not _are_hashes([old_root, new_root, *proof]):
        raise InvalidInput("consistency proof: every hash must have 32 bytes")
    if old_size == new_size:
        if proof or old_root != new_root:
            raise InvalidInput("consistency proof: equal sizes need equal roots and no proof")
        return
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not path:
        raise InvalidInput("consistency proof: too short for the sizes")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if not last:
            raise InvalidInput("consistency proof: too long for the sizes")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            node, last = _skip_left_edge(node, last)
        else:
            new = node_hash(new, sibling)
        node >>= 1
        last >>= 1
    if last:
        raise InvalidInput("consistency proof: too short for the sizes")
    if old != old_root or new != new_root:
        raise InvalidInput("consistency proof: does not lead to the two root hashes")


def _row_above(row: Sequence[bytes]) -> list[bytes]:
    """Return the parents of the pairs in `row`; a last odd node has none yet."""
    nodes = iter(row)
    pairs = zip(nodes, nodes, strict=False)
    return [sha256(b"\x01" + left + right).digest() for left, right in pairs]


def _path(level: int, index: int, size: int, read: HashReader) -> list[bytes]:
    """Return the siblings from a complete node up to the root of the tree of `size` leaves."""
    path = []
    last = (size - 1) >> level
    while last:
        sibling = index ^ 1
        if sibling < last or (sibling == last and (sibling + 1) << level <= size):
            path.append(read(level, sibling))
        elif sibling == last:
            path.append(_right_edge(size, level, read))
        level, index, last = level + 1, index >> 1, last >> 1
    return path


def _right_edge(size: int, height: int, read: HashReader) -> bytes:
    """Return the hash of the last `size mod 2^height` leaves, folded from complete nodes."""
    edge = b""
    for level in range(height):
        if size >> level & 1:
            node = read(level, (size >> level) - 1)
            edge = node_hash(node, edge) if edge else node
    return edge


def _skip_left_edge(node: int, last: int) -> tuple[int, int]:
    """Climb over the levels on which the node is a left child without a sibling."""
    while node and not node & 1:
        node, last = node >> 1, last >> 1
    return node, last


def _merge_top(stack: list[tuple[int, bytes]]) -> None:
    height, right = stack.pop()
    _, left = stack.pop()
    hasher = sha256(b"\x01")
    hasher.update(left)
    hasher.update(right)
    stack.append((height + 1, hasher.digest()))


def _are_hashes(values: Iterable[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size < SIZE_LIMIT:
        raise InvalidInput(f"no leaf {index} in a tree of {size}", field="index")


def _check_sizes(old_size: int, new_size: int) -> None:
    if not 0 < old_size <= new_size < SIZE_LIMIT:
        raise InvalidInput(f"no tree of {old_size} grows into one of {new_size}", field="old_size")
