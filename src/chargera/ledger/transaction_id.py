"""Hedera transaction ids: who pays, and from when on the transaction is valid."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from chargera.domain.errors import InvalidInput
from chargera.proofs.running_hash import parse_entity_id

NS_PER_S = 10**9
NS_PER_MS = 10**6

VALID_DURATION_NS = 120 * NS_PER_S
"""How long after its valid start a transaction is taken; the network allows up to 180 s."""

START_LEAD_NS = 5 * NS_PER_S
"""So far a node's clock may be behind ours: it takes nothing that is valid only later."""

_FORM = re.compile(r"([0-9.]+)@([1-9][0-9]{0,10})\.([0-9]{9})")


@dataclass(frozen=True, slots=True)
class HederaTransactionId:
    """`payer@seconds.nanoseconds`: unique for ever, chosen by the sender before it sends."""

    payer_account_id: str
    valid_start_ns: int

    @classmethod
    def new(cls, payer_account_id: str, now: datetime, distinction: int) -> Self:
        """Return an id that is valid from some seconds before `now`.

        `distinction` tells apart ids that are made within one millisecond, by their last digits.
        """
        start = to_ns(now) - START_LEAD_NS - NS_PER_MS + distinction % NS_PER_MS
        return cls(payer_account_id, start)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the id in `text`. Raises InvalidInput."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise InvalidInput(
                "hedera_transaction_id: must look like 0.0.1002@1767225600.000000001",
                field="hedera_transaction_id",
            )
        payer, seconds, nanoseconds = match.groups()
        parse_entity_id(payer, "hedera_transaction_id")
        return cls(payer, int(seconds) * NS_PER_S + int(nanoseconds))

    def __str__(self) -> str:
        """Return the text form."""
        return f"{self.payer_account_id}@{timestamp_text(self.valid_start_ns)}"

    def is_expired(self, now: datetime) -> bool:
        """Say whether the network would no longer take it, so that it can have no effect later."""
        return to_ns(now) > self.valid_start_ns + VALID_DURATION_NS


def to_ns(time: datetime) -> int:
    """Return nanoseconds since 1970, exactly."""
    since = time - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * NS_PER_S + since.microseconds * 1_000


def timestamp_text(time_ns: int) -> str:
    """Return `seconds.nanoseconds`, as Hedera writes a consensus time."""
    return f"{time_ns // NS_PER_S}.{time_ns % NS_PER_S:09}"


def timestamp_ns(text: str) -> int:
    """Return the nanoseconds since 1970 of `seconds.nanoseconds` with up to nine digits of them.

    Raises InvalidInput.
    """
    match = re.fullmatch(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?", text)
    if match is None:
        raise InvalidInput("timestamp: must look like 1767225600.000000001", field="timestamp")
    seconds, fraction = match.groups()
    return int(seconds) * NS_PER_S + int((fraction or "").ljust(9, "0"))
