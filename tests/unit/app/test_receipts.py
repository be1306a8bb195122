"""Receipts on demand: which entries, readings and head go into one."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from chargera.app.ports import NewEntry
from chargera.app.receipts import ReceiptHead, StoredSettlement, build_receipt
from chargera.domain.errors import Conflict, NotFound, Refused
from chargera.proofs import canonical, records
from chargera.proofs.batch_file import batch_document
from chargera.proofs.chain_values import address_text, hex_text
from chargera.proofs.checkpoint import Checkpoint, sign_checkpoint
from chargera.proofs.entry import EntryKind
from chargera.proofs.receipt import ENTRIES_MAX, parse_receipt, verify_receipt
from chargera.proofs.tlog_proof import TlogProof
from chargera.proofs.tree import MemoryTree, inclusion_proof, leaf_hash
from tests.histories import IN_FORCE, STATION, STATION_ID, TARIFF
from tests.unit.app.rig import START, V1, E, Rig, U, event, start_1_6
from tests.unit.proofs.sample_batch import CHAIN_ID, HUB
from tests.unit.proofs.sample_receipt import LOG_KEY, ORIGIN, anchor_of, log_verifier, trust
from tests.unit.proofs.sample_settlement import Network


class Issuer:
    """Builds receipts of a rig's sessions under heads of its log."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.published = 0

    def tree(self) -> MemoryTree:
        return MemoryTree([leaf_hash(entry.entry) for entry in self.rig.memory.entries])

    def head(self, *, anchored: bool = False) -> ReceiptHead:
        tree = self.tree()
        note = sign_checkpoint(
            Checkpoint(ORIGIN, tree.size, tree.root()), log_verifier(), LOG_KEY.sign
        )
        return ReceiptHead(note, anchor_of(note) if anchored else None)

    async def publish(self) -> None:
        self.published += 1
        self.rig.memory.heads.append((len(self.rig.memory.entries), self.head()))

    async def prove(self, indexes: Sequence[int], note: bytes) -> Sequence[bytes]:
        size = next(s for s, head in self.rig.memory.heads if head.note == note)
        tree = MemoryTree([leaf_hash(e.entry) for e in self.rig.memory.entries[:size]])
        return [
            TlogProof(i, tuple(inclusion_proof(i, size, tree.node)), note).to_bytes()
            for i in indexes
        ]

    async def receipt(
        self, session_id: str | None = None, *, entries_max: int = ENTRIES_MAX
    ) -> bytes:
        wanted = session_id or self.rig.session.transaction.session_id
        async with self.rig.memory.work() as work:
            return await build_receipt(
                work, wanted, self.prove, self.publish, entries_max=entries_max
            )


@pytest.fixture
async def issuer() -> Issuer:
    rig = Rig()
    async with rig.memory.work() as work:
        registered = records.station_record(STATION)
        work.append(NewEntry(EntryKind.STATION_REGISTERED, STATION_ID, None, registered, START))
        quoted = IN_FORCE.quoted
        published = records.tariff_record("T1", 1, quoted.digest, TARIFF, START)
        work.append(NewEntry(EntryKind.TARIFF_PUBLISHED, None, None, published, START))
        await work.commit()
    return Issuer(rig)


async def ended(issuer: Issuer) -> str:
    number = await issuer.rig.started(start_1_6(0, 1000))
    await issuer.rig.hear(V1, event(E, 30, 1500, number=number))
    await issuer.rig.bill()
    return number


async def test_receipt__no_head_yet__one_is_published_and_it_verifies(issuer: Issuer) -> None:
    await ended(issuer)
    data = await issuer.receipt()
    assert issuer.published == 1
    verdict = verify_receipt(data, trust(topics=False))
    assert verdict.failed_step is None
    assert [s.step for s in verdict.steps if s.status == "pending"] == ["anchor"]
    await issuer.receipt()
    assert issuer.published == 1


async def test_receipt__anchored_head__preferred_to_newer_ones(issuer: Issuer) -> None:
    await ended(issuer)
    await issuer.publish()
    issuer.rig.memory.heads.append((len(issuer.rig.memory.entries), issuer.head(anchored=True)))
    receipt = parse_receipt(await issuer.receipt())
    assert receipt.anchor is not None
    assert verify_receipt(await issuer.receipt(), trust()).valid


async def test_receipt__signed_value_after_the_bill__is_not_judged_with_it(
    issuer: Issuer,
) -> None:
    number = await ended(issuer)
    late = event(E, 30, 1500, number=number, signed=(b"OCMF|late",))
    await issuer.rig.hear(V1, late)
    await issuer.rig.bill()
    kinds = [entry.kind for entry in parse_receipt(await issuer.receipt()).entries]
    assert EntryKind.SIGNED_VALUE not in kinds
    assert issuer.rig.records("signed_value")


async def test_receipt__values_after_the_bill__only_the_readings_that_were_billed(
    issuer: Issuer,
) -> None:
    number = await ended(issuer)
    await issuer.rig.hear(V1, event(U, 10, 1200, number=number, connector=1))
    await issuer.rig.bill()
    data = await issuer.receipt()
    assert len(parse_receipt(data).events) == 2
    assert verify_receipt(data, trust(topics=False)).failed_step is None


async def test_receipt__more_late_values_than_it_can_hold__left_out(
    issuer: Issuer,
) -> None:
    number = await ended(issuer)
    for n in range(5):
        await issuer.rig.hear(V1, event(U, 10 + n, 1200, number=number, connector=1))
    await issuer.rig.bill()
    kinds = [entry.kind for entry in parse_receipt(await issuer.receipt()).entries]
    assert kinds.count(EntryKind.METER_VALUE_LATE) == 5
    data = await issuer.receipt(entries_max=10)
    kinds = [entry.kind for entry in parse_receipt(data).entries]
    assert kinds.count(EntryKind.METER_VALUE_LATE) == 0


async def test_receipt__no_session_or_no_bill(issuer: Issuer) -> None:
    with pytest.raises(NotFound):
        await issuer.receipt("no-such-session")
    await issuer.rig.started(start_1_6(0, 1000))
    with pytest.raises(Conflict):
        await issuer.receipt()


async def test_receipt__records_were_erased__refused(issuer: Issuer) -> None:
    await ended(issuer)
    entries = issuer.rig.memory.entries
    for place, entry in enumerate(entries):
        if entry.kind is EntryKind.CDR:
            entries[place] = replace(entry, record=None, salt=None)
    with pytest.raises(Refused):
        await issuer.receipt()


async def test_receipt__bill_in_a_signed_batch__its_settlement_on_the_chain_it_names(
    issuer: Issuer,
) -> None:
    """The first bill says where; a later one, which corrects it, does not."""
    await ended(issuer)
    memory = issuer.rig.memory
    session_id = issuer.rig.session.transaction.session_id
    [place] = [e.log_index for e in memory.entries if e.kind is EntryKind.CDR]
    stored = memory.entries[place]
    assert stored.record is not None
    terms = {"chain_id": CHAIN_ID, "hub": address_text(HUB)}
    record = canonical.decode(stored.record) | {"settlement": terms}  # type: ignore[operator]  # an object
    memory.entries[place] = replace(stored, record=canonical.encode(record))
    network = Network()
    settlement = network.settlement(network.add_session(0))
    memory.settlements[session_id] = StoredSettlement(
        batch_document(settlement.batch),
        [(address_text(who), hex_text(signature)) for who, signature in settlement.signatures],
    )
    assert parse_receipt(await issuer.receipt()).settlement == settlement
