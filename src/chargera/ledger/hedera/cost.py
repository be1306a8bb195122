"""What a network costs on Hedera: measured gas, real message lengths and the dated fee table.

The model is that of the server: an anchor an hour, or sooner after many sessions or with each
full batch; a batch of what an hour brings, at most 48 sessions. Sessions are spread evenly over
time and over chargers, each session of a batch at another charger as long as there are any: the
dearest case. Counts are exact fractions, money integers of 10^-10 dollars.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chargera.domain.errors import InvalidInput
from chargera.domain.policy import PolicyParameters
from chargera.domain.settlement import LEAVES_MAX
from chargera.ledger.hedera.fees import MAINNET, FeeTable, usd_text
from chargera.proofs.checkpoint import Checkpoint, sign_checkpoint
from chargera.proofs.note import VerifierKey

GAS_FILE = Path(__file__).parent / "gas.json"
CHARGERS_MAX = 10**7
SESSIONS_A_DAY_MAX = 1_000
TREE_SIZE = 10**10 - 1
"""The longest that the number in a head becomes in practice: a thousand million sessions."""
BATCH_HOURS = 1
"""How long the oldest bill waits for others, by default."""
SIZES = (10, 100, 1_000, 10_000, 100_000)
"""Chargers of the networks in the published table."""


class Period(StrEnum):
    """Over how long costs are added up."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"

    @property
    def hours(self) -> int:
        """Its length in hours; a month is the twelfth part of a year."""
        return {Period.DAY: 24, Period.WEEK: 168, Period.MONTH: 730, Period.YEAR: 8_760}[self]


class PaidBy(StrEnum):
    """How drivers pay, which decides what settling costs."""

    FIAT = "fiat"
    WALLET_EURO = "wallet-euro"
    WALLET_C4E = "wallet-c4e"


@dataclass(frozen=True, slots=True)
class Load:
    """What a network does; `claims` is how often a charger's holders are paid in a month."""

    chargers: int
    sessions_per_day: Fraction
    """Of one charger."""
    period: Period = Period.MONTH
    paid_by: PaidBy = PaidBy.FIAT
    claims: int = 1

    def __post_init__(self) -> None:
        """Raise InvalidInput, naming what is out of its range."""
        if not 0 < self.chargers <= CHARGERS_MAX:
            raise InvalidInput(f"chargers: must be 1 to {CHARGERS_MAX}", field="chargers")
        if not 0 <= self.sessions_per_day <= SESSIONS_A_DAY_MAX:
            raise InvalidInput(
                f"sessions_per_day: must be 0 to {SESSIONS_A_DAY_MAX}", field="sessions_per_day"
            )

    @property
    def sessions_an_hour(self) -> Fraction:
        """Of the whole network."""
        return self.chargers * self.sessions_per_day / 24


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of transaction: how often, at what, `each` with gas or bytes as measured."""

    name: str
    count: Fraction
    usd_e10: Fraction
    """Of one of them."""
    gas: Fraction | None = None
    size_bytes: int | None = None

    @property
    def total_usd_e10(self) -> int:
        """All of them, rounded up."""
        return ceil(self.count * self.usd_e10)


@dataclass(frozen=True, slots=True)
class Cost:
    """The costs of a period, and those that come once."""

    load: Load
    anchor_interval_s: int
    anchor_sessions: int
    lines: tuple[Line, ...]
    once: tuple[Line, ...]
    """One charger's registration, and the contracts."""

    @property
    def total_usd_e10(self) -> int:
        """All that recurs."""
        return sum(line.total_usd_e10 for line in self.lines)

    def a_charger(self, name: str) -> Fraction:
        """Return what a kind of transaction costs one charger in the period, 10^-10 dollars."""
        return Fraction(self.line(name).total_usd_e10, self.load.chargers)

    def line(self, name: str) -> Line:
        """Return a line by its name."""
        return next(line for line in (*self.lines, *self.once) if line.name == name)

    def as_dict(self) -> dict[str, Any]:
        """Return the document of `ledger cost --json`: dollars as decimal texts."""
        chargers = self.load.chargers
        return {
            "fees_as_of": MAINNET.as_of.isoformat(),
            "chargers": chargers,
            "sessions_per_day": str(self.load.sessions_per_day),
            "period": self.load.period.value,
            "period_hours": self.load.period.hours,
            "paid_by": self.load.paid_by.value,
            "anchor_interval_s": self.anchor_interval_s,
            "anchor_sessions": self.anchor_sessions,
            "lines": [_row(line, chargers) for line in self.lines],
            "total_usd": usd_text(self.total_usd_e10, 6),
            "total_usd_per_charger": usd_text(ceil(Fraction(self.total_usd_e10, chargers)), 6),
            "once": [_row(line, None) for line in self.once],
        }


def cost(
    load: Load, policy: PolicyParameters, log_origin: str, fees: FeeTable = MAINNET
) -> Cost:  # fmt: skip
    """Return what a network pays by this policy; `log_origin` is the first line of its heads."""
    hours, rate = load.period.hours, load.sessions_an_hour
    size_bytes = message_bytes(log_origin)
    message = fees.message(size_bytes)
    batches, sessions = _batches(rate)
    passports = min(sessions, Fraction(load.chargers))
    claims = load.chargers * load.claims * Fraction(hours, Period.MONTH.hours)
    anchors = max(
        Fraction(3_600, policy.anchor_interval_s), rate / policy.anchor_sessions, rate / LEAVES_MAX
    )
    lines = (
        Line("anchor", anchors * hours, Fraction(message), size_bytes=size_bytes),
        _called("propose", batches * hours, _batch_gas("propose", sessions, passports), fees),
        _called("settle", batches * hours, settle_gas(load.paid_by, sessions, passports), fees),
        _called("claim", claims, Fraction(snapshot("SettlementHub", "claim")), fees),
    )
    return Cost(load, policy.anchor_interval_s, policy.anchor_sessions, lines, _once(fees, message))


def message_bytes(log_origin: str) -> int:
    """Return the length of an anchor: a signed head of a log of that name."""
    signing = Ed25519PrivateKey.from_private_bytes(bytes(32))  # of this length only
    key = VerifierKey(log_origin, signing.public_key().public_bytes_raw())
    return len(sign_checkpoint(Checkpoint(log_origin, TREE_SIZE, bytes(32)), key, signing.sign))


def settle_gas(paid_by: PaidBy, sessions: Fraction, passports: Fraction) -> Fraction:
    """Return the gas of settling a batch; from wallets by what the contracts' tests measure."""
    gas = _batch_gas("settle", sessions, passports)
    rows = {
        PaidBy.FIAT: None,
        PaidBy.WALLET_EURO: ("wallet EUR, 20 passports", "fiat EUR, 20 passports"),
        PaidBy.WALLET_C4E: ("wallet C4E, 48 passports", "fiat EUR, 48 passports"),
    }[paid_by]
    if rows is None:
        return gas
    dearer, base = (snapshot("SettlementHub", f"settle, {row}, steady") for row in rows)
    return gas + sessions * Fraction(dearer - base, LEAVES_MAX)


def deployment_gas() -> Mapping[str, int]:
    """Return the gas of each step that brings the contracts onto a chain, by its label."""
    return {step["step"]: step["gas"] for step in _measured()["deployment"]}


def snapshot(contract: str, name: str) -> int:
    """Return a row of the contracts' own gas snapshots."""
    gas: int = _measured()["snapshots"][contract][name]
    return gas


def _batches(rate: Fraction) -> tuple[Fraction, Fraction]:
    """Return batches an hour, and sessions of one: full, or of what comes within the wait."""
    if not rate:
        return Fraction(), Fraction(1)
    sessions = max(Fraction(1), min(rate * BATCH_HOURS, Fraction(LEAVES_MAX)))
    return rate / sessions, sessions


def _batch_gas(kind: str, sessions: Fraction, passports: Fraction) -> Fraction:
    """Return what a batch uses: linear in its sessions and in its passports, as measured."""
    smallest, many, spread = _measured()["batches"]
    more = many["sessions"] - smallest["sessions"]
    a_session = Fraction(many[kind] - smallest[kind], more)
    a_passport = Fraction(spread[kind] - many[kind], spread["passports"] - many["passports"])
    least = Fraction(smallest[kind])
    return least + (sessions - 1) * a_session + (passports - 1) * a_passport


def _once(fees: FeeTable, message_usd_e10: int) -> tuple[Line, ...]:
    *_, spread = _measured()["batches"]
    first = Fraction(spread["settle_first"] - spread["settle"], spread["passports"])
    registering = snapshot("SettlementHub", "register a passport")
    one = Fraction(1)
    return (
        Line("register: anchor", one, Fraction(message_usd_e10)),
        _called("register", one, Fraction(registering), fees),
        _called("confirm", one, Fraction(snapshot("ChargerPassport", "confirm")), fees),
        _called("first settlement of a charger", one, first, fees),
        _called("contracts", one, Fraction(sum(deployment_gas().values())), fees),
        Line("topic", one, Fraction(fees.topic_create(keys=3))),
    )


def _called(name: str, count: Fraction, gas: Fraction, fees: FeeTable) -> Line:
    return Line(name, count, fees.ethereum(0) + gas * fees.gas_usd_e10, gas=gas)


def _row(line: Line, chargers: int | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": line.name,
        "count": _decimal(line.count),
        "gas": None if line.gas is None else ceil(line.gas),
        "bytes": line.size_bytes,
        "usd_each": usd_text(ceil(line.usd_e10), 6),
        "usd": usd_text(line.total_usd_e10, 6),
    }
    if chargers is not None:
        row["usd_per_charger"] = usd_text(ceil(Fraction(line.total_usd_e10, chargers)), 6)
    return row


def _decimal(count: Fraction) -> str:
    whole, part = divmod(round(count * 10), 10)
    return f"{whole}.{part}"


@cache
def _measured() -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(GAS_FILE.read_text(encoding="utf-8"))
    return document


# The published page ------------------------------------------------------------------------


def page(costs: Sequence[Cost]) -> str:
    """Return the Markdown page of a table with a row a network, all of one load but its size."""
    load, first = costs[0].load, costs[0]
    head = ["chargers", *(line.name for line in first.lines), "all", "of one charger", "anchoring"]
    rows = [
        [
            f"{each.load.chargers:,}",
            *(_dollars(line.total_usd_e10) for line in each.lines),
            _dollars(each.total_usd_e10),
            usd_text(ceil(Fraction(each.total_usd_e10, each.load.chargers)), 4),
            usd_text(ceil(each.a_charger("anchor")), 5),
        ]
        for each in costs
    ]
    counts = [
        [f"{each.load.chargers:,}"]
        + [_decimal(line.count) for line in each.lines]
        + [_gas_text(each.line("propose")), _gas_text(each.line("settle"))]
        for each in costs
    ]
    once = [
        [
            line.name,
            "-" if line.gas is None else f"{ceil(line.gas):,}",
            usd_text(ceil(line.usd_e10), 4),
        ]
        for line in first.once
    ]
    return _PAGE.format(
        as_of=MAINNET.as_of.isoformat(),
        sessions=load.sessions_per_day,
        period=load.period.value,
        hours=load.period.hours,
        paid_by=load.paid_by.value,
        interval_s=first.anchor_interval_s,
        anchor_sessions=first.anchor_sessions,
        size_bytes=first.line("anchor").size_bytes,
        message=usd_text(ceil(first.line("anchor").usd_e10), 6),
        table=_table(head, rows),
        counts=_table(
            [
                "chargers",
                *(f"{line.name}s" for line in first.lines),
                "gas a propose",
                "gas a settle",
            ],
            counts,
        ),
        escrow_gas=f"{snapshot('SettlementHub', 'open, steady'):,}",
        once=_table(["once", "gas", "dollars"], once),
    )


def _gas_text(line: Line) -> str:
    return "-" if line.gas is None else f"{ceil(line.gas):,}"


def _dollars(usd_e10: int) -> str:
    whole, _, part = usd_text(usd_e10, 2).partition(".")
    return f"{int(whole):,}.{part}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---:"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_PAGE = """\
# What a network costs on Hedera

Written by `chargera ledger cost --sessions-per-day {sessions} --period {period} --table FILE`, and
compared by a test. For your own figures: `chargera ledger cost --chargers N --sessions-per-day S`.

- Fees as of {as_of}, in dollars; gas as the contracts' tests measure it.
- {sessions} sessions a charger and day, a {period} of {hours} hours, drivers pay by {paid_by}.
- An anchor every {interval_s} s, or after {anchor_sessions} sessions, or with a full batch; it has
  {size_bytes} bytes and costs ${message}.

Dollars a {period}, of the whole network; the last two columns are of one charger:

{table}

How many transactions that is, and in the last two columns the gas of proposing and of settling one
batch:

{counts}

What comes once; all but the last two lines for each charger:

{once}

Sessions come evenly, and each session of a batch at another charger: the dearest case. A batch has
what an hour brings, at most 48 sessions. Claims are one a charger and month, and whoever sends one
pays for it; so does a driver for his wallet's escrow, {escrow_gas} gas. Attesters pay nothing: they
only sign. Nothing is anchored while nothing is logged, so anchoring costs at most this.
"""
