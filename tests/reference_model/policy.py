"""Policies that the reference model and the contracts are given."""

from dataclasses import replace

from chargera.domain.policy import AssetPolicy, PolicyParameters, PolicyVersion
from chargera.domain.settlement import Ceilings, Fees

DAY = 86_400
PARAMETERS = PolicyParameters(
    fees=Fees(fee_bps=500, ops_bps=100, reserve_bps=300),
    settlement_window_s=DAY,
    refund_ask_after_s=11 * DAY,
    refund_pay_after_s=3 * DAY,
    contest_period_s=3 * DAY,
    ruling_timeout_s=21 * DAY,
    anchor_interval_s=3_600,
    anchor_sessions=100,
    dispute_bond=20 * 10**6,
    price_step_interval_s=900,
    low_use_bps=1_500,
    mined_hours=0x3F,
    service_energy_wh=50_000_000,
    service_days=365,
    fault_score_min=7_000,
    uptime_bps_min=9_500,
)


def version_of(
    number: int, holds_from: int, c4e: bytes, euro: bytes, *, fee_bps: int = 500, rate: int = 20
) -> PolicyVersion:
    """A version; `rate` is whole C4E for a euro."""
    return PolicyVersion(
        number,
        holds_from,
        replace(PARAMETERS, fees=Fees(fee_bps, 100 + number, 300)),
        (
            AssetPolicy(c4e, 6, None, Ceilings(40 * 10**6, 200 * 10**6, 100 * 10**6), 10**6),
            AssetPolicy(euro, 6, "EUR", Ceilings(2 * 10**6, 10 * 10**6, 5 * 10**6), rate * 10**6),
        ),
    )
