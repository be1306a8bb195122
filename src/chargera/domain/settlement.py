"""The arithmetic of settlement: what a CDR asks for on chain, and how that money is divided.

Integers only. Amounts are in minor units of their asset, rates in C4E minor units for 10^6 minor
units of an asset, shares of an amount in basis points. The contracts compute the same.
"""

from dataclasses import dataclass

from chargera.domain.errors import InvalidInput
from chargera.domain.money import minor_digits
from chargera.domain.word import Word

BPS = 10_000
C4E_DECIMALS = 6
ASSET_DECIMALS_MAX = 8
AMOUNT_LIMIT = 2**64
"""Amounts of a leaf are below it."""
RATE_LIMIT = 2**128
RATE_UNIT = 10**6
"""A rate is for so many minor units of the asset; it is the rate of C4E itself."""
UNITS = 1_000_000
"""Units of shares that every passport has, for ever."""
MILLIONTHS = 10**6
DAY_S = 86_400
RATE_STEP_PERCENT = 10
LEAVES_MAX = 48
OVERLAP_TOLERANCE_S = 60


class Rail(Word):
    """How a charging session is paid."""

    WALLET = "wallet"
    """From an escrow that its payer opened."""
    FIAT = "fiat"
    """From what a payment gateway has prepaid."""


class BatchState(Word):
    """How far a batch is."""

    SIGNED = "signed"
    """A quorum of attesters has signed it."""
    PROPOSED = "proposed"
    """The hub has it; its window runs or is over."""
    SETTLED = "settled"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Fees:
    """What a policy version takes of a net amount, in basis points."""

    fee_bps: int
    ops_bps: int
    reserve_bps: int


@dataclass(frozen=True, slots=True)
class Split:
    """A net amount, divided: these five sum to it.

    `fee` is burned as C4E, `reserve` kept for maintenance, `host` the rest of the host's
    commission, `ops` for who signed, proposed and settled, `holders` for the shares.
    """

    fee: int
    reserve: int
    host: int
    ops: int
    holders: int


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The most that a bill may ask for, in minor units of its asset."""

    per_kwh: int
    per_hour: int
    flat: int


@dataclass(frozen=True, slots=True)
class OpsShares:
    """The `ops` of a batch: to each of its signers, to its proposer, to who settled it."""

    each_signer: int
    proposer: int
    caller: int


@dataclass(frozen=True, slots=True)
class RateBounds:
    """The rates that a proposal may use, both included."""

    least: int
    most: int


def split(amount: int, fees: Fees, commission_bps: int, *, has_market: bool) -> Split:
    """Divide a net amount. Each part is floored, in the order of the fields; holders get the rest.

    The reserve comes out of the host's commission, and only where there is a market to keep it.
    """
    fee = amount * fees.fee_bps // BPS
    reserve = amount * fees.reserve_bps // BPS if has_market else 0
    commission = amount * commission_bps // BPS
    ops = amount * fees.ops_bps // BPS
    reserve = min(reserve, commission)
    return Split(fee, reserve, commission - reserve, ops, amount - fee - commission - ops)


def divide_ops(ops: int, signers: int) -> OpsShares:
    """Divide a batch's `ops`: half to the signers in equal parts, the rest half and half.

    Every part is floored; who settles gets what the floors leave.
    """
    each_signer = ops // 2 // signers
    proposer = (ops - ops // 2) // 2
    return OpsShares(each_signer, proposer, ops - each_signer * signers - proposer)


def in_asset(amount_minor: int, currency: str, decimals: int) -> int:
    """Return an amount of a bill in minor units of an asset that stands for its currency.

    Raises InvalidInput if the asset is coarser than the currency or the amount fits no leaf.
    """
    digits = minor_digits(currency)
    if decimals < digits:
        raise InvalidInput(
            f"an asset of {decimals} decimals cannot hold minor units of {currency}",
            field="asset",
            remedy="list an asset with at least the currency's decimals",
        )
    scale: int = 10 ** (decimals - digits)
    return _amount(amount_minor * scale)


def in_c4e(asset_amount: int, c4e_rate: int) -> int:
    """Return what an amount of an asset is in C4E minor units by its rate, rounded up.

    Raises InvalidInput if that fits no leaf.
    """
    return _amount(ceil_by_rate(asset_amount, c4e_rate))


def ceil_by_rate(asset_amount: int, c4e_rate: int) -> int:
    """Return `asset_amount` x `c4e_rate` / 10^6, rounded up."""
    return -(-asset_amount * c4e_rate // RATE_UNIT)


def quorum_of(attesters: int) -> int:
    """Return how many signatures are enough: 2 of up to 3 attesters, else two thirds and one."""
    return 2 if attesters <= 3 else 2 * attesters // 3 + 1


def exposure_of_signer(wallet_total: int, c4e_rate: int, signers: int) -> int:
    """Return what each signer of a batch stands for with his bond, in C4E minor units.

    `wallet_total` is the sum of net amounts and VAT of the wallet leaves.
    """
    return -(-ceil_by_rate(wallet_total, c4e_rate) // signers)


def rate_bounds(last_rate: int, last_at: int, now: int) -> RateBounds:
    """Return the rates that a lane may use now, after `last_rate` was used at `last_at` (seconds).

    10 % of the last rate either way for each day begun, one day at least.
    """
    days = max(1, -(-(now - last_at) // DAY_S))
    step = last_rate * RATE_STEP_PERCENT * days // 100
    return RateBounds(max(1, last_rate - step), min(RATE_LIMIT - 1, last_rate + step))


def ceiling_of(ceilings: Ceilings, import_wh: int, duration_s: int) -> int:
    """Return the most that a session of that energy and length may cost without VAT."""
    energy = -(-ceilings.per_kwh * import_wh // 1000)
    time = -(-ceilings.per_hour * duration_s // 3600)
    return energy + time + ceilings.flat


def energy_limit_wh(rated_w: int, duration_s: int) -> int:
    """Return the most energy that a charger can have given in that time.

    Its rated power for a minute more than the session, a tenth more, and 100 Wh.
    """
    return rated_w * (duration_s + 60) * 11 // 36_000 + 100


def overlap_s(start: int, end: int, other_start: int, other_end: int) -> int:
    """Return for how many seconds two sessions overlap; negative is the pause between them."""
    return min(end, other_end) - max(start, other_start)


def _amount(amount: int) -> int:
    if not 0 <= amount < AMOUNT_LIMIT:
        raise InvalidInput(f"{amount} is no amount that a leaf can carry", field="amount")
    return amount
