"""The model of ChargerShares, without an accumulator: each amount is divided when it comes."""

from collections import defaultdict
from dataclasses import dataclass, field

from chargera.domain.settlement import MILLIONTHS, UNITS
from tests.reference_model.world import Money, Passport, require

THE_PASSPORT = bytes(20)
"""The account of the units that are not released."""


@dataclass
class Shares:
    """Units by (passport, account); what each account is owed, in millionths, by asset."""

    address: bytes
    money: Money
    passports: dict[bytes, Passport]
    units: dict[bytes, dict[bytes, int]] = field(default_factory=dict)
    owed: dict[tuple[bytes, bytes, bytes], int] = field(default_factory=lambda: defaultdict(int))
    total: dict[tuple[bytes, bytes], int] = field(default_factory=lambda: defaultdict(int))
    paid: dict[tuple[bytes, bytes], int] = field(default_factory=lambda: defaultdict(int))

    def holders(self, passport: bytes) -> dict[bytes, int]:
        return self.units.setdefault(passport, {THE_PASSPORT: UNITS})

    def notify(self, asset: bytes, amounts: dict[bytes, int]) -> None:
        for passport, amount in amounts.items():
            if amount:
                self.total[passport, asset] += amount
            for account, units in self.holders(passport).items():
                self.owed[passport, asset, account] += units * amount

    def release(self, caller: bytes, passport: bytes, to: bytes, units: int) -> None:
        require(caller == self.passports[passport].owner, "NotPassportOwner")
        require(units <= self.holders(passport)[THE_PASSPORT], "NotEnoughUnits")
        self._move(passport, THE_PASSPORT, to, units)

    def transfer(self, passport: bytes, source: bytes, target: bytes, units: int) -> None:
        require(self.holders(passport).get(source, 0) >= units, "ERC1155InsufficientBalance")
        self._move(passport, source, target, units)

    def claimable(self, passport: bytes, asset: bytes, holder: bytes) -> int:
        whole = self.owed[passport, asset, holder] // MILLIONTHS
        if self.passports[passport].owner == holder:
            whole += self.owed[passport, asset, THE_PASSPORT] // MILLIONTHS
        return whole

    def claim(self, passport: bytes, asset: bytes, holder: bytes) -> int:
        amount = self.claimable(passport, asset, holder)
        self.owed[passport, asset, holder] %= MILLIONTHS
        if self.passports[passport].owner == holder:
            self.owed[passport, asset, THE_PASSPORT] %= MILLIONTHS
        self.money.move(asset, self.address, holder, amount)
        self.paid[passport, asset] += amount
        return amount

    def _move(self, passport: bytes, source: bytes, target: bytes, units: int) -> None:
        holders = self.holders(passport)
        holders[source] = holders.get(source, 0) - units
        holders[target] = holders.get(target, 0) + units
