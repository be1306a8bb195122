"""Settlement in memory: numbered bills, their batches, and a hub that does what the contract does.

What a unit of work did not commit is gone. The hub keeps states, windows and what it owes; it
divides nothing, so that tests say themselves what a settled batch leaves to whom.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from chargera.app.keeper import HUB, KILLED, PENDING, SETTLED, SHARES
from chargera.app.ports import NewEntry
from chargera.app.settlement import (
    AnchoredHead,
    Answer,
    BatchPolicy,
    BatchRow,
    BatchStage,
    LaneState,
    Settlement,
    WaitingCdr,
)
from chargera.app.settlement_ports import ContractRefused, NetworkTerms
from chargera.domain.settlement import Rail
from chargera.ledger.abi import Struct
from chargera.proofs import canonical, records
from chargera.proofs.chain_values import address_text, hex_text
from chargera.proofs.entry import EntryKind
from chargera.proofs.settlement import Batch, batch_digest, parse_leaf
from tests.unit.proofs.sample_batch import C4E, CHAIN_ID, EURO, address, sign
from tests.unit.proofs.sample_batch import HUB as HUB_ADDRESS
from tests.unit.proofs.sample_receipt import TOPIC, SampleLog
from tests.unit.proofs.sample_settlement import policy

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
WINDOW_S = 600
OPERATOR = "NL*C4E"
EURO_TEXT, C4E_TEXT = address_text(EURO), address_text(C4E)
PASSPORTS = tuple(hex_text(bytes([9 - n]) * 32) for n in range(3))
"""In descending order, so that whoever forgets to sort is found out."""
PAYER, HOST, KEEPER, GATEWAY = (address_text(address(n)) for n in (7, 5, 9, 8))
ATTESTERS = tuple(address_text(address(n)) for n in (1, 2, 3, 4))
QUORUM = 3


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.time = START + timedelta(days=1)

    def now(self) -> datetime:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def word(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def terms(**changes: Any) -> NetworkTerms:
    contracts = {
        "SettlementHub": address_text(HUB_ADDRESS),
        "C4EToken": C4E_TEXT,
        "TestEuro": EURO_TEXT,
        "ChargerPassport": address_text(address(6)),
    }
    return replace(NetworkTerms(CHAIN_ID, contracts, OPERATOR, GATEWAY, [policy()]), **changes)


def numbered(
    cdr_no: int,
    *,
    asset: str = EURO_TEXT,
    rail: Rail = Rail.FIAT,
    amount: int = 3_000_000,
    passport: int = 0,
    at: datetime = START,
    ended_at: datetime | None = None,
    log_index: int | None = None,
) -> WaitingCdr:
    """A bill that waits; its log index is its number + 10 unless it is said."""
    end = ended_at or at
    settlement = {
        "amount": str(amount),
        "asset": asset,
        "cdr_no": cdr_no,
        "passport_id": PASSPORTS[passport],
        "payer": PAYER if rail is Rail.WALLET else None,
        "policy_version": 1,
        "rail": str(rail),
        "session_key": hex_text(bytes([cdr_no]) * 16),
        "vat": str(amount * 21 // 100),
    }
    record = {
        "ended_at": records.time_text(end),
        "energy_wh": 10_000,
        "evse": 1,
        "proof_level": "L1",
        "settlement": settlement,
        "started_at": records.time_text(end - timedelta(hours=1)),
    }
    return WaitingCdr(
        cdr_no=cdr_no,
        session_id=f"session {cdr_no}",
        log_index=cdr_no + 10 if log_index is None else log_index,
        passport_id=PASSPORTS[passport],
        asset=asset,
        numbered_at=at,
        record=canonical.encode(record),
        entry=f"entry {cdr_no}".encode(),
    )


# The database ----------------------------------------------------------------------------------


@dataclass
class Lane:
    """A numbered CDR's row."""

    cdr: WaitingCdr
    state: LaneState = LaneState.WAITING
    batch: str | None = None
    doubted: bool = False


@dataclass
class Rows:
    """All rows."""

    lanes: dict[tuple[str, int], Lane] = field(default_factory=dict)
    batches: dict[str, BatchRow] = field(default_factory=dict)
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    entries: list[NewEntry] = field(default_factory=list)
    head: AnchoredHead | None = None
    evidence: dict[int, list[int]] = field(default_factory=dict)
    """Log indexes that a CDR's bill rests on beside its own."""


@dataclass
class MemorySettlement:
    """A `SettlementStore`, an `EvidenceStore` and what views read, on one set of rows."""

    rows: Rows

    async def waiting(self, below: int) -> Sequence[WaitingCdr]:
        found = []
        for _, lane in sorted(self.rows.lanes.items()):
            if lane.state is LaneState.WAITING and lane.cdr.log_index < below:
                tried = self.rows.batches[lane.batch].formed_at if lane.batch else None
                found.append(replace(lane.cdr, tried_at=tried, doubted=lane.doubted))
        return found

    async def anchored_head(self) -> AnchoredHead | None:
        return self.rows.head

    async def add_batch(self, row: BatchRow, cdr_nos: Sequence[int]) -> None:
        self.rows.batches[row.digest] = row
        await self.mark(row, cdr_nos, LaneState.PENDING)

    async def batch(self, digest: str) -> BatchRow | None:
        return self.rows.batches.get(digest)

    async def batches(
        self, stages: Sequence[BatchStage], limit: int | None = None, before: str | None = None
    ) -> Sequence[BatchRow]:
        assert before is None
        found = [row for row in reversed(self.rows.batches.values()) if row.state in stages]
        return found[:limit]

    async def update_batch(self, row: BatchRow) -> None:
        self.rows.batches[row.digest] = row

    async def mark(
        self, row: BatchRow, cdr_nos: Sequence[int], state: LaneState, *, doubted: bool = False
    ) -> None:
        for cdr_no in cdr_nos:
            lane = self.rows.lanes[row.asset, cdr_no]
            lane.state, lane.batch, lane.doubted = state, row.digest, doubted

    async def answer(self, answer: Answer) -> None:
        known = self.rows.answers.get((answer.digest, answer.attester))
        if known is None or known.decision == "refused":
            self.rows.answers[answer.digest, answer.attester] = answer

    async def answers(self, digest: str) -> Sequence[Answer]:
        found = [each for each in self.rows.answers.values() if each.digest == digest]
        return sorted(found, key=lambda each: each.place)

    async def evidence(self, log_index: int) -> tuple[Sequence[int], Any]:
        return [*self.rows.evidence.get(log_index, []), log_index], None


class Work:
    """One unit of work on a copy of the rows."""

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._rows = deepcopy(database.rows)
        self.settlement = self.feed = MemorySettlement(self._rows)

    def append(self, entry: NewEntry) -> None:
        self._rows.entries.append(entry)

    async def flush(self) -> int | None:
        return len(self._rows.entries)

    async def commit(self) -> None:
        self._database.rows = self._rows


class Database:
    """Rows that only a commit changes."""

    def __init__(self) -> None:
        self.rows = Rows()

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Work]:
        yield Work(self)


# The chain -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    """What a contract said, with its indexed members as topics."""

    name: str
    topics: tuple[bytes, ...]
    members: Struct
    transaction_hash: str


@dataclass
class OnHub:
    """A batch in the hub."""

    state: int
    proposed_at: int
    window_ends_at: int
    fiat: bool


class Hub:
    """`Contracts`, and what its senders do to it; other answers stand in `answers`."""

    chain_id = CHAIN_ID

    def __init__(self, clock: Clock, network: NetworkTerms) -> None:
        self._clock = clock
        self._terms = network
        self.batches: dict[bytes, OnHub] = {}
        self.said: list[Event] = []
        self.paid: int | None = None
        """The mask that the next settlement pays; None: every leaf."""
        self.disputed = 0
        self.claimable: dict[tuple[str, str], int] = {}
        """By asset and holder, of the first passport."""
        self.withdrawable: dict[tuple[str, str], int] = {}
        """By account and asset."""
        self.faults: dict[str, Exception] = {}
        """By function: raised instead of doing it."""
        self.sent: list[str] = []
        self.disputes: dict[int, Struct] = {}
        self.answers: dict[tuple[str, str], Callable[..., Any]] = {
            (HUB, "batchOf"): self._batch_of,
            (HUB, "disputeOf"): lambda number: self.disputes[number],
            (HUB, "rateBounds"): lambda operator, asset: (0, 1, 10**12),
            (HUB, "withdrawable"): lambda account, asset: self.withdrawable.get(
                (account, asset), 0
            ),
            (SHARES, "assets"): lambda: [EURO_TEXT],
            (SHARES, "claimable"): self._claimable,
            (SHARES, "balanceOf"): lambda account, token_id: {HOST: 750_000}.get(account, 250_000),
            ("ChargerPassport", "ownerOf"): lambda token_id: HOST,
            ("ChargerPassport", "settlementFacts"): lambda token_id: (HOST, 3_000, 1, 0),
            ("AttesterRegistry", "quorum"): lambda: QUORUM,
            ("AttesterRegistry", "masks"): lambda: (0b1111, 0),
            ("AttesterRegistry", "placeOf"): lambda signer: (
                ATTESTERS.index(signer) + 1 if signer in ATTESTERS else 0
            ),
            ("AttesterRegistry", "attesterCount"): lambda: 2,
            ("AttesterRegistry", "attesterOf"): lambda index: Struct(
                signer=ATTESTERS[index], beneficiary=ATTESTERS[index]
            ),
        }

    def address(self, contract: str) -> str:
        return self._terms.contracts[contract]

    async def read(self, contract: str, function: str, *arguments: Any) -> Any:
        return self.answers[contract.partition("@")[0], function](*arguments)

    async def events(
        self,
        contract: str,
        event: str,
        topics: Sequence[bytes | None] = (),
        *,
        from_block: int = 0,
    ) -> Sequence[Event]:
        wanted = [topic and topic.rjust(32, b"\0") for topic in topics]
        return [
            said
            for said in self.said
            if said.name == event
            and all(t is None or t == there for t, there in zip(wanted, said.topics, strict=False))
        ]

    def say(self, name: str, topics: Sequence[bytes], sent: str, **members: Any) -> None:
        padded = tuple(topic.rjust(32, b"\0") for topic in topics)
        self.said.append(Event(name, padded, Struct(members), sent))

    def kill(self, digest: str) -> None:
        """A challenge that held."""
        self.batches[word(digest)].state = KILLED
        self.say("Killed", [word(digest)], "0xkilled", why=1)

    # What is done to it ---------------------------------------------------------------------

    def propose(self, sent: str, batch: Any, attestation: Any, gateway_signature: bytes) -> None:
        digest = self._digest(batch)
        now_s = int(self._clock.now().timestamp())
        self.batches[digest] = OnHub(PENDING, now_s, now_s + WINDOW_S, bool(gateway_signature))
        self.say("Proposed", [digest], sent)

    def settle(self, sent: str, batch: Any) -> None:
        digest = self._digest(batch)
        stored = self.batches[digest]
        if int(self._clock.now().timestamp()) <= stored.window_ends_at:
            raise ContractRefused("WindowOpen", {}, "the window is open")
        stored.state = SETTLED
        everything = (1 << len(batch[12])) - 1
        paid = everything if self.paid is None else self.paid
        self.say("Settled", [digest], sent, paid=paid, disputed=self.disputed)

    def claim(self, sent: str, token_id: int, asset: str, holder: str) -> None:
        amount = self.claimable.pop((asset, holder))
        topics = [token_id.to_bytes(32), word(asset), word(holder)]
        self.say("Claimed", topics, sent, asset=asset, holder=holder, amount=amount)

    def dispute(self, digest: str, leaf: int) -> int:
        """Somebody disputes a leaf; returns the dispute's id."""
        number = len(self.disputes) + 1
        opened_at = int(self._clock.now().timestamp())
        self.disputes[number] = Struct(leaf=leaf, openedAt=opened_at, isOpen=True)
        self.say("Disputed", [number.to_bytes(32), word(digest)], "0x", disputeId=number)
        return number

    def end_dispute(self, sent: str, number: int, batch: Any = None, stands: bool = True) -> None:
        self.disputes[number]["isOpen"] = False
        self.say("DisputeEnded", [number.to_bytes(32)], sent, leafStands=stands)

    def withdraw_for(self, sent: str, account: str, asset: str) -> None:
        amount = self.withdrawable.pop((account, asset))
        self.say("Withdrawn", [word(account), word(asset)], sent, amount=amount)

    def _batch_of(self, digest: bytes) -> Struct:
        stored = self.batches.get(digest)
        if stored is None:
            return Struct(state=0, proposedAt=0, windowEndsAt=0, signers=0, quorum=0)
        return Struct(
            state=stored.state,
            proposedAt=stored.proposed_at,
            windowEndsAt=stored.window_ends_at,
            signers=0b111,
            quorum=QUORUM,
        )

    def _claimable(self, token_id: int, asset: str, holder: str) -> int:
        is_first = token_id == int(PASSPORTS[0], 16)
        return self.claimable.get((asset, holder), 0) if is_first else 0

    def _digest(self, batch: Any) -> bytes:
        operator, asset, *rest, gateway, fiat_total, passports, leaves, health = batch
        names = (
            "checkpoint",
            "tree_size",
            "topic",
            "sequence_number",
            "valid_until",
            "proposer",
            "c4e_rate",
        )
        given = Batch(
            operator_id=operator.rstrip(b"\0").decode(),
            asset=asset,
            gateway=gateway,
            fiat_total=fiat_total,
            passports=tuple(passports),
            leaves=tuple(
                parse_leaf(evidence + b"".join(number.to_bytes(32) for number in numbers))
                for evidence, *numbers in leaves
            ),
            **dict(zip(names, rest, strict=True)),
        )
        assert not health
        return batch_digest(given, CHAIN_ID, HUB_ADDRESS)


class HubSender:
    """A `Sender` to the hub: one effect for one purpose."""

    address = KEEPER

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._done: dict[str, str] = {}

    async def send(self, purpose: str, contract: str, function: str, *arguments: Any) -> str:
        if purpose in self._done:
            return self._done[purpose]
        if function in self._hub.faults:
            raise self._hub.faults[function]
        sent = f"0x{len(self._hub.sent):064x}"
        name = {"withdrawFor": "withdraw_for", "endDispute": "end_dispute"}.get(function, function)
        getattr(self._hub, name)(sent, *arguments)
        self._hub.sent.append(purpose)
        self._done[purpose] = sent
        return sent


# All of it -------------------------------------------------------------------------------------


class Rig:
    """A network whose bills wait, under an anchored head."""

    def __init__(self, policy: BatchPolicy | None = None, **changes: Any) -> None:
        self.clock = Clock()
        self.terms = terms(**changes)
        self.database = Database()
        self.hub = Hub(self.clock, self.terms)
        self.settlement = Settlement(
            self.database, self.terms, self.hub, self.clock, KEEPER, policy
        )
        log = SampleLog()
        log.append(EntryKind.NETWORK_CREATED, {"operator_id": OPERATOR}, of_station=False)
        self.note = log.note()
        self.anchor(100)

    @property
    def rows(self) -> Rows:
        return self.database.rows

    def anchor(self, tree_size: int) -> None:
        self.rows.head = AnchoredHead(tree_size, self.note, TOPIC.topic_id, 7)

    def wait(self, *cdrs: WaitingCdr) -> None:
        """Let bills wait."""
        self.rows.lanes |= {(cdr.asset, cdr.cdr_no): Lane(cdr) for cdr in cdrs}

    async def form(self) -> BatchRow:
        """Form the one batch that there is to form."""
        (digest,) = await self.settlement.form(at_once=True)
        return self.rows.batches[digest]

    async def sign(self, digest: str, *attesters: int) -> None:
        """Let attesters sign; their keys are those of their numbers, from 1."""
        for number in attesters or (1, 2, 3):
            signature = hex_text(sign(number, word(digest)))
            await self.settlement.answer(digest, signature=signature)

    async def refuse(self, digest: str, attester: int, record: int | None) -> None:
        await self.settlement.answer(
            digest,
            signature=None,
            record=record,
            reason="it is wrong",
            attester=ATTESTERS[attester - 1],
        )

    def states(self, asset: str = EURO_TEXT) -> dict[int, str]:
        """The state of each number of a lane."""
        return {
            number: str(lane.state) for (of, number), lane in self.rows.lanes.items() if of == asset
        }

    def batch_states(self) -> list[str]:
        """The states of all batches in the order in which they were formed."""
        return [str(row.state) for row in self.rows.batches.values()]
