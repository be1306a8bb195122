"""Records opened against their entries, and entries against a head."""

from dataclasses import replace

import pytest

from chargera.domain.errors import InvalidInput
from chargera.proofs.checkpoint import Checkpoint
from chargera.proofs.entry import EntryKind, Envelope, commit, envelope_bytes
from chargera.proofs.evidence import LoggedRecord, open_record, try_open
from chargera.proofs.tree import MemoryTree, inclusion_proof, leaf_hash
from tests.unit.proofs.sample_receipt import ORIGIN, START


def logged(record: bytes = b'{"a":1}') -> tuple[LoggedRecord, Checkpoint]:
    salt = b"s" * 32
    entry = envelope_bytes(Envelope(EntryKind.PAYMENT, None, None, START, commit(salt, record)))
    tree = MemoryTree([bytes(32), leaf_hash(entry), bytes(32)])
    path = tuple(inclusion_proof(1, tree.size, tree.node))
    return LoggedRecord(1, entry, path, record, salt), Checkpoint(ORIGIN, 3, tree.root())


def test_open__what_was_logged__its_members() -> None:
    one, head = logged()
    opened = open_record(one, head)
    assert (opened.kind, opened.record, opened.index) == (EntryKind.PAYMENT, {"a": 1}, 1)
    assert try_open(one, head) == opened


@pytest.mark.parametrize(
    "change",
    [{"index": 0}, {"record": b'{"a":2}'}, {"salt": bytes(32)}, {"path": ()}, {"entry": b"{}"}],
)
def test_open__anything_changed__refused(change: dict[str, object]) -> None:
    one, head = logged()
    changed = replace(one, **change)  # type: ignore[arg-type]  # members by name
    with pytest.raises(InvalidInput):
        open_record(changed, head)
    assert isinstance(try_open(changed, head), str)


@pytest.mark.parametrize("record", [b"[]", b'{"a": 1}'])
def test_open__no_canonical_object__refused(record: bytes) -> None:
    with pytest.raises(InvalidInput):
        open_record(*logged(record))
