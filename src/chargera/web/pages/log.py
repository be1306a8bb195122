"""The log as people read it: its head, its anchors, and every entry at an address of its own."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.requests import Request
from starlette.responses import Response

from chargera.app.admin_ports import EntryFilter
from chargera.app.sessions import list_anchors, list_entries, log_head, show_entry
from chargera.app.views import AnchorView, LogEntryView
from chargera.domain.errors import InvalidInput, NotFound
from chargera.proofs.checkpoint import parse_checkpoint
from chargera.proofs.entry import parse_envelope
from chargera.proofs.tlog_proof import parse_tlog_proof
from chargera.web.live import Fragment
from chargera.web.pages.facts import Fact, exact
from chargera.web.pages.rendering import Values, View
from chargera.web.pages.site import Site, Visit, see_other

ENTRIES_A_PAGE = 25
ANCHORS_SHOWN = 15
INDEX_DIGITS_MAX = 18

FRAGMENTS = (Fragment("log-head", "live/log_head.html"),)
TOPICS = frozenset({"log"})


@dataclass(frozen=True, slots=True)
class ShownAnchor:
    """An anchor, and its consensus time as a time (None until it has one)."""

    row: AnchorView
    consensus_at: datetime | None


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Where an entry stands under a signed head; hashes in hex."""

    tree_size: int
    root_hash: str
    path: tuple[str, ...]
    checkpoint: str


async def show_log(site: Site, request: Request) -> Response:
    """Answer `/log`; `?before=n` shows the entries below n."""
    before = request.query_params.get("before", "")
    async with site.visit(request) as visit:
        values = dict(await gather_log(site, visit))
        size: int = values["head"].size
        end = min(_index(before), size) if before else size
        start = max(end - ENTRIES_A_PAGE, 0)
        wanted = EntryFilter(from_index=start, limit=end - start)
        entries = await list_entries(visit.work, visit.viewer, wanted) if end else []
        anchors = await list_anchors(visit.work, limit=ANCHORS_SHOWN)
        newer = min(end + ENTRIES_A_PAGE, size)
        values |= {
            "entries": entries[::-1],
            "anchors": [ShownAnchor(row, consensus_time(row)) for row in anchors],
            "older": f"/log?before={start}#entries-title" if start else None,
            "newer": f"/log?before={newer}#entries-title" if end < size else None,
            "live_url": "/live/log",
        }
        return site.page(visit, "log.html", "log", values)


async def gather_log(site: Site, visit: Visit) -> Values:
    """Return what the live fragment of the log shows."""
    window = site.services.anchor_window
    return {
        "head": await log_head(visit.work),
        "now": site.services.clock.now(),
        "window": None if window is None else window(),
    }


async def find_entry(site: Site, request: Request) -> Response:
    """Answer the form of `/log`: go to the entry of that number."""
    return see_other(f"/log/entry/{_index(request.query_params.get('n', ''))}")


async def show_one_entry(site: Site, request: Request) -> Response:
    """Answer `/log/entry/{index}`."""
    index = _index(request.path_params["index"])
    async with site.visit(request) as visit:
        entry = await show_entry(visit.work, visit.viewer, index)
        values = {
            "entry": entry,
            "head": await log_head(visit.work),
            "facts": entry_facts(visit.view, entry),
            "record": json.dumps(entry.record, indent=2, ensure_ascii=False)
            if entry.record is not None
            else None,
            "inclusion": await _inclusion(site, index),
            "json_url": f"/api/v1/log/entries/{index}",
        }
        return site.page(visit, "entry.html", "log", values)


def entry_facts(view: View, entry: LogEntryView) -> list[Fact]:
    """Return the decoded envelope, and the hash of its leaf."""
    envelope = parse_envelope(entry.entry.encode())
    facts = [
        exact("log_index", str(entry.log_index)),
        Fact("kind", view.texts.word("kind", entry.kind), entry.kind),
        Fact("received_at", view.formats.time(entry.received_at)),
    ]
    if envelope.station is not None and envelope.seq is not None:
        station = f"/s/{envelope.station}"
        facts.append(Fact("station_id", envelope.station, envelope.station, href=station))
        facts.append(Fact("seq", view.formats.number(envelope.seq)))
    return [
        *facts,
        exact("commitment", envelope.commitment.hex()),
        exact("leaf_hash", entry.leaf_hash),
    ]


def consensus_time(anchor: AnchorView) -> datetime | None:
    """Return the ledger's time of an anchor (seconds and nanoseconds since 1970), to the us."""
    if anchor.consensus_timestamp is None:
        return None
    seconds, _, nanos = anchor.consensus_timestamp.partition(".")
    since = timedelta(seconds=int(seconds), microseconds=int(nanos or 0) // 1000)
    return datetime(1970, 1, 1, tzinfo=UTC) + since


async def _inclusion(site: Site, index: int) -> Inclusion | None:
    """Return the proof of an entry under the newest head; None until a head covers it."""
    try:
        proof = parse_tlog_proof(await site.services.tlog_proof(index))
    except NotFound:
        return None
    head = parse_checkpoint(proof.checkpoint)
    path = tuple(node.hex() for node in proof.path)
    return Inclusion(head.size, head.root_hash.hex(), path, proof.checkpoint.decode())


def _index(text: str) -> int:
    if not (text.isdecimal() and len(text) <= INDEX_DIGITS_MAX):
        raise InvalidInput(
            "an entry has a number", field="n", remedy="give the index of an entry, from 0"
        )
    return int(text)
