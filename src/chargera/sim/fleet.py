"""A fleet of simulated stations in one process, visited as recorded sessions tell."""

import asyncio
import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from random import Random

from chargera.sim.meter import SigningMeter
from chargera.sim.plan import ObservedSession, PlannedSession, busy_days
from chargera.sim.station import SimulatedStation, StationModel

RECORDS = ("acn_caltech", "perth_kinross")
"""The extracts in `sim/data`; its README names sources and licences."""

FIRST_STAY = timedelta(minutes=20)


@dataclass(frozen=True, slots=True)
class FleetMember:
    """One station of a fleet."""

    model: StationModel
    meter: SigningMeter | None = None


def recorded_sessions(*names: str) -> tuple[ObservedSession, ...]:
    """Return the sessions of these extracts, all of `RECORDS` if none is named."""
    sessions: list[ObservedSession] = []
    for name in names or RECORDS:
        source = resources.files("chargera.sim") / "data" / f"{name}.csv"
        with source.open(encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                hours, minutes, seconds = row["arrived_at"].split("T")[1].split(":")
                sessions.append(
                    ObservedSession(
                        arrived_s=int(hours) * 3600 + int(minutes) * 60 + int(seconds),
                        parked_s=int(row["parked_s"]),
                        energy_wh=int(row["energy_wh"]),
                        power_w=int(row["power_w"]),
                    )
                )
    return tuple(sessions)


def visits(
    observed: Sequence[ObservedSession],
    model: StationModel,
    rng: Random,
    id_tokens: Sequence[str],
    *,
    begins_s: int,
    first_after: timedelta | None = None,
    first_id_token: str | None = None,
    per_day: int = 3,
    kept_free: Collection[int] = (),
) -> Iterator[PlannedSession]:
    """Yield the visits of one station without end, from the local time of day `begins_s` on.

    With `first_after` a short visit comes that soon, so that there is something to see at once; its
    driver has `first_id_token` if one is given. After it the EVSEs of `kept_free` have no visits.
    """
    evses: Mapping[int, int] = {c.evse: c.power_w_max for c in reversed(model.connectors)}
    if first_after is not None:
        evse = model.connectors[0].evse
        yield PlannedSession(
            arrives_after=first_after,
            parked_for=FIRST_STAY,
            energy_wh=evses[evse] // 5,
            power_w=evses[evse],
            id_token=first_id_token or rng.choice(id_tokens),
            evse=evse,
        )
    evses = {evse: power_w for evse, power_w in evses.items() if evse not in kept_free}
    if evses:
        yield from busy_days(observed, evses, rng, id_tokens, begins_s=begins_s, per_day=per_day)


async def run_fleet(
    members: Sequence[FleetMember],
    plans: Mapping[str, Iterator[PlannedSession]],
    *,
    seed: str,
    stay: bool = True,
) -> list[SimulatedStation]:
    """Run all stations at once, each with the plan under its id, until cancelled.

    Without `stay` it returns the stations when every plan is played. The same seed gives the same
    fleet. Raises NotPermitted if one of them is refused.
    """
    stations = []
    for member in members:
        rng = Random(f"{seed}/{member.model.access.station_id}")  # noqa: S311 - a repeatable play
        stations.append(SimulatedStation(member.model, rng, member.meter))
    runs = [
        asyncio.ensure_future(station.run(plans[station.model.access.station_id], stay=stay))
        for station in stations
    ]
    try:
        await asyncio.gather(*runs)
    finally:
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
    return stations
