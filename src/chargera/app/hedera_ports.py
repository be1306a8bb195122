"""What is kept of transactions of Hedera, before they are sent and of what became of them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class HederaSendState(StrEnum):
    """How far a transaction has come."""

    SENT = "sent"
    """Stored, and perhaps sent; it may have its effect."""
    DONE = "done"
    """It has had its effect."""
    FAILED = "failed"
    """It reached consensus without an effect."""
    LOST = "lost"
    """It expired and never reached consensus."""


@dataclass(frozen=True, slots=True)
class HederaSend:
    """A transaction that was stored before it was sent.

    `purpose` is what it is for, such as `ethereum:0x...`; of all transactions of one purpose at
    most one has, or may have, an effect. `status` is the network's word for the outcome and
    `entity_id` what it made or changed, if anything.
    """

    hedera_transaction_id: str
    purpose: str
    state: HederaSendState = HederaSendState.SENT
    status: str | None = None
    entity_id: str | None = None


class HederaSendStore(Protocol):
    """Transactions in the database; each method is one commit, durable on return."""

    async def find(self, purpose: str) -> HederaSend | None:
        """Return the transaction that has, or may have, the effect; None if there is none."""

    async def add(self, hedera_transaction_id: str, purpose: str, at: datetime) -> None:
        """Store a transaction that is about to be sent.

        Raises Conflict if the purpose has one already that may have an effect.
        """

    async def settle(self, send: HederaSend, at: datetime) -> None:
        """Note what became of it: `state`, `status` and `entity_id` of `send`."""
