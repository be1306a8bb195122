"""What the mirror says of contracts: calls that are tried, results, logs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chargera.app.chain_ports import GAS_LIMIT
from chargera.ledger.evm.engine import Message, intrinsic_gas
from tests.doubles.hedera import contracts, keys
from tests.doubles.hedera.entities import (
    AUTO_RENEW_S,
    Account,
    entity_number,
    entity_text,
    time_text,
)
from tests.doubles.hedera.evm import bloom
from tests.doubles.hedera.handling import Record
from tests.doubles.hedera.rest import (
    JsonObject,
    Query,
    Range,
    RestError,
    check_search,
    invalid,
    not_found,
)

if TYPE_CHECKING:
    from chargera.app.chain_ports import ContractLog
    from tests.doubles.hedera.mirror import Mirror

_REASON = bytes.fromhex("08c379a0")
_TOPICS = ("topic0", "topic1", "topic2", "topic3")
LEAST_GAS = 21_000


def call(mirror: "Mirror", body: Any) -> JsonObject:
    """Return `POST /contracts/call`: what a call returns, or the gas that it needs."""
    ledger = mirror.ledger
    if not isinstance(body, dict):
        raise RestError(400, "Unable to parse JSON")
    to, sender = _address(body, "to"), ledger.canonical(_address(body, "from") or bytes(20))
    to = None if to is None else ledger.canonical(to)
    data, gas = _hex(body, "data"), _number(body, "gas", GAS_LIMIT)
    if not LEAST_GAS <= gas <= GAS_LIMIT:
        raise RestError(400, f"gas field must be between {LEAST_GAS} and {GAS_LIMIT}")
    if body.get("block", "latest") not in ("latest", "pending", "safe", "finalized"):
        raise RestError(501, "the emulator knows only the latest block")
    if to is None and not data:
        raise invalid("to")
    if _number(body, "value", 0):
        raise RestError(501, "the emulator's contracts take no HBAR")
    gas = max(gas, intrinsic_gas(to, data))
    message = Message(sender, to, data, min(gas, GAS_LIMIT))
    block = contracts.block_at(ledger, ledger.clock.now_ns())
    if body.get("estimate"):
        needed, outcome = ledger.evm.estimate(message, block)
    else:
        needed, outcome = 0, ledger.evm.try_(message, block)
    if not outcome.succeeded:
        status = contracts.status_name(outcome)
        raise RestError(400, status, _reason(outcome.output), f"0x{outcome.output.hex()}")
    return {"result": f"0x{needed:064x}" if body.get("estimate") else f"0x{outcome.output.hex()}"}


def contract(mirror: "Mirror", named: str) -> JsonObject:
    """Return `/contracts/{id or address}`."""
    found = _contract(mirror, named)
    return {
        "admin_key": keys.document(found.key),
        "auto_renew_account": None,
        "auto_renew_period": AUTO_RENEW_S,
        "bytecode": f"0x{found.init_code.hex()}" if found.init_code else None,
        "contract_id": entity_text(found.number),
        "created_timestamp": time_text(found.created_ns),
        "deleted": False,
        "evm_address": f"0x{found.address.hex()}",
        "expiration_timestamp": None,
        "file_id": None,
        "max_automatic_token_associations": 0,
        "memo": found.memo,
        "nonce": mirror.ledger.evm.nonce(found.address),
        "obtainer_id": None,
        "permanent_removal": None,
        "proxy_account_id": None,
        "runtime_bytecode": f"0x{mirror.ledger.evm.code(found.address).hex()}",
        "timestamp": {"from": time_text(found.created_ns), "to": None},
    }


def result(mirror: "Mirror", named: str, items: list[tuple[str, str]]) -> JsonObject:
    """Return `/contracts/results/{transaction hash or id}`."""
    if named.startswith("0x"):
        wanted = named.lower().removeprefix("0x")
        if len(wanted) not in (64, 96):
            raise invalid("transactionIdOrHash")
        record = mirror.ledger.runs.get(bytes.fromhex(wanted)[:32])
        if record is None or not mirror.sees(record.consensus_ns):
            raise not_found()
        return _details(mirror, record)
    for record in mirror.transactions(named, items):
        if record.run is not None:
            return _details(mirror, record)
    raise not_found()


def results(mirror: "Mirror", items: list[tuple[str, str]], named: str = "") -> JsonObject:
    """Return `/contracts/results` or `/contracts/{id}/results`, newest first."""
    path = f"/api/v1/contracts/{named}/results" if named else "/api/v1/contracts/results"
    query = Query.parse(path, items, {"timestamp", "internal", "from"})
    number = _contract(mirror, named).number if named else None
    found = [
        record
        for record in mirror.ledger.runs.values()
        if mirror.sees(record.consensus_ns)
        and record.run is not None
        and record.consensus_ns in query.times
        and (number is None or record.run.contract == number)
    ]
    page = query.page(found, lambda record: record.consensus_ns)
    link = None
    if page:
        link = query.next_link(len(page), "timestamp", time_text(page[-1].consensus_ns) or "")
    return {"links": {"next": link}, "results": [_result(mirror, record) for record in page]}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a log stands."""

    record: Record
    index: int
    log: "ContractLog"

    @property
    def order(self) -> tuple[int, int]:
        return self.record.consensus_ns, self.index


def logs(mirror: "Mirror", items: list[tuple[str, str]], named: str = "") -> JsonObject:
    """Return `/contracts/results/logs` or `/contracts/{id}/results/logs`, newest first.

    Topics can be searched only in a stretch of at most seven days.
    """
    path = f"/api/v1/contracts/{named}/results/logs" if named else "/api/v1/contracts/results/logs"
    query = Query.parse(path, items, {"timestamp", "index", "transaction.hash", *_TOPICS})
    check_search(query)
    address = _contract(mirror, named).address if named else None
    after = _after(query)
    found = [
        place
        for place in _all_logs(mirror, query.times)
        if (address is None or place.log.address == address)
        and (after is None or (place.order < after if query.newest_first else place.order > after))
        and _has_topics(place.log, query.others)
    ]
    # Places are ordered by time and index; neither reaches 2^32 within one nanosecond.
    page = query.page(found, lambda place: place.order[0] << 32 | place.order[1])
    return {
        "links": {"next": _next_logs(query, page)},
        "logs": [_log(mirror, place, whole=True) for place in page],
    }


def _all_logs(mirror: "Mirror", times: Range) -> Iterator[_Place]:
    for record in mirror.ledger.runs.values():
        is_there = record.consensus_ns in times and mirror.sees(record.consensus_ns)
        if is_there and record.run is not None:
            for index, log in enumerate(record.run.outcome.logs):
                yield _Place(record, index, log)


def _after(query: Query) -> tuple[int, int] | None:
    """Return the place that a page begins after: `index` within the time that bounds it."""
    given = query.others.get("index", [])
    if not given:
        return None
    operator, _, number = given[0].partition(":")
    if not query.times.given or operator not in ("gt", "lt") or not number.isdecimal():
        raise invalid("index")
    bound = query.times.last if operator == "lt" else query.times.first
    return bound, int(number)


def _next_logs(query: Query, page: list[_Place]) -> str | None:
    if len(page) < query.limit:
        return None
    operator = "lt" if query.newest_first else "gt"
    last = page[-1]
    kept = [
        f"{name}={value}"
        for name, value in query.items
        if name != "index"
        and not (name == "timestamp" and value.partition(":")[0] in (operator, f"{operator}e"))
    ]
    kept += [f"index={operator}:{last.index}"]
    kept += [f"timestamp={operator}e:{time_text(last.record.consensus_ns)}"]
    return f"{query.path}?{'&'.join(kept)}"


def _has_topics(log: "ContractLog", others: dict[str, list[str]]) -> bool:
    for place, name in enumerate(_TOPICS):
        wanted = [int(text.removeprefix("0x"), 16).to_bytes(32) for text in others.get(name, [])]
        if wanted and (place >= len(log.topics) or log.topics[place] not in wanted):
            return False
    return True


def _log(mirror: "Mirror", place: _Place, *, whole: bool) -> JsonObject:
    log, record = place.log, place.record
    found = mirror.ledger.account_at(log.address)
    row: JsonObject = {
        "address": f"0x{log.address.hex()}",
        "bloom": f"0x{bloom([log.address, *log.topics]).hex()}",
        "contract_id": entity_text(found.number) if found else None,
        "data": f"0x{log.data.hex()}",
        "index": place.index,
        "topics": [f"0x{topic.hex()}" for topic in log.topics],
    }
    if not whole:
        return row
    assert record.run is not None, "a log has a run"
    return row | {
        "block_hash": f"0x{mirror.block_hash(record.run.block.number)}",
        "block_number": record.run.block.number,
        "root_contract_id": entity_text(record.run.contract),
        "timestamp": time_text(record.consensus_ns),
        "transaction_hash": f"0x{record.run_hash.hex()}",
        "transaction_index": mirror.index_in_block(record),
    }


def _details(mirror: "Mirror", record: Record) -> JsonObject:
    assert record.run is not None, "only records of runs are shown"
    places = [_Place(record, i, log) for i, log in enumerate(record.run.outcome.logs)]
    return _result(mirror, record) | {
        "logs": [_log(mirror, place, whole=False) for place in places],
        "state_changes": [
            {
                "address": f"0x{address.hex()}",
                "contract_id": entity_text(mirror.number_at(address)),
                "slot": f"0x{slot:064x}",
                "value_read": None,
                "value_written": f"0x{word:064x}",
            }
            for address, words in record.run.outcome.changes.storage.items()
            for slot, word in words.items()
        ],
    }


def _result(mirror: "Mirror", record: Record) -> JsonObject:
    run = record.run
    assert run is not None, "only records of runs are shown"
    assert record.result is not None, "a run has a result"
    outcome, ethereum = run.outcome, run.ethereum
    address = mirror.ledger.accounts[run.contract].address if run.contract else run.to
    row: JsonObject = {
        "access_list": "0x" if ethereum else None,
        "address": f"0x{address.hex()}" if address else None,
        "amount": ethereum.value // contracts.WEIBARS_PER_TINYBAR if ethereum else 0,
        "block_gas_used": mirror.gas_in_block(run.block.number),
        "block_hash": f"0x{mirror.block_hash(run.block.number)}",
        "block_number": run.block.number,
        "bloom": f"0x{record.result.bloom.hex()}",
        "call_result": f"0x{outcome.output.hex()}",
        "chain_id": f"0x{ethereum.chain_id:x}" if ethereum else None,
        "contract_id": entity_text(run.contract),
        "created_contract_ids": [entity_text(number) for number in run.created],
        "error_message": contracts.error_text(outcome) or None,
        "failed_initcode": f"0x{run.data.hex()}" if _is_failed_creation(record) else None,
        "from": f"0x{run.sender.hex()}",
        "function_parameters": f"0x{run.data.hex()}" if run.to else "0x",
        "gas_consumed": outcome.gas_used,
        "gas_limit": run.gas_limit,
        "gas_price": "0x" if ethereum else None,
        "gas_used": outcome.gas_used,
        "hash": f"0x{record.run_hash.hex()}",
        "max_fee_per_gas": f"0x{ethereum.price:x}" if ethereum else None,
        "max_priority_fee_per_gas": f"0x{ethereum.priority:x}" if ethereum else None,
        "nonce": run.nonce,
        "r": f"0x{ethereum.signature[1]:064x}" if ethereum else None,
        "result": record.status,
        "s": f"0x{ethereum.signature[2]:064x}" if ethereum else None,
        "status": "0x1" if outcome.succeeded else "0x0",
        "timestamp": time_text(record.consensus_ns),
        "to": f"0x{run.to.hex()}" if run.to else None,
        "transaction_index": mirror.index_in_block(record),
        "type": ethereum.kind if ethereum else None,
        "v": ethereum.signature[0] if ethereum else None,
    }
    return row


def _is_failed_creation(record: Record) -> bool:
    run = record.run
    return run is not None and run.to is None and not run.outcome.succeeded


def _contract(mirror: "Mirror", named: str) -> Account:
    if named.startswith("0x") or len(named) == 40:
        found = mirror.ledger.account_at(_address({"id": named}, "id") or b"")
    else:
        number = entity_number(named)
        if number is None:
            raise invalid("contractId")
        found = mirror.ledger.accounts.get(number)
    if found is None or not found.is_contract or not mirror.sees(found.created_ns):
        raise not_found()
    return found


def _address(body: JsonObject, name: str) -> bytes | None:
    if body.get(name) in (None, ""):
        return None
    data = _hex(body, name)
    if len(data) != 20:
        raise RestError(400, f"{name} field has invalid address")
    return data


def _number(body: JsonObject, name: str, otherwise: int) -> int:
    """Return a number, which may also be text in decimals."""
    value = body.get(name)
    if value is None:
        return otherwise
    if isinstance(value, bool) or not str(value).isdecimal():
        raise RestError(400, f"{name} field must be a number")
    return int(value)


def _hex(body: JsonObject, name: str) -> bytes:
    text = body.get(name) or ""
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except (ValueError, AttributeError):
        raise RestError(400, f"{name} field invalid hexadecimal string") from None


def _reason(output: bytes) -> str:
    """Return the words of `Error(string)`; nothing of any other error."""
    if output[:4] != _REASON or len(output) < 68:
        return ""
    length = int.from_bytes(output[36:68])
    return output[68 : 68 + length].decode("utf-8", "replace")
