"""The embedded chain: an Ethereum chain of one process, durable in the network's database.

    chain = await EmbeddedChain.open(journal, snapshots, lease, clock, entropy)
    transaction_hash = await chain.send_raw(raw)        # durable on return
    receipt = await chain.receipt(transaction_hash)
    answer = await chain.call(to, data)                 # raises Reverted with the error's bytes

    async with chain.sending() as sending:              # together with rows of one's own
        receipt = sending.send(raw)
        sending.work.append(entry)                      # the unit of work that all is written in
        await sending.commit()

A transaction is acknowledged after the commit that holds it; until then it can be taken back, and
nobody else sees what it did. What waits at the same time is committed together. Each commit
appends the journal's new head to the event log, so that a head that is anchored covers the chain
too. A start loads the newest snapshot and runs what came after it again: what does not give the
stored digests is refused.

In tests: `EmbeddedChain.open` with the doubles of `app.chain_testing`, no database needed.
"""

import asyncio
import hashlib
import importlib.util
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, Self

from chargera.app.chain_ports import (
    GAS_LIMIT,
    NOBODY,
    CallRequest,
    ChainHead,
    ChainIdentity,
    ChainJournal,
    Executed,
    FoundLog,
    JournalledTransaction,
    LogFilter,
    Receipt,
    Snapshot,
    SnapshotStore,
    TransactionRequest,
    WorkT,
)
from chargera.app.log_ports import Lease
from chargera.app.ports import Clock, Entropy, NewEntry
from chargera.domain.errors import ChargEraError, InvalidInput, Refused, Unavailable
from chargera.ledger.evm import digests
from chargera.ledger.evm.machine import EngineMaker, Machine, NonceTooLow
from chargera.ledger.evm.transaction import parse
from chargera.proofs import records
from chargera.proofs.chain_values import hex_text
from chargera.proofs.entry import EntryKind

CHAIN_ID_BITS = 48
GROUP_MAX = 64
"""Most transactions of one commit."""
WAITING_MAX = 4_096
RECENT_MAX = 256
"""Most transactions whose receipts are told from memory: whoever has sent one asks at once."""
READ_MAX = 500
"""Most transactions read at once for a replay."""
RESTORE = "restore the database from a backup made before the change"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChainPolicy:
    """How the chain is kept."""

    snapshot_interval: int = 2_000
    """Transactions between two snapshots: what a start has to run again at most."""


@dataclass(slots=True, eq=False)
class _Waiting:
    request: TransactionRequest
    result: "asyncio.Future[bytes]"

    def answer(self, answer: bytes | ChargEraError) -> None:
        """Tell whoever waits, unless he has gone."""
        if self.result.done():
            return
        if isinstance(answer, bytes):
            self.result.set_result(answer)
        else:
            self.result.set_exception(answer)
            self.result.exception()  # if nobody asks for it, that is no fault


class Sending(Generic[WorkT]):
    """Transactions in one unit of work; see `EmbeddedChain.sending`."""

    def __init__(self, machine: Machine, work: WorkT, clock: Clock) -> None:
        """Run on `machine`, write into `work`."""
        self.work = work
        self.begun = False
        """Whether a commit was tried: then only the journal knows how it ended."""
        self.committed = False
        self._machine = machine
        self._clock = clock
        self.done: list[JournalledTransaction] = []
        """What was executed, in order."""

    def send(self, raw: bytes) -> Receipt:
        """Run a signed transaction; it counts once `commit` returns. Raises BadTransaction."""
        return self.execute(parse(raw))

    def execute(self, request: TransactionRequest) -> Receipt:
        """As `send`, for one that is parsed."""
        assert not self.begun, "one commit ends it"
        done = self._machine.execute(request, int(self._clock.now().timestamp()))
        self.done.append(done)
        return done.receipt

    async def commit(self) -> None:
        """Write transactions, the journal's head and whatever else the unit of work holds."""
        if self.done:
            head = self._machine.head
            self.work.journal(self.done)
            now = self._clock.now()
            record = records.journal_head_record(
                self._machine.chain_id, head.count, hex_text(head.digest), now
            )
            self.work.append(NewEntry(EntryKind.JOURNAL_HEAD, None, None, record, now))
        self.begun = True
        await self.work.commit()
        self.committed = True


class EmbeddedChain(Generic[WorkT]):
    """A `ChainNode` over a journal; made by `open`, one at a time for one journal."""

    def __init__(
        self,
        machine: Machine,
        journal: ChainJournal[WorkT],
        snapshots: SnapshotStore,
        lease: Lease,
        clock: Clock,
        policy: ChainPolicy,
    ) -> None:
        """Use `open`."""
        self._machine = machine
        self._journal = journal
        self._snapshots = snapshots
        self._lease = lease
        self._clock = clock
        self._policy = policy
        self._turn = asyncio.Lock()
        self._queue: list[_Waiting] = []
        self._is_sure = True
        self._writer: asyncio.Task[Any] | None = None
        self._snapshot_count = machine.head.count
        self._recent: dict[bytes, JournalledTransaction] = {}
        """The last ones that are durable, by hash."""

    # Starting and stopping -----------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        journal: ChainJournal[WorkT],
        snapshots: SnapshotStore,
        lease: Lease,
        clock: Clock,
        entropy: Entropy,
        *,
        make_engine: EngineMaker | None = None,
        policy: ChainPolicy | None = None,
        from_genesis: bool = False,
    ) -> Self:
        """Return the chain as its journal has it; `from_genesis` runs all of it again.

        Raises Refused if another process writes it, or if what is stored does not give the digests
        that were stored with it.
        """
        await _take(lease)
        try:
            proposed = int.from_bytes(entropy.bytes(CHAIN_ID_BITS // 8)) | 1 << CHAIN_ID_BITS - 1
            identity = await journal.identity(proposed)
            snapshot = None if from_genesis else await snapshots.newest()
            machine = _started(identity.chain_id, make_engine or engine_maker(), snapshot)
            chain = cls(machine, journal, snapshots, lease, clock, policy or ChainPolicy())
            await chain._check_snapshot(snapshot)
            await chain._catch_up()
            _check_told(identity, machine.head)
        except BaseException:
            await lease.release()
            raise
        return chain

    async def close(self) -> None:
        """Let another process keep the chain."""
        async with self._turn:
            await self._lease.release()

    async def _check_snapshot(self, snapshot: Snapshot | None) -> None:
        """Raise Refused unless the journal goes through the snapshot's head."""
        if snapshot is None or snapshot.head.count == 0:
            return
        found = await self._journal.transactions(snapshot.head.count, 1)
        if not found or _head_of(found[0]) != snapshot.head:
            raise Refused(
                f"the snapshot of the chain at transaction {snapshot.head.count} is of another "
                "journal",
                remedy=RESTORE,
            )

    async def _catch_up(self) -> None:
        """Run what the journal has beyond the head; the lease may have gone with its connection."""
        await _take(self._lease)
        while True:
            first = self._machine.head.count + 1
            stored = await self._journal.transactions(first, READ_MAX)
            for transaction in stored:
                self._run_again(transaction)
            if len(stored) < READ_MAX:
                break
            await asyncio.sleep(0)
        self._is_sure = True

    def _run_again(self, stored: JournalledTransaction) -> None:
        number = self._machine.head.count + 1
        try:
            again = self._machine.execute(parse(stored.raw), stored.receipt.block.time)
        except ChargEraError as error:
            raise Refused(
                f"transaction {number} of the chain's journal is not valid: {error.message}",
                remedy=RESTORE,
            ) from error
        if again != stored:
            raise Refused(
                f"transaction {number} of the chain's journal does not give what was stored of it "
                f"(run by {self._machine.engine_name})",
                remedy=RESTORE,
            )
        self._machine.keep()  # the journal has it

    # What `Chain` offers -------------------------------------------------------------------

    @property
    def chain_id(self) -> int:
        """The network's chain id: 48 bits, drawn at its first start."""
        return self._machine.chain_id

    @property
    def gas_limit(self) -> int:
        """Most gas of one transaction."""
        return GAS_LIMIT

    @property
    def head(self) -> ChainHead:
        """How far the chain goes, as far as it is durable."""
        return self._machine.kept_head

    @property
    def engine_name(self) -> str:
        """Which engine runs."""
        return self._machine.engine_name

    async def call(self, to: bytes, data: bytes, sender: bytes = NOBODY) -> bytes:
        """Return what a call would return now. Raises Reverted."""
        return await self.try_call(CallRequest(to, data, sender))

    async def gas_for(self, to: bytes | None, data: bytes, sender: bytes) -> int:
        """Return the most gas there is: it is free."""
        return GAS_LIMIT

    async def send_raw(self, raw: bytes) -> bytes:
        """Execute a signed transaction and return its hash once it is durable.

        One that the chain already has is not executed again. Raises BadTransaction, Unavailable.
        """
        request = parse(raw)
        self._machine.check_form(request)
        if len(self._queue) >= WAITING_MAX:
            raise Unavailable("too many transactions wait", remedy="send it again later")
        waiting = _Waiting(request, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        try:
            async with self._turn:
                while not waiting.result.done():
                    await asyncio.sleep(0)  # who sends at the same moment shares the commit
                    await self._send_waiting()
        except asyncio.CancelledError:
            if waiting in self._queue:
                self._queue.remove(waiting)
            raise
        try:
            return waiting.result.result()
        except NonceTooLow:
            if await self._find(request.hash) is None:
                raise
            return request.hash

    async def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """Return what became of a transaction."""
        found = await self._find(transaction_hash)
        return None if found is None else found.receipt

    async def logs(self, wanted: LogFilter) -> Sequence[FoundLog]:
        """Return logs in order. Raises InvalidInput for more than the filter's limit."""
        found = await self._journal.logs(wanted)
        if len(found) > wanted.limit:
            raise InvalidInput(
                f"more than {wanted.limit} logs", field="filter", remedy="ask for fewer blocks"
            )
        return found

    async def nonce(self, address: bytes) -> int:
        """Return the nonce that the next transaction of this sender must have."""
        return (await self._sure()).state.account(address).nonce

    # Together with other writes ------------------------------------------------------------

    @asynccontextmanager
    async def sending(self) -> AsyncIterator[Sending[WorkT]]:
        """Execute transactions in one unit of work with whatever else is written into it.

        No other transaction is executed meanwhile, so nothing slow belongs into the block. Left
        without `commit`, none of them has happened.
        """
        async with self._turn:
            async with self._sending() as sending:
                yield sending
            await self._keep_snapshot()

    @asynccontextmanager
    async def _sending(self) -> AsyncIterator[Sending[WorkT]]:
        if not self._is_sure:
            await self._catch_up()
        self._writer = asyncio.current_task()
        sending: Sending[WorkT] | None = None
        try:
            async with self._journal.work() as work:
                sending = Sending(self._machine, work, self._clock)
                yield sending
        finally:
            self._writer = None
            if sending is not None and sending.committed:
                self._machine.keep()
                self._remember(sending.done)
            else:
                self._machine.go_back()
                # A commit that was not answered may still have happened: the journal knows.
                self._is_sure = sending is None or not sending.begun

    async def _send_waiting(self) -> None:
        """Execute and commit what waits, as far as it goes into one commit."""
        group, self._queue = self._queue[:GROUP_MAX], self._queue[GROUP_MAX:]
        answers: list[tuple[_Waiting, bytes | ChargEraError]] = []
        try:
            async with self._sending() as sending:
                for waiting in group:
                    try:
                        sending.execute(waiting.request)
                        answers.append((waiting, waiting.request.hash))
                    except ChargEraError as error:
                        answers.append((waiting, error))
                if any(isinstance(answer, bytes) for _, answer in answers):
                    await sending.commit()
        except BaseException as error:
            for waiting in group:
                waiting.answer(_as_ours(error))
            if not isinstance(error, Exception):
                raise
            return
        for waiting, answer in answers:
            waiting.answer(answer)
        await self._keep_snapshot()

    async def _keep_snapshot(self) -> None:
        """Store a snapshot if one is due; without one a start only takes longer."""
        head = self._machine.head
        if head.count - self._snapshot_count < self._policy.snapshot_interval or not self._is_sure:
            return
        content = digests.changes_bytes(self._machine.state.content())
        try:
            await self._snapshots.save(Snapshot(head, content, hashlib.sha256(content).digest()))
            self._snapshot_count = head.count
        except ChargEraError as error:
            _log.warning("no snapshot of the chain: %s", error.message)

    # What `/rpc` shows ---------------------------------------------------------------------

    async def try_call(self, request: CallRequest) -> bytes:
        """Return what the call would return in a block now. Raises Reverted, BadTransaction."""
        return (await self._sure()).try_call(request, self._now_s())

    async def estimate_gas(self, request: CallRequest) -> int:
        """Return gas with which it would succeed. Raises Reverted, BadTransaction."""
        return (await self._sure()).estimate_gas(request, self._now_s())

    async def code(self, address: bytes) -> bytes:
        """Return the code at an address."""
        return (await self._sure()).state.account(address).code

    async def storage(self, address: bytes, slot: int) -> int:
        """Return a word of a contract's storage."""
        return (await self._sure()).state.word(address, slot)

    async def transaction(self, transaction_hash: bytes) -> Executed | None:
        """Return a transaction with its receipt."""
        return _executed(await self._find(transaction_hash))

    async def block(self, number: int) -> Executed | None:
        """Return the transaction of a block, from 1."""
        return _executed(await self._numbered(number))

    async def block_digest(self, number: int) -> bytes | None:
        """Return the digest of a block, from 0 (the empty chain)."""
        if number == 0:
            return digests.first_head(self.chain_id).digest
        found = await self._numbered(number)
        return None if found is None else found.receipt.digest

    async def _sure(self) -> Machine:
        """Return the state once nothing in it waits for its commit, unless the caller writes it."""
        if asyncio.current_task() is not self._writer:
            while self._machine.is_unsure or not self._is_sure:
                async with self._turn:
                    if not self._is_sure:
                        await self._catch_up()
        return self._machine

    def _remember(self, done: Sequence[JournalledTransaction]) -> None:
        for transaction in done:
            self._recent[transaction.receipt.transaction_hash] = transaction
        for transaction_hash in list(self._recent)[:-RECENT_MAX]:
            del self._recent[transaction_hash]

    async def _find(self, transaction_hash: bytes) -> JournalledTransaction | None:
        return self._recent.get(transaction_hash) or await self._journal.find(transaction_hash)

    async def _numbered(self, number: int) -> JournalledTransaction | None:
        if not 0 < number <= self.head.count:
            return None
        found = await self._journal.transactions(number, 1)
        return found[0] if found else None

    def _now_s(self) -> int:
        return int(self._clock.now().timestamp())


def engine_maker(name: str = "auto") -> EngineMaker:
    """Return what makes the engine `pyrevm` or `py-evm`; `auto`: the first that is installed.

    They give equal results; pyrevm is a hundred times faster, but has no wheel for some machines.
    Raises Unavailable if the one that is asked for is not installed.
    """
    for candidate in ("pyrevm", "py-evm"):
        if name in ("auto", candidate) and importlib.util.find_spec(_MODULES[candidate]):
            return _made_by(candidate)
    raise Unavailable(
        f"the EVM {name} is not installed here", remedy='set the chain\'s engine to "auto"'
    )


_MODULES = {"pyrevm": "pyrevm", "py-evm": "eth"}


def _made_by(name: str) -> EngineMaker:
    """Return the engine's class; only the module of the one that runs is ever imported."""
    if name == "pyrevm":
        from chargera.ledger.evm.revm import RevmEngine

        return RevmEngine
    from chargera.ledger.evm.pyevm import PyEvmEngine

    return PyEvmEngine


async def _take(lease: Lease) -> None:
    """Take or keep the lease. Raises Refused if another process has it."""
    if not await lease.acquire():
        raise Refused(
            "another process keeps this chain", remedy="one server at a time: stop the other one"
        )


def _started(chain_id: int, make_engine: EngineMaker, snapshot: Snapshot | None) -> Machine:
    if snapshot is None:
        return Machine(chain_id, make_engine)
    if hashlib.sha256(snapshot.content).digest() != snapshot.content_digest:
        raise Refused(
            f"the snapshot of the chain at transaction {snapshot.head.count} is damaged",
            remedy="delete the rows of chain_snapshot: the start then runs the whole journal",
        )
    content = digests.parse_changes(snapshot.content)
    return Machine(chain_id, make_engine, snapshot.head, content)


def _check_told(identity: ChainIdentity, head: ChainHead) -> None:
    """Raise Refused unless the log's newest entry about the journal says where it ends."""
    told = (identity.told_count or 0, identity.told_digest or head.digest)
    if told != (head.count, head.digest):
        raise Refused(
            f"the log says that the chain has {told[0]} transactions with the digest "
            f"{hex_text(told[1])}, its journal has {head.count} with {hex_text(head.digest)}",
            remedy=RESTORE,
        )


def _head_of(stored: JournalledTransaction) -> ChainHead:
    receipt = stored.receipt
    return ChainHead(stored.number, receipt.block.time, receipt.digest, stored.state_digest)


def _executed(stored: JournalledTransaction | None) -> Executed | None:
    return None if stored is None else Executed(parse(stored.raw), stored.receipt)


def _as_ours(error: BaseException) -> ChargEraError:
    if isinstance(error, ChargEraError):
        return error
    return Unavailable(
        f"the transaction was not written: {type(error).__name__}",
        remedy="ask for its receipt, and send it again if there is none",
    )
