"""Which bills go into which batch, whose answers count, and what becomes of bills and batches."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from chargera.app.settlement import BatchPolicy, BatchStage, LaneState
from chargera.domain.errors import NotFound, Refused, Unreadable
from chargera.domain.settlement import LEAVES_MAX, Rail
from chargera.proofs import canonical
from chargera.proofs.chain_values import ZERO_ADDRESS, address_text, hex_text
from chargera.proofs.entry import EntryKind
from chargera.proofs.settlement import HEALTH_MAX, PASSPORTS_MAX, batch_digest
from chargera.proofs.tree import leaf_hash
from tests.unit.app.settlement_rig import (
    ATTESTERS,
    C4E_TEXT,
    EURO_TEXT,
    GATEWAY,
    KEEPER,
    PASSPORTS,
    START,
    Rig,
    numbered,
    word,
)
from tests.unit.proofs.sample_batch import C4E, CHAIN_ID, HUB, sign
from tests.unit.proofs.sample_settlement import EURO_RATE, policy

HOUR_S = 3_600


@pytest.fixture
def rig() -> Rig:
    return Rig()


# Forming ---------------------------------------------------------------------------------------


async def test_form__bills_of_one_lane__one_batch_under_the_anchored_head(rig: Rig) -> None:
    rig.wait(numbered(0), numbered(1, rail=Rail.WALLET))
    row = await rig.form()
    batch = row.batch
    assert row.digest == hex_text(batch_digest(batch, CHAIN_ID, HUB))
    assert (row.state, row.asset, row.formed_at) == (
        BatchStage.FORMED,
        EURO_TEXT,
        rig.clock.now(),
    )
    assert (batch.tree_size, batch.sequence_number) == (100, 7)
    assert address_text(batch.proposer) == KEEPER
    assert batch.valid_until == int((rig.clock.now() + timedelta(days=7)).timestamp())
    assert [leaf.evidence_digest for leaf in batch.leaves] == [
        leaf_hash(b"entry 0"),
        leaf_hash(b"entry 1"),
    ]
    assert rig.states() == {0: "pending", 1: "pending"}


async def test_form__gateway_and_its_total_are_those_of_the_fiat_bills(rig: Rig) -> None:
    rig.wait(numbered(0, amount=5), numbered(1, amount=7, rail=Rail.WALLET), numbered(2, amount=11))
    batch = (await rig.form()).batch
    assert (address_text(batch.gateway), batch.fiat_total) == (GATEWAY, 16)


async def test_form__wallets_alone__no_gateway(rig: Rig) -> None:
    rig.wait(numbered(0, rail=Rail.WALLET))
    batch = (await rig.form()).batch
    assert (batch.gateway, batch.fiat_total) == (ZERO_ADDRESS, 0)


async def test_form__passports_ascend_and_their_leaves_stand_together(rig: Rig) -> None:
    rig.wait(numbered(0, passport=0), numbered(1, passport=1), numbered(2, passport=0))
    batch = (await rig.form()).batch
    assert batch.passports == tuple(sorted(batch.passports))
    assert set(batch.passports) == {word(PASSPORTS[0]), word(PASSPORTS[1])}
    assert [leaf.cdr_no for leaf in batch.leaves] == [1, 0, 2]
    assert [hex_text(batch.passport_of(leaf)) for leaf in batch.leaves] == [
        PASSPORTS[1],
        PASSPORTS[0],
        PASSPORTS[0],
    ]


async def test_form__each_lane_its_own_batches_of_at_most_48(rig: Rig) -> None:
    rig.wait(*(numbered(n) for n in range(LEAVES_MAX + 2)), numbered(0, asset=C4E_TEXT))
    digests = await rig.settlement.form(at_once=True)
    rows = [rig.rows.batches[digest] for digest in digests]
    assert sorted((row.asset, len(row.batch.leaves)) for row in rows) == sorted(
        [(EURO_TEXT, LEAVES_MAX), (EURO_TEXT, 2), (C4E_TEXT, 1)]
    )


async def test_form__what_no_anchored_head_covers_waits(rig: Rig) -> None:
    rig.wait(numbered(0, log_index=99), numbered(1, log_index=100))
    await rig.form()
    assert rig.states() == {0: "pending", 1: "waiting"}


async def test_form__nothing_is_anchored__nothing(rig: Rig) -> None:
    rig.wait(numbered(0))
    rig.rows.head = None
    assert await rig.settlement.form(at_once=True) == []


async def test_form__a_session_that_ended_in_this_second_waits(rig: Rig) -> None:
    rig.wait(numbered(0, ended_at=rig.clock.now()))
    assert await rig.settlement.form(at_once=True) == []
    rig.clock.advance(1)
    assert len(await rig.settlement.form(at_once=True)) == 1


async def test_form__by_number_or_by_time_whichever_comes_first() -> None:
    rig = Rig(BatchPolicy(sessions=2, interval=timedelta(hours=1)))
    now = rig.clock.now()
    fresh = {"at": now, "ended_at": START}
    rig.wait(numbered(0, **fresh))
    assert await rig.settlement.form() == []
    rig.wait(numbered(1, **fresh))
    assert len(await rig.settlement.form()) == 1
    rig.wait(numbered(2, **fresh))
    rig.clock.advance(HOUR_S - 1)
    assert await rig.settlement.form() == []
    rig.clock.advance(1)
    assert len(await rig.settlement.form()) == 1


async def test_form__a_rest_below_the_number_waits() -> None:
    rig = Rig(BatchPolicy(sessions=10, interval=timedelta(hours=1)))
    fresh = {"at": rig.clock.now(), "ended_at": START}
    rig.wait(*(numbered(n, **fresh) for n in range(LEAVES_MAX + 9)))
    assert len(await rig.settlement.form()) == 1
    assert list(rig.states().values()).count("waiting") == 9


@pytest.mark.parametrize(
    ("head", "due", "waits"),
    [(100, True, False), (10, True, True), (None, True, True), (10, False, False)],
    ids=["covered", "not covered", "nothing anchored", "not due"],
)
async def test_waits_for_anchor__only_for_bills_that_are_due(
    head: int | None, due: bool, waits: bool
) -> None:
    rig = Rig(BatchPolicy(sessions=48, interval=timedelta(hours=1)))
    rig.wait(numbered(0, at=START if due else rig.clock.now(), ended_at=START))
    rig.rows.head = None
    if head is not None:
        rig.anchor(head)
    assert await rig.settlement.waits_for_anchor() is waits


async def test_waits_for_anchor__covered_bills_go_first_and_cost_no_anchor() -> None:
    """So a small network anchors once an hour, not once more for each batch."""
    rig = Rig(BatchPolicy(sessions=48, interval=timedelta(hours=1)))
    now = rig.clock.now()
    rig.wait(
        numbered(0, log_index=5, at=START, ended_at=START),
        numbered(1, log_index=50, at=START, ended_at=START),
        numbered(2, log_index=60, at=now, ended_at=START),
    )
    rig.anchor(10)
    assert await rig.settlement.waits_for_anchor() is False
    await rig.form()
    assert rig.states() == {0: "pending", 1: "waiting", 2: "waiting"}
    assert await rig.settlement.waits_for_anchor() is True  # what is left is old, and not covered
    rig.anchor(100)
    assert await rig.settlement.waits_for_anchor() is False


@pytest.mark.parametrize(
    ("bounds", "rate"),
    [
        ((1, 10**12), EURO_RATE),
        ((EURO_RATE + 5, 10**12), EURO_RATE + 5),
        ((1, EURO_RATE - 5), EURO_RATE - 5),
    ],
    ids=["within", "raised", "lowered"],
)
async def test_rate__the_policys_as_near_as_the_lane_allows(
    rig: Rig, bounds: tuple[int, int], rate: int
) -> None:
    rig.hub.answers["SettlementHub", "rateBounds"] = lambda operator, asset: (0, *bounds)
    rig.wait(numbered(0))
    assert (await rig.form()).batch.c4e_rate == rate


async def test_rate__of_c4e_and_of_what_no_policy_has__its_own_unit(rig: Rig) -> None:
    rig.wait(numbered(0, asset=C4E_TEXT))
    batch = (await rig.form()).batch
    assert (batch.asset, batch.c4e_rate) == (C4E, 10**6)
    late = Rig(policies=[policy(holds_from=2**40)])
    late.wait(numbered(0))
    assert (await late.form()).batch.c4e_rate == 10**6


@pytest.mark.parametrize(
    "record",
    [b"{broken", b"[]", b"{}", canonical.encode({"settlement": {"payer": None}})],
    ids=["no JSON", "no object", "no bill of the chain", "no bill"],
)
async def test_form__a_bill_that_cannot_be_read__stays_out_alone_and_is_told_once(
    rig: Rig, record: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    rig.wait(replace(numbered(0), record=record), numbered(1))
    row = await rig.form()
    assert [leaf.cdr_no for leaf in row.batch.leaves] == [1]
    assert await rig.settlement.form(at_once=True) == []
    told = [entry.message for entry in caplog.records if "stays out" in entry.message]
    assert len(told) == 1
    assert told[0].startswith("entry 10 is no bill any more")


# Answers ---------------------------------------------------------------------------------------


async def test_answer__whose_signature_it_is_follows_from_it(rig: Rig) -> None:
    rig.wait(numbered(0))
    row = await rig.form()
    answer = await rig.settlement.answer(row.digest, signature=hex_text(sign(2, word(row.digest))))
    assert (answer.attester, answer.place, answer.decision) == (ATTESTERS[1], 1, "signed")
    assert rig.rows.answers[row.digest, ATTESTERS[1]] == answer


@pytest.mark.parametrize("number", [5, 1], ids=["a stranger", "not active"])
async def test_answer__of_whoever_is_no_active_attester__refused(rig: Rig, number: int) -> None:
    rig.hub.answers["AttesterRegistry", "masks"] = lambda: (0b1110, 0)
    rig.wait(numbered(0))
    row = await rig.form()
    with pytest.raises(Refused, match="no active attester"):
        await rig.sign(row.digest, number)
    assert not rig.rows.answers


async def test_answer__no_signature_no_address__unreadable(rig: Rig) -> None:
    digest = hex_text(bytes(32))
    with pytest.raises(Unreadable):
        await rig.settlement.answer(digest, signature="0x12")
    with pytest.raises(Unreadable):
        await rig.settlement.answer(digest, signature=None, attester="nobody")


async def test_count__a_quorum__signed(rig: Rig) -> None:
    rig.wait(numbered(0))
    row = await rig.form()
    await rig.sign(row.digest, 1, 2)
    assert not await rig.settlement.count_answers()
    await rig.sign(row.digest, 3)
    assert await rig.settlement.count_answers()
    assert rig.batch_states() == ["signed"]
    assert not await rig.settlement.count_answers()


async def test_attestation__the_signatures_in_order_without_refusals(rig: Rig) -> None:
    rig.wait(numbered(0))
    row = await rig.form()
    await rig.refuse(row.digest, 2, None)
    await rig.sign(row.digest, 4, 1, 3)
    attestation = await rig.settlement.attestation(row.digest)
    assert attestation.indexes == (0, 2, 3)
    assert attestation.signatures[1] == sign(3, word(row.digest))


async def test_answer__a_refusal_may_become_a_signature_but_not_the_other_way(rig: Rig) -> None:
    rig.wait(numbered(0))
    row = await rig.form()
    await rig.refuse(row.digest, 1, 10)
    await rig.sign(row.digest, 1)
    await rig.refuse(row.digest, 1, 10)
    assert rig.rows.answers[row.digest, ATTESTERS[0]].decision == "signed"


# What a batch leaves that a quorum does not sign ----------------------------------------------


async def dropped(rig: Rig, *records: int | None) -> None:
    """Form the batch that there is to form, and let attesters refuse it for these records."""
    row = await rig.form()
    for attester, record in enumerate(records, start=1):
        await rig.refuse(row.digest, attester, record)
    assert await rig.settlement.count_answers()
    assert rig.rows.batches[row.digest].state is BatchStage.DROPPED


async def test_drop__named_by_so_many_that_no_quorum_is_left__stays_out(rig: Rig) -> None:
    rig.wait(numbered(0), numbered(1))
    await dropped(rig, 10, 10)
    assert rig.states() == {0: "skipped", 1: "waiting"}
    await dropped_batch_is_named(rig)


async def dropped_batch_is_named(rig: Rig) -> None:
    """Whoever asks why a bill stays out finds its last batch, and in it the refusals."""
    digest = rig.rows.lanes[EURO_TEXT, 0].batch
    reasons = {a.reason for a in rig.rows.answers.values() if a.digest == digest}
    assert reasons == {"it is wrong"}


async def test_drop__refused_for_what_bills_rest_on__these_bills_stay_out(rig: Rig) -> None:
    rig.rows.evidence = {10: [3, 4], 11: [3, 5]}
    rig.wait(numbered(0), numbered(1), numbered(2))
    await dropped(rig, 3, 3)
    assert rig.states() == {0: "skipped", 1: "skipped", 2: "waiting"}


async def test_drop__a_cdr_that_other_bills_rest_on__only_its_own_stays_out(rig: Rig) -> None:
    rig.rows.evidence = {11: [10]}
    rig.wait(numbered(0), numbered(1))
    await dropped(rig, 10, 10)
    assert rig.states() == {0: "skipped", 1: "waiting"}


async def test_drop__named_by_fewer__waits_for_a_batch_of_its_own(rig: Rig) -> None:
    rig.wait(numbered(0), numbered(1), numbered(2))
    await dropped(rig, 10, 11)
    assert set(rig.states().values()) == {"waiting"}
    digests = await rig.settlement.form(at_once=True)
    numbers = [[leaf.cdr_no for leaf in rig.rows.batches[d].batch.leaves] for d in digests]
    assert numbers == [[0], [1], [2]]


async def test_drop__an_honest_bill_named_by_one_attester__is_signed_by_the_others(
    rig: Rig,
) -> None:
    rig.wait(numbered(0), numbered(1))
    await dropped(rig, 10, 11)
    honest, bad = await rig.settlement.form(at_once=True)
    await rig.refuse(honest, 1, 10)
    await rig.sign(honest, 2, 3, 4)
    for attester in (2, 3):
        await rig.refuse(bad, attester, 11)
    await rig.settlement.count_answers()
    assert [str(rig.rows.batches[digest].state) for digest in (honest, bad)] == [
        "signed",
        "dropped",
    ]
    assert rig.states() == {0: "pending", 1: "skipped"}


async def test_drop__alone__whatever_named_it_keeps_it_out(rig: Rig) -> None:
    rig.rows.evidence = {10: [3]}
    rig.wait(numbered(0))
    await dropped(rig, 3, None)
    assert rig.states() == {0: "skipped"}


async def test_drop__for_nothing_that_a_bill_rests_on__all_wait_as_long_as_a_new_bill() -> None:
    rig = Rig(BatchPolicy(sessions=2, interval=timedelta(hours=1)))
    rig.wait(numbered(0), numbered(1))
    await dropped(rig, None, 77)
    assert set(rig.states().values()) == {"waiting"}
    assert await rig.settlement.form() == []
    rig.clock.advance(HOUR_S)
    assert len(await rig.settlement.form()) == 1


async def test_drop__a_doubted_bill_is_not_tried_again_at_once() -> None:
    rig = Rig(BatchPolicy(sessions=1, interval=timedelta(hours=1)))
    rig.wait(numbered(0), numbered(1))
    await dropped(rig, 10, None)
    assert await rig.settlement.form() == []
    rig.clock.advance(HOUR_S)
    assert len(await rig.settlement.form()) == 2


async def test_count__refusals_that_leave_a_quorum__nothing_is_dropped(rig: Rig) -> None:
    rig.wait(numbered(0))
    row = await rig.form()
    await rig.refuse(row.digest, 1, 10)
    assert not await rig.settlement.count_answers()
    assert rig.states() == {0: "pending"}


# What becomes of a batch -----------------------------------------------------------------------


async def test_note__settled__each_leaf_by_its_bit_and_an_entry(rig: Rig) -> None:
    rig.wait(*(numbered(n) for n in range(4)))
    row = await rig.form()
    row = await rig.settlement.note(
        row.digest,
        state=BatchStage.SETTLED,
        settle_transaction_hash="0xab",
        paid=0b0101,
        disputed=0b1000,
    )
    assert rig.states() == {0: "settled", 1: "skipped", 2: "settled", 3: "disputed"}
    assert row.skipped == 1
    (entry,) = rig.rows.entries
    assert entry.kind is EntryKind.BATCH
    assert entry.record["state"] == "settled"
    assert entry.record["cdr_numbers"] == [0, 1, 2, 3]
    assert entry.record["transaction_hash"] == "0xab"


async def test_note__killed__its_bills_wait_again(rig: Rig) -> None:
    rig.wait(numbered(0))
    row = await rig.form()
    await rig.settlement.note(row.digest, state=BatchStage.KILLED, propose_transaction_hash="0x1")
    assert rig.states() == {0: "waiting"}
    assert rig.rows.lanes[EURO_TEXT, 0].state is LaneState.WAITING
    assert rig.rows.entries[0].record["transaction_hash"] == "0x1"


async def test_note__what_is_no_state__no_entry(rig: Rig) -> None:
    rig.wait(numbered(0))
    row = await rig.form()
    noted = await rig.settlement.note(row.digest, gateway_signature="0x12")
    assert rig.rows.batches[row.digest] == noted
    assert noted.gateway_signature == "0x12"
    assert noted.skipped == 0
    assert not rig.rows.entries


async def test_note__an_unknown_batch__not_found(rig: Rig) -> None:
    with pytest.raises(NotFound):
        await rig.settlement.note("0x12", state=BatchStage.KILLED)


# One truth -------------------------------------------------------------------------------------


def test_a_batch_is_no_larger_than_the_hub_takes() -> None:
    source = Path(__file__).parents[3] / "contracts/src/SettlementHub.sol"
    (most,) = re.findall(r"MAX_LEAVES = (\d+);", source.read_text())
    assert {LEAVES_MAX, PASSPORTS_MAX, HEALTH_MAX} == {int(most)}
