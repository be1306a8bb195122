"""From an ended session to its bill: judge, write the CDR, correct by credit, never by edit.

The rows of sessions that wait for a bill are their own outbox: `bill_after` is set in the commit
that ended the session, and cleared in the commit that bills it or sends it to review.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from chargera.app.numbering import Numbered, Numbering, NumberingWork
from chargera.app.ports import Clock, Entropy, LiveEvent, NewEntry, QuotedTariff
from chargera.app.settlement_ports import NetworkTerms
from chargera.domain.bill import Bill, bill_as_json
from chargera.domain.errors import Conflict, InvalidInput, NotFound
from chargera.domain.proof_level import ProofLevel
from chargera.domain.station import MAX_POWER_W, ChargingStation
from chargera.domain.transaction import (
    DERIVED,
    Anomaly,
    SessionEvent,
    SessionState,
    Transaction,
)
from chargera.proofs import records
from chargera.proofs.cdr import Correction, Judgement, SessionFacts, SignedMeterValue, judge
from chargera.proofs.entry import EntryKind
from chargera.proofs.meter_key import load_meter_key

_log = logging.getLogger(__name__)

BATCH = 128
SILENT_AFTER = timedelta(hours=24)
SILENT_BATCH = 256

HOLES_LOGGED_MAX = 64
"""Holes of one session that get an entry each; the others share one that spans them."""

SUSPECT_LISTED_MAX = 1_000


@dataclass(frozen=True, slots=True)
class CurrentCdr:
    """The bill that stands, if there is one."""

    cdr_id: str
    log_index: int
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BillingCase:
    """A session with all that its bill may depend on."""

    transaction: Transaction
    events: Sequence[SessionEvent]
    station: ChargingStation
    tariff: QuotedTariff | None
    signed: Sequence[SignedMeterValue]
    previous_pages: Mapping[str, int] | None
    current: CurrentCdr | None
    correction: Correction | None = None
    correction_by: str | None = None


@dataclass(slots=True)
class CdrRow:
    """A CDR to store; `log_index` is filled in when its entry has one."""

    cdr_id: str
    session_id: str
    is_credit: bool
    replaces_cdr_id: str | None
    bill: Bill
    sign: int
    energy_wh: int
    record: records.Record
    created_at: datetime
    entry: int
    """Its place among the entries of this unit of work."""


@dataclass(slots=True)
class BillingOutcome:
    """What happens to the row of a session that was judged."""

    transaction: Transaction
    state: SessionState
    anomalies: Sequence[Anomaly]
    proof_level: ProofLevel | None
    """None: that of the bill, which stands."""
    bill: Bill | None
    cdr_entry: int | None
    tariff: QuotedTariff | None = None
    """What the bill was priced by."""


@dataclass(frozen=True, slots=True)
class NumberedCdr:
    """A CDR that is to be settled on chain; `entry` as in `CdrRow`, `payment` likewise."""

    session_id: str
    station_id: str
    evse: int
    numbered: Numbered
    entry: int
    payment: int | None
    at: datetime


@dataclass(slots=True)
class BillingResult:
    """Rows of one billing run."""

    cdrs: list[CdrRow] = field(default_factory=list)
    outcomes: list[BillingOutcome] = field(default_factory=list)
    numbered: list[NumberedCdr] = field(default_factory=list)
    operator_id: str = ""


class BillingWork(NumberingWork, Protocol):
    """The database as billing needs it."""

    async def take_due_cases(self, limit: int) -> list[BillingCase]:
        """Return sessions whose bill is due, locked for this unit of work."""

    async def load_case(self, session_id: str) -> BillingCase | None:
        """Return one session, locked; None if there is none."""

    async def load_tariff(self, tariff_id: str) -> QuotedTariff | None:
        """Return the newest version of a tariff."""

    async def store_bills(self, result: BillingResult) -> None:
        """Flush the log entries and write the rows with their indexes."""

    def append(self, entry: NewEntry) -> None:
        """Append an entry to the log."""


@dataclass(frozen=True, slots=True)
class SilentSession:
    """A session that was given up because its station has said nothing for too long."""

    session_id: str
    station_id: str
    transaction_id: str


class SilenceWork(Protocol):
    """The database as the watch over silent sessions needs it."""

    async def mark_silent(self, before: datetime, limit: int) -> list[SilentSession]:
        """Put running sessions without a word since that time into review and return them."""

    def append(self, entry: NewEntry) -> None:
        """Append an entry to the log."""


@dataclass(frozen=True, slots=True)
class ReviewDecision:
    """A person's answer to a session in review; None keeps what the station said."""

    reason: str
    meter_start_wh: int | None = None
    meter_stop_wh: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    tariff_id: str | None = None


class Billing:
    """Bills sessions in batches."""

    def __init__(
        self,
        clock: Clock,
        entropy: Entropy,
        operator_id: str,
        settlement: NetworkTerms | None = None,
    ) -> None:
        """Bill on behalf of `operator_id` (OCPI country and party, `NL*C4E`).

        `settlement`: the chain that bills are settled on; None: none, all is payable off chain.
        """
        self._clock = clock
        self._entropy = entropy
        self._operator_id = operator_id
        self._settlement = settlement

    async def bill_due(self, work: BillingWork, limit: int = BATCH) -> list[LiveEvent]:
        """Bill what is due; the caller commits. Returns what pages should be told then."""
        cases = await work.take_due_cases(limit)
        if not cases:
            return []
        await self._settle(work, cases)
        return [LiveEvent("session", case.transaction.session_id) for case in cases]

    async def decide_review(
        self, work: BillingWork, session_id: str, decision: ReviewDecision, *, decided_by: str
    ) -> None:
        """Bill a session in review by a person's decision, which becomes a log entry.

        Raises NotFound, Conflict if the session is not in review, InvalidInput for values that
        cannot be billed.
        """
        case = await work.load_case(session_id)
        if case is None:
            raise NotFound(f"there is no session {session_id}", field="session_id")
        if case.transaction.state is not SessionState.REVIEW:
            raise Conflict(
                f"session {session_id} is {case.transaction.state}, not in review",
                field="session_id",
                remedy="only sessions in review wait for a decision",
            )
        tariff = case.tariff
        if decision.tariff_id is not None:
            tariff = await work.load_tariff(decision.tariff_id)
        if tariff is None:
            raise InvalidInput(
                "the session has no tariff", field="tariff_id", remedy="name the tariff to apply"
            )
        correction = _correction(case.transaction, decision)
        decided = replace(case, tariff=tariff, correction=correction, correction_by=decided_by)
        if not tariff.tariff.is_valid_at(correction.started_at):
            raise InvalidInput(
                f"tariff {tariff.tariff_id} was not valid when the session began",
                field="tariff_id",
                remedy="name the tariff that was valid then",
            )
        run = await self._run(work, [decided])
        run.append(decided, EntryKind.OPERATOR_CORRECTION, _correction_record(decided, decision))
        if not run.settle(decided):
            raise InvalidInput(
                "no session can have these times and registers",
                field="ended_at",
                remedy="a session lasts up to a year, and a register counts to 1 TWh",
            )
        await work.store_bills(run.result)

    async def close_silent(
        self, work: SilenceWork, now: datetime, *, clock_is_manual: bool
    ) -> list[LiveEvent]:
        """Send sessions of which nobody has heard for a day of network time to review.

        Called every minute; the caller commits. It is no end: values or a stop that come after
        all cure it. A clock that is moved by hand passes days in which nobody could speak, so
        that nothing is closed by it.
        """
        if clock_is_manual:
            return []
        silent = await work.mark_silent(now - SILENT_AFTER, SILENT_BATCH)
        for session in silent:
            record = records.anomaly_record(
                session.session_id, session.transaction_id, str(Anomaly.SILENT)
            )
            work.append(
                NewEntry(EntryKind.ANOMALY, session.station_id, session.session_id, record, now)
            )
        return [LiveEvent("session", session.session_id) for session in silent]

    async def _settle(self, work: BillingWork, cases: Sequence[BillingCase]) -> None:
        run = await self._run(work, cases)
        for case in cases:
            run.settle(case)
        await work.store_bills(run.result)

    async def _run(self, work: BillingWork, cases: Sequence[BillingCase]) -> "_Run":
        numbering = None
        if self._settlement is not None:
            first = [case.transaction.session_id for case in cases if case.current is None]
            numbering = await Numbering.of(work, self._settlement, self._entropy, first)
        return _Run(work, self._clock.now(), self._entropy, self._operator_id, numbering)


class _Run:
    """One batch under judgement."""

    def __init__(
        self,
        work: BillingWork,
        now: datetime,
        entropy: Entropy,
        operator_id: str,
        numbering: Numbering | None,
    ) -> None:
        self.result = BillingResult(operator_id=operator_id)
        self._numbering = numbering
        self._work = work
        self._now = now
        self._entropy = entropy
        self._operator_id = operator_id
        self._entries = 0

    def settle(self, case: BillingCase) -> bool:
        """Judge one session, leave its rows and entries, and say whether it can be billed."""
        try:
            facts = facts_of(case)
            judgement = judge(facts)
        except Exception:
            # A session that cannot be judged must not keep the others from their bills.
            _log.exception("session %s cannot be judged", case.transaction.session_id)
            self._set_aside(case)
            return False
        self._log_findings(case, judgement)
        decided = case.correction is None and _was_decided(case.current)
        if judgement.bill is None or decided or not _differs(case.current, judgement):
            self._leave(case, judgement.anomalies, judgement.proof_level)
        else:
            self._bill(case, facts, judgement, judgement.bill)
        return judgement.bill is not None

    def _set_aside(self, case: BillingCase) -> None:
        """Leave a session to a person without a judgement."""
        transaction = case.transaction
        if Anomaly.IMPLAUSIBLE not in transaction.anomalies:
            record = records.anomaly_record(
                transaction.session_id, transaction.transaction_id, str(Anomaly.IMPLAUSIBLE)
            )
            self.append(case, EntryKind.ANOMALY, record)
        anomalies = transaction.anomalies | {Anomaly.IMPLAUSIBLE}
        self._leave(case, frozenset(anomalies), ProofLevel.L0)

    def _bill(
        self, case: BillingCase, facts: SessionFacts, judgement: Judgement, bill: Bill
    ) -> None:
        if case.current is not None:
            self._credit(case, case.current, bill)
        cdr_id = self._entropy.session_id(self._now)
        record = cdr_record(case, facts, judgement, bill, cdr_id, self._operator_id)
        place = self._append_cdr(case, judgement, bill, record)
        energy_wh = judgement.session.energy_wh if judgement.session else 0
        replaces = case.current.cdr_id if case.current else None
        self.result.cdrs.append(
            CdrRow(
                cdr_id,
                case.transaction.session_id,
                False,
                replaces,
                bill,
                1,
                energy_wh,
                record,
                self._now,
                place,
            )
        )
        self.result.outcomes.append(
            BillingOutcome(
                case.transaction,
                SessionState.BILLED,
                sorted(judgement.anomalies),
                judgement.proof_level,
                bill,
                place,
                case.tariff,
            )
        )

    def _append_cdr(
        self, case: BillingCase, judgement: Judgement, bill: Bill, record: records.Record
    ) -> int:
        """Append the entry of a CDR; a session's first one says how it is settled."""
        session, transaction, numbered = judgement.session, case.transaction, None
        if self._numbering is not None and case.current is None:
            assert session is not None, "a bill has a session"
            numbered = self._numbering.number(transaction.session_id, bill, session, self._now)
        if numbered is None:
            return self.append(case, EntryKind.CDR, record)
        payment = None
        if numbered.payment is not None:
            payment = self.append(case, EntryKind.PAYMENT, numbered.payment)
        record["settlement"] = numbered.settlement
        place = self.append(case, EntryKind.CDR, record)
        self.result.numbered.append(
            NumberedCdr(
                transaction.session_id,
                transaction.station_id,
                transaction.evse,
                numbered,
                place,
                payment,
                self._now,
            )
        )
        return place

    def _credit(self, case: BillingCase, current: CurrentCdr, bill: Bill) -> None:
        """Take back the bill that stands, whole, by an entry of its own."""
        was = current.record["bill"]
        cdr_id = self._entropy.session_id(self._now)
        record = {
            "at": records.time_text(self._now),
            "cdr_id": cdr_id,
            "credits": current.cdr_id,
            "credits_log_index": current.log_index,
            "currency": was["currency"],
            "gross_minor": -was["gross_minor"],
            "net_minor": -was["net_minor"],
            "reason": "later values changed the bill",
            "session_id": case.transaction.session_id,
            "vat_minor": -was["vat_minor"],
        }
        place = self.append(case, EntryKind.CREDIT_CDR, record)
        self.result.cdrs.append(
            CdrRow(
                cdr_id,
                case.transaction.session_id,
                True,
                current.cdr_id,
                bill,
                -1,
                -current.record["energy_wh"],
                record,
                self._now,
                place,
            )
        )

    def _leave(self, case: BillingCase, anomalies: frozenset[Anomaly], level: ProofLevel) -> None:
        """No new bill: a bill that stands goes on standing, else the session is in review."""
        is_billed = case.current is not None
        self.result.outcomes.append(
            BillingOutcome(
                case.transaction,
                SessionState.BILLED if is_billed else SessionState.REVIEW,
                sorted(anomalies),
                None if is_billed else level,
                None,
                None,
            )
        )

    def _log_findings(self, case: BillingCase, judgement: Judgement) -> None:
        """Each anomaly that only the whole session shows is an entry, once; so is each hole."""
        transaction = case.transaction
        ids = (transaction.session_id, transaction.transaction_id)
        suspect = sorted(judgement.metering.suspect)[:SUSPECT_LISTED_MAX]
        for anomaly in sorted(judgement.anomalies - transaction.anomalies):
            readings = suspect if anomaly in _OF_READINGS else ()
            record = records.anomaly_record(*ids, str(anomaly), readings)
            self.append(case, EntryKind.ANOMALY, record)
        holes = judgement.metering.holes
        if not holes or Anomaly.SEQ_NO_HOLE in transaction.anomalies:
            return
        for first, last in holes[:HOLES_LOGGED_MAX]:
            record = records.sequence_hole_record(*ids, first, last)
            self.append(case, EntryKind.SEQUENCE_HOLE, record)
        if len(holes) > HOLES_LOGGED_MAX:
            first, last = holes[HOLES_LOGGED_MAX][0], holes[-1][1]
            record = records.sequence_hole_record(*ids, first, last, scattered=True)
            self.append(case, EntryKind.SEQUENCE_HOLE, record)

    def append(self, case: BillingCase, kind: EntryKind, record: records.Record) -> int:
        """Append an entry of a session and return its place among the run's."""
        transaction = case.transaction
        self._work.append(
            NewEntry(kind, transaction.station_id, transaction.session_id, record, self._now)
        )
        self._entries += 1
        return self._entries - 1


_OF_READINGS = frozenset(
    {Anomaly.READING_OUTSIDE_SESSION, Anomaly.REGISTER_FELL, Anomaly.ENDED_TWICE}
)


def facts_of(case: BillingCase) -> SessionFacts:
    """Return what the session's bill may depend on."""
    transaction, station = case.transaction, case.station
    key = station.meter_key_der_hex
    plug = station.connector_of(transaction.evse, transaction.connector)
    return SessionFacts(
        numbered=transaction.is_numbered,
        time_zone=station.time_zone,
        events=case.events,
        tariff=case.tariff.tariff if case.tariff else None,
        meter_key=load_meter_key(key) if key else None,
        signed=case.signed,
        previous_pages=case.previous_pages,
        correction=case.correction,
        known=frozenset(transaction.anomalies - DERIVED),
        power_w_max=plug.power_w_max if plug else MAX_POWER_W,
    )


def cdr_record(
    case: BillingCase,
    facts: SessionFacts,
    judgement: Judgement,
    bill: Bill,
    cdr_id: str,
    operator_id: str,
) -> records.Record:
    """Return the record of a CDR: everything that its recomputation needs, or where it stands.

    `suspect` lists the readings that were left out.
    """
    transaction, session, tariff = case.transaction, judgement.session, case.tariff
    assert session is not None, "a bill has a session"
    assert session.ended_at is not None, "a billed session has ended"
    assert tariff is not None, "a bill has a tariff"
    return {
        "anomalies": [str(a) for a in sorted(judgement.anomalies)],
        "bill": bill_as_json(bill),
        "cdr_id": cdr_id,
        "connector": transaction.connector,
        "correction": correction_record(case.correction),
        "ended_at": records.time_text(session.ended_at),
        "energy_wh": session.energy_wh,
        "events": records.running_summary(transaction),
        "evse": transaction.evse,
        "known_anomalies": sorted(str(a) for a in facts.known),
        "meter_start_wh": session.registers[0].register_wh,
        "meter_stop_wh": session.registers[-1].register_wh,
        "numbered": facts.numbered,
        "ocpp_version": str(transaction.ocpp_version),
        "operator_id": operator_id,
        "previous_pages": dict(case.previous_pages) if case.previous_pages else None,
        "proof_level": str(judgement.proof_level),
        "replaces": case.current.cdr_id if case.current else None,
        "session_id": transaction.session_id,
        "settlement": None,
        "started_at": records.time_text(session.started_at),
        "station_id": transaction.station_id,
        "suspect": sorted(judgement.metering.suspect)[:SUSPECT_LISTED_MAX],
        "tariff": {
            "digest": tariff.digest,
            "log_index": tariff.log_index,
            "tariff_id": tariff.tariff_id,
            "version": tariff.version,
        },
        "time_zone": session.time_zone,
        "transaction_id": transaction.transaction_id,
    }


def _was_decided(current: CurrentCdr | None) -> bool:
    """Say whether the bill that stands is a person's decision: only a person changes that."""
    return current is not None and current.record["correction"] is not None


def correction_record(correction: Correction | None) -> records.Record | None:
    """Return a correction as it stands in records."""
    if correction is None:
        return None
    return {
        "ended_at": records.time_text(correction.ended_at),
        "meter_start_wh": correction.meter_start_wh,
        "meter_stop_wh": correction.meter_stop_wh,
        "started_at": records.time_text(correction.started_at),
    }


def _correction_record(case: BillingCase, decision: ReviewDecision) -> records.Record:
    return {
        "by": case.correction_by,
        "correction": correction_record(case.correction),
        "reason": decision.reason,
        "session_id": case.transaction.session_id,
        "tariff_id": case.tariff.tariff_id if case.tariff else None,
    }


def _differs(current: CurrentCdr | None, judgement: Judgement) -> bool:
    """Say whether a recomputed bill is another than the one that stands."""
    if current is None:
        return True
    assert judgement.bill is not None, "only bills are compared"
    assert judgement.session is not None, "a bill has a session"
    record, bill = current.record, judgement.bill
    was = (record["bill"]["net_minor"], record["bill"]["vat_minor"], record["energy_wh"])
    return was != (bill.net_minor, bill.vat_minor, judgement.session.energy_wh)


def _correction(transaction: Transaction, decision: ReviewDecision) -> Correction:
    """Complete a decision with what the station said; InvalidInput names what is missing."""
    values: dict[str, Any] = {}
    said: dict[str, object] = {
        "started_at": transaction.started_at if transaction.started else None,
        "ended_at": transaction.ended_at,
        "meter_start_wh": transaction.meter_start_wh,
        "meter_stop_wh": transaction.meter_stop_wh,
    }
    for name, value in said.items():
        decided = getattr(decision, name)
        values[name] = value if decided is None else decided
        if values[name] is None:
            raise InvalidInput(
                f"the station never said {name}", field=name, remedy="give it with the decision"
            )
    if values["ended_at"] < values["started_at"]:
        raise InvalidInput("the session would end before it starts", field="ended_at")
    if values["meter_stop_wh"] < values["meter_start_wh"]:
        raise InvalidInput("the register would fall", field="meter_stop_wh")
    return Correction(**values)
