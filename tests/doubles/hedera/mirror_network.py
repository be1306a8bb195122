"""What the mirror says of the network itself: blocks, rates, fees, nodes, schedules."""

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from hiero_sdk_python.hapi.services.transaction_pb2 import Transaction

from tests.doubles.hedera import fees as table
from tests.doubles.hedera import keys, precheck
from tests.doubles.hedera.clock import NS_PER_S
from tests.doubles.hedera.contracts import block_number
from tests.doubles.hedera.entities import entity_number, entity_text, time_text
from tests.doubles.hedera.rest import JsonObject, Query, RestError, invalid, not_found
from tests.doubles.hedera.schedules import Schedule

if TYPE_CHECKING:
    from tests.doubles.hedera.mirror import Mirror

Items = list[tuple[str, str]]


def blocks(mirror: "Mirror", items: Items, body: Any) -> JsonObject:
    """Return `/blocks`, newest first."""
    query = Query.parse("/api/v1/blocks", items, {"timestamp"}, number="block.number")
    lag_ns = int(mirror.ledger.faults.lag_of(mirror.number) * NS_PER_S)
    last = block_number(mirror.ledger, mirror.ledger.clock.now_ns() - lag_ns)
    first, last = max(1, query.numbers.first), min(last, query.numbers.last)
    if query.times.given:
        first = max(first, block_number(mirror.ledger, query.times.first))
        last = min(last, block_number(mirror.ledger, query.times.last))
    numbers = range(first, last + 1)
    page = list(reversed(numbers[-query.limit :])) if query.newest_first else numbers[: query.limit]
    link = query.next_link(len(page), "block.number", str(page[-1])) if page else None
    return {"blocks": [mirror.block(number) for number in page], "links": {"next": link}}


def block(mirror: "Mirror", items: Items, body: Any, named: str) -> JsonObject:
    """Return `/blocks/{number}`."""
    last = block_number(mirror.ledger, mirror.ledger.clock.now_ns())
    if not named.isdecimal():
        raise invalid("hashOrNumber")
    if not 1 <= int(named) <= last:
        raise not_found()
    return mirror.block(int(named))


def exchange_rate(mirror: "Mirror", items: Items, body: Any) -> JsonObject:
    """Return `/network/exchangerate`."""
    now_ns = mirror.ledger.clock.now_ns()
    rates = mirror.ledger.rate.message(now_ns)
    current, following = (
        {
            "cent_equivalent": rate.centEquiv,
            "expiration_time": rate.expirationTime.seconds,
            "hbar_equivalent": rate.hbarEquiv,
        }
        for rate in (rates.currentRate, rates.nextRate)
    )
    return {"current_rate": current, "next_rate": following, "timestamp": time_text(now_ns)}


def fees(mirror: "Mirror", items: Items, body: Any) -> JsonObject:
    """Return `/network/fees`: what a gas costs, in tinybars."""
    price = mirror.ledger.rate.gas_price
    kinds = ("ContractCall", "ContractCreate", "EthereumTransaction")
    return {
        "fees": [{"gas": price, "transaction_type": kind} for kind in kinds],
        "timestamp": time_text(mirror.ledger.clock.now_ns()),
    }


def fee_estimate(mirror: "Mirror", items: Items, body: Any) -> JsonObject:
    """Answer `POST /network/fees`, a transaction: its fee in tinycents, all of it the service's."""
    try:
        arrived = precheck.read(Transaction.FromString(body))
        tinycents = mirror.ledger.tinycents(arrived)
    except (DecodeError, TypeError, KeyError, precheck.ResponseError):
        raise RestError(400, "Unable to parse transaction") from None
    base = table.BASE[arrived.kind]
    extras = {
        "charged": int(tinycents > base),
        "count": int(tinycents > base),
        "fee_per_unit": tinycents - base,
        "included": 0,
        "name": "EXTRAS",
        "subtotal": tinycents - base,
    }
    return {
        "high_volume_multiplier": 1,
        "network": {"multiplier": 0, "subtotal": 0},
        "node": {"base": 0, "extras": []},
        "service": {"base": base, "extras": [extras]},
        "total": tinycents,
    }


def schedules(mirror: "Mirror", items: Items, body: Any) -> JsonObject:
    """Return `/schedules`."""
    query = Query.parse(
        "/api/v1/schedules", items, {"account.id"}, newest_first=False, number="schedule.id"
    )
    found = [
        s
        for s in mirror.ledger.schedules.values()
        if s.number in query.numbers and mirror.sees(s.created_ns)
    ]
    page = query.page(found, lambda schedule: schedule.number)
    link = query.next_link(len(page), "schedule.id", f"0.0.{page[-1].number}") if page else None
    return {"links": {"next": link}, "schedules": [_schedule_row(s) for s in page]}


def schedule(mirror: "Mirror", items: Items, body: Any, named: str) -> JsonObject:
    """Return `/schedules/{id}`."""
    found = mirror.ledger.schedules.get(entity_number(named) or 0)
    if found is None or not mirror.sees(found.created_ns):
        raise not_found()
    return _schedule_row(found)


def _schedule_row(found: Schedule) -> JsonObject:
    return {
        "admin_key": keys.document(found.admin_key),
        "consensus_timestamp": time_text(found.created_ns),
        "creator_account_id": entity_text(found.creator),
        "deleted": found.deleted_ns is not None,
        "executed_timestamp": time_text(found.executed_ns),
        "expiration_time": time_text(found.expiration_ns),
        "memo": found.memo,
        "payer_account_id": entity_text(found.payer),
        "schedule_id": entity_text(found.number),
        "signatures": [
            {
                "consensus_timestamp": time_text(found.created_ns),
                "public_key_prefix": b64encode(public_key).decode(),
                "signature": "",
                "type": "ED25519" if len(public_key) == 32 else "ECDSA_SECP256K1",
            }
            for public_key in sorted(found.signers)
        ],
        "transaction_body": b64encode(found.body.SerializeToString()).decode(),
        "wait_for_expiry": found.waits,
    }


def nodes(mirror: "Mirror", items: Items, body: Any) -> JsonObject:
    """Return `/network/nodes`."""
    host, _, port = mirror.node_address().rpartition(":")
    node = {
        "admin_key": None,
        "decline_reward": True,
        "description": "emulated node",
        "file_id": "0.0.102",
        "grpc_proxy_endpoint": None,
        "max_stake": 0,
        "memo": entity_text(precheck.NODE),
        "min_stake": 0,
        "node_account_id": entity_text(precheck.NODE),
        "node_cert_hash": "0x",
        "node_id": 0,
        "public_key": "0x",
        "reward_rate_start": 0,
        "service_endpoints": [{"domain_name": "", "ip_address_v4": host, "port": int(port)}],
        "stake": 0,
        "stake_not_rewarded": 0,
        "stake_rewarded": 0,
        "staking_period": None,
        "timestamp": {"from": time_text(mirror.ledger.genesis_ns), "to": None},
    }
    return {"links": {"next": None}, "nodes": [node]}
