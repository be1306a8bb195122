"""Random charging sessions as stations of both versions tell them, with all that goes wrong.

A visit is a generator: it yields what the station says and when that arrives, and is sent the
answer, from which an OCPP 1.6 station learns its transaction's number. What reaches the network
only after the bill was made is kept in `late`.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

from chargera.domain.messages import (
    Answer,
    IdTokenRef,
    MeterSample,
    ReadingContext,
    SignedValue,
    StationMessage,
    StatusNotification,
    TransactionAnswer,
    TransactionEvent,
    TransactionEventKind,
)
from chargera.domain.pricing import ChargingState
from chargera.domain.station import ConnectorStatus, OcppVersion
from chargera.sim.meter import Identification, ReadingKind, SigningMeter

S, U, E = TransactionEventKind.STARTED, TransactionEventKind.UPDATED, TransactionEventKind.ENDED
CONTEXTS = {S: ReadingContext.BEGIN, U: ReadingContext.PERIODIC, E: ReadingContext.END}
KINDS = {S: ReadingKind.BEGIN, E: ReadingKind.END}
TRUSTED, UNKNOWN = "RANDOM01", "NOBODY"
RATED_W = 22_000

Said = tuple[datetime, StationMessage]
"""When it arrives, and what is said."""

Visit = Generator[Said, Answer, None]


@dataclass(slots=True)
class Happening:
    """One moment of a session at the station."""

    kind: TransactionEventKind
    at: datetime
    register_wh: int | None
    charging: ChargingState | None


@dataclass(slots=True)
class Teller:
    """A station that tells one session after the other."""

    station_id: str
    version: OcppVersion
    random: Random
    now: datetime
    meter: SigningMeter | None = None
    register_wh: int = 0
    visits: int = 0
    late: list[Said] = field(default_factory=list)

    def sessions(self, count: int) -> Visit:
        """Tell `count` sessions, one after the other on alternating connectors."""
        for _ in range(count):
            self.visits += 1
            happenings = self._metered()
            if self.version is OcppVersion.V1_6:
                yield from self._told_1_6(happenings)
            else:
                yield from self._told_2_0_1(happenings)

    # What happens -----------------------------------------------------------------------------

    def _metered(self) -> list[Happening]:
        """Return a session's moments in order: charging and parking in turns, or in a second."""
        random = self.random
        self.now += timedelta(seconds=random.uniform(60, 7200))
        moments = random.choice((0, 0, 2, 5, 9))
        spans = [random.choice((0, 1, 90, 600, 1800, 5400)) for _ in range(moments + 1)]
        times = [_whole_ms(self.now)]
        for seconds in spans:
            times.append(_whole_ms(times[-1] + timedelta(seconds=seconds * random.uniform(0.5, 1))))
        happenings = [Happening(S, times[0], self.register_wh, ChargingState.CHARGING)]
        state = ChargingState.CHARGING
        for before, at in pairwise(times):
            if state is ChargingState.CHARGING:
                most_wh = (at - before).total_seconds() * RATED_W / 3600
                self.register_wh += int(random.choice((0, 1, 1)) * random.uniform(0, most_wh))
            if random.random() < 0.3:
                state = random.choice(list(ChargingState))
            register_wh = self.register_wh if random.random() < 0.8 else None
            happenings.append(Happening(U, at, register_wh, state))
        happenings[-1] = Happening(E, times[-1], self.register_wh, None)
        self.now = times[-1]
        self.register_wh += random.choice((0, 0, 4))  # the relay opens a little later
        self._damage(happenings)
        return happenings

    def _damage(self, happenings: list[Happening]) -> None:
        """Let something be wrong with every tenth session."""
        match self.random.randrange(40):
            case 0:  # a station without a clock
                for one in happenings:
                    one.at = datetime(1970, 1, 1, tzinfo=UTC) + (one.at - happenings[0].at)
            case 1:  # its clock runs ahead
                happenings[0].at += timedelta(minutes=20)
            case 2:  # no register at the begin
                happenings[0].register_wh = None
            case 3 if happenings[-1].register_wh:  # the meter was exchanged
                happenings[-1].register_wh = 0

    # How it is told ---------------------------------------------------------------------------

    def _told_1_6(self, happenings: list[Happening]) -> Visit:
        random, connector = self.random, 1 + self.visits % 2
        number: str | None = None
        told: list[Said] = []
        for one in happenings:
            if one.kind is U and one.charging is not None and random.random() < 0.5:
                told.append((one.at, _status(connector, one)))
                yield told[-1]
            if one.kind is U and one.register_wh is None:
                continue
            event = self._event(one, number, None, connector, evse=None)
            if one.kind is U and random.random() < 0.05:
                self.late.append((self.now, event))
                continue
            answer = yield self._arrival(one), event
            told.append((self._arrival(one), event))
            if one.kind is S:
                assert isinstance(answer, TransactionAnswer)
                number = answer.transaction_id
        yield from self._repeats(told)

    def _told_2_0_1(self, happenings: list[Happening]) -> Visit:
        random = self.random
        evse, transaction_id = 1 + self.visits % 2, f"{self.station_id}-{self.visits}"
        told: list[Said] = []
        for seq_no, one in enumerate(happenings):
            event = self._event(one, transaction_id, seq_no, 1, evse=evse)
            fate = random.random()
            if one.kind is U and fate < 0.05:
                continue  # lost for ever: a hole
            if one.kind is U and fate < 0.1:
                self.late.append((self.now, event))
                continue
            told.append((self._arrival(one), event))
        if random.random() < 0.1:  # it was offline, and tells it afterwards in any order
            arrives = self.now + timedelta(hours=random.randrange(1, 30))
            told = [(arrives, event) for _, event in random.sample(told, len(told))]
        for arrives, event in told:
            yield arrives, event
        yield from self._repeats(told)

    def _repeats(self, told: list[Said]) -> Visit:
        """Say some of it again, as stations do that missed the answer."""
        for arrived_at, message in told:
            if self.random.random() < 0.05:
                yield arrived_at + timedelta(seconds=30), message

    def _arrival(self, one: Happening) -> datetime:
        """Return when something arrives: soon, also if the station's own clock is wrong."""
        near = abs(one.at - self.now) < timedelta(days=2)
        return (one.at if near else self.now) + timedelta(seconds=1)

    def _event(
        self,
        one: Happening,
        transaction_id: str | None,
        seq_no: int | None,
        connector: int,
        *,
        evse: int | None,
    ) -> TransactionEvent:
        has_value = one.register_wh is not None
        sample = MeterSample(one.at, CONTEXTS[one.kind], one.register_wh, None)
        numbered = evse is not None
        id_token = UNKNOWN if self.random.random() < 0.02 else TRUSTED
        kind = "ISO14443" if numbered else None
        return TransactionEvent(
            kind=one.kind,
            transaction_id=transaction_id,
            seq_no=seq_no,
            evse=evse,
            connector=connector,
            at=one.at,
            id_token=IdTokenRef(id_token, kind) if one.kind is S else None,
            samples=(sample,) if has_value else (),
            signed=tuple(self._signed(one)),
            charging=one.charging if numbered else None,
            stop_reason="Local" if one.kind is E else None,
            offline=False,
            remote_start_id=None,
        )

    def _signed(self, one: Happening) -> Iterator[SignedValue]:
        kind = KINDS.get(one.kind)
        if self.meter is not None and kind is not None and one.register_wh is not None:
            text = self.meter.reading(one.register_wh, one.at, kind, Identification(TRUSTED))
            yield SignedValue(text.encode(), CONTEXTS[one.kind], one.at)


def _status(connector: int, one: Happening) -> StatusNotification:
    charging = one.charging is ChargingState.CHARGING
    word = "Charging" if charging else "SuspendedEV"
    return StatusNotification(None, connector, ConnectorStatus.OCCUPIED, word, one.at, one.charging)


def _whole_ms(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
