"""What is shown of settlement: to whom, in which words, and what is a hole of a lane."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chargera.app.keeper import Claim
from chargera.app.permissions import Action, Caller, Role
from chargera.app.settlement import BatchRow, BatchStage
from chargera.app.settlement_views import (
    SHOWN,
    LaneRun,
    batch,
    batch_view,
    batches,
    claim_view,
    lanes,
    shares,
)
from chargera.domain.errors import NotFound
from chargera.domain.settlement import Rail
from tests.unit.app.settlement_rig import (
    C4E_TEXT,
    EURO_TEXT,
    GATEWAY,
    HOST,
    OPERATOR,
    PASSPORTS,
    PAYER,
    MemorySettlement,
    Rig,
    numbered,
)

OPERATOR_CALLER = Caller(None, "an operator", Role.OPERATOR)
ANYBODY = Caller(None, "anybody", Role.ANONYMOUS)
HOLDER = "0x" + "77" * 20


class ShownSettlement(MemorySettlement):
    """A store with what only views read."""

    async def sessions_of(self, row: BatchRow) -> dict[int, str]:
        return {leaf.cdr_no: f"session {leaf.cdr_no}" for leaf in row.batch.leaves}

    async def lane_runs(self) -> list[LaneRun]:
        return [
            LaneRun(asset, number, number, str(lane.state), lane.batch)
            for (asset, number), lane in sorted(self.rows.lanes.items())
        ]


class Work:
    def __init__(self, rig: Rig) -> None:
        self.settlement = ShownSettlement(rig.rows)


@pytest.fixture
async def rig() -> Rig:
    """A batch of five bills; one that is paid, one disputed, the others are not."""
    rig = Rig()
    rig.wait(*(numbered(n, passport=n % 2, amount=100 + n) for n in range(4)))
    rig.wait(numbered(4, rail=Rail.WALLET, amount=200))
    await rig.form()
    return rig


def only(rig: Rig) -> BatchRow:
    (row,) = rig.rows.batches.values()
    return row


def settle(rig: Rig, **changes: Any) -> BatchRow:
    row = replace(only(rig), state=BatchStage.SETTLED, **changes)
    rig.rows.batches[row.digest] = row
    return row


# Batches ---------------------------------------------------------------------------------------


async def test_list__what_has_no_quorum_only_where_all_is_asked_for(rig: Rig) -> None:
    work = Work(rig)
    assert await batches(work) == []
    (view,) = await batches(work, every=True)
    assert (view.state, view.sessions, view.skipped) == ("formed", 5, 0)
    assert (view.batch, view.asset) == (only(rig).digest, EURO_TEXT)
    settle(rig, paid=0b11111, disputed=0)
    assert [view.state for view in await batches(work)] == ["settled"]


def test_list__stages_of_batches_that_were_signed() -> None:
    assert [str(stage) for stage in SHOWN] == ["signed", "proposed", "settled", "killed"]


async def test_view__its_newest_transaction_and_what_was_skipped(rig: Rig) -> None:
    row = replace(only(rig), propose_transaction_hash="0x1")
    assert batch_view(row).transaction_hash == "0x1"
    row = replace(row, settle_transaction_hash="0x2", paid=0b00001, disputed=0b00010)
    assert batch_view(row).transaction_hash == "0x2"
    assert batch_view(row).skipped == 3


async def test_show__all_of_a_batch(rig: Rig) -> None:
    ends_at = rig.clock.now() + timedelta(minutes=10)
    row = settle(
        rig,
        paid=0b00001,
        disputed=0b10010,
        window_ends_at=ends_at,
        settle_transaction_hash="0x2",
    )
    await rig.sign(row.digest, 2)
    await rig.refuse(row.digest, 1, 10)
    shown = await batch(Work(rig), OPERATOR_CALLER, row.digest)
    assert shown["passports"] == sorted(PASSPORTS[:2])
    assert (shown["gateway"], shown["fiat_total"]) == (GATEWAY, "406")
    assert (shown["operator_id"], shown["window_ends_at"]) == (OPERATOR, ends_at)
    assert (shown["state"], shown["skipped"], shown["sessions"]) == ("settled", 2, 5)
    assert [answer["decision"] for answer in shown["attesters"]] == ["refused", "signed"]
    refused = shown["attesters"][0]
    assert (refused["index"], refused["record"], refused["reason"]) == (0, 10, "it is wrong")
    leaves = shown["leaves"]
    assert [leaf["cdr_no"] for leaf in leaves] == [1, 3, 0, 2, 4]
    assert [leaf["state"] for leaf in leaves] == [
        "settled",
        "disputed",
        "skipped",
        "skipped",
        "disputed",
    ]
    assert [leaf["payer"] for leaf in leaves][-1] == PAYER
    assert [leaf["session_id"] for leaf in leaves] == [
        f"session {leaf['cdr_no']}" for leaf in leaves
    ]
    assert {leaf["passport_id"] for leaf in leaves} == set(PASSPORTS[:2])


async def test_show__leaves_have_no_state_before_their_batch_is_settled(rig: Rig) -> None:
    shown = await batch(Work(rig), OPERATOR_CALLER, only(rig).digest)
    assert {leaf["state"] for leaf in shown["leaves"]} == {None}


async def test_show__sessions_are_for_those_who_may_see_them(rig: Rig) -> None:
    assert not ANYBODY.may(Action.SESSIONS_READ)
    shown = await batch(Work(rig), ANYBODY, only(rig).digest)
    assert {leaf["session_id"] for leaf in shown["leaves"]} == {None}


async def test_show__unknown__not_found(rig: Rig) -> None:
    with pytest.raises(NotFound, match="0x12"):
        await batch(Work(rig), OPERATOR_CALLER, "0x12")


# Lanes -----------------------------------------------------------------------------------------


async def test_lanes__their_numbers_and_which_are_not_settled(rig: Rig) -> None:
    await rig.settlement.note(only(rig).digest, state=BatchStage.SETTLED, paid=0b11011, disputed=0)
    rig.wait(numbered(5), numbered(0, asset=C4E_TEXT))
    shown = {lane["asset"]: lane for lane in await lanes(Work(rig), rig.terms)}
    assert set(shown) == {EURO_TEXT, C4E_TEXT}
    euro = shown[EURO_TEXT]
    assert (euro["numbers"], euro["settled"], euro["operator_id"]) == (6, 4, OPERATOR)
    assert euro["unsettled"] == [
        {"batch": only(rig).digest, "cdr_no": 0, "state": "skipped"},
        {"batch": None, "cdr_no": 5, "state": "waiting"},
    ]
    assert shown[C4E_TEXT]["settled"] == 0


# Shares ----------------------------------------------------------------------------------------


async def test_shares__holders_with_units_and_what_each_is_owed(rig: Rig) -> None:
    rig.hub.say("TransferSingle", [], "0x", id=int(PASSPORTS[0], 16), to=HOLDER)
    rig.hub.claimable = {(EURO_TEXT, HOLDER): 25}
    rig.hub.answers["ChargerShares", "unreleased"] = lambda token_id: 0
    shown = await shares(rig.hub, PASSPORTS[0])
    assert (shown.owner, shown.unreleased_units) == (HOST, 0)
    assert [(each.holder, each.units) for each in shown.holders] == [
        (HOST, 750_000),
        (HOLDER, 250_000),
    ]
    assert [[owed.amount_minor for owed in each.owed] for each in shown.holders] == [[0], [25]]


def test_claim_view() -> None:
    shown = claim_view(Claim(PASSPORTS[0], HOLDER, EURO_TEXT, 25, "0x1"))
    assert (shown.passport_id, shown.holder, shown.asset) == (PASSPORTS[0], HOLDER, EURO_TEXT)
    assert (shown.amount_minor, shown.transaction_hash) == (25, "0x1")
