"""The network's policy: numbered versions of every operating parameter, as the chain holds them."""

from collections.abc import Sequence
from dataclasses import dataclass

from chargera.domain.settlement import Ceilings, Fees


@dataclass(frozen=True, slots=True)
class AssetPolicy:
    """What a version says of an asset that bills may be paid in.

    `asset` is 20 bytes; `currency` the ISO 4217 code that it stands for, None for C4E; `c4e_rate`
    C4E minor units for 10^6 minor units of it, where a lane has no rate yet.
    """

    asset: bytes
    decimals: int
    currency: str | None
    ceilings: Ceilings
    c4e_rate: int


@dataclass(frozen=True, slots=True)
class PolicyParameters:
    """The parameters of a version; units as the last word of each name says, bonds in C4E."""

    fees: Fees
    settlement_window_s: int
    refund_ask_after_s: int
    refund_pay_after_s: int
    contest_period_s: int
    ruling_timeout_s: int
    anchor_interval_s: int
    anchor_sessions: int
    dispute_bond: int
    price_step_interval_s: int
    low_use_bps: int
    mined_hours: int
    service_energy_wh: int
    service_days: int
    fault_score_min: int
    uptime_bps_min: int


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A version: its number from 1, from when it holds (Unix seconds), parameters, assets."""

    number: int
    holds_from: int
    parameters: PolicyParameters
    assets: tuple[AssetPolicy, ...]

    def asset_of(self, address: bytes) -> AssetPolicy | None:
        """Return what it says of an asset, None if it does not list it."""
        return next((row for row in self.assets if row.asset == address), None)

    def asset_for(self, currency: str) -> AssetPolicy | None:
        """Return the asset that stands for a currency, the first of several; None without one."""
        return next((row for row in self.assets if row.currency == currency), None)


def version_at(versions: Sequence[PolicyVersion], time: int) -> PolicyVersion | None:
    """Return the version in force at a time (Unix seconds), None before the first."""
    begun = [version for version in versions if version.holds_from <= time]
    return max(begun, key=lambda version: version.number, default=None)
