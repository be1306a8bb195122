"""The model of SettlementHub: escrows, gateways, batches, challenges, disputes, payment."""

from collections import defaultdict
from dataclasses import dataclass, field

from chargera.domain.settlement import (
    DAY_S,
    OVERLAP_TOLERANCE_S,
    RATE_UNIT,
    BatchState,
    OpsShares,
    Rail,
    ceil_by_rate,
    ceiling_of,
    divide_ops,
    energy_limit_wh,
    exposure_of_signer,
    overlap_s,
    rate_bounds,
    split,
)
from chargera.proofs.chain_values import ZERO_ADDRESS
from chargera.proofs.settlement import Batch, Leaf, escrow_id
from tests.reference_model.registry import Registry
from tests.reference_model.shares import Shares
from tests.reference_model.world import Money, Passport, Policy, require

SLASH_BPS = 2_000


@dataclass
class Escrow:
    """`asset` None: closed; it is never opened again."""

    asset: bytes | None
    maximum: int
    opened_at: int
    asked_at: int = 0


@dataclass
class Gateway:
    free: int = 0
    locked: int = 0


@dataclass
class Host:
    prepaid: int = 0
    rate_max: int = 0


@dataclass
class Proposal:
    batch: Batch
    proposed_at: int
    window_ends_at: int
    quorum: int
    signers: int
    state: BatchState = BatchState.PROPOSED
    disputed: set[int] = field(default_factory=set)

    @property
    def signer_count(self) -> int:
        return self.signers.bit_count()

    @property
    def exposure(self) -> int:
        return exposure_of_signer(
            self.batch.total_of(Rail.WALLET), self.batch.c4e_rate, self.signer_count
        )


@dataclass
class Dispute:
    disputer: bytes
    bond: int
    amount: int
    opened_at: int
    is_open: bool = True


@dataclass
class Run:
    """What one settlement takes and gives, in minor units of its asset; `burned` in C4E."""

    burned: int = 0
    fees: int = 0
    reserve: int = 0
    ops: int = 0
    fiat: int = 0
    hosts: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    holders: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))


@dataclass
class Hub:
    """All that the hub knows. Batches by digest; numbers that are paid or disputed by lane."""

    address: bytes
    c4e: bytes
    timelock: bytes
    money: Money
    policy: Policy
    passports: dict[bytes, Passport]
    registry: Registry
    shares: Shares
    escrows: dict[bytes, Escrow] = field(default_factory=dict)
    gateways: dict[tuple[bytes, bytes], Gateway] = field(
        default_factory=lambda: defaultdict(Gateway)
    )
    hosts: dict[bytes, Host] = field(default_factory=lambda: defaultdict(Host))
    withdrawable: dict[tuple[bytes, bytes], int] = field(default_factory=lambda: defaultdict(int))
    proposals: dict[bytes, Proposal] = field(default_factory=dict)
    settled: dict[tuple[str, bytes], set[int]] = field(default_factory=lambda: defaultdict(set))
    rates: dict[tuple[str, bytes], tuple[int, int]] = field(default_factory=dict)
    exposures: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    disputes: dict[tuple[bytes, int], Dispute] = field(default_factory=dict)
    drawn: dict[bytes, int] = field(default_factory=dict)
    """What each escrow that was drawn gave, for the tests' own questions."""

    # Payers -----------------------------------------------------------------------------------

    def open(
        self,
        payer: bytes,
        operator: str,
        key: bytes,
        asset: bytes,
        most: int,
        deadline: int,
        signer: bytes,
        now: int,
        *,
        by_authorization: bool = False,
    ) -> None:
        """With the payer's signature for the hub, or by the token's own authorization."""
        require(now <= deadline, "Expired")
        require(most, "ZeroAmount")
        listed = asset in self.policy.assets and self.policy.at(now).asset_of(asset)
        require(listed, "AssetNotListed")
        place = escrow_id(payer, operator, key)
        require(place not in self.escrows, "EscrowExists")
        if by_authorization:
            require(signer == payer, "ERC3009InvalidSignature")
            require(now < deadline, "ERC3009InvalidAuthorizationTime")
        require(signer == payer, "WrongSignature")
        self.money.move(asset, payer, self.address, most)
        self.escrows[place] = Escrow(asset, most, now)

    def lower(
        self,
        payer: bytes,
        operator: str,
        key: bytes,
        most: int,
        deadline: int,
        is_operator: bool,
        now: int,
    ) -> None:
        require(now <= deadline, "Expired")
        escrow = self._escrow(payer, operator, key)
        require(most < escrow.maximum, "NotLower")
        require(is_operator, "WrongSignature")
        assert escrow.asset is not None
        self._credit(payer, escrow.asset, escrow.maximum - most)
        escrow.maximum = most
        if most == 0:
            escrow.asset = None

    def ask_refund(self, payer: bytes, operator: str, key: bytes, now: int) -> None:
        escrow = self._escrow(payer, operator, key)
        terms = self.policy.at(escrow.opened_at).parameters
        require(now >= escrow.opened_at + terms.refund_ask_after_s, "TooEarly")
        escrow.asked_at = escrow.asked_at or now

    def refund(self, payer: bytes, operator: str, key: bytes, now: int) -> None:
        escrow = self._escrow(payer, operator, key)
        require(escrow.asked_at, "NotAsked")
        terms = self.policy.at(escrow.opened_at).parameters
        require(now >= escrow.asked_at + terms.refund_pay_after_s, "TooEarly")
        assert escrow.asset is not None
        self._credit(payer, escrow.asset, escrow.maximum)
        escrow.asset, escrow.maximum = None, 0

    def _escrow(self, payer: bytes, operator: str, key: bytes) -> Escrow:
        escrow = self.escrows.get(escrow_id(payer, operator, key))
        require(escrow is not None and escrow.asset is not None, "NoEscrow")
        assert escrow is not None
        return escrow

    # Gateways, hosts, withdrawals -------------------------------------------------------------

    def deposit(self, gateway: bytes, asset: bytes, amount: int) -> None:
        require(amount, "ZeroAmount")
        require(asset in self.policy.assets, "AssetNotListed")
        self.money.move(asset, gateway, self.address, amount)
        self.gateways[gateway, asset].free += amount

    def take_back(self, gateway: bytes, asset: bytes, amount: int) -> None:
        require(amount <= self.gateways[gateway, asset].free, "NotEnough")
        self.gateways[gateway, asset].free -= amount
        self.money.move(asset, self.address, gateway, amount)

    def prepay(self, host: bytes, amount: int) -> None:
        require(amount, "ZeroAmount")
        self.money.move(self.c4e, host, self.address, amount)
        self.hosts[host].prepaid += amount

    def unprepay(self, host: bytes, amount: int) -> None:
        require(amount <= self.hosts[host].prepaid, "NotEnough")
        self.hosts[host].prepaid -= amount
        self.money.move(self.c4e, self.address, host, amount)

    def withdraw(self, account: bytes, asset: bytes, to: bytes) -> int:
        amount = self.withdrawable.pop((account, asset), 0)
        self.money.move(asset, self.address, to, amount)
        return amount

    # Batches ----------------------------------------------------------------------------------

    def propose(
        self,
        digest: bytes,
        batch: Batch,
        signers: int,
        signed_by: list[bytes],
        gateway_signer: bytes | None,
        now: int,
    ) -> None:
        require(now <= batch.valid_until, "Expired")
        require(digest not in self.proposals, "BatchKnown")
        self._check_batch(batch)
        least, most = self.rate_bounds(batch.operator_id, batch.asset, now)
        require(least <= batch.c4e_rate <= most, "RateOutOfRange")
        count = self.registry.check_quorum(signers, signed_by)
        exposure = exposure_of_signer(batch.total_of(Rail.WALLET), batch.c4e_rate, count)
        for index, member in self.registry.of_mask(signers):
            require(exposure == 0 or self.exposures[index] + exposure <= member.bond, "OverBond")
        if batch.gateway != ZERO_ADDRESS:
            require(gateway_signer == batch.gateway, "WrongSignature")
            gateway = self.gateways[batch.gateway, batch.asset]
            require(batch.fiat_total <= gateway.free, "NotEnough")
            gateway.free -= batch.fiat_total
            gateway.locked += batch.fiat_total
        for index, _ in self.registry.of_mask(signers):
            self.exposures[index] += exposure
        window = self.policy.at(now).parameters.settlement_window_s
        self.proposals[digest] = Proposal(batch, now, now + window, self.registry.quorum, signers)

    def _check_batch(self, batch: Batch) -> None:
        require(batch.asset in self.policy.assets, "AssetNotListed")
        require(batch.leaves, "BadBatch")
        require(batch.proposer != ZERO_ADDRESS, "BadBatch")
        require(list(batch.passports) == sorted(set(batch.passports)), "BadBatch")
        for leaf in batch.leaves:
            require(leaf.passport_index < len(batch.passports), "BadLeaf")
            require(1 <= leaf.policy_version <= self.policy.latest, "BadLeaf")
            require(leaf.rail is Rail.FIAT or leaf.payer != ZERO_ADDRESS, "BadLeaf")
        require(batch.fiat_total == batch.total_of(Rail.FIAT), "BadBatch")
        has_fiat = any(leaf.rail is Rail.FIAT for leaf in batch.leaves)
        require(has_fiat == (batch.gateway != ZERO_ADDRESS), "BadBatch")

    def rate_bounds(self, operator: str, asset: bytes, now: int) -> tuple[int, int]:
        """The rates that a proposal may use; the first above the second: none."""
        if asset == self.c4e:
            return RATE_UNIT, RATE_UNIT
        if (operator, asset) not in self.rates:
            row = self.policy.at(now).asset_of(asset)
            return (row.c4e_rate, row.c4e_rate) if row else (1, 0)
        bounds = rate_bounds(*self.rates[operator, asset], now)
        return bounds.least, bounds.most

    def settle(self, digest: bytes, caller: bytes, now: int) -> int:
        """Return the mask of the leaves that were paid."""
        it = self._pending(digest)
        require(now > it.window_ends_at, "WindowOpen")
        require(self._has_quorum(it), "WithoutQuorum")
        it.state = BatchState.SETTLED
        self._unexpose(it)
        self._move_rate(it)
        batch, run, paid, aside = it.batch, Run(), 0, 0
        for place, leaf in enumerate(batch.leaves):
            if place in it.disputed:
                aside += leaf.amount if leaf.rail is Rail.FIAT else 0
            elif self._take(batch, leaf):
                run.fiat += leaf.amount if leaf.rail is Rail.FIAT else 0
                self._divide(run, batch, leaf)
                paid |= 1 << place
        self._unlock(batch, batch.fiat_total - aside, run.fiat)
        self._pay_out(run, it, caller)
        return paid

    def _take(self, batch: Batch, leaf: Leaf) -> bool:
        """Take a leaf's money from where it is; False: it cannot be paid."""
        lane = self.settled[batch.operator_id, batch.asset]
        passport = self.passports.get(batch.passport_of(leaf))
        if leaf.cdr_no in lane or passport is None or not passport.facts.earns_at(leaf.end):
            return False
        if leaf.rail is Rail.WALLET:
            place = escrow_id(leaf.payer, batch.operator_id, leaf.session_key)
            escrow = self.escrows.get(place)
            total = leaf.amount + leaf.vat
            if escrow is None or escrow.asset != batch.asset or total > escrow.maximum:
                return False
            self._credit(leaf.payer, batch.asset, escrow.maximum - total)
            escrow.asset, escrow.maximum = None, 0
            self.drawn[place] = total
        lane.add(leaf.cdr_no)
        return True

    def _divide(self, run: Run, batch: Batch, leaf: Leaf) -> None:
        token = batch.passport_of(leaf)
        facts = self.passports[token].facts
        fees = self.policy.versions[leaf.policy_version - 1].parameters.fees
        parts = split(
            leaf.amount, fees, facts.commission_bps, has_market=self.policy.market is not None
        )
        run.reserve += parts.reserve
        run.ops += parts.ops
        run.holders[token] += parts.holders
        run.hosts[facts.host] += parts.host + (leaf.vat if leaf.rail is Rail.WALLET else 0)
        if batch.asset == self.c4e:
            run.burned += parts.fee
            return
        host = self.hosts[facts.host]
        need = ceil_by_rate(parts.fee, batch.c4e_rate)
        too_dear = host.rate_max != 0 and batch.c4e_rate > host.rate_max
        if too_dear or need > host.prepaid:
            run.fees += parts.fee
        else:
            host.prepaid -= need
            run.burned += need
            run.hosts[facts.host] += parts.fee

    def _pay_out(self, run: Run, it: Proposal, caller: bytes) -> None:
        asset = it.batch.asset
        self._credit(self.timelock, asset, run.fees)
        if self.policy.market is not None:
            self._credit(self.policy.market, asset, run.reserve)
        ops: OpsShares = divide_ops(run.ops, it.signer_count)
        for _, member in self.registry.of_mask(it.signers):
            self._credit(member.beneficiary, asset, ops.each_signer)
        self._credit(it.batch.proposer, asset, ops.proposer)
        self._credit(caller, asset, ops.caller)
        for host, amount in run.hosts.items():
            self._credit(host, asset, amount)
        self.money.burn(self.c4e, self.address, run.burned)
        self.money.move(asset, self.address, self.shares.address, sum(run.holders.values()))
        self.shares.notify(asset, run.holders)

    def _move_rate(self, it: Proposal) -> None:
        lane = (it.batch.operator_id, it.batch.asset)
        if it.batch.asset == self.c4e:
            return
        if lane not in self.rates:
            self.rates[lane] = (it.batch.c4e_rate, it.proposed_at)
            return
        at = self.rates[lane][1]
        if it.proposed_at > at:
            days = -(-(it.proposed_at - at) // DAY_S)
            self.rates[lane] = (it.batch.c4e_rate, at + days * DAY_S)

    # Challenges -------------------------------------------------------------------------------

    def kill_without_quorum(self, digest: bytes) -> None:
        it = self._pending(digest)
        require(not self._has_quorum(it), "StillQuorum")
        self._kill(digest, it)

    def challenge_overlap(
        self,
        digest: bytes,
        leaf: int,
        other_digest: bytes,
        other_leaf: int,
        caller: bytes,
        now: int,
    ) -> None:
        it = self._challengeable(digest, leaf, now)
        other = self.proposals.get(other_digest)
        require(other is not None and other.state is not BatchState.KILLED, "WrongState")
        assert other is not None
        require(other_leaf < len(other.batch.leaves), "BadLeaf")
        one, earlier = it.batch.leaves[leaf], other.batch.leaves[other_leaf]
        same_place = (it.batch.passport_of(one), one.evse) == (
            other.batch.passport_of(earlier),
            earlier.evse,
        )
        shared = overlap_s(one.start, one.end, earlier.start, earlier.end)
        clash = one.session_key == earlier.session_key or (
            same_place and shared > OVERLAP_TOLERANCE_S
        )
        same_bill = (it.batch.asset, one.cdr_no) == (other.batch.asset, earlier.cdr_no)
        later = one.log_index > earlier.log_index or (
            one.log_index == earlier.log_index and not same_bill
        )
        guilty = it.batch.operator_id == other.batch.operator_id and later and clash
        require(guilty, "NoFault")
        self._kill(digest, it)
        self.registry.slash(it.signers & other.signers, SLASH_BPS, caller)

    def challenge_impossible(self, digest: bytes, leaf: int, caller: bytes, now: int) -> None:
        it = self._challengeable(digest, leaf, now)
        require(self._is_impossible(it, it.batch.leaves[leaf]), "NoFault")
        self._kill(digest, it)
        self.registry.slash(it.signers, SLASH_BPS, caller)

    def _is_impossible(self, it: Proposal, leaf: Leaf) -> bool:
        passport = self.passports.get(it.batch.passport_of(leaf))
        if leaf.end <= leaf.start or leaf.end > it.proposed_at or passport is None:
            return True
        duration = leaf.end - leaf.start
        begun = [v for v in self.policy.versions if v.holds_from <= leaf.start]
        row = begun[-1].asset_of(it.batch.asset) if begun else None
        return (
            not passport.facts.earns_at(leaf.end)
            or passport.operator_at(leaf.end) != it.batch.operator_id
            or leaf.import_wh > energy_limit_wh(passport.facts.rated_w, duration)
            or not begun
            or begun[-1].number != leaf.policy_version
            or leaf.amount > (ceiling_of(row.ceilings, leaf.import_wh, duration) if row else 0)
        )

    def _kill(self, digest: bytes, it: Proposal) -> None:
        it.state = BatchState.KILLED
        self._unexpose(it)
        batch = it.batch
        for place in it.disputed:
            dispute, leaf = self.disputes[digest, place], batch.leaves[place]
            dispute.is_open = False
            if leaf.rail is Rail.FIAT:
                self.gateways[batch.gateway, batch.asset].locked += dispute.amount
            else:
                escrow = self.escrows[escrow_id(leaf.payer, batch.operator_id, leaf.session_key)]
                escrow.asset, escrow.maximum = batch.asset, dispute.amount
            self.settled[batch.operator_id, batch.asset].discard(leaf.cdr_no)
            self._credit(dispute.disputer, self.c4e, dispute.bond)
        self._unlock(batch, batch.fiat_total, 0)

    # Disputes ---------------------------------------------------------------------------------

    def dispute(self, digest: bytes, place: int, caller: bytes, now: int) -> None:
        it = self._challengeable(digest, place, now)
        require(place not in it.disputed, "LeafAside")
        batch, leaf = it.batch, it.batch.leaves[place]
        wallet = leaf.rail is Rail.WALLET
        amount = leaf.amount + (leaf.vat if wallet else 0)
        terms = self.policy.at(now).parameters
        bond = max(ceil_by_rate(amount, batch.c4e_rate), terms.dispute_bond)
        bond <<= len(it.disputed)
        require(self._could_take(batch, leaf), "NotPayable")
        self.money.move(self.c4e, caller, self.address, bond)
        assert self._take(batch, leaf)
        if not wallet:
            self.gateways[batch.gateway, batch.asset].locked -= amount
        self.disputes[digest, place] = Dispute(caller, bond, amount, now)
        self.registry.freeze(it.signers, now + terms.ruling_timeout_s, now)
        it.disputed.add(place)

    def _could_take(self, batch: Batch, leaf: Leaf) -> bool:
        lane = self.settled[batch.operator_id, batch.asset]
        passport = self.passports.get(batch.passport_of(leaf))
        if leaf.cdr_no in lane or passport is None or not passport.facts.earns_at(leaf.end):
            return False
        escrow = self.escrows.get(escrow_id(leaf.payer, batch.operator_id, leaf.session_key))
        return leaf.rail is Rail.FIAT or (
            escrow is not None
            and escrow.asset == batch.asset
            and leaf.amount + leaf.vat <= escrow.maximum
        )

    def end_dispute(
        self, digest: bytes, place: int, caller: bytes, now: int, ruling: bool | None = None
    ) -> None:
        """End a dispute by a ruling, or (None) by its time."""
        if ruling is not None:
            require(caller == self.policy.governor, "NotGovernor")
        dispute = self.disputes.get((digest, place))
        require(dispute is not None and dispute.is_open, "NoDispute")
        assert dispute is not None
        it = self.proposals[digest]
        require(it.state is BatchState.SETTLED, "WrongState")
        if ruling is None:
            timeout = self.policy.at(dispute.opened_at).parameters.ruling_timeout_s
            require(now >= dispute.opened_at + timeout, "TooEarly")
        dispute.is_open = False
        batch, leaf = it.batch, it.batch.leaves[place]
        if ruling is False:
            if leaf.rail is Rail.FIAT:
                self.gateways[batch.gateway, batch.asset].free += dispute.amount
            else:
                self._credit(leaf.payer, batch.asset, dispute.amount)
            self._credit(dispute.disputer, self.c4e, dispute.bond)
            self.registry.slash(it.signers, SLASH_BPS, dispute.disputer)
            return
        run = Run()
        self._divide(run, batch, leaf)
        self._pay_out(run, it, caller)
        host = self.passports[batch.passport_of(leaf)].facts.host
        to_host = dispute.bond if ruling else dispute.bond * 500 // 10_000
        self._credit(host, self.c4e, to_host)
        self._credit(dispute.disputer, self.c4e, dispute.bond - to_host)

    # Inside -----------------------------------------------------------------------------------

    def _pending(self, digest: bytes) -> Proposal:
        it = self.proposals.get(digest)
        require(it is not None and it.state is BatchState.PROPOSED, "WrongState")
        assert it is not None
        return it

    def _challengeable(self, digest: bytes, leaf: int, now: int) -> Proposal:
        it = self._pending(digest)
        require(now <= it.window_ends_at, "WindowOver")
        require(leaf < len(it.batch.leaves), "BadLeaf")
        return it

    def _has_quorum(self, it: Proposal) -> bool:
        honest = [m for _, m in self.registry.of_mask(it.signers) if not m.is_slashed]
        return len(honest) >= it.quorum

    def _unexpose(self, it: Proposal) -> None:
        for index, _ in self.registry.of_mask(it.signers):
            self.exposures[index] -= it.exposure

    def _unlock(self, batch: Batch, locked: int, paid: int) -> None:
        if batch.gateway != ZERO_ADDRESS:
            gateway = self.gateways[batch.gateway, batch.asset]
            gateway.free += locked - paid
            gateway.locked -= locked

    def _credit(self, account: bytes, asset: bytes, amount: int) -> None:
        if amount:
            self.withdrawable[account, asset] += amount

    def owes(self, asset: bytes) -> int:
        """All that the hub holds of an asset, by whose it is (invariant I1)."""
        escrows = sum(e.maximum for e in self.escrows.values() if e.asset == asset)
        gateways = sum(g.free + g.locked for (_, of), g in self.gateways.items() if of == asset)
        mine = sum(amount for (_, of), amount in self.withdrawable.items() if of == asset)
        aside = sum(
            d.amount
            for (digest, _), d in self.disputes.items()
            if d.is_open and self.proposals[digest].batch.asset == asset
        )
        prepaid = bonds = 0
        if asset == self.c4e:
            prepaid = sum(host.prepaid for host in self.hosts.values())
            bonds = sum(d.bond for d in self.disputes.values() if d.is_open)
        return escrows + gateways + mine + aside + prepaid + bonds
