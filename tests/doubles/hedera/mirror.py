"""A mirror node's REST API over the ledger: transactions, accounts, blocks, the network."""

import hashlib
import re
from base64 import b32decode, b32encode, b64encode
from binascii import Error as BadEncoding
from collections.abc import Callable, Iterator
from typing import Any

from hiero_sdk_python.hapi.services.basic_types_pb2 import Key, KeyList, TransactionID

from tests.doubles.hedera import keys, mirror_contracts, mirror_network, mirror_topics, precheck
from tests.doubles.hedera.clock import NS_PER_S
from tests.doubles.hedera.contracts import BLOCK_S, block_number
from tests.doubles.hedera.entities import (
    AUTO_RENEW_S,
    Account,
    account_id,
    entity_number,
    entity_text,
    time_text,
    timestamp,
    to_ns,
    transaction_text,
)
from tests.doubles.hedera.faults import FaultKind
from tests.doubles.hedera.handling import Record
from tests.doubles.hedera.ledger import Ledger
from tests.doubles.hedera.rest import JsonObject, Query, RestError, invalid, not_found

Items = list[tuple[str, str]]
_TRANSACTION_ID = re.compile(r"0\.0\.([0-9]{1,19})-([0-9]{1,19})-([0-9]{1,9})")
HAPI_VERSION = "0.76.0"


class Mirror:
    """One mirror node; several of one ledger differ by their number and their faults."""

    def __init__(self, ledger: Ledger, number: int, node_address: Callable[[], str]) -> None:
        """Answer for `ledger`, as mirror number `number`."""
        self.ledger = ledger
        self.number = number
        self.node_address = node_address

    def answer(self, method: str, path: str, items: Items, body: Any) -> tuple[int, JsonObject]:
        """Return status and document for a request."""
        with self.ledger.lock:
            if self.ledger.faults.strikes(FaultKind.MIRROR_DOWN, path, None, self.number):
                return 503, RestError(503, "Service unavailable").document
            self.ledger.run_due()
            for wanted, pattern, respond in ROUTES:
                match = re.fullmatch(pattern, path)
                if match and wanted == method:
                    try:
                        return 200, respond(self, items, body, *match.groups())
                    except RestError as answered:
                        return answered.status, answered.document
        error = not_found()
        return error.status, error.document

    # What the mirror has imported -----------------------------------------------------------

    def sees(self, time_ns: int) -> bool:
        """Whether what happened then is known here by now."""
        lag_ns = int(self.ledger.faults.lag_of(self.number) * NS_PER_S)
        return lag_ns == 0 or time_ns <= self.ledger.clock.now_ns() - lag_ns

    def records(self) -> Iterator[Record]:
        """Return what is known of transactions, oldest first."""
        return (r for r in self.ledger.records.values() if self.sees(r.consensus_ns))

    def transactions(self, named: str, items: Items) -> list[Record]:
        """Return the records of a transaction id, narrowed by `nonce` and `scheduled`."""
        match = _TRANSACTION_ID.fullmatch(named)
        if match is None:
            raise invalid("transactionId")
        payer, seconds, nanoseconds = (int(group) for group in match.groups())
        start = timestamp(seconds * NS_PER_S + nanoseconds)
        found = []
        for scheduled in (False, True):
            wanted = TransactionID(
                accountID=account_id(payer), transactionValidStart=start, scheduled=scheduled
            )
            found += [r for r in self.ledger.find(wanted) if self.sees(r.consensus_ns)]
        query = dict(items)
        if "scheduled" in query:
            found = [
                r for r in found if r.transaction_id.scheduled == (query["scheduled"] == "true")
            ]
        if "nonce" in query:
            found = [r for r in found if r.transaction_id.nonce == int(query["nonce"])]
        if not found:
            raise not_found()
        return found

    def number_at(self, address: bytes) -> int | None:
        """Return the number of the entity with an EVM address."""
        found = self.ledger.account_at(address)
        return None if found is None else found.number

    # Blocks ---------------------------------------------------------------------------------

    def block_hash(self, number: int) -> str:
        """Return 48 bytes that name a block, in hex; they are of nothing."""
        return hashlib.sha384(f"block {self.ledger.genesis_ns} {number}".encode()).hexdigest()

    def in_block(self, number: int) -> list[Record]:
        """Return the records of a block."""
        found = self.ledger.blocks.get(number, [])
        return [record for record in found if self.sees(record.consensus_ns)]

    def index_in_block(self, record: Record) -> int:
        """Return the place of a transaction in its block."""
        block = self.in_block(block_number(self.ledger, record.consensus_ns))
        return next(place for place, other in enumerate(block) if other is record)

    def gas_in_block(self, number: int) -> int:
        """Return the gas that a block's transactions have used."""
        return sum(r.run.outcome.gas_used for r in self.in_block(number) if r.run is not None)

    def block(self, number: int) -> JsonObject:
        """Return a block as it is shown."""
        begins = self.ledger.genesis_ns + (number - 1) * BLOCK_S * NS_PER_S
        return {
            "count": len(self.in_block(number)),
            "gas_used": self.gas_in_block(number),
            "hapi_version": HAPI_VERSION,
            "hash": f"0x{self.block_hash(number)}",
            "logs_bloom": f"0x{bytes(256).hex()}",
            "name": f"{time_text(begins)}.rcd",
            "number": number,
            "previous_hash": f"0x{self.block_hash(number - 1)}",
            "size": 0,
            "timestamp": {
                "from": time_text(begins),
                "to": time_text(begins + BLOCK_S * NS_PER_S - 1),
            },
        }


def _account(mirror: Mirror, items: Items, body: Any, named: str) -> JsonObject:
    return _account_row(mirror, _find_account(mirror, named)) | {
        "links": {"next": None},
        "transactions": [],
    }


def _find_account(mirror: Mirror, named: str) -> Account:
    """Return the account of an id, an EVM address or an alias in base32."""
    ledger, number = mirror.ledger, entity_number(named)
    found = None
    if number is not None:
        found = ledger.accounts.get(number)
    elif re.fullmatch(r"(0x)?[0-9a-fA-F]{40}", named):
        found = ledger.account_at(bytes.fromhex(named.removeprefix("0x")))
    elif re.fullmatch(r"[A-Z2-7]+", named):
        try:
            alias = b32decode(named + "=" * (-len(named) % 8))
        except BadEncoding:
            raise invalid("idOrAliasOrEvmAddress") from None
        found = ledger.account_at(ledger.address_of_alias(alias))
    else:
        raise invalid("idOrAliasOrEvmAddress")
    if found is None or not mirror.sees(found.created_ns):
        raise not_found()
    return found


def _account_row(mirror: Mirror, found: Account) -> JsonObject:
    alias = b32encode(found.alias).decode().rstrip("=") if found.alias else None
    key = found.key or (None if found.is_contract else Key(keyList=KeyList()))
    return {
        "account": entity_text(found.number),
        "alias": alias,
        "auto_renew_period": AUTO_RENEW_S,
        "balance": {
            "balance": found.balance,
            "timestamp": time_text(mirror.ledger.clock.now_ns()),
            "tokens": [],
        },
        "created_timestamp": time_text(found.created_ns),
        "decline_reward": False,
        "deleted": False,
        "ethereum_nonce": mirror.ledger.evm.nonce(found.address),
        "evm_address": f"0x{found.address.hex()}",
        "expiry_timestamp": time_text(found.created_ns + AUTO_RENEW_S * NS_PER_S),
        "key": keys.document(key),
        "max_automatic_token_associations": 0,
        "memo": found.memo,
        "pending_reward": 0,
        "receiver_sig_required": False,
        "staked_account_id": None,
        "staked_node_id": None,
        "stake_period_start": None,
    }


def _accounts(mirror: Mirror, items: Items, body: Any) -> JsonObject:
    query = Query.parse(
        "/api/v1/accounts",
        items,
        {"account.publickey", "balance"},
        newest_first=False,
        number="account.id",
    )
    public_keys = {text.removeprefix("0x") for text in query.others.get("account.publickey", [])}
    found = [
        account
        for account in mirror.ledger.accounts.values()
        if account.number in query.numbers
        and mirror.sees(account.created_ns)
        and (not public_keys or (keys.document(account.key) or {}).get("key") in public_keys)
    ]
    page = query.page(found, lambda account: account.number)
    link = query.next_link(len(page), "account.id", f"0.0.{page[-1].number}") if page else None
    return {"accounts": [_account_row(mirror, a) for a in page], "links": {"next": link}}


def _balances(mirror: Mirror, items: Items, body: Any) -> JsonObject:
    query = Query.parse("/api/v1/balances", items, {"timestamp"}, number="account.id")
    found = [a for a in mirror.ledger.accounts.values() if a.number in query.numbers]
    page = query.page(found, lambda account: account.number)
    link = query.next_link(len(page), "account.id", f"0.0.{page[-1].number}") if page else None
    return {
        "balances": [
            {"account": entity_text(a.number), "balance": a.balance, "tokens": []} for a in page
        ],
        "links": {"next": link},
        "timestamp": time_text(mirror.ledger.clock.now_ns()),
    }


def _transaction(mirror: Mirror, items: Items, body: Any, named: str) -> JsonObject:
    return {
        "transactions": [
            _transaction_row(record) | {"assessed_custom_fees": []}
            for record in mirror.transactions(named, items)
        ]
    }


def _transactions(mirror: Mirror, items: Items, body: Any) -> JsonObject:
    query = Query.parse(
        "/api/v1/transactions",
        items,
        {"timestamp", "result", "type", "transactiontype"},
        number="account.id",
    )
    kinds = {kind.upper() for kind in query.others.get("transactiontype", [])}
    found = [
        record
        for record in mirror.records()
        if record.consensus_ns in query.times
        and (not kinds or record.kind.upper() in kinds)
        and (not query.numbers.given or any(n in query.numbers for n in record.transfers))
    ]
    page = query.page(found, lambda record: record.consensus_ns)
    link = None
    if page:
        link = query.next_link(len(page), "timestamp", time_text(page[-1].consensus_ns) or "")
    return {"links": {"next": link}, "transactions": [_transaction_row(r) for r in page]}


def _transaction_row(record: Record) -> JsonObject:
    body, start = record.body, record.transaction_id.transactionValidStart
    return {
        "batch_key": None,
        "bytes": None,
        "charged_tx_fee": record.fee,
        "consensus_timestamp": time_text(record.consensus_ns),
        "entity_id": entity_text(record.entity),
        "max_custom_fees": [],
        "max_fee": str(body.transactionFee),
        "memo_base64": b64encode(body.memo.encode()).decode(),
        "name": record.kind.upper(),
        "nft_transfers": [],
        "node": entity_text(precheck.NODE) if body.HasField("nodeAccountID") else None,
        "nonce": record.transaction_id.nonce,
        "parent_consensus_timestamp": time_text(record.parent_ns),
        "result": record.status,
        "scheduled": record.transaction_id.scheduled,
        "staking_reward_transfers": [],
        "token_transfers": [],
        "transaction_hash": b64encode(record.hash).decode(),
        "transaction_id": transaction_text(record.transaction_id),
        "transfers": [
            {"account": entity_text(number), "amount": amount, "is_approval": False}
            for number, amount in sorted(record.transfers.items())
        ],
        "valid_duration_seconds": str(body.transactionValidDuration.seconds),
        "valid_start_timestamp": time_text(to_ns(start)),
    }


Respond = Callable[..., JsonObject]
_ID, _PART = r"([^/]+)", r"/api/v1"
ROUTES: list[tuple[str, str, Respond]] = [
    ("GET", f"{_PART}/topics/messages/{_ID}", lambda m, q, b, t: mirror_topics.message_at(m, t)),
    ("GET", f"{_PART}/topics/{_ID}", lambda m, q, b, t: mirror_topics.topic(m, t)),
    ("GET", f"{_PART}/topics/{_ID}/messages", lambda m, q, b, t: mirror_topics.messages(m, t, q)),
    (
        "GET",
        f"{_PART}/topics/{_ID}/messages/{_ID}",
        lambda m, q, b, t, n: mirror_topics.message(m, t, n),
    ),
    ("GET", f"{_PART}/accounts", _accounts),
    ("GET", f"{_PART}/accounts/{_ID}", _account),
    ("GET", f"{_PART}/balances", _balances),
    ("GET", f"{_PART}/transactions", _transactions),
    ("GET", f"{_PART}/transactions/{_ID}", _transaction),
    ("POST", f"{_PART}/contracts/call", lambda m, q, b: mirror_contracts.call(m, b)),
    ("GET", f"{_PART}/contracts/results", lambda m, q, b: mirror_contracts.results(m, q)),
    ("GET", f"{_PART}/contracts/results/logs", lambda m, q, b: mirror_contracts.logs(m, q)),
    (
        "GET",
        f"{_PART}/contracts/results/{_ID}",
        lambda m, q, b, n: mirror_contracts.result(m, n, q),
    ),
    ("GET", f"{_PART}/contracts/{_ID}", lambda m, q, b, n: mirror_contracts.contract(m, n)),
    (
        "GET",
        f"{_PART}/contracts/{_ID}/results",
        lambda m, q, b, n: mirror_contracts.results(m, q, n),
    ),
    (
        "GET",
        f"{_PART}/contracts/{_ID}/results/logs",
        lambda m, q, b, n: mirror_contracts.logs(m, q, n),
    ),
    ("GET", f"{_PART}/blocks", mirror_network.blocks),
    ("GET", f"{_PART}/blocks/{_ID}", mirror_network.block),
    ("GET", f"{_PART}/network/exchangerate", mirror_network.exchange_rate),
    ("GET", f"{_PART}/network/fees", mirror_network.fees),
    ("POST", f"{_PART}/network/fees", mirror_network.fee_estimate),
    ("GET", f"{_PART}/network/nodes", mirror_network.nodes),
    ("GET", f"{_PART}/schedules", mirror_network.schedules),
    ("GET", f"{_PART}/schedules/{_ID}", mirror_network.schedule),
]
