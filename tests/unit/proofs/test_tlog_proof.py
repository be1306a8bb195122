"""tlog-proof files: the form of the specification, and no byte that does not matter."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.proofs.checkpoint import Checkpoint, sign_checkpoint
from chargera.proofs.tlog_proof import (
    EXTRA_BYTES_MAX,
    HEADER,
    PROOF_BYTES_MAX,
    TlogProof,
    parse_tlog_proof,
)
from chargera.proofs.tree import MemoryTree, inclusion_proof, leaf_hashes
from tests.unit.proofs.log_of_test import LOG_KEY, LOG_PRIVATE, ORIGIN, OTHER_KEY

SIZE = 100
INDEX = 71
LEAVES = leaf_hashes(b"entry %d" % number for number in range(SIZE))
TREE = MemoryTree(LEAVES)
HEAD = Checkpoint(ORIGIN, SIZE, TREE.root())
CHECKPOINT = sign_checkpoint(HEAD, LOG_KEY, LOG_PRIVATE.sign)


def proof_of(index: int) -> TlogProof:
    return TlogProof(index, tuple(inclusion_proof(index, SIZE, TREE.node)), CHECKPOINT)


PROOF = proof_of(INDEX)
DATA = PROOF.to_bytes()


def test_to_bytes__known_proof__lines_of_the_specification():
    lines = DATA.decode().split("\n")
    assert lines[:2] == ["c2sp.org/tlog-proof@v1", "index 71"]
    assert lines[2 + len(PROOF.path)] == ""
    assert DATA.endswith(b"\n\n" + CHECKPOINT)
    with_extra = replace(PROOF, extra=b"\0\xff").to_bytes()
    assert with_extra.startswith(b"c2sp.org/tlog-proof@v1\nextra AP8=\nindex 71\n")
    assert parse_tlog_proof(with_extra).extra == b"\0\xff"


def test_verify__every_leaf__its_head():
    for index, leaf in enumerate(LEAVES):
        proof = parse_tlog_proof(proof_of(index).to_bytes())
        assert proof == proof_of(index)
        assert proof.verify(leaf, ORIGIN, [LOG_KEY]) == HEAD


def test_verify__log_of_one_entry__no_path():
    head = Checkpoint(ORIGIN, 1, LEAVES[0])
    proof = TlogProof(0, (), sign_checkpoint(head, LOG_KEY, LOG_PRIVATE.sign))
    assert parse_tlog_proof(proof.to_bytes()).verify(LEAVES[0], ORIGIN, [LOG_KEY]) == head


def test_verify__another_leaf_log_or_key__refused():
    for leaf, origin, keys in (
        (LEAVES[0], ORIGIN, [LOG_KEY]),
        (LEAVES[INDEX], "other.example/log", [LOG_KEY]),
        (LEAVES[INDEX], ORIGIN, [OTHER_KEY]),
    ):
        with pytest.raises(InvalidInput):
            PROOF.verify(leaf, origin, keys)


def test_verify__every_byte_changed_in_every_bit__refused():
    for position in range(len(DATA)):
        for bit in range(8):
            data = bytearray(DATA)
            data[position] ^= 1 << bit
            with pytest.raises(InvalidInput):
                parse_tlog_proof(bytes(data)).verify(LEAVES[INDEX], ORIGIN, [LOG_KEY])


def test_verify__every_byte_lost_or_cut_off__refused():
    for position in range(len(DATA)):
        for data in (DATA[:position], DATA[:position] + DATA[position + 1 :]):
            with pytest.raises(InvalidInput):
                parse_tlog_proof(data).verify(LEAVES[INDEX], ORIGIN, [LOG_KEY])


HASH_LINE = "A" * 43 + "="


@pytest.mark.parametrize(
    "head",
    [
        "",
        HEADER,
        f"{HEADER}\n",
        f"{HEADER} \nindex 1",
        "c2sp.org/tlog-proof@v2\nindex 1",
        f"{HEADER}\nindex",
        f"{HEADER}\nindex ",
        f"{HEADER}\nindex 01",
        f"{HEADER}\nindex -1",
        f"{HEADER}\nindex 1 ",
        f"{HEADER}\nindex {2**63}",
        f"{HEADER}\nindex 1\nindex 1",
        f"{HEADER}\nextra AA==",
        f"{HEADER}\nextra \nindex 1",
        f"{HEADER}\nextra AB==\nindex 1",
        f"{HEADER}\nindex 1\nextra AA==",
        f"{HEADER}\nindex 1\nAAAA",
        f"{HEADER}\nindex 1\n{HASH_LINE} ",
        f"{HEADER}\nindex 1\n{HASH_LINE[:-2]}B=",
        f"{HEADER}\r\nindex 1",
        f"{HEADER}\nindex \N{SUPERSCRIPT ONE}",
        f"{HEADER}\nindex 1" + f"\n{HASH_LINE}" * 64,
    ],
    ids=lambda head: ascii(head[:60]),
)
def test_parse_tlog_proof__out_of_form__unreadable(head):
    with pytest.raises(Unreadable):
        parse_tlog_proof(head.encode() + b"\n\n" + CHECKPOINT)


@pytest.mark.parametrize(
    "data",
    [b"", f"{HEADER}\nindex 0\n".encode(), b"x" * (PROOF_BYTES_MAX + 1)],
    ids=["empty", "no checkpoint", "too long"],
)
def test_parse_tlog_proof__not_even_two_parts__unreadable(data):
    with pytest.raises(Unreadable):
        parse_tlog_proof(data)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"index": -1}, "index"),
        ({"index": 2**63}, "index"),
        ({"path": (bytes(32),) * 64}, "path"),
        ({"path": (b"",)}, "path"),
        ({"extra": b""}, "extra"),
        ({"extra": bytes(EXTRA_BYTES_MAX + 1)}, "extra"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_tlog_proof__impossible_value__refused_by_name(changes, field):
    with pytest.raises(InvalidInput) as caught:
        replace(PROOF, **changes)
    assert caught.value.field == field


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    st.binary(max_size=40),
    st.none() | st.binary(min_size=1, max_size=40),
)
def test_parse_tlog_proof__any_proof__comes_back(index, path, checkpoint, extra):
    proof = TlogProof(index, tuple(path), checkpoint, extra)
    assert parse_tlog_proof(proof.to_bytes()) == proof


@given(st.binary(max_size=80))
def test_parse_tlog_proof__any_bytes__unreadable_or_written_again(data):
    for candidate in (data, HEADER.encode() + b"\nindex 1\n" + data):
        try:
            proof = parse_tlog_proof(candidate)
        except Unreadable:
            continue
        assert proof.to_bytes() == candidate
