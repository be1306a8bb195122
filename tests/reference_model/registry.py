"""The model of AttesterRegistry: bonds, quorum, slashing."""

from dataclasses import dataclass, field

from chargera.domain.settlement import BPS, quorum_of
from chargera.proofs.attestation import leaf_identity
from chargera.proofs.settlement import Batch
from tests.reference_model.solidity import BOND
from tests.reference_model.world import Money, require

DAY = 86_400
UNBONDING = 21 * DAY
MOST_FROZEN = 21 * DAY
FREEZE_CYCLE = 63 * DAY


@dataclass
class Member:
    signer: bytes
    beneficiary: bytes
    bond: int = BOND
    unbonding_since: int = 0
    frozen_since: int = 0
    frozen_until: int = 0
    is_active: bool = True
    is_slashed: bool = False


@dataclass
class Registry:
    """Attesters by their index. `burned` and `bounties` are what slashing took."""

    address: bytes
    c4e: bytes
    money: Money
    members: list[Member] = field(default_factory=list)
    slashed: int = 0
    bounties: int = 0

    @property
    def quorum(self) -> int:
        return quorum_of(sum(member.is_active for member in self.members))

    def member(self, index: int) -> Member:
        require(index < len(self.members), "NoSuchAttester")
        return self.members[index]

    def of_mask(self, mask: int) -> list[tuple[int, Member]]:
        return [(i, member) for i, member in enumerate(self.members) if mask >> i & 1]

    def check_quorum(self, signers: int, signed_by: list[bytes]) -> int:
        """`signed_by`: whose signature of the right digest stands at each place."""
        indexes = [i for i in range(112) if signers >> i & 1]
        for place, index in enumerate(indexes):
            is_active = index < len(self.members) and self.members[index].is_active
            require(is_active, "NotActive")
            require(place < len(signed_by), "SignatureCount")
            require(signed_by[place] == self.members[index].signer, "WrongSignature")
        require(len(indexes) == len(signed_by), "SignatureCount")
        require(len(indexes) >= self.quorum, "NoQuorum")
        return len(indexes)

    def admit(self, signer: bytes, beneficiary: bytes) -> int:
        require(all(member.signer != signer for member in self.members), "SignerInUse")
        self.money.move(self.c4e, beneficiary, self.address, BOND)
        self.members.append(Member(signer, beneficiary))
        return len(self.members) - 1

    def unbond(self, index: int, now: int, caller: bytes | None) -> None:
        """Asked by a beneficiary, or (None) by the Timelock that evicts."""
        member = self.member(index)
        require(caller in (None, member.beneficiary), "NotBeneficiary")
        require(member.is_active, "NotActive")
        member.is_active = False
        member.unbonding_since = now

    def withdraw_bond(self, index: int, now: int) -> None:
        member = self.member(index)
        require(member.unbonding_since, "NotUnbonding")
        require(now >= member.unbonding_since + UNBONDING, "StillBonded")
        require(now >= member.frozen_until, "Frozen")
        require(member.bond, "NoBond")
        amount, member.bond = member.bond, 0
        self.money.move(self.c4e, self.address, member.beneficiary, amount)

    def slash(self, mask: int, bps: int, challenger: bytes) -> None:
        for _, member in self.of_mask(mask):
            self._take(member, member.bond * bps // BPS, challenger)

    def slash_equivocation(
        self,
        index: int,
        a: Batch,
        leaf_a: int,
        signed_a: bytes,
        b: Batch,
        leaf_b: int,
        signed_b: bytes,
        challenger: bytes,
    ) -> None:
        member = self.member(index)
        require(not member.is_slashed, "AlreadySlashed")
        one, other = a.leaves[leaf_a], b.leaves[leaf_b]
        contradict = (a.operator_id, a.asset, one.cdr_no) == (
            b.operator_id,
            b.asset,
            other.cdr_no,
        ) and leaf_identity(one, a.passport_of(one)) != leaf_identity(other, b.passport_of(other))
        require(contradict, "NoEquivocation")
        require(signed_a == member.signer and signed_b == member.signer, "WrongSignature")
        member.is_slashed = True
        member.is_active = False
        self._take(member, member.bond, challenger)

    def freeze(self, mask: int, until: int, now: int) -> None:
        for _, member in self.of_mask(mask):
            since = member.frozen_since
            if since == 0 or now >= since + FREEZE_CYCLE:
                since = now
            end = min(until, since + MOST_FROZEN)
            if end > max(member.frozen_until, now):
                member.frozen_since, member.frozen_until = since, end

    def _take(self, member: Member, amount: int, challenger: bytes) -> None:
        member.bond -= amount
        bounty = amount // 4
        self.slashed += amount
        self.bounties += bounty
        self.money.burn(self.c4e, self.address, amount - bounty)
        self.money.move(self.c4e, self.address, challenger, bounty)
