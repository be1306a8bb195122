"""Compares a head that somebody kept with a receipt's: one log must extend the other.

What was signed once cannot be taken back: of two signed heads of one log the smaller tree is a
prefix of the larger, or the log has shown two views. The proof of it takes hashes of the log's
tiles, which a source hands in; whatever a source says, only a proof that holds counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from chargera.domain.errors import ChargEraError, InvalidInput, Unavailable
from chargera.proofs.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from chargera.proofs.steps import StepStatus
from chargera.proofs.tiles import Tile, tile_reader
from chargera.proofs.tree import EMPTY_ROOT, consistency_proof, verify_consistency
from chargera.proofs.trust import Trust

HOW_TO_GET_IT = (
    "pass --anchors mirror:URL of a server that serves the log, or give the head in a folder that"
    " `chargera log export` wrote"
)


@dataclass(frozen=True, slots=True)
class LogSource:
    """Somewhere that the log's files are: its name for people, and a reader by path.

    `read` takes `checkpoint` or the path of a tile, and raises ChargEraErrors.
    """

    name: str
    read: Callable[[str], bytes]


def compare_with_kept(
    note: bytes, head: Checkpoint, trust: Trust | None, logs: Sequence[LogSource]
) -> tuple[StepStatus, str]:
    """Say whether `head` and the signed note `note` are heads of one log that only grew.

    Raises Unreadable if `note` is no checkpoint, InvalidInput if no trusted key signed it.
    """
    kept = parse_checkpoint(note)
    if trust is not None:
        open_checkpoint(note, trust.origin, trust.log_keys)
    if kept.origin != head.origin:
        return StepStatus.FAILED, f"the head that you kept is of another log, {kept.origin}"
    older, newer = sorted((kept, head), key=lambda one: one.size)
    if older.size == newer.size:
        if older.root_hash != newer.root_hash:
            return StepStatus.FAILED, "two heads of one size: the log shows two views"
        status, detail = StepStatus.OK, "it is the same head"
    elif older.size == 0:
        if older.root_hash != EMPTY_ROOT:
            return StepStatus.FAILED, "a head of no entries has another root than an empty log"
        status, detail = StepStatus.OK, "every log extends an empty one"
    else:
        status, detail = _ask(older, newer, logs)
    if status is StepStatus.OK and trust is None:
        return StepStatus.PENDING, f"{detail}; whose heads these are, only a trusted key tells"
    return status, detail


def _ask(older: Checkpoint, newer: Checkpoint, logs: Sequence[LogSource]) -> tuple[StepStatus, str]:
    """Look for a source whose tiles prove it: one proof that holds is enough."""
    sizes = f"heads of {older.size} and {newer.size} entries"
    refuted, silent = [], []
    for log in logs:
        try:
            proof = _proof(older.size, newer.size, log)
        except ChargEraError as error:
            silent.append(f"{log.name}: {error.message}")
            continue
        try:
            verify_consistency(older.size, newer.size, proof, older.root_hash, newer.root_hash)
        except InvalidInput:
            refuted.append(log.name)
        else:
            return StepStatus.OK, f"{sizes}: the log only grew, by the tiles of {log.name}"
    if refuted:
        return StepStatus.FAILED, (
            f"{sizes}: the tiles of {', '.join(refuted)} do not lead from one to the other: the"
            " log was changed, or these tiles are not its own"
        )
    reason = "; ".join(silent) or "comparing them takes the log's tiles"
    return StepStatus.PENDING, f"{sizes}: {reason}; {HOW_TO_GET_IT}"


def _proof(old_size: int, new_size: int, log: LogSource) -> list[bytes]:
    """Make the consistency proof from the tiles of `log`."""
    # Which tiles there are follows from the source's own head. Nobody has to believe that head.
    size = parse_checkpoint(log.read("checkpoint")).size
    if size < new_size:
        raise Unavailable(f"has only {size} entries (yet)")

    @cache
    def fetch(tile: Tile) -> bytes:
        return log.read(tile.path)

    return consistency_proof(old_size, new_size, tile_reader(size, fetch))
