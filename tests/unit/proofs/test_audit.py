"""The audit of a whole network: a clean one keeps every promise, each fault breaks its own."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chargera.domain.errors import InvalidInput, NotFound
from chargera.proofs.anchor import TopicMessage
from chargera.proofs.audit import (
    ChainFacts,
    Mirror,
    Promise,
    PromiseVerdict,
    SettledLeaf,
    audit,
    exit_code,
)
from chargera.proofs.checkpoint import Checkpoint, sign_checkpoint
from chargera.proofs.entry import EntryKind, Envelope, envelope_bytes
from chargera.proofs.kept_head import LogSource
from chargera.proofs.running_hash import ZERO_HASH, running_hash
from chargera.proofs.steps import StepStatus
from chargera.proofs.tiles import Tile, grow
from chargera.proofs.topic_change import TopicChange, sign_topic_change
from chargera.proofs.tree import leaf_hash, leaf_hashes, root_of
from chargera.proofs.trust import Trust, TrustedTopic
from tests.unit.proofs.log_of_test import LOG_KEY, LOG_PRIVATE, ORIGIN, OTHER_KEY, OTHER_PRIVATE

TOPIC, PAYER = "0.0.1001", "0.0.1000"
TRUST = Trust(ORIGIN, (LOG_KEY,), "NL*C4E", (TrustedTopic(TOPIC, PAYER, 0),))
BEGAN = datetime(2026, 5, 4, tzinfo=UTC)
STEP = timedelta(seconds=30)
COUNT = 600
CUTS = (3, 256, 300, 600)
BATCH = "ab" * 32


def entry(n: int, **changes: Any) -> bytes:
    """Entry `n`: of two stations in turn, every fifth a CDR."""
    fields: dict[str, Any] = {
        "kind": EntryKind.CDR if n % 5 == 0 else EntryKind.SESSION_STARTED,
        "station": f"CP-{n % 2}",
        "seq": n // 2 + 1,
        "received_at": BEGAN + n * STEP,
        "commitment": n.to_bytes(32),
    }
    return envelope_bytes(Envelope(**{**fields, **changes}))


def the_log(changed: dict[int, bytes] | None = None) -> list[bytes]:
    return [(changed or {}).get(n, entry(n)) for n in range(COUNT)]


def note(entries: Sequence[bytes], key: Any = LOG_KEY, private: Any = LOG_PRIVATE) -> bytes:
    head = Checkpoint(ORIGIN, len(entries), root_of(leaf_hashes(entries)))
    return sign_checkpoint(head, key, private.sign)


def served(entries: Sequence[bytes], *, spoilt: dict[str, bytes | None] | None = None) -> LogSource:
    def none_yet(tile: Tile) -> bytes:
        raise AssertionError(tile)

    files: dict[str, bytes | None] = {t.path: data for t, data in grow(0, entries, none_yet)}
    files["checkpoint"] = note(entries)
    files.update(spoilt or {})

    def read(path: str) -> bytes:
        data = files.get(path)
        if data is None:
            raise NotFound(f"there is no {path}")
        return data

    return LogSource("log", read)


def topic(
    notes: Iterable[tuple[bytes, datetime]], *, payers: dict[int, str] | None = None
) -> list[TopicMessage]:
    """The topic after these messages at these times, chained as Hedera does."""
    rows: list[TopicMessage] = []
    before = ZERO_HASH
    for number, (message, at) in enumerate(notes, 1):
        place: dict[str, Any] = {
            "topic_id": TOPIC,
            "payer_account_id": (payers or {}).get(number, PAYER),
            "sequence_number": number,
            "consensus_timestamp": f"{int(at.timestamp())}.000000005",
            "message": message,
        }
        before = running_hash(before, **place)
        rows.append(TopicMessage(**place, running_hash=before))
    return rows


def anchored(
    entries: Sequence[bytes], cuts: Sequence[int] = CUTS, lag: timedelta = timedelta(seconds=10)
) -> list[TopicMessage]:
    """Heads of these sizes, each a little after its last entry."""
    return topic((note(entries[:cut]), BEGAN + (cut - 1) * STEP + lag) for cut in cuts)


def leaf(n: int, place: int = 0, **changes: Any) -> SettledLeaf:
    whole = SettledLeaf(
        BATCH, place, ("NL*C4E", "0x01"), n // 5, n, leaf_hash(entry(n)), is_paid=True
    )
    return replace(whole, **changes)


def facts(*leaves: SettledLeaf, **more: Any) -> ChainFacts:
    return ChainFacts(timedelta(hours=3), leaves or (leaf(5), leaf(10, 1)), **more)


def judged(**changes: Any) -> dict[Promise, PromiseVerdict]:
    entries = the_log()
    given: dict[str, Any] = {
        "log": served(entries),
        "trust": TRUST,
        "mirrors": [Mirror("m1", anchored(entries))],
        "facts": facts(),
    }
    verdicts = audit(**{**given, **changes})
    assert [v.promise for v in verdicts] == list(Promise)
    return {v.promise: v for v in verdicts}


def broken(verdicts: dict[Promise, PromiseVerdict]) -> dict[str, str | None]:
    return {p.value: v.first_offence for p, v in verdicts.items() if v.status is StepStatus.FAILED}


def unknown(verdicts: dict[Promise, PromiseVerdict]) -> list[str]:
    return [p.value for p, v in verdicts.items() if v.status is StepStatus.PENDING]


def test_audit__clean_network__keeps_all_promises() -> None:
    told: list[tuple[int, int]] = []
    verdicts = judged(progress=lambda done, of: told.append((done, of)))
    assert {v.status for v in verdicts.values()} == {StepStatus.OK}
    assert exit_code(list(verdicts.values())) == 0
    assert told[-1] == (COUNT, COUNT)
    row = verdicts[Promise.BILLABLE].as_dict()
    assert (row["id"], row["status"], row["first_offence"]) == ("P6", "ok", None)
    assert row["detail"] is not None
    assert row["detail"].startswith("2 leaves")


def test_audit__full_tiles_of_level_one__are_read() -> None:
    entries = [envelope_bytes(_plain(n)) for n in range(256 * 256 + 1)]
    verdicts = judged(log=served(entries), mirrors=[Mirror("m", [])], facts=facts(leaf(5))).values()
    by_name = {v.promise: v.status for v in verdicts}
    assert by_name[Promise.NO_LOCK_IN] is StepStatus.OK


def _plain(n: int) -> Envelope:
    return Envelope(EntryKind.NETWORK_CREATED, None, None, BEGAN, n.to_bytes(32))


def test_audit__no_mirror_and_no_chain__cannot_tell() -> None:
    verdicts = judged(mirrors=[Mirror("m1", None)], facts=None)
    assert unknown(verdicts) == ["P1", "P2", "P3", "P4", "P6"]
    assert exit_code(list(verdicts.values())) == 3


def test_audit__one_mirror_of_two_silent__view_is_not_known_to_be_one() -> None:
    verdicts = judged(mirrors=[Mirror("m1", anchored(the_log())), Mirror("m2", None)])
    assert unknown(verdicts) == ["P4"]


def test_audit__wrong_log_key__is_refused() -> None:
    with pytest.raises(InvalidInput):
        judged(trust=replace(TRUST, log_keys=(OTHER_KEY,)))


def test_audit__entry_changed_after_anchoring__named() -> None:
    changed = the_log({7: entry(7, commitment=bytes(32))})
    verdicts = judged(log=served(changed))
    assert broken(verdicts) == {
        "P1": "message 2 of topic 0.0.1001: its head of 256 is not the log's",
        "P4": "message 2 of topic 0.0.1001: its head of 256 is not the log's",
    }
    assert exit_code(list(verdicts.values())) == 1


def test_audit__served_head_is_not_of_the_tiles__named() -> None:
    other = the_log({599: entry(599, commitment=bytes(32))})
    verdicts = judged(log=served(the_log(), spoilt={"checkpoint": note(other)}))
    assert broken(verdicts)["P1"] == "the served head of 600 is not the log's"


def test_audit__served_log_shorter_than_an_anchor__named() -> None:
    verdicts = judged(log=served(the_log()[:300]), facts=facts(leaf(5)))
    assert broken(verdicts) == {
        "P4": "message 4 of topic 0.0.1001 has a head of 600 entries, the served one has 300"
    }


def test_audit__topic_goes_back__named() -> None:
    entries = the_log()
    rows = topic(
        (note(entries[:cut]), BEGAN + (599 + n) * STEP) for n, cut in enumerate((600, 300))
    )
    verdicts = judged(
        mirrors=[Mirror("m1", rows)], facts=replace(facts(), anchor_interval=STEP * 999)
    )
    assert broken(verdicts) == {
        "P1": "message 2 of topic 0.0.1001 goes back from 600 to 300 entries"
    }


def test_audit__entry_left_out_of_an_earlier_head__named() -> None:
    late = the_log({300: entry(300, received_at=BEGAN + 3 * STEP)})
    verdicts = judged(log=served(late), mirrors=[Mirror("m1", anchored(late))])
    found = broken(verdicts)
    assert found["P2"] == (
        "entry 300 is missing in message 3 of topic 0.0.1001, received long before it"
    )


@pytest.mark.parametrize(
    ("cuts", "offence"),
    [
        ((3, 600), "entry 3 waited for message 2 of topic 0.0.1001 too long"),
        ((3, 40), "entry 40 and what follows is not anchored yet"),
    ],
)
def test_audit__anchor_too_late_or_missing__named(cuts: tuple[int, ...], offence: str) -> None:
    verdicts = judged(mirrors=[Mirror("m1", anchored(the_log(), cuts))])
    assert broken(verdicts) == {"P3": offence}


def test_audit__one_mirror_lags_behind_the_other__not_known_to_be_one_view() -> None:
    rows = anchored(the_log())
    for mirrors in ([rows, rows[:2]], [rows[:2], rows], [rows, []]):
        told = [Mirror(f"m{n}", messages) for n, messages in enumerate(mirrors, 1)]
        verdicts = judged(mirrors=told)
        assert unknown(verdicts) == ["P4"]
        assert "(yet)" in verdicts[Promise.ONE_VIEW].detail
        assert exit_code(list(verdicts.values())) == 3


def test_audit__mirrors_contradict_each_other__nothing_after_that_is_known() -> None:
    rows = anchored(the_log())
    lying = anchored(the_log({599: entry(1)}))  # all but the last head is the same
    for first, second in ((rows, lying), (lying, rows)):
        verdicts = judged(mirrors=[Mirror("m1", first), Mirror("m2", second)])
        assert unknown(verdicts) == ["P1", "P2", "P3", "P4"]
        said = "m1 and m2 tell different messages 4 of topic 0.0.1001"
        assert verdicts[Promise.ONE_VIEW].detail == said
        assert exit_code(list(verdicts.values())) == 3


def test_audit__offence_before_a_contradiction__still_named() -> None:
    entries = the_log()
    rows = anchored(entries)
    lying = anchored(the_log({599: entry(1)}))
    other = the_log({1: entry(2)})
    found = broken(judged(log=served(other), mirrors=[Mirror("m1", rows), Mirror("m2", lying)]))
    assert found["P1"] == "message 1 of topic 0.0.1001: its head of 3 is not the log's"


@pytest.mark.parametrize(
    "tampered",
    [
        {"message": b"other"},
        {"payer_account_id": "0.0.7"},
        {"consensus_timestamp": "1777881600.000000006"},
        {"running_hash": bytes(48)},
        {"sequence_number": 5},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_audit__mirror_contradicts_itself__is_not_believed(tampered: dict[str, Any]) -> None:
    rows = anchored(the_log())
    spoilt = [rows[0], replace(rows[1], **tampered), *rows[2:]]
    verdicts = judged(mirrors=[Mirror("m1", spoilt)])
    assert unknown(verdicts) == ["P1", "P2", "P3", "P4"]
    assert "m1 contradicts itself on topic 0.0.1001" in verdicts[Promise.ONE_VIEW].detail
    beside = judged(mirrors=[Mirror("m1", spoilt), Mirror("m2", rows)])
    assert unknown(beside) == ["P4"]
    for swapped in ([rows[1], rows[0], *rows[2:]], [rows[0], *rows[2:]]):
        assert "P4" in unknown(judged(mirrors=[Mirror("m1", swapped)]))


def test_audit__mirror_lags_behind_what_is_due__late_anchor_is_nobodys_fault() -> None:
    rows = anchored(the_log(), (3, 40))
    due = BEGAN + 40 * STEP + facts().anchor_interval + timedelta(minutes=5)
    lags = judged(mirrors=[Mirror("m1", rows, due - timedelta(seconds=1))])
    assert unknown(lags) == ["P3"]
    assert "mirrors that lag" in lags[Promise.ANCHORED].detail
    assert list(broken(judged(mirrors=[Mirror("m1", rows, due)]))) == ["P3"]
    assert list(broken(judged(mirrors=[Mirror("m1", rows)]))) == ["P3"]


def test_audit__batch_rests_on_a_message_that_no_mirror_has__lag() -> None:
    rows = anchored(the_log())
    resting = facts(topic_messages={TOPIC: 4})
    assert not unknown(judged(mirrors=[Mirror("m1", rows)], facts=resting))
    verdicts = judged(mirrors=[Mirror("m1", rows[:3])], facts=resting)
    assert unknown(verdicts) == ["P3", "P4"]
    assert "rests on message 4" in verdicts[Promise.ONE_VIEW].detail
    assert exit_code(list(verdicts.values())) == 3


def test_audit__message_of_a_stranger_on_the_topic__nobodys_fault() -> None:
    entries = the_log()
    notes = [(note(entries[:cut]), BEGAN + cut * STEP) for cut in CUTS]
    rows = topic([*notes, (b"hello", BEGAN + 601 * STEP)], payers={5: "0.0.7"})
    assert not broken(judged(mirrors=[Mirror("m1", rows)]))
    other = note(entries, replace(OTHER_KEY, name=ORIGIN), OTHER_PRIVATE)
    rows = topic([*notes, (other, BEGAN + 601 * STEP)])
    found = broken(judged(mirrors=[Mirror("m1", rows)]))
    assert list(found) == ["P4"]


def test_audit__topic_says_where_it_goes_on__no_fault_but_the_next_must_be_trusted() -> None:
    entries = the_log()
    heads = [(note(entries[:cut]), BEGAN + cut * STEP) for cut in CUTS]
    change = TopicChange("0.0.2002", PAYER, COUNT + 1)
    told = sign_topic_change(change, LOG_KEY, LOG_PRIVATE.sign)
    rows = topic([*heads, (told, BEGAN + 601 * STEP)])
    verdicts = judged(mirrors=[Mirror("m1", rows)])
    assert unknown(verdicts) == ["P1", "P2", "P3", "P4"]
    assert "topic 0.0.2002" in verdicts[Promise.ONE_VIEW].detail
    both = (*(TRUST.topics or ()), TrustedTopic("0.0.2002", PAYER, COUNT + 1))
    assert not unknown(judged(mirrors=[Mirror("m1", rows)], trust=replace(TRUST, topics=both)))
    assert not broken(judged(mirrors=[Mirror("m1", rows)], trust=replace(TRUST, topics=both)))
    strangers = sign_topic_change(change, OTHER_KEY, OTHER_PRIVATE.sign)
    forged = topic([*heads, (strangers, BEGAN + 601 * STEP)])
    assert list(broken(judged(mirrors=[Mirror("m1", forged)]))) == ["P4"]


def test_audit__hole_in_a_stations_numbers__named() -> None:
    holed = the_log({8: entry(8, seq=6)})
    found = broken(judged(log=served(holed), mirrors=[Mirror("m1", anchored(holed))]))
    assert found == {"P5": "entry 8 is number 6 of CP-0, not 5"}


def test_audit__entries_of_a_later_schema__are_opaque_but_no_lock_in_for_junk() -> None:
    later = entry(600 - 1).replace(b"chargera.entry/1", b"chargera.entry/2")
    log = the_log({599: later})
    verdicts = judged(log=served(log), mirrors=[Mirror("m1", anchored(log))])
    assert not broken(verdicts)
    junk = the_log({599: b"junk"})
    named = judged(log=served(junk), mirrors=[Mirror("m1", anchored(junk))], facts=facts(leaf(599)))
    found = broken(named)
    assert found["P7"] is not None
    assert found["P7"].startswith("entry 599")
    assert found["P6"] == f"leaf 0 of batch {BATCH}: entry 599 is not the CDR that it names"


def test_audit__bundle_missing__stops_there() -> None:
    verdicts = judged(log=served(the_log(), spoilt={"tile/entries/001": None}))
    assert broken(verdicts) == {"P7": "tile/entries/001: there is no tile/entries/001"}
    assert unknown(verdicts) == ["P1", "P5", "P6"]


@pytest.mark.parametrize(
    ("path", "data", "fault"),
    [
        ("tile/0/001", None, "there is no"),
        ("tile/0/001", bytes(256 * 32), "is not what its entries give"),
        ("tile/1/000.p/2", bytes(64), "is not what its entries give"),
    ],
)
def test_audit__tile_wrong__named(path: str, data: bytes | None, fault: str) -> None:
    found = broken(judged(log=served(the_log(), spoilt={path: data})))
    assert list(found) == ["P7"]
    assert found["P7"] is not None
    assert found["P7"].startswith(path)
    assert fault in found["P7"]


def test_audit__log_grows_beyond_what_a_leaf_names__or_not_yet() -> None:
    verdicts = judged(facts=facts(leaf(600)))
    assert unknown(verdicts) == ["P6"]


def make_twice() -> ChainFacts:
    return facts(leaf(5), leaf(5, 1, batch="cd" * 32))


CHAIN_FAULTS: dict[str, tuple[Callable[[], ChainFacts], str]] = {
    "evidence": (
        lambda: facts(leaf(5, evidence_digest=bytes(32))),
        f"leaf 0 of batch {BATCH}: entry 5 is not the CDR that it names",
    ),
    "no CDR": (
        lambda: facts(leaf(6)),
        f"leaf 0 of batch {BATCH}: entry 6 is not the CDR that it names",
    ),
    "twice": (make_twice, f"leaf 1 of batch {'cd' * 32}: CDR 1 was paid in {BATCH} too"),
    "digest": (lambda: facts(faults=("batch 7 differs",)), "batch 7 differs"),
}


@pytest.mark.parametrize("name", CHAIN_FAULTS)
def test_audit__chain_says_what_the_log_does_not__named(name: str) -> None:
    make, offence = CHAIN_FAULTS[name]
    assert broken(judged(facts=make())) == {"P6": offence}


def test_audit__skipped_leaf_proposed_again__is_no_fault() -> None:
    again = facts(leaf(5, is_paid=False), leaf(5, 1, batch="cd" * 32))
    assert not broken(judged(facts=again))
