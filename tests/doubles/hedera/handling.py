"""A transaction while the ledger handles it, and the record of one that was handled."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hiero_sdk_python.hapi.services import response_code_pb2 as codes
from hiero_sdk_python.hapi.services.basic_types_pb2 import AccountID, Key, TransactionID
from hiero_sdk_python.hapi.services.contract_types_pb2 import ContractFunctionResult
from hiero_sdk_python.hapi.services.transaction_pb2 import TransactionBody
from hiero_sdk_python.hapi.services.transaction_receipt_pb2 import TransactionReceipt

from tests.doubles.hedera.entities import Account
from tests.doubles.hedera.keys import Agreement
from tests.doubles.hedera.precheck import ResponseError

if TYPE_CHECKING:
    from tests.doubles.hedera.contracts import Run
    from tests.doubles.hedera.ledger import Ledger

FEE_ACCOUNT = 98


@dataclass(slots=True)
class Handling:
    """What a handler reads and writes; it raises ResponseError before it changes anything."""

    ledger: "Ledger"
    body: TransactionBody
    content: Any
    """The part of the body that says what is to be done."""
    payer: Account
    signatures: Agreement
    now_ns: int
    """The consensus time."""
    fee: int = 0
    """Tinybars that the payer owes already; gas and new accounts come on top."""
    receipt: TransactionReceipt = field(default_factory=TransactionReceipt)
    entity: int | None = None
    """What it is about, as mirrors show it."""
    transfers: dict[int, int] = field(default_factory=dict)
    """Tinybars by account, without the fee."""
    gas_tinybars: int = 0
    """What the payer pays for gas beside the fee."""
    result: ContractFunctionResult | None = None
    run: "Run | None" = None
    children: list["Record"] = field(default_factory=list)
    follow: list[Callable[[], None]] = field(default_factory=list)
    """What is to be done once this is recorded."""

    def require(self, key: Key | None) -> None:
        """Raise INVALID_SIGNATURE unless `key` has signed."""
        if not self.signatures.satisfy(key):
            raise ResponseError(codes.INVALID_SIGNATURE)

    def account(self, account: AccountID, otherwise: int = codes.INVALID_ACCOUNT_ID) -> Account:
        """Return an account by number or alias; raise ResponseError(`otherwise`) without one."""
        found = self.ledger.find_account(account)
        if found is None:
            raise ResponseError(otherwise)
        return found

    def move(self, number: int, tinybars: int) -> None:
        """Note that this account gets (or gives) tinybars."""
        self.transfers[number] = self.transfers.get(number, 0) + tinybars


@dataclass(frozen=True, slots=True)
class Record:
    """What came of a transaction."""

    transaction_id: TransactionID
    consensus_ns: int
    kind: str
    """The field of the body."""
    body: TransactionBody
    hash: bytes
    receipt: TransactionReceipt
    fee: int
    transfers: dict[int, int]
    entity: int | None
    result: ContractFunctionResult | None = None
    run: "Run | None" = None
    alias: bytes = b""
    parent_ns: int | None = None

    @property
    def run_hash(self) -> bytes:
        """The hash by which a run is known: Ethereum's, or the beginning of Hedera's."""
        ethereum = self.run.ethereum if self.run else None
        return ethereum.hash if ethereum else self.hash[:32]

    @property
    def status(self) -> str:
        """The response code's name."""
        name: str = codes.ResponseCodeEnum.Name(self.receipt.status)
        return name
