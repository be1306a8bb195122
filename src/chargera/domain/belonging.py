"""To which transaction an event belongs: by its id and number, by its time, never by arrival.

A station may reuse a transaction id after a reboot, and OCPP 1.6 stations that started offline
never learn their number. The functions here find the transaction among those that are known, or
None where the event opens one. Strangers are never merged: what fits nowhere opens a transaction
of its own, which waits for its start and a person.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from chargera.domain.messages import TransactionEvent, TransactionEventKind
from chargera.domain.transaction import (
    FUTURE_TOLERANCE,
    Anomaly,
    Arrival,
    Transaction,
    is_repeat,
    register_of,
)

UNNUMBERED = "-1"
"""What an OCPP 1.6 station sends as transaction id when it never learned one."""

SESSION_WH_MAX = 1_000_000
"""Registers further apart are not of one meter."""

Place = tuple[int, int]
"""EVSE and connector."""

_TIMELESS = frozenset({Anomaly.TIME_BEFORE_2020, Anomaly.TIME_IN_FUTURE})
"""Of a transaction with one of these nothing is decided by time."""


def owner_by_id(generations: Sequence[Transaction], arrival: Arrival) -> Transaction | None:
    """Return the use of a transaction id that an event belongs to; None: it opens a new one.

    `generations` are the known transactions of this id, oldest first.
    """
    for transaction in reversed(generations):
        if is_repeat(transaction, arrival):
            return transaction
    if not generations:
        return None
    if arrival.event.seq_no is None:
        return _owner_of_1_6(generations[-1], arrival.event)
    return _owner_by_number(generations, arrival)


def continues(transaction: Transaction, arrival: Arrival) -> bool:
    """Say whether an event is plainly the next value of what runs: it fits in every respect.

    This is what stations send most of the time, and decides it without looking further.
    """
    key = arrival.key
    return (
        key.kind is TransactionEventKind.UPDATED
        and transaction.started
        and not transaction.ended
        and arrival.distrusted is None
        and arrival.at >= transaction.last_at
        and key.seq_no not in transaction.seq_nos
        and key not in transaction.keys
    )


def repeated_start(
    known: Iterable[Transaction], arrival: Arrival, place: Place
) -> Transaction | None:
    """Return the transaction that a repeated OCPP 1.6 start opened; None: it is a new start."""
    event = arrival.event
    key = event.id_token.key if event.id_token else None
    for transaction in known:
        same_place = (transaction.evse, transaction.connector) == place
        if same_place and transaction.id_token_key == key and is_repeat(transaction, arrival):
            return transaction
    return None


def waiting_for_start(
    known: Iterable[Transaction], arrival: Arrival, place: Place
) -> Transaction | None:
    """Return what waits for this OCPP 1.6 start: values or a stop that came before it.

    They carry no number that leads to it, so that place, token, time and register must agree.
    """
    event = arrival.event
    if arrival.distrusted is not None:
        return None
    key = event.id_token.key if event.id_token else None
    for transaction in known:
        if transaction.started or transaction.is_numbered or transaction.anomalies & _TIMELESS:
            continue
        same_token = transaction.id_token_key in (key, None)
        same_place = transaction.evse == 0 or (transaction.evse, transaction.connector) == place
        is_named = transaction.id_token_key is not None or transaction.evse != 0
        if is_named and same_token and same_place and _follows(transaction, event):
            return transaction
    return None


def owner_of_unnumbered(
    known: Sequence[Transaction], arrival: Arrival, place: Place
) -> tuple[Transaction | None, bool]:
    """Return what an OCPP 1.6 event with id -1 belongs to, and whether it may be another.

    A stop closes the open transaction of the same token, of several the one whose register it
    continues. One that was given up is still open to the stop that it lacks, unless its connector
    has served another car by then. Values belong to what runs at their connector, or to those
    before them that wait for their start as well.
    """
    event = arrival.event
    key = event.id_token.key if event.id_token else None
    is_stop = event.kind is TransactionEventKind.ENDED
    for transaction in known:
        same_token = not is_stop or transaction.id_token_key == key
        if same_token and is_repeat(transaction, arrival):
            return transaction, False
    found = [
        transaction
        for transaction in known
        if not transaction.ended
        and not transaction.is_numbered
        and _can_be(transaction, event)
        and (
            _lacks_stop(known, transaction, key, arrival.at)
            if is_stop
            else _lacks_values(transaction, place)
        )
    ]
    register_wh = register_of(event) or 0
    found.sort(
        key=lambda t: (not t.started, abs(register_wh - (t.last_register_wh or 0)), not t.is_open)
    )
    return (found[0], len(found) > 1) if found else (None, False)


def running_at(known: Iterable[Transaction], place: Place, at: datetime) -> Transaction | None:
    """Return the transaction that ran at a connector at a time, though it may have ended since.

    Its end is no part of it: what a station says in that moment belongs to what comes after.
    """
    found = [
        transaction
        for transaction in known
        if (transaction.evse, transaction.connector) == place
        and transaction.started
        and transaction.started_at <= at
        and (transaction.ended_at is None or at < transaction.ended_at)
    ]
    return max(found, key=lambda transaction: transaction.started_at, default=None)


def superseded_by(known: Iterable[Transaction], newcomer: Transaction) -> list[Transaction]:
    """Return the transactions that a newly started one shows to have ended without a word.

    An EVSE serves one car at a time. Should a later one have started there already, then it is
    the newcomer itself that has ended.
    """
    found: list[Transaction] = []
    for other in known:
        if other is newcomer or other.evse != newcomer.evse or newcomer.evse == 0:
            continue
        if other.started and other.started_at > newcomer.started_at:
            found.append(newcomer)
        elif other.is_open:
            found.append(other)
    return [transaction for transaction in dict.fromkeys(found) if transaction.is_open]


# By id -----------------------------------------------------------------------------------------


def _owner_of_1_6(newest: Transaction, event: TransactionEvent) -> Transaction | None:
    """A number that we gave out is nobody else's; one that a station made up may be used again."""
    return newest if newest.started or _fits(newest, event) else None


def _owner_by_number(generations: Sequence[Transaction], arrival: Arrival) -> Transaction | None:
    """Decide by what numbers are taken and, where the clock is to be trusted, by time."""
    event, at = arrival.event, arrival.at
    by_time = sorted(generations, key=lambda transaction: transaction.started_at)
    fitting = [transaction for transaction in by_time if _fits(transaction, event)]
    if arrival.distrusted is not None:
        if event.kind is TransactionEventKind.STARTED:
            return fitting[-1] if fitting else None
        return (fitting or by_time)[-1]
    near = [transaction for transaction in fitting if _is_near(transaction, event, at)]
    if near:
        return near[-1]
    if event.kind is TransactionEventKind.STARTED:
        return None
    only = by_time[0] if len(by_time) == 1 else None
    if only is not None and (not only.ended or (fitting and at < only.started_at)):
        return only  # its clock has jumped, or it contradicts itself
    # It has the number of another event, or is a second end, of what ran at that time.
    contradicted = [transaction for transaction in by_time if _contradicts(transaction, arrival)]
    return contradicted[-1] if contradicted else None


def _fits(transaction: Transaction, event: TransactionEvent) -> bool:
    """Say whether a transaction has room for this event, going by numbers and kinds."""
    seq_no, start, end = event.seq_no, transaction.start_key, transaction.end_key
    if event.kind is TransactionEventKind.STARTED and start is not None:
        return False
    if event.kind is TransactionEventKind.ENDED and end is not None:
        return False
    if seq_no is None:
        return True
    if seq_no in transaction.seq_nos:
        return False
    if start is not None and start.seq_no is not None and seq_no < start.seq_no:
        return False
    if end is not None and end.seq_no is not None and seq_no > end.seq_no:
        return False
    if event.kind is TransactionEventKind.STARTED:
        return seq_no < min(transaction.seq_nos, default=seq_no + 1)
    if event.kind is TransactionEventKind.ENDED:
        return seq_no > max(transaction.seq_nos, default=-1)
    return True


def _is_near(transaction: Transaction, event: TransactionEvent, at: datetime) -> bool:
    """Say whether a time lies within a transaction, give or take what clocks may be off."""
    if transaction.anomalies & _TIMELESS:
        return True
    if event.kind is TransactionEventKind.STARTED:
        return at <= transaction.last_at + FUTURE_TOLERANCE
    if transaction.started and at < transaction.started_at - FUTURE_TOLERANCE:
        return False
    return transaction.ended_at is None or at <= transaction.ended_at + FUTURE_TOLERANCE


def _contradicts(transaction: Transaction, arrival: Arrival) -> bool:
    """Say whether an event for which a transaction has no room speaks of it nevertheless."""
    end, key = transaction.end_key, arrival.key
    if key.kind is TransactionEventKind.ENDED and end is not None:
        is_same = key.register_wh is not None and key.register_wh == end.register_wh
        return is_same or _is_near(transaction, arrival.event, arrival.at)
    if transaction.anomalies & _TIMELESS:
        return True
    ended_at = transaction.ended_at
    return transaction.started_at <= arrival.at and (ended_at is None or arrival.at <= ended_at)


# By place, token, time and register ------------------------------------------------------------


def _can_be(transaction: Transaction, event: TransactionEvent) -> bool:
    """Say whether an event can come after a transaction's start."""
    start = transaction.start_key
    if start is None:
        return True
    register_wh = register_of(event)
    if start.at > event.at and not transaction.anomalies & _TIMELESS:
        return False
    if register_wh is None or start.register_wh is None:
        return True
    return 0 <= register_wh - start.register_wh <= SESSION_WH_MAX


def _follows(transaction: Transaction, start: TransactionEvent) -> bool:
    """Say whether all that a transaction has can come after a start."""
    register_wh = register_of(start) or 0
    return all(
        key.at >= start.at and (key.register_wh is None or key.register_wh >= register_wh)
        for key in transaction.keys
    )


def _lacks_stop(
    known: Iterable[Transaction], transaction: Transaction, key: str | None, at: datetime
) -> bool:
    """Say whether a stop by this token ends a transaction."""
    if key is None or transaction.id_token_key != key:
        return False
    return transaction.is_open or not any(
        other.evse == transaction.evse
        and other.started
        and transaction.started_at < other.started_at <= at
        for other in known
    )


def _lacks_values(transaction: Transaction, place: Place) -> bool:
    """Say whether values from a connector are a transaction's."""
    is_there = (transaction.evse, transaction.connector) == place
    return is_there and (transaction.is_open or not transaction.started)
