"""What a station's messages do: the use case behind the OCPP channel.

`Charging.handle` decides a batch of messages over cached station states and leaves rows and
log entries in the unit of work. The channel commits and only then answers; when the commit
fails it calls `forget`, and the next batch starts from what the database holds.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chargera.app.decisions import Batch
from chargera.app.ports import (
    ChannelWork,
    Clock,
    Entropy,
    InboundCall,
    KnownIdToken,
    LiveEvent,
    Loaded,
    StationState,
    Wanted,
)
from chargera.domain.belonging import UNNUMBERED, running_at
from chargera.domain.errors import NotFound
from chargera.domain.messages import (
    Answer,
    Authorize,
    StatusNotification,
    TransactionEvent,
    storable,
)
from chargera.domain.transaction import Transaction, standing_time

NUMBERS_AT_ONCE = 32
CLOSED_KEPT = 4
"""How many transactions of a station that have ended stay in memory, and of one id of them.

Twice as many gather before they are looked at."""


@dataclass(frozen=True, slots=True)
class ChargingPolicy:
    """What the operator sets for the channel."""

    heartbeat_interval_s: int = 300
    stations_held_max: int = 20_000
    """Stations whose state stays in memory; those that were silent longest go first."""
    events_held_max: int = 1_000_000
    """Events in memory, to know repeats by: about 250 bytes each."""


class Charging:
    """Decides the messages of all stations; one instance owns the cache of their states."""

    def __init__(self, clock: Clock, entropy: Entropy, policy: ChargingPolicy) -> None:
        """Start with an empty cache; states are loaded when their stations speak."""
        self._clock = clock
        self._entropy = entropy
        self._policy = policy
        self._states: OrderedDict[str, StationState] = OrderedDict()
        self._events_held = 0
        self._numbers: deque[int] = deque()
        self._live: dict[tuple[str, str], LiveEvent] = {}

    @property
    def stations_held(self) -> int:
        """How many stations are in memory."""
        return len(self._states)

    @property
    def events_held(self) -> int:
        """How many events of their transactions are."""
        return self._events_held

    def forget(self, station_ids: Sequence[str]) -> None:
        """Drop cached states: after a failed commit, or when a registration changed."""
        for station_id in station_ids:
            state = self._states.pop(station_id, None)
            if state is not None:
                self._events_held -= state.events_held

    def take_live_events(self) -> list[LiveEvent]:
        """Return what pages should be told once the last batch is committed."""
        events, self._live = self._live, {}
        return list(events.values())

    async def handle(self, work: ChannelWork, calls: Sequence[InboundCall]) -> list[Answer]:
        """Decide the calls in order and return their answers.

        Raises NotFound if a station is not registered, and what the database raises.
        """
        states, id_tokens, grown = await self._load(work, calls)
        batch = Batch(
            work,
            id_tokens,
            self._numbers,
            self._entropy,
            self._clock.now(),
            self._policy.heartbeat_interval_s,
            self._live,
        )
        answers = [batch.decide(call, states[call.station_id]) for call in calls]
        work.write(batch.changes)
        self._events_held += batch.events_taken
        self._tidy(states, grown | batch.opened)
        return answers

    # What is known before a batch ---------------------------------------------------------

    async def _load(
        self, work: ChannelWork, calls: Sequence[InboundCall]
    ) -> tuple[dict[str, StationState], dict[str, list[KnownIdToken]], set[str]]:
        """Return the states and tokens that the batch asks for, from memory or in one read.

        The last is in which states transactions were put. The batch holds on to its states, so
        that one that is forgotten meanwhile does not lack.
        """
        wanted = Wanted()
        states: dict[str, StationState] = {}
        starts = 0
        for call in calls:
            station_id, message = call.station_id, call.message
            state = states.get(station_id) or self._states.get(station_id)
            if state is None:
                wanted.stations.add(station_id)
            else:
                states[station_id] = state
            if isinstance(message, TransactionEvent):
                if state is not None and _has_all(state, message):
                    continue
                starts += message.transaction_id is None
                _want(wanted, station_id, state, message)
            elif isinstance(message, Authorize):
                wanted.id_tokens.add(message.id_token.key)
            elif isinstance(message, StatusNotification) and message.charging is not None:
                _want_running(wanted, call, state, message)
        if starts > len(self._numbers):
            wanted.numbers = max(starts, NUMBERS_AT_ONCE)
        if not wanted:
            return states, {}, set()
        loaded = await work.load(wanted)
        self._numbers.extend(loaded.numbers)
        grown = self._keep(loaded, states)
        for station_id in wanted.stations:
            if station_id not in states:
                raise NotFound(f"no station {station_id} is registered", field="station_id")
        return states, loaded.id_tokens, grown

    def _keep(self, loaded: Loaded, states: dict[str, StationState]) -> set[str]:
        """Put what was loaded beside what is there, and return the stations of transactions."""
        for station_id, state in loaded.stations.items():
            states[station_id] = self._states[station_id] = state
        for transaction in loaded.transactions:
            state_of = states.get(transaction.station_id)
            if state_of is not None and _insert(state_of, transaction):
                held = len(transaction.keys)
                state_of.events_held += held
                self._events_held += held
        return {transaction.station_id for transaction in loaded.transactions}

    # What stays after it ------------------------------------------------------------------

    def _tidy(self, states: dict[str, StationState], grown: set[str]) -> None:
        """Bound the memory of the stations that have grown in a batch, and of all."""
        cached = self._states
        for station_id, state in states.items():
            if cached.get(station_id) is state:
                cached.move_to_end(station_id)
                if station_id in grown:
                    self._events_held -= _trim(state)
            else:  # forgotten while the batch was under way
                self._events_held -= state.events_held
        policy = self._policy
        while (
            len(cached) > policy.stations_held_max or self._events_held > policy.events_held_max
        ) and next(iter(cached)) not in states:
            self.forget([next(iter(cached))])


def _has_all(state: StationState, event: TransactionEvent) -> bool:
    """Say at a glance whether memory has what the decision about an event needs."""
    uses = state.transactions.get(event.transaction_id or "")
    return event.id_token is None and uses is not None and uses[0].generation == 0


def _want(
    wanted: Wanted, station_id: str, state: StationState | None, event: TransactionEvent
) -> None:
    """Add what the decision about an event needs and memory lacks."""
    if event.id_token is not None:
        wanted.id_tokens.add(event.id_token.key)
    number = event.transaction_id
    if number is None:
        newest = state.newest_start_at if state else event.at
        if newest is not None and event.at <= newest:
            wanted.starts.add((station_id, event.at))
    elif number == UNNUMBERED and event.seq_no is None:
        wanted.transactions.add((station_id, None, event.at))
    elif state is None or _lacks(state, storable(number), event.at):
        wanted.transactions.add((station_id, storable(number), event.at))


def _want_running(
    wanted: Wanted, call: InboundCall, state: StationState | None, report: StatusNotification
) -> None:
    """Add what ran at a 1.6 connector, if its status comes after all of that has ended."""
    at, _ = standing_time(report.at or call.received_at, call.received_at)
    if state is not None:
        connector = state.station.connector_of_1_6(report.connector)
        if connector is None:
            return
        place = (connector.evse, connector.connector)
        known = [use for uses in state.transactions.values() for use in uses]
        here = [use for use in known if (use.evse, use.connector) == place]
        is_news = all((use.ended_at or use.started_at) <= at for use in here)
        if is_news or running_at(here, place, at) is not None:
            return
    wanted.transactions.add((call.station_id, None, at))


def _lacks(state: StationState, number: str, at: datetime) -> bool:
    """Say whether there may be uses of this id that are not in memory and matter at that time."""
    uses = state.transactions.get(number)
    if not uses:
        return True
    return uses[0].generation > 0 and at < uses[0].started_at


def _insert(state: StationState, transaction: Transaction) -> bool:
    """Add a transaction in its place, unless it is there: memory is newer than what was read."""
    uses = state.transactions.setdefault(transaction.transaction_id, [])
    if any(known.session_id == transaction.session_id for known in uses):
        return False
    uses.append(transaction)
    uses.sort(key=lambda use: use.generation)
    return True


def _trim(state: StationState) -> int:
    """Keep the open transactions and the last few others, which can be read again.

    Returns how many events went with those that do not stay.
    """
    transactions = state.transactions
    gone: list[Transaction] = []
    if len(transactions) > 2 * CLOSED_KEPT:
        closed = [number for number, uses in transactions.items() if all(map(_may_go, uses))]
        for number in closed[:-CLOSED_KEPT]:
            gone += transactions.pop(number)
    for uses in transactions.values():
        if len(uses) > 2 * CLOSED_KEPT:
            old = uses[:-CLOSED_KEPT]
            gone += filter(_may_go, old)
            uses[:-CLOSED_KEPT] = [use for use in old if not _may_go(use)]
    if not gone:
        return 0
    events = sum(len(transaction.keys) for transaction in gone)
    state.events_held -= events
    return events


def _may_go(transaction: Transaction) -> bool:
    return transaction.stored and not transaction.is_open
