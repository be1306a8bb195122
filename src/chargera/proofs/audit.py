"""One verdict for each promise of a whole network, from its public files, topic and chain alone.

| promise      | what is checked here                                                           |
|--------------|--------------------------------------------------------------------------------|
| P1 only grew | every head on the topic, and the one that is served, is a prefix of the log    |
| P2 prompt    | no anchored head lacks an entry received well before it                        |
| P3 anchored  | every entry stands under an anchored head within the policy's interval         |
| P4 one view  | heads on the topic are signed and are the served log's; mirrors tell the same  |
| P5 complete  | each station's entries are numbered from 1 without a hole                      |
| P6 billable  | every leaf that was settled is a CDR of the log, its number used once          |
| P7 no lock-in| every tile and bundle is what RFC 9162 and C2SP say of the entries, all readable|

Whose records the entries commit to is private: their bills are recomputed by those who may read
them (`chargera log recompute`), and before settlement by attesters.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from chargera.domain.errors import ChargEraError, Unsupported
from chargera.proofs.anchor import TopicMessage, chain
from chargera.proofs.checkpoint import Checkpoint, open_checkpoint
from chargera.proofs.entry import EntryKind, Envelope, parse_envelope
from chargera.proofs.kept_head import LogSource
from chargera.proofs.running_hash import parse_consensus_timestamp
from chargera.proofs.steps import StepStatus
from chargera.proofs.tiles import ENTRIES, TILE_WIDTH, Tile, split_bundle, split_tile
from chargera.proofs.topic_change import open_topic_change
from chargera.proofs.tree import Frontier, leaf_hashes, root_of
from chargera.proofs.trust import Trust

MERGE_DELAY = timedelta(seconds=20)
"""Twice the interval between checkpoints: within it an acknowledged entry stands under a head."""

INCIDENT = timedelta(minutes=5)
"""How much longer than promised an anchor may take before it counts as an incident."""


class Promise(StrEnum):
    """The promises of the log."""

    ONLY_GREW = "P1"
    PROMPT = "P2"
    ANCHORED = "P3"
    ONE_VIEW = "P4"
    COMPLETE = "P5"
    BILLABLE = "P6"
    NO_LOCK_IN = "P7"


@dataclass(frozen=True, slots=True)
class Mirror:
    """What a mirror told of the trusted topics, oldest first; None: it could not be asked.

    `as_of` is up to when it knows the ledger, where it tells; otherwise it counts as up to date.
    """

    name: str
    messages: Sequence[TopicMessage] | None
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class SettledLeaf:
    """A leaf of a batch on the chain: `batch` is its digest in hex, `lane` operator and asset."""

    batch: str
    place: int
    lane: tuple[str, str]
    cdr_no: int
    log_index: int
    evidence_digest: bytes
    is_paid: bool


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """What the chain says: the anchoring interval of its policy, and the leaves of its batches."""

    anchor_interval: timedelta
    leaves: Sequence[SettledLeaf]
    faults: Sequence[str] = ()
    """Batches whose contents do not have the digest that the chain keeps, each in a sentence."""
    topic_messages: Mapping[str, int] = field(default_factory=dict, hash=False)
    """By topic the number of the newest message that a batch rests on: a mirror must have it."""


@dataclass(frozen=True, slots=True)
class PromiseVerdict:
    """What became of a promise; `first_offence` names the first entry or head that breaks it."""

    promise: Promise
    status: StepStatus
    detail: str
    first_offence: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """Return a row of `audit --json`."""
        return {
            "id": self.promise.value,
            "status": self.status.value,
            "first_offence": self.first_offence,
            "detail": self.detail,
        }


@dataclass(slots=True)
class _Findings:
    """First offences as they are met, and why a promise could not be judged."""

    offences: dict[Promise, str] = field(default_factory=dict)
    unknown: dict[Promise, str] = field(default_factory=dict)

    def break_(self, promise: Promise, offence: str) -> None:
        self.offences.setdefault(promise, offence)

    def cannot_tell(self, promise: Promise, why: str) -> None:
        self.unknown.setdefault(promise, why)


@dataclass(frozen=True, slots=True)
class _Anchor:
    head: Checkpoint
    at: datetime
    name: str


@dataclass(slots=True)
class _Walk:
    """What one pass over the entries leaves behind."""

    received_at: list[datetime | None] = field(default_factory=list)
    roots: dict[int, bytes] = field(default_factory=dict)
    cdrs: dict[int, bytes] = field(default_factory=dict)
    """Leaf hashes by log index, of those entries that settled leaves name."""


def audit(
    log: LogSource,
    trust: Trust,
    mirrors: Sequence[Mirror],
    facts: ChainFacts | None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[PromiseVerdict]:
    """Judge the promises of the network that `trust` describes, in their order.

    `facts` None: the chain could not be asked. `progress` is told entries done and in all.
    Raises what `log.read` raises for the head, and InvalidInput if no trusted key signed it.
    """
    findings = _Findings()
    head = open_checkpoint(log.read("checkpoint"), trust.origin, trust.log_keys)
    anchors = _anchors(mirrors, trust, facts, findings)
    wanted = {leaf.log_index for leaf in facts.leaves} if facts else set()
    sizes = {anchor.head.size for anchor in anchors} | {head.size}
    walk = _walk(log, head.size, sizes, wanted, findings, progress)
    _compare_heads(head, anchors, walk, findings)
    _judge_times(anchors, walk, facts, mirrors, findings)
    _judge_leaves(facts, walk, findings)
    details = _details(head, anchors, facts)
    return [_verdict(promise, details[promise], findings) for promise in Promise]


def exit_code(verdicts: Sequence[PromiseVerdict]) -> int:
    """Return 0 if every promise is kept, 1 if one is broken, 3 if one could not be judged."""
    statuses = {verdict.status for verdict in verdicts}
    if StepStatus.FAILED in statuses:
        return 1
    return 0 if statuses == {StepStatus.OK} else 3


def _verdict(promise: Promise, detail: str, findings: _Findings) -> PromiseVerdict:
    if promise in findings.offences:
        offence = findings.offences[promise]
        return PromiseVerdict(promise, StepStatus.FAILED, offence, offence)
    if promise in findings.unknown:
        return PromiseVerdict(promise, StepStatus.PENDING, findings.unknown[promise])
    return PromiseVerdict(promise, StepStatus.OK, detail)


def _details(
    head: Checkpoint, anchors: Sequence[_Anchor], facts: ChainFacts | None
) -> Mapping[Promise, str]:
    entries, heads = f"{head.size} entries", f"{len(anchors)} anchored heads"
    settled = 0 if facts is None else len(facts.leaves)
    return {
        Promise.ONLY_GREW: f"{heads} and the served one are prefixes of the log of {entries}",
        Promise.PROMPT: f"no head lacks an entry received {MERGE_DELAY.seconds} s before it",
        Promise.ANCHORED: f"{entries} stand under a head on the topic in time",
        Promise.ONE_VIEW: f"{heads} are signed and as served",
        Promise.COMPLETE: "each station's entries are numbered without a hole",
        Promise.BILLABLE: f"{settled} leaves on the chain are CDRs of the log, each number once",
        Promise.NO_LOCK_IN: f"every tile and bundle of {entries} recomputes",
    }


# The topic ---------------------------------------------------------------------------------


_OF_TOPIC = (Promise.ONLY_GREW, Promise.PROMPT, Promise.ANCHORED, Promise.ONE_VIEW)
"""The promises that only the topic can show."""


def _anchors(
    mirrors: Sequence[Mirror], trust: Trust, facts: ChainFacts | None, findings: _Findings
) -> list[_Anchor]:
    """Return the heads on the trusted topics in order of consensus.

    A mirror that contradicts itself is not believed in anything, and where two contradict each
    other only what comes before is: what they hide cannot be judged.
    """
    sound = [mirror for mirror in mirrors if _is_sound(mirror, findings)]
    if not sound:
        for promise in _OF_TOPIC:
            findings.cannot_tell(promise, "no mirror of the topic could be asked and believed")
        return []
    anchors = []
    for topic_id in dict.fromkeys(topic.topic_id for topic in trust.topics or ()):
        messages = _agreed(sound, topic_id, findings)
        resting = 0 if facts is None else facts.topic_messages.get(topic_id, 0)
        if len(messages) < resting:
            why = (
                f"a batch rests on message {resting} of topic {topic_id}, which no mirror has (yet)"
            )
            for promise in (Promise.ANCHORED, Promise.ONE_VIEW):
                findings.cannot_tell(promise, why)
        anchors += [
            anchor
            for message in messages
            if (anchor := _anchor(message, trust, findings)) is not None
        ]
    return sorted(anchors, key=lambda anchor: anchor.at)


def _is_sound(mirror: Mirror, findings: _Findings) -> bool:
    """Say whether a mirror told every topic whole and with the running hashes of its content."""
    if mirror.messages is None:
        findings.cannot_tell(Promise.ONE_VIEW, f"the mirror {mirror.name} could not be asked")
        return False
    topics: dict[str, list[TopicMessage]] = {}
    for message in mirror.messages:
        topics.setdefault(message.topic_id, []).append(message)
    for topic_id, messages in topics.items():
        try:
            chain(messages)
        except ChargEraError as error:
            findings.cannot_tell(
                Promise.ONE_VIEW,
                f"the mirror {mirror.name} contradicts itself on topic {topic_id}: {error.message}",
            )
            return False
    return True


def _agreed(
    mirrors: Sequence[Mirror], topic_id: str, findings: _Findings
) -> Sequence[TopicMessage]:  # fmt: skip
    """Return the messages of a topic as the longest mirror tells, up to the first contradiction."""
    told = [[m for m in mirror.messages or () if m.topic_id == topic_id] for mirror in mirrors]
    longest = max(told, key=len)
    teller = mirrors[told.index(longest)].name
    until = len(longest)
    for mirror, messages in zip(mirrors, told, strict=True):
        if len(messages) < len(longest):
            findings.cannot_tell(
                Promise.ONE_VIEW,
                f"{mirror.name} has no message {len(messages) + 1} of topic {topic_id} (yet)",
            )
        for place, (message, other) in enumerate(zip(longest, messages, strict=False)):
            if message != other:
                names = f"{teller} and {mirror.name}"
                why = f"{names} tell different messages {place + 1} of topic {topic_id}"
                for promise in _OF_TOPIC:
                    findings.cannot_tell(promise, why)
                until = min(until, place)
                break
    return longest[:until]


def _anchor(message: TopicMessage, trust: Trust, findings: _Findings) -> _Anchor | None:
    """Return the head in a message; a stranger's message on the topic is nobody's fault."""
    name = f"message {message.sequence_number} of topic {message.topic_id}"
    try:
        head = open_checkpoint(message.message, trust.origin, trust.log_keys)
    except ChargEraError as error:
        topic = trust.topic_of(message.topic_id, 2**63 - 1)
        is_ours = topic is not None and topic.payer == message.payer_account_id
        if is_ours and not _is_topic_change(message, trust, findings):
            findings.break_(Promise.ONE_VIEW, f"{name}: {error.message}")
        return None
    seconds, nanoseconds = parse_consensus_timestamp(message.consensus_timestamp)
    at = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=nanoseconds // 1000)
    return _Anchor(head, at, name)


def _is_topic_change(message: TopicMessage, trust: Trust, findings: _Findings) -> bool:
    """Say whether a message, signed by the log's key, tells where its heads go on.

    Heads on a topic that the trust file does not know yet cannot be judged.
    """
    try:
        change = open_topic_change(message.message, trust.log_keys)
    except ChargEraError:
        return False
    if all(topic.topic_id != change.topic_id for topic in trust.topics or ()):
        why = f"the log goes on at topic {change.topic_id}: fetch the trust file again"
        for promise in _OF_TOPIC:
            findings.cannot_tell(promise, why)
    return True


# The log -----------------------------------------------------------------------------------


def _walk(
    log: LogSource,
    size: int,
    sizes: set[int],
    wanted: set[int],
    findings: _Findings,
    progress: Callable[[int, int], None],
) -> _Walk:
    """Read every bundle and tile once; roots are kept for `sizes`, leaf hashes for `wanted`."""
    walk, frontier = _Walk(), Frontier()
    numbers: dict[str, int] = {}
    row: list[bytes] = []
    for tile in _row(ENTRIES, size):
        try:
            entries = split_bundle(tile, log.read(tile.path))
        except ChargEraError as error:
            findings.break_(Promise.NO_LOCK_IN, f"{tile.path}: {error.message}")
            for promise in (Promise.ONLY_GREW, Promise.COMPLETE, Promise.BILLABLE):
                findings.cannot_tell(promise, f"the log cannot be read from {tile.path} on")
            return walk
        leaves = leaf_hashes(entries)
        _compare_tile(log, Tile(0, tile.index, tile.width), leaves, findings)
        first = tile.index * TILE_WIDTH
        for index, entry in enumerate(entries, first):
            walk.received_at.append(_note_entry(index, entry, numbers, findings))
            if index in wanted and _is_cdr(entry):
                walk.cdrs[index] = leaves[index - first]
        for cut in sorted(s - first for s in sizes if first < s <= first + len(leaves)):
            walk.roots[first + cut] = frontier.extended(leaves[:cut]).root()
        frontier = frontier.extended(leaves)
        if tile.is_full:
            row.append(root_of(leaves))
        progress(len(walk.received_at), size)
    _compare_upper_tiles(log, row, findings)
    return walk


def _row(level: int, size: int) -> Iterator[Tile]:
    for index in range(-(-size // TILE_WIDTH)):
        yield Tile(level, index, min(TILE_WIDTH, size - index * TILE_WIDTH))


def _compare_upper_tiles(log: LogSource, row: list[bytes], findings: _Findings) -> None:
    level = 1
    while row:
        above = []
        for tile in _row(level, len(row)):
            first = tile.index * TILE_WIDTH
            hashes = row[first : first + tile.width]
            _compare_tile(log, tile, hashes, findings)
            if tile.is_full:
                above.append(root_of(hashes))
        row, level = above, level + 1


def _compare_tile(log: LogSource, tile: Tile, hashes: list[bytes], findings: _Findings) -> None:
    try:
        served = split_tile(tile, log.read(tile.path))
    except ChargEraError as error:
        findings.break_(Promise.NO_LOCK_IN, f"{tile.path}: {error.message}")
        return
    if served != hashes:
        findings.break_(Promise.NO_LOCK_IN, f"{tile.path}: is not what its entries give")


def _is_cdr(entry: bytes) -> bool:
    try:
        return parse_envelope(entry).kind is EntryKind.CDR
    except ChargEraError:
        return False


def _note_entry(
    index: int, entry: bytes, numbers: dict[str, int], findings: _Findings
) -> datetime | None:
    """Check the number that an entry has at its station; return when it was received."""
    envelope: Envelope
    try:
        envelope = parse_envelope(entry)
    except Unsupported:
        return None  # of a later schema: to the tree it is opaque
    except ChargEraError as error:
        findings.break_(Promise.NO_LOCK_IN, f"entry {index}: {error.message}")
        return None
    if envelope.station is not None:
        expected = numbers.get(envelope.station, 0) + 1
        if envelope.seq != expected:
            findings.break_(
                Promise.COMPLETE,
                f"entry {index} is number {envelope.seq} of {envelope.station}, not {expected}",
            )
        numbers[envelope.station] = envelope.seq or expected
    return envelope.received_at


# The promises ------------------------------------------------------------------------------


def _compare_heads(
    head: Checkpoint, anchors: Sequence[_Anchor], walk: _Walk, findings: _Findings
) -> None:
    if walk.roots.get(head.size, head.root_hash) != head.root_hash:
        findings.break_(Promise.ONLY_GREW, f"the served head of {head.size} is not the log's")
    largest = 0
    for anchor in anchors:
        size = anchor.head.size
        if size > head.size:
            findings.break_(
                Promise.ONE_VIEW,
                f"{anchor.name} has a head of {size} entries, the served one has {head.size}",
            )
        elif walk.roots.get(size, anchor.head.root_hash) != anchor.head.root_hash:
            for promise in (Promise.ONLY_GREW, Promise.ONE_VIEW):
                findings.break_(promise, f"{anchor.name}: its head of {size} is not the log's")
        if size < largest:
            findings.break_(
                Promise.ONLY_GREW, f"{anchor.name} goes back from {largest} to {size} entries"
            )
        largest = max(largest, size)


def _judge_times(
    anchors: Sequence[_Anchor],
    walk: _Walk,
    facts: ChainFacts | None,
    mirrors: Sequence[Mirror],
    findings: _Findings,
) -> None:
    """Compare when entries were received with when heads came that have them, or lack them."""
    if facts is None:
        findings.cannot_tell(Promise.ANCHORED, "the interval is the chain's to tell: pass --rpc")
    interval = None if facts is None else facts.anchor_interval + INCIDENT
    covered, before = 0, None
    for anchor in anchors:
        for index in range(covered, min(anchor.head.size, len(walk.received_at))):
            received_at = walk.received_at[index]
            if received_at is None:
                continue
            if before is not None and received_at + MERGE_DELAY + INCIDENT < before.at:
                findings.break_(
                    Promise.PROMPT,
                    f"entry {index} is missing in {before.name}, received long before it",
                )
            if interval is not None and received_at + interval < anchor.at:
                findings.break_(
                    Promise.ANCHORED, f"entry {index} waited for {anchor.name} too long"
                )
        if anchor.head.size >= covered:
            covered, before = anchor.head.size, anchor
    waiting = [at for at in walk.received_at[covered:] if at is not None]
    if interval is None or not waiting or waiting[0] + interval >= waiting[-1]:
        return
    due, name = waiting[0] + interval, f"entry {covered} and what follows is not anchored yet"
    known = [mirror.as_of for mirror in mirrors if mirror.as_of is not None]
    if known and max(known) < due:
        findings.cannot_tell(Promise.ANCHORED, f"{name} according to mirrors that lag behind it")
    elif Promise.ANCHORED not in findings.unknown:
        findings.break_(Promise.ANCHORED, name)


def _judge_leaves(facts: ChainFacts | None, walk: _Walk, findings: _Findings) -> None:
    if facts is None:
        findings.cannot_tell(Promise.BILLABLE, "no chain could be asked: pass --rpc")
        return
    for fault in facts.faults:
        findings.break_(Promise.BILLABLE, fault)
    paid: dict[tuple[tuple[str, str], int], SettledLeaf] = {}
    for leaf in facts.leaves:
        name = f"leaf {leaf.place} of batch {leaf.batch}"
        if leaf.log_index >= len(walk.received_at):
            findings.cannot_tell(Promise.BILLABLE, f"{name}: entry {leaf.log_index} is not served")
        elif walk.cdrs.get(leaf.log_index) != leaf.evidence_digest:
            findings.break_(
                Promise.BILLABLE, f"{name}: entry {leaf.log_index} is not the CDR that it names"
            )
        number = (leaf.lane, leaf.cdr_no)
        if leaf.is_paid and number in paid:
            findings.break_(
                Promise.BILLABLE, f"{name}: CDR {leaf.cdr_no} was paid in {paid[number].batch} too"
            )
        if leaf.is_paid:
            paid[number] = leaf
