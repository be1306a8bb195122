"""Texts of stations: what can be stored of them, and how identifiers are compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.messages import STORED_CHARS_MAX, IdTokenRef, storable


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("", ""),
        ("EVDisconnected", "EVDisconnected"),
        ("Füße €", "Füße €"),
        ("a\0b", "a\ufffdb"),
        ("\ud800x", "\ufffdx"),
        ("x" * STORED_CHARS_MAX, "x" * STORED_CHARS_MAX),
        ("é" * STORED_CHARS_MAX, "é" * STORED_CHARS_MAX),
    ],
)
def test_storable__what_a_database_can_hold(text: str, stored: str) -> None:
    assert storable(text) == stored


def test_storable__too_long__cut_but_different_texts_stay_different() -> None:
    one, other = "x" * 10_000 + "1", "x" * 10_000 + "2"
    assert len(storable(one)) == STORED_CHARS_MAX
    assert storable(one) == storable(one) != storable(other)
    assert storable(one).startswith("xxx")


@given(st.text(st.characters(codec=None, categories=None), max_size=2_000))
def test_storable__anything__fits_text_and_index(text: str) -> None:
    stored = storable(text)
    assert "\0" not in stored
    assert len(stored) <= STORED_CHARS_MAX
    assert len(stored.encode()) <= 4 * STORED_CHARS_MAX
    assert storable(stored) == stored


def test_id_token__compared_without_regard_to_case() -> None:
    assert IdTokenRef("AbCd", None).key == IdTokenRef("aBcD", "ISO14443").key == "abcd"
    assert IdTokenRef("Straße\0", None).key == "strasse\ufffd"
