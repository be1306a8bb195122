"""Every bill of an exported log made again from its entries alone (promise P6).

First the files are shown to be the log that a trusted head stands for, then every record to be
the one that its entry commits to, then every bill to follow from the records and the readings.
What does not hold is named by step, entry and session.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chargera.domain.errors import ChargEraError, Unreadable
from chargera.domain.transaction import SessionEvent
from chargera.proofs import canonical, records
from chargera.proofs.checkpoint import parse_checkpoint
from chargera.proofs.entry import EntryKind
from chargera.proofs.export import (
    Difference,
    ExportedLog,
    ExportReader,
    Findings,
    OpenedRecord,
    Report,
    read_object,
)
from chargera.proofs.receipt import OF_SESSION, Receipt, ReceiptEntry, check_session
from chargera.proofs.steps import Step, StepStatus, failed_step
from chargera.proofs.trust import Trust

DIFFERENCES_SHOWN = 100

_COMMITTING = (EntryKind.SESSION_ENDED, EntryKind.CDR)
"""Kinds whose records hold the digest of a session's readings so far."""

_FAULTS = (ChargEraError, KeyError, TypeError, ValueError, AttributeError)
"""What a record of another shape than its kind has may raise."""


@dataclass(slots=True)
class Total:
    """The bills that stand in one currency: how many, their energy, their sums."""

    bills: int = 0
    energy_wh: int = 0
    net_minor: int = 0
    vat_minor: int = 0
    gross_minor: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the members."""
        return {
            "bills": self.bills,
            "energy_wh": self.energy_wh,
            "gross_minor": self.gross_minor,
            "net_minor": self.net_minor,
            "vat_minor": self.vat_minor,
        }


@dataclass(slots=True)
class Counts:
    """How much was gone through and found right."""

    entries: int = 0
    stations: int = 0
    records: int = 0
    sessions: int = 0
    bills: int = 0
    """Recomputed and equal, also those that were taken back later."""
    signed: int = 0
    """Bills that rest on signed meter values."""
    credits: int = 0
    bills_elsewhere: int = 0
    """Bills whose records the export has not got, and that the log does not call erased."""


@dataclass(frozen=True, slots=True)
class Recomputation:
    """The outcome: a step each check, and every difference by entry and session."""

    steps: tuple[Step, ...]
    counts: Counts
    totals: Mapping[str, Total]
    """By currency."""
    differences: tuple[Difference, ...]

    @property
    def failed_step(self) -> str | None:
        """The first step that failed."""
        return failed_step(self.steps)

    @property
    def valid(self) -> bool:
        """Every bill of the log follows from what a trusted head stands for."""
        fine = (StepStatus.OK, StepStatus.NOT_ASKED)
        return all(step.status in fine for step in self.steps)

    @property
    def exit_code(self) -> int:
        """0 all equal, 1 something differs, 2 not of the form, 3 not all could be determined."""
        if self.failed_step == "form":
            return 2
        if self.failed_step is not None:
            return 1
        return 0 if self.valid else 3

    def as_dict(self) -> dict[str, object]:
        """Return the document of `log recompute --json`."""
        counts = self.counts
        return {
            "bills": counts.bills,
            "bills_elsewhere": counts.bills_elsewhere,
            "differences": [d.as_dict() for d in self.differences[:DIFFERENCES_SHOWN]],
            "differences_total": len(self.differences),
            "entries": counts.entries,
            "failed_step": self.failed_step,
            "records": counts.records,
            "sessions": counts.sessions,
            "steps": [step.as_dict() for step in self.steps],
            "totals": {c: total.as_dict() for c, total in sorted(self.totals.items())},
            "valid": self.valid,
        }


def recompute(
    export: ExportedLog, trust: Trust | None, report: Report = lambda what, done, total: None
) -> Recomputation:
    """Check an export from its head to its last bill. What is wrong with it is never raised.

    `trust` None: whose head it is stays pending.
    """
    try:
        head = parse_checkpoint(export.checkpoint)
    except ChargEraError as error:
        step = Step("form", StepStatus.FAILED, f"checkpoint: {error.message}")
        return Recomputation((step,), Counts(), {}, ())
    findings = Findings()
    reader = ExportReader(export, head, findings, report)
    reader.check_signature(trust)
    bills = _Bills(export.checkpoint, trust, findings)
    for opened in reader.opened_records():
        bills.keep(opened)
    bills.judge_all(export, report)
    bills.leave_out(reader.bills_not_enclosed)
    counts = bills.counts
    counts.entries, counts.records = reader.entries, reader.opened
    counts.stations = len(reader.stations)
    steps = (Step("form", StepStatus.OK, f"an export of {head.origin}"), *_steps(counts, findings))
    return Recomputation(steps, counts, bills.totals, tuple(findings.differences))


def _steps(counts: Counts, findings: Findings) -> list[Step]:
    """Return the steps after `form`: what each found, or else how much it found right."""
    others = f"; {counts.bills_elsewhere} more are not in this export"
    right = {
        "signature": (1, f"a trusted key signed a head of {counts.entries} entries"),
        "tree": (1, f"{counts.entries} entries have the root of that head"),
        "sequence": (1, f"the entries of {counts.stations} stations are numbered without holes"),
        "records": (1, f"{counts.records} records are those that their entries commit to"),
        "readings": (1, f"the readings of {counts.sessions} sessions have their digests"),
        "bill": (
            1,
            f"{counts.bills} bills recomputed, 0 differences"
            + (others if counts.bills_elsewhere else ""),
        ),
        "signed_values": (counts.signed, f"{counts.signed} bills rest on signed meter values"),
        "credits": (counts.credits, f"{counts.credits} bills were taken back whole"),
    }
    steps = []
    for name, (number, text) in right.items():
        found = [difference for difference in findings.differences if difference.step == name]
        if found:
            steps.append(Step(name, StepStatus.FAILED, _summary(found)))
        elif name in findings.pending:
            steps.append(Step(name, StepStatus.PENDING, findings.pending[name]))
        else:
            steps.append(Step(name, StepStatus.OK if number else StepStatus.NOT_ASKED, text))
    return steps


def _summary(found: Sequence[Difference]) -> str:
    first = found[0]
    where = "" if first.log_index is None else f"entry {first.log_index}: "
    more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
    return f"{where}{first.detail}{more}"


class _Bills:
    """The records by what they belong to, and the bills made from them."""

    def __init__(self, checkpoint: bytes, trust: Trust | None, findings: Findings) -> None:
        self.counts = Counts()
        self.totals: dict[str, Total] = {}
        self._checkpoint = checkpoint
        self._head = parse_checkpoint(checkpoint)
        self._trust = trust
        self._findings = findings
        self._sessions: dict[str, list[OpenedRecord]] = {}
        self._registrations: dict[str, list[OpenedRecord]] = {}
        self._tariffs: dict[int, OpenedRecord] = {}
        self._erased: set[int] = set()
        self._has_first = False

    def keep(self, opened: OpenedRecord) -> None:
        """Keep what bills need."""
        kind, envelope = opened.envelope.kind, opened.envelope
        self._has_first |= opened.index == 0
        try:
            if kind in OF_SESSION:
                self._sessions.setdefault(opened.members()["session_id"], []).append(opened)
            elif kind is EntryKind.STATION_REGISTERED:
                self._registrations.setdefault(str(envelope.station), []).append(opened)
            elif kind is EntryKind.TARIFF_PUBLISHED:
                self._tariffs[opened.index] = opened
            elif kind is EntryKind.RECORD_ERASED:
                self._erased.update(opened.members()["log_indexes"])
        except _FAULTS as error:
            fault = f"a {kind} record lacks or misstates {error}"
            self._findings.differ("records", fault, opened.index)

    def judge_all(self, export: ExportedLog, report: Report) -> None:
        """Judge the sessions in the order of their readings, which are not kept."""
        total = len(self._sessions)
        for number, line in enumerate(export.readings, start=1):
            try:
                session_id, rows = _readings(line)
            except ChargEraError as error:
                fault = f"line {number} is not of the form {{events, session_id}}: {error.message}"
                self._findings.differ("readings", fault)
                continue
            opened = self._sessions.pop(session_id, None)
            if opened is None:
                fault = "readings of a session that is not there, or for a second time"
                self._findings.differ("readings", fault, None, session_id)
                continue
            self._judge(session_id, opened, rows)
            report("sessions", number, total)
        for session_id, opened in self._sessions.items():
            index = next((o.index for o in opened if o.envelope.kind in _COMMITTING), None)
            if index is not None:
                self._findings.differ("readings", "its readings are missing", index, session_id)

    def leave_out(self, not_enclosed: set[int]) -> None:
        """Say which bills there are no records of, unless the log says that they were erased.

        Who may read only what is his own is not asked about the rest. Who may read all has the
        record of the first entry, which says whose network it is: then every bill is asked for.
        """
        left = not_enclosed - self._erased
        self.counts.bills_elsewhere = len(left)
        if left and (self._has_first or not self.counts.bills):
            self._findings.pending["bill"] = (
                f"{self.counts.bills} bills are equal; the records of {len(left)} more, the first"
                f" of them entry {min(left)}, are not in this export"
            )

    def _judge(self, session_id: str, opened: Sequence[OpenedRecord], rows: Sequence[Any]) -> None:
        """Check the readings of a session, then each of its bills as of when it was made."""
        try:
            entries = [one.entry(self._checkpoint) for one in opened]
            encoded = [canonical.encode(row) for row in rows]
            events = [
                records.event_from_record(row, field=f"events[{n}]") for n, row in enumerate(rows)
            ]
            if self._readings_hold(session_id, entries, encoded):
                self.counts.sessions += 1
                self._check_bills(session_id, entries, events, encoded)
        except _FAULTS as error:
            fault = f"a record or a reading lacks or misstates {error}"
            self._findings.differ("readings", fault, opened[0].index, session_id)

    def _readings_hold(
        self, session_id: str, entries: Sequence[ReceiptEntry], encoded: Sequence[bytes]
    ) -> bool:
        """See that the readings are those that the session's entries commit to, and no others."""
        summaries = [(e, e.record["events"]) for e in entries if e.kind in _COMMITTING]
        for entry, summary in summaries:
            if records.events_summary(encoded[: summary["count"]]) != summary:
                fault = f"the readings are not those that the {entry.kind} record commits to"
                self._findings.differ("readings", fault, entry.proof.index, session_id)
                return False
        if len(encoded) > max((summary["count"] for _, summary in summaries), default=0):
            fault = "there are readings that no entry commits to"
            self._findings.differ("readings", fault, entries[0].proof.index, session_id)
            return False
        return True

    def _check_bills(
        self,
        session_id: str,
        entries: Sequence[ReceiptEntry],
        events: Sequence[SessionEvent],
        encoded: Sequence[bytes],
    ) -> None:
        bills = [entry for entry in entries if entry.kind is EntryKind.CDR]
        for bill in bills:
            index, count = bill.proof.index, bill.record["events"]["count"]
            enclosed = self._enclosed(bill, entries[0].proof.index)
            then = [entry for entry in entries if entry.proof.index <= index]
            receipt = Receipt(
                session_id,
                tuple(sorted([*enclosed, *then], key=lambda entry: entry.proof.index)),
                tuple(events[:count]),
                tuple(encoded[:count]),
                self._head,
                None,
            )
            if len(enclosed) == 2:
                self._take_steps(check_session(receipt, self._trust), index, session_id)
        credited = [entry for entry in entries if entry.kind is EntryKind.CREDIT_CDR]
        self.counts.credits += len(credited)
        stands = bills[-1].proof.index if bills else -1
        if credited and credited[-1].proof.index > stands:
            fault = "a bill was taken back and nothing stands in its place"
            self._findings.differ("credits", fault, credited[-1].proof.index, session_id)
        elif bills:
            self._add_up(bills[-1].record)

    def _take_steps(self, steps: Sequence[Step], index: int, session_id: str) -> None:
        ok = {step.step for step in steps if step.status is StepStatus.OK}
        for step in steps:
            if step.status is StepStatus.FAILED:
                self._findings.differ(step.step, step.detail, index, session_id)
        self.counts.bills += "bill" in ok
        self.counts.signed += "signed_values" in ok

    def _enclosed(self, bill: ReceiptEntry, begin: int) -> list[ReceiptEntry]:
        """Return registration and tariff of a bill; what the export has not got is missing.

        The registration is the one that held when the session's first entry was made.
        """
        index = bill.proof.index
        known = self._registrations.get(str(bill.station), [])
        tariff = self._tariffs.get(bill.record["tariff"]["log_index"])
        found = [*[one for one in known if one.index < begin][-1:], *([tariff] if tariff else [])]
        if len(found) != 2:
            what = "station's registration" if tariff else "tariff"
            self._findings.pending["bill"] = f"the {what} of the bill in entry {index} is missing"
        return [one.entry(self._checkpoint) for one in found]

    def _add_up(self, record: Mapping[str, Any]) -> None:
        bill = record["bill"]
        total = self.totals.setdefault(bill["currency"], Total())
        total.bills += 1
        total.energy_wh += record["energy_wh"]
        total.net_minor += bill["net_minor"]
        total.vat_minor += bill["vat_minor"]
        total.gross_minor += bill["gross_minor"]


def _readings(line: bytes) -> tuple[str, list[Any]]:
    """Return session id and rows of a line of `readings.jsonl`."""
    members = read_object(line.removesuffix(b"\n"))
    match members:
        case {"events": list(rows), "session_id": str(session_id)} if len(members) == 2:
            return session_id, rows
    raise Unreadable("its members are not those")
