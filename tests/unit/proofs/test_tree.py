"""The Merkle tree against published vectors, a golden tree made in Go, and the RFC's own words."""

import base64
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput
from chargera.proofs.tree import (
    EMPTY_ROOT,
    SIZE_LIMIT,
    Frontier,
    MemoryTree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    node_hash,
    rederive_root,
    root_of,
    root_of_size,
    verify_consistency,
    verify_inclusion,
)
from tests.unit.proofs.vector_files import load, unbase64

GOLDEN = load("golden_tree")
GOLDEN_LEAVES = leaf_hashes(b"c4e-%d" % number for number in range(1024))
GOLDEN_TREE = MemoryTree(GOLDEN_LEAVES)
STRICTER = "sizes are equal (one) and proof is empty"

SIZES = range(1, 66)
LEAVES = leaf_hashes(b"entry %d" % number for number in range(SIZES[-1]))
TREE = MemoryTree(LEAVES)


def mth(leaves: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, word for word."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 9162, section 2.1.3.1, word for word."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], is_whole: bool) -> list[bytes]:
    """RFC 9162, section 2.1.4.1, word for word."""
    if m == len(leaves):
        return [] if is_whole else [mth(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*subproof(m, leaves[:k], is_whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


@pytest.mark.parametrize("vector", load("rfc9162_inclusion")["vectors"], ids=lambda v: v["file"])
def test_verify_inclusion__published_vector__judged_right(vector):
    leaf, root = unbase64([vector["leafHash"], vector["root"]])
    proof = unbase64(vector["proof"])
    arguments = (leaf, vector["leafIdx"], vector["treeSize"], proof, root)
    if vector["wantErr"]:
        with pytest.raises(InvalidInput):
            verify_inclusion(*arguments)
    else:
        verify_inclusion(*arguments)


@pytest.mark.parametrize("vector", load("rfc9162_consistency")["vectors"], ids=lambda v: v["file"])
def test_verify_consistency__published_vector__judged_right(vector):
    old_root, new_root = unbase64([vector["root1"], vector["root2"]])
    proof = unbase64(vector["proof"])
    arguments = (vector["size1"], vector["size2"], proof, old_root, new_root)
    if vector["wantErr"] or vector["desc"] == STRICTER:
        with pytest.raises(InvalidInput):
            verify_consistency(*arguments)
    else:
        verify_consistency(*arguments)


def test_vectors__the_two_traps__are_refused_for_the_length_of_hashes():
    [stricter] = [v for v in load("rfc9162_consistency")["vectors"] if v["desc"] == STRICTER]
    assert not stricter["wantErr"]
    roots = unbase64([stricter["root1"], stricter["root2"]])
    assert {len(root) for root in roots} != {32}
    with pytest.raises(InvalidInput, match="32 bytes"):
        verify_consistency(stricter["size1"], stricter["size2"], [], *roots)
    # An empty leaf equals an empty root after no steps at all.
    with pytest.raises(InvalidInput, match="32 bytes"):
        verify_inclusion(b"", 0, 1, [], b"")


def test_golden_tree__roots__equal_by_three_derivations():
    assert len(GOLDEN["Roots"]) == 89
    for size, [root] in ((int(k), unbase64([v])) for k, v in GOLDEN["Roots"].items()):
        assert GOLDEN_TREE.root(size) == root
        assert root_of(GOLDEN_LEAVES[:size]) == root
        assert rederive_root(GOLDEN_LEAVES[:size]) == root


def test_golden_tree__proofs__equal_and_verified():
    assert (len(GOLDEN["Inclusion"]), len(GOLDEN["Consistency"])) == (59, 67)
    for case in GOLDEN["Inclusion"]:
        index, size, proof = case["Index"], case["Size"], unbase64(case["Proof"])
        assert inclusion_proof(index, size, GOLDEN_TREE.node) == proof
        verify_inclusion(GOLDEN_LEAVES[index], index, size, proof, GOLDEN_TREE.root(size))
    for case in GOLDEN["Consistency"]:
        old, new, proof = case["Index"], case["Size"], unbase64(case["Proof"])
        assert consistency_proof(old, new, GOLDEN_TREE.node) == proof
        verify_consistency(old, new, proof, GOLDEN_TREE.root(old), GOLDEN_TREE.root(new))


def test_inclusion__every_leaf_of_sizes_1_to_65__as_the_rfc_and_only_there():
    for size in SIZES:
        root = mth(LEAVES[:size])
        assert TREE.root(size) == root_of_size(size, TREE.node) == root
        for index in range(size):
            proof = inclusion_proof(index, size, TREE.node)
            assert proof == path(index, LEAVES[:size])
            verify_inclusion(LEAVES[index], index, size, proof, root)
            for leaf, at, of, steps, to in (
                (LEAVES[index - 1] if size > 1 else EMPTY_ROOT, index, size, proof, root),
                (LEAVES[index], (index + 1) % max(size, 2), size, proof, root),
                (LEAVES[index], index, size, [*proof, root], root),
                (LEAVES[index], index, size, proof[:-1], root if proof else EMPTY_ROOT),
                (LEAVES[index], index, size, proof, leaf_hash(root)),
            ):
                with pytest.raises(InvalidInput):
                    verify_inclusion(leaf, at, of, steps, to)


def test_consistency__every_pair_of_sizes_1_to_65__as_the_rfc_and_only_there():
    for new in SIZES:
        new_root = mth(LEAVES[:new])
        for old in range(1, new + 1):
            old_root = mth(LEAVES[:old])
            proof = consistency_proof(old, new, TREE.node)
            assert proof == subproof(old, LEAVES[:new], True)
            verify_consistency(old, new, proof, old_root, new_root)
            for steps, first, second in (
                ([*proof, new_root], old_root, new_root),
                (proof[:-1] if proof else [old_root], old_root, new_root),
                (proof, leaf_hash(old_root), new_root),
                (proof, old_root, leaf_hash(new_root)),
            ):
                with pytest.raises(InvalidInput):
                    verify_consistency(old, new, steps, first, second)


@given(st.data())
def test_proofs__any_hash_changed__refused(data):
    new = data.draw(st.integers(2, SIZES[-1]))
    index = data.draw(st.integers(0, new - 1))
    old = data.draw(st.integers(1, new - 1))
    inclusion = inclusion_proof(index, new, TREE.node)
    at = data.draw(st.integers(0, len(inclusion) - 1))
    inclusion[at] = leaf_hash(inclusion[at])
    with pytest.raises(InvalidInput):
        verify_inclusion(LEAVES[index], index, new, inclusion, TREE.root(new))
    consistency = consistency_proof(old, new, TREE.node)
    at = data.draw(st.integers(0, len(consistency) - 1))
    consistency[at] = leaf_hash(consistency[at])
    with pytest.raises(InvalidInput):
        verify_consistency(old, new, consistency, TREE.root(old), TREE.root(new))


@given(st.lists(st.integers(0, 40), max_size=12))
def test_append__in_any_batches__same_tree(batches):
    frontier, tree, leaves = Frontier(), MemoryTree(), []
    for batch in batches:
        new = leaf_hashes(b"%d %d" % (len(leaves), number) for number in range(batch))
        assert rederive_root(new, after=frontier) == mth(leaves + new)
        frontier = frontier.extended(new)
        tree.extend(new)
        leaves += new
        assert frontier.size == tree.size == len(leaves)
        assert frontier.root() == tree.root() == mth(leaves)
        assert Frontier(frontier.size, frontier.peaks) == frontier


def test_hashes__known_inputs__as_rfc_9162():
    assert leaf_hash(b"") == sha256(b"\0").digest()
    assert node_hash(b"l" * 32, b"r" * 32) == sha256(b"\1" + b"l" * 32 + b"r" * 32).digest()
    assert base64.b64encode(EMPTY_ROOT) == b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    assert root_of([]) == rederive_root([]) == MemoryTree().root() == EMPTY_ROOT


@pytest.mark.parametrize(
    ("size", "peaks"),
    [(-1, ()), (SIZE_LIMIT, (bytes(32),)), (0, (bytes(32),)), (3, (bytes(32),)), (1, (b"",))],
)
def test_frontier__peaks_that_do_not_fit__refused(size, peaks):
    with pytest.raises(InvalidInput):
        Frontier(size, peaks)


def test_append__no_hash__refused():
    with pytest.raises(InvalidInput):
        Frontier().extended([b"short"])
    with pytest.raises(InvalidInput):
        MemoryTree([b"short"])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 1), (0, SIZE_LIMIT)])
def test_inclusion__no_such_leaf__refused(index, size):
    with pytest.raises(InvalidInput):
        inclusion_proof(index, size, TREE.node)
    with pytest.raises(InvalidInput):
        verify_inclusion(LEAVES[0], index, size, [], LEAVES[0])


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 1), (2, 1), (-1, 1), (1, SIZE_LIMIT)])
def test_consistency__no_such_pair__refused(old, new):
    with pytest.raises(InvalidInput):
        consistency_proof(old, new, TREE.node)
    with pytest.raises(InvalidInput):
        verify_consistency(old, new, [], EMPTY_ROOT, EMPTY_ROOT)
