"""Signed notes: the specification's own example, and everything that is not quite one."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput, Unreadable, Unsupported
from chargera.proofs.note import (
    NOTE_BYTES_MAX,
    SIGNATURES_MAX,
    Note,
    SignatureLine,
    VerifierKey,
    decode_base64,
    parse_note,
    sign_note,
)
from tests.unit.proofs.log_of_test import (
    LOG_KEY,
    LOG_PRIVATE,
    OTHER_KEY,
    OTHER_PRIVATE,
    WITNESS_KEY,
    WITNESS_PRIVATE,
)

# c2sp.org/signed-note@v1.0.0, sections "Verifier keys" and "Note".
SPEC_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
""".encode()  # noqa: E501  # one line of the format

TEXT = "log.example/c4e/1\n1\nroot\n"
SIGNED = sign_note(TEXT, [(LOG_KEY, LOG_PRIVATE.sign)])
UNKNOWN_LINE = SignatureLine("witness.example/pq", b"\1\2\3\4", bytes(2428))


def test_verify__example_of_the_specification__signed_by_its_key():
    key = VerifierKey.parse(SPEC_VKEY)
    assert str(key) == SPEC_VKEY
    note = parse_note(SPEC_NOTE)
    assert note.text == "This is an example message.\n"
    assert note.verify([key]) == (key,)
    assert note.to_bytes() == SPEC_NOTE


def test_verify__every_byte_changed_in_every_bit__refused():
    for position in range(len(SIGNED)):
        for bit in range(8):
            data = bytearray(SIGNED)
            data[position] ^= 1 << bit
            with pytest.raises(InvalidInput):
                parse_note(bytes(data)).verify([LOG_KEY])


def test_verify__every_byte_lost_or_cut_off__refused():
    for position in range(len(SIGNED)):
        for data in (SIGNED[:position], SIGNED[:position] + SIGNED[position + 1 :]):
            with pytest.raises(InvalidInput):
                parse_note(data).verify([LOG_KEY])


def test_verify__several_keys__all_that_signed_are_named_once():
    data = sign_note(
        TEXT,
        [
            (LOG_KEY, LOG_PRIVATE.sign),
            (WITNESS_KEY, WITNESS_PRIVATE.sign),
            (LOG_KEY, LOG_PRIVATE.sign),
        ],
    )
    assert parse_note(data).verify([OTHER_KEY, LOG_KEY]) == (LOG_KEY,)
    assert parse_note(data).verify([WITNESS_KEY, LOG_KEY]) == (LOG_KEY, WITNESS_KEY)


def test_verify__lines_of_unknown_keys__ignored_wherever_they_stand():
    signed = parse_note(SIGNED)
    # The name of a known key with another key ID is an unknown key too.
    twin = SignatureLine(LOG_KEY.name, b"\0\0\0\0", bytes(64))
    note = Note(signed.text, (UNKNOWN_LINE, *signed.signatures, twin))
    assert parse_note(note.to_bytes()) == note
    assert note.verify([LOG_KEY]) == (LOG_KEY,)
    with pytest.raises(InvalidInput, match="trusted"):
        Note(signed.text, (UNKNOWN_LINE, twin)).verify([LOG_KEY])


def test_verify__one_bad_signature_of_a_known_key__spoils_the_note():
    signed = parse_note(SIGNED)
    forged = SignatureLine(OTHER_KEY.name, OTHER_KEY.key_id, bytes(64))
    note = Note(signed.text, (*signed.signatures, forged))
    assert note.verify([LOG_KEY]) == (LOG_KEY,)
    with pytest.raises(InvalidInput, match="not valid"):
        note.verify([LOG_KEY, OTHER_KEY])


def test_verify__no_key_or_another_key__refused():
    for keys in ([], [OTHER_KEY], [WITNESS_KEY]):
        with pytest.raises(InvalidInput, match="trusted"):
            parse_note(SIGNED).verify(keys)


LINE = str(parse_note(SIGNED).signatures[0])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"text\n",
        b"text\n\n",
        b"text\n\n\n",
        f"text\n{LINE}\n".encode(),
        f"text\n\n{LINE}".encode(),
        f"text\n\n{LINE}\n\n".encode(),
        f"text\n\n{LINE}\n{LINE[1:]}\n".encode(),
        f"text\r\n\r\n{LINE}\r\n".encode(),
        f"te\txt\n\n{LINE}\n".encode(),
        f"text\n\n{LINE} \n".encode(),
        f"text\n\n{LINE.replace('— ', '- ')}\n".encode(),
        f"text\n\n{LINE.replace('— ', '—  ')}\n".encode(),
        f"text\n\n{LINE.replace('— ', '—' + chr(0xA0))}\n".encode(),
        f"text\n\n{LINE.replace('example', 'ex+mple')}\n".encode(),
        f"text\n\n{LINE.replace('example', 'ex' + chr(0x3000) + 'mple')}\n".encode(),
        "text\n\n— name\n".encode(),
        "text\n\n— name \n".encode(),
        "text\n\n— name AAAA\n".encode(),
        "text\n\n— name AAAAAA==\n".encode(),
        "text\n\n— name AAAAAAB=\n".encode(),
        "text\n\n— name AAAAAAA\n".encode(),
        "text\n\n— name AAAA_AA=\n".encode(),
        "text\n\n— name ÄAAAAAA=\n".encode(),
        "text\n\n—  AAAAAAA=\n".encode(),
        b"te\xffxt\n\n" + LINE.encode() + b"\n",
        f"text\n\n{LINE}\n".encode() * 2 + b"\n",
        f"text\n\n{f'{LINE}{chr(10)}' * (SIGNATURES_MAX + 1)}".encode(),
        b"x" * NOTE_BYTES_MAX + b"\n\n" + LINE.encode() + b"\n",
    ],
    ids=lambda data: ascii(data[:40]),
)
def test_parse_note__out_of_form__unreadable(data):
    with pytest.raises(Unreadable):
        parse_note(data)


def test_parse_note__sixteen_and_more_signatures__read():
    note = Note(TEXT, (UNKNOWN_LINE,) * SIGNATURES_MAX)
    assert parse_note(note.to_bytes()) == note


def test_parse_note__empty_lines_in_the_text__the_last_one_divides():
    data = sign_note("a\n\nb\n", [(LOG_KEY, LOG_PRIVATE.sign)])
    assert parse_note(data).text == "a\n\nb\n"
    assert parse_note(data).verify([LOG_KEY]) == (LOG_KEY,)


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_parse_note__any_bytes__unreadable_or_written_again(data):
    for candidate in (data, data + b"\n\n" + LINE.encode() + b"\n"):
        try:
            note = parse_note(candidate)
        except Unreadable:
            continue
        assert note.to_bytes() == candidate


def test_sign_note__signer_with_another_key__refused():
    with pytest.raises(InvalidInput, match="another key"):
        sign_note(TEXT, [(LOG_KEY, OTHER_PRIVATE.sign)])
    with pytest.raises(InvalidInput, match="another key"):
        sign_note(TEXT, [(LOG_KEY, lambda _: b"short")])


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "nul\0\n", "\ud800\n", "cr\r\n"])
def test_sign_note__text_that_no_note_can_have__refused(text):
    with pytest.raises(InvalidInput, match="text"):
        sign_note(text, [(LOG_KEY, LOG_PRIVATE.sign)])


def test_sign_note__number_of_signers__limited():
    signers = [(LOG_KEY, LOG_PRIVATE.sign)] * SIGNATURES_MAX
    assert len(parse_note(sign_note(TEXT, signers)).signatures) == SIGNATURES_MAX
    for wrong in ([], [*signers, *signers[:1]]):
        with pytest.raises(InvalidInput, match="1 to 64"):
            sign_note(TEXT, wrong)


@pytest.mark.parametrize(
    ("vkey", "error"),
    [
        ("", Unreadable),
        ("name", Unreadable),
        ("name+530d903a", Unreadable),
        ("name+530d903a+", Unreadable),
        ("name+530d903a+!", Unreadable),
        (SPEC_VKEY + "=", Unreadable),
        (SPEC_VKEY + "+", Unreadable),
        (SPEC_VKEY.replace("530d903a", "530D903A"), Unreadable),
        (SPEC_VKEY.replace("530d903a", "530d903b"), Unreadable),
        (SPEC_VKEY.replace("example", "exemple"), Unreadable),
        (SPEC_VKEY.replace("foo", "f o"), Unreadable),
        (SPEC_VKEY.replace("foo", "f\ud800"), Unreadable),
        (SPEC_VKEY.removeprefix("example.com/foo"), Unreadable),
        ("example.com/foo+530d903a+AekyeRrm", Unreadable),
        ("witness.example+01020304+BOkyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", Unsupported),
    ],
    ids=ascii,
)
def test_verifier_key__bad_vkey__refused(vkey, error):
    with pytest.raises(error):
        VerifierKey.parse(vkey)


@pytest.mark.parametrize(("name", "key"), [("", bytes(32)), ("a b", bytes(32)), ("a", bytes(31))])
def test_verifier_key__impossible_value__refused(name, key):
    with pytest.raises(InvalidInput):
        VerifierKey(name, key)


@given(st.binary(max_size=8))
def test_decode_base64__one_text_for_one_value(data):
    texts = {text for text in all_base64_like(data) if decodes_to(text, data)}
    assert len(texts) == 1


def all_base64_like(data: bytes) -> list[str]:
    """The base64 of `data` and its neighbours: other spare bits, padding lost or added, spaces."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
    text = b64encode(data).decode()
    bare = text.rstrip("=")
    padding = text[len(bare) :]
    spare = [f"{bare[:-1]}{char}{padding}" for char in alphabet] if bare else []
    return [text, bare, f"{text}=", f" {text}", f"{text}\n", *spare]


def decodes_to(text: str, data: bytes) -> bool:
    try:
        return decode_base64(text, "text") == data
    except Unreadable:
        return False
