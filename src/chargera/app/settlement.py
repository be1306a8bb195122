"""Batches: bills under an anchored head are put together, attested, proposed and settled.

A batch is `formed` here, `signed` once a quorum of attesters has answered for every byte of it,
`proposed` and `settled` on chain by whoever has gas.

A batch that a quorum can no longer sign is `dropped`. A bill stays out for good only if so many
attesters named it, or a record that it rests on, that they alone prevent a quorum: nobody can keep
an honest bill out alone. One that fewer named waits for a batch of its own, where their answers are
about nothing else; the others wait for the next batch. Why a bill stays out is said in the answers
to its last batch.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from chargera.app.ports import Clock, NewEntry
from chargera.app.settlement_ports import Contracts, NetworkTerms
from chargera.domain.errors import ChargEraError, InvalidInput, NotFound, Refused
from chargera.domain.settlement import LEAVES_MAX, RATE_UNIT, BatchState, Rail
from chargera.domain.word import Word
from chargera.proofs import canonical, records
from chargera.proofs.batch_file import batch_document, parse_batch
from chargera.proofs.chain_values import (
    ZERO_ADDRESS,
    address_text,
    hex_text,
    operator_word,
    parse_address,
    parse_hex,
    topic_address,
)
from chargera.proofs.checkpoint import parse_checkpoint
from chargera.proofs.entry import EntryKind
from chargera.proofs.secp256k1 import SIGNATURE_BYTES, recover
from chargera.proofs.settlement import Attestation, Batch, Leaf, batch_digest, leaf_of_cdr

_log = logging.getLogger(__name__)

VALID_FOR = timedelta(days=7)
"""How long a batch may be proposed after it was formed."""


ALL = 2**62
"""Above every log index."""

_STRANGE = (KeyError, TypeError, ValueError, AttributeError)
"""What a record of another shape than a bill's may raise."""


class BatchStage(Word):
    """How far a batch is."""

    FORMED = "formed"
    SIGNED = "signed"
    PROPOSED = "proposed"
    SETTLED = "settled"
    KILLED = "killed"
    DROPPED = "dropped"


OPEN_STAGES = (BatchStage.FORMED, BatchStage.SIGNED, BatchStage.PROPOSED)


class LaneState(Word):
    """How far the settlement of a numbered CDR is."""

    WAITING = "waiting"
    PENDING = "pending"
    SETTLED = "settled"
    SKIPPED = "skipped"
    DISPUTED = "disputed"


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """When a batch is formed: whichever comes first."""

    sessions: int = LEAVES_MAX
    interval: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class WaitingCdr:
    """A numbered CDR that is in no batch, with its record and its public entry.

    `tried_at`: when its last batch was formed, if it was in one; `doubted`: it goes alone.
    """

    cdr_no: int
    session_id: str
    log_index: int
    passport_id: str
    asset: str
    numbered_at: datetime
    record: bytes
    entry: bytes
    tried_at: datetime | None = None
    doubted: bool = False


@dataclass(frozen=True, slots=True)
class AnchoredHead:
    """The newest head that is anchored."""

    tree_size: int
    note: bytes
    topic_id: str
    sequence_number: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One attester's answer to one digest."""

    digest: str
    attester: str
    place: int
    decision: str
    """signed or refused."""
    signature: str | None
    record: int | None
    """Log index of the record that a refusal names."""
    reason: str | None
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch as it stands in the database."""

    digest: str
    operator_id: str
    asset: str
    state: BatchStage
    document: Mapping[str, Any]
    formed_at: datetime
    gateway_signature: str | None = None
    log_index: int | None = None
    proposed_at: datetime | None = None
    window_ends_at: datetime | None = None
    propose_transaction_hash: str | None = None
    settle_transaction_hash: str | None = None
    paid: int | None = None
    disputed: int | None = None

    @property
    def batch(self) -> Batch:
        """The batch itself."""
        return parse_batch(dict(self.document))

    @property
    def skipped(self) -> int:
        """How many of its leaves were not paid when it was settled."""
        if self.paid is None:
            return 0
        aside = (self.disputed or 0) | self.paid
        return len(self.document["leaves"]) - aside.bit_count()


class SettlementStore(Protocol):
    """Numbered CDRs, batches and answers in the database."""

    async def waiting(self, below: int) -> Sequence[WaitingCdr]:
        """Return CDRs in no batch with log indexes below this, locked, by lane and number."""

    async def anchored_head(self) -> AnchoredHead | None:
        """Return the newest anchored head."""

    async def add_batch(self, row: BatchRow, cdr_nos: Sequence[int]) -> None:
        """Insert a batch; its CDRs are pending from now on."""

    async def batch(self, digest: str) -> BatchRow | None:
        """Return a batch, locked for this unit of work."""

    async def batches(
        self, stages: Sequence[BatchStage], limit: int | None = None
    ) -> Sequence[BatchRow]:
        """Return batches in these stages, newest first."""

    async def update_batch(self, row: BatchRow) -> None:
        """Replace what may change of a batch."""

    async def mark(
        self, row: BatchRow, cdr_nos: Sequence[int], state: LaneState, *, doubted: bool = False
    ) -> None:
        """Say how far CDRs of a batch are."""

    async def answer(self, answer: Answer) -> None:
        """Insert an answer, or replace the refusal of the same attester."""

    async def answers(self, digest: str) -> Sequence[Answer]:
        """Return the answers to a digest."""


class EvidenceStore(Protocol):
    """What bills rest on."""

    async def evidence(self, log_index: int) -> tuple[Sequence[int], Any]:
        """Return the indexes of the records that a CDR entry rests on, and its readings."""


class SettlementWork(Protocol):
    """One unit of work."""

    @property
    def settlement(self) -> SettlementStore:
        """Batches."""

    @property
    def feed(self) -> EvidenceStore:
        """What attesters are shown."""

    def append(self, entry: NewEntry) -> None:
        """Append an entry to the log."""

    async def flush(self) -> int | None:
        """Write appended entries now and return the first one's index."""

    async def commit(self) -> None:
        """Make everything durable."""


class SettlementDatabase(Protocol):
    """Opens units of work."""

    def work(self) -> AbstractAsyncContextManager[SettlementWork]:
        """Open a unit of work; leaving it without `commit` rolls back."""


class Settlement:
    """Forms batches and takes attesters' answers."""

    def __init__(
        self,
        database: SettlementDatabase,
        terms: NetworkTerms,
        contracts: Contracts,
        clock: Clock,
        proposer: str,
        policy: BatchPolicy | None = None,
    ) -> None:
        """Form batches that name `proposer`, an address, as who is paid for proposing them."""
        self._database = database
        self._terms = terms
        self._contracts = contracts
        self._clock = clock
        self._proposer = parse_address(proposer, field="proposer")
        self._policy = policy or BatchPolicy()
        self._hub = parse_address(terms.hub, field="hub")
        self._unreadable: set[int] = set()
        """Entries of bills whose records cannot be read; each is told once."""

    def digest_of(self, batch: Batch) -> str:
        """Return the identity of a batch."""
        return hex_text(batch_digest(batch, self._terms.chain_id, self._hub))

    async def waits_for_anchor(self) -> bool:
        """Say whether a batch is due, and none of what an anchored head covers.

        Anchors cost money: as long as covered bills make a batch, the others wait for the next
        anchor that the policy asks for.
        """
        async with self._database.work() as work:
            head = await work.settlement.anchored_head()
            covered = head.tree_size if head else 0
            waiting = await work.settlement.waiting(ALL)
        return any(
            self._is_due(lane) and not self._is_due([c for c in lane if c.log_index < covered])
            for lane in _lanes(waiting).values()
        )

    async def form(self, *, at_once: bool = False) -> list[str]:
        """Put what waits under an anchored head into batches; return their digests.

        `at_once`: whatever the policy says of number and time.
        """
        formed = []
        async with self._database.work() as work:
            head = await work.settlement.anchored_head()
            if head is None:
                return []
            now_s = int(self._clock.now().timestamp())
            # Nobody signs for a second that is not over yet: such a bill comes with a later batch.
            waiting = [
                cdr
                for cdr in await work.settlement.waiting(head.tree_size)
                if self._is_over(cdr, now_s)
            ]
            for asset, lane in _lanes(waiting).items():
                for group in self._due(lane, at_once=at_once):
                    batch = await self._batch(asset, group, head)
                    row = BatchRow(
                        self.digest_of(batch),
                        self._terms.operator_id,
                        asset,
                        BatchStage.FORMED,
                        batch_document(batch),
                        self._clock.now(),
                    )
                    await work.settlement.add_batch(row, [cdr.cdr_no for cdr in group])
                    formed.append(row.digest)
            await work.commit()
        for digest in formed:
            _log.info("%s batch %s", BatchStage.FORMED, digest)
        return formed

    def _is_over(self, cdr: WaitingCdr, now_s: int) -> bool:
        """Say whether a bill's last second is over; one that cannot be read stays out, alone."""
        try:
            return _leaf(cdr, 0).end < now_s
        except (ChargEraError, *_STRANGE) as error:
            if cdr.log_index not in self._unreadable:
                self._unreadable.add(cdr.log_index)
                _log.error("entry %s is no bill any more and stays out: %s", cdr.log_index, error)
            return False

    def _is_due(self, lane: Sequence[WaitingCdr]) -> bool:
        return next(self._due(lane), None) is not None

    def _due(
        self, lane: Sequence[WaitingCdr], *, at_once: bool = False
    ) -> Iterator[Sequence[WaitingCdr]]:
        """Divide what waits in a lane into the batches that are due.

        What was in a batch that came to nothing waits again as long as a new bill does.
        """
        before = self._clock.now() - self._policy.interval

        def is_old(cdr: WaitingCdr) -> bool:
            return (cdr.tried_at or cdr.numbered_at) <= before

        yield from ([cdr] for cdr in lane if cdr.doubted and (at_once or is_old(cdr)))
        together = [cdr for cdr in lane if not cdr.doubted]
        while together and (
            at_once
            or sum(cdr.tried_at is None for cdr in together) >= self._policy.sessions
            or any(map(is_old, together))
        ):
            chosen, together = together[:LEAVES_MAX], together[LEAVES_MAX:]
            yield chosen

    async def _batch(self, asset: str, cdrs: Sequence[WaitingCdr], head: AnchoredHead) -> Batch:
        # In ascending order: the contract then sees at a glance that each is there once.
        passports = tuple(sorted({_word(cdr.passport_id) for cdr in cdrs}))
        leaves = [_leaf(cdr, passports.index(_word(cdr.passport_id))) for cdr in cdrs]
        # The contract adds up each passport's part in memory: its leaves stand together.
        leaves.sort(key=lambda leaf: (leaf.passport_index, leaf.cdr_no))
        fiat = [leaf.amount for leaf in leaves if leaf.rail is Rail.FIAT]
        gateway = self._terms.gateway if fiat else None
        now = self._clock.now()
        address = parse_address(asset, field="asset")
        return Batch(
            operator_id=self._terms.operator_id,
            asset=address,
            checkpoint=parse_checkpoint(head.note).root_hash,
            tree_size=head.tree_size,
            topic=topic_address(head.topic_id),
            sequence_number=head.sequence_number,
            valid_until=int((now + VALID_FOR).timestamp()),
            proposer=self._proposer,
            c4e_rate=await self._rate(address),
            gateway=parse_address(gateway, field="gateway") if gateway else ZERO_ADDRESS,
            fiat_total=sum(fiat),
            passports=passports,
            leaves=tuple(leaves),
        )

    async def _rate(self, asset: bytes) -> int:
        """Return the policy's rate of an asset, as near to its lane's last as it may be."""
        version = self._terms.policy_at(int(self._clock.now().timestamp()))
        row = None if version is None else version.asset_of(asset)
        if row is None or row.currency is None:
            return RATE_UNIT
        _, least, most = await self._contracts.read(
            "SettlementHub", "rateBounds", operator_word(self._terms.operator_id), asset
        )
        return int(min(max(row.c4e_rate, least), most))

    # Answers ------------------------------------------------------------------------------------

    async def answer(
        self,
        digest: str,
        *,
        signature: str | None,
        record: int | None = None,
        reason: str | None = None,
        attester: str | None = None,
    ) -> Answer:
        """Take an attester's answer: a signature, or a refusal that names a record and a reason.

        A refusal says by `attester` whose it is. Raises Refused for whoever is no active attester.
        """
        if signature is not None:
            raw = parse_hex(signature, SIGNATURE_BYTES, field="signature")
            attester = address_text(recover(parse_hex(digest, 32, field="digest"), raw))
        attester = address_text(parse_address(attester, field="attester"))
        place = await self._place_of(attester)
        answer = Answer(
            digest,
            attester,
            place,
            "refused" if signature is None else "signed",
            signature,
            record,
            reason,
            self._clock.now(),
        )
        async with self._database.work() as work:
            await work.settlement.answer(answer)
            await work.commit()
        return answer

    async def _place_of(self, attester: str) -> int:
        place = await self._contracts.read("AttesterRegistry", "placeOf", attester)
        if place:
            active, _ = await self._contracts.read("AttesterRegistry", "masks")
            if active >> (place - 1) & 1:
                return int(place) - 1
        raise Refused(
            f"{attester} is no active attester of this network",
            field="attester",
            remedy="use the key of an attester that the registry has admitted",
        )

    async def count_answers(self) -> bool:
        """Take formed batches on to `signed` or `dropped`; say whether anything changed."""
        async with self._database.work() as work:
            formed = await work.settlement.batches([BatchStage.FORMED])
        if not formed:
            return False
        quorum = await self._contracts.read("AttesterRegistry", "quorum")
        active, _ = await self._contracts.read("AttesterRegistry", "masks")
        changed = False
        for each in formed:
            changed = await self._count(each.digest, quorum, active.bit_count()) or changed
        return changed

    async def _count(self, digest: str, quorum: int, attesters: int) -> bool:
        async with self._database.work() as work:
            row = await work.settlement.batch(digest)
            if row is None or row.state is not BatchStage.FORMED:
                return False
            answers = await work.settlement.answers(digest)
            signed = sum(each.decision == "signed" for each in answers)
            refused = [each for each in answers if each.decision == "refused"]
            if signed >= quorum:
                state = BatchStage.SIGNED
            elif attesters - len(refused) < quorum:
                state = BatchStage.DROPPED
                await self._release(work, row, refused, attesters - quorum + 1)
            else:
                return False
            await work.settlement.update_batch(replace(row, state=state))
            await work.commit()
        _log.info("%s batch %s", state, digest)
        return True

    async def _release(
        self, work: SettlementWork, row: BatchRow, refused: Sequence[Answer], enough: int
    ) -> None:
        """Give a batch's bills up; `enough` attesters who name the same one keep it out."""
        named = Counter[int]()
        for answer in refused:
            named.update(await _named(work, row.batch.leaves, answer.record))
        alone = len(row.batch.leaves) == 1
        out = [cdr_no for cdr_no, count in named.items() if alone or count >= enough]
        doubted = [cdr_no for cdr_no in named if cdr_no not in out]
        rest = [leaf.cdr_no for leaf in row.batch.leaves if leaf.cdr_no not in named]
        await work.settlement.mark(row, out, LaneState.SKIPPED)
        await work.settlement.mark(row, doubted, LaneState.WAITING, doubted=True)
        await work.settlement.mark(row, rest, LaneState.WAITING)

    async def give_up(self, digest: str) -> None:
        """Drop a batch that the hub takes no more; all its bills wait for another one."""
        async with self._database.work() as work:
            row = await work.settlement.batch(digest)
            if row is None or row.state not in (BatchStage.FORMED, BatchStage.SIGNED):
                return
            await self._release(work, row, [], 1)
            await work.settlement.update_batch(replace(row, state=BatchStage.DROPPED))
            await work.commit()
        _log.info("%s batch %s", BatchStage.DROPPED, digest)

    async def attestation(self, digest: str) -> Attestation:
        """Return the signatures over a batch as its hub takes them."""
        async with self._database.work() as work:
            answers = await work.settlement.answers(digest)
        return Attestation.of(
            {
                each.place: parse_hex(each.signature, SIGNATURE_BYTES, field="signature")
                for each in answers
                if each.signature is not None
            }
        )

    async def note(self, digest: str, **changes: Any) -> BatchRow:
        """Change a batch's row, with an entry of what became of it, in one commit."""
        async with self._database.work() as work:
            row = await work.settlement.batch(digest)
            if row is None:
                raise NotFound(f"there is no batch {digest}", field="batch")
            row = replace(row, **changes)
            if "state" in changes:
                await self._note_state(work, row)
            await work.settlement.update_batch(row)
            await work.commit()
        if "state" in changes:
            _log.info("%s batch %s", row.state, digest)
        return row

    async def end_dispute(self, digest: str, place: int, stands: bool) -> None:
        """Note that the leaf at a place of a batch was paid after all, or is not owed."""
        async with self._database.work() as work:
            row = await work.settlement.batch(digest)
            if row is None:
                raise NotFound(f"there is no batch {digest}", field="batch")
            state = LaneState.SETTLED if stands else LaneState.SKIPPED
            await work.settlement.mark(row, [row.batch.leaves[place].cdr_no], state)
            await work.commit()

    async def _note_state(self, work: SettlementWork, row: BatchRow) -> None:
        leaves = row.batch.leaves
        now = self._clock.now()
        if row.state is BatchStage.SETTLED:
            paid, disputed = row.paid or 0, row.disputed or 0
            for mask, state in ((paid, LaneState.SETTLED), (disputed, LaneState.DISPUTED)):
                chosen = [leaf.cdr_no for n, leaf in enumerate(leaves) if mask >> n & 1]
                await work.settlement.mark(row, chosen, state)
            rest = [leaf.cdr_no for n, leaf in enumerate(leaves) if not (paid | disputed) >> n & 1]
            await work.settlement.mark(row, rest, LaneState.SKIPPED)
        elif row.state is BatchStage.KILLED:
            numbers = [leaf.cdr_no for leaf in leaves]
            await work.settlement.mark(row, numbers, LaneState.WAITING)
        record = records.batch_record(
            digest=row.digest,
            asset=row.asset,
            cdr_numbers=[leaf.cdr_no for leaf in leaves],
            state=BatchState(row.state),
            transaction_hash=row.settle_transaction_hash or row.propose_transaction_hash,
            at=now,
        )
        work.append(NewEntry(EntryKind.BATCH, None, None, record, now))


async def _named(work: SettlementWork, leaves: Sequence[Leaf], record: int | None) -> list[int]:
    """Return the numbers of the bills that a refusal is about: by CDR, or by what it rests on."""
    if record is None:
        return []
    found = [leaf.cdr_no for leaf in leaves if leaf.log_index == record]
    if found:
        return found
    return [
        leaf.cdr_no for leaf in leaves if record in (await work.feed.evidence(leaf.log_index))[0]
    ]


def _lanes(waiting: Sequence[WaitingCdr]) -> dict[str, list[WaitingCdr]]:
    lanes: dict[str, list[WaitingCdr]] = {}
    for cdr in waiting:
        lanes.setdefault(cdr.asset, []).append(cdr)
    return lanes


def _word(text: str) -> bytes:
    return parse_hex(text, 32, field="passport_id")


def _leaf(cdr: WaitingCdr, passport_index: int) -> Leaf:
    leaf = leaf_of_cdr(_record(cdr.record), cdr.log_index, cdr.entry, passport_index)
    if leaf is None:
        raise InvalidInput("a bill with a number that is not settled on chain", field="record")
    return leaf


def _record(data: bytes) -> Mapping[str, Any]:
    record = canonical.decode(data)
    if not isinstance(record, dict):
        raise InvalidInput("a record is an object", field="record")
    return record
