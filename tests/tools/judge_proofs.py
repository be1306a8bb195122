"""Has PyPI `proofbundle` judge the proofs that `chargera.proofs` makes.

Every inclusion and consistency proof of the trees of 1 to 65 leaves, some of a tree of 70,000,
and whole tlog-proof files; each also spoiled, which must be refused. Exit 0: all judged right.
"""

import sys
from collections.abc import Iterator

import proofbundle
from write_log import KEY, ORIGIN, PRIVATE, entry

from chargera.proofs.checkpoint import Checkpoint, sign_checkpoint
from chargera.proofs.tlog_proof import TlogProof
from chargera.proofs.tree import MemoryTree, consistency_proof, inclusion_proof, leaf_hashes

SMALL = range(1, 66)
LARGE = 70_000
POINTS = (0, 1, 255, 256, 257, 4_095, 65_535, 65_536, LARGE - 1)

Case = tuple[str, bool, bool]
"""What was judged, the verdict, and the verdict that is right."""


def inclusion_cases(tree: MemoryTree, index: int, size: int) -> Iterator[Case]:
    proof, root = inclusion_proof(index, size, tree.node), tree.root(size)
    name = f"inclusion of {index} in {size}"
    yield name, proofbundle.verify_inclusion(entry(index), index, size, proof, root), True
    other = entry(index + 1)
    yield (
        f"{name}, other entry",
        proofbundle.verify_inclusion(other, index, size, proof, root),
        False,
    )


def consistency_cases(tree: MemoryTree, old: int, new: int) -> Iterator[Case]:
    proof = consistency_proof(old, new, tree.node)
    old_root, new_root = tree.root(old), tree.root(new)
    name = f"consistency of {old} with {new}"
    yield name, proofbundle.verify_consistency(old, new, proof, old_root, new_root), True
    forked = bytes([old_root[0] ^ 1]) + old_root[1:]
    yield (
        f"{name}, forked",
        proofbundle.verify_consistency(old, new, proof, forked, new_root),
        False,
    )


def file_cases(tree: MemoryTree, index: int) -> Iterator[Case]:
    head = Checkpoint(ORIGIN, tree.size, tree.root())
    signed = sign_checkpoint(head, KEY, PRIVATE.sign)
    path = tuple(inclusion_proof(index, tree.size, tree.node))
    text = TlogProof(index, path, signed).to_bytes().decode()
    for number, right in ((index, True), (index + 1, False)):
        verdict = proofbundle.verify_tlog_proof(
            text, entry(number), str(KEY), expected_origin=ORIGIN
        )
        yield f"tlog-proof of {index} for entry {number}", bool(verdict["ok"]), right


def all_cases() -> Iterator[Case]:
    tree = MemoryTree(leaf_hashes(map(entry, range(LARGE))))
    for size in SMALL:
        for other in range(1, size + 1):
            yield from inclusion_cases(tree, other - 1, size)
            yield from consistency_cases(tree, other, size)
    for point in POINTS:
        yield from inclusion_cases(tree, point, LARGE)
        yield from consistency_cases(tree, point + 1, LARGE)
        yield from file_cases(tree, point)


def main() -> int:
    cases = list(all_cases())
    wrong = [name for name, verdict, right in cases if verdict is not right]
    for name in wrong:
        print(f"judged wrong: {name}", file=sys.stderr)
    print(f"proofbundle {proofbundle.__version__}: {len(cases) - len(wrong)} of {len(cases)} right")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
