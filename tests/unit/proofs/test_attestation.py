"""The attester's judgement: what he signs, and everything that he refuses, by record and reason."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chargera.domain.passport import PassportFacts
from chargera.domain.settlement import Rail, RateBounds
from chargera.proofs import canonical
from chargera.proofs.attestation import (
    BatchEvidence,
    ChainFacts,
    Decision,
    EscrowOnChain,
    PassportOnChain,
    Reason,
    SignedLeaf,
    judge_batch,
    leaf_identity,
    onboarding_identification,
)
from chargera.proofs.chain_values import ZERO_ADDRESS, address_text, hex_text
from chargera.proofs.checkpoint import Checkpoint, sign_checkpoint
from chargera.proofs.entry import EntryKind
from chargera.proofs.settlement import Batch, Health, batch_digest, escrow_id
from tests.unit.proofs.sample_batch import C4E, CHAIN_ID, EURO, HUB, address, sign
from tests.unit.proofs.sample_receipt import LOG_KEY, ORIGIN, START, anchor_of, log_verifier
from tests.unit.proofs.sample_settlement import (
    GATEWAY,
    NOW,
    OPERATOR,
    PASSPORT,
    PAYER,
    REGISTERED_AT,
    Network,
    facts,
    policy,
    settlement_trust,
)

TRUST = settlement_trust()
START_S = int(START.timestamp())


def decide(
    network: Network, *indexes: int, chain: ChainFacts | None = None, **changes: Any
) -> Decision:
    batch = network.batch(*indexes, **changes)
    return judge_batch(network.evidence(batch), chain or network.chain(), TRUST)


def two() -> tuple[Network, int, int]:
    """A fiat session and a wallet session of one lane."""
    network = Network()
    return network, network.add_session(0), network.add_session(1, rail=Rail.WALLET)


def refused(decision: Decision, reason: Reason, record: int | None, detail: str = "") -> None:
    assert (decision.reason, decision.record) == (reason, record), decision
    assert detail in decision.detail
    assert not decision.signed


# What is signed ---------------------------------------------------------------------------------


def test_judge__honest_batch_of_both_rails__signed() -> None:
    network, fiat, wallet = two()
    batch = network.batch(fiat, wallet)
    decision = judge_batch(network.evidence(batch), network.chain(), TRUST)
    assert decision == Decision(batch_digest(batch, CHAIN_ID, HUB))
    assert decision.as_dict() == {
        "batch": hex_text(decision.digest),
        "decision": "signed",
        "reason": None,
        "record": None,
    }


def test_judge__bill_settled_in_c4e__signed_at_the_frozen_rate() -> None:
    network = Network()
    index = network.add_session(0, rail=Rail.WALLET, asset=C4E)
    assert decide(network, index).signed
    assert network.batch(index).leaves[0].amount == 60_000_000  # 3 EUR at 20


def test_judge__later_batch_of_a_lane__the_number_before_is_shown() -> None:
    network, _, wallet = two()
    assert decide(network, wallet).signed


def test_judge__same_leaf_signed_before_in_a_dead_batch__signed_again() -> None:
    network, fiat, wallet = two()
    batch = network.batch(fiat, wallet)
    before = [SignedLeaf(EURO, PASSPORT, leaf) for leaf in batch.leaves]
    assert judge_batch(network.evidence(batch), network.chain(), TRUST, before).signed


# What the database may have been made to say ------------------------------------------------------


def altered(network: Network, leaf: int, kind: EntryKind, **how: bytes) -> BatchEvidence:
    """The honest evidence, but that the feed shows another record or salt."""
    batch = network.batch(leaf)
    evidence = network.evidence(batch)
    session = evidence.sessions[leaf]
    shown = []
    for logged in session.records:
        is_it = network.log.entries[logged.index][0].kind is kind
        shown.append(replace(logged, **how) if is_it else logged)  # type: ignore[arg-type]  # bytes
    return replace(evidence, sessions={leaf: replace(session, records=tuple(shown))})


def index_of(network: Network, leaf: int, kind: EntryKind) -> int:
    """The last entry of a kind among a session's."""
    return [i for i in network.sessions[leaf] if network.log.entries[i][0].kind is kind][-1]


ALTERED = {
    "cdr": (EntryKind.CDR, "energy_wh", 9_999),
    "tariff": (EntryKind.TARIFF_PUBLISHED, "version", 2),
    "escrow maximum": (EntryKind.PAYMENT, "maximum", "1"),
    "station": (EntryKind.STATION_REGISTERED, "meter_key", None),
}


@pytest.mark.parametrize("what", ALTERED)
def test_judge__record_altered__refused_by_its_entry(what: str) -> None:
    kind, member, value = ALTERED[what]
    network = Network()
    leaf = network.add_session(0, rail=Rail.WALLET)
    index = index_of(network, leaf, kind)
    record = network.log.entries[index][1]
    forged = canonical.encode(record | {member: value, "note": "forged"})
    decision = judge_batch(altered(network, leaf, kind, record=forged), network.chain(), TRUST)
    refused(decision, Reason.RECORD, index, "record or salt")


def test_judge__salt_altered__refused_by_its_entry() -> None:
    network = Network()
    leaf = network.add_session(0)
    evidence = altered(network, leaf, EntryKind.CDR, salt=bytes(32))
    refused(judge_batch(evidence, network.chain(), TRUST), Reason.RECORD, leaf, "record or salt")


def test_judge__meter_value_altered__refused() -> None:
    network = Network()
    leaf = network.add_session(0)
    rows = network.rows[leaf]
    network.rows[leaf] = (*rows[:-1], rows[-1] | {"register_wh": 99_000})
    refused(decide(network, leaf), Reason.BILL, leaf, "readings")


def test_judge__reading_that_is_none__refused() -> None:
    network = Network()
    leaf = network.add_session(0)
    network.rows[leaf] = (*network.rows[leaf][:-1], 1)
    refused(decide(network, leaf), Reason.RECORD, leaf, "is not a reading")


def test_judge__entry_is_not_in_the_log__refused() -> None:
    network, fiat, _ = two()
    evidence = altered(network, fiat, EntryKind.CDR, path=())
    refused(judge_batch(evidence, network.chain(), TRUST), Reason.RECORD, fiat)


def test_judge__bill_that_does_not_follow__refused() -> None:
    network = Network()
    leaf = network.add_session(0, cdr={"energy_wh": 9_999})
    refused(decide(network, leaf), Reason.BILL, leaf, "energy_wh")


def test_judge__record_of_another_shape__refused() -> None:
    network = Network()
    leaf = network.add_session(0, cdr={"settlement": {}})
    network.assets[leaf] = EURO
    envelope_leaf = network.add_session(1)
    batch = network.batch(envelope_leaf)
    forged = replace(batch, leaves=(replace(batch.leaves[0], log_index=leaf),))
    decision = judge_batch(network.evidence(forged), network.chain(), TRUST)
    refused(decision, Reason.RECORD, leaf, "misstates")


def test_judge__feed_shows_nothing_or_not_all__refused() -> None:
    network, fiat, _ = two()
    evidence = network.evidence(network.batch(fiat))
    decision = judge_batch(replace(evidence, sessions={}), network.chain(), TRUST)
    refused(decision, Reason.MISSING, fiat, "does not show its records")
    for kind in (EntryKind.PAYMENT, EntryKind.PASSPORT_REGISTERED, EntryKind.CDR):
        network, fiat, _ = two()
        network.sessions[fiat].remove(index_of(network, fiat, kind))
        refused(decide(network, fiat), Reason.MISSING, fiat, "does not show its")


def test_judge__station_or_tariff_not_shown_or_out_of_order__refused() -> None:
    for name in ("registered", "published"):
        network, fiat, _ = two()
        network.sessions[fiat].remove(getattr(network, name))
        refused(decide(network, fiat), Reason.MISSING, fiat, "its one")
    network, fiat, _ = two()
    network.sessions[fiat].reverse()
    refused(decide(network, fiat), Reason.MISSING, fiat, "order of the log")


def test_judge__meter_key_on_a_curve_that_cannot_be_checked__refused() -> None:
    # SubjectPublicKeyInfo of a curve that no library here has (secp192k1).
    key = (
        "3046301006072a8648ce3d020106052b8104001f033200"
        "04db4ff10ec057e9ae26b07d0280b7f4341da5d1b1eae06c7d9b2f2f6d9c5628a7"
        "844163d015be86344082aa88d95e2f9d"
    )
    network = Network()
    plate = network.log.entries[network.registered][1] | {"meter_key": key}
    network.registered = network.log.append(EntryKind.STATION_REGISTERED, plate)
    leaf = network.add_session(0)
    network.sessions[leaf].sort()
    refused(decide(network, leaf), Reason.MISSING, leaf, "bill")


# Leaves and numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 2_999_999},
        {"vat": 0},
        {"cdr_no": 7},
        {"end": START_S + 1},
        {"import_wh": 1},
        {"proof_level": 2},
        {"evse": 2},
        {"payer": address(1)},
        {"session_key": bytes(16)},
        {"policy_version": 2},
        {"evidence_digest": bytes(32)},
    ],
)
def test_judge__leaf_is_not_its_cdr__refused(changes: dict[str, Any]) -> None:
    network = Network()
    network.add_session(5)  # so that no session key is zero
    leaf = network.add_session(1, rail=Rail.WALLET)
    batch = network.batch(leaf)
    forged = replace(batch, leaves=(replace(batch.leaves[0], **changes),))
    decision = judge_batch(network.evidence(forged), network.chain(), TRUST)
    refused(decision, Reason.LEAF, leaf, "not what its CDR says")


def test_judge__cdr_is_not_settled_on_chain__refused() -> None:
    network = Network()
    leaf = network.add_session(0)
    batch = network.batch(leaf)
    other = network.add_session(1, cdr={"settlement": None})
    forged = replace(batch, leaves=(replace(batch.leaves[0], log_index=other),))
    tree = network.log.tree()
    forged = replace(forged, checkpoint=tree.root(), tree_size=tree.size)
    decision = judge_batch(network.evidence(forged), network.chain(), TRUST)
    refused(decision, Reason.LEAF, other, "not one that is settled")


def test_judge__amounts_do_not_follow_from_the_bill__refused() -> None:
    network = Network()
    leaf = network.add_session(0, terms={"amount": "3000001"})
    refused(decide(network, leaf), Reason.LEAF, leaf, "not those of its bill")


def test_judge__second_cdr_of_a_session__refused() -> None:
    network = Network()
    leaf = network.add_session(0, cdr={"replaces": "cdr-0"})
    refused(decide(network, leaf), Reason.NUMBER, leaf, "first CDR")


def test_judge__hole_before_a_number__refused() -> None:
    network, _, _ = two()
    leaf = network.add_session(2, terms={"cdr_no": 5})
    refused(decide(network, leaf), Reason.HOLE, leaf, "number 4")


def test_judge__number_before_is_of_another_lane__refused() -> None:
    network = Network()
    network.add_session(0, rail=Rail.WALLET, asset=C4E)
    leaf = network.add_session(1, terms={"cdr_no": 1})
    network.sessions[leaf].insert(3, network.lanes[C4E][0])
    refused(decide(network, leaf), Reason.HOLE, leaf)


def test_judge__cdr_of_another_chain__refused() -> None:
    network = Network()
    leaf = network.add_session(0, terms={"chain_id": CHAIN_ID + 1})
    refused(decide(network, leaf), Reason.CHAIN, leaf, "another chain")


@pytest.mark.parametrize(
    ("payment", "reason", "detail"),
    [
        ({"rail": "wallet"}, Reason.LANE, "another rail"),
        ({"asset": address_text(C4E)}, Reason.LANE, "another asset"),
        ({"gateway": address_text(address(1))}, Reason.GATEWAY, "another gateway"),
    ],
)
def test_judge__payment_says_otherwise__refused(
    payment: dict[str, Any], reason: Reason, detail: str
) -> None:
    network = Network()
    leaf = network.add_session(0, payment=payment)
    refused(decide(network, leaf), reason, index_of(network, leaf, EntryKind.PAYMENT), detail)


def test_judge__wrong_lane__refused() -> None:
    network = Network()
    leaf = network.add_session(0)
    decision = decide(network, leaf, asset=C4E, c4e_rate=10**6)
    assert decision.reason in (Reason.LEAF, Reason.LANE)
    network = Network()
    leaf = network.add_session(
        0, payment={"asset": address_text(address(1))}, terms={"asset": address_text(address(1))}
    )
    refused(decide(network, leaf), Reason.LANE, leaf, "another lane")


def test_meters__a_session_is_metered_by_one_that_was_there_or_recorded_later() -> None:
    first, second, old = (bytes([n]) * 32 for n in (1, 2, 3))
    one = PassportOnChain(facts(meter_key_hash=second), (), ((100, first), (200, second)))
    expected = {
        (old, 99): True,  # the chain has forgotten which one it was
        (old, 100): False,
        (first, 100): True,
        (second, 100): True,
        (first, 199): True,
        (first, 200): False,
        (second, 200): True,
    }
    assert {each: one.has_meter(*each) for each in expected} == expected


# Passports ----------------------------------------------------------------------------------------


def on_chain(
    made: PassportFacts | None = None, operator: str = OPERATOR, since: int = REGISTERED_AT
) -> dict[str, Any]:
    return {"passports": {PASSPORT: PassportOnChain(made or facts(), ((since, operator),))}}


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"passports": {}}, "not registered"),
        (on_chain(facts(registered_at=0)), "not registered"),
        (on_chain(facts(registered_at=START_S + 3_601)), "not registered"),
        (on_chain(facts(retired_at=START_S + 3_599)), "retired"),
        (on_chain(operator="DE*ABC"), "another operator"),
        (on_chain(since=START_S + 3_601), "another operator"),
        (on_chain(facts(meter_key_hash=b"\1" * 32)), "a meter that the passport does not have"),
    ],
)
def test_judge__passport_does_not_earn_at_the_end__refused(
    changes: dict[str, Any], detail: str
) -> None:
    network = Network()
    leaf = network.add_session(0)
    chain = network.chain(**changes)
    refused(decide(network, leaf, chain=chain), Reason.PASSPORT, leaf, detail)


def test_judge__passport_of_another_station__refused() -> None:
    network = Network()
    leaf = network.add_session(0, terms={"passport_id": hex_text(bytes(32))})
    refused(decide(network, leaf), Reason.PASSPORT, leaf, "another passport")
    network = Network()
    plate = network.log.entries[network.registered][1] | {"serial_number": "N2"}
    network.registered = network.log.append(EntryKind.STATION_REGISTERED, plate)
    leaf = network.add_session(0)
    network.sessions[leaf].sort()
    refused(decide(network, leaf), Reason.PASSPORT, leaf, "not the passport of its station")


# Policy, limits ----------------------------------------------------------------------------------


def test_judge__policy_of_another_time__refused() -> None:
    network = Network()
    leaf = network.add_session(0)
    for policies in ((policy(), policy(2, START_S)), (policy(1, START_S + 1),)):
        chain = network.chain(policies=policies)
        decision = decide(network, leaf, chain=chain)
        refused(decision, Reason.POLICY, leaf)
    assert decide(
        network, leaf, chain=network.chain(policies=(policy(), policy(2, START_S + 1)))
    ).signed


def test_judge__over_the_ceiling__refused() -> None:
    network = Network()
    leaf = network.add_session(0)
    # 10 kWh in an hour for 3 EUR: 2 EUR flat and per hour, so 0.1 EUR a kWh and no less.
    assert decide(network, leaf, chain=network.chain(policies=(policy(per_kwh=100_000),))).signed
    chain = network.chain(policies=(policy(per_kwh=99_999),))
    refused(decide(network, leaf, chain=chain), Reason.CEILING, leaf)


def test_judge__more_energy_than_the_charger_can_give__refused() -> None:
    network = Network()
    leaf = network.add_session(0)
    chain = network.chain(**on_chain(facts(rated_w=8_000)))
    refused(decide(network, leaf, chain=chain), Reason.IMPOSSIBLE, leaf, "Wh")


def test_judge__has_not_ended_before_now__refused() -> None:
    network = Network()
    leaf = network.add_session(0)
    chain = network.chain(now=START_S + 3_600)
    refused(decide(network, leaf, chain=chain), Reason.IMPOSSIBLE, leaf, "not before now")
    assert decide(network, leaf, chain=network.chain(now=START_S + 3_601)).signed


def test_judge__asset_does_not_settle_the_currency__refused() -> None:
    network = Network()
    leaf = network.add_session(0)
    one = policy()
    for assets in (
        (replace(one.assets[0], currency="PLN"), one.assets[1]),
        (replace(one.assets[0], currency="PLN"), replace(one.assets[0], asset=address(1))),
    ):
        chain = network.chain(policies=(replace(one, assets=assets),))
        refused(decide(network, leaf, chain=chain), Reason.LANE, leaf, "EUR")


def test_judge__frozen_rate_is_not_the_policys__refused() -> None:
    network = Network()
    leaf = network.add_session(0, terms={"c4e_rate": "1"})
    refused(decide(network, leaf), Reason.RATE, leaf, "not the rate of the policy")


@pytest.mark.parametrize(
    ("bounds", "rate", "signed"),
    [
        (RateBounds(20_000_000, 20_000_000), 20_000_000, True),
        (RateBounds(20_000_000, 20_000_000), 20_000_001, False),
        (RateBounds(21_000_000, 23_000_000), 21_000_000, True),
        (RateBounds(17_000_000, 19_000_000), 19_000_000, True),
        (RateBounds(17_000_000, 19_000_000), 18_000_000, False),
    ],
)
def test_judge__rate_of_the_batch__the_policys_within_bounds(
    bounds: RateBounds, rate: int, *, signed: bool
) -> None:
    network = Network()
    leaf = network.add_session(0)
    decision = decide(network, leaf, chain=network.chain(rate_bounds=bounds), c4e_rate=rate)
    assert decision.signed is signed
    if not signed:
        refused(decision, Reason.RATE, None, "due is")


def test_judge__rate_of_an_asset_that_is_not_listed_or_of_c4e__refused() -> None:
    network = Network()
    leaf = network.add_session(0)
    refused(decide(network, leaf, asset=address(1)), Reason.RATE, None, "does not list")
    chain = network.chain(policies=())
    refused(decide(network, leaf, chain=chain), Reason.RATE, None, "does not list")
    refused(decide(network, leaf, asset=C4E), Reason.RATE, None, "due is 1000000")


# Form and place ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (
            lambda b: {"leaves": (), "fiat_total": 0, "gateway": ZERO_ADDRESS, "passports": ()},
            "no leaves",
        ),
        (lambda b: {"passports": (PASSPORT, PASSPORT)}, "each once"),
        (lambda b: {"passports": (PASSPORT, b"\xff" * 32)}, "without a leaf"),
        (lambda b: {"passports": ()}, "without a leaf"),
        (lambda b: {"leaves": (b.leaves[0], b.leaves[0]), "fiat_total": 6_000_000}, "twice"),
        (lambda b: {"health": (Health(0, 0, 0, 0),)}, "health"),
        (lambda b: {"proposer": ZERO_ADDRESS}, "proposer"),
        (lambda b: {"fiat_total": 1}, "fiat_total"),
        (lambda b: {"gateway": ZERO_ADDRESS}, "gateway"),
    ],
)
def test_judge__not_well_formed__refused(
    change: Callable[[Batch], dict[str, Any]], detail: str
) -> None:
    network = Network()
    leaf = network.add_session(0)
    changes = change(network.batch(leaf))
    refused(decide(network, leaf, **changes), Reason.FORM, None, detail)


def test_judge__another_operator_chain_or_too_late__refused() -> None:
    network = Network()
    leaf = network.add_session(0)
    refused(decide(network, leaf, operator_id="DE*ABC"), Reason.OPERATOR, None)
    refused(decide(network, leaf, valid_until=NOW - 1), Reason.EXPIRED, None)
    assert decide(network, leaf, valid_until=NOW).signed
    evidence = network.evidence(network.batch(leaf))
    assert TRUST.chain is not None
    for chain in (
        None,
        replace(TRUST.chain, chain_id=1),
        replace(TRUST.chain, contracts={}),
    ):
        decision = judge_batch(evidence, network.chain(), replace(TRUST, chain=chain))
        refused(decision, Reason.CHAIN, None)


def test_judge__not_anchored__refused() -> None:
    network = Network()
    leaf = network.add_session(0)
    batch = network.batch(leaf)
    evidence = network.evidence(batch)
    anchor = anchor_of(network.log.note())
    note = network.log.note()
    foreign = sign_checkpoint(Checkpoint(ORIGIN, 1, bytes(32)), log_verifier(), LOG_KEY.sign)
    cases = [
        ({"anchor": None}, "no topic message"),
        ({"anchor": anchor_of(b"another head")}, "no topic message"),
        ({"anchor": replace(anchor, running_hash=bytes(48))}, "running hash"),
        ({"head": note[:-5] + b"AAA=\n"}, ""),
        ({"head": foreign, "anchor": anchor_of(foreign)}, "another head"),
    ]
    for changes, detail in cases:
        decision = judge_batch(replace(evidence, **changes), network.chain(), TRUST)
        refused(decision, Reason.NOT_ANCHORED, None, detail)
    for trust in (replace(TRUST, topics=()), replace(TRUST, topics=None)):
        decision = judge_batch(evidence, network.chain(), trust)
        refused(decision, Reason.NOT_ANCHORED, None, "not trusted")
    assert TRUST.topics is not None
    other_payer = replace(TRUST, topics=(replace(TRUST.topics[0], payer="0.0.9"),))
    refused(judge_batch(evidence, network.chain(), other_payer), Reason.NOT_ANCHORED, None)
    for changes in ({"sequence_number": 2}, {"topic": bytes(20)}, {"tree_size": 1}):
        refused(decide(network, leaf, **changes), Reason.NOT_ANCHORED, None, "names another")


# What bonds are lost for -------------------------------------------------------------------------


def test_judge__sessions_overlap_on_an_evse__refused() -> None:
    network = Network()
    first = network.add_session(0)
    second = network.add_session(1, starts_after_h=1 - 61 / 3_600)
    refused(decide(network, first, second), Reason.OVERLAP, second, f"entry {first}")
    network = Network()
    first = network.add_session(0)
    second = network.add_session(1, starts_after_h=1 - 60 / 3_600)
    assert decide(network, first, second).signed


def test_judge__sessions_share_a_key__refused() -> None:
    network = Network()
    first = network.add_session(0)
    same = {"session_key": hex_text(bytes(16))}
    second = network.add_session(1, terms=same, payment=same)
    refused(decide(network, first, second), Reason.SESSION_KEY, second, f"entry {first}")


def test_judge__against_what_was_signed_before__refused() -> None:
    network, _, wallet = two()
    batch = network.batch(wallet)
    [leaf] = batch.leaves
    cases = [
        (SignedLeaf(EURO, PASSPORT, replace(leaf, amount=1)), Reason.CONTRADICTION),
        (SignedLeaf(EURO, bytes(32), leaf), Reason.CONTRADICTION),
        (SignedLeaf(EURO, PASSPORT, replace(leaf, cdr_no=9, log_index=1)), Reason.SESSION_KEY),
        (SignedLeaf(C4E, PASSPORT, replace(leaf, session_key=bytes(16))), Reason.OVERLAP),
    ]
    for before, reason in cases:
        decision = judge_batch(network.evidence(batch), network.chain(), TRUST, [before])
        refused(decision, reason, wallet)
    elsewhere = SignedLeaf(C4E, bytes(32), replace(leaf, session_key=bytes(16)))
    at_another_evse = SignedLeaf(C4E, PASSPORT, replace(leaf, session_key=bytes(16), evse=2))
    for before in (elsewhere, at_another_evse):
        assert judge_batch(network.evidence(batch), network.chain(), TRUST, [before]).signed


def test_leaf_identity__place_in_the_table_is_nothing__the_passport_is() -> None:
    network, fiat, _ = two()
    [leaf] = network.batch(fiat).leaves
    moved = replace(leaf, passport_index=7)
    assert leaf_identity(leaf, PASSPORT) == leaf_identity(moved, PASSPORT)
    assert leaf_identity(leaf, PASSPORT) != leaf_identity(leaf, bytes(32))


# Cover ------------------------------------------------------------------------------------------


def test_judge__number_settled_already__refused() -> None:
    network, fiat, wallet = two()
    chain = network.chain(settled=frozenset({1}))
    refused(decide(network, fiat, wallet, chain=chain), Reason.SETTLED, wallet)


@pytest.mark.parametrize(
    ("escrow", "detail"),
    [
        (None, "no such escrow"),
        (EscrowOnChain(C4E, 500_000_000, START_S), "no such escrow"),
        (EscrowOnChain(EURO, 3_629_999, START_S), "maximum"),
        (EscrowOnChain(EURO, 500_000_000, START_S + 301), "7 days"),
        (EscrowOnChain(EURO, 500_000_000, START_S - 7 * 86_400 - 1), "7 days"),
    ],
)
def test_judge__escrow_does_not_cover__refused(escrow: EscrowOnChain | None, detail: str) -> None:
    network = Network()
    leaf = network.add_session(0, rail=Rail.WALLET)
    key = escrow_id(address(PAYER), OPERATOR, bytes(16))
    chain = network.chain(escrows={key: escrow} if escrow else {})
    refused(decide(network, leaf, chain=chain), Reason.ESCROW, leaf, detail)


def test_judge__escrow_just_covers__signed() -> None:
    network = Network()
    leaf = network.add_session(0, rail=Rail.WALLET)
    key = escrow_id(address(PAYER), OPERATOR, bytes(16))
    just = EscrowOnChain(EURO, 3_630_000, START_S - 7 * 86_400)
    assert decide(network, leaf, chain=network.chain(escrows={key: just})).signed


def test_judge__station_whose_clock_is_behind_by_five_minutes__signed() -> None:
    network = Network()
    leaf = network.add_session(0, rail=Rail.WALLET)
    key = escrow_id(address(PAYER), OPERATOR, bytes(16))
    later = EscrowOnChain(EURO, 3_630_000, START_S + 300)
    assert decide(network, leaf, chain=network.chain(escrows={key: later})).signed


def test_judge__another_payer_opened_the_escrow__refused() -> None:
    network = Network()
    leaf = network.add_session(0, rail=Rail.WALLET, payment={"payer": address_text(address(1))})
    index = index_of(network, leaf, EntryKind.PAYMENT)
    refused(decide(network, leaf), Reason.ESCROW, index, "another payer")


def test_judge__gateway_has_not_prepaid_or_signed__refused() -> None:
    network = Network()
    leaf = network.add_session(0)
    chain = network.chain(gateway_free=2_999_999)
    refused(decide(network, leaf, chain=chain), Reason.GATEWAY, None, "not prepaid 3000000")
    assert decide(network, leaf, chain=network.chain(gateway_free=3_000_000)).signed
    evidence = network.evidence(network.batch(leaf))
    digest = batch_digest(evidence.batch, CHAIN_ID, HUB)
    for signature, detail in (
        (None, "65 bytes"),
        (sign(1, digest), "not signed by the gateway"),
        (sign(GATEWAY, bytes(32)), "not signed by the gateway"),
    ):
        unsigned = replace(evidence, gateway_signature=signature)
        refused(judge_batch(unsigned, network.chain(), TRUST), Reason.GATEWAY, None, detail)


def test_judge__bond_does_not_cover_the_wallets__refused() -> None:
    network, _, wallet = two()
    share = 3_630_000 * 20 // 2
    chain = network.chain(bond_left=share - 1)
    refused(decide(network, wallet, chain=chain), Reason.BOND, None, str(share))
    assert decide(network, wallet, chain=network.chain(bond_left=share)).signed


# Onboarding -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nonce", "text"),
    [
        (b"0123456789ABCDEF0123".ljust(32, b"\0"), "0123456789ABCDEF0123"),
        (b"a", "a"),
        (b"x" * 21, "78" * 10),
        (bytes(32), "00" * 10),
        (bytes(range(32)), "00010203040506070809"),
    ],
)
def test_onboarding_identification__twenty_characters_at_most(nonce: bytes, text: str) -> None:
    assert onboarding_identification(nonce) == text
