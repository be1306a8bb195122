"""What transactions cost: the table of August 2026 (HIP-1261), kept apart from the product's own.

Money is in tinycents, 10^-10 US dollars, and becomes tinybars by the exchange rate, which is
that of a fresh network: 1 HBAR for 12 cents. At it a gas costs 71 tinybars.
"""

from dataclasses import dataclass

from hiero_sdk_python.hapi.services.exchange_rate_pb2 import ExchangeRate, ExchangeRateSet
from hiero_sdk_python.hapi.services.timestamp_pb2 import TimestampSeconds

DATE = "2026-08-01"
CENT = 10**8
HBAR = 10**8
"""Tinybars."""
GAS = 852
"""Tinycents of one gas."""
SIGNATURE = 10**5
KEY = CENT
QUERY = 10**6
"""A paid query: 0.0001 dollars."""

BASE = {
    "consensusCreateTopic": CENT,
    "consensusUpdateTopic": 2_200_000,
    "consensusDeleteTopic": 50_000_000,
    "consensusSubmitMessage": 8_000_000,
    "cryptoCreateAccount": 5 * CENT,
    "cryptoUpdateAccount": 2_200_000,
    "cryptoDelete": 50_000_000,
    "cryptoTransfer": 1_000_000,
    "scheduleCreate": CENT,
    "scheduleSign": 10_000_000,
    "scheduleDelete": 10_000_000,
    "contractCreateInstance": 100 * CENT,
    "contractCall": 0,
    "ethereumTransaction": 0,
    "fileCreate": 5 * CENT,
    "fileAppend": 5 * CENT,
}
"""Tinycents by the field of the transaction's body."""

AUTO_CREATION = 5 * CENT
SCHEDULED_CALL = 10 * CENT
"""A schedule of a contract call, in place of its base."""
MESSAGE_BYTES_INCLUDED, MESSAGE_BYTE = 100, 6_800
TRANSFERS_INCLUDED, TRANSFER = 2, 1_000_000
FILE_BYTES_INCLUDED, FILE_BYTE = 1_000, 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """So many HBAR are worth so many cents."""

    hbar: int = 1
    cents: int = 12

    def tinybars(self, tinycents: int) -> int:
        """Return an amount in tinybars, rounded down as nodes do."""
        return tinycents * self.hbar // self.cents

    @property
    def gas_price(self) -> int:
        """Tinybars of one gas."""
        return max(1, self.tinybars(GAS))

    def message(self, now_ns: int) -> ExchangeRateSet:
        """Return the rate as receipts hold it: of this hour and of the next."""
        hour = now_ns // (3600 * 10**9) + 1
        current, following = (
            ExchangeRate(
                hbarEquiv=self.hbar,
                centEquiv=self.cents,
                expirationTime=TimestampSeconds(seconds=3600 * (hour + later)),
            )
            for later in (0, 1)
        )
        return ExchangeRateSet(currentRate=current, nextRate=following)


def message_tinycents(size: int) -> int:
    """Return the price of a topic message without signatures."""
    extra = max(0, size - MESSAGE_BYTES_INCLUDED)
    return BASE["consensusSubmitMessage"] + extra * MESSAGE_BYTE
