"""One simulated station as a command plays it: a few sessions, or a life under orders."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from random import Random

from chargera.domain.errors import Unreadable
from chargera.domain.station import Connector, OcppVersion, parse_evses
from chargera.sim.link import Access, Patience
from chargera.sim.meter import SigningMeter
from chargera.sim.plan import PlannedSession, some_sessions
from chargera.sim.station import SimulatedStation, StationModel, Tally

ONE_OUTLET = parse_evses("1:type2:22000")
ID_TOKEN = "SIM-DRIVER"  # noqa: S105 - a card number that anybody may know
SAMPLE_INTERVAL_S = 300


@dataclass(frozen=True, slots=True)
class Script:
    """What one station is told to do."""

    access: Access
    version: OcppVersion
    sessions: int | None = None
    """How many sessions it plays before it leaves; None to stay, idle, and obey orders."""
    id_token: str = ID_TOKEN
    meter_pem: bytes | None = None
    """PKCS #8 private key of a signing meter."""
    memory_file: Path | None = None
    """Where register and page counter of the meter outlive the process."""
    connectors: tuple[Connector, ...] = field(default=ONE_OUTLET)
    seed: str = ""
    session_s: float = 4.0
    """About how many real seconds a session takes."""
    reach_s: float | None = None
    """How long it tries to be accepted for the first time; None without an end."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a meter never forgets."""

    register_wh: int = 0
    page: int = 0

    @staticmethod
    def load(path: Path) -> "Memory":
        """Read the file; a new meter where there is none. Raises Unreadable for another file."""
        try:
            members = json.loads(path.read_text())
            return Memory(int(members["register_wh"]), int(members["page"]))
        except FileNotFoundError:
            return Memory()
        except (ValueError, KeyError, TypeError) as error:
            raise Unreadable(
                f"{path} is no memory of a simulated meter: {error!r}",
                remedy="give another file, or remove it to begin with a new meter",
            ) from None

    def save(self, path: Path) -> None:
        """Write the file so that it is never half written."""
        draft = path.with_name(f"{path.name}.new")
        draft.write_text(json.dumps({"register_wh": self.register_wh, "page": self.page}))
        draft.replace(path)


async def play(script: Script, stop: asyncio.Event | None = None) -> Tally:
    """Run the station of `script`, at most until `stop` is set; return what it did.

    Sessions are played as by a station that was offline and tells its past: they begin before the
    network's time and end by it, so that they take seconds under every clock and have plausible
    powers. Raises NotPermitted for a wrong password, Unavailable for a server that is out of reach
    or not trusted, Unreadable for a bad key or memory.
    """
    memory = Memory.load(script.memory_file) if script.memory_file else Memory()
    meter = None
    if script.meter_pem is not None:
        serial = f"SIM-{script.access.station_id}"
        meter = SigningMeter.load(script.meter_pem, serial, page=memory.page)
    seed = f"{script.seed}/{script.access.station_id}/{memory.register_wh}"
    rng = Random(seed)  # noqa: S311 - a repeatable play
    evses = tuple(dict.fromkeys(c.evse for c in script.connectors))
    power_w = min(c.power_w_max for c in script.connectors)
    count = script.sessions or 0
    plan = list(some_sessions(count, rng, [script.id_token], evses=evses, power_w=power_w))
    past = sum((session.parked_for for session in plan), timedelta(0))
    model = StationModel(
        access=script.access,
        version=script.version,
        connectors=script.connectors,
        serial_number=f"SIM-{script.access.station_id}",
        sample_interval_s=SAMPLE_INTERVAL_S,
        register_wh=memory.register_wh,
        behind=past + timedelta(minutes=5) if plan else timedelta(0),
        speed=past.total_seconds() / (script.session_s * (count + 1)),
        patience=Patience(reach_s=script.reach_s),
    )
    station = SimulatedStation(model, rng, meter)
    try:
        stay = script.sessions is None
        return await _run_until(stop or asyncio.Event(), station, plan, stay=stay)
    finally:
        if script.memory_file is not None:
            page = meter.page if meter else memory.page
            replace(memory, register_wh=station.register_wh, page=page).save(script.memory_file)


async def _run_until(
    stop: asyncio.Event, station: SimulatedStation, plan: Iterable[PlannedSession], *, stay: bool
) -> Tally:
    """Run the station to its end or until `stop` is set; what it did counts either way."""
    running = asyncio.create_task(station.run(plan, stay=stay))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        running.cancel()
        stopped.cancel()
        await asyncio.gather(running, stopped, return_exceptions=True)
    return station.tally if running.cancelled() else running.result()
