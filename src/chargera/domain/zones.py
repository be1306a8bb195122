"""Local time by the IANA database: instants as whole microseconds, and where offsets change."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from chargera.domain.errors import InvalidInput

SECOND_US = 10**6
DAY_US = 86_400 * SECOND_US
_HOUR_US = 3600 * SECOND_US
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_us(at: datetime) -> int:
    """Return an aware time in microseconds since 1970 in UTC."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND_US + since.microseconds


def from_us(us: int) -> datetime:
    """Return microseconds since 1970 as a time in UTC."""
    return _EPOCH + timedelta(microseconds=us)


def require_time_zone(name: str) -> None:
    """Refuse a name that the IANA time zone database does not have.

    Raises:
        InvalidInput: no such zone.
    """
    try:
        _zone(name)
    except (ValueError, OSError, KeyError) as error:
        # ZoneInfoNotFoundError is a KeyError; the other two come from "../x" or a folder's name.
        raise InvalidInput(
            f"{name!r} is not a time zone of the IANA database",
            field="time_zone",
            remedy="use a name such as Europe/Amsterdam or UTC",
        ) from error


def offset_us(zone_name: str, us: int) -> int:
    """Return what local clocks are ahead of UTC at `us`, in microseconds."""
    offset = from_us(us).astimezone(_zone(zone_name)).utcoffset()
    return (offset or timedelta()) // timedelta(microseconds=1)


def offset_spans(zone_name: str, start: int, end: int) -> list[tuple[int, int]]:
    """Return [(from us, offset in us)]: `start` itself, then each change before `end`."""
    spans = [(start, offset_us(zone_name, start))]
    for day in range(start // DAY_US, end // DAY_US + 1):
        spans.extend(change for change in _changes(zone_name, day) if start < change[0] < end)
    return spans


@lru_cache(maxsize=4096)
def _changes(zone_name: str, day: int) -> tuple[tuple[int, int], ...]:
    """Return [(us, new offset)] for each change in a UTC day, counted from 1970.

    `zoneinfo` does not tell its transitions: the day is probed hour by hour, and a change is
    narrowed down to its second.
    """
    changes = []
    for us in range(day * DAY_US, (day + 1) * DAY_US, _HOUR_US):
        same, changed = us - SECOND_US, us + _HOUR_US - SECOND_US
        before, after = offset_us(zone_name, same), offset_us(zone_name, changed)
        if before == after:
            continue
        while changed - same > SECOND_US:
            middle = (same + changed) // (2 * SECOND_US) * SECOND_US
            if offset_us(zone_name, middle) == before:
                same = middle
            else:
                changed = middle
        changes.append((changed, after))
    return tuple(changes)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    """Return a time zone; names that are not found are not remembered."""
    return ZoneInfo(name)
