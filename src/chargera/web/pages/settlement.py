"""Settlement: lanes and their holes, the policy in force, and each batch down to who got what."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from chargera.app import settlement_views
from chargera.app.chain_pages import (
    ORDINARY_CONTEST_S,
    ORDINARY_WINDOW_S,
    BatchOnChain,
    LeafPayout,
    Payouts,
    attesters_of,
    batch_on_chain,
    payouts_of,
)
from chargera.app.settlement import BatchRow, LaneState
from chargera.app.settlement_views import LaneRun
from chargera.domain.policy import PolicyVersion
from chargera.domain.settlement import RATE_UNIT
from chargera.proofs.chain_values import address_text
from chargera.web.pages.facts import Fact, exact
from chargera.web.pages.on_chain import ChainVisit, ChainWords, on_chain
from chargera.web.pages.rendering import View

RUNS_SHOWN = 40
BATCHES_A_PAGE = 48
STRIP = 1000
"""Width of the strip of a lane, in units of its drawing."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a lane's numbers, as it is drawn."""

    of: LaneRun
    is_hole: bool
    """Not settled, though a later number is."""
    x: int
    width: int
    """Where it stands on the strip."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane: how far it is, and what of it is not settled."""

    asset: str
    numbers: int
    settled: int
    runs: tuple[Run, ...]

    @property
    def open_runs(self) -> Sequence[Run]:
        """What is not settled, newest first."""
        return [run for run in reversed(self.runs) if run.of.state != LaneState.SETTLED]

    @property
    def holes(self) -> int:
        """How many numbers are not settled below the last settled one."""
        return sum(run.of.numbers for run in self.runs if run.is_hole)


@on_chain
async def show_settlement(chain: ChainVisit) -> Response:
    """Answer `/settlement`; `?before=digest` lists the batches before one."""
    words = await chain.words()
    now = chain.site.services.clock.now()
    policy = chain.terms.policy_at(int(now.timestamp())) or chain.terms.latest()
    before = chain.request.query_params.get("before")
    batches = await settlement_views.batches(
        chain.work, every=True, limit=BATCHES_A_PAGE, before=before
    )
    older = None
    if len(batches) == BATCHES_A_PAGE:
        older = f"/settlement?before={batches[-1].batch}#batches-title"
    values = {
        "words": words,
        "next_page": older,
        "lanes": lanes_of(await chain.work.settlement.lane_runs()),
        "batches": batches,
        "policy": policy,
        "facts": policy_facts(chain.view, words, policy),
        "shortened": shortened(policy),
        "operator_id": chain.terms.operator_id,
        "runs_shown": RUNS_SHOWN,
    }
    return chain.site.page(chain.visit, "settlement.html", "settlement", values)


def shortened(policy: PolicyVersion) -> list[str]:
    """Return which periods are shorter than they ordinarily are: for a demonstration."""
    terms = policy.parameters
    ordinary = {
        "settlement_window": (terms.settlement_window_s, ORDINARY_WINDOW_S),
        "contest_period": (terms.contest_period_s, ORDINARY_CONTEST_S),
    }
    return [key for key, (is_s, usual_s) in ordinary.items() if is_s < usual_s]


def policy_facts(view: View, words: ChainWords, policy: PolicyVersion) -> list[Fact]:
    """Return a policy version's fees and periods."""
    write, terms = view.formats, policy.parameters
    since = datetime.fromtimestamp(policy.holds_from, UTC)
    return [
        Fact("policy_version", write.number(policy.number)),
        Fact("in_force_since", write.time(since)),
        Fact("fee_bps", words.share(terms.fees.fee_bps)),
        Fact("ops_bps", words.share(terms.fees.ops_bps)),
        Fact("reserve_bps", words.share(terms.fees.reserve_bps)),
        Fact("settlement_window", write.period(terms.settlement_window_s)),
        Fact("contest_period", write.period(terms.contest_period_s)),
        Fact("refund_ask_after", write.period(terms.refund_ask_after_s)),
        Fact("refund_pay_after", write.period(terms.refund_pay_after_s)),
        Fact("ruling_timeout", write.period(terms.ruling_timeout_s)),
        Fact("dispute_bond", words.c4e(terms.dispute_bond)),
    ]


def lanes_of(runs: Iterable[LaneRun]) -> list[Lane]:
    """Return the lanes of numbered CDRs."""
    by_asset: dict[str, list[LaneRun]] = {}
    for run in runs:
        by_asset.setdefault(run.asset, []).append(run)
    return [_lane(asset, found) for asset, found in by_asset.items()]


def _lane(asset: str, runs: Sequence[LaneRun]) -> Lane:
    settled = [run for run in runs if run.state == LaneState.SETTLED]
    last_settled = max((run.last for run in settled), default=-1)
    numbers = sum(run.numbers for run in runs)
    drawn, place = [], 0
    for run in runs:
        x, place = place * STRIP // numbers, place + run.numbers
        is_hole = run.state != LaneState.SETTLED and run.first < last_settled
        drawn.append(Run(run, is_hole, x, place * STRIP // numbers - x))
    return Lane(asset, numbers, sum(run.numbers for run in settled), tuple(drawn))


# One batch --------------------------------------------------------------------------------------


@on_chain
async def show_batch(chain: ChainVisit) -> Response:
    """Answer `/settlement/{digest}`; its public file stands beside it with `.json`."""
    digest = chain.request.path_params["digest"].lower()
    shown = await settlement_views.batch(chain.work, chain.visit.viewer, digest)
    row = await chain.work.settlement.batch(digest)
    words = await chain.words()
    stored = await batch_on_chain(chain.contracts, row)
    payouts = await payouts_of(chain.contracts, chain.terms, row, await registered(chain, row))
    own = chain.settlement.own_attesters
    values = {
        "shown": shown,
        "words": words,
        "paid_in": words.assets[row.asset],
        "stored": stored,
        "facts": batch_facts(chain.view, words, row),
        "answers": answers_of(shown, (await attesters_of(chain.contracts, own)).attesters),
        "payouts": payouts,
        "leaves": leaf_rows(payouts, shown["leaves"]),
        "sums": sums_of(payouts),
        "agrees": agrees(payouts, stored) if row.state == "settled" else None,
        "now": chain.site.services.clock.now(),
    }
    return chain.site.page(chain.visit, "batch.html", "settlement", values)


async def registered(chain: ChainVisit, row: BatchRow) -> dict[str, int]:
    """Return the commissions that a batch's passports were registered with, basis points."""
    found = [await chain.work.passports.by_id(name) for name in row.document["passports"]]
    return {each.passport_id: each.request["commission_bps"] for each in found if each is not None}


def batch_facts(view: View, words: ChainWords, row: BatchRow) -> list[Fact]:
    """Return what is signed of a batch besides its leaves, and where it stands on chain."""
    t, write, said = view.texts, view.formats, row.document
    topic, number = said["topic"], said["sequence_number"]
    facts = [
        exact("digest", row.digest),
        Fact("asset", f"{words.assets[row.asset].symbol}", row.asset),
        exact("operator_id", row.operator_id),
        exact("root_hash", said["checkpoint"]),
        Fact("tree_size", write.number(said["tree_size"]), href=f"/log#anchor-{said['tree_size']}"),
        Fact(
            "anchored_as",
            f"{topic} #{write.number(number)}",
            href=f"/api/v1/topics/{topic}/messages/{number}",
        ),
        Fact(
            "c4e_rate",
            t(
                "settlement.rate",
                rate=words.c4e(int(said["c4e_rate"])),
                amount=words.amount(row.asset, RATE_UNIT),
            ),
        ),
        Fact("formed_at", write.time(row.formed_at)),
        Fact("valid_until", write.time(datetime.fromtimestamp(said["valid_until"], UTC))),
        exact("proposer", said["proposer"], href=f"/holder/{said['proposer']}"),
    ]
    if int(said["fiat_total"]):
        facts.append(exact("gateway", said["gateway"]))
        facts.append(Fact("fiat_total", words.amount(row.asset, int(said["fiat_total"]))))
    for key, value in (
        ("propose_transaction", row.propose_transaction_hash),
        ("settle_transaction", row.settle_transaction_hash),
    ):
        if value is not None:
            facts.append(exact(key, value))
    for key, at in (("proposed_at", row.proposed_at), ("window_ends_at", row.window_ends_at)):
        if at is not None:
            facts.append(Fact(key, write.time(at)))
    return facts


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """What one attester answered; `decision` waiting: nothing yet."""

    index: int
    address: str
    is_own: bool
    decision: str
    record: int | None
    reason: str | None


def answers_of(shown: Mapping[str, Any], attesters: Sequence[Any]) -> list[ShownAnswer]:
    """Return the answer of each attester, in order of the registry."""
    given = {each["index"]: each for each in shown["attesters"]}
    none = {"decision": "waiting", "record": None, "reason": None}
    found = []
    for each in attesters:
        answer = given.get(each.index, none)
        found.append(
            ShownAnswer(
                each.index,
                each.address,
                each.is_own,
                answer["decision"],
                answer["record"],
                answer["reason"],
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class LeafRow:
    """A leaf with its times and its session, if the viewer may see that."""

    payout: LeafPayout
    payer: str
    started_at: datetime
    ended_at: datetime
    session_id: str | None


def leaf_rows(payouts: Payouts, shown: Sequence[Mapping[str, Any]]) -> list[LeafRow]:
    """Return the leaves as the page lists them."""
    return [
        LeafRow(
            each,
            address_text(each.leaf.payer),
            datetime.fromtimestamp(each.leaf.start, UTC),
            datetime.fromtimestamp(each.leaf.end, UTC),
            said["session_id"],
        )
        for each, said in zip(payouts.leaves, shown, strict=True)
    ]


def sums_of(payouts: Payouts) -> list[tuple[str, int]]:
    """Return what a batch pays in all, by the name of the part; they sum to net and VAT."""
    total, ops = payouts.total, payouts.ops
    signers = total.ops - ops.proposer - ops.caller
    return [
        ("holders", total.holders),
        ("host", total.host),
        ("vat", payouts.vat),
        ("fee", total.fee),
        ("reserve", total.reserve),
        ("signers", signers),
        ("proposer", ops.proposer),
        ("caller", ops.caller),
    ]


def agrees(payouts: Payouts, stored: BatchOnChain) -> bool:
    """Say whether the holders of every passport got what the recomputation says."""
    return {k: v for k, v in payouts.to_holders.items() if v} == {
        k: v for k, v in stored.notified.items() if v
    }
