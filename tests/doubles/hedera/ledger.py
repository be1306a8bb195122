"""The emulated ledger: takes transactions, gives each its consensus time, keeps what came of it."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from threading import RLock

from cryptography.hazmat.primitives.asymmetric import ec
from hiero_sdk_python.hapi.services import response_code_pb2 as codes
from hiero_sdk_python.hapi.services.basic_types_pb2 import AccountID, Key, TransactionID
from hiero_sdk_python.hapi.services.transaction_pb2 import Transaction
from hiero_sdk_python.hapi.services.transaction_receipt_pb2 import TransactionReceipt

from tests.doubles.hedera import accounts, contracts, fees, files, keys, precheck, schedules, topics
from tests.doubles.hedera.clock import NS_PER_S, EmulatorClock
from tests.doubles.hedera.entities import (
    Account,
    File,
    Message,
    Topic,
    number_of_long_zero,
)
from tests.doubles.hedera.evm import Evm
from tests.doubles.hedera.faults import FaultKind, Faults
from tests.doubles.hedera.handling import FEE_ACCOUNT, Handling, Record
from tests.doubles.hedera.keys import Agreement
from tests.doubles.hedera.precheck import NODE, Arrived, ResponseError

TREASURY, OPERATOR, FIRST_FREE = 2, 1_001, 1_002
SUPPLY = 50_000_000_000 * fees.HBAR
OPERATOR_BALANCE = 10_000 * fees.HBAR
RECEIPT_NS = 180 * NS_PER_S
"""How long a node remembers receipts and what it compares duplicates with."""

Handler = Callable[[Handling], None]

HANDLERS: dict[str, Handler] = {
    "consensusCreateTopic": topics.create,
    "consensusUpdateTopic": topics.update,
    "consensusDeleteTopic": topics.delete,
    "consensusSubmitMessage": topics.submit,
    "cryptoCreateAccount": accounts.create,
    "cryptoUpdateAccount": accounts.update,
    "cryptoTransfer": accounts.transfer,
    "contractCreateInstance": contracts.create,
    "contractCall": contracts.call,
    "ethereumTransaction": contracts.ethereum,
    "fileCreate": files.create,
    "fileAppend": files.append,
    "scheduleCreate": schedules.create,
    "scheduleSign": schedules.sign,
    "scheduleDelete": schedules.delete,
}


class Ledger:
    """The state of the network and its one node. Hold `lock` around everything."""

    def __init__(
        self, seed: str, clock: EmulatorClock, faults: Faults, chain_id: int, engine: str
    ) -> None:
        """Begin with a treasury, the node's and the fee account, and the operator's account."""
        self.lock = RLock()
        self.clock = clock
        self.faults = faults
        self.rate = fees.Rate()
        self.genesis_ns = clock.now_ns()
        self.accounts: dict[int, Account] = {}
        self.topics: dict[int, Topic] = {}
        self.files: dict[int, File] = {}
        self.schedules: dict[int, schedules.Schedule] = {}
        self.messages: dict[int, Message] = {}
        """By consensus time."""
        self.records: dict[int, Record] = {}
        """By consensus time, in order."""
        self.runs: dict[bytes, Record] = {}
        """Those of the EVM by the hash that mirrors show, in order."""
        self.blocks: dict[int, list[Record]] = {}
        """By number; empty ones are left out."""
        self.evm = Evm(chain_id, engine)
        self.operator_secret = hashlib.sha256(f"hedera emulator {seed}".encode()).digest()
        self._by_id: dict[bytes, list[Record]] = {}
        self._arrived: dict[bytes, int] = {}
        """When the node took a transaction, by its id: also those that never reach consensus."""
        self._numbers = FIRST_FREE
        self._last_ns = self.genesis_ns
        self._addresses: dict[bytes, int] = {}
        self._second: dict[str, tuple[int, int]] = {}
        self._begin()

    def _begin(self) -> None:
        secret = ec.derive_private_key(int.from_bytes(self.operator_secret), ec.SECP256K1())
        operator = keys.ecdsa_key(keys.compressed(secret.public_key()))
        treasury = ec.derive_private_key(
            int.from_bytes(hashlib.sha256(self.operator_secret).digest()), ec.SECP256K1()
        )
        treasury_key = keys.ecdsa_key(keys.compressed(treasury.public_key()))
        left = SUPPLY - OPERATOR_BALANCE
        for number, balance in ((TREASURY, left), (NODE, 0), (FEE_ACCOUNT, 0)):
            self.add_account(Account(number, treasury_key, self.genesis_ns, balance))
        self.add_account(
            Account(
                OPERATOR,
                operator,
                self.genesis_ns,
                OPERATOR_BALANCE,
                alias=keys.ecdsa_address(operator),
            )
        )

    # Entities ------------------------------------------------------------------------------

    def next_number(self) -> int:
        """Return the number of the next entity."""
        number, self._numbers = self._numbers, self._numbers + 1
        return number

    def peek_number(self) -> int:
        """Return the number that the next entity will have."""
        return self._numbers

    def add_account(self, account: Account) -> None:
        """Take a new account or contract."""
        self.accounts[account.number] = account
        if account.alias is not None:
            self._addresses[account.alias] = account.number

    def account_at(self, address: bytes) -> Account | None:
        """Return the account with an EVM address, long-zero or alias."""
        number = self._addresses.get(address)
        if number is None:
            number = number_of_long_zero(address)
        return None if number is None else self.accounts.get(number)

    def canonical(self, address: bytes) -> bytes:
        """Return the address under which the EVM knows what is at `address`."""
        found = self.account_at(address)
        return address if found is None else found.address

    def find_account(self, account: AccountID) -> Account | None:
        """Return the account that a message of HAPI names."""
        if account.WhichOneof("account") == "alias":
            return self.account_at(self.address_of_alias(account.alias))
        if account.shardNum or account.realmNum:
            return None
        return self.accounts.get(account.accountNum)

    @staticmethod
    def address_of_alias(alias: bytes) -> bytes:
        """Return the EVM address that an alias stands for: itself, or that of a key in it."""
        if len(alias) != 35:
            return alias
        return keys.ecdsa_address(Key.FromString(alias)) or alias

    # Transactions --------------------------------------------------------------------------

    def submit(self, transaction: Transaction, method: str) -> tuple[int, Arrived | None]:
        """Take a transaction as a node does; return the precheck's code, and it, if that is OK.

        What is taken has reached consensus on return, unless it is lost by a fault.
        """
        with self.lock:
            self.run_due()
            try:
                arrived = precheck.read(transaction, method)
                self._check(arrived, method)
            except ResponseError as failure:
                return failure.code, None
            self._arrived[arrived.name] = self.clock.now_ns()
            if not self.faults.strikes(FaultKind.LOST_IN_FLIGHT, method, arrived.body):
                self.handle(arrived)
            return codes.OK, arrived

    def _check(self, arrived: Arrived, method: str) -> None:
        now_ns = self.clock.now_ns()
        precheck.check_form(arrived, now_ns)
        self._forget(now_ns)
        if arrived.name in self._arrived:
            raise ResponseError(codes.DUPLICATE_TRANSACTION)
        payer = self.find_account(arrived.body.transactionID.accountID)
        if payer is None or payer.is_contract:
            raise ResponseError(codes.PAYER_ACCOUNT_NOT_FOUND)
        if not self.has_signed(payer, arrived.signatures):
            raise ResponseError(codes.INVALID_SIGNATURE)
        if arrived.kind not in HANDLERS:
            raise ResponseError(codes.NOT_SUPPORTED)
        if arrived.kind == "ethereumTransaction":
            contracts.check_ethereum(self, arrived.content)
        fee = self.fee(arrived)
        if arrived.body.transactionFee < fee:
            raise ResponseError(codes.INSUFFICIENT_TX_FEE)
        if payer.balance < fee:
            raise ResponseError(codes.INSUFFICIENT_PAYER_BALANCE)
        if fault := self.faults.strikes(FaultKind.REFUSED, method, arrived.body):
            raise ResponseError(codes.ResponseCodeEnum.Value(fault.value))
        if self.faults.strikes(FaultKind.BUSY, method, arrived.body):
            raise ResponseError(codes.BUSY)
        self._throttle(arrived.kind, now_ns)

    def has_signed(self, account: Account, signatures: Agreement) -> bool:
        """Whether an account agrees; for a hollow one the key of its alias has to."""
        if account.key is None and account.alias is not None:
            return signatures.key_of_alias(account.alias) is not None
        return signatures.satisfy(account.key)

    def _throttle(self, kind: str, now_ns: int) -> None:
        most = self.faults.throttles.get(kind)
        if most is None:
            return
        second = now_ns // NS_PER_S
        last, count = self._second.get(kind, (0, 0))
        count = count + 1 if last == second else 1
        if count > most:
            raise ResponseError(codes.BUSY)
        self._second[kind] = (second, count)

    def _forget(self, now_ns: int) -> None:
        for name, arrived_ns in list(self._arrived.items()):
            if now_ns - arrived_ns <= RECEIPT_NS:
                break
            del self._arrived[name]

    def handle(self, arrived: Arrived) -> Record:
        """Let a transaction reach consensus and return its record."""
        payer = self.find_account(arrived.body.transactionID.accountID)
        assert payer is not None, "the precheck found the payer"
        if payer.key is None and payer.alias is not None:
            payer.key = arrived.signatures.key_of_alias(payer.alias)
        return self.execute(arrived, payer, self.fee(arrived))

    def execute(self, arrived: Arrived, payer: Account, fee: int) -> Record:
        """Handle a transaction at the next consensus time, charge and record it."""
        now_ns = self._consensus()
        handling = Handling(
            self, arrived.body, arrived.content, payer, arrived.signatures, now_ns, fee
        )
        try:
            HANDLERS[arrived.kind](handling)
            status = handling.receipt.status = handling.receipt.status or codes.SUCCESS
        except ResponseError as failure:
            handling.receipt = TransactionReceipt(status=failure.code)
            handling.transfers.clear()
            handling.children.clear()
            handling.follow.clear()
            status = failure.code
        assert status != codes.OK, "a receipt has a status of its own"
        handling.receipt.exchangeRate.CopyFrom(self.rate.message(now_ns))
        fee = self._charge(handling, arrived)
        record = Record(
            transaction_id=arrived.body.transactionID,
            consensus_ns=now_ns,
            kind=arrived.kind,
            body=arrived.body,
            hash=arrived.hash,
            receipt=handling.receipt,
            fee=fee,
            transfers={number: sum_ for number, sum_ in handling.transfers.items() if sum_},
            entity=handling.entity,
            result=handling.result,
            run=handling.run,
        )
        self._keep(record)
        for child in handling.children:
            self._keep(replace(child, consensus_ns=self._consensus()))
        for following in handling.follow:
            following()
        return record

    def _charge(self, handling: Handling, arrived: Arrived) -> int:
        """Move what is to be moved; return the fee with the gas in it."""
        fee = handling.fee
        for child in handling.children:
            if child.kind == "cryptoCreateAccount":
                fee += self.rate.tinybars(fees.AUTO_CREATION)
        fee += handling.gas_tinybars
        if fault := self.faults.strikes(FaultKind.WRONG_FEE, arrived.method, arrived.body):
            fee = int(fee * float(fault.value or 2))
        given = min(0, handling.transfers.get(handling.payer.number, 0))
        fee = min(fee, handling.payer.balance + given)
        handling.move(handling.payer.number, -fee)
        handling.move(FEE_ACCOUNT, fee)
        for number, tinybars in handling.transfers.items():
            self.accounts[number].balance += tinybars
        return fee

    def fee(self, arrived: Arrived) -> int:
        """Return the fee of the table in tinybars, without gas."""
        return self.rate.tinybars(self.tinycents(arrived))

    def tinycents(self, arrived: Arrived) -> int:
        """Return the fee of the table, without gas."""
        content, kind = arrived.content, arrived.kind
        tinycents = fees.BASE[kind]
        tinycents += fees.SIGNATURE * max(0, len(arrived.signatures.pairs) - 1)
        match kind:
            case "consensusSubmitMessage":
                tinycents += fees.message_tinycents(len(content.message)) - fees.BASE[kind]
            case "consensusCreateTopic" | "consensusUpdateTopic":
                named = [content.adminKey, content.submitKey]
                tinycents += fees.KEY * max(0, sum(map(keys.count, named)) - 1)
            case "cryptoTransfer":
                extra = max(0, len(content.transfers.accountAmounts) - fees.TRANSFERS_INCLUDED)
                tinycents += fees.TRANSFER * extra
            case "fileCreate" | "fileAppend":
                extra = max(0, len(content.contents) - fees.FILE_BYTES_INCLUDED)
                tinycents += fees.FILE_BYTE * extra
            case "scheduleCreate" if content.scheduledTransactionBody.HasField("contractCall"):
                tinycents += fees.SCHEDULED_CALL - fees.BASE[kind]
        return tinycents

    def _consensus(self) -> int:
        self._last_ns = max(self.clock.now_ns(), self._last_ns + 1)
        return self._last_ns

    def _keep(self, record: Record) -> None:
        self.records[record.consensus_ns] = record
        self.blocks.setdefault(contracts.block_number(self, record.consensus_ns), []).append(record)
        if record.run is not None:
            self.runs[record.run_hash] = record
        named = TransactionID()
        named.CopyFrom(record.transaction_id)
        named.nonce = 0
        self._by_id.setdefault(named.SerializeToString(deterministic=True), []).append(record)

    def run_due(self) -> None:
        """Execute the schedules whose time has come."""
        with self.lock:
            schedules.run_due(self)

    # What queries ask ----------------------------------------------------------------------

    def find(self, transaction_id: TransactionID, *, remembered: bool = False) -> list[Record]:
        """Return the record of a transaction and those of its children.

        `remembered`: only while a node still answers for it.
        """
        named = TransactionID()
        named.CopyFrom(transaction_id)
        named.nonce = 0
        found = self._by_id.get(named.SerializeToString(deterministic=True), [])
        if remembered and found and self.clock.now_ns() - found[0].consensus_ns > RECEIPT_NS:
            return []
        return found

    def is_under_way(self, transaction_id: TransactionID) -> bool:
        """Whether the node took this transaction not long ago."""
        self._forget(self.clock.now_ns())
        return transaction_id.SerializeToString(deterministic=True) in self._arrived
