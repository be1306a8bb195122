"""Which bills are settled on chain, as what number of which lane, and who pays them.

A lane is an operator and an asset. Only the first CDR of a session is numbered, in the commit
that bills it, and only if its station's passport was registered when the session ended. Numbers
are dense. What is not numbered is payable off chain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chargera.app.ports import Entropy
from chargera.app.settlement_ports import NetworkTerms
from chargera.domain.bill import Bill
from chargera.domain.errors import InvalidInput
from chargera.domain.policy import AssetPolicy, PolicyVersion
from chargera.domain.pricing import MeteredSession
from chargera.domain.settlement import Rail, ceiling_of, in_asset, in_c4e
from chargera.proofs import records
from chargera.proofs.chain_values import address_text, hex_text, parse_address
from chargera.proofs.settlement import SESSION_KEY_BYTES


@dataclass(frozen=True, slots=True)
class Escrow:
    """The escrow that a session was started with."""

    session_key: str
    payer: str
    asset: str


@dataclass(frozen=True, slots=True)
class Payable:
    """What is known of a session's station and payment: its passport, and the payer's escrow."""

    passport_id: str
    registered_at: datetime
    retired_at: datetime | None
    """The last second in which it earns here: retired then, or another operator's from then on."""
    escrow: Escrow | None


@dataclass(frozen=True, slots=True)
class Numbered:
    """A CDR that will be settled: the member `settlement` of its record, and its payment."""

    cdr_no: int
    asset: str
    passport_id: str
    settlement: records.Record
    payment: records.Record | None
    """The record of a fiat payment, whose entry comes before the CDR's; an escrow has one."""


class NumberingWork(Protocol):
    """The database as numbering needs it."""

    async def payables(self, session_ids: Sequence[str]) -> Mapping[str, Payable]:
        """Return those of these sessions whose station has a passport in force."""

    async def lock_lanes(self, operator_id: str, assets: Sequence[str]) -> dict[str, int]:
        """Return the next number of each lane, locked until the commit."""


class Numbering:
    """Numbers the CDRs of one billing run."""

    def __init__(
        self,
        terms: NetworkTerms,
        entropy: Entropy,
        payables: Mapping[str, Payable],
        lanes: dict[str, int],
    ) -> None:
        """Number from `lanes` on, which tell the next numbers afterwards."""
        self._terms = terms
        self._entropy = entropy
        self._payables = payables
        self.lanes = lanes

    @classmethod
    async def of(
        cls,
        work: NumberingWork,
        terms: NetworkTerms,
        entropy: Entropy,
        session_ids: Sequence[str],
    ) -> "Numbering":
        """Return the numbering of sessions that have no bill yet."""
        payables = await work.payables(session_ids) if session_ids else {}
        lanes: dict[str, int] = {}
        if payables:
            assets = sorted({address_text(a.asset) for p in terms.policies for a in p.assets})
            lanes = await work.lock_lanes(terms.operator_id, assets)
        return cls(terms, entropy, payables, lanes)

    def number(
        self, session_id: str, bill: Bill, session: MeteredSession, at: datetime
    ) -> Numbered | None:
        """Number a session's first bill; None if it cannot be settled on chain."""
        payable = self._payables.get(session_id)
        start, end = (int(t.timestamp()) for t in (session.started_at, session.ended_at or at))
        policy = self._terms.policy_at(start)
        if payable is None or policy is None or start >= end or not _earns(payable, end):
            return None
        escrow = payable.escrow
        row = (
            policy.asset_of(parse_address(escrow.asset, field="asset"))
            if escrow
            else policy.asset_for(bill.currency)
        )
        if row is None or (escrow is None and self._terms.gateway is None):
            return None
        try:
            rate, amount, vat = self._amounts(policy, row, bill)
        except InvalidInput:
            return None
        if amount > ceiling_of(row.ceilings, session.energy_wh, end - start):
            return None
        session_key = escrow.session_key if escrow else self._fresh_key()
        asset = address_text(row.asset)
        cdr_no = self.lanes[asset]
        self.lanes[asset] += 1
        return Numbered(
            cdr_no,
            asset,
            payable.passport_id,
            {
                "amount": str(amount),
                "asset": asset,
                "c4e_rate": None if rate is None else str(rate),
                "cdr_no": cdr_no,
                "chain_id": self._terms.chain_id,
                "hub": self._terms.hub,
                "passport_id": payable.passport_id,
                "payer": escrow.payer if escrow else None,
                "policy_version": policy.number,
                "rail": str(Rail.WALLET if escrow else Rail.FIAT),
                "session_key": session_key,
                "vat": str(vat),
            },
            None if escrow else self._fiat_payment(session_id, asset, session_key, at),
        )

    def _amounts(
        self, policy: PolicyVersion, asset: AssetPolicy, bill: Bill
    ) -> tuple[int | None, int, int]:
        """Return the rate (of a C4E lane), net and VAT in the asset's minor units.

        Raises InvalidInput for an asset that the bill's currency cannot be paid in.
        """
        if asset.currency == bill.currency:
            return None, *_both(bill, asset.decimals)
        stands_for = policy.asset_for(bill.currency)
        if asset.currency is not None or stands_for is None:
            raise InvalidInput("the asset is not of the bill's currency", field="asset")
        net, vat = _both(bill, stands_for.decimals)
        rate = stands_for.c4e_rate
        return rate, in_c4e(net, rate), in_c4e(vat, rate)

    def _fresh_key(self) -> str:
        return hex_text(self._entropy.bytes(SESSION_KEY_BYTES))

    def _fiat_payment(
        self, session_id: str, asset: str, session_key: str, at: datetime
    ) -> records.Record:
        assert self._terms.gateway is not None, "else there is no fiat rail"
        return records.payment_record(
            rail=Rail.FIAT,
            session_key=session_key,
            session_id=session_id,
            asset=asset,
            payer=None,
            gateway=self._terms.gateway,
            maximum=None,
            transaction_hash=None,
            at=at,
        )


def _both(bill: Bill, decimals: int) -> tuple[int, int]:
    """Return net and VAT of a bill in minor units of an asset of its currency."""
    net = in_asset(bill.net_minor, bill.currency, decimals)
    return net, in_asset(bill.vat_minor, bill.currency, decimals)


def _earns(payable: Payable, end: int) -> bool:
    """Say whether the passport was registered, and not retired, at that second."""
    retired_at = payable.retired_at
    is_retired = retired_at is not None and int(retired_at.timestamp()) < end
    return int(payable.registered_at.timestamp()) <= end and not is_retired
