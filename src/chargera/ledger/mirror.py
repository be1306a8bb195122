"""What Hedera's mirror REST API says of a topic, said of ours: a query in, a JSON document out."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from chargera.app.log_ports import MessageRange, Topic
from chargera.domain.errors import InvalidInput, NotFound
from chargera.ledger.transaction_id import timestamp_ns
from chargera.proofs.anchor import AnchoredMessage

LIMIT_DEFAULT = 25
LIMIT_MAX = 100
FILTERS_MAX = 16
NUMBER_LIMIT = 2**63

JsonObject: TypeAlias = dict[str, Any]
QueryItems: TypeAlias = Iterable[tuple[str, str]]
"""The query of an address as (name, value), repeated names in order."""

_FILTER = re.compile(r"(?:(eq|gt|gte|lt|lte):)?([0-9.]{1,20})")


def error_document(error: InvalidInput | NotFound) -> tuple[int, JsonObject]:
    """Return the status and body with which a mirror answers what it refuses or does not find."""
    if isinstance(error, NotFound):
        return 404, {"_status": {"messages": [{"message": "Not found"}]}}
    message = f"Invalid parameter: {error.field}" if error.field else error.message
    return 400, {"_status": {"messages": [{"message": message}]}}


async def topic_document(topic: Topic, topic_id: str) -> JsonObject:
    """Return `/api/v1/topics/{id}`. Raises NotFound."""
    info = await topic.info()
    _check_topic(info.topic_id, topic_id)
    return {
        "admin_key": None,
        "auto_renew_account": None,
        "auto_renew_period": None,
        "created_timestamp": None,
        "custom_fees": {"created_timestamp": None, "fixed_fees": []},
        "deleted": False,
        "fee_exempt_key_list": [],
        "fee_schedule_key": None,
        "memo": info.memo,
        "submit_key": None,
        "timestamp": {"from": None, "to": None},
        "topic_id": info.topic_id,
    }


async def messages_document(topic: Topic, topic_id: str, query: QueryItems) -> JsonObject:
    """Return `/api/v1/topics/{id}/messages`.

    Understands `limit` (default 25, at most 100), `order` (asc, desc), `encoding` (base64), and
    `sequencenumber` and `timestamp`, each any number of times with eq, gt, gte, lt or lte.

    Raises InvalidInput naming the parameter, NotFound for another topic.
    """
    info = await topic.info()
    _check_topic(info.topic_id, topic_id)
    wanted = _parse_query(list(query))
    rows: Sequence[AnchoredMessage] = ()
    if not wanted.is_empty:
        rows = await topic.messages(wanted.within, wanted.limit)
    return {
        "links": {"next": _next_link(topic_id, wanted, rows)},
        "messages": [row.to_mirror() for row in rows],
    }


async def message_document(topic: Topic, topic_id: str, sequence_number: str) -> JsonObject:
    """Return `/api/v1/topics/{id}/messages/{sequence_number}`. Raises InvalidInput, NotFound."""
    info = await topic.info()
    _check_topic(info.topic_id, topic_id)
    number = _number(sequence_number, "sequencenumber")
    return await _only(topic, MessageRange(number, number))


async def message_at_document(topic: Topic, timestamp: str) -> JsonObject:
    """Return `/api/v1/topics/messages/{timestamp}`. Raises InvalidInput, NotFound."""
    time = timestamp_ns(timestamp)
    return await _only(topic, MessageRange(from_timestamp_ns=time, to_timestamp_ns=time))


@dataclass(frozen=True, slots=True)
class _Query:
    within: MessageRange
    limit: int
    kept: tuple[tuple[str, str], ...]
    """The parameters that the next page repeats."""

    @property
    def is_empty(self) -> bool:
        """Whether no number or no time lies between the bounds."""
        numbers = (self.within.from_sequence_number, self.within.to_sequence_number)
        times = (self.within.from_timestamp_ns, self.within.to_timestamp_ns)
        return any(last is not None and last < first for first, last in (numbers, times))


async def _only(topic: Topic, within: MessageRange) -> JsonObject:
    rows = await topic.messages(within, 1)
    if not rows:
        raise NotFound("no such topic message")
    return rows[0].to_mirror()


def _check_topic(known: str, asked: str) -> None:
    # A mirror also takes the number alone, shard and realm being its own.
    if asked not in (known, known.rpartition(".")[2]):
        if not re.fullmatch(r"(?:[0-9]{1,5}\.){0,2}[0-9]{1,19}", asked):
            raise InvalidInput("topic.id: must look like 0.0.1001", field="topic.id")
        raise NotFound(f"no topic {asked}")


def _parse_query(items: Sequence[tuple[str, str]]) -> _Query:
    if len(items) > FILTERS_MAX:
        raise InvalidInput(f"at most {FILTERS_MAX} parameters")
    query = _Query(MessageRange(), LIMIT_DEFAULT, ())
    for name, value in items:
        within, limit = query.within, query.limit
        match name:
            case "limit":
                limit = min(_number(value, name), LIMIT_MAX)
            case "order":
                if value.lower() not in ("asc", "desc"):
                    raise InvalidInput("order: must be asc or desc", field=name)
                within = replace(within, newest_first=value.lower() == "desc")
            case "encoding":
                if value.lower() != "base64":
                    raise InvalidInput("encoding: only base64 is given", field=name)
            case "sequencenumber" | "timestamp":
                within = _narrowed(within, name, value)
            case _:
                raise InvalidInput(f"Unknown query parameter: {name}")
        query = _Query(within, limit, (*query.kept, (name, value)))
    return query


def _narrowed(within: MessageRange, name: str, value: str) -> MessageRange:
    match = _FILTER.fullmatch(value)
    if match is None:
        raise InvalidInput(f"{name}: must look like gt:1", field=name)
    operator, text = match.groups()
    is_time = name == "timestamp"
    bound = timestamp_ns(text) if is_time else _number(text, name, least=0)
    lowest, highest = _bounds(operator or "eq", bound)
    if is_time:
        return replace(
            within,
            from_timestamp_ns=max(within.from_timestamp_ns, lowest),
            to_timestamp_ns=_least(within.to_timestamp_ns, highest),
        )
    return replace(
        within,
        from_sequence_number=max(within.from_sequence_number, lowest),
        to_sequence_number=_least(within.to_sequence_number, highest),
    )


def _bounds(operator: str, bound: int) -> tuple[int, int | None]:
    return {
        "eq": (bound, bound),
        "gt": (bound + 1, None),
        "gte": (bound, None),
        "lt": (0, bound - 1),
        "lte": (0, bound),
    }[operator]


def _least(known: int | None, other: int | None) -> int | None:
    bounds = [bound for bound in (known, other) if bound is not None]
    return min(bounds, default=None)


def _number(text: str, field: str, least: int = 1) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text) or not least <= int(text) < NUMBER_LIMIT:
        raise InvalidInput(f"{field}: must be a number from {least} on", field=field)
    return int(text)


def _next_link(topic_id: str, wanted: _Query, rows: Sequence[AnchoredMessage]) -> str | None:
    """Return the path of the next page as a mirror does: from the time of the last row on."""
    if len(rows) < wanted.limit:
        return None
    order = "lt" if wanted.within.newest_first else "gt"
    kept = [
        (name, value)
        for name, value in wanted.kept
        # Going on replaces the bound on the side that the pages move away from.
        if not (name == "timestamp" and value.partition(":")[0] in (order, f"{order}e"))
    ]
    parameters = [*kept, ("timestamp", f"{order}:{rows[-1].consensus_timestamp}")]
    query = "&".join(f"{name}={value}" for name, value in parameters)
    return f"/api/v1/topics/{topic_id}/messages?{query}"
