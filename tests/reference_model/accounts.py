"""Random histories of what stands around batches: time, policies, money, passports, attesters.

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
from chargera.proofs.chain_values import operator_word
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
    abi_attestation,
    lower_digest,
    open_digest,
)
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


class AccountsHistory(RuleBasedStateMachine):
    """Time, policies, escrows, balances, passports, shares and attesters as they may come to be."""

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
