"""Signed notes (C2SP signed-note): a text, and under it a line for each signature.

Ed25519 (type 0x01) is signed and verified. Lines of keys that are not known, such as the
cosignatures of witnesses, are carried along and ignored, as the specification asks.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chargera.domain.errors import InvalidInput, Unreadable, Unsupported

ED25519 = 0x01
KEY_BYTES = 32
SIGNATURE_BYTES = 64
KEY_ID_BYTES = 4

NOTE_BYTES_MAX = 256 * 1024
"""Room for 64 post-quantum signature lines of 3.2 KB."""

SIGNATURES_MAX = 64
"""The specification asks for at least 16."""

Sign: TypeAlias = Callable[[bytes], bytes]
"""Returns the Ed25519 signature of a text; the key may be in another process or in hardware."""

KEY_NAME = re.compile(r"[^\s+\x00-\x1f\ud800-\udfff]+")
"""What may name a key, and with it a log: neither spaces nor plus."""

_DASH = "\N{EM DASH} "
_FORBIDDEN = re.compile(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A named Ed25519 public key; its text form is a vkey."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        """Raise InvalidInput if the name or the key cannot stand in a note."""
        if not KEY_NAME.fullmatch(self.name):
            raise InvalidInput("key name: must be text without spaces and plus", field="name")
        if len(self.public_key) != KEY_BYTES:
            raise InvalidInput(f"public key: must have {KEY_BYTES} bytes", field="public_key")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the key that a vkey describes.

        Raises Unreadable if it is malformed or its key ID is not its own, Unsupported if it is
        not of type Ed25519.
        """
        name, key_id, material = (*text.split("+", 2), "", "")[:3]
        data = decode_base64(material, "vkey")
        if not data:
            raise Unreadable("vkey: must be <name>+<key ID>+<key>")
        if data[0] != ED25519:
            raise Unsupported(f"vkey: signature type 0x{data[0]:02x} is not Ed25519")
        try:
            key = cls(name, data[1:])
        except InvalidInput as error:
            raise Unreadable(f"vkey: {error.message}") from None
        if key.key_id.hex() != key_id:
            raise Unreadable("vkey: its key ID is not that of its name and key")
        return key

    @property
    def key_id(self) -> bytes:
        """The four bytes by which a signature line refers to this key."""
        material = self.name.encode() + bytes([0x0A, ED25519]) + self.public_key
        return hashlib.sha256(material).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        """Return the vkey."""
        material = encode_base64(bytes([ED25519]) + self.public_key)
        return f"{self.name}+{self.key_id.hex()}+{material}"

    def has_signed(self, text: bytes, signature: bytes) -> bool:
        """Return whether `signature` is this key's over `text`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """A line under a note: who signed, by which key, and the signature in that key's format."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        """Return the line without its newline."""
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.signature)}"


@dataclass(frozen=True, slots=True)
class Note:
    """A note as it was read; who trusts its text has called `verify` first."""

    text: str
    signatures: tuple[SignatureLine, ...]

    def to_bytes(self) -> bytes:
        """Return the note in its wire form."""
        return "".join([self.text, "\n", *(f"{line}\n" for line in self.signatures)]).encode()

    def verify(self, known: Iterable[VerifierKey]) -> tuple[VerifierKey, ...]:
        """Return the known keys that signed the text, one at least.

        Raises InvalidInput if none did, or if a line that names a known key does not verify.
        """
        keys = {(key.name, key.key_id): key for key in known}
        text = self.text.encode()
        signers: dict[VerifierKey, None] = {}
        for line in self.signatures:
            key = keys.get((line.name, line.key_id))
            if key is None:
                continue
            if not key.has_signed(text, line.signature):
                raise InvalidInput(f"note: the signature of {key.name} is not valid")
            signers[key] = None
        if not signers:
            raise InvalidInput("note: not signed by a key that is trusted here")
        return tuple(signers)


def parse_note(data: bytes) -> Note:
    """Return the note in `data`, not yet verified.

    Raises Unreadable for every departure from the format; what is read is exactly what
    `Note.to_bytes` writes again.
    """
    if len(data) > NOTE_BYTES_MAX:
        raise Unreadable(f"note: over {NOTE_BYTES_MAX} bytes")
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise Unreadable("note: not UTF-8") from None
    if _FORBIDDEN.search(whole):
        raise Unreadable("note: has a control character")
    text, gap, lines = whole.rpartition("\n\n")
    if not gap or not lines.endswith("\n"):
        raise Unreadable("note: must be a text, an empty line and signature lines")
    signatures = lines.removesuffix("\n").split("\n")
    if len(signatures) > SIGNATURES_MAX:
        raise Unreadable(f"note: over {SIGNATURES_MAX} signatures")
    return Note(text + "\n", tuple(_parse_line(line) for line in signatures))


def sign_note(text: str, signers: Sequence[tuple[VerifierKey, Sign]]) -> bytes:
    """Return `text` (its last newline included) with a signature line of each of `signers`.

    Raises InvalidInput if the text cannot stand in a note, or if what a signer returned is not a
    signature by its key: a note that nobody could verify is never let out.
    """
    if not text.endswith("\n") or _FORBIDDEN.search(text):
        raise InvalidInput("note text: must end in a newline and have no control characters")
    if not 0 < len(signers) <= SIGNATURES_MAX:
        raise InvalidInput(f"note: needs 1 to {SIGNATURES_MAX} signatures")
    lines = []
    for key, sign in signers:
        signature = sign(text.encode())
        if not key.has_signed(text.encode(), signature):
            raise InvalidInput(f"note: the signer of {key.name} has another key")
        lines.append(SignatureLine(key.name, key.key_id, signature))
    return Note(text, tuple(lines)).to_bytes()


def encode_base64(data: bytes) -> str:
    """Return the standard base64 (RFC 4648, section 4) of `data`."""
    return base64.b64encode(data).decode()


def decode_base64(text: str, what: str) -> bytes:
    """Return the bytes of `text`; raise Unreadable, naming `what`, unless it is the one form.

    Spare bits must be zero and nothing but the alphabet may occur, so that no two texts mean the
    same bytes.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Unreadable(f"{what}: not base64") from None
    if encode_base64(data) != text:
        raise Unreadable(f"{what}: not canonical base64")
    return data


def _parse_line(line: str) -> SignatureLine:
    name, space, material = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not KEY_NAME.fullmatch(name):
        raise Unreadable("note: a signature line must be: em dash, key name, base64")
    data = decode_base64(material, "note: a signature")
    if len(data) <= KEY_ID_BYTES:
        raise Unreadable("note: a signature is too short")
    return SignatureLine(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])
