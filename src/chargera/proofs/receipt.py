"""Receipts: everything about one session that a stranger needs, and the checks over it.

A receipt is one canonical JSON document. `verify_receipt` accounts for every byte of it: a byte
is either covered by one of the named steps or refused by form. Trust (log key, operator, topics)
comes from outside. Nothing here asks a network: rows of mirrors and readers of logs are handed in.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from chargera.domain.bill import bill_as_json
from chargera.domain.errors import ChargEraError, InvalidInput, Undetermined, Unreadable
from chargera.domain.messages import ReadingContext
from chargera.domain.settlement import BatchState
from chargera.domain.transaction import Anomaly, SessionEvent
from chargera.proofs import canonical, records
from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.cdr import Correction, Judgement, SessionFacts, SignedMeterValue, judge
from chargera.proofs.checkpoint import Checkpoint, parse_checkpoint
from chargera.proofs.entry import EntryKind, Envelope, commit, envelope_bytes
from chargera.proofs.kept_head import LogSource, compare_with_kept
from chargera.proofs.meter_key import load_meter_key
from chargera.proofs.mirrors import MirrorAnswer, judge_anchor
from chargera.proofs.note import parse_note
from chargera.proofs.ocpi import tariff_digest, tariff_from_ocpi
from chargera.proofs.receipt_settlement import (
    ChainAnswer,
    Settlement,
    check_signatures,
    leaf_of,
    parse_settlement,
    settlement_document,
)
from chargera.proofs.settlement import Leaf
from chargera.proofs.steps import Step, StepStatus, failed_step
from chargera.proofs.tlog_proof import TlogProof, parse_tlog_proof
from chargera.proofs.tree import leaf_hash, verify_inclusion
from chargera.proofs.trust import Trust

FORMAT = "chargera.receipt/1"
RECEIPT_BYTES_MAX = 16 * 2**20
ENTRIES_MAX = 10_000
EVENTS_MAX = 100_000

_MEMBERS = {"anchor", "entries", "events", "format", "session_id", "settlement"}
_ENTRY_MEMBERS = {"kind", "proof", "received_at", "record", "salt", "seq", "station"}
_SALT = re.compile(r"[0-9a-f]{64}")
_ONE_EACH = (EntryKind.STATION_REGISTERED, EntryKind.TARIFF_PUBLISHED)

OF_SESSION = frozenset(
    {
        EntryKind.SESSION_STARTED,
        EntryKind.SESSION_ENDED,
        EntryKind.SIGNED_VALUE,
        EntryKind.METER_VALUE_LATE,
        EntryKind.SEQUENCE_HOLE,
        EntryKind.ANOMALY,
        EntryKind.OPERATOR_CORRECTION,
        EntryKind.CDR,
        EntryKind.CREDIT_CDR,
    }
)
"""Kinds of entries that belong to one session and say so in their records."""

_KINDS = OF_SESSION | set(_ONE_EACH)


@dataclass(frozen=True, slots=True)
class ReceiptEntry:
    """One log entry of a receipt: the public envelope, the private record, its place."""

    kind: EntryKind
    station: str | None
    seq: int | None
    received_at: str
    record: Mapping[str, Any]
    salt: bytes
    proof: TlogProof

    @property
    def entry(self) -> bytes:
        """The entry of the public log that these members stand for."""
        received_at = records.time_value(self.received_at, field="received_at")
        commitment = commit(self.salt, records.encode(self.record))
        return envelope_bytes(Envelope(self.kind, self.station, self.seq, received_at, commitment))

    @property
    def leaf_hash(self) -> bytes:
        """The hash of that entry's leaf."""
        return leaf_hash(self.entry)

    def to_json(self) -> records.Record:
        """Return the entry as it stands in a receipt."""
        return {
            "kind": str(self.kind),
            "proof": self.proof.to_bytes().decode(),
            "received_at": self.received_at,
            "record": dict(self.record),
            "salt": self.salt.hex(),
            "seq": self.seq,
            "station": self.station,
        }


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt that has passed the form: its parts, none of them believed yet."""

    session_id: str
    entries: tuple[ReceiptEntry, ...]
    events: tuple[SessionEvent, ...]
    event_records: tuple[bytes, ...]
    head: Checkpoint
    anchor: AnchoredMessage | None
    settlement: Settlement | None = None

    def of_kind(self, kind: EntryKind) -> list[ReceiptEntry]:
        """Return the entries of one kind in the order of the log."""
        return [entry for entry in self.entries if entry.kind is kind]

    @property
    def settled_leaf(self) -> Leaf | None:
        """The leaf of its settlement that is at the place of one of its bills, if there is one."""
        places = {entry.proof.index for entry in self.of_kind(EntryKind.CDR)}
        leaves = self.settlement.batch.leaves if self.settlement else ()
        return next((leaf for leaf in leaves if leaf.log_index in places), None)

    @property
    def cdr(self) -> ReceiptEntry:
        """The bill that stands: the last CDR."""
        return self.of_kind(EntryKind.CDR)[-1]


@dataclass(frozen=True, slots=True)
class ReceiptVerdict:
    """The outcome of all steps."""

    steps: tuple[Step, ...]

    @property
    def failed_step(self) -> str | None:
        """The first step that failed."""
        return failed_step(self.steps)

    @property
    def valid(self) -> bool:
        """Every step that was asked is ok."""
        fine = (StepStatus.OK, StepStatus.NOT_ASKED)
        return all(step.status in fine for step in self.steps)

    @property
    def exit_code(self) -> int:
        """0 valid, 1 invalid, 2 not of the form, 3 undetermined."""
        if self.failed_step == "form":
            return 2
        if self.failed_step is not None:
            return 1
        return 0 if self.valid else 3

    def as_dict(self) -> dict[str, object]:
        """Return the document of `verify --json`."""
        return {
            "failed_step": self.failed_step,
            "steps": [step.as_dict() for step in self.steps],
            "valid": self.valid,
        }


def receipt_document(
    session_id: str,
    entries: Sequence[ReceiptEntry],
    events: Sequence[SessionEvent],
    anchor: AnchoredMessage | None,
    settlement: Settlement | None = None,
) -> bytes:
    """Return the canonical bytes of a receipt."""
    return canonical.encode(
        {
            "anchor": None if anchor is None else dict(anchor.to_json()),
            "entries": [entry.to_json() for entry in entries],
            "events": [records.event_record(event) for event in events],
            "format": FORMAT,
            "session_id": session_id,
            "settlement": None if settlement is None else settlement_document(settlement),
        }
    )


def parse_receipt(data: bytes) -> Receipt:
    """Read a receipt; Unreadable for whatever is not exactly of its form."""
    if len(data) > RECEIPT_BYTES_MAX:
        raise Unreadable(f"a receipt has at most {RECEIPT_BYTES_MAX} bytes")
    document = canonical.decode(data)
    if not isinstance(document, dict) or document.keys() != _MEMBERS:
        raise Unreadable(f"a receipt has exactly the members {', '.join(sorted(_MEMBERS))}")
    if document["format"] != FORMAT:
        raise Unreadable(f"the format is not {FORMAT}", field="format")
    session_id, rows, entries = document["session_id"], document["events"], document["entries"]
    if not isinstance(session_id, str) or len(session_id) > 64:
        raise Unreadable("not a session id", field="session_id")
    if not isinstance(rows, list) or len(rows) > EVENTS_MAX:
        raise Unreadable(f"not a list of at most {EVENTS_MAX} readings", field="events")
    if not isinstance(entries, list) or not 0 < len(entries) <= ENTRIES_MAX:
        raise Unreadable(f"not a list of 1 to {ENTRIES_MAX} entries", field="entries")
    parsed = tuple(read_entry(value, f"entries[{n}]", _KINDS) for n, value in enumerate(entries))
    check_order(parsed)
    _check_kinds(parsed)
    events = tuple(_event(row, n) for n, row in enumerate(rows))
    anchor, settlement = document["anchor"], document["settlement"]
    return Receipt(
        session_id,
        parsed,
        events,
        tuple(canonical.encode(row) for row in rows),
        parse_checkpoint(parsed[0].proof.checkpoint),
        None if anchor is None else AnchoredMessage.from_json(anchor),
        None if settlement is None else parse_settlement(settlement),
    )


def verify_receipt(
    data: bytes,
    trust: Trust | None,
    *,
    old_checkpoint: bytes | None = None,
    mirrors: Sequence[MirrorAnswer] | None = None,
    logs: Sequence[LogSource] = (),
    chain: ChainAnswer | None = None,
) -> ReceiptVerdict:
    """Check a receipt from form to settlement. Nothing is raised.

    `trust` None: what needs a trusted key is pending. `old_checkpoint`: a head that its holder
    kept; the receipt's must not contradict it, by the tiles of one of `logs`. `mirrors`: what
    sources of the topic say; None: the place on the topic is not asked. `chain`: what the chain
    says of its settlement; None: it is not asked.
    """
    try:
        receipt = parse_receipt(data)
    except (ChargEraError, RecursionError) as error:
        message = error.message if isinstance(error, ChargEraError) else "nested too deep"
        return ReceiptVerdict((Step("form", StepStatus.FAILED, message),))
    case = _Case(receipt, trust, old_checkpoint, mirrors, logs, chain)
    steps = [Step("form", StepStatus.OK, "canonical, complete, nothing unknown in it")]
    for name, check in _CHECKS.items():
        steps.append(_run(name, check, case))
    return ReceiptVerdict(tuple(steps))


def check_session(receipt: Receipt, trust: Trust | None) -> tuple[Step, ...]:
    """Run the checks that concern the session alone, as if its entries were shown to be logged.

    The steps are `records`, `readings`, `bill`, `signed_values` and `credits`. Nothing is raised.
    """
    case = _Case(receipt, trust, None, None, (), None)
    return tuple(_run(name, check, case) for name, check in _SESSION_CHECKS.items())


class _Case:
    """A receipt under verification."""

    def __init__(
        self,
        receipt: Receipt,
        trust: Trust | None,
        old_checkpoint: bytes | None,
        mirrors: Sequence[MirrorAnswer] | None,
        logs: Sequence[LogSource],
        chain: ChainAnswer | None,
    ) -> None:
        self.receipt = receipt
        self.trust = trust
        self.old_checkpoint = old_checkpoint
        self.mirrors = mirrors
        self.logs = logs
        self.chain = chain
        self.checkpoint_note = receipt.entries[0].proof.checkpoint
        self.head = receipt.head
        self.judgement: Judgement | None = None


_Finding = tuple[StepStatus, str]
_Check = Callable[[_Case], _Finding]


def _run(name: str, check: _Check, case: _Case) -> Step:
    try:
        status, detail = check(case)
    except Undetermined as error:
        status, detail = StepStatus.PENDING, error.message
    except ChargEraError as error:
        status, detail = StepStatus.FAILED, error.message
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # A record that was logged in another shape than its kind has.
        status, detail = StepStatus.FAILED, f"a record lacks or misstates {error}"
    return Step(name, status, detail)


# Form ------------------------------------------------------------------------------------------


def read_entry(value: object, field: str, kinds: Set[EntryKind]) -> ReceiptEntry:
    """Read an entry as it stands in a receipt, of one of these kinds.

    Raises Unreadable, naming `field` or what is in it, for any other form.
    """
    if not isinstance(value, dict) or value.keys() != _ENTRY_MEMBERS:
        raise Unreadable("its members are not those of an entry", field=field)
    match value:
        case {
            "kind": str(kind),
            "proof": str(proof),
            "received_at": str(received_at),
            "record": dict(record),
            "salt": str(salt),
            "seq": int() | None as seq,
            "station": str() | None as station,
        } if not isinstance(seq, bool):
            pass
        case _:
            raise Unreadable("a member has the wrong type", field=field)
    if kind not in {str(k) for k in kinds}:
        raise Unreadable("a kind that does not belong here", field=f"{field}.kind")
    if not _SALT.fullmatch(salt):
        raise Unreadable("not 64 lower-case hex digits", field=f"{field}.salt")
    parsed = parse_tlog_proof(proof.encode())
    if parsed.extra is not None:
        raise Unreadable("extra data that no check covers", field=f"{field}.proof")
    entry = ReceiptEntry(
        EntryKind(kind), station, seq, received_at, record, bytes.fromhex(salt), parsed
    )
    try:
        _ = entry.leaf_hash
    except InvalidInput as error:
        raise Unreadable(error.message, field=f"{field}.{error.field or 'kind'}") from error
    return entry


def check_order(entries: Sequence[ReceiptEntry]) -> None:
    """Raise Unreadable unless entries are of one log, under one head, in their order."""
    note = entries[0].proof.checkpoint
    for before, entry in pairwise(entries):
        if entry.proof.index <= before.proof.index:
            raise Unreadable("entries are not in the order of the log", field="entries")
        if entry.proof.checkpoint != note:
            raise Unreadable("entries are proven under different heads", field="entries")
    if len(parse_note(note).signatures) != 1:
        raise Unreadable("a head carries the log's signature alone", field="entries")


def _check_kinds(entries: Sequence[ReceiptEntry]) -> None:
    """See that what every receipt has is there."""
    kinds = [entry.kind for entry in entries]
    for kind in _ONE_EACH:
        if kinds.count(kind) != 1:
            raise Unreadable(f"must have exactly one {kind} entry", field="entries")
    if EntryKind.CDR not in kinds:
        raise Unreadable("must have a cdr entry", field="entries")


def _event(row: object, place: int) -> SessionEvent:
    if not isinstance(row, dict):
        raise Unreadable("not a reading", field=f"events[{place}]")
    event = records.event_from_record(row, field=f"events[{place}]")
    if event.n != place:
        raise Unreadable("readings are not numbered from 0", field=f"events[{place}].n")
    return event


# Checks ----------------------------------------------------------------------------------------


def _check_signature(case: _Case) -> _Finding:
    head = case.head
    if case.trust is None:
        return StepStatus.PENDING, (
            "no trusted key was given: pass --trust or --log-key, from a place that you trust"
        )
    first = case.receipt.entries[0]
    first.proof.verify(first.leaf_hash, case.trust.origin, case.trust.log_keys)
    return StepStatus.OK, f"{head.origin} signed a head of {head.size} entries with a trusted key"


def _check_inclusion(case: _Case) -> _Finding:
    for entry in case.receipt.entries:
        verify_inclusion(
            entry.leaf_hash,
            entry.proof.index,
            case.head.size,
            entry.proof.path,
            case.head.root_hash,
        )
    count = len(case.receipt.entries)
    return StepStatus.OK, f"{count} entries, each opened by its salt, stand in that head"


def _check_records(case: _Case) -> _Finding:
    """The entries belong to this session, its station and its tariff."""
    receipt = case.receipt
    cdr = receipt.cdr.record
    station = receipt.of_kind(EntryKind.STATION_REGISTERED)[0]
    tariff = receipt.of_kind(EntryKind.TARIFF_PUBLISHED)[0]
    for entry in receipt.entries:
        if entry.kind in OF_SESSION and entry.record["session_id"] != receipt.session_id:
            return StepStatus.FAILED, f"a {entry.kind} entry is of another session"
        if entry.kind in OF_SESSION and entry.station != cdr["station_id"]:
            return StepStatus.FAILED, f"a {entry.kind} entry is of another station"
    if station.record["station_id"] != cdr["station_id"] or station.station != cdr["station_id"]:
        return StepStatus.FAILED, "the registration is of another station"
    if station.record["time_zone"] != cdr["time_zone"]:
        return StepStatus.FAILED, "the bill's time zone is not the station's"
    quoted = {
        "digest": tariff_digest(tariff.record["document"]),
        "log_index": tariff.proof.index,
        "tariff_id": tariff.record["tariff_id"],
        "version": tariff.record["version"],
    }
    if cdr["tariff"] != quoted:
        return StepStatus.FAILED, "the bill names another tariff than the one that is enclosed"
    started = receipt.of_kind(EntryKind.SESSION_STARTED)
    if not cdr["correction"] and started and started[0].record["tariff"] != cdr["tariff"]:
        return StepStatus.FAILED, "the bill's tariff is not the one quoted at the start"
    operator_id = case.trust.operator_id if case.trust else None
    if operator_id is not None and cdr["operator_id"] != operator_id:
        return StepStatus.FAILED, f"the bill is of {cdr['operator_id']}, not of {operator_id}"
    return StepStatus.OK, f"all of session {receipt.session_id} at station {cdr['station_id']}"


def _check_readings(case: _Case) -> _Finding:
    """The readings are those that the close and the bill committed to."""
    rows = case.receipt.event_records
    summaries = [("bill", case.receipt.cdr.record["events"])]
    summaries += [
        ("close", entry.record["events"]) for entry in case.receipt.of_kind(EntryKind.SESSION_ENDED)
    ]
    if summaries[0][1]["count"] != len(rows):
        return StepStatus.FAILED, "there are more or fewer readings than were billed"
    for name, summary in summaries:
        if records.events_summary(rows[: summary["count"]]) != summary:
            return StepStatus.FAILED, f"the readings are not those that the {name} committed to"
    return StepStatus.OK, f"{len(rows)} readings equal the digest in the session's close and bill"


def _check_bill(case: _Case) -> _Finding:
    """Recompute the bill with the same rules from what is enclosed."""
    cdr = case.receipt.cdr.record
    judgement = judge(_facts(case.receipt))
    case.judgement = judgement
    if judgement.bill is None or judgement.session is None:
        reasons = ", ".join(judgement.reasons) or "no reason"
        return StepStatus.FAILED, f"it could not have been billed: {reasons}"
    session = judgement.session
    recomputed = {
        "anomalies": [str(a) for a in sorted(judgement.anomalies)],
        "bill": bill_as_json(judgement.bill),
        "ended_at": session.ended_at and records.time_text(session.ended_at),
        "energy_wh": session.energy_wh,
        "meter_start_wh": session.registers[0].register_wh,
        "meter_stop_wh": session.registers[-1].register_wh,
        "proof_level": str(judgement.proof_level),
        "started_at": records.time_text(session.started_at),
    }
    for name, value in recomputed.items():
        if cdr[name] != value:
            return StepStatus.FAILED, f"recomputed, the bill has another {name}"
    return StepStatus.OK, (
        f"recomputed from readings and tariff: {session.energy_wh} Wh,"
        f" {judgement.bill.gross_minor} minor units of {judgement.bill.currency},"
        f" proof level {judgement.proof_level}"
    )


def _check_signed_values(case: _Case) -> _Finding:
    receipt = case.receipt
    key = receipt.of_kind(EntryKind.STATION_REGISTERED)[0].record["meter_key"]
    values = receipt.of_kind(EntryKind.SIGNED_VALUE)
    if key is None:
        enclosed = f"; {len(values)} enclosed values were not judged" if values else ""
        return StepStatus.NOT_ASKED, f"the station is registered without a meter key{enclosed}"
    if receipt.cdr.record["correction"] is not None:
        return StepStatus.NOT_ASKED, "a person decided the values; see the correction entry"
    if case.judgement is None:
        return StepStatus.NOT_ASKED, "the session could not be judged; see the step before"
    meter = case.judgement.meter
    if meter is None or Anomaly.METER_SIGNATURE in case.judgement.anomalies:
        fault = meter.failed_step if meter else "no signed value"
        return StepStatus.FAILED, f"begin and end are not signed by the registered meter: {fault}"
    return StepStatus.OK, "the registered meter signed begin and end of the energy"


def _check_credits(case: _Case) -> _Finding:
    """Every bill but the last was taken back, whole, by a credit that names it."""
    cdrs = case.receipt.of_kind(EntryKind.CDR)
    credited = case.receipt.of_kind(EntryKind.CREDIT_CDR)
    if len(credited) != len(cdrs) - 1:
        return StepStatus.FAILED, "not every bill but the last was taken back"
    for bill, credit, following in zip(cdrs, credited, cdrs[1:], strict=False):
        amounts = ("net_minor", "vat_minor", "gross_minor")
        whole = all(credit.record[n] == -bill.record["bill"][n] for n in amounts)
        named = credit.record["credits"] == bill.record["cdr_id"] == following.record["replaces"]
        placed = credit.record["credits_log_index"] == bill.proof.index
        if not (whole and named and placed):
            return StepStatus.FAILED, f"bill {bill.record['cdr_id']} was not taken back whole"
    if not credited:
        return StepStatus.NOT_ASKED, "there is one bill and no credit"
    return StepStatus.OK, f"{len(credited)} earlier bills were taken back whole"


def _check_anchor(case: _Case) -> _Finding:
    """The head stands verbatim in a topic message whose running hash is right."""
    anchor = case.receipt.anchor
    if anchor is None:
        return StepStatus.PENDING, "not anchored yet: ask for the receipt again later"
    if anchor.message != case.checkpoint_note:
        return StepStatus.FAILED, "the topic message is not this head"
    anchor.check()
    if case.trust is not None and case.trust.topics is not None:
        topic = case.trust.topic_of(anchor.topic_id, case.head.size)
        if topic is None or topic.payer != anchor.payer_account_id:
            return StepStatus.FAILED, f"topic {anchor.topic_id} or its payer is not trusted"
    return StepStatus.OK, (
        f"message {anchor.sequence_number} of topic {anchor.topic_id},"
        f" consensus time {anchor.consensus_timestamp}, running hash recomputed;"
        " whether the topic has it, a mirror says"
    )


def _check_anchor_on_topic(case: _Case) -> _Finding:
    anchor = case.receipt.anchor
    if case.mirrors is None:
        return StepStatus.NOT_ASKED, (
            "its place on the topic was not asked for: pass --anchors mirror:URL"
        )
    if anchor is None:
        return StepStatus.PENDING, "there is no anchor to look for yet"
    return judge_anchor(anchor, case.mirrors)


def _check_old_checkpoint(case: _Case) -> _Finding:
    if case.old_checkpoint is None:
        return StepStatus.NOT_ASKED, "no earlier head was given to compare with"
    return compare_with_kept(case.old_checkpoint, case.head, case.trust, case.logs)


def _check_settlement(case: _Case) -> _Finding:
    """Its bill is a leaf of the batch that trusted attesters have signed."""
    settlement = case.receipt.settlement
    if settlement is None:
        return StepStatus.NOT_ASKED, "it holds no settlement: there is none (yet)"
    cdrs = [(e.proof.index, e.record, e.entry) for e in case.receipt.of_kind(EntryKind.CDR)]
    leaf = leaf_of(settlement, cdrs)
    signed = check_signatures(settlement, case.trust)
    if signed is None:
        return StepStatus.NOT_ASKED, "no trust file says who the attesters are: pass --trust"
    return StepStatus.OK, (
        f"number {leaf.cdr_no} of its lane: {leaf.amount} and {leaf.vat} VAT in units of the"
        f" asset, in a batch that {signed} trusted attesters signed"
    )


def _check_settlement_on_chain(case: _Case) -> _Finding:
    settlement, answer = case.receipt.settlement, case.chain
    if settlement is None:
        return StepStatus.NOT_ASKED, "there is no settlement to ask the chain about (yet)"
    if answer is None:
        return StepStatus.NOT_ASKED, "the chain was not asked about a settlement: pass --rpc"
    if answer.fault is not None:
        return StepStatus.PENDING, f"{answer.source}: {answer.fault}"
    match answer.state:
        case BatchState.SETTLED if answer.is_settled:
            return StepStatus.OK, f"settled on chain according to {answer.source}"
        case BatchState.SETTLED:
            return StepStatus.FAILED, "its batch is settled, but this bill was not paid with it"
        case BatchState.KILLED:
            return StepStatus.FAILED, "its batch was killed by a challenge"
        case BatchState.PROPOSED:
            return StepStatus.PENDING, "its batch is proposed, not settled yet"
        case _:
            return StepStatus.PENDING, f"{answer.source} does not know its batch (yet)"


_SESSION_CHECKS: dict[str, _Check] = {
    "records": _check_records,
    "readings": _check_readings,
    "bill": _check_bill,
    "signed_values": _check_signed_values,
    "credits": _check_credits,
}
_CHECKS: dict[str, _Check] = {
    "signature": _check_signature,
    "inclusion": _check_inclusion,
    **_SESSION_CHECKS,
    "anchor": _check_anchor,
    "anchor_on_topic": _check_anchor_on_topic,
    "old_checkpoint": _check_old_checkpoint,
    "settlement": _check_settlement,
    "settlement_on_chain": _check_settlement_on_chain,
}


def _facts(receipt: Receipt) -> SessionFacts:
    """Return what the bill may depend on, from the entries alone."""
    cdr = receipt.cdr.record
    station = receipt.of_kind(EntryKind.STATION_REGISTERED)[0].record
    tariff = receipt.of_kind(EntryKind.TARIFF_PUBLISHED)[0].record
    key = station["meter_key"]
    return SessionFacts(
        numbered=cdr["numbered"],
        time_zone=station["time_zone"],
        events=receipt.events,
        tariff=tariff_from_ocpi(tariff["document"]),
        meter_key=load_meter_key(key) if key else None,
        signed=[_signed_value(e.record) for e in receipt.of_kind(EntryKind.SIGNED_VALUE)],
        previous_pages=cdr["previous_pages"],
        correction=_correction(cdr["correction"]),
        known=frozenset(Anomaly(code) for code in cdr["known_anomalies"]),
    )


def _signed_value(record: Mapping[str, Any]) -> SignedMeterValue:
    try:
        raw = base64.b64decode(record["ocmf_base64"], validate=True)
    except binascii.Error as error:
        raise InvalidInput("a signed value is not base64", field="ocmf_base64") from error
    return SignedMeterValue(ReadingContext(record["context"]), raw)


def _correction(value: Mapping[str, Any] | None) -> Correction | None:
    if value is None:
        return None
    return Correction(
        records.time_value(value["started_at"], field="correction.started_at"),
        records.time_value(value["ended_at"], field="correction.ended_at"),
        value["meter_start_wh"],
        value["meter_stop_wh"],
    )
