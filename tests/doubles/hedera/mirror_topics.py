"""What the mirror says of topics and their messages, and how it lies about these."""

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from tests.doubles.hedera import keys
from tests.doubles.hedera.entities import (
    Message,
    Topic,
    entity_number,
    entity_text,
    time_text,
    to_ns,
)
from tests.doubles.hedera.faults import FaultKind
from tests.doubles.hedera.rest import (
    JsonObject,
    Query,
    RestError,
    invalid,
    not_found,
    time_ns,
)
from tests.doubles.hedera.running_hash import VERSION

if TYPE_CHECKING:
    from tests.doubles.hedera.mirror import Mirror

LIES = (
    "message",
    "running_hash",
    "payer_account_id",
    "sequence_number",
    "consensus_timestamp",
    "omitted",
)
"""What a lie alters: one member of a row, or the row is left out."""


def topic(mirror: "Mirror", topic_id: str) -> JsonObject:
    """Return `/topics/{id}`."""
    found = _topic(mirror, topic_id)
    return {
        "admin_key": keys.document(found.admin_key),
        "auto_renew_account": entity_text(found.auto_renew_account),
        "auto_renew_period": found.auto_renew_s,
        "created_timestamp": time_text(found.created_ns),
        "custom_fees": {"created_timestamp": time_text(found.created_ns), "fixed_fees": []},
        "deleted": found.deleted,
        "fee_exempt_key_list": [],
        "fee_schedule_key": None,
        "memo": found.memo,
        "submit_key": keys.document(found.submit_key),
        "timestamp": {"from": time_text(found.created_ns), "to": None},
        "topic_id": entity_text(found.number),
    }


def messages(mirror: "Mirror", topic_id: str, items: list[tuple[str, str]]) -> JsonObject:
    """Return `/topics/{id}/messages`, oldest first unless `order` says otherwise."""
    query = Query.parse(
        f"/api/v1/topics/{topic_id}/messages",
        items,
        {"timestamp", "encoding", "scheduled"},
        newest_first=False,
        number="sequencenumber",
    )
    found = [
        message
        for message in _topic(mirror, topic_id).messages
        if mirror.sees(message.consensus_ns)
        and message.consensus_ns in query.times
        and message.sequence_number in query.numbers
    ]
    page = query.page(found, lambda message: message.consensus_ns)
    link = None
    if page:
        link = query.next_link(len(page), "timestamp", time_text(page[-1].consensus_ns) or "")
    rows = [_row(mirror, message) for message in page]
    return {"links": {"next": link}, "messages": [row for row in rows if row is not None]}


def message(mirror: "Mirror", topic_id: str, sequence_number: str) -> JsonObject:
    """Return `/topics/{id}/messages/{sequence_number}`."""
    if not sequence_number.isdecimal() or int(sequence_number) < 1:
        raise invalid("sequenceNumber")
    found = _topic(mirror, topic_id).messages[int(sequence_number) - 1 : int(sequence_number)]
    return _only(mirror, found[0] if found else None)


def message_at(mirror: "Mirror", timestamp: str) -> JsonObject:
    """Return `/topics/messages/{timestamp}`."""
    return _only(mirror, mirror.ledger.messages.get(time_ns(timestamp)))


def _topic(mirror: "Mirror", topic_id: str) -> Topic:
    number = entity_number(topic_id)
    if number is None:
        raise invalid("topic.id")
    found = mirror.ledger.topics.get(number)
    if found is None or not mirror.sees(found.created_ns):
        raise not_found()
    return found


def _only(mirror: "Mirror", found: Message | None) -> JsonObject:
    row = None
    if found is not None and mirror.sees(found.consensus_ns):
        row = _row(mirror, found)
    if row is None:
        raise not_found()
    return row


def _row(mirror: "Mirror", found: Message) -> JsonObject | None:
    row: JsonObject = {
        "chunk_info": _chunk_info(found),
        "consensus_timestamp": time_text(found.consensus_ns),
        "message": b64encode(found.content).decode(),
        "payer_account_id": entity_text(found.payer),
        "running_hash": b64encode(found.running_hash).decode(),
        "running_hash_version": VERSION,
        "sequence_number": found.sequence_number,
        "topic_id": entity_text(found.topic),
    }
    fault = mirror.ledger.faults.strikes(FaultKind.MIRROR_LIE, "/api/v1/topics", row, mirror.number)
    return row if fault is None else _altered(row, str(fault.value or "message"))


def _chunk_info(found: Message) -> JsonObject | None:
    initial = found.initial_id
    if initial is None:
        return None
    return {
        "initial_transaction_id": {
            "account_id": entity_text(initial.accountID.accountNum),
            "nonce": initial.nonce,
            "scheduled": initial.scheduled,
            "transaction_valid_start": time_text(to_ns(initial.transactionValidStart)),
        },
        "number": found.chunk,
        "total": found.chunks,
    }


def _altered(row: JsonObject, member: str) -> JsonObject | None:
    match member:
        case "omitted":
            return None
        case "message" | "running_hash":
            data = b64decode(row[member])
            changed = bytes([data[0] ^ 1]) + data[1:]
            return {**row, member: b64encode(changed).decode()}
        case "payer_account_id":
            return {**row, member: "0.0.7777"}
        case "sequence_number":
            return {**row, member: row[member] + 1}
        case "consensus_timestamp":
            seconds, _, rest = row[member].partition(".")
            return {**row, member: f"{int(seconds) - 1}.{rest}"}
        case _:
            raise RestError(500, f"no lie about {member}: {', '.join(LIES)}")
