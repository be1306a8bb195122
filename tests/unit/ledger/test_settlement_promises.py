"""What a quorum of liars can take, what lying costs, and that honest signers lose nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("pyrevm")

from chargera.domain.passport import CustodyKind
from chargera.domain.settlement import Rail, energy_limit_wh  # needs pyrevm
from chargera.proofs.chain_values import ZERO_ADDRESS, operator_word
from chargera.proofs.passport import custody_digest, custody_value, passport_domain
from chargera.proofs.settlement import (
    Attestation,
    Batch,
    Leaf,
    abi_attestation,
    abi_batch,
    open_digest,
)
from tests.reference_model.policy import DAY, version_of
from tests.reference_model.solidity import (
    BOND,
    CHAIN_ID,
    OWNER,
    abi_assets,
    abi_parameters,
    account,
    sign,
)
from tests.reference_model.twin import (
    ATTESTERS,
    BENEFICIARIES,
    GATEWAYS,
    HOSTS,
    PAYERS,
    PEOPLE,
    RICH,
    Twin,
)

OPERATOR = "NL*C4E"
COLLUDERS = (0, 1, 2)
HONEST = 3
EVERYBODY = (*COLLUDERS, HONEST)
SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(
    max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def twin() -> Iterator[Twin]:
    one = Twin()
    yield one
    one.close()


def open_escrow(twin: Twin, payer: int, key: bytes, maximum: int, asset: bytes) -> None:
    digest = open_digest(
        OPERATOR, key, asset, maximum, twin.now, chain_id=CHAIN_ID, hub=twin.hub_address
    )
    who = account(payer)
    error = twin.do(
        "open",
        lambda: twin.hub.open(who, OPERATOR, key, asset, maximum, twin.now, who, twin.now),
        lambda: twin.send(
            who,
            "SettlementHub",
            "open",
            who,
            operator_word(OPERATOR),
            key,
            asset,
            maximum,
            twin.now,
            sign(payer, digest),
        ),
    )
    assert error is None


def leaf_at(twin: Twin, number: int, **changes: object) -> Leaf:
    """A leaf that can be: an hour at 10 kW, each number in hours of its own."""
    end = twin.now - 3_600 - 2 * 3_600 * number
    one = Leaf(
        evidence_digest=number.to_bytes(32, "big"),
        payer=ZERO_ADDRESS,
        cdr_no=number,
        log_index=1_000 + number,
        amount=3_000_000,
        vat=630_000,
        session_key=(10_000 + number).to_bytes(16, "big"),
        start=end - 3_600,
        end=end,
        import_wh=10_000,
        export_wh=0,
        passport_index=0,
        evse=1,
        rail=Rail.FIAT,
        proof_level=0,
        policy_version=twin.policy.latest,
    )
    return replace(one, **changes)  # type: ignore[arg-type]  # members by name


def batch_of(twin: Twin, leaves: list[Leaf], **changes: object) -> Batch:
    fiat = [leaf.amount for leaf in leaves if leaf.rail is Rail.FIAT]
    one = Batch(
        operator_id=OPERATOR,
        asset=twin.euro,
        checkpoint=bytes(32),
        tree_size=1,
        topic=bytes(20),
        sequence_number=1,
        valid_until=twin.now + DAY,
        proposer=account(PEOPLE[0]),
        c4e_rate=twin.hub.rate_bounds(OPERATOR, twin.euro, twin.now)[0],
        gateway=account(GATEWAYS[0]) if fiat else ZERO_ADDRESS,
        fiat_total=sum(fiat),
        passports=(twin.tokens[0],),
        leaves=tuple(leaves),
    )
    return replace(one, **changes)  # type: ignore[arg-type]  # members by name


def bonds(twin: Twin) -> list[int]:
    return [twin.sol.read("AttesterRegistry", "bondOf", i) for i in range(len(ATTESTERS))]


def prepaid(twin: Twin, amount: int = 10**12) -> None:
    gateway = account(GATEWAYS[0])
    twin.do(
        "depositGateway",
        lambda: twin.hub.deposit(gateway, twin.euro, amount),
        lambda: twin.send(gateway, "SettlementHub", "depositGateway", twin.euro, amount),
    )


def challenge(twin: Twin, batch: Batch, leaf: int, other: Batch, other_leaf: int) -> str | None:
    caller = account(PEOPLE[2])
    digests = twin.digest(batch), twin.digest(other)
    return twin.do(
        "challengeOverlap",
        lambda: twin.hub.challenge_overlap(
            digests[0], leaf, digests[1], other_leaf, caller, twin.now
        ),
        lambda: twin.send(
            caller,
            "SettlementHub",
            "challengeOverlap",
            abi_batch(batch),
            leaf,
            abi_batch(other),
            other_leaf,
        ),
    )


def challenge_impossible(twin: Twin, batch: Batch, leaf: int) -> str | None:
    caller, digest = account(PEOPLE[2]), twin.digest(batch)
    return twin.do(
        "challengeImpossible",
        lambda: twin.hub.challenge_impossible(digest, leaf, caller, twin.now),
        lambda: twin.send(caller, "SettlementHub", "challengeImpossible", abi_batch(batch), leaf),
    )


def show_equivocation(
    twin: Twin, index: int, a: Batch, leaf_a: int, b: Batch, leaf_b: int, *, signer: int
) -> str | None:
    """Accuse `index` with signatures that the attester `signer` really made."""
    caller, key = account(PEOPLE[2]), ATTESTERS[signer]
    return twin.do(
        "slashEquivocation",
        lambda: twin.registry.slash_equivocation(
            index, a, leaf_a, account(key), b, leaf_b, account(key), caller
        ),
        lambda: twin.send(
            caller,
            "AttesterRegistry",
            "slashEquivocation",
            index,
            abi_batch(a),
            leaf_a,
            sign(key, twin.digest(a)),
            abi_batch(b),
            leaf_b,
            sign(key, twin.digest(b)),
        ),
    )


# What a lie costs --------------------------------------------------------------------------------


def test_challenge_a__two_leaves_for_one_number__he_alone_loses_all_and_the_batch_dies(
    twin: Twin,
) -> None:
    prepaid(twin)
    first = batch_of(twin, [leaf_at(twin, 0)])
    second = batch_of(twin, [leaf_at(twin, 0, amount=4_000_000)])
    assert twin.propose(first, COLLUDERS, gateway_key=GATEWAYS[0]) is None
    before = twin.sol.read("C4EToken", "balanceOf", account(PEOPLE[2]))
    supply = twin.sol.read("C4EToken", "totalSupply")
    assert show_equivocation(twin, 0, first, 0, second, 0, signer=0) is None
    assert bonds(twin) == [0, BOND, BOND, BOND]
    assert twin.sol.read("C4EToken", "balanceOf", account(PEOPLE[2])) == before + BOND // 4
    assert twin.sol.read("C4EToken", "totalSupply") == supply - BOND * 3 // 4
    error = twin.do(
        "killWithoutQuorum",
        lambda: twin.hub.kill_without_quorum(twin.digest(first)),
        lambda: twin.send(account(71), "SettlementHub", "killWithoutQuorum", abi_batch(first)),
    )
    assert error is None
    twin.check_all()


def test_challenge_a__same_leaf_in_two_batches_with_other_tables__nothing(twin: Twin) -> None:
    leaf = leaf_at(twin, 0)
    one = batch_of(twin, [leaf])
    other = batch_of(
        twin,
        [replace(leaf, passport_index=1)],
        passports=(twin.tokens[1], twin.tokens[0]),
        sequence_number=2,
    )
    assert show_equivocation(twin, 0, one, 0, other, 0, signer=0) == "NoEquivocation"


def test_challenge_b__only_who_signed_both__loses_a_fifth(twin: Twin) -> None:
    prepaid(twin)
    first = batch_of(twin, [leaf_at(twin, 0)])
    same_key = leaf_at(twin, 1, session_key=first.leaves[0].session_key)
    second = batch_of(twin, [same_key])
    assert twin.propose(first, (0, 1, 2), gateway_key=GATEWAYS[0]) is None
    assert twin.propose(second, (1, 2, 3), gateway_key=GATEWAYS[0]) is None
    assert challenge(twin, first, 0, second, 0) == "NoFault"  # it came first
    assert challenge(twin, second, 0, first, 0) is None
    assert bonds(twin) == [BOND, BOND * 4 // 5, BOND * 4 // 5, BOND]
    twin.check_all()


@pytest.mark.parametrize(("seconds", "error"), [(60, "NoFault"), (61, None)])
def test_challenge_b__overlap_on_an_evse__over_a_minute(
    twin: Twin, seconds: int, error: str | None
) -> None:
    prepaid(twin)
    first = leaf_at(twin, 0)
    second = leaf_at(twin, 1, start=first.end - seconds, end=first.end + 600)
    batch = batch_of(twin, [first, second])
    assert twin.propose(batch, COLLUDERS, gateway_key=GATEWAYS[0]) is None
    assert challenge(twin, batch, 1, batch, 0) == error
    lost = BOND // 5 if error is None else 0
    assert bonds(twin) == [BOND - lost] * 3 + [BOND]


@pytest.mark.parametrize(("leaf", "other"), [(0, 1), (1, 0)])
def test_challenge_b__two_bills_of_one_entry__each_is_the_later(
    twin: Twin, leaf: int, other: int
) -> None:
    prepaid(twin)
    first = leaf_at(twin, 0)
    second = leaf_at(twin, 1, log_index=first.log_index, session_key=first.session_key)
    batch = batch_of(twin, [first, second])
    assert twin.propose(batch, COLLUDERS, gateway_key=GATEWAYS[0]) is None
    assert challenge(twin, batch, leaf, batch, leaf) == "NoFault"
    assert challenge(twin, batch, leaf, batch, other) is None
    assert bonds(twin) == [BOND - BOND // 5] * 3 + [BOND]


IMPOSSIBLE = {
    "ends before it starts": {"start": 2_000_000_000},
    "more energy than the charger gives": {"import_wh": energy_limit_wh(22_000, 3_600) + 1},
    "before its passport": {"start": 1_800_000_000, "end": 1_800_000_100},
    "another policy": {"policy_version": 2},
    "over the ceiling": {"amount": 2 * 10 * 10**6 + 10 * 10**6 + 5 * 10**6 + 1},
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_challenge_c__impossible_leaf__each_signer_loses_a_fifth(twin: Twin, what: str) -> None:
    prepaid(twin)
    twin.advance(2 * DAY)
    later = version_of(2, twin.now, twin.c4e, twin.euro)
    twin.policy.append(later, twin.now)
    twin.send(
        OWNER,
        "NetworkPolicy",
        "append",
        later.holds_from,
        abi_parameters(later.parameters),
        abi_assets(later),
    )
    good = leaf_at(twin, 1, policy_version=1)
    bad = leaf_at(twin, 2, **({"policy_version": 1} | IMPOSSIBLE[what]))
    batch = batch_of(twin, [good, bad])
    assert twin.propose(batch, COLLUDERS, gateway_key=GATEWAYS[0]) is None
    assert challenge_impossible(twin, batch, 0) == "NoFault"
    assert challenge_impossible(twin, batch, 1) is None
    assert bonds(twin) == [BOND * 4 // 5] * 3 + [BOND]
    assert twin.settle(batch, PEOPLE[1]) == "WrongState"
    twin.check_all()


def test_challenge_c__ended_after_the_proposal_or_at_another_operators__killed(twin: Twin) -> None:
    prepaid(twin)
    future = leaf_at(twin, 0, start=twin.now - 60, end=twin.now + 1)
    batch = batch_of(twin, [future])
    assert twin.propose(batch, COLLUDERS, gateway_key=GATEWAYS[0]) is None
    assert challenge_impossible(twin, batch, 0) is None
    foreign = batch_of(twin, [leaf_at(twin, 1)], passports=(twin.tokens[4],))
    assert twin.propose(foreign, COLLUDERS, gateway_key=GATEWAYS[0]) is None
    assert challenge_impossible(twin, foreign, 0) is None


# What liars can take ------------------------------------------------------------------------------


@given(SEEDS)
@FEW
def test_colluding_quorum__takes_at_most_open_maxima_and_signed_totals(seed: int) -> None:
    r, twin = Random(seed), Twin()
    try:
        escrowed = dict.fromkeys(PAYERS, 0)
        keys = []
        for place in range(6):
            payer, maximum = r.choice(PAYERS), r.choice((1, 10**6, 10**8))
            key = place.to_bytes(16, "big")
            open_escrow(twin, payer, key, maximum, twin.euro)
            escrowed[payer] += maximum
            keys.append((payer, key))
        for gateway in map(account, GATEWAYS):
            twin.hub.deposit(gateway, twin.euro, 10**9)
            twin.send(gateway, "SettlementHub", "depositGateway", twin.euro, 10**9)
        signed_total, batches = 0, []
        for place in range(r.randrange(2, 7)):
            batch = forged(r, twin, keys, place)
            gateway_signs = r.random() < 0.3
            signer = None
            if batch.gateway != ZERO_ADDRESS:
                signer = GATEWAYS[0] if gateway_signs else r.choice(ATTESTERS)
            if twin.propose(batch, COLLUDERS, gateway_key=signer) is None:
                signed_total += batch.fiat_total
                batches.append(batch)
        twin.advance(DAY + 1)
        for batch in batches:
            twin.settle(batch, PEOPLE[1])
        twin.check_all()
        check_losses(twin, escrowed, signed_total)
    finally:
        twin.close()


def forged(r: Random, twin: Twin, keys: list[tuple[int, bytes]], place: int) -> Batch:
    """Whatever liars may write: any payer, any key, any amount, twice the same."""
    leaves = []
    for n in range(r.randrange(1, 5)):
        payer, key = r.choice(keys)
        if r.random() < 0.3:
            payer = r.choice((*PAYERS, *HOSTS, *GATEWAYS))  # who opened nothing of that key
        wallet = r.random() < 0.7
        leaves.append(
            leaf_at(
                twin,
                10 * place + n,
                amount=r.choice((1, 10**6, 9 * 10**7, 10**8, 2**63)),
                vat=r.choice((0, 1, 10**7)),
                payer=account(payer) if wallet else ZERO_ADDRESS,
                session_key=key,
                rail=Rail.WALLET if wallet else Rail.FIAT,
            )
        )
    return batch_of(twin, leaves, passports=(r.choice(twin.tokens),))


def check_losses(twin: Twin, escrowed: dict[int, int], signed_total: int) -> None:
    read = twin.sol.read
    for payer, maximum in escrowed.items():
        # Outside his escrows not one unit has moved, and what is over comes back to him.
        assert read("TestEuro", "balanceOf", account(payer)) == RICH - maximum
        assert read("C4EToken", "balanceOf", account(payer)) == RICH
        back = read("SettlementHub", "withdrawable", account(payer), twin.euro)
        assert back <= maximum
    for gateway in map(account, GATEWAYS):
        assert read("TestEuro", "balanceOf", gateway) == RICH - 10**9
    free, locked = read("SettlementHub", "gatewayOf", account(GATEWAYS[0]), twin.euro)
    assert 10**9 - free - locked <= signed_total
    assert read("SettlementHub", "gatewayOf", account(GATEWAYS[1]), twin.euro) == (10**9, 0)


# Honest signers ---------------------------------------------------------------------------------


@dataclass
class Honest:
    """What the honest attester has signed: true leaves only, each number always the same."""

    twin: Twin
    truth: list[tuple[Leaf, bytes]] = field(default_factory=list)
    signed: list[Batch] = field(default_factory=list)
    forged: list[Batch] = field(default_factory=list)

    def happen(self, r: Random) -> None:
        """A session happens at some charger of his operator, after all others there."""
        twin = self.twin
        token = r.choice(
            [t for t, p in twin.passports.items() if p.facts.operator_id == OPERATOR] or [b""]
        )
        if not token or twin.passports[token].facts.retired_at:
            return
        number = len(self.truth)
        twin.advance(3_700)
        leaf = replace(
            leaf_at(twin, number),
            start=twin.now - 3_601,
            end=twin.now - 1,  # nobody honest signs for this very second
            amount=r.choice((0, 1, 3_000_001)),
            evse=r.choice((1, 2)),
            policy_version=twin.policy.at(twin.now - 3_601).number,
        )
        self.truth.append((leaf, token))

    def attest(self, r: Random) -> None:
        """He and all others sign some true leaves, perhaps for the second time."""
        if not self.truth:
            return
        some = r.sample(self.truth, min(len(self.truth), r.randrange(1, 4)))
        table = sorted({token for _, token in some})
        leaves = [replace(leaf, passport_index=table.index(token)) for leaf, token in some]
        batch = batch_of(self.twin, leaves, passports=tuple(table))
        self.twin.propose(batch, EVERYBODY, gateway_key=GATEWAYS[0])
        self.signed.append(batch)  # a signature is in the world, proposed or not

    def forge(self, r: Random) -> None:
        """The others sign what stands against something true."""
        if not self.truth:
            return
        leaf, token = r.choice(self.truth)
        change = r.choice(
            (
                {"amount": leaf.amount + 1},
                {"log_index": leaf.log_index - 500, "cdr_no": leaf.cdr_no + 5_000},
                {"log_index": leaf.log_index + 500, "cdr_no": leaf.cdr_no + 5_000},
                {"session_key": bytes(16), "log_index": 0, "cdr_no": leaf.cdr_no + 6_000},
                {"import_wh": 10**9},
            )
        )
        batch = batch_of(self.twin, [replace(leaf, **change)], passports=(token,))
        if self.twin.propose(batch, COLLUDERS, gateway_key=GATEWAYS[0]) is None:
            self.forged.append(batch)

    def accuse(self, r: Random) -> None:
        """Whatever can be held against what he signed."""
        if not self.signed:
            return
        batch = r.choice(self.signed)
        other = r.choice([*self.signed, *self.forged])
        leaf, other_leaf = r.randrange(len(batch.leaves)), r.randrange(len(other.leaves))
        match r.randrange(4):
            case 0:
                challenge_impossible(self.twin, batch, leaf)
            case 1:
                challenge(self.twin, batch, leaf, other, other_leaf)
            case 2:
                challenge(self.twin, other, other_leaf, batch, leaf)
            case _:
                accomplice = HONEST if other in self.signed else r.choice(COLLUDERS)
                args = (batch, leaf, other, other_leaf)
                show_equivocation(self.twin, HONEST, *args, signer=accomplice)

    def change(self, r: Random) -> None:
        """Later events: what was true when he signed need not be true any more."""
        twin = self.twin
        token = r.choice(twin.tokens)
        passport = twin.passports[token]
        match r.randrange(5):
            case 3 if not passport.facts.retired_at and r.random() < 0.3:
                change_operator(twin, token)
            case 0 if not passport.facts.retired_at and r.random() < 0.4:
                passport.retire(passport.facts.host, twin.now)
                host = passport.facts.host
                twin.send(host, "ChargerPassport", "retire", token, bytes(32), 1)
            case 1 if twin.policy.latest < 5:
                version = version_of(
                    twin.policy.latest + 1, twin.now, twin.c4e, twin.euro, fee_bps=100
                )
                twin.policy.append(version, twin.now)
                twin.send(
                    OWNER,
                    "NetworkPolicy",
                    "append",
                    twin.now,
                    abi_parameters(version.parameters),
                    abi_assets(version),
                )
                twin.advance(1)
            case 2:
                twin.advance(DAY + 1)
            case _:
                pending = [b for b in self.signed if twin.digest(b) in twin.hub.proposals]
                if pending:
                    twin.settle(r.choice(pending), PEOPLE[1])


def change_operator(twin: Twin, token: bytes) -> None:
    """The charger goes to the other operator; everybody signs that, the honest one too."""
    passport = twin.passports[token]
    operator = "DE*ABC" if passport.facts.operator_id == OPERATOR else OPERATOR
    kind, value = CustodyKind.OPERATOR, custody_value(CustodyKind.OPERATOR, operator)
    domain = passport_domain(CHAIN_ID, twin.sol.addresses["ChargerPassport"])
    digest = custody_digest(token, passport.custody, kind, bytes(32), 7, value, domain=domain)
    host = next(n for n in HOSTS if account(n) == passport.facts.host)
    active = [i for i, member in enumerate(twin.registry.members) if member.is_active]
    attestation = Attestation.of({i: sign(ATTESTERS[i], digest) for i in active})
    if len(active) >= twin.registry.quorum:
        passport.record(kind, value, twin.now)
        twin.send(
            account(PEOPLE[0]),
            "ChargerPassport",
            "record",
            token,
            kind.number,
            bytes(32),
            7,
            value,
            abi_attestation(attestation),
            sign(host, digest),
        )


@given(SEEDS)
@FEW
def test_honest_signer__loses_nothing_whatever_happens_later(seed: int) -> None:
    r, twin = Random(seed), Twin()
    try:
        prepaid(twin)
        honest = Honest(twin)
        steps = (honest.happen, honest.attest, honest.attest, honest.forge, honest.accuse)
        for _ in range(60):
            r.choice((*steps, honest.accuse, honest.change))(r)
            assert bonds(twin)[HONEST] == BOND
        twin.check_all()
    finally:
        twin.close()


def test_accounts__are_all_different() -> None:
    numbers = (*ATTESTERS, *BENEFICIARIES, *PAYERS, *HOSTS, *GATEWAYS, *PEOPLE)
    assert len({account(n) for n in numbers}) == len(numbers)
