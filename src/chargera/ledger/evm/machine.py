"""The embedded chain in memory: which transactions it takes, and what comes of them.

One block a transaction. Nothing here waits or is stored; what was executed since
`keep` can be taken back.
"""

from collections.abc import Callable

from chargera.app.chain_ports import (
    GAS_LIMIT,
    BadTransaction,
    Block,
    CallRequest,
    ChainHead,
    JournalledTransaction,
    Receipt,
    Reverted,
    TransactionRequest,
)
from chargera.ledger.evm import digests
from chargera.ledger.evm.engine import (
    INITCODE_BYTES_MAX,
    NOTHING,
    Account,
    Changes,
    Engine,
    Message,
    Outcome,
    intrinsic_gas,
)
from chargera.ledger.evm.state import WorldState

EngineMaker = Callable[[int], Engine]
"""Makes an empty engine for a chain id."""

_ESTIMATE_CLOSENESS = 64
"""An estimate is at most a 64th above what is needed."""
_REASON = bytes.fromhex("08c379a0")
"""Selector of `Error(string)`."""


class NonceTooLow(BadTransaction):
    """The sender has already sent a transaction with this nonce."""

    code = "nonce_too_low"


class Machine:
    """State, engine and head of the chain."""

    def __init__(
        self,
        chain_id: int,
        make_engine: EngineMaker,
        head: ChainHead | None = None,
        content: Changes | None = None,
    ) -> None:
        """Start with an empty chain, or at `head` with the state `content`."""
        self.chain_id = chain_id
        self.head = head or digests.first_head(chain_id)
        self.state = WorldState(content)
        self._make_engine = make_engine
        self._undo: list[Changes] = []
        self._kept_head = self.head
        self._fill_engine()

    @property
    def engine_name(self) -> str:
        """Which engine runs."""
        return self._engine.name

    # Transactions --------------------------------------------------------------------------

    def check_form(self, request: TransactionRequest) -> None:
        """Raise BadTransaction for what the chain never takes, whatever its state."""
        if request.chain_id != self.chain_id:
            raise BadTransaction(
                f"signed for chain {request.chain_id}, this is {self.chain_id}", field="chain_id"
            )
        _check_amounts(request.to, request.data, request.value, request.gas_limit)
        if request.max_priority_fee > request.max_fee:
            raise BadTransaction("the priority fee is above the fee", field="max_priority_fee")

    def check(self, request: TransactionRequest) -> None:
        """Raise BadTransaction unless the chain takes this transaction next of its sender."""
        self.check_form(request)
        expected = self.state.account(request.sender).nonce
        if request.nonce < expected:
            raise NonceTooLow(
                f"nonce too low: the sender's next is {expected}, not {request.nonce}",
                field="nonce",
            )
        if request.nonce > expected:
            raise BadTransaction(
                f"nonce too high: the sender's next is {expected}, not {request.nonce}",
                field="nonce",
                remedy="send the ones before it first: none wait here",
            )

    def execute(self, request: TransactionRequest, time: int) -> JournalledTransaction:
        """Run a transaction in the next block, at `time` or the last block's if that is later.

        Raises BadTransaction, and then nothing has changed.
        """
        self.check(request)
        block = Block(self.head.count + 1, max(time, self.head.time))
        message = Message(request.sender, request.to, request.data, request.gas_limit)
        outcome = self._engine.run(message, block)
        changes = self.state.real(_with_nonce(outcome.changes, request))
        state_digest = digests.next_state_digest(self.head.state_digest, changes)
        digest = digests.next_digest(self.head.digest, request.raw, state_digest, block, outcome)
        self._undo.append(self.state.apply(changes))
        self._engine.apply(changes)
        self.head = ChainHead(block.number, block.time, digest, state_digest)
        receipt = _receipt(request, block, outcome, digest)
        return JournalledTransaction(request.raw, receipt, state_digest)

    @property
    def is_unsure(self) -> bool:
        """Whether transactions since the last `keep` may still be taken back."""
        return bool(self._undo)

    @property
    def kept_head(self) -> ChainHead:
        """The head without transactions that may be taken back."""
        return self._kept_head

    def keep(self) -> None:
        """From here on what was executed is never taken back."""
        self._undo.clear()
        self._kept_head = self.head

    def go_back(self) -> None:
        """Take back all transactions since the last `keep`."""
        if self._undo:
            while self._undo:
                self.state.apply(self._undo.pop())
            self.head = self._kept_head
            self._fill_engine()

    # Calls that change nothing -------------------------------------------------------------

    def try_call(self, request: CallRequest, time: int) -> bytes:
        """Return what a call returns in a block at `time`. Raises Reverted, BadTransaction."""
        return _output(self._try(request, request.gas_limit or GAS_LIMIT, time))

    def estimate_gas(self, request: CallRequest, time: int) -> int:
        """Return gas with which the call succeeds. Raises Reverted, BadTransaction."""
        most = min(request.gas_limit or GAS_LIMIT, GAS_LIMIT)
        outcome = self._try(request, most, time)
        _output(outcome)
        # Gas given back at the end, and the 64th that calls keep back (EIP-150), is needed first.
        least = max(outcome.gas_used, intrinsic_gas(request.to, request.data)) - 1
        if self._try(request, least + 1, time).succeeded:
            return least + 1
        while most - least > most // _ESTIMATE_CLOSENESS:
            middle = (least + most) // 2
            if self._try(request, middle, time).succeeded:
                most = middle
            else:
                least = middle
        return most

    def _try(self, request: CallRequest, gas_limit: int, time: int) -> Outcome:
        _check_amounts(request.to, request.data, request.value, gas_limit)
        if self.state.account(request.sender).code:
            raise BadTransaction(
                "a contract sends no transactions (EIP-3607)",
                field="from",
                remedy="try the call as an account that has a key",
            )
        block = Block(self.head.count + 1, max(time, self.head.time))
        return self._engine.run(Message(request.sender, request.to, request.data, gas_limit), block)

    def _fill_engine(self) -> None:
        self._engine = self._make_engine(self.chain_id)
        self._engine.apply(self.state.content())


def _check_amounts(to: bytes | None, data: bytes, value: int, gas_limit: int) -> None:
    if value:
        raise BadTransaction(
            "insufficient funds: this chain has no coin to send", field="value", remedy="send 0"
        )
    if gas_limit > GAS_LIMIT:
        raise BadTransaction(f"gas limit above {GAS_LIMIT}", field="gas_limit")
    needed = intrinsic_gas(to, data)
    if gas_limit < needed:
        raise BadTransaction(
            f"intrinsic gas too low: {gas_limit}, at least {needed}", field="gas_limit"
        )
    if to is None and len(data) > INITCODE_BYTES_MAX:
        raise BadTransaction(f"init code over {INITCODE_BYTES_MAX} bytes", field="data")


def _with_nonce(changes: Changes, request: TransactionRequest) -> Changes:
    """Add what every transaction changes, whether it succeeds or not."""
    code = changes.accounts.get(request.sender, NOTHING).code
    sender = Account(request.nonce + 1, code)
    return Changes({**changes.accounts, request.sender: sender}, changes.storage)


def _receipt(request: TransactionRequest, block: Block, outcome: Outcome, digest: bytes) -> Receipt:
    return Receipt(
        transaction_hash=request.hash,
        block=block,
        sender=request.sender,
        to=request.to,
        succeeded=outcome.succeeded,
        gas_used=outcome.gas_used,
        created=outcome.created,
        output=outcome.output,
        logs=outcome.logs,
        digest=digest,
    )


def _output(outcome: Outcome) -> bytes:
    if outcome.succeeded:
        return outcome.output
    if outcome.halt is not None:
        raise Reverted(b"", f"execution halted: {outcome.halt}")
    raise Reverted(outcome.output, f"execution reverted{_reason(outcome.output)}")


def _reason(data: bytes) -> str:
    """Return the words of `Error(string)` after a colon; nothing for any other error."""
    if data[:4] != _REASON or len(data) < 68:  # selector, offset, length
        return ""
    length = int.from_bytes(data[36:68])
    return ": " + data[68 : 68 + min(length, 1024)].decode("utf-8", "replace")
