"""Queries, pages and errors of a mirror's REST API."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlencode

from tests.doubles.hedera.clock import NS_PER_S
from tests.doubles.hedera.entities import entity_number

JsonObject: TypeAlias = dict[str, Any]
Row = TypeVar("Row")

LIMIT_DEFAULT, LIMIT_MAX = 25, 100
RANGE_NS_MAX = 7 * 86_400 * NS_PER_S
"""Longest stretch of time that may be searched for topics of logs."""
FARTHEST = 2**63 - 1
_FILTER = re.compile(r"(?:(eq|gt|gte|lt|lte):)?(.+)")
_TIME = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?")
_COMMON = {"limit", "order"}


class RestError(Exception):
    """A request is answered with an error."""

    def __init__(self, status: int, message: str, detail: str = "", data: str = "") -> None:
        """Hold the status of HTTP and what the body says."""
        super().__init__(message)
        self.status = status
        said = {"message": message}
        if detail or data:
            said |= {"detail": detail, "data": data}
        self.document: JsonObject = {"_status": {"messages": [said]}}


def not_found() -> RestError:
    """Return the answer for what is not there."""
    return RestError(404, "Not found")


def invalid(parameter: str) -> RestError:
    """Return the answer for a parameter that cannot be understood."""
    return RestError(400, f"Invalid parameter: {parameter}")


@dataclass(slots=True)
class Range:
    """Whole numbers from `first` to `last`, both inside."""

    first: int = 0
    last: int = FARTHEST
    given: bool = False

    def narrow(self, operator: str, bound: int) -> None:
        """Take a filter like `gte:5`."""
        self.given = True
        match operator:
            case "gt" | "gte":
                self.first = max(self.first, bound + (operator == "gt"))
            case "lt" | "lte":
                self.last = min(self.last, bound - (operator == "lt"))
            case _:
                self.first, self.last = max(self.first, bound), min(self.last, bound)

    def __contains__(self, number: int) -> bool:
        return self.first <= number <= self.last


@dataclass(slots=True)
class Query:
    """The parameters of a request for rows."""

    path: str
    items: list[tuple[str, str]]
    limit: int = LIMIT_DEFAULT
    newest_first: bool = True
    times: Range = field(default_factory=Range)
    numbers: Range = field(default_factory=Range)
    """Of sequence numbers, accounts or blocks, as the request has it."""
    others: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def parse(
        cls,
        path: str,
        items: Iterable[tuple[str, str]],
        allowed: Iterable[str] = (),
        *,
        newest_first: bool = True,
        number: str = "",
    ) -> "Query":
        """Read parameters; `number` names the one that filters by number. Raises RestError."""
        query = cls(path, list(items), newest_first=newest_first)
        for name, value in query.items:
            if name == "limit":
                query.limit = _limit(value)
            elif name == "order":
                if value.lower() not in ("asc", "desc"):
                    raise invalid(name)
                query.newest_first = value.lower() == "desc"
            elif name == "timestamp" and name in allowed:
                query.times.narrow(*_filter(name, value, _time_ns))
            elif name == number:
                query.numbers.narrow(*_filter(name, value, entity_number))
            elif name in allowed:
                query.others.setdefault(name, []).append(value)
            else:
                raise RestError(400, f"Unknown query parameter: {name}")
        return query

    def page(self, rows: Sequence[Row], place: Callable[[Row], int]) -> list[Row]:
        """Return the rows of one page; `place` orders them."""
        ordered = sorted(rows, key=place, reverse=self.newest_first)
        return ordered[: self.limit]

    def next_link(self, count: int, name: str, bound: str) -> str | None:
        """Return the path of the page after one with `count` rows, the last at `bound`."""
        if count < self.limit:
            return None
        operator = "lt" if self.newest_first else "gt"
        kept = [
            (key, value)
            for key, value in self.items
            if not (key == name and value.partition(":")[0] in (operator, f"{operator}e"))
        ]
        return f"{self.path}?{urlencode([*kept, (name, f'{operator}:{bound}')], safe=':')}"


def check_search(query: Query) -> None:
    """Raise RestError unless topics of logs are searched in a stretch of time that is short."""
    if not any(name.startswith("topic") for name in query.others):
        return
    times = query.times
    if not times.given or times.last == FARTHEST or times.first == 0:
        raise RestError(400, "Cannot search topics without a valid timestamp range")
    if not 0 <= times.last - times.first <= RANGE_NS_MAX:
        raise RestError(
            400, "Timestamp range by the lower and upper bounds must be positive and within 7d"
        )


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise invalid("limit")
    return min(int(text), LIMIT_MAX)


def _filter(name: str, text: str, read: Callable[[str], int | None]) -> tuple[str, int]:
    match = _FILTER.fullmatch(text)
    bound = read(match[2]) if match else None
    if match is None or bound is None:
        raise invalid(name)
    return match[1] or "eq", bound


def _time_ns(text: str) -> int | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    return int(match[1]) * NS_PER_S + int((match[2] or "").ljust(9, "0"))


def time_ns(text: str) -> int:
    """Return the nanoseconds of a time in a path. Raises RestError."""
    found = _time_ns(text)
    if found is None:
        raise invalid("timestamp")
    return found
