"""Random histories of the network, for the model and the contracts at once.

Each rule draws one seed and chooses from what is there, mostly what should work and sometimes what
must not. After each step the sums are compared, now and then every number.
"""

from collections import Counter
from dataclasses import dataclass, replace
from random import Random
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chargera.domain.passport import CustodyKind
from chargera.domain.settlement import RATE_UNIT, BatchState, Rail
from chargera.proofs.chain_values import ZERO_ADDRESS, operator_word
from chargera.proofs.eip712 import (
    Domain,
    address_word,
    struct_hash,
    typed_digest,
    uint_word,
)
from chargera.proofs.passport import custody_digest, custody_value, passport_domain
from chargera.proofs.settlement import (
    Attestation,
    Batch,
    Leaf,
    abi_attestation,
    abi_batch,
    lower_digest,
    open_digest,
)
from tests.reference_model.hub import Proposal
from tests.reference_model.policy import DAY, version_of
from tests.reference_model.solidity import (
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
    OPERATORS,
    PAYERS,
    PEOPLE,
    RESERVE,
    RESERVE_BENEFICIARY,
    Twin,
)

SEEDS = st.integers(0, 2**32 - 1)
GOVERNOR = 73
MARKET = bytes.fromhex("3a" * 20)
CHECK_EVERY = 40
LATE = 2**40 - 1


@dataclass
class Opened:
    """An escrow that was opened: by whom, for which operator and session, in which asset."""

    payer: int
    operator: str
    key: bytes
    asset: bytes
    maximum: int
    opened_at: int


class SettlementHistory(RuleBasedStateMachine):
    """The network as it may come to be."""

    count: ClassVar[Counter[str]] = Counter()
    operations: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.twin = Twin(self.count)
        self.escrows: list[Opened] = []
        self.batches: list[Batch] = []
        self.keys = 0
        self.log_index = 0
        self.steps = 0
        for gateway in map(account, GATEWAYS):
            for asset in self.twin.assets:
                self._deposit(gateway, asset, 10**12)

    def teardown(self) -> None:
        try:
            self.twin.check_all()
        finally:
            self.twin.close()

    @invariant()
    def sums_are_equal(self) -> None:
        type(self).operations += 1
        self.steps += 1
        self.twin.check_sums()
        if self.steps % CHECK_EVERY == 0:
            self.twin.check_all()

    def _random(self, seed: int) -> Random:
        """The same seed chooses differently at another step: small ones are drawn often."""
        return Random(seed * 10_007 + self.steps)

    # Time, policy ----------------------------------------------------------------------------

    @rule(seed=SEEDS)
    def time_passes(self, seed: int) -> None:
        r = self._random(seed)
        self.twin.advance(
            r.choice((1, 60, 3_600, 3_600, DAY // 2, DAY + 1, 3 * DAY, 12 * DAY, 23 * DAY))
        )

    @rule(seed=SEEDS)
    def a_policy_is_appended(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        if twin.policy.latest == 5 or r.random() < 0.5:
            return
        version = version_of(
            twin.policy.latest + 1,
            twin.now + r.choice((-1, 0, 0, 3_600)),
            twin.c4e,
            twin.euro,
            fee_bps=r.choice((0, 333, 1_000)),
            rate=r.choice((15, 20, 30)),
        )
        twin.do(
            "append",
            lambda: twin.policy.append(version, twin.now),
            lambda: (
                twin.send(
                    OWNER,
                    "NetworkPolicy",
                    "append",
                    version.holds_from,
                    abi_parameters(version.parameters),
                    abi_assets(version),
                )
                and None
            ),
        )

    @rule(seed=SEEDS)
    def a_market_or_a_governor_is_named(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        if r.random() < 0.5:
            return
        if r.random() < 0.4 and twin.policy.market is None:
            twin.send(OWNER, "NetworkPolicy", "setMarket", MARKET)
            twin.policy.market = MARKET
        else:
            self._name_governor()

    def _name_governor(self) -> None:
        twin = self.twin
        if twin.policy.governor is None:
            twin.send(OWNER, "NetworkPolicy", "setGovernor", account(GOVERNOR))
            twin.policy.governor = account(GOVERNOR)

    # Payers, gateways, hosts ------------------------------------------------------------------

    @rule(seed=SEEDS)
    def an_escrow_is_opened(self, seed: int) -> None:
        self._open(self._random(seed))

    def _open(self, r: Random) -> bool:
        twin = self.twin
        if self.escrows and r.random() < 0.1:
            one = replace(r.choice(self.escrows), maximum=5)
        else:
            self.keys += 1
            one = Opened(
                r.choice(PAYERS),
                r.choice(("NL*C4E", "NL*C4E", "NL*C4E", "DE*ABC")),
                self.keys.to_bytes(16, "big"),
                r.choice(twin.assets),
                r.choice((0, 10**6, 20 * 10**6, 500 * 10**6, 10**12, 3 * 10**12)),
                twin.now,
            )
        deadline = twin.now + r.choice((-1, 0, 3_600, 3_600, 3_600))
        signer = one.payer if r.random() < 0.9 else 71
        asset = one.asset if r.random() < 0.95 else bytes(19) + b"\1"
        payer = account(one.payer)
        way = r.choice(("open", "open", "openWithPermit", "openWithAuthorization"))
        by_authorization = way == "openWithAuthorization"
        terms = (operator_word(one.operator), one.key, asset, one.maximum, deadline)
        digest = open_digest(
            one.operator,
            *terms[1:],
            chain_id=CHAIN_ID,
            hub=twin.hub_address,
        )
        if by_authorization:
            digest = self._authorization(one, asset, deadline)
        # A permit that somebody has used already must not stand in the way.
        permit = (27, r.randbytes(32), r.randbytes(32)) if way == "openWithPermit" else ()
        error = twin.do(
            way,
            lambda: twin.hub.open(
                payer,
                one.operator,
                *terms[1:],
                account(signer),
                twin.now,
                by_authorization=by_authorization,
            ),
            lambda: twin.send(
                account(71), "SettlementHub", way, payer, *terms, sign(signer, digest), *permit
            ),
        )
        if error is None:
            self.escrows.append(one)
        return error is None

    def _authorization(self, one: Opened, asset: bytes, deadline: int) -> bytes:
        """What a payer signs for the token itself (ERC-3009), with the escrow's id as nonce."""
        twin = self.twin
        name = "C4E" if asset == twin.c4e else "Test Euro (simulated)"
        struct = struct_hash(
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,"
            "uint256 validBefore,bytes32 nonce)",
            address_word(account(one.payer)),
            address_word(twin.hub_address),
            uint_word(one.maximum),
            uint_word(0),
            uint_word(max(deadline, 0)),
            twin.escrow_of(account(one.payer), one.operator, one.key),
        )
        return typed_digest(Domain(name, "1", CHAIN_ID, asset), struct)

    @rule(seed=SEEDS)
    def an_escrow_is_lowered(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        if not self.escrows:
            return
        one = r.choice(self.escrows)
        most = r.choice((0, 1, one.maximum // 2, one.maximum))
        deadline = twin.now + r.choice((-1, 60, 60, 60))
        signer = OPERATORS[one.operator] if r.random() < 0.9 else 71
        payer = account(one.payer)
        escrow = twin.escrow_of(payer, one.operator, one.key)
        digest = lower_digest(escrow, most, deadline, chain_id=CHAIN_ID, hub=twin.hub_address)
        twin.do(
            "lowerMax",
            lambda: twin.hub.lower(
                payer,
                one.operator,
                one.key,
                most,
                deadline,
                signer == OPERATORS[one.operator],
                twin.now,
            ),
            lambda: twin.send(
                account(72),
                "SettlementHub",
                "lowerMax",
                payer,
                operator_word(one.operator),
                one.key,
                most,
                deadline,
                sign(signer, digest),
            ),
        )

    @rule(seed=SEEDS)
    def an_escrow_is_asked_back_or_paid_back(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        if not self.escrows:
            return
        one = r.choice(self.escrows[: 4 + len(self.escrows) // 2])
        payer = account(one.payer)
        args = (operator_word(one.operator), one.key)
        asked = [e for e in self.escrows if self._is_asked(e)]
        if asked and r.random() < 0.5:
            one = r.choice(asked)
            payer, args = account(one.payer), (operator_word(one.operator), one.key)
            twin.advance(r.choice((0, 3 * DAY)))
        if r.random() < 0.7:
            self._ask_refund(payer, one.operator, one.key)
        else:
            twin.do(
                "refund",
                lambda: twin.hub.refund(payer, one.operator, one.key, twin.now),
                lambda: twin.send(account(71), "SettlementHub", "refund", payer, *args),
            )

    @rule(seed=SEEDS)
    def an_escrow_is_given_up(self, seed: int) -> None:
        """Opened, never drawn, asked back and paid back: the payer needs nobody for it."""
        r, twin = self._random(seed), self.twin
        if r.random() < 0.5 or not self._open(r):
            return
        one = self.escrows[-1]
        payer, args = account(one.payer), (operator_word(one.operator), one.key)
        twin.advance(11 * DAY - r.choice((0, 1)))
        self._ask_refund(payer, one.operator, one.key)
        twin.advance(3 * DAY)
        twin.do(
            "refund",
            lambda: twin.hub.refund(payer, one.operator, one.key, twin.now),
            lambda: twin.send(account(71), "SettlementHub", "refund", payer, *args),
        )

    def _ask_refund(self, payer: bytes, operator: str, key: bytes) -> None:
        twin = self.twin
        twin.do(
            "askRefund",
            lambda: twin.hub.ask_refund(payer, operator, key, twin.now),
            lambda: twin.send(payer, "SettlementHub", "askRefund", operator_word(operator), key),
        )

    def _is_asked(self, one: Opened) -> bool:
        escrow = self.twin.hub.escrows[
            self.twin.escrow_of(account(one.payer), one.operator, one.key)
        ]
        return escrow.asked_at != 0 and escrow.asset is not None

    @rule(seed=SEEDS)
    def a_gateway_pays_in_or_takes_back(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        who, asset = account(r.choice(GATEWAYS)), r.choice(twin.assets)
        amount = r.choice((0, 10**6, 10**9, 10**9, 10**13))
        if r.random() < 0.7:
            self._deposit(who, asset, amount)
        else:
            twin.do(
                "withdrawGateway",
                lambda: twin.hub.take_back(who, asset, amount),
                lambda: twin.send(who, "SettlementHub", "withdrawGateway", asset, amount),
            )

    def _deposit(self, who: bytes, asset: bytes, amount: int) -> None:
        twin = self.twin
        twin.do(
            "depositGateway",
            lambda: twin.hub.deposit(who, asset, amount),
            lambda: twin.send(who, "SettlementHub", "depositGateway", asset, amount),
        )

    @rule(seed=SEEDS)
    def a_host_prepays(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        who, amount = account(r.choice(HOSTS)), r.choice((0, 1, 10**6, 10**9))
        what = r.randrange(4)
        if what == 0:
            rate = r.choice((0, 18 * 10**6, 25 * 10**6))
            twin.send(who, "SettlementHub", "setMaxRate", rate)
            twin.hub.hosts[who].rate_max = rate
        elif what == 1:
            twin.do(
                "unprepay",
                lambda: twin.hub.unprepay(who, amount),
                lambda: twin.send(who, "SettlementHub", "unprepay", amount),
            )
        else:
            twin.do(
                "prepay",
                lambda: twin.hub.prepay(who, amount),
                lambda: twin.send(who, "SettlementHub", "prepay", amount),
            )

    @rule(seed=SEEDS)
    def somebody_withdraws(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        due = [key for key, amount in twin.hub.withdrawable.items() if amount]
        who, asset = r.choice(due) if due else (account(71), twin.euro)
        if r.random() < 0.5:
            twin.do(
                "withdrawFor",
                lambda: twin.hub.withdraw(who, asset, who),
                lambda: twin.send(account(72), "SettlementHub", "withdrawFor", who, asset),
            )
        else:
            to = account(r.choice(PEOPLE))
            twin.do(
                "withdraw",
                lambda: twin.hub.withdraw(who, asset, to),
                lambda: twin.send(who, "SettlementHub", "withdraw", asset, to),
            )

    # Passports and shares ---------------------------------------------------------------------

    @rule(seed=SEEDS)
    def a_passport_changes(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        token = r.choice(twin.tokens)
        passport = twin.passports[token]
        caller = passport.facts.host if r.random() < 0.9 else account(71)
        what = r.randrange(10)
        if what == 0:
            twin.do(
                "retire",
                lambda: passport.retire(caller, twin.now),
                lambda: twin.send(caller, "ChargerPassport", "retire", token, bytes(32), 1),
            )
        elif what < 5:
            bps = r.choice((0, 1_234, 2_999, 9_000))
            twin.do(
                "lowerCommission",
                lambda: passport.lower_commission(caller, bps),
                lambda: twin.send(caller, "ChargerPassport", "lowerCommission", token, bps),
            )
        elif what < 8:
            source = passport.owner
            owner = source if r.random() < 0.9 else account(71)
            to = account(r.choice((*PEOPLE, *HOSTS)))
            twin.do(
                "transfer of a passport",
                lambda: passport.transfer(owner, source, to),
                lambda: twin.send(
                    owner,
                    "ChargerPassport",
                    "transferFrom",
                    source,
                    to,
                    int.from_bytes(token, "big"),
                ),
            )
        else:
            self._record_custody(r, token)

    def _record_custody(self, r: Random, token: bytes) -> None:
        """A change of host or operator, which every attester and the host sign."""
        twin, passport = self.twin, self.twin.passports[token]
        host_key = next(n for n in HOSTS if account(n) == passport.facts.host)
        if r.random() < 0.6:
            new_host = r.choice(HOSTS)
            kind, value = CustodyKind.OWNER, custody_value(CustodyKind.OWNER, account(new_host))
        else:
            operator = r.choice(tuple(OPERATORS))
            kind, value = CustodyKind.OPERATOR, custody_value(CustodyKind.OPERATOR, operator)
        domain = passport_domain(CHAIN_ID, twin.sol.addresses["ChargerPassport"])
        digest = custody_digest(token, passport.custody, kind, bytes(32), 7, value, domain=domain)
        active = [i for i, member in enumerate(twin.registry.members) if member.is_active]
        if len(active) < twin.registry.quorum:
            return
        keys = (*ATTESTERS, RESERVE)
        attestation = Attestation.of({i: sign(keys[i], digest) for i in active})

        def change() -> None:
            passport.record(kind, value, twin.now)

        twin.do(
            "record",
            change,
            lambda: twin.send(
                account(71),
                "ChargerPassport",
                "record",
                token,
                kind.number,
                bytes(32),
                7,
                value,
                abi_attestation(attestation),
                sign(host_key, digest),
            ),
        )

    @rule(seed=SEEDS)
    def units_move(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        token = r.choice(twin.tokens)
        number = int.from_bytes(token, "big")
        to = account(r.choice((*PEOPLE, *HOSTS)))
        units = r.choice((0, 1, 333_333, 500_000, 1_000_001))
        if r.random() < 0.4:
            caller = twin.passports[token].owner if r.random() < 0.9 else account(13)
            twin.do(
                "release",
                lambda: twin.shares.release(caller, token, to, units),
                lambda: twin.send(caller, "ChargerShares", "release", number, to, units),
            )
            return
        source = r.choice([who for who in twin.shares.holders(token) if any(who)] or [to])
        twin.do(
            "transfer of units",
            lambda: twin.shares.transfer(token, source, to, units),
            lambda: twin.send(
                source, "ChargerShares", "safeTransferFrom", source, to, number, units, b""
            ),
        )

    @rule(seed=SEEDS)
    def a_holder_claims(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        token, asset = r.choice(twin.tokens), r.choice(twin.assets)
        holders = [who for who in twin.shares.holders(token) if any(who)]
        who = r.choice([*holders, twin.passports[token].owner])
        twin.do(
            "claim",
            lambda: twin.shares.claim(token, asset, who),
            lambda: twin.send(
                account(71), "ChargerShares", "claim", int.from_bytes(token, "big"), asset, who
            ),
        )

    # Batches ----------------------------------------------------------------------------------

    @rule(seed=SEEDS)
    def a_batch_is_proposed(self, seed: int) -> None:
        self._propose(self._random(seed))

    @rule(seed=SEEDS)
    def another_batch_is_proposed(self, seed: int) -> None:
        self._propose(self._random(seed))

    @rule(seed=SEEDS)
    def one_more_batch_is_proposed(self, seed: int) -> None:
        self._propose(self._random(seed))

    def _propose(self, r: Random) -> None:
        twin = self.twin
        batch = self._batch(r)
        if self.batches and r.random() < 0.05:
            batch = r.choice(self.batches)
        active = [i for i, member in enumerate(twin.registry.members) if member.is_active]
        enough = twin.registry.quorum + r.choice((0, 0, 0, 0, 1, 2, -1))
        signers = set(r.sample(active, min(len(active), enough)))
        if r.random() < 0.05:
            signers.add(r.randrange(5))
        gateway_key = next((n for n in GATEWAYS if account(n) == batch.gateway), None)
        if gateway_key is not None and r.random() < 0.05:
            gateway_key = 71
        error = twin.propose(batch, signers, gateway_key=gateway_key, wrong=r.random() < 0.03)
        if error is None:
            self.batches.append(batch)

    def _batch(self, r: Random) -> Batch:
        twin = self.twin
        operator = r.choice(("NL*C4E", "NL*C4E", "NL*C4E", "DE*ABC"))
        asset = r.choice(twin.assets)
        table = r.sample(twin.tokens, r.choice((1, 2, 3)))
        if r.random() < 0.05:
            table.append(r.choice((b"\7" * 32, table[0])))
        if r.random() < 0.97:
            table.sort()
        numbers = self._numbers(r, operator, asset)
        leaves = [self._leaf(r, operator, asset, len(table), number) for number in numbers]
        fiat_total = sum(leaf.amount for leaf in leaves if leaf.rail is Rail.FIAT)
        has_fiat = any(leaf.rail is Rail.FIAT for leaf in leaves)
        least, most = twin.hub.rate_bounds(operator, asset, twin.now)
        rate = r.choice((least, most, (least + most) // 2)) if r.random() < 0.95 else most + 1
        batch = Batch(
            operator_id=operator,
            asset=asset if r.random() < 0.98 else bytes(19) + b"\1",
            checkpoint=r.randbytes(32),
            tree_size=self.log_index + 1,
            topic=bytes(20),
            sequence_number=1,
            valid_until=twin.now + r.choice((0, 3_600, 3_600)) - (r.random() < 0.03),
            proposer=account(r.choice(PEOPLE)) if r.random() < 0.98 else ZERO_ADDRESS,
            c4e_rate=rate or RATE_UNIT,
            gateway=account(r.choice(GATEWAYS)) if has_fiat else ZERO_ADDRESS,
            fiat_total=fiat_total + (r.random() < 0.02),
            passports=tuple(table),
            leaves=tuple(leaves),
        )
        return batch if r.random() < 0.98 else replace(batch, gateway=account(GATEWAYS[0]))

    def _numbers(self, r: Random, operator: str, asset: bytes) -> list[int]:
        """Mostly the next numbers of the lane, sometimes holes, numbers that are used, or twice."""
        used = self.twin.hub.settled[operator, asset]
        following = max(used, default=-1) + 1
        count = r.choice((1, 1, 2, 3, 5, 0 if r.random() < 0.1 else 4))
        numbers = [following + n for n in range(count)]
        if numbers and r.random() < 0.3:
            numbers[-1] = r.choice((r.randrange(following + 1), 254, 255, 256, 600, numbers[0]))
        return numbers

    def _leaf(self, r: Random, operator: str, asset: bytes, table: int, number: int) -> Leaf:
        twin = self.twin
        mine = [e for e in self.escrows[-12:] if (e.operator, e.asset) == (operator, asset)]
        self.log_index += 1
        self.keys += 1
        end = twin.now - r.choice((0, 1, 60, 3_600, 3_600, DAY, 40 * DAY)) + (r.random() < 0.01)
        start = end - r.choice((1, 600, 3_600, 3_600, 7_200)) + 7_300 * (r.random() < 0.02)
        version = twin.policy.at(max(start, 1_800_000_000)).number
        if r.random() < 0.05:
            version = r.randrange(twin.policy.latest + 2)
        wallet = bool(mine) and r.random() < 0.6
        amount = r.choice((0, 1, 12_345, 999_999, 3_000_000, 4_000_001, 50_000_000, 2**64 - 1))
        vat = r.choice((0, 21, amount // 5))
        if amount == 2**64 - 1 and r.random() < 0.9:
            amount, vat = 7_777_777, 1_633_333
        payer, key = ZERO_ADDRESS, self.keys.to_bytes(16, "big")
        if wallet:
            escrow = r.choice(mine)
            payer, key = account(escrow.payer), escrow.key
            if r.random() < 0.02:
                payer = ZERO_ADDRESS
            if r.random() < 0.5:
                amount = min(amount, escrow.maximum * 4 // 5)
                vat = min(vat, escrow.maximum - amount)
        elif r.random() < 0.2:
            key = (self.keys - 1).to_bytes(16, "big")
        return Leaf(
            evidence_digest=r.randbytes(32),
            payer=payer,
            cdr_no=number,
            log_index=self.log_index,
            amount=amount,
            vat=vat,
            session_key=key,
            start=max(start, 0),
            end=end,
            import_wh=r.choice((0, 1_000, 20_000, 20_000, 10**6)),
            export_wh=0,
            passport_index=r.randrange(table) if r.random() < 0.98 else table,
            evse=r.choice((1, 1, 2)),
            rail=Rail.WALLET if wallet else Rail.FIAT,
            proof_level=0,
            policy_version=version,
        )

    def _some_batch(self, r: Random, *states: BatchState) -> tuple[Batch, Proposal] | None:
        known = [(b, self.twin.hub.proposals[self.twin.digest(b)]) for b in self.batches]
        fit = [pair for pair in known if pair[1].state in states]
        if fit and r.random() < 0.97:
            return r.choice(fit[-6:])
        return r.choice(known) if known and r.random() < 0.2 else None

    @rule(seed=SEEDS)
    def a_batch_is_settled(self, seed: int) -> None:
        self._settle(self._random(seed))

    @rule(seed=SEEDS)
    def a_window_ends_and_the_batch_is_settled(self, seed: int) -> None:
        r = self._random(seed)
        found = self._some_batch(r, BatchState.PROPOSED)
        if found is not None and found[1].state is BatchState.PROPOSED:
            self.twin.advance(max(0, found[1].window_ends_at + 1 - self.twin.now))
        self._settle(r)

    def _settle(self, r: Random) -> None:
        found = self._some_batch(r, BatchState.PROPOSED)
        if found is None:
            self._propose(r)
        elif r.random() < 0.03:
            self.twin.settle(self._batch(r), r.choice(PEOPLE))
        else:
            self.twin.settle(found[0], r.choice(PEOPLE))

    @rule(seed=SEEDS)
    def a_leaf_is_challenged_as_impossible(self, seed: int) -> None:
        r = self._random(seed)
        found = self._some_batch(r, BatchState.PROPOSED)
        if found is None:
            return
        batch, _ = found
        self._challenge_impossible(r, batch, r.randrange(len(batch.leaves) + (r.random() < 0.05)))

    def _challenge_impossible(self, r: Random, batch: Batch, leaf: int) -> None:
        twin = self.twin
        caller, digest = account(r.choice(PEOPLE)), twin.digest(batch)
        twin.do(
            "challengeImpossible",
            lambda: twin.hub.challenge_impossible(digest, leaf, caller, twin.now),
            lambda: twin.send(
                caller, "SettlementHub", "challengeImpossible", abi_batch(batch), leaf
            ),
        )

    @rule(seed=SEEDS)
    def two_leaves_are_challenged_as_overlapping(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        found = self._some_batch(r, BatchState.PROPOSED)
        if found is None:
            return
        batch, other = found[0], r.choice(self.batches)
        leaf = r.randrange(len(batch.leaves))
        other_leaf = r.randrange(len(other.leaves) + (r.random() < 0.05))
        clashes = self._clashes(batch)
        if clashes and r.random() < 0.8:
            leaf, other, other_leaf = r.choice(clashes)
        caller = account(r.choice(PEOPLE))
        digests = twin.digest(batch), twin.digest(other)
        twin.do(
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

    def _clashes(self, batch: Batch) -> list[tuple[int, Batch, int]]:
        """Leaves of a batch, each with a leaf that came before it and cannot also be."""
        found = []
        for leaf, one in enumerate(batch.leaves):
            for other in self.batches:
                for place, two in enumerate(other.leaves):
                    same_place = (batch.passport_of(one), one.evse) == (
                        other.passport_of(two),
                        two.evse,
                    )
                    shared = min(one.end, two.end) - max(one.start, two.start)
                    if one.log_index > two.log_index and (
                        one.session_key == two.session_key or (same_place and shared > 60)
                    ):
                        found.append((leaf, other, place))
        return found

    @rule(seed=SEEDS)
    def a_batch_is_killed_without_quorum(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        found = self._some_batch(r, BatchState.PROPOSED)
        if found is None:
            return
        batch = found[0]
        twin.do(
            "killWithoutQuorum",
            lambda: twin.hub.kill_without_quorum(twin.digest(batch)),
            lambda: twin.send(account(71), "SettlementHub", "killWithoutQuorum", abi_batch(batch)),
        )

    @rule(seed=SEEDS)
    def an_attester_is_shown_to_have_signed_two_things(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        if not self.batches or r.random() < 0.85:
            return
        a = r.choice(self.batches)
        index, leaf = r.randrange(6), r.randrange(len(a.leaves))
        b = replace(a, valid_until=a.valid_until + 1)
        if r.random() < 0.8:
            changed = replace(b.leaves[leaf], vat=b.leaves[leaf].vat ^ 1)
            b = replace(b, leaves=(*b.leaves[:leaf], changed, *b.leaves[leaf + 1 :]))
        keys = (*ATTESTERS, RESERVE, 71)
        signers = keys[index], keys[index] if r.random() < 0.9 else 72
        caller = account(r.choice(PEOPLE))
        twin.do(
            "slashEquivocation",
            lambda: twin.registry.slash_equivocation(
                index, a, leaf, account(signers[0]), b, leaf, account(signers[1]), caller
            ),
            lambda: twin.send(
                caller,
                "AttesterRegistry",
                "slashEquivocation",
                index,
                abi_batch(a),
                leaf,
                sign(signers[0], twin.digest(a)),
                abi_batch(b),
                leaf,
                sign(signers[1], twin.digest(b)),
            ),
        )

    @rule(seed=SEEDS)
    def a_leaf_is_disputed(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        found = self._some_batch(r, BatchState.PROPOSED)
        if found is None:
            return
        batch = found[0]
        self._dispute(r, batch)
        what = r.randrange(3)
        if what == 0:
            twin.advance(DAY + 1)
            twin.settle(batch, PEOPLE[0])
            self._end_dispute(r)
        elif what == 1:
            for leaf in range(len(batch.leaves)):
                self._challenge_impossible(r, batch, leaf)

    def _dispute(self, r: Random, batch: Batch) -> None:
        twin = self.twin
        place = r.randrange(len(batch.leaves))
        caller, digest = account(r.choice(PEOPLE)), twin.digest(batch)
        twin.do(
            "dispute",
            lambda: twin.hub.dispute(digest, place, caller, twin.now),
            lambda: (
                twin.send(caller, "SettlementHub", "dispute", abi_batch(batch), place, bytes(32))
                and None
            ),
        )

    @rule(seed=SEEDS)
    def a_dispute_ends(self, seed: int) -> None:
        self._end_dispute(self._random(seed))

    def _end_dispute(self, r: Random) -> None:
        twin = self.twin
        hub = twin.hub
        if not hub.disputes:
            return
        due = [
            key
            for key, one in hub.disputes.items()
            if one.is_open and hub.proposals[key[0]].state is BatchState.SETTLED
        ]
        digest, place = r.choice(sorted(due if due and r.random() < 0.9 else hub.disputes))
        if r.random() < 0.5:
            twin.advance(max(0, hub.disputes[digest, place].opened_at + 21 * DAY - twin.now))
        batch = twin.hub.proposals[digest].batch
        dispute_id = int.from_bytes(twin.dispute_id(digest, place), "big")
        if r.random() < 0.5:
            if r.random() < 0.7:
                self._name_governor()
            ruling, caller = r.random() < 0.5, account(r.choice((GOVERNOR, GOVERNOR, 71)))
            twin.do(
                "rule",
                lambda: twin.hub.end_dispute(digest, place, caller, twin.now, ruling),
                lambda: twin.send(
                    caller, "SettlementHub", "rule", dispute_id, abi_batch(batch), ruling
                ),
            )
            return
        caller = account(r.choice(PEOPLE))
        twin.do(
            "endDispute",
            lambda: twin.hub.end_dispute(digest, place, caller, twin.now),
            lambda: twin.send(caller, "SettlementHub", "endDispute", dispute_id, abi_batch(batch)),
        )

    # Attesters --------------------------------------------------------------------------------

    @rule(seed=SEEDS)
    def an_attester_comes_or_goes(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        index = r.randrange(len(twin.registry.members) + (r.random() < 0.1))
        owners = (*BENEFICIARIES, RESERVE_BENEFICIARY)
        what = r.randrange(14)
        if what == 0:
            caller = account(owners[index % 5]) if r.random() < 0.8 else account(71)
            twin.do(
                "askUnbond",
                lambda: twin.registry.unbond(index, twin.now, caller),
                lambda: twin.send(caller, "AttesterRegistry", "askUnbond", index),
            )
            twin.advance(r.choice((0, 21 * DAY - 1, 21 * DAY)))
            self._withdraw_bond(index)
        elif what == 1 and r.random() < 0.3:
            twin.do(
                "evict",
                lambda: twin.registry.unbond(index, twin.now, None),
                lambda: twin.send(OWNER, "AttesterRegistry", "evict", index),
            )
        elif what < 7:
            leaving = [i for i, m in enumerate(twin.registry.members) if m.unbonding_since]
            if leaving and r.random() < 0.8:
                index = r.choice(leaving)
            self._withdraw_bond(index)
        elif what < 9:
            signer, owner = account(RESERVE), account(RESERVE_BENEFICIARY)
            twin.do(
                "admit",
                lambda: twin.registry.admit(signer, owner),
                lambda: twin.send(OWNER, "AttesterRegistry", "admit", signer, owner),
            )

    def _withdraw_bond(self, index: int) -> None:
        twin = self.twin
        twin.do(
            "withdrawBond",
            lambda: twin.registry.withdraw_bond(index, twin.now),
            lambda: twin.send(account(71), "AttesterRegistry", "withdrawBond", index),
        )


def play(seed: int, steps: int) -> None:
    """Play one history that its seed decides alone, every rule equally often."""
    r, history = Random(seed), SettlementHistory()
    rules = sorted(
        name
        for name, method in vars(SettlementHistory).items()
        if hasattr(method, "hypothesis_stateful_rule")
    )
    try:
        for _ in range(steps):
            getattr(history, r.choice(rules))(seed=r.getrandbits(32))
            history.sums_are_equal()
    except BaseException:
        history.twin.close()
        raise
    history.teardown()
