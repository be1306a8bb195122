"""What the model of the network stands on: time, money, policy versions, passports.

Nothing here reads the contracts' sources: rules are those of their interfaces, written again in
the plainest way, with lists and dictionaries instead of packed slots.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace

from chargera.domain.passport import CustodyKind, PassportFacts, PassportStatus
from chargera.domain.policy import PolicyVersion, version_at
from tests.reference_model.solidity import Reverts


def require(holds: object, error: str) -> None:
    if not holds:
        raise Reverts(error)


@dataclass
class Money:
    """Balances by (asset, account), and how much of each asset there is."""

    balances: dict[tuple[bytes, bytes], int] = field(default_factory=lambda: defaultdict(int))
    supply: dict[bytes, int] = field(default_factory=lambda: defaultdict(int))

    def of(self, asset: bytes, account: bytes) -> int:
        return self.balances[asset, account]

    def mint(self, asset: bytes, account: bytes, amount: int) -> None:
        self.balances[asset, account] += amount
        self.supply[asset] += amount

    def move(self, asset: bytes, source: bytes, target: bytes, amount: int) -> None:
        require(self.balances[asset, source] >= amount, "ERC20InsufficientBalance")
        self.balances[asset, source] -= amount
        self.balances[asset, target] += amount

    def burn(self, asset: bytes, account: bytes, amount: int) -> None:
        assert self.balances[asset, account] >= amount, "only what is held is burned"
        self.balances[asset, account] -= amount
        self.supply[asset] -= amount


@dataclass
class Policy:
    """All versions; the assets that any of them lists, in order."""

    versions: list[PolicyVersion]
    market: bytes | None = None
    governor: bytes | None = None

    @property
    def assets(self) -> list[bytes]:
        return list(dict.fromkeys(row.asset for v in self.versions for row in v.assets))

    @property
    def latest(self) -> int:
        return self.versions[-1].number

    def at(self, time: int) -> PolicyVersion:
        version = version_at(self.versions, time)
        assert version is not None, "the first version begins before all"
        return version

    def append(self, version: PolicyVersion, now: int) -> None:
        earliest = max(now, self.versions[-1].holds_from + 1)
        require(version.holds_from >= earliest, "FromTooEarly")
        self.versions.append(version)


@dataclass
class Passport:
    """A minted passport: its facts, its owner, and the history of its operator."""

    facts: PassportFacts
    owner: bytes
    operators: list[tuple[int, str]]
    custody: int = 0

    def operator_at(self, time: int) -> str | None:
        known = [who for since, who in self.operators if since <= time]
        return known[-1] if known else None

    def require_host(self, caller: bytes) -> None:
        require(self.facts.status is PassportStatus.MINTED, "WrongStatus")
        require(caller == self.facts.host, "NotHost")

    def lower_commission(self, caller: bytes, commission_bps: int) -> None:
        self.require_host(caller)
        require(commission_bps <= self.facts.commission_bps, "CommissionTooHigh")
        self.facts = replace(self.facts, commission_bps=commission_bps)

    def retire(self, caller: bytes, now: int) -> None:
        self.require_host(caller)
        self.facts = replace(self.facts, status=PassportStatus.RETIRED, retired_at=now)
        self.custody += 1

    def record(self, kind: CustodyKind, value: bytes, now: int) -> None:
        """A change of host or operator that everybody has signed."""
        require(self.facts.status is PassportStatus.MINTED, "WrongStatus")
        self.custody += 1
        if kind is CustodyKind.OWNER:
            self.facts = replace(self.facts, host=value[-20:])
        else:
            operator = value.rstrip(b"\0").decode()
            self.facts = replace(self.facts, operator_id=operator)
            self.operators.append((now, operator))

    def transfer(self, caller: bytes, source: bytes, target: bytes) -> None:
        # ERC-721 looks at the approval of the caller before it looks at the source.
        require(caller == self.owner, "ERC721InsufficientApproval")
        require(source == self.owner, "ERC721IncorrectOwner")
        self.owner = target
