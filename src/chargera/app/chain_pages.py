"""What pages read from the chain: assets, payouts, holders, attesters, and who controls what.

Everything is read anew for each page, so that a page says what the contracts say now. Amounts are
minor units of their asset, bonds C4E minor units, times Unix seconds, rates basis points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chargera.app.keeper import HUB, SHARES
from chargera.app.settlement import BatchRow, BatchStage, LaneState
from chargera.app.settlement_ports import Contracts, NetworkTerms
from chargera.domain.errors import InvalidInput
from chargera.domain.policy import PolicyVersion
from chargera.domain.settlement import UNITS, OpsShares, Rail, Split, divide_ops, split
from chargera.proofs.chain_values import ZERO_ADDRESS, address_text, parse_address, parse_hex
from chargera.proofs.keccak import keccak256
from chargera.proofs.settlement import Leaf

PASSPORT = "ChargerPassport"
REGISTRY = "AttesterRegistry"
POLICY = "NetworkPolicy"
TIMELOCK = "TimelockController"
TIMELOCK_CODE = "NetworkTimelock"
OWNED = (POLICY, REGISTRY, HUB, "EmissionController")
"""Contracts that can be changed, each by its owner and after a notice."""

NOBODY = address_text(ZERO_ADDRESS)
ORDINARY_WINDOW_S = 86_400
ORDINARY_CONTEST_S = 3 * 86_400
"""What these periods are where nobody shortened them for a demonstration."""

PROPOSER_ROLE = keccak256(b"PROPOSER_ROLE")
HOLDINGS_A_PAGE = 24
"""Each is read from the chain by several calls."""
CLAIM = "claim(uint256,address,address)"
WITHDRAW = "withdrawFor(address,address)"


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset that bills may be paid in."""

    address: str
    symbol: str
    decimals: int
    currency: str | None
    """What it stands for; None for C4E."""


async def assets_of(contracts: Contracts, terms: NetworkTerms) -> dict[str, Asset]:
    """Return the assets of the newest policy by address."""
    names = {address: name for name, address in terms.contracts.items()}
    found = {}
    for row in terms.latest().assets:
        address = address_text(row.asset)
        symbol = row.currency or "C4E"
        if address in names:
            symbol = await contracts.read(names[address], "symbol")
        found[address] = Asset(address, symbol, row.decimals, row.currency)
    return found


# Earnings of a passport -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HolderEarning:
    """What one holder has of a passport's earnings in one asset."""

    holder: str
    units: int
    """Those that he collects on: his own, and for the owner the unreleased ones."""
    share: int
    """`units` x all that was notified / 1,000,000, rounded down."""
    paid: int
    owed: int


@dataclass(frozen=True, slots=True)
class Earning:
    """What a passport has earned for its holders in one asset."""

    asset: Asset
    total: int
    holders: tuple[HolderEarning, ...]


async def earnings_of(
    contracts: Contracts,
    assets: Mapping[str, Asset],
    passport_id: str,
    units: Mapping[str, int],
) -> list[Earning]:
    """Return a passport's earnings by asset; `units` are those that each holder collects on."""
    token_id = int(passport_id, 16)
    paid: dict[tuple[str, str], int] = {}
    topics = [parse_hex(passport_id, 32, field="passport_id")]
    for event in await contracts.events(SHARES, "Claimed", topics):
        key = event.members.asset, event.members.holder
        paid[key] = paid.get(key, 0) + event.members.amount
    found = []
    for asset in assets.values():
        total = await contracts.read(SHARES, "totalNotified", token_id, asset.address)
        rows = []
        for holder, count in units.items():
            owed = await contracts.read(SHARES, "claimable", token_id, asset.address, holder)
            share = count * total // UNITS
            rows.append(
                HolderEarning(holder, count, share, paid.get((asset.address, holder), 0), owed)
            )
        found.append(Earning(asset, total, tuple(rows)))
    return found


# What a batch paid ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeafPayout:
    """What one leaf pays to whom, recomputed from its policy and its passport's commission."""

    place: int
    leaf: Leaf
    passport_id: str
    state: str
    """settled, skipped or disputed; pending until the batch is settled."""
    vat_drawn: int
    """VAT that goes to the host on chain: a gateway keeps that of its own sessions."""
    split: Split

    @property
    def host_total(self) -> int:
        """What the host gets: his part of the net amount, and the VAT."""
        return self.split.host + self.vat_drawn

    @property
    def counts(self) -> bool:
        """Whether it is part of the sums: it was paid, or still may be."""
        return self.state in (LaneState.SETTLED, LaneState.PENDING)


@dataclass(frozen=True, slots=True)
class Payouts:
    """All leaves of a batch, and their sums over those that count."""

    leaves: tuple[LeafPayout, ...]
    net: int
    vat: int
    total: Split
    ops: OpsShares
    to_holders: Mapping[str, int]
    """By passport."""


@dataclass(frozen=True, slots=True)
class BatchOnChain:
    """What the contracts say of a batch."""

    signers: int
    quorum: int
    challenges: tuple[Mapping[str, Any], ...]
    """Each with `kind`: killed, disputed or ended; in order of the chain."""
    fees: Mapping[str, Any] | None
    """burnedC4E, feesInAsset; None until it is settled."""
    notified: Mapping[str, int]
    """What its settlement gave to the holders of each passport."""


async def payouts_of(
    contracts: Contracts, terms: NetworkTerms, row: BatchRow, registered: Mapping[str, int]
) -> Payouts:
    """Recompute what a batch pays with the arithmetic of the contracts.

    `registered`: the commission that each passport was registered with, in basis points.
    """
    has_market = await contracts.read(POLICY, "market") != NOBODY
    batch = row.batch
    passports = list(row.document["passports"])
    commissions = [await _commission(contracts, row, name, registered) for name in passports]
    leaves = []
    for place, leaf in enumerate(batch.leaves):
        fees = _version(terms, leaf.policy_version).parameters.fees
        commission = commissions[leaf.passport_index]
        leaves.append(
            LeafPayout(
                place,
                leaf,
                passports[leaf.passport_index],
                leaf_state(row, place),
                leaf.vat if leaf.rail is Rail.WALLET else 0,
                split(leaf.amount, fees, commission, has_market=has_market),
            )
        )
    signers = await contracts.read(HUB, "batchOf", parse_hex(row.digest, 32, field="batch"))
    return _summed(leaves, max(1, signers.signers.bit_count()))


async def _commission(
    contracts: Contracts, row: BatchRow, passport_id: str, registered: Mapping[str, int]
) -> int:
    """Return a passport's commission when a batch was settled; today's for one that is not."""
    passport = parse_hex(passport_id, 32, field="passport_id")
    lowered = await contracts.events(PASSPORT, "CommissionLowered", [passport])
    if row.state is BatchStage.SETTLED and lowered:
        (settled,) = await contracts.events(HUB, "Settled", [parse_hex(row.digest, field="batch")])
        before = [event for event in lowered if _place(event) < _place(settled)]
        if before:
            return int(before[-1].members.commissionBps)
        if passport_id in registered:
            return registered[passport_id]
    facts = await contracts.read(PASSPORT, "settlementFacts", passport)
    return int(facts[1])


def _place(event: Any) -> tuple[int, int]:
    return event.block_number, event.log_index


def _summed(leaves: Sequence[LeafPayout], signers: int) -> Payouts:
    counted = [each for each in leaves if each.counts]
    parts = [
        sum(getattr(each.split, name) for each in counted)
        for name in ("fee", "reserve", "host", "ops", "holders")
    ]
    to_holders: dict[str, int] = {}
    for each in counted:
        passport = each.passport_id
        to_holders[passport] = to_holders.get(passport, 0) + each.split.holders
    total = Split(*parts)
    return Payouts(
        tuple(leaves),
        sum(each.leaf.amount for each in counted),
        sum(each.vat_drawn for each in counted),
        total,
        divide_ops(total.ops, signers),
        to_holders,
    )


def leaf_state(row: BatchRow, place: int) -> str:
    """Return how far a leaf is."""
    if row.state is not BatchStage.SETTLED:
        return LaneState.PENDING
    if (row.disputed or 0) >> place & 1:
        return LaneState.DISPUTED
    return LaneState.SETTLED if (row.paid or 0) >> place & 1 else LaneState.SKIPPED


def _version(terms: NetworkTerms, number: int) -> PolicyVersion:
    for version in terms.policies:
        if version.number == number:
            return version
    raise InvalidInput(f"there is no policy {number}", field="policy_version")


async def batch_on_chain(contracts: Contracts, row: BatchRow) -> BatchOnChain:
    """Return signers, challenges and what the settlement of a batch gave to whom."""
    digest = parse_hex(row.digest, 32, field="batch")
    stored = await contracts.read(HUB, "batchOf", digest)
    challenges = [
        {"kind": "killed", "transaction_hash": event.transaction_hash, **event.members}
        for event in await contracts.events(HUB, "Killed", [digest])
    ]
    for event in await contracts.events(HUB, "Disputed", [None, digest]):
        said = {"transaction_hash": event.transaction_hash, **event.members}
        challenges.append({"kind": "disputed", **said})
        topic = event.members.disputeId.to_bytes(32, "big")
        challenges += [
            {"kind": "ended", "transaction_hash": end.transaction_hash, **end.members}
            for end in await contracts.events(HUB, "DisputeEnded", [topic])
        ]
    fees = [event.members for event in await contracts.events(HUB, "FeesTaken", [digest])]
    notified: dict[str, int] = {}
    if row.state is BatchStage.SETTLED:
        for passport in row.document["passports"]:
            topics = [
                parse_hex(passport, 32, field="passport_id"),
                parse_address(row.asset, field="asset"),
            ]
            notified[passport] = sum(
                event.members.amount
                for event in await contracts.events(SHARES, "Notified", topics)
                if event.transaction_hash == row.settle_transaction_hash
            )
    return BatchOnChain(
        stored.signers, stored.quorum, tuple(challenges), fees[-1] if fees else None, notified
    )


# Attesters, and who controls the contracts ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AttesterOnChain:
    """An attester as the registry and the hub have him."""

    index: int
    address: str
    beneficiary: str
    bond: int
    exposure: int
    """What he stands for with his bond in batches whose windows run."""
    standing: str
    """active, unbonding, slashed or inactive."""
    is_own: bool
    """His process runs on this operator's own server."""


@dataclass(frozen=True, slots=True)
class Attesters:
    """All attesters, and how many of them make a quorum."""

    attesters: tuple[AttesterOnChain, ...]
    quorum: int

    @property
    def own_active(self) -> int:
        """How many active ones are this operator's own processes."""
        return sum(each.is_own and each.standing == "active" for each in self.attesters)


async def attesters_of(contracts: Contracts, own: Sequence[str]) -> Attesters:
    """Return the attesters; `own` are the addresses of this server's own processes."""
    found = []
    for index in range(await contracts.read(REGISTRY, "attesterCount")):
        said = await contracts.read(REGISTRY, "attesterOf", index)
        standing = "active" if said.isActive else "inactive"
        if said.isSlashed:
            standing = "slashed"
        elif said.unbondingSince:
            standing = "unbonding"
        found.append(
            AttesterOnChain(
                index,
                said.signer,
                said.beneficiary,
                await contracts.read(REGISTRY, "bondOf", index),
                await contracts.read(HUB, "exposureOf", index),
                standing,
                said.signer in own,
            )
        )
    return Attesters(tuple(found), await contracts.read(REGISTRY, "quorum"))


@dataclass(frozen=True, slots=True)
class OwnedContract:
    """A contract that can be changed."""

    name: str
    address: str
    owner: str
    executable_from: int
    """When an announced change may be made; 0: none is announced."""


@dataclass(frozen=True, slots=True)
class Control:
    """Who may change what, and how long everybody sees it coming."""

    timelock: str
    delay_s: int
    bootstrap: str
    bootstrap_proposes: bool
    """The bootstrap key may still propose: there is no Governor in its place."""
    governor: str | None
    """Who rules disputes; None: nobody, so they end by their default."""
    upgrade_notice_s: int
    upgrade_term_s: int
    owned: tuple[OwnedContract, ...]


async def control_of(contracts: Contracts) -> Control:
    """Return who controls the contracts, as they say it themselves."""
    read, timelock = contracts.read, contracts.address(TIMELOCK)
    at = f"{TIMELOCK_CODE}@{timelock}"
    bootstrap = await read(at, "bootstrap")
    governor = await read(POLICY, "governor")
    owned = [
        OwnedContract(
            name,
            contracts.address(name),
            await read(name, "owner"),
            (await read(name, "pendingUpgrade")).executableFrom,
        )
        for name in OWNED
    ]
    return Control(
        timelock,
        await read(at, "getMinDelay"),
        bootstrap,
        await read(at, "hasRole", PROPOSER_ROLE, bootstrap),
        None if governor == NOBODY else governor,
        await read(POLICY, "UPGRADE_NOTICE"),
        await read(POLICY, "UPGRADE_TERM"),
        tuple(owned),
    )


# A holder ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """What somebody may have paid to him now, and the call that does it."""

    asset: Asset
    amount: int
    calldata: str


@dataclass(frozen=True, slots=True)
class Holding:
    """What somebody has of one passport."""

    passport_id: str
    is_owner: bool
    units: int
    unreleased_units: int
    """Of the passport if he owns it: he collects on them too."""
    due: tuple[Due, ...]


@dataclass(frozen=True, slots=True)
class Holder:
    """Everything that an address has in this network."""

    address: str
    passports: int
    """How many passports it has, or ever had, something of."""
    page: int
    pages: int
    holdings: tuple[Holding, ...]
    """Of this page, in the order in which it got them."""
    in_hub: tuple[Due, ...]
    """What the hub has for him: a host's commission, an attester's or proposer's part."""


async def holder_of(
    contracts: Contracts, assets: Mapping[str, Asset], address: str, page: int = 1
) -> Holder:
    """Return what an address owns, holds and is owed; `page` from 1, the last for any above.

    Raises Unreadable if it is no address.
    """
    account = parse_address(address, field="address")
    text = address_text(account)
    seen: dict[int, None] = {}
    for event in await contracts.events(PASSPORT, "Transfer", [None, account]):
        seen[event.members.tokenId] = None
    for event in await contracts.events(SHARES, "TransferSingle", [None, None, account]):
        seen[event.members.id] = None
    for event in await contracts.events(SHARES, "TransferBatch", [None, None, account]):
        seen.update(dict.fromkeys(event.members.ids))
    pages = max(1, -(-len(seen) // HOLDINGS_A_PAGE))
    page = max(1, min(page, pages))
    shown = list(seen)[(page - 1) * HOLDINGS_A_PAGE : page * HOLDINGS_A_PAGE]
    holdings = [await _holding(contracts, assets, text, token_id) for token_id in shown]
    in_hub = []
    for asset in assets.values():
        amount = await contracts.read(HUB, "withdrawable", text, asset.address)
        if amount:
            in_hub.append(Due(asset, amount, calldata(WITHDRAW, text, asset.address)))
    return Holder(text, len(seen), page, pages, tuple(holdings), tuple(in_hub))


async def _holding(
    contracts: Contracts, assets: Mapping[str, Asset], holder: str, token_id: int
) -> Holding:
    is_owner = await contracts.read(PASSPORT, "ownerOf", token_id) == holder
    due = []
    for asset in assets.values():
        amount = await contracts.read(SHARES, "claimable", token_id, asset.address, holder)
        due.append(Due(asset, amount, calldata(CLAIM, token_id, asset.address, holder)))
    return Holding(
        f"{token_id:#066x}",
        is_owner,
        await contracts.read(SHARES, "balanceOf", holder, token_id),
        await contracts.read(SHARES, "unreleased", token_id) if is_owner else 0,
        tuple(due),
    )


def calldata(signature: str, *arguments: int | str) -> str:
    """Return what a wallet sends for a call whose arguments are numbers and addresses."""
    words = [
        value if isinstance(value, int) else int.from_bytes(parse_address(value, field="argument"))
        for value in arguments
    ]
    data = keccak256(signature.encode())[:4] + b"".join(word.to_bytes(32, "big") for word in words)
    return f"0x{data.hex()}"
