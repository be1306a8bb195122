"""Offline proofs that something was logged (C2SP tlog-proof): index, audit path and checkpoint."""

from collections.abc import Iterable
from dataclasses import dataclass

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.proofs.checkpoint import Checkpoint, open_checkpoint, parse_decimal
from chargera.proofs.note import NOTE_BYTES_MAX, VerifierKey, decode_base64, encode_base64
from chargera.proofs.tree import HASH_BYTES, SIZE_LIMIT, verify_inclusion

HEADER = "c2sp.org/tlog-proof@v1"
PATH_LENGTH_MAX = 63
PROOF_BYTES_MAX = NOTE_BYTES_MAX + 64 * 1024
EXTRA_BYTES_MAX = 32 * 1024


@dataclass(frozen=True, slots=True)
class TlogProof:
    """That a leaf stands at `index` of the log whose signed `checkpoint` is included verbatim.

    `extra` belongs to the application and is covered by no check; this log writes none.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def __post_init__(self) -> None:
        """Raise InvalidInput, naming the part that is out of its range."""
        if not 0 <= self.index < SIZE_LIMIT:
            raise InvalidInput("index: must be 0 or more and below 2^63", field="index")
        if len(self.path) > PATH_LENGTH_MAX or any(len(h) != HASH_BYTES for h in self.path):
            raise InvalidInput("path: must be at most 63 hashes of 32 bytes", field="path")
        if self.extra is not None and not 0 < len(self.extra) <= EXTRA_BYTES_MAX:
            raise InvalidInput(f"extra: must have 1 to {EXTRA_BYTES_MAX} bytes", field="extra")

    def to_bytes(self) -> bytes:
        """Return the text form, the content of a `.tlog-proof` file."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {encode_base64(self.extra)}")
        lines.append(f"index {self.index}")
        lines += map(encode_base64, self.path)
        return "".join(f"{line}\n" for line in [*lines, ""]).encode() + self.checkpoint

    def verify(self, leaf: bytes, origin: str, log_keys: Iterable[VerifierKey]) -> Checkpoint:
        """Return the verified head under which the leaf with the hash `leaf` was logged.

        Raises InvalidInput (Unreadable if the checkpoint is malformed) unless the head is of the
        log `origin`, is signed by one of `log_keys`, and includes the leaf at `index`.
        """
        head = open_checkpoint(self.checkpoint, origin, log_keys)
        verify_inclusion(leaf, self.index, head.size, self.path, head.root_hash)
        return head


def parse_tlog_proof(data: bytes) -> TlogProof:
    """Return the proof in `data`, not yet verified.

    Raises Unreadable for every departure from the format; what is read is exactly what
    `TlogProof.to_bytes` writes again.
    """
    if len(data) > PROOF_BYTES_MAX:
        raise Unreadable(f"tlog-proof: over {PROOF_BYTES_MAX} bytes")
    head, gap, checkpoint = data.partition(b"\n\n")
    if not gap or not head.isascii():
        raise Unreadable("tlog-proof: must be ASCII lines, an empty line and a checkpoint")
    header, *lines = head.decode().split("\n")
    if header != HEADER:
        raise Unreadable(f"tlog-proof: must start with {HEADER}")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode_base64(lines.pop(0).removeprefix("extra "), "tlog-proof extra")
    if not lines or not lines[0].startswith("index "):
        raise Unreadable("tlog-proof: must have an index line")
    index = parse_decimal(lines.pop(0).removeprefix("index "), "tlog-proof index")
    path = tuple(decode_base64(line, "tlog-proof path") for line in lines)
    try:
        return TlogProof(index, path, checkpoint, extra)
    except InvalidInput as error:
        raise Unreadable(f"tlog-proof {error.message}", field=error.field) from None
