"""An exported log, read by somebody who believes none of it.

The export is what `log export DIR --records` writes: the log's own files (head, tiles, entry
bundles), `records.jsonl` with the private records that its caller may read, and `readings.jsonl`
with the readings whose digests stand in those records. Nothing here opens a file.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from chargera.domain.errors import ChargEraError, Unreadable, Unsupported
from chargera.proofs import canonical, records
from chargera.proofs.checkpoint import Checkpoint, open_checkpoint
from chargera.proofs.entry import EntryKind, Envelope, commit, parse_envelope
from chargera.proofs.receipt import ReceiptEntry
from chargera.proofs.tiles import ENTRIES, TILE_WIDTH, FetchTile, Tile, split_bundle
from chargera.proofs.tlog_proof import TlogProof
from chargera.proofs.tree import leaf_hashes, root_of
from chargera.proofs.trust import Trust

Report = Callable[[str, int, int], None]
"""Told what is being gone through, how many are done, and of how many."""

_RECORD_LINE = re.compile(
    rb'\{"index":(0|[1-9][0-9]{0,18}),"kind":"([a-z_0-9]{1,64})","record":(\{.*\}),'
    rb'"salt":"([0-9a-f]{64})"\}\n?',
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class ExportedLog:
    """An export: the signed head, a reader of its tiles, the lines of two files."""

    checkpoint: bytes
    fetch: FetchTile
    records: Iterable[bytes]
    """Lines `{index, kind, record, salt}` in the order of the log."""
    readings: Iterable[bytes]
    """Lines `{events, session_id}`: the readings that records of that session commit to."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that does not hold, and where."""

    step: str
    log_index: int | None
    session_id: str | None
    detail: str

    def as_dict(self) -> dict[str, object]:
        """Return it as it stands in `log recompute --json`."""
        return {
            "detail": self.detail,
            "log_index": self.log_index,
            "session_id": self.session_id,
            "step": self.step,
        }


@dataclass(slots=True)
class Findings:
    """What was found so far: differences in order, and by step why it cannot be decided."""

    differences: list[Difference] = field(default_factory=list)
    pending: dict[str, str] = field(default_factory=dict)

    def differ(
        self, step: str, detail: str, log_index: int | None = None, session_id: str | None = None
    ) -> None:
        """Keep a difference."""
        self.differences.append(Difference(step, log_index, session_id, detail))


@dataclass(frozen=True, slots=True)
class OpenedRecord:
    """A record that its entry commits to, as bytes: most are looked at only once."""

    index: int
    envelope: Envelope
    record: bytes
    salt: bytes

    def members(self) -> dict[str, Any]:
        """Return the record. Raises Unreadable if it is not a canonical object."""
        return read_object(self.record)

    def entry(self, checkpoint: bytes) -> ReceiptEntry:
        """Return it in the form that a receipt has; its place is shown by the whole tree."""
        envelope = self.envelope
        return ReceiptEntry(
            envelope.kind,
            envelope.station,
            envelope.seq,
            records.time_text(envelope.received_at),
            self.members(),
            self.salt,
            TlogProof(self.index, (), checkpoint),
        )


class ExportReader:
    """Goes through an export once; differences go into `findings`."""

    def __init__(
        self, export: ExportedLog, head: Checkpoint, findings: Findings, report: Report
    ) -> None:
        """Read what stands under `head`, the export's own."""
        self.entries = 0
        self.opened = 0
        self.stations: dict[str, int] = {}
        """The number of each station's last entry."""
        self.bills_not_enclosed: set[int] = set()
        """Entries that are bills without a record in this export."""
        self._export = export
        self._head = head
        self._findings = findings
        self._report = report

    def check_signature(self, trust: Trust | None) -> None:
        """See whose head it is."""
        if trust is None:
            self._findings.pending["signature"] = (
                "no trusted key was given: pass --trust, from a place that you trust"
            )
            return
        try:
            open_checkpoint(self._export.checkpoint, trust.origin, trust.log_keys)
        except ChargEraError as error:
            self._findings.differ("signature", error.message)

    def opened_records(self) -> Iterator[OpenedRecord]:
        """Yield the records that their entries commit to, in the order of the log.

        Once all are taken, the entries have been compared with the tiles and the head.
        """
        leaves: list[bytes] = []
        lines = self._record_lines()
        line = next(lines, None)
        for tile in row_of_tiles(ENTRIES, self._head.size):
            bundle = self._bundle(tile)
            leaves += leaf_hashes(bundle)
            for place, data in enumerate(bundle):
                index = tile.index * TILE_WIDTH + place
                envelope = self._envelope(index, data)
                while line is not None and line.index < index:  # its bundle cannot be read
                    line = next(lines, None)
                if line is not None and line.index == index:
                    opened = envelope and self._opened(line, envelope)
                    if opened:
                        yield opened
                    line = next(lines, None)
                elif envelope is not None and envelope.kind is EntryKind.CDR:
                    self.bills_not_enclosed.add(index)
            self._report("entries", tile.index * TILE_WIDTH + tile.width, self._head.size)
        if line is not None and line.index >= self._head.size:
            fault = "a record of an entry that is not under this head"
            self._findings.differ("records", fault, line.index)
        self.entries = len(leaves)
        self._check_tree(leaves)

    def _bundle(self, tile: Tile) -> list[bytes]:
        try:
            return split_bundle(tile, self._export.fetch(tile))
        except ChargEraError as error:
            self._findings.differ("tree", error.message, tile.index * TILE_WIDTH)
            return []

    def _envelope(self, index: int, data: bytes) -> Envelope | None:
        """Read an entry, and see that it follows its station's previous one."""
        findings = self._findings
        try:
            envelope = parse_envelope(data)
        except Unsupported as error:
            findings.pending["sequence"] = f"entry {index} is of a later version: {error.message}"
            return None
        except ChargEraError as error:
            findings.differ("tree", f"not an entry: {error.message}", index)
            return None
        if envelope.station is not None and envelope.seq is not None:
            last = self.stations.get(envelope.station, 0)
            if envelope.seq != last + 1 and "sequence" not in findings.pending:
                fault = f"{envelope.station} has number {envelope.seq} after {last}"
                findings.differ("sequence", fault, index)
            self.stations[envelope.station] = envelope.seq
        return envelope

    def _check_tree(self, leaves: list[bytes]) -> None:
        """Compare the root with the head's, and every tile with the hashes made anew."""
        if len(leaves) != self._head.size:
            return  # a bundle is missing, and named
        if root_of(leaves) != self._head.root_hash:
            fault = "the entries do not have the root that was signed for them"
            self._findings.differ("tree", fault)
        row, level = leaves, 0
        while row:
            above = []
            for tile in row_of_tiles(level, len(row)):
                hashes = row[tile.index * TILE_WIDTH :][: tile.width]
                self._compare(tile, b"".join(hashes))
                if tile.is_full:
                    above.append(root_of(hashes))
            row, level = above, level + 1

    def _compare(self, tile: Tile, data: bytes) -> None:
        try:
            same = self._export.fetch(tile) == data
        except ChargEraError as error:
            self._findings.differ("tree", error.message)
            return
        if not same:
            fault = f"{tile.path} does not have the hashes of what is below it"
            self._findings.differ("tree", fault)

    def _record_lines(self) -> Iterator["_RecordLine"]:
        """Yield the lines that are of their form, in rising order."""
        last = -1
        for number, text in enumerate(self._export.records, start=1):
            match = _RECORD_LINE.fullmatch(text)
            if match is None:
                fault = f"line {number} is not of the form {{index, kind, record, salt}}"
                self._findings.differ("records", fault)
                continue
            line = _RecordLine(
                int(match[1]), match[2].decode(), match[3], bytes.fromhex(match[4].decode())
            )
            if line.index <= last:
                fault = f"line {number} is not in the order of the log"
                self._findings.differ("records", fault, line.index)
                continue
            last = line.index
            yield line

    def _opened(self, line: "_RecordLine", envelope: Envelope) -> OpenedRecord | None:
        """Return the record if it is the one that its entry commits to."""
        try:
            is_it = commit(line.salt, line.record) == envelope.commitment
        except ChargEraError:
            is_it = False
        if not is_it or line.kind != envelope.kind:
            fault = f"not the {envelope.kind} record that was logged"
            self._findings.differ("records", fault, line.index)
            return None
        self.opened += 1
        return OpenedRecord(line.index, envelope, line.record, line.salt)


@dataclass(frozen=True, slots=True)
class _RecordLine:
    index: int
    kind: str
    record: bytes
    salt: bytes


def read_object(data: bytes) -> dict[str, Any]:
    """Return the object that canonical bytes stand for; Unreadable if they do not."""
    value = canonical.decode(data)
    if not isinstance(value, dict):
        raise Unreadable("not a JSON object")
    return value


def row_of_tiles(level: int, count: int) -> Iterator[Tile]:
    """Yield the tiles over `count` hashes (or entries) of one level."""
    for start in range(0, count, TILE_WIDTH):
        yield Tile(level, start // TILE_WIDTH, min(count - start, TILE_WIDTH))
