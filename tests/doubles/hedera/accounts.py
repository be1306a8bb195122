"""Transactions of the crypto service: create and update accounts, transfer HBAR."""

from hiero_sdk_python.hapi.services import response_code_pb2 as codes
from hiero_sdk_python.hapi.services.basic_types_pb2 import AccountID, TransactionID
from hiero_sdk_python.hapi.services.crypto_create_pb2 import CryptoCreateTransactionBody
from hiero_sdk_python.hapi.services.transaction_pb2 import TransactionBody
from hiero_sdk_python.hapi.services.transaction_receipt_pb2 import TransactionReceipt

from tests.doubles.hedera import keys
from tests.doubles.hedera.entities import ADDRESS_BYTES, Account, account_id, number_of_long_zero
from tests.doubles.hedera.handling import Handling, Record
from tests.doubles.hedera.precheck import MEMO_BYTES_MAX, ResponseError


def create(handling: Handling) -> None:
    """CryptoCreateAccount; an alias must be the address of an ECDSA key that signs."""
    content = handling.content
    if not content.HasField("key"):
        raise ResponseError(codes.KEY_REQUIRED)
    if not keys.is_valid(content.key):
        raise ResponseError(
            codes.INVALID_ADMIN_KEY if keys.is_empty_list(content.key) else codes.BAD_ENCODING
        )
    if len(content.memo.encode()) > MEMO_BYTES_MAX:
        raise ResponseError(codes.MEMO_TOO_LONG)
    alias = content.alias or None
    if alias is not None:
        if len(alias) != ADDRESS_BYTES or number_of_long_zero(alias) is not None:
            raise ResponseError(codes.INVALID_ALIAS_KEY)
        if handling.ledger.account_at(alias) is not None:
            raise ResponseError(codes.ALIAS_ALREADY_ASSIGNED)
        if keys.ecdsa_address(content.key) != alias and not handling.signatures.key_of_alias(alias):
            raise ResponseError(codes.INVALID_SIGNATURE)
    if content.initialBalance:
        _check_means(handling, handling.payer, content.initialBalance)
    account = Account(
        handling.ledger.next_number(), content.key, handling.now_ns, alias=alias, memo=content.memo
    )
    handling.ledger.add_account(account)
    if content.initialBalance:
        handling.move(handling.payer.number, -content.initialBalance)
        handling.move(account.number, content.initialBalance)
    handling.receipt.accountID.CopyFrom(account_id(account.number))
    handling.entity = account.number


def update(handling: Handling) -> None:
    """CryptoUpdateAccount: key and memo. The old key and the new one must both sign."""
    content = handling.content
    account = handling.account(content.accountIDToUpdate)
    handling.entity = account.number
    handling.require(account.key)
    if content.HasField("key"):
        if not keys.is_valid(content.key):
            raise ResponseError(codes.BAD_ENCODING)
        handling.require(content.key)
    if content.HasField("memo") and len(content.memo.value.encode()) > MEMO_BYTES_MAX:
        raise ResponseError(codes.MEMO_TOO_LONG)
    if content.HasField("key"):
        account.key = content.key
    if content.HasField("memo"):
        account.memo = content.memo.value


def transfer(handling: Handling) -> None:
    """CryptoTransfer of HBAR; an alias without account gets a hollow one (HIP-583)."""
    if handling.content.tokenTransfers:
        raise ResponseError(codes.NOT_SUPPORTED)
    amounts = handling.content.transfers.accountAmounts
    aliases = set()
    for each in amounts:
        account = handling.ledger.find_account(each.accountID)
        if account is None:
            if each.amount <= 0 or not _is_free_alias(each.accountID):
                raise ResponseError(codes.INVALID_ACCOUNT_ID)
            aliases.add(each.accountID.alias)
        elif each.amount < 0:
            if account is not handling.payer:
                handling.require(account.key)
            _check_means(handling, account, -each.amount)
    made = {alias: create_hollow(handling, alias) for alias in sorted(aliases)}
    for each in amounts:
        account = made.get(each.accountID.alias) or handling.account(each.accountID)
        handling.move(account.number, each.amount)


def create_hollow(handling: Handling, alias: bytes) -> Account:
    """Make the account of an EVM address, whose key is not known yet, and its child record."""
    ledger = handling.ledger
    account = Account(ledger.next_number(), None, handling.now_ns, alias=alias)
    ledger.add_account(account)
    child_id = TransactionID()
    child_id.CopyFrom(handling.body.transactionID)
    child_id.nonce = len(handling.children) + 1
    receipt = TransactionReceipt(status=codes.SUCCESS, accountID=account_id(account.number))
    handling.children.append(
        Record(
            transaction_id=child_id,
            consensus_ns=handling.now_ns,  # the ledger moves it on
            kind="cryptoCreateAccount",
            body=TransactionBody(
                transactionID=child_id,
                memo="",
                cryptoCreateAccount=CryptoCreateTransactionBody(alias=alias),
            ),
            hash=b"",
            receipt=receipt,
            fee=0,
            transfers={},
            entity=account.number,
            alias=alias,
            parent_ns=handling.now_ns,
        )
    )
    return account


def _is_free_alias(account: AccountID) -> bool:
    alias = account.alias
    return len(alias) == ADDRESS_BYTES and number_of_long_zero(alias) is None


def _check_means(handling: Handling, account: Account, tinybars: int) -> None:
    owed = handling.fee if account is handling.payer else 0
    if account.balance - owed < tinybars:
        raise ResponseError(codes.INSUFFICIENT_ACCOUNT_BALANCE)
