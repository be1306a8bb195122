"""Checkpoints: what a log may say about itself, and to whom one is not to listen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.proofs.checkpoint import (
    Checkpoint,
    open_checkpoint,
    parse_checkpoint,
    parse_decimal,
    sign_checkpoint,
)
from chargera.proofs.note import sign_note
from tests.unit.proofs.log_of_test import (
    LOG_KEY,
    LOG_PRIVATE,
    ORIGIN,
    OTHER_KEY,
    OTHER_PRIVATE,
    WITNESS_KEY,
    WITNESS_PRIVATE,
    key_pair,
)

ROOT = bytes(range(32))
ROOT_TEXT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
HEAD = Checkpoint(ORIGIN, 70_000, ROOT)
SIGNED = sign_checkpoint(HEAD, LOG_KEY, LOG_PRIVATE.sign)


def signed_text(text: str) -> bytes:
    return sign_note(text, [(LOG_KEY, LOG_PRIVATE.sign)])


def test_sign_checkpoint__known_head__three_lines_and_a_signature():
    text = f"{ORIGIN}\n70000\n{ROOT_TEXT}\n"
    assert SIGNED.startswith(f"{text}\n— {ORIGIN} ".encode())
    assert signed_text(text) == SIGNED
    assert len(SIGNED) < 1024  # fits one topic message


def test_open_checkpoint__signed_by_the_log__its_head():
    assert open_checkpoint(SIGNED, ORIGIN, [LOG_KEY]) == HEAD
    assert open_checkpoint(SIGNED, ORIGIN, [OTHER_KEY, LOG_KEY]) == HEAD
    assert parse_checkpoint(SIGNED) == HEAD


def test_open_checkpoint__cosigned__witness_lines_do_not_disturb():
    data = sign_note(HEAD.text, [(LOG_KEY, LOG_PRIVATE.sign), (WITNESS_KEY, WITNESS_PRIVATE.sign)])
    assert open_checkpoint(data, ORIGIN, [LOG_KEY]) == HEAD


def test_open_checkpoint__over_a_change_of_keys__old_and_new_verify():
    new_key, new_private = key_pair(9)
    both = sign_note(HEAD.text, [(LOG_KEY, LOG_PRIVATE.sign), (new_key, new_private.sign)])
    for keys in ([LOG_KEY], [new_key], [LOG_KEY, new_key]):
        assert open_checkpoint(both, ORIGIN, keys) == HEAD


def test_open_checkpoint__of_another_log_or_key__refused():
    with pytest.raises(InvalidInput, match="of the log"):
        open_checkpoint(SIGNED, "log.example/c4e/2", [LOG_KEY])
    foreign = sign_checkpoint(HEAD, OTHER_KEY, OTHER_PRIVATE.sign)
    for data, keys in ((foreign, [LOG_KEY]), (SIGNED, [OTHER_KEY]), (SIGNED, [])):
        with pytest.raises(InvalidInput, match="trusted"):
            open_checkpoint(data, ORIGIN, keys)


def test_open_checkpoint__every_byte_changed_in_every_bit__refused():
    for position in range(len(SIGNED)):
        for bit in range(8):
            data = bytearray(SIGNED)
            data[position] ^= 1 << bit
            with pytest.raises(InvalidInput):
                open_checkpoint(bytes(data), ORIGIN, [LOG_KEY])


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n1\n",
        f"{ORIGIN}\n1\n{ROOT_TEXT}\nextension\n",
        f"{ORIGIN}\n1\n{ROOT_TEXT}\n\n",
        f"\n1\n{ROOT_TEXT}\n",
        f"log example\n1\n{ROOT_TEXT}\n",
        f"log+example\n1\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n01\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n+1\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n-1\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n1 \n{ROOT_TEXT}\n",
        f"{ORIGIN}\n\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n1e3\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n1_000\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n\N{ARABIC-INDIC DIGIT ONE}\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n{2**63}\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n{10**19}\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n{'9' * 5000}\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n1\n{ROOT_TEXT[:-1]}\n",
        f"{ORIGIN}\n1\n{ROOT_TEXT[:-2]}9=\n",
        f"{ORIGIN}\n1\nAAEC\n",
        f"{ORIGIN}\n1\n\n",
    ],
    ids=lambda text: ascii(text[:60]),
)
def test_parse_checkpoint__signed_but_out_of_form__unreadable(text):
    with pytest.raises(Unreadable):
        parse_checkpoint(signed_text(text))


@pytest.mark.parametrize(
    ("origin", "size", "root_hash", "field"),
    [
        ("", 0, ROOT, "origin"),
        ("a b", 0, ROOT, "origin"),
        ("a\nb", 0, ROOT, "origin"),
        (ORIGIN, -1, ROOT, "size"),
        (ORIGIN, 2**63, ROOT, "size"),
        (ORIGIN, 0, ROOT[1:], "root_hash"),
    ],
)
def test_checkpoint__impossible_value__refused_by_name(origin, size, root_hash, field):
    with pytest.raises(InvalidInput) as caught:
        Checkpoint(origin, size, root_hash)
    assert caught.value.field == field


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_sign_checkpoint__any_head__comes_back(size, root_hash):
    head = Checkpoint(ORIGIN, size, root_hash)
    data = sign_checkpoint(head, LOG_KEY, LOG_PRIVATE.sign)
    assert open_checkpoint(data, ORIGIN, [LOG_KEY]) == head


@given(st.text("0123456789-+_ .\n", max_size=21))
def test_parse_decimal__any_text__one_form_a_number(text):
    try:
        number = parse_decimal(text, "number")
    except Unreadable:
        return
    assert str(number) == text
    assert 0 <= number < 2**63
