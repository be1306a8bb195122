"""The keeper: whatever anybody may do on chain for money to arrive, done without being asked.

It has a key without any privilege. It proposes what is signed, settles what nobody challenged in
time, ends disputes that nobody ruled on, and has every holder paid what is his. Each step is
decided from what the chain says now and has one transaction for its purpose, so that a keeper that
was stopped anywhere goes on from there, and two keepers only race for the tip.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Any, Protocol

from chargera.app.ports import Clock
from chargera.app.settlement import BatchRow, BatchStage, Settlement, SettlementDatabase
from chargera.app.settlement_ports import ContractRefused, Contracts, NetworkTerms, Sender
from chargera.domain.errors import Unavailable, Undetermined
from chargera.domain.settlement import Rail
from chargera.proofs.chain_values import (
    ZERO_ADDRESS,
    address_text,
    parse_address,
    parse_hex,
    parse_passport_id,
)
from chargera.proofs.settlement import Batch, abi_attestation, abi_batch

_log = logging.getLogger(__name__)

HUB = "SettlementHub"
SHARES = "ChargerShares"
STEP_AGE_MAX_S = 180.0
"""Above what a round may wait: a minute for attesters, and twice that for a slow chain."""
UNKNOWN, PENDING, SETTLED, KILLED = range(4)
"""States of a batch in the hub."""


class Gateway(Protocol):
    """Who prepays fiat sessions."""

    async def prepay(self, digest: str, batch: Batch) -> str:
        """Cover a batch's fiat total on chain and return the signature over its digest.

        Asked again for the same batch, it pays no second time.
        """


@dataclass(frozen=True, slots=True)
class Claim:
    """One payout: `amount` in minor units of the asset."""

    passport_id: str
    holder: str
    asset: str
    amount: int
    transaction_hash: str


@dataclass(frozen=True, slots=True)
class KeeperHealth:
    """How settlement is; ages in real seconds, that of the chain in its own."""

    step_age_s: float = 0.0
    """Since the keeper last came round."""
    chain_age_s: float = 0.0
    """By how much the chain's newest time is behind the network's clock."""
    open_batches: int = 0
    """Formed, signed or proposed."""
    failures: int = 0
    """Batches and payouts whose last step failed."""

    @property
    def reason(self) -> str | None:
        """What is wrong; None: nothing."""
        if self.step_age_s > STEP_AGE_MAX_S:
            return f"the keeper has not come round for {self.step_age_s:.0f} s"
        return None


class Keeper:
    """Proposes, settles, pays out; `turn` does all that can be done now."""

    def __init__(
        self,
        database: SettlementDatabase,
        settlement: Settlement,
        terms: NetworkTerms,
        contracts: Contracts,
        sender: Sender,
        clock: Clock,
        gateway: Gateway | None = None,
        *,
        least_claim: int = 1,
    ) -> None:
        """Pay out what is at least `least_claim` minor units of an asset."""
        self._database = database
        self._settlement = settlement
        self._terms = terms
        self._contracts = contracts
        self._sender = sender
        self._clock = clock
        self._gateway = gateway
        self._least_claim = least_claim
        self._to_pay: dict[str, None] = {}
        """Passports whose holders may be owed something, in order."""
        self._to_refund: dict[str, None] = {}
        """Payers whose escrows have left something over."""
        self._disputed: dict[str, BatchRow] = {}
        """Settled batches of which a leaf is set aside, by digest."""
        self._has_caught_up = False
        self.open_batches = 0
        """How many batches were on their way at the last turn."""
        self.failures = 0
        """How many steps and payouts failed at the last turn."""

    async def turn(self) -> bool:
        """Do what can be done now; say whether anything was done."""
        if not self._has_caught_up:
            await self._catch_up()
        rows = await self._open()
        moved, failures = False, 0
        for row in rows:
            try:
                moved = await self._take(row) or moved
            except (Undetermined, ContractRefused) as error:
                failures += 1
                _log.warning("batch %s stays %s: %s", row.digest, row.state, error.message)
        for row in list(self._disputed.values()):
            try:
                moved = await self._end_disputes(row) or moved
            except (Undetermined, ContractRefused) as error:
                failures += 1
                _log.warning("disputes of %s are not ended: %s", row.digest, error.message)
        moved = await self._settlement.count_answers() or moved
        self.open_batches, self.failures = len(rows), failures + await self._pay_out()
        return moved

    async def _pay_out(self) -> int:
        """Pay whom settled batches have left money for; return how many could not be paid."""
        failures = 0
        for passport_id in list(self._to_pay):
            try:
                await self.pay(passport_id)
                del self._to_pay[passport_id]
            except (Undetermined, ContractRefused) as error:
                failures += 1
                _log.warning("holders of %s are not paid: %s", passport_id, error.message)
        for payer in list(self._to_refund):
            try:
                await self._withdraw([payer])
                del self._to_refund[payer]
            except (Undetermined, ContractRefused) as error:
                failures += 1
                _log.warning("the rest of %s's escrow is not paid: %s", payer, error.message)
        return failures

    async def _open(self) -> list[BatchRow]:
        async with self._database.work() as work:
            stages = [BatchStage.FORMED, BatchStage.SIGNED, BatchStage.PROPOSED]
            rows = await work.settlement.batches(stages)
        return list(reversed(rows))

    async def _catch_up(self) -> None:
        """After a start: whoever was owed something when we stopped is paid now."""
        async with self._database.work() as work:
            for row in await work.settlement.batches([BatchStage.SETTLED], limit=256):
                self._owe(row)
        self._has_caught_up = True

    async def _take(self, row: BatchRow) -> bool:
        match row.state:
            case BatchStage.FORMED | BatchStage.SIGNED if await self._is_too_late(row):
                await self._settlement.give_up(row.digest)
                return True
            case BatchStage.FORMED:
                return await self._prepay(row)
            case BatchStage.SIGNED:
                return await self._propose(row)
            case _:  # no other stage is open
                return await self._settle(row)

    async def _is_too_late(self, row: BatchRow) -> bool:
        """Say whether the hub does not take a batch any more, and has not taken it before."""
        valid_until = _time(row.document["valid_until"])
        return self._clock.now() > valid_until and (await self._state_of(row)).state == UNKNOWN

    async def _prepay(self, row: BatchRow) -> bool:
        batch = row.batch
        if batch.gateway == ZERO_ADDRESS or row.gateway_signature or self._gateway is None:
            return False
        signature = await self._gateway.prepay(row.digest, batch)
        await self._settlement.note(row.digest, gateway_signature=signature)
        return True

    async def _propose(self, row: BatchRow) -> bool:
        batch = row.batch
        attestation = await self._settlement.attestation(row.digest)
        signature = row.gateway_signature
        if (await self._state_of(row)).state == UNKNOWN:
            sent = await self._sender.send(
                f"propose:{row.digest}",
                HUB,
                "propose",
                abi_batch(batch),
                abi_attestation(attestation),
                b"" if signature is None else parse_hex(signature, field="gateway_signature"),
            )
        else:
            sent = await self._transaction_of("Proposed", row)
        state = await self._state_of(row)
        await self._settlement.note(
            row.digest,
            state=BatchStage.PROPOSED,
            propose_transaction_hash=sent,
            proposed_at=_time(state.proposedAt),
            window_ends_at=_time(state.windowEndsAt),
        )
        return True

    async def _settle(self, row: BatchRow) -> bool:
        """Settle a batch whose window is over, or note that somebody else did."""
        state = await self._state_of(row)
        if state.state == PENDING:
            if self._clock.now() <= _time(state.windowEndsAt + 1):
                return False
            await self._sender.send(f"settle:{row.digest}", HUB, "settle", abi_batch(row.batch))
            state = await self._state_of(row)
        if state.state == KILLED:
            killed = await self._transaction_of("Killed", row)
            await self._settlement.note(
                row.digest, state=BatchStage.KILLED, settle_transaction_hash=killed
            )
            return True
        event = await self._said("Settled", parse_hex(row.digest, 32, field="digest"))
        row = await self._settlement.note(
            row.digest,
            state=BatchStage.SETTLED,
            settle_transaction_hash=event.transaction_hash,
            paid=event.members.paid,
            disputed=event.members.disputed,
        )
        self._owe(row)
        return True

    def _owe(self, row: BatchRow) -> None:
        """Remember whom a settled batch has left money for, and what is set aside."""
        if row.disputed:
            self._disputed[row.digest] = row
        self._to_pay.update(dict.fromkeys(row.document["passports"]))
        wallets = [leaf for leaf in row.document["leaves"] if leaf["rail"] == Rail.WALLET]
        self._to_refund.update(dict.fromkeys(leaf["payer"] for leaf in wallets))

    async def _end_disputes(self, row: BatchRow) -> bool:
        """End what nobody has ruled on in time, and note the disputes that are over."""
        digest = parse_hex(row.digest, 32, field="digest")
        moved, open_disputes = False, 0
        for event in await self._contracts.events(HUB, "Disputed", [None, digest]):
            dispute_id = event.members.disputeId
            stored = await self._contracts.read(HUB, "disputeOf", dispute_id)
            if stored.isOpen:
                if not self._is_ruling_over(stored.openedAt):
                    open_disputes += 1
                    continue
                await self._sender.send(
                    f"dispute:{dispute_id}", HUB, "endDispute", dispute_id, abi_batch(row.batch)
                )
            ended = await self._said("DisputeEnded", dispute_id.to_bytes(32, "big"))
            await self._settlement.end_dispute(row.digest, stored.leaf, ended.members.leafStands)
            self._to_pay.update(dict.fromkeys(row.document["passports"]))
            moved = True
        if not open_disputes:
            del self._disputed[row.digest]
        return moved

    def _is_ruling_over(self, opened_at: int) -> bool:
        policy = self._terms.policy_at(opened_at)
        assert policy is not None, "what is settled was under a policy"
        return self._clock.now() > _time(opened_at + policy.parameters.ruling_timeout_s)

    async def _state_of(self, row: BatchRow) -> Any:
        return await self._contracts.read(HUB, "batchOf", parse_hex(row.digest, 32, field="digest"))

    async def _transaction_of(self, event: str, row: BatchRow) -> str:
        said = await self._said(event, parse_hex(row.digest, 32, field="digest"))
        return str(said.transaction_hash)

    async def _said(self, event: str, topic: bytes) -> Any:
        """Return the last event of the hub about that; its state says that there is one."""
        found = await self._contracts.events(HUB, event, [topic])
        if not found:
            raise Unavailable(
                f"the chain tells of no {event} yet, which its state says there was",
                remedy="its logs are behind; it is asked again",
            )
        return found[-1]

    # Paying out ---------------------------------------------------------------------------------

    async def pay(self, passport_id: str) -> list[Claim]:
        """Have every holder of a passport paid, and its host what is his in the hub."""
        claims = await pay_holders(
            self._contracts, self._sender, passport_id, least=self._least_claim
        )
        await self._withdraw(await self._accounts(passport_id))
        return claims

    async def claim(self, passport_id: str, holder: str | None = None) -> list[Claim]:
        """Have holders paid now, whatever the amount; who is paid already, by which payment."""
        return await pay_holders(self._contracts, self._sender, passport_id, holder, tell_last=True)

    async def _accounts(self, passport_id: str) -> Iterable[str]:
        """Return who is credited in the hub when a passport's sessions settle."""
        token_id = parse_hex(passport_id, 32, field="passport_id")
        facts = await self._contracts.read("ChargerPassport", "settlementFacts", token_id)
        accounts = {facts[0]: None, self._sender.address: None}
        count = await self._contracts.read("AttesterRegistry", "attesterCount")
        for index in range(count):
            attester = await self._contracts.read("AttesterRegistry", "attesterOf", index)
            accounts[attester.beneficiary] = None
            accounts[attester.signer] = None
        return accounts

    async def _withdraw(self, accounts: Iterable[str]) -> None:
        assets = await self._contracts.read(SHARES, "assets")
        for account, asset in product(accounts, assets):
            due = await self._contracts.read(HUB, "withdrawable", account, asset)
            if due >= self._least_claim:
                count = await self._paid_so_far(account, asset)
                await self._sender.send(
                    f"withdraw:{account}:{asset}:{count}", HUB, "withdrawFor", account, asset
                )

    async def _paid_so_far(self, account: str, asset: str) -> int:
        """Return how often an account was paid: the purpose of the next payment differs."""
        found = await self._contracts.events(HUB, "Withdrawn", [_topic(account), _topic(asset)])
        return len(found)


async def pay_holders(
    contracts: Contracts,
    sender: Sender,
    passport_id: str,
    holder: str | None = None,
    *,
    least: int = 1,
    tell_last: bool = False,
) -> list[Claim]:
    """Have the holders of a passport (or one) paid what they are owed, in every asset.

    The contract pays nobody but the holder. What is below `least` stays owed. With `tell_last`
    a holder who is owed nothing, because he was paid, is listed with his last payment.
    """
    token_id = parse_passport_id(passport_id)
    if holder is None:
        holders = await holders_of(contracts, passport_id)
    else:
        holders = [address_text(parse_address(holder, field="holder"))]
    assets = await contracts.read(SHARES, "assets")
    claims = []
    for account, asset in product(holders, assets):
        owed = await contracts.read(SHARES, "claimable", token_id, asset, account)
        topics = [token_id.to_bytes(32), _topic(asset), _topic(account)]
        paid = await contracts.events(SHARES, "Claimed", topics)
        if owed >= least:
            purpose = f"claim:{passport_id}:{asset}:{account}:{len(paid)}"
            sent = await sender.send(purpose, SHARES, "claim", token_id, asset, account)
            claims.append(Claim(passport_id, account, asset, owed, sent))
        elif paid and tell_last:
            last = paid[-1]
            claims.append(
                Claim(passport_id, account, asset, last.members.amount, last.transaction_hash)
            )
    return claims


def _topic(address: str) -> bytes:
    return parse_address(address, field="address")


async def holders_of(contracts: Contracts, passport_id: str) -> list[str]:
    """Return whoever may be owed of a passport: its owner, and who ever held units."""
    token_id = parse_passport_id(passport_id)
    owner = await contracts.read("ChargerPassport", "ownerOf", token_id)
    found = {owner: None}
    for event in await contracts.events(SHARES, "TransferSingle"):
        if event.members.id == token_id:
            found[event.members["to"]] = None
    for event in await contracts.events(SHARES, "TransferBatch"):
        if token_id in event.members.ids:
            found[event.members["to"]] = None
    return [account for account in found if account != address_text(ZERO_ADDRESS)]


async def units_of(contracts: Contracts, passport_id: str) -> Mapping[str, int]:
    """Return the transferable units of each holder of a passport."""
    token_id = parse_passport_id(passport_id)
    holders = await holders_of(contracts, passport_id)
    return {
        account: await contracts.read(SHARES, "balanceOf", account, token_id) for account in holders
    }


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
