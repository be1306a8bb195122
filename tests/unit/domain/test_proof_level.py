"""Proof levels: what is claimed for a session is what was checked, and no more."""

import itertools

from chargera.domain.proof_level import MEANINGS, ProofFacts, ProofLevel, proof_level


def test_every_level_is_explained() -> None:
    assert [level.value for level in ProofLevel] == ["L0", "L1", "L2", "L3", "L4", "L5"]
    assert MEANINGS.keys() == set(ProofLevel)
    assert all(level.meaning.endswith(".") for level in ProofLevel)
    assert len({level.meaning for level in ProofLevel}) == 6


def test_a_report_alone_is_level_zero() -> None:
    assert proof_level(ProofFacts()) is ProofLevel.L0


def test_levels_of_every_combination() -> None:
    for hardware, signed, pages in itertools.product((False, True), repeat=3):
        level = proof_level(ProofFacts(hardware, signed, pages))
        if signed and pages:
            assert level is ProofLevel.L2
        elif hardware:
            assert level is ProofLevel.L1
        else:
            assert level is ProofLevel.L0
