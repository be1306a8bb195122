"""Checkpoints (C2SP tlog-checkpoint): a signed tree head as a note of three lines."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.proofs.note import (
    KEY_NAME,
    Sign,
    VerifierKey,
    decode_base64,
    encode_base64,
    parse_note,
    sign_note,
)
from chargera.proofs.tree import HASH_BYTES, SIZE_LIMIT

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: how many entries it has and the root hash over them."""

    origin: str
    size: int
    root_hash: bytes

    def __post_init__(self) -> None:
        """Raise InvalidInput, naming the part that is out of its range."""
        if not KEY_NAME.fullmatch(self.origin):
            raise InvalidInput("origin: must be text without spaces and plus", field="origin")
        if not 0 <= self.size < SIZE_LIMIT:
            raise InvalidInput("size: must be 0 or more and below 2^63", field="size")
        if len(self.root_hash) != HASH_BYTES:
            raise InvalidInput(f"root hash: must have {HASH_BYTES} bytes", field="root_hash")

    @property
    def text(self) -> str:
        """The note text: origin, size and root, each on its line, and no extension lines."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root_hash)}\n"


def parse_checkpoint(data: bytes) -> Checkpoint:
    """Return the head in the signed note `data`, whoever signed it.

    Raises Unreadable if it is no such note. Extension lines are refused too: this log writes none,
    and nobody can audit them.
    """
    return _parse_text(parse_note(data).text)


def open_checkpoint(data: bytes, origin: str, log_keys: Iterable[VerifierKey]) -> Checkpoint:
    """Return the head in the signed note `data` after checking that this log signed it.

    `log_keys` are the keys trusted for `origin`: several while one replaces another.

    Raises Unreadable as `parse_checkpoint` does, InvalidInput if the head is of another log or no
    signature of a trusted key holds.
    """
    note = parse_note(data)
    checkpoint = _parse_text(note.text)
    if checkpoint.origin != origin:
        raise InvalidInput(
            f"checkpoint: of the log {checkpoint.origin}, not of {origin}",
            field="origin",
        )
    note.verify(log_keys)
    return checkpoint


def sign_checkpoint(checkpoint: Checkpoint, key: VerifierKey, sign: Sign) -> bytes:
    """Return the signed note of `checkpoint`.

    Only bytes: that the head extends the last one is what the caller has to have proven.
    """
    return sign_note(checkpoint.text, [(key, sign)])


def parse_decimal(text: str, what: str) -> int:
    """Return the number that `text` is: ASCII digits without leading zeros, below 2^63.

    Raises Unreadable, naming `what`.
    """
    if not _DECIMAL.fullmatch(text) or int(text) >= SIZE_LIMIT:
        raise Unreadable(f"{what}: must be a decimal number below 2^63 without leading zeros")
    return int(text)


def _parse_text(text: str) -> Checkpoint:
    lines = text.removesuffix("\n").split("\n")
    if len(lines) != 3:
        raise Unreadable("checkpoint: must have three lines and no extension")
    origin, size, root_hash = lines
    try:
        return Checkpoint(
            origin,
            parse_decimal(size, "checkpoint size"),
            decode_base64(root_hash, "checkpoint root hash"),
        )
    except InvalidInput as error:
        raise Unreadable(error.message) from None
