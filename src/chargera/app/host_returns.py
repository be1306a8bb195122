"""What hosts return of settled bills: their own transfers, found on chain by a public rule.

A credit after settlement takes back what a contract has paid out already, so that the host owes it.
A return is an ERC-20 `Transfer` of the lane's asset from the passport's host to whoever has paid
(the wallet that paid, or the gateway that prepaid), of exactly the amount that is owed, in a later
block than the settlement. A transfer returns one bill: those that are owed look for theirs in the
order of their numbers. Of a prepaid bill the net amount is owed, for a gateway keeps the VAT.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from chargera.app.keeper import HUB
from chargera.app.ports import Clock
from chargera.app.settlement_ports import Contracts
from chargera.domain.errors import Undetermined
from chargera.domain.settlement import Rail, in_asset, in_c4e
from chargera.proofs.chain_values import parse_address, parse_hex

_log = logging.getLogger(__name__)

TOKEN = "TestEuro"  # noqa: S105 - any ERC-20 has its `Transfer` and `decimals`
RETURNS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class CreditedBill:
    """A settled bill of which credits took something back that was not returned yet.

    `settlement` is that member of its first CDR. Net and VAT are minor units of `currency`: of the
    bill that was settled, and of the one that stands now.
    """

    session_id: str
    batch: str
    settlement: Mapping[str, Any]
    gateway: str | None
    currency: str
    net_minor: int
    vat_minor: int
    net_minor_now: int
    vat_minor_now: int
    returned: int
    """Minor units of the asset."""
    returned_minor: int


@dataclass(frozen=True, slots=True)
class HostReturn:
    """A host's transfer for one bill; `place` is the log's index in the chain's answer."""

    session_id: str
    transaction_hash: str
    place: int
    amount: int
    amount_minor: int
    returned_at: datetime
    """When it was found."""


class HostReturnStore(Protocol):
    """Credited bills and what was returned of them."""

    async def owed(self, limit: int) -> Sequence[CreditedBill]:
        """Return bills of which something is owed, by asset and number."""

    async def is_taken(self, transaction_hash: str, place: int) -> bool:
        """Say whether a transfer returns a bill already."""

    async def add(self, found: HostReturn) -> None:
        """Insert a return."""


class HostReturnWork(Protocol):
    """One unit of work."""

    @property
    def host_returns(self) -> HostReturnStore:
        """Credited bills."""

    async def commit(self) -> None:
        """Make everything durable."""


class HostReturnDatabase(Protocol):
    """Opens units of work."""

    def work(self) -> AbstractAsyncContextManager[HostReturnWork]:
        """Open a unit of work; leaving it without `commit` rolls back."""


class HostReturns:
    """Looks for the transfers of hosts who owe something."""

    def __init__(self, database: HostReturnDatabase, contracts: Contracts, clock: Clock) -> None:
        """Look at the network's contracts and the tokens that they list."""
        self._database = database
        self._contracts = contracts
        self._clock = clock

    async def note(self) -> Sequence[HostReturn]:
        """Note the returns that have been made, and return them."""
        found = []
        async with self._database.work() as work:
            for bill in await work.host_returns.owed(RETURNS_AT_ONCE):
                try:
                    made = await self._find(work.host_returns, bill)
                except Undetermined as error:
                    _log.warning("returns of %s are not known: %s", bill.session_id, error.message)
                    continue
                if made is not None:
                    await work.host_returns.add(made)
                    found.append(made)
            if found:
                await work.commit()
        return found

    async def _find(self, store: HostReturnStore, bill: CreditedBill) -> HostReturn | None:
        payee = bill.settlement["payer"] or bill.gateway
        if payee is None:
            return None
        owed_minor = owed_of(bill) - bill.returned_minor
        owed = await self._in_asset(bill) - bill.returned
        settled = await self._contracts.events(
            HUB, "Settled", [parse_hex(bill.batch, 32, field="batch")]
        )
        passport = parse_hex(bill.settlement["passport_id"], 32, field="passport_id")
        facts = await self._contracts.read("ChargerPassport", "settlementFacts", passport)
        transfers = await self._contracts.events(
            f"{TOKEN}@{bill.settlement['asset']}",
            "Transfer",
            [parse_address(facts[0], field="host"), parse_address(payee, field="payer")],
        )
        for event in transfers:
            is_later = event.block_number > settled[-1].block_number
            if (
                is_later
                and event.members.value == owed
                and not await store.is_taken(event.transaction_hash, event.log_index)
            ):
                return HostReturn(
                    bill.session_id,
                    event.transaction_hash,
                    event.log_index,
                    owed,
                    owed_minor,
                    self._clock.now(),
                )
        return None

    async def _in_asset(self, bill: CreditedBill) -> int:
        """Return what credits took back in minor units of the lane's asset."""
        rate = bill.settlement["c4e_rate"]
        decimals = await self._contracts.read(f"{TOKEN}@{bill.settlement['asset']}", "decimals")

        def amount(minor: int) -> int:
            value = in_asset(minor, bill.currency, decimals)
            return value if rate is None else in_c4e(value, int(rate))

        return sum(amount(then) - amount(now) for then, now in _parts(bill))


def owed_of(bill: CreditedBill) -> int:
    """Return what credits took back, minor units of the bill's currency."""
    return sum(then - now for then, now in _parts(bill))


def _parts(bill: CreditedBill) -> list[tuple[int, int]]:
    parts = [(bill.net_minor, bill.net_minor_now)]
    if bill.settlement["rail"] == Rail.WALLET:
        parts.append((bill.vat_minor, bill.vat_minor_now))
    return parts
