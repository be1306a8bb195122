"""What is shown of settlement: batches, their leaves, lanes and their holes, shares and claims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from chargera.app.keeper import SHARES, Claim, holders_of, units_of
from chargera.app.permissions import Action, Caller
from chargera.app.settlement import Answer, BatchRow, BatchStage, LaneState
from chargera.app.settlement_ports import Contracts, NetworkTerms
from chargera.domain.errors import NotFound
from chargera.proofs.chain_values import parse_passport_id

SHOWN = (BatchStage.SIGNED, BatchStage.PROPOSED, BatchStage.SETTLED, BatchStage.KILLED)


@dataclass(frozen=True, slots=True)
class BatchView:
    """A batch in a list."""

    batch: str
    asset: str
    state: str
    """signed, proposed, settled or killed; `formed` and `dropped` only where all are asked for."""
    window_ends_at: datetime | None
    sessions: int
    skipped: int
    transaction_hash: str | None
    """Of its settlement, else of its proposal."""


@dataclass(frozen=True, slots=True)
class ClaimView:
    """One payout to a holder of a passport."""

    passport_id: str
    holder: str
    asset: str
    amount_minor: int
    transaction_hash: str


@dataclass(frozen=True, slots=True)
class OwedView:
    """What is owed in one asset."""

    asset: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class HolderView:
    """A holder of a passport's units, and what he is owed of it."""

    holder: str
    units: int
    owed: tuple[OwedView, ...]


@dataclass(frozen=True, slots=True)
class SharesView:
    """Who holds the units of a passport; `unreleased_units` are its owner's to collect on."""

    owner: str
    unreleased_units: int
    holders: tuple[HolderView, ...]


@dataclass(frozen=True, slots=True)
class LaneRun:
    """Consecutive numbers of a lane, first to last, in one state and in one batch.

    What waits or is settled is one run whatever batches it was in: `batch` is None.
    """

    asset: str
    first: int
    last: int
    state: str
    batch: str | None

    @property
    def numbers(self) -> int:
        """How many there are."""
        return self.last - self.first + 1


class SettlementReads(Protocol):
    """Batches and lanes as they are shown."""

    async def batches(
        self, stages: Sequence[BatchStage], limit: int | None = None, before: str | None = None
    ) -> Sequence[BatchRow]:
        """Return batches in these stages, newest first; those formed before the one of a digest."""

    async def batch(self, digest: str) -> BatchRow | None:
        """Return a batch."""

    async def answers(self, digest: str) -> Sequence[Answer]:
        """Return the answers to a digest."""

    async def sessions_of(self, row: BatchRow) -> Mapping[int, str]:
        """Return the sessions of a batch's leaves by their number."""

    async def lane_runs(self) -> Sequence[LaneRun]:
        """Return all numbered CDRs by lane and number."""


class SettlementViewWork(Protocol):
    """One unit of work."""

    @property
    def settlement(self) -> SettlementReads:
        """Batches."""


def batch_view(row: BatchRow) -> BatchView:
    """Return how a batch is shown in a list."""
    return BatchView(
        batch=row.digest,
        asset=row.asset,
        state=str(row.state),
        window_ends_at=row.window_ends_at,
        sessions=len(row.document["leaves"]),
        skipped=row.skipped,
        transaction_hash=row.settle_transaction_hash or row.propose_transaction_hash,
    )


def claim_view(claim: Claim) -> ClaimView:
    """Return how a payout is shown."""
    return ClaimView(
        claim.passport_id, claim.holder, claim.asset, claim.amount, claim.transaction_hash
    )


async def batches(
    work: SettlementViewWork,
    *,
    every: bool = False,
    limit: int | None = None,
    before: str | None = None,
) -> list[BatchView]:
    """Return batches, newest first; `every` also those that have no quorum.

    `limit` of them at most, formed before the batch of the digest `before`.
    """
    rows = await work.settlement.batches(tuple(BatchStage) if every else SHOWN, limit, before)
    return [batch_view(row) for row in rows]


async def batch(work: SettlementViewWork, caller: Caller, digest: str) -> dict[str, Any]:
    """Return a batch with leaves, answers and transactions; sessions to whoever may see them.

    Raises NotFound.
    """
    row = await work.settlement.batch(digest)
    if row is None:
        raise NotFound(
            f"there is no batch '{digest[:66]}'",
            field="batch",
            remedy="`chargera settlement list` shows them",
        )
    sessions: Mapping[int, str] = {}
    if caller.may(Action.SESSIONS_READ):
        sessions = await work.settlement.sessions_of(row)
    shown = batch_view(row)
    return {
        "asset": shown.asset,
        "attesters": [_answer(answer) for answer in await work.settlement.answers(digest)],
        "batch": row.digest,
        "c4e_rate": row.document["c4e_rate"],
        "fiat_total": row.document["fiat_total"],
        "formed_at": row.formed_at,
        "gateway": row.document["gateway"],
        "leaves": [_leaf(row, place, sessions) for place in range(shown.sessions)],
        "operator_id": row.operator_id,
        "passports": row.document["passports"],
        "propose_transaction_hash": row.propose_transaction_hash,
        "proposed_at": row.proposed_at,
        "sessions": shown.sessions,
        "settle_transaction_hash": row.settle_transaction_hash,
        "skipped": shown.skipped,
        "state": shown.state,
        "transaction_hash": shown.transaction_hash,
        "window_ends_at": shown.window_ends_at,
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "address": answer.attester,
        "decision": answer.decision,
        "index": answer.place,
        "reason": answer.reason,
        "record": answer.record,
    }


def _leaf(row: BatchRow, place: int, sessions: Mapping[int, str]) -> dict[str, Any]:
    leaf = row.document["leaves"][place]
    state = None
    if row.state is BatchStage.SETTLED:
        paid, disputed = row.paid or 0, row.disputed or 0
        state = "settled" if paid >> place & 1 else "skipped"
        state = "disputed" if disputed >> place & 1 else state
    return {
        "amount": leaf["amount"],
        "cdr_no": leaf["cdr_no"],
        "log_index": leaf["log_index"],
        "passport_id": row.document["passports"][leaf["passport_index"]],
        "payer": leaf["payer"],
        "rail": leaf["rail"],
        "session_id": sessions.get(leaf["cdr_no"]),
        "state": state,
        "vat": leaf["vat"],
    }


async def lanes(work: SettlementViewWork, terms: NetworkTerms) -> list[dict[str, Any]]:
    """Return each lane: how many numbers it has, and which of them are not settled."""
    by_asset: dict[str, list[LaneRun]] = {}
    for run in await work.settlement.lane_runs():
        by_asset.setdefault(run.asset, []).append(run)
    return [
        {
            "asset": asset,
            "numbers": sum(run.numbers for run in runs),
            "operator_id": terms.operator_id,
            "settled": sum(run.numbers for run in runs if run.state == LaneState.SETTLED),
            "unsettled": [
                {"batch": run.batch, "cdr_no": number, "state": run.state}
                for run in runs
                if run.state != LaneState.SETTLED
                for number in range(run.first, run.last + 1)
            ],
        }
        for asset, runs in by_asset.items()
    ]


async def shares(contracts: Contracts, passport_id: str) -> SharesView:
    """Return who holds a passport's units and what each is owed, as the chain has it now."""
    token_id = parse_passport_id(passport_id)
    holders = []
    assets = await contracts.read(SHARES, "assets")
    units = await units_of(contracts, passport_id)
    for account in await holders_of(contracts, passport_id):
        owed = []
        for asset in assets:
            amount = await contracts.read(SHARES, "claimable", token_id, asset, account)
            owed.append(OwedView(asset, amount))
        holders.append(HolderView(account, units[account], tuple(owed)))
    return SharesView(
        owner=await contracts.read("ChargerPassport", "ownerOf", token_id),
        unreleased_units=await contracts.read(SHARES, "unreleased", token_id),
        holders=tuple(holders),
    )
