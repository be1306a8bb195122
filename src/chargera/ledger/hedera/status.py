"""How a network on Hedera is doing: its topic, its money, how long that lasts, and its mirrors.

Everything is read from mirrors, so anybody may ask, with the operator's account id and no key.
What is spent is what the operator's transactions were charged, since the topic's first message:
what the network's beginning cost comes once and says nothing of the days to come.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from chargera.app.ports import Clock
from chargera.domain.errors import ChargEraError
from chargera.ledger.hedera.amounts import ExchangeRate, hbar_text
from chargera.ledger.hedera.fees import usd_text
from chargera.ledger.hedera.mirror import PAGE_ROWS, HederaMirror, reading
from chargera.ledger.transaction_id import NS_PER_S, timestamp_ns, timestamp_text, to_ns
from chargera.proofs.records import time_text

WINDOW = timedelta(days=7)
"""What is spent within it says what a day costs."""
WINDOW_LEAST_NS = 3_600 * NS_PER_S
"""A shorter one says nothing yet."""
MIRROR_BEHIND_S_MAX = 60.0
PAGES_MAX = 20
DAY_NS = 86_400 * NS_PER_S

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Spending:
    """What an account was charged between two times, in nanoseconds since 1970."""

    tinybar: int
    transactions: int
    since_ns: int
    until_ns: int

    @property
    def tinybar_a_day(self) -> int | None:
        """At this pace, rounded up; None while it is too short to tell."""
        passed = self.until_ns - self.since_ns
        if passed < WINDOW_LEAST_NS:
            return None
        return -(-self.tinybar * DAY_NS // passed)


@dataclass(frozen=True, slots=True)
class HederaStatus:
    """What mirrors say of a network's topic and of the account that pays."""

    topic_id: str
    messages: int
    last_message_at: datetime | None
    mirror_behind_s: float
    """How far the newest block is behind our clock; a few seconds are usual."""
    account_id: str
    balance_tinybar: int
    rate: ExchangeRate
    spending: Spending

    @property
    def days_left(self) -> int | None:
        """Whole days that the balance lasts at this pace; None where that cannot be told."""
        a_day = self.spending.tinybar_a_day
        return None if not a_day else self.balance_tinybar // a_day

    def warnings(self, days_left_min: int) -> list[str]:
        """Return what somebody should do something about, each in a sentence."""
        found = []
        if self.balance_tinybar == 0:
            found.append(f"{self.account_id} has nothing left: nothing is anchored or settled")
        elif self.days_left is not None and self.days_left < days_left_min:
            found.append(
                f"{self.account_id} has money for {self.days_left} days; transfer HBAR to it"
            )
        if self.mirror_behind_s > MIRROR_BEHIND_S_MAX:
            found.append(f"the mirror is {self.mirror_behind_s:.0f} s behind")
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the part of `ledger status --json` that Hedera tells."""
        a_day = self.spending.tinybar_a_day
        at = self.last_message_at
        return {
            "topic_id": self.topic_id,
            "messages": self.messages,
            "last_message_at": None if at is None else time_text(at),
            "mirror_behind_s": round(self.mirror_behind_s, 1),
            "operator_account": self.account_id,
            "balance_hbar": hbar_text(self.balance_tinybar),
            "balance_usd": usd_text(self.rate.usd_e10(self.balance_tinybar), 2),
            "spent_hbar": hbar_text(self.spending.tinybar),
            "spent_since": time_text(_time(self.spending.since_ns)),
            "transactions": self.spending.transactions,
            "burn_hbar_per_day": None if a_day is None else hbar_text(a_day),
            "burn_usd_per_day": None if a_day is None else usd_text(self.rate.usd_e10(a_day), 4),
            "days_left": self.days_left,
        }


async def read_status(
    mirror: HederaMirror, account_id: str, topic_id: str, now: datetime
) -> HederaStatus:  # fmt: skip
    """Return what the mirror says. Raises NotFound, Unavailable."""
    block = await mirror.last_block()
    first = await mirror.messages(topic_id, {"order": "asc", "limit": 1})
    last = await mirror.last_message(topic_id)
    begun_ns = timestamp_ns(first[0].consensus_timestamp) if first else to_ns(now)
    since_ns = max(begun_ns, to_ns(now - WINDOW))
    return HederaStatus(
        topic_id=topic_id,
        messages=last.sequence_number if last else 0,
        last_message_at=_time(timestamp_ns(last.consensus_timestamp)) if last else None,
        mirror_behind_s=max(0, to_ns(now) - block.begins_ns) / NS_PER_S,
        account_id=account_id,
        balance_tinybar=(await mirror.account(account_id)).balance_tinybar,
        rate=await mirror.exchange_rate(),
        spending=await read_spending(mirror, account_id, since_ns, to_ns(now)),
    )


async def read_spending(
    mirror: HederaMirror, account_id: str, since_ns: int, until_ns: int
) -> Spending:
    """Return what an account's own transactions were charged since a time, newest first.

    After so many pages it stops, and the time since which it counts is that of the last one read.
    """
    query: Sequence[tuple[str, str]] = [
        ("account.id", account_id),
        ("limit", str(PAGE_ROWS)),
        ("order", "desc"),
        ("timestamp", f"gte:{timestamp_text(since_ns)}"),
    ]
    tinybar = transactions = 0
    for _ in range(PAGES_MAX):
        page = await mirror.get("/transactions", query)
        with reading("transactions"):
            rows, following = list(page["transactions"]), page["links"]["next"]
            for row in rows:
                if _is_paid_by(row, account_id):
                    tinybar += int(row["charged_tx_fee"])
                    transactions += 1
        if following is None or not rows:
            return Spending(tinybar, transactions, since_ns, until_ns)
        query = parse_qsl(urlsplit(following).query)
    with reading("transactions"):
        return Spending(
            tinybar, transactions, timestamp_ns(rows[-1]["consensus_timestamp"]), until_ns
        )


class FundsWatch:
    """Looks at the operator's money now and then, and says so before it is all gone."""

    def __init__(
        self, mirror: HederaMirror, account_id: str, topic_id: str, clock: Clock, days_left_min: int
    ) -> None:
        """Watch the account; below `days_left_min` days it warns."""
        self._mirror = mirror
        self._account_id = account_id
        self._topic_id = topic_id
        self._clock = clock
        self._days_left_min = days_left_min
        self._status: HederaStatus | None = None
        self._warned: list[str] = []

    async def look(self) -> None:
        """Ask the mirror; one that does not answer changes nothing. A warning is logged once."""
        try:
            self._status = await read_status(
                self._mirror, self._account_id, self._topic_id, self._clock.now()
            )
        except ChargEraError as error:
            _log.info("the account's money is not known now: %s", error.message)
            return
        warnings = self._status.warnings(self._days_left_min)
        for warning in warnings:
            if warning not in self._warned:
                _log.warning("%s", warning)
        self._warned = warnings

    @property
    def fault(self) -> str | None:
        """Why nothing can be anchored or settled for want of money; None if there is some."""
        if self._status is None or self._status.balance_tinybar:
            return None
        return f"the account {self._account_id} is empty: transfer HBAR to it"

    @property
    def balances_tinybar(self) -> Mapping[str, float]:
        """The balance by account, once it is known."""
        if self._status is None:
            return {}
        return {self._account_id: self._status.balance_tinybar}

    @property
    def days_left(self) -> Mapping[str, float]:
        """For how many days it lasts, by account, once that is known."""
        if self._status is None or self._status.days_left is None:
            return {}
        return {self._account_id: self._status.days_left}


def _is_paid_by(row: Mapping[str, Any], account_id: str) -> bool:
    """Say whether a row is a transaction that the account has paid for itself."""
    return row["nonce"] == 0 and str(row["transaction_id"]).startswith(f"{account_id}-")


def _time(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC) + timedelta(
        microseconds=time_ns % NS_PER_S // 1_000
    )
