"""What a simulated driver does: when a car comes, how it draws power, when it leaves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random

MS_PER_HOUR = 3_600_000


@dataclass(frozen=True, slots=True)
class ChargingCurve:
    """Power of a car over time: constant at first, then falling evenly to nothing.

    All integers: `energy_wh` is reached exactly, and no value depends on how floats are rounded.
    """

    power_w: int
    """The constant power; never exceeded."""
    energy_wh: int
    """What the car takes in all."""
    taper_percent: int = 20
    """The part of the energy that is taken while power falls."""

    @property
    def constant_ms(self) -> int:
        """How long power is constant."""
        energy_wh = self.energy_wh * (100 - self.taper_percent)
        return energy_wh * MS_PER_HOUR // (100 * self.power_w)

    @property
    def taper_ms(self) -> int:
        """How long power falls: twice as long as the same energy would take at full power."""
        energy_wh = self.energy_wh * self.taper_percent
        return 2 * energy_wh * MS_PER_HOUR // (100 * self.power_w)

    @property
    def full_after_ms(self) -> int:
        """When the car is full."""
        return self.constant_ms + self.taper_ms + 1

    def energy_at(self, elapsed_ms: int) -> int:
        """Return the whole Wh taken after `elapsed_ms`."""
        if elapsed_ms >= self.full_after_ms:
            return self.energy_wh
        constant_ms = min(elapsed_ms, self.constant_ms)
        falling_ms = min(elapsed_ms - constant_ms, self.taper_ms)
        # Twice the area below the curve, in units of power_w times one millisecond.
        doubled = 2 * constant_ms + 2 * falling_ms
        if falling_ms:
            doubled -= falling_ms * falling_ms // self.taper_ms
        return min(self.energy_wh, self.power_w * doubled // (2 * MS_PER_HOUR))

    def power_at(self, elapsed_ms: int) -> int:
        """Return the power in W at `elapsed_ms`."""
        if elapsed_ms < self.constant_ms:
            return self.power_w
        remaining_ms = self.full_after_ms - elapsed_ms
        if remaining_ms <= 0:
            return 0
        return min(self.power_w, self.power_w * remaining_ms // max(1, self.taper_ms))


@dataclass(frozen=True, slots=True)
class PlannedSession:
    """One visit of one car."""

    arrives_after: timedelta
    """Since the station began; a place that is taken makes the car wait."""
    parked_for: timedelta
    """How long the car stays; the part after it is full is the idle tail."""
    energy_wh: int
    power_w: int
    """What the car takes at most; the connector's rating limits it further."""
    id_token: str
    evse: int = 1
    id_token_kind: str = "ISO14443"  # noqa: S105 - a kind of card, not a secret

    def curve(self, power_w_max: int) -> ChargingCurve:
        """Return the curve at a connector of `power_w_max`."""
        return ChargingCurve(min(self.power_w, power_w_max), self.energy_wh)


@dataclass(frozen=True, slots=True)
class ObservedSession:
    """A session as somebody recorded it: a time of day, a stay, an energy, the outlet's power."""

    arrived_s: int
    """Seconds since local midnight."""
    parked_s: int
    energy_wh: int
    power_w: int


def some_sessions(
    count: int,
    rng: Random,
    id_tokens: Sequence[str],
    *,
    evses: Sequence[int] = (1,),
    power_w: int = 11_000,
    gap: timedelta = timedelta(minutes=2),
) -> Iterator[PlannedSession]:
    """Yield `count` short sessions, each EVSE in turn, the first at once."""
    for number in range(count):
        energy_wh = rng.randrange(2_000, 9_000)
        full = ChargingCurve(power_w, energy_wh).full_after_ms
        yield PlannedSession(
            arrives_after=gap * number,
            parked_for=timedelta(milliseconds=full) + gap * rng.randrange(1, 6),
            energy_wh=energy_wh,
            power_w=power_w,
            id_token=rng.choice(id_tokens),
            evse=evses[number % len(evses)],
        )


def busy_days(
    observed: Sequence[ObservedSession],
    evses: Mapping[int, int],
    rng: Random,
    id_tokens: Sequence[str],
    *,
    begins_s: int,
    per_day: int = 3,
) -> Iterator[PlannedSession]:
    """Yield sessions day after day, without end, as recorded ones were.

    `evses` maps the number of an EVSE to its power in W, `begins_s` is the local time of day at
    which the station begins, `per_day` the visits a day and EVSE.
    """
    day = 0
    while True:
        visits = [
            (session, evse)
            for evse in evses
            for session in rng.sample(observed, min(per_day, len(observed)))
        ]
        for session, evse in sorted(visits, key=lambda visit: visit[0].arrived_s):
            arrives_s = day * 86_400 + session.arrived_s - begins_s
            if arrives_s >= 0:
                yield PlannedSession(
                    arrives_after=timedelta(seconds=arrives_s),
                    parked_for=timedelta(seconds=session.parked_s),
                    energy_wh=session.energy_wh,
                    power_w=min(session.power_w, evses[evse]),
                    id_token=rng.choice(id_tokens),
                    evse=evse,
                )
        day += 1
