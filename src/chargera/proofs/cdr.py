"""The judgement on a session: from what was logged to a bill, or why there is none.

The server bills with this function and a stranger recomputes with it: it sees only what stands
in the log (rows, tariff, signed values, the registered meter key, a person's correction).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chargera.domain.errors import InvalidInput
from chargera.domain.messages import ReadingContext
from chargera.domain.metering import Metering, assemble
from chargera.domain.pricing import Bill, MeteredSession, RegisterValue, price_session
from chargera.domain.proof_level import ProofFacts, ProofLevel, proof_level
from chargera.domain.station import MAX_POWER_W
from chargera.domain.tariff import Dimension, Restrictions, Tariff
from chargera.domain.transaction import BLOCKING, DERIVED, Anomaly, SessionEvent
from chargera.proofs.meter_checks import verify_meter
from chargera.proofs.meter_key import MeterKey
from chargera.proofs.meter_verdict import MeterExpectations, MeterVerdict, TimeUse

SIGNED_TOLERANCE_WH = 1
"""Signed and reported registers may differ by rounding to whole Wh."""


ALWAYS_PLAUSIBLE_WH = 1_000_000
"""No more than this goes into the largest truck; a longer session may still add up to it."""


@dataclass(frozen=True, slots=True)
class SignedMeterValue:
    """A signed value as it was logged."""

    context: ReadingContext
    raw: bytes


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person decided where the rows alone could not be billed."""

    started_at: datetime
    ended_at: datetime
    meter_start_wh: int
    meter_stop_wh: int


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """All that a bill may depend on.

    `numbered`: the station numbers its events (2.x). `previous_pages`: the last page of the
    meter before this session by series, None where none is known. `known` holds anomalies that
    the rows do not show, such as a missing token. `power_w_max`: what the connector can give.
    """

    numbered: bool
    time_zone: str
    events: Sequence[SessionEvent]
    tariff: Tariff | None
    meter_key: MeterKey | None
    signed: Sequence[SignedMeterValue]
    previous_pages: Mapping[str, int] | None
    correction: Correction | None
    known: frozenset[Anomaly] = frozenset()
    power_w_max: int = MAX_POWER_W


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome: `bill` is None exactly if one of `reasons` blocks it."""

    metering: Metering
    session: MeteredSession | None
    meter: MeterVerdict | None
    bill: Bill | None
    proof_level: ProofLevel
    anomalies: frozenset[Anomaly]

    @property
    def reasons(self) -> tuple[Anomaly, ...]:
        """The anomalies that keep the session from being billed."""
        return tuple(sorted(self.anomalies & BLOCKING))


def judge(facts: SessionFacts) -> Judgement:
    """Judge one session. Nothing is raised; what is wrong is among the anomalies."""
    metering = assemble(facts.events, numbered=facts.numbered, time_zone=facts.time_zone)
    session = metering.session
    anomalies = set(metering.anomalies) | (facts.known - DERIVED)
    meter = _meter_verdict(facts)
    signed = meter is not None and _signs(meter, session)
    if facts.meter_key is not None and not signed:
        anomalies.add(Anomaly.METER_SIGNATURE)
    gap = meter is not None and _has_page_gap(meter, facts.previous_pages)
    if signed and gap:
        anomalies.add(Anomaly.METER_PAGE_GAP)
    level = proof_level(
        ProofFacts(begin_and_end_signed=signed, pages_without_gap=signed and not gap)
    )
    if facts.correction is not None:
        # A person has looked at all of it and answers for these four values.
        anomalies -= BLOCKING
        session = _corrected(facts.correction, facts.time_zone)
        level = ProofLevel.L0
    if facts.tariff is None or (session and not facts.tariff.is_valid_at(session.started_at)):
        anomalies.add(Anomaly.NO_TARIFF)
    if _is_implausible(facts, session):
        anomalies.add(Anomaly.IMPLAUSIBLE)
    bill = None
    if session is not None and facts.tariff is not None and not anomalies & BLOCKING:
        try:
            bill = price_session(facts.tariff, session)
        except InvalidInput:
            anomalies.add(Anomaly.IMPLAUSIBLE)
    return Judgement(metering, session, meter, bill, level, frozenset(anomalies))


def _is_implausible(facts: SessionFacts, session: MeteredSession | None) -> bool:
    """Say whether so much energy cannot have gone through the connector in that time.

    Registers may jump when a meter is exchanged or its unit is misread. Times of stations are
    too coarse for a verdict on less than `ALWAYS_PLAUSIBLE_WH`. What a person decides is only
    held against the limits of any session.
    """
    if facts.correction is not None:
        return session is None
    if session is None or session.ended_at is None:
        return False
    duration_s = (session.ended_at - session.started_at) // timedelta(seconds=1) + 1
    return session.energy_wh > max(ALWAYS_PLAUSIBLE_WH, facts.power_w_max * duration_s // 3600)


def _corrected(correction: Correction, time_zone: str) -> MeteredSession | None:
    registers = (
        RegisterValue(correction.started_at, correction.meter_start_wh),
        RegisterValue(correction.ended_at, correction.meter_stop_wh),
    )
    try:
        return MeteredSession(correction.started_at, correction.ended_at, time_zone, registers)
    except InvalidInput:
        return None


def _meter_verdict(facts: SessionFacts) -> MeterVerdict | None:
    """Check the begin and the end value with the registered key; None where there is no key."""
    if facts.meter_key is None or not facts.signed:
        return None
    begins = [v for v in facts.signed if v.context is ReadingContext.BEGIN]
    ends = [v for v in facts.signed if v.context is ReadingContext.END]
    first = (begins or facts.signed)[0]
    last = (ends or facts.signed)[-1]
    values = [first.raw] if first.raw == last.raw else [first.raw, last.raw]
    expectations = MeterExpectations(time_use=_time_use(facts.tariff))
    return verify_meter(values, facts.meter_key, expectations=expectations)


def _time_use(tariff: Tariff | None) -> TimeUse | None:
    """What the tariff needs the meter's clock for."""
    if tariff is None:
        return None
    if any(e.restrictions is not None and _by_clock(e.restrictions) for e in tariff.elements):
        return TimeUse.CLOCK
    timed = (Dimension.TIME, Dimension.PARKING_TIME)
    if any(c.dimension in timed for e in tariff.elements for c in e.components):
        return TimeUse.DURATION
    return None


def _by_clock(limits: Restrictions) -> bool:
    days = (limits.start_date, limits.end_date)
    hours = (limits.start_time, limits.end_time)
    return bool(limits.day_of_week) or any(v is not None for v in (*days, *hours))


def _signs(meter: MeterVerdict, session: MeteredSession | None) -> bool:
    """Say whether begin and end are signed and are what the station reported."""
    if not meter.valid or meter.begin is None or meter.end is None or session is None:
        return False
    pairs = (
        (meter.begin.register_wh, session.registers[0].register_wh),
        (meter.end.register_wh, session.registers[-1].register_wh),
    )
    return all(abs(signed - reported) <= SIGNED_TOLERANCE_WH for signed, reported in pairs)


def _has_page_gap(meter: MeterVerdict, previous: Mapping[str, int] | None) -> bool:
    """Say whether pages are missing between the meter's last known one and this session."""
    if not previous:
        return False
    first = meter.records[0]
    known = previous.get(first.page_series.value)
    return known is not None and first.page_number != known + 1
