"""A kept head binds the log: growth is proven by tiles, everything else is named."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from chargera.domain.errors import InvalidInput, NotFound, Unavailable, Unreadable
from chargera.proofs.checkpoint import Checkpoint, sign_checkpoint
from chargera.proofs.kept_head import LogSource, compare_with_kept
from chargera.proofs.steps import StepStatus
from chargera.proofs.tiles import Tile, grow
from chargera.proofs.tree import EMPTY_ROOT, leaf_hashes, root_of
from chargera.proofs.trust import Trust
from tests.unit.proofs.log_of_test import LOG_KEY, LOG_PRIVATE, ORIGIN, OTHER_KEY, OTHER_PRIVATE

TRUST = Trust(ORIGIN, (LOG_KEY,), None, None)


def entries(count: int, *, changed: int | None = None) -> list[bytes]:
    return [b"changed" if n == changed else b"entry %d" % n for n in range(count)]


def head_of(log: list[bytes]) -> Checkpoint:
    return Checkpoint(ORIGIN, len(log), root_of(leaf_hashes(log)))


def note_of(head: Checkpoint) -> bytes:
    return sign_checkpoint(head, replace(LOG_KEY, name=head.origin), LOG_PRIVATE.sign)


def source(log: list[bytes], name: str = "mirror") -> LogSource:
    """A static copy of a log: exactly the files that its head names."""

    def none_yet(tile: Tile) -> bytes:
        raise AssertionError(tile)

    files = {tile.path: data for tile, data in grow(0, log, none_yet)}
    files["checkpoint"] = note_of(head_of(log))

    def read(path: str) -> bytes:
        if path not in files:
            raise NotFound(f"no {path}")
        return files[path]

    return LogSource(name, read)


def broken(read: Callable[[str], bytes]) -> LogSource:
    return LogSource("broken", read)


def silent(path: str) -> bytes:
    raise Unavailable("no answer")


LONG = entries(700)
WHOLE = source(LONG)


@pytest.mark.parametrize("sizes", [(1, 2), (3, 7), (255, 256), (256, 257), (300, 699), (512, 700)])
def test_a_log_that_grew__is_proven_whichever_head_was_kept(sizes: tuple[int, int]) -> None:
    for kept, shown in (sizes, sizes[::-1]):
        note = note_of(head_of(LONG[:kept]))
        status, detail = compare_with_kept(note, head_of(LONG[:shown]), TRUST, [WHOLE])
        assert status is StepStatus.OK, detail
        assert detail.startswith(f"heads of {sizes[0]} and {sizes[1]} entries: the log only grew")


def test_a_log_that_was_changed__fails_by_any_tiles() -> None:
    other = entries(700, changed=5)
    kept = note_of(head_of(other[:300]))
    for tiles in (WHOLE, source(other)):
        status, detail = compare_with_kept(kept, head_of(LONG), TRUST, [tiles])
        assert status is StepStatus.FAILED
        assert "do not lead from one to the other" in detail


def test_sources__one_proof_is_enough__none_is_undetermined() -> None:
    kept, head = note_of(head_of(LONG[:10])), head_of(LONG)
    wrong = source(entries(700, changed=1), "wrong")
    lagging = source(LONG[:600], "lagging")
    unreachable = broken(silent)
    half = broken(lambda path: WHOLE.read(path)[:-1])
    for logs in ([wrong, WHOLE], [unreachable, WHOLE], [lagging, half, WHOLE]):
        assert compare_with_kept(kept, head, TRUST, logs)[0] is StepStatus.OK
    assert compare_with_kept(kept, head, TRUST, [lagging, wrong])[0] is StepStatus.FAILED
    for log, reason in (
        (lagging, "lagging: has only 600 entries"),
        (unreachable, "broken: no answer"),
        (half, "broken: "),
        (broken(lambda path: b"?"), "broken: "),
    ):
        status, detail = compare_with_kept(kept, head, TRUST, [log])
        assert status is StepStatus.PENDING
        assert reason in detail
        assert "--anchors mirror:URL" in detail
    status, detail = compare_with_kept(kept, head, TRUST, [])
    assert status is StepStatus.PENDING
    assert "log export" in detail


def test_equal_sizes__need_equal_roots_and_no_source() -> None:
    head = head_of(LONG)
    assert compare_with_kept(note_of(head), head, TRUST, [])[0] is StepStatus.OK
    fork = note_of(head_of(entries(700, changed=0)))
    for trust in (TRUST, None):
        status, detail = compare_with_kept(fork, head, trust, [WHOLE])
        assert status is StepStatus.FAILED
        assert "two views" in detail


def test_an_empty_log__is_a_past_of_every_log() -> None:
    head = head_of(LONG)
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert compare_with_kept(note_of(empty), head, TRUST, [])[0] is StepStatus.OK
    false = replace(empty, root_hash=bytes(32))
    assert compare_with_kept(note_of(false), head, TRUST, [])[0] is StepStatus.FAILED


def test_who_signed__is_asked_first() -> None:
    head, kept = head_of(LONG), head_of(LONG[:300])
    forged = sign_checkpoint(kept, OTHER_KEY, OTHER_PRIVATE.sign)
    with pytest.raises(InvalidInput, match="not signed by"):
        compare_with_kept(forged, head, TRUST, [WHOLE])
    with pytest.raises(Unreadable):
        compare_with_kept(b"?", head, None, [WHOLE])
    status, detail = compare_with_kept(forged, head, None, [WHOLE])
    assert status is StepStatus.PENDING
    assert "trusted key" in detail
    foreign = note_of(replace(kept, origin="log.other/1"))
    assert compare_with_kept(foreign, head, None, [WHOLE])[0] is StepStatus.FAILED
