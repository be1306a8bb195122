"""The line of proof of one session: eight stops from the meter to the anchor, each with its data.

A billed session's line is made from its receipt and the verdict on it: the page shows what a
stranger holds and checks, and nothing else. A session that still runs shows how far it has come.
"""

import base64
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup

from chargera.app.views import SessionView
from chargera.proofs.checkpoint import parse_checkpoint
from chargera.proofs.entry import EntryKind
from chargera.proofs.receipt import Receipt, ReceiptEntry, ReceiptVerdict
from chargera.proofs.records import events_digest, time_value
from chargera.proofs.steps import StepStatus
from chargera.web.catalogue import Texts
from chargera.web.pages.facts import Fact, TextBlock, exact
from chargera.web.pages.formats import Formats

ICONS = {
    "meter": "meter",
    "signed_value": "pen",
    "readings": "list",
    "bill": "receipt",
    "entry": "entry",
    "tree": "tree",
    "checkpoint": "seal",
    "anchor": "anchor",
}
"""The stops in their order, and the sign of each."""

STEP_OF_STOP = {
    "signed_value": "signed_values",
    "readings": "readings",
    "bill": "bill",
    "entry": "records",
    "tree": "inclusion",
    "checkpoint": "signature",
    "anchor": "anchor",
}
"""Which step of the verifier judges a stop. None judges the meter: it is where trust begins."""

SIGNATURE_DIGITS_SHOWN = 40

_OCMF_NAMES = {"Transaction.Begin": "ocmf_begin", "Transaction.End": "ocmf_end"}


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop: how it was judged, why in a sentence, and its own data."""

    key: str
    status: str
    """A `StepStatus`, or reported."""
    detail: str
    facts: tuple[Fact, ...] = ()
    texts: tuple[TextBlock, ...] = ()
    json_url: str | None = None
    gist: str | Markup = ""
    """The one thing to see at this stop."""

    @property
    def icon(self) -> str:
        """The sign that stands on the line."""
        return ICONS[self.key]


@dataclass(frozen=True, slots=True)
class ProofLine:
    """All stops; `is_final`: made from a receipt that was checked."""

    is_final: bool
    stops: tuple[Stop, ...]

    @property
    def outcome(self) -> str:
        """The whole line in a word: holds, fails or waits."""
        statuses = {stop.status for stop in self.stops}
        if StepStatus.FAILED in statuses:
            return "fails"
        return "waits" if StepStatus.PENDING in statuses else "holds"


@dataclass(frozen=True, slots=True)
class ProofWords:
    """Draws lines in one language."""

    texts: Texts
    formats: Formats

    def of_receipt(self, receipt: Receipt, verdict: ReceiptVerdict) -> ProofLine:
        """Return the line of a billed session, each stop judged by the verifier."""
        steps = {step.step: step for step in verdict.steps}
        data = _ReceiptData(receipt, self.texts, self.formats)
        stops = []
        for key in ICONS:
            parts = data.parts(key)
            step = steps.get(STEP_OF_STOP.get(key, ""))
            if step is None:
                detail = self._reported(receipt.cdr.record["proof_level"])
                stops.append(Stop(key, "reported", detail, *parts))
            else:
                stops.append(Stop(key, step.status, step.detail, *parts))
        return ProofLine(True, tuple(stops))

    def of_running(self, view: SessionView, signs: bool) -> ProofLine:
        """Return how far a session without a bill has come; `signs`: its meter has a key."""
        t, row = self.texts, view.session
        meter = [Fact("readings_count", self.formats.number(len(view.readings)))]
        if row.meter_start_wh is not None:
            meter.append(Fact("meter_start", self.formats.energy_exact(row.meter_start_wh)))
        if signs:
            signed = Stop(
                "signed_value", "pending", t("proof_detail.signs", count=view.signed_values)
            )
        else:
            signed = Stop("signed_value", "not_asked", t("proof_detail.not_signed"))
        detail = self._reported(row.proof_level)
        waiting = {
            "readings": "waits_bill",
            "bill": "waits_bill",
            "entry": "waits_bill",
            "tree": "waits_head",
            "checkpoint": "waits_head",
            "anchor": "waits_anchor",
        }
        pending = [Stop(key, "pending", t(f"proof_detail.{why}")) for key, why in waiting.items()]
        return ProofLine(False, (Stop("meter", "reported", detail, tuple(meter)), signed, *pending))

    def _reported(self, level: str) -> Markup:
        """Say how much speaks for what the meter reported."""
        meaning = self.texts(f"proof_meaning.{level}")
        return self.texts("proof_detail.reported", level=level, meaning=meaning)


_Parts = tuple[tuple[Fact, ...], tuple[TextBlock, ...], str | None, str | Markup]


@dataclass(frozen=True, slots=True)
class _ReceiptData:
    """The data of each stop, from the receipt alone."""

    receipt: Receipt
    texts: Texts
    formats: Formats

    def parts(self, key: str) -> _Parts:
        """Return facts, texts, the JSON twin and the gist of one stop."""
        match key:
            case "meter":
                return self._meter()
            case "signed_value":
                return self._signed_value()
            case "readings":
                return self._readings()
            case "bill":
                return self._bill()
            case "entry":
                return self._entry()
            case "tree":
                return self._tree()
            case "checkpoint":
                return self._checkpoint()
            case _:
                return self._anchor()

    @property
    def _cdr(self) -> ReceiptEntry:
        return self.receipt.cdr

    def _registration(self) -> ReceiptEntry:
        return self.receipt.of_kind(EntryKind.STATION_REGISTERED)[0]

    def _meter(self) -> _Parts:
        cdr, station = self._cdr.record, self._registration().record
        facts = (
            Fact("station_id", cdr["station_id"], href=f"/s/{quote(cdr['station_id'], safe='')}"),
            Fact("manufacturer", f"{station['manufacturer']} {station['model']}"),
            exact("serial_number", station["serial_number"]),
            Fact("meter_start", self.formats.energy_exact(cdr["meter_start_wh"])),
            Fact("meter_stop", self.formats.energy_exact(cdr["meter_stop_wh"])),
            Fact("energy", self.formats.energy_exact(cdr["energy_wh"])),
        )
        begin, end = (self.formats.energy_exact(cdr[f"meter_{at}_wh"]) for at in ("start", "stop"))
        twin = f"/api/v1/stations/{quote(cdr['station_id'], safe='')}"
        return facts, (), twin, f"{begin} → {end}"

    def _signed_value(self) -> _Parts:
        key = self._registration().record["meter_key"]
        texts = []
        for entry in self.receipt.of_kind(EntryKind.SIGNED_VALUE):
            raw = base64.b64decode(entry.record["ocmf_base64"]).decode("utf-8", "replace")
            name = _OCMF_NAMES.get(entry.record["context"], "ocmf_other")
            texts.append(TextBlock(name, raw))
        signatures = "\n".join(_signature(text.value) for text in texts)
        return (exact("meter_key", key),) if key else (), tuple(texts), None, signatures

    def _readings(self) -> _Parts:
        events = self.receipt.events
        facts = [Fact("readings_count", self.formats.number(len(events)))]
        if events:
            facts += [
                Fact("first_reading", self.formats.time(events[0].at)),
                Fact("last_reading", self.formats.time(events[-1].at)),
            ]
        digest = events_digest(self.receipt.event_records)
        facts.append(exact("readings_digest", digest))
        return tuple(facts), (), f"/api/v1/sessions/{self.receipt.session_id}", digest

    def _bill(self) -> _Parts:
        cdr = self._cdr.record
        bill, tariff = cdr["bill"], cdr["tariff"]
        facts = (
            exact("cdr_id", cdr["cdr_id"]),
            Fact("total", self.formats.money(bill["gross_minor"], bill["currency"])),
            Fact(
                "tariff",
                self.texts("tariff.version", tariff=tariff["tariff_id"], version=tariff["version"]),
                href=f"/tariffs#{quote(tariff['tariff_id'], safe='')}",
            ),
            exact("tariff_digest", tariff["digest"]),
            self._entry_link("tariff_entry", tariff["log_index"]),
        )
        total = self.formats.money(bill["gross_minor"], bill["currency"])
        energy = self.formats.energy_exact(cdr["energy_wh"])
        return facts, (), f"/api/v1/sessions/{self.receipt.session_id}/cdr", f"{energy} → {total}"

    def _entry(self) -> _Parts:
        entry, index = self._cdr, self._cdr.proof.index
        facts = (
            self._entry_link("log_index", index),
            Fact("kind", self.texts(f"kind.{entry.kind}")),
            Fact("seq", self.formats.number(entry.seq or 0)),
            Fact(
                "received_at",
                self.formats.time(time_value(entry.received_at, field="received_at")),
            ),
            exact("salt", entry.salt.hex()),
        )
        gist = self.texts("entry.numbered", index=self.formats.number(index))
        return facts, (), f"/api/v1/log/entries/{index}", gist

    def _tree(self) -> _Parts:
        entry = self._cdr
        head = parse_checkpoint(entry.proof.checkpoint)
        path = "\n".join(node.hex() for node in entry.proof.path)
        facts = (
            exact("leaf_hash", entry.leaf_hash.hex()),
            exact("root_hash", head.root_hash.hex()),
            Fact("tree_size", self.formats.number(head.size)),
        )
        texts = (TextBlock("path", path),) if path else ()
        return facts, texts, f"/api/v1/log/entries/{entry.proof.index}", head.root_hash.hex()

    def _checkpoint(self) -> _Parts:
        note = self._cdr.proof.checkpoint
        origin = exact("origin", parse_checkpoint(note).origin)
        text = note.decode()
        return (origin,), (TextBlock("checkpoint", text),), None, text.strip()

    def _anchor(self) -> _Parts:
        anchor = self.receipt.anchor
        if anchor is None:
            return (), (), None, ""
        url = f"/api/v1/topics/{anchor.topic_id}/messages/{anchor.sequence_number}"
        facts = (
            exact("topic_id", anchor.topic_id),
            Fact("sequence_number", self.formats.number(anchor.sequence_number), href=url),
            exact("consensus_timestamp", anchor.consensus_timestamp),
            exact("payer_account_id", anchor.payer_account_id),
            exact("previous_running_hash", anchor.previous_running_hash.hex()),
            exact("running_hash", anchor.running_hash.hex()),
        )
        place = f"{anchor.topic_id} #{anchor.sequence_number}\n{anchor.consensus_timestamp}"
        return facts, (), url, place

    def _entry_link(self, key: str, index: int) -> Fact:
        text = self.texts("entry.numbered", index=self.formats.number(index))
        return Fact(key, text, href=f"/log/entry/{index}")


def _signature(ocmf: str) -> str:
    """Return the first digits of the signature in an OCMF string, for the eye alone."""
    digits = ocmf.rpartition('"SD":"')[2].partition('"')[0]
    return f"{digits[:SIGNATURE_DIGITS_SHOWN]}…"
