"""Recomputation of an exported log: equal where nothing was changed, and otherwise named."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from chargera.domain.errors import NotFound
from chargera.domain.messages import ReadingContext, TransactionEventKind
from chargera.domain.pricing import ChargingState
from chargera.domain.transaction import SessionEvent
from chargera.proofs import canonical, records
from chargera.proofs.entry import EntryKind, Envelope, commit, envelope_bytes
from chargera.proofs.export import ExportedLog
from chargera.proofs.recompute import DIFFERENCES_SHOWN, Recomputation, recompute
from chargera.proofs.steps import StepStatus
from chargera.proofs.tiles import Tile, grow
from chargera.proofs.trust import Trust
from chargera.sim.meter import Identification, ReadingKind, SigningMeter
from tests.unit.proofs.log_of_test import OTHER_KEY
from tests.unit.proofs.sample_receipt import (
    METER_KEY,
    SESSION_ID,
    START,
    Sample,
    SampleLog,
    sample,
    trust,
)

Edit = Callable[[Any], object]


@dataclass
class Export:
    """An export in memory; tests change its parts before it is recomputed."""

    checkpoint: bytes
    tiles: dict[Tile, bytes]
    records: list[bytes]
    readings: list[bytes]
    reported: list[tuple[str, int, int]] = field(default_factory=list)

    def run(self, believed: Trust | None = None) -> Recomputation:
        return recompute(
            ExportedLog(self.checkpoint, self._fetch, self.records, self.readings),
            believed or trust(),
            lambda *progress: self.reported.append(progress),
        )

    def _fetch(self, tile: Tile) -> bytes:
        try:
            return self.tiles[tile]
        except KeyError:
            raise NotFound(f"{tile.path} is missing") from None


def export_of(log: SampleLog, sessions: Iterable[tuple[str, Sequence[SessionEvent]]]) -> Export:
    entries = [envelope_bytes(envelope) for envelope, _, _ in log.entries]
    return Export(
        log.note(),
        dict(grow(0, entries, lambda tile: b"")),
        [
            canonical.encode(
                {"index": n, "kind": envelope.kind, "record": record, "salt": salt.hex()}
            )
            for n, (envelope, record, salt) in enumerate(log.entries)
        ],
        [
            canonical.encode({"events": [*map(records.event_record, rows)], "session_id": name})
            for name, rows in sessions
        ],
    )


def exported(one: Sample | None = None) -> Export:
    one = one or sample()
    return export_of(one.log, [(SESSION_ID, one.events)])


def late_event() -> SessionEvent:
    """The station paused after half an hour, and says so after its session was billed."""
    at, received_at = START + timedelta(minutes=30), START + timedelta(hours=2)
    kind, context = TransactionEventKind.UPDATED, ReadingContext.OTHER
    return SessionEvent(
        3, kind, True, at, received_at, None, None, None, context, ChargingState.IDLE
    )


def place_of(log: SampleLog, kind: EntryKind) -> int:
    return [envelope.kind for envelope, _, _ in log.entries].index(kind)


def relogged(kind: EntryKind, edit: Edit) -> Export:
    """What the operator would have logged had it put something else into a record."""
    one = sample()
    place = place_of(one.log, kind)
    envelope, record, salt = one.log.entries[place]
    changed = json.loads(json.dumps(record))
    edit(changed)
    assert changed != record
    commitment = commit(salt, records.encode(changed))
    one.log.entries[place] = (replace(envelope, commitment=commitment), changed, salt)
    return exported(one)


def statuses(outcome: Recomputation) -> dict[str, StepStatus]:
    return {step.step: step.status for step in outcome.steps}


def assert_named(outcome: Recomputation, step: str, words: str, index: int | None = None) -> None:
    """The first difference is of this step, says these words and is at this entry."""
    assert outcome.exit_code == 1, outcome
    first = outcome.differences[0]
    assert (first.step, first.log_index) == (step, index), outcome.differences
    assert words in first.detail
    assert statuses(outcome)[step] is StepStatus.FAILED


# What is equal ---------------------------------------------------------------------------------


def test_recompute__untouched__every_bill_is_equal() -> None:
    export = exported()
    outcome = export.run()
    assert (outcome.valid, outcome.exit_code, outcome.failed_step) == (True, 0, None), outcome
    document = outcome.as_dict()
    assert (document["bills"], document["differences"], document["valid"]) == (1, [], True)
    assert document["totals"] == {
        "EUR": {
            "bills": 1,
            "energy_wh": 10_000,
            "gross_minor": 363,
            "net_minor": 300,
            "vat_minor": 63,
        }
    }
    asked = {name for name, s in statuses(outcome).items() if s is not StepStatus.NOT_ASKED}
    assert asked == {"form", "signature", "tree", "sequence", "records", "readings", "bill"}
    assert export.reported == [("entries", 7, 7), ("sessions", 1, 1)]
    assert json.loads(json.dumps(document)) == document


def test_recompute__a_bill_that_was_replaced__both_are_equal_and_one_stands() -> None:
    outcome = exported(sample(late=late_event())).run()
    assert outcome.valid, outcome
    assert (outcome.counts.bills, outcome.counts.credits) == (2, 1)
    assert (outcome.totals["EUR"].bills, outcome.totals["EUR"].gross_minor) == (1, 424)
    assert statuses(outcome)["credits"] is StepStatus.OK


def test_recompute__signed_meter_values__count() -> None:
    meter = SigningMeter(METER_KEY, "SIM-1")
    signed = [
        meter.reading(register_wh, START + timedelta(hours=hour), kind, Identification()).encode()
        for register_wh, hour, kind in ((1000, 0, ReadingKind.BEGIN), (11_000, 1, ReadingKind.END))
    ]
    outcome = exported(sample(signed=signed)).run()
    assert outcome.valid, outcome
    assert outcome.counts.signed == 1


def test_recompute__more_than_one_tile__every_tile_is_compared() -> None:
    one = sample()
    for number in range(600):
        one.log.append(EntryKind.AUTHORIZE, {"number": number})
    export = exported(one)
    assert export.run().valid
    assert len({tile.level for tile in export.tiles}) == 3, "bundles and two levels of hashes"
    assert export.reported[:3] == [
        ("entries", 256, 607),
        ("entries", 512, 607),
        ("entries", 607, 607),
    ]
    upper = Tile(1, 0, 2)
    export.tiles[upper] = export.tiles[upper][:-1] + b"?"
    assert_named(export.run(), "tree", "tile/1/000.p/2")


def test_recompute__a_session_that_runs__needs_no_readings() -> None:
    one = sample()
    record = {"session_id": "another", "tariff": None}
    one.log.append(EntryKind.SESSION_STARTED, record)
    assert exported(one).run().valid


def test_recompute__a_session_that_waits_for_a_person__its_readings_are_checked() -> None:
    one = sample()
    rows = one.events[:1]
    encoded = [records.event_bytes(row) for row in rows]
    record = {"events": records.events_summary(encoded), "session_id": "another"}
    one.log.append(EntryKind.SESSION_ENDED, record)
    sessions = [(SESSION_ID, one.events), ("another", rows)]
    outcome = export_of(one.log, sessions).run()
    assert outcome.valid, outcome
    assert (outcome.counts.sessions, outcome.counts.bills) == (2, 1)
    sessions[1] = ("another", [replace_register(rows[0], 7)])
    assert_named(export_of(one.log, sessions).run(), "readings", "session_ended", 7)


def replace_register(row: SessionEvent, register_wh: int) -> SessionEvent:
    record = records.event_record(row) | {"register_wh": register_wh}
    return records.event_from_record(record, field="row")


# The head --------------------------------------------------------------------------------------


def test_recompute__no_checkpoint__unreadable() -> None:
    export = exported()
    export.checkpoint = b"nothing\n"
    outcome = export.run()
    assert (outcome.exit_code, outcome.failed_step) == (2, "form")
    assert outcome.as_dict()["entries"] == 0


def test_recompute__nobody_is_trusted__undetermined() -> None:
    one = exported()
    outcome = recompute(ExportedLog(one.checkpoint, one._fetch, one.records, one.readings), None)
    assert (outcome.exit_code, outcome.valid) == (3, False)
    assert statuses(outcome)["signature"] is StepStatus.PENDING
    assert outcome.counts.bills == 1


def test_recompute__another_key__named() -> None:
    assert_named(
        exported().run(replace(trust(), log_keys=(OTHER_KEY,))), "signature", "not signed by"
    )


# The log ---------------------------------------------------------------------------------------


def test_recompute__a_changed_entry__named() -> None:
    export = exported()
    bundle = next(tile for tile in export.tiles if tile.level == -1)
    export.tiles[bundle] = export.tiles[bundle].replace(b"security_event", b"sequence_hole_")
    outcome = export.run()
    assert_named(outcome, "tree", "root")
    assert len([d for d in outcome.differences if d.step == "tree"]) == 2, "root and leaf tile"
    assert "1 more" in {s.step: s.detail for s in outcome.steps}["tree"]


def test_recompute__an_entry_that_is_none__named() -> None:
    export = exported()
    bundle = next(tile for tile in export.tiles if tile.level == -1)
    export.tiles[bundle] = export.tiles[bundle].replace(b'"kind"', b'"kond"', 1)
    assert_named(export.run(), "tree", "not an entry", 0)


@pytest.mark.parametrize("level", [-1, 0])
def test_recompute__a_missing_file__named(level: int) -> None:
    export = exported()
    del export.tiles[next(tile for tile in export.tiles if tile.level == level)]
    outcome = export.run()
    assert_named(outcome, "tree", "is missing", 0 if level < 0 else None)
    assert outcome.counts.bills == (0 if level < 0 else 1)


def test_recompute__a_bundle_is_missing__records_of_the_next_are_still_read() -> None:
    one = sample()
    for number in range(300):
        one.log.append(EntryKind.AUTHORIZE, {"number": number})
    export = exported(one)
    del export.tiles[Tile(-1, 0, 256)]
    outcome = export.run()
    assert_named(outcome, "tree", "is missing", 0)
    assert outcome.counts.records == 51


def test_recompute__a_station_number_is_skipped__named() -> None:
    one = sample()
    envelope, record, salt = one.log.entries[-1]
    one.log.entries[-1] = (replace(envelope, seq=9), record, salt)
    assert_named(exported(one).run(), "sequence", "CP-1 has number 9 after 4", 6)


def test_recompute__an_entry_of_a_later_version__sequence_is_left_open() -> None:
    one = sample()
    export = exported(one)
    entries = [envelope_bytes(envelope) for envelope, _, _ in one.log.entries]
    entries[0] = entries[0].replace(b"network_created", b"network_renamed")
    entries[4] = entries[4].replace(b'"seq":3', b'"seq":8')
    export.tiles = dict(grow(0, entries, lambda tile: b""))
    outcome = export.run()
    assert statuses(outcome)["sequence"] is StepStatus.PENDING
    assert statuses(outcome)["tree"] is StepStatus.FAILED, "the head stands for other entries"


# The records -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"gross_minor":363', b'"gross_minor":362'),
        (b'"kind":"cdr"', b'"kind":"credit_cdr"'),
        (b'"salt":"05', b'"salt":"06'),
        (b'"record":{', b'"record":{"x":' + b'"' + b"y" * 2**20 + b'",'),
    ],
)
def test_recompute__a_changed_record__named(old: bytes, new: bytes) -> None:
    export = exported()
    assert old in export.records[5]
    export.records[5] = export.records[5].replace(old, new)
    outcome = export.run()
    assert_named(outcome, "records", "not the cdr record", 5)
    assert outcome.counts.bills == 0


def test_recompute__lines_of_another_form_or_order__named() -> None:
    export = exported()
    export.records.insert(0, b"{}")
    assert_named(export.run(), "records", "line 1 is not of the form")
    export = exported()
    export.records.append(export.records[0])
    assert_named(export.run(), "records", "line 8 is not in the order of the log", 0)
    export = exported()
    export.records.append(export.records[0].replace(b'"index":0', b'"index":7'))
    assert_named(export.run(), "records", "not under this head", 7)


def test_recompute__a_bill_without_record__undetermined_unless_it_was_erased() -> None:
    export = exported()
    del export.records[5]
    outcome = export.run()
    assert (outcome.exit_code, outcome.counts.bills) == (3, 0)
    assert "first of them entry 5" in {s.step: s.detail for s in outcome.steps}["bill"]
    one = sample()
    one.log.append(EntryKind.RECORD_ERASED, {"log_indexes": [5]})
    export = exported(one)
    del export.records[5]
    assert export.run().valid


def test_recompute__bills_of_others__are_asked_only_of_who_may_read_all() -> None:
    one = sample()
    one.log.append(EntryKind.CDR, {"session_id": "of somebody else"})
    export = exported(one)
    del export.records[-1]
    outcome = export.run()
    assert (outcome.exit_code, outcome.counts.bills) == (3, 1)
    assert "the records of 1 more" in {s.step: s.detail for s in outcome.steps}["bill"]
    del export.records[0]  # only who may read all has the first entry's record
    outcome = export.run()
    assert (outcome.exit_code, outcome.as_dict()["bills_elsewhere"]) == (0, 1)
    detail = {s.step: s.detail for s in outcome.steps}["bill"]
    assert detail == "1 bills recomputed, 0 differences; 1 more are not in this export"


@pytest.mark.parametrize("kind", [EntryKind.STATION_REGISTERED, EntryKind.TARIFF_PUBLISHED])
def test_recompute__what_a_bill_needs_is_not_there__undetermined(kind: EntryKind) -> None:
    one = sample()
    export = exported(one)
    del export.records[place_of(one.log, kind)]
    outcome = export.run()
    assert (outcome.exit_code, outcome.counts.bills) == (3, 0)
    detail = {s.step: s.detail for s in outcome.steps}["bill"]
    assert ("registration" if kind is EntryKind.STATION_REGISTERED else "tariff") in detail


def test_recompute__records_of_another_shape__named() -> None:
    one = sample()
    one.log.append(EntryKind.ANOMALY, {"code": "no_start"})
    one.log.append(EntryKind.RECORD_ERASED, {"log_indexes": 5})
    outcome = exported(one).run()
    assert [d.log_index for d in outcome.differences] == [7, 8]
    assert_named(outcome, "records", "lacks or misstates 'session_id'", 7)


def test_recompute__a_record_nested_without_end__named() -> None:
    one = sample()
    bomb = b'{"session_id":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    envelope = Envelope(EntryKind.ANOMALY, "CP-1", 6, START, commit(bytes(32), bomb))
    one.log.entries.append((envelope, {}, bytes(32)))
    export = exported(one)
    export.records[7] = (
        b'{"index":7,"kind":"anomaly","record":' + bomb + b',"salt":"' + b"0" * 64 + b'"}'
    )
    assert_named(export.run(), "records", "nested deeper", 7)


# The readings ----------------------------------------------------------------------------------


def edited_readings(edit: Edit) -> Export:
    export = exported()
    document = json.loads(export.readings[0])
    edit(document)
    export.readings[0] = canonical.encode(document)
    return export


@pytest.mark.parametrize(
    ("edit", "words", "index"),
    [
        (lambda d: d["events"][1].update(register_wh=1), "session_ended record commits to", 4),
        (lambda d: d["events"].pop(), "session_ended record commits to", 4),
        (lambda d: d["events"].append(d["events"][0]), "no entry commits to", 3),
        (lambda d: d.update(session_id="stranger"), "not there", None),
        (lambda d: d.update(more=1), "not of the form", None),
        (lambda d: d.update(events=1), "not of the form", None),
        (lambda d: d["events"][0].pop("n"), "lacks or misstates", 3),
    ],
)
def test_recompute__changed_readings__named(edit: Edit, words: str, index: int | None) -> None:
    assert_named(edited_readings(edit).run(), "readings", words, index)


def test_recompute__readings_missing_or_twice_or_no_json__named() -> None:
    export = exported()
    export.readings = []
    assert_named(export.run(), "readings", "missing", 4)
    export = exported()
    export.readings *= 2
    assert_named(export.run(), "readings", "second time")
    export = exported()
    export.readings[0] = b"[]\n"
    assert_named(export.run(), "readings", "line 1")


# The bills -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "edit", "step", "words"),
    [
        (EntryKind.CDR, lambda r: r["bill"].update(gross_minor=362), "bill", "another bill"),
        (EntryKind.CDR, lambda r: r.update(energy_wh=9_999), "bill", "another energy_wh"),
        (EntryKind.CDR, lambda r: r.update(proof_level="L2"), "bill", "another proof_level"),
        (EntryKind.CDR, lambda r: r.update(station_id="CP-2"), "records", "another station"),
        (EntryKind.CDR, lambda r: r["tariff"].update(version=2), "records", "another tariff"),
        (
            EntryKind.TARIFF_PUBLISHED,
            lambda r: r["document"]["elements"][0]["price_components"][0].update(price="0.31"),
            "records",
            "another tariff",
        ),
        (
            EntryKind.STATION_REGISTERED,
            lambda r: r.update(meter_key="30" * 8),
            "bill",
            "",
        ),
        (EntryKind.CDR, lambda r: r.pop("numbered"), "bill", "lacks or misstates"),
    ],
)
def test_recompute__the_operator_logged_something_else__named(
    kind: EntryKind, edit: Edit, step: str, words: str
) -> None:
    outcome = relogged(kind, edit).run()
    assert outcome.exit_code == 1, outcome
    found = [d for d in outcome.differences if d.step == step]
    assert found, outcome
    assert (found[0].log_index, found[0].session_id) == (5, SESSION_ID)
    assert words in found[0].detail
    assert statuses(outcome)["tree"] is StepStatus.OK, "the log itself is what was signed"


def test_recompute__a_summary_of_another_shape__named() -> None:
    outcome = relogged(EntryKind.SESSION_ENDED, lambda r: r.update(events=7)).run()
    assert_named(outcome, "readings", "lacks or misstates", 3)


def test_recompute__a_bill_taken_back_and_not_replaced__named() -> None:
    one = sample()
    record = {"credits": "cdr-1", "session_id": SESSION_ID}
    one.log.append(EntryKind.CREDIT_CDR, record)
    outcome = exported(one).run()
    assert_named(outcome, "credits", "nothing stands in its place", 7)
    assert outcome.totals == {}


def test_recompute__a_credit_without_bill__named_by_no_total() -> None:
    one = sample()
    rows = one.events[:1]
    summary = records.events_summary([records.event_bytes(row) for row in rows])
    one.log.append(EntryKind.SESSION_ENDED, {"events": summary, "session_id": "another"})
    one.log.append(EntryKind.CREDIT_CDR, {"credits": "x", "session_id": "another"})
    outcome = export_of(one.log, [(SESSION_ID, one.events), ("another", rows)]).run()
    assert_named(outcome, "credits", "nothing stands in its place", 8)


def test_recompute__very_many_differences__the_document_stays_short() -> None:
    export = exported()
    export.records += [b"x"] * (DIFFERENCES_SHOWN + 5)
    document = export.run().as_dict()
    assert document["differences_total"] == DIFFERENCES_SHOWN + 5
    assert len(document["differences"]) == DIFFERENCES_SHOWN
