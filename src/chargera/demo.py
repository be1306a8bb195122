"""The demonstration: a whole network on this machine, visited by simulated stations.

The server is the real one, reached over its real ports. Simulated are the stations, their meters,
their drivers, the ledger, and the pace of time; every page says so. The ledger is the embedded
one, unless another `DemoLedger` is given.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric import ec

from chargera.bootstrap import ServeOptions, Server
from chargera.demo_payout import Place, settle_and_pay
from chargera.domain.errors import Unavailable
from chargera.domain.station import OcppVersion, parse_evses
from chargera.proofs.receipt import verify_receipt
from chargera.proofs.steps import StepStatus
from chargera.proofs.trust import parse_trust
from chargera.settings import Settings
from chargera.sim.fleet import FleetMember, recorded_sessions, run_fleet, visits
from chargera.sim.link import Access
from chargera.sim.meter import SigningMeter
from chargera.sim.plan import PlannedSession
from chargera.sim.station import StationModel

CLOCK_RATE = 120
"""Network seconds in a real one: a charging session of an hour takes half a minute."""
ANCHOR_INTERVAL_S = 600
SETTLEMENT_WINDOW_S = 600
CONTEST_PERIOD_S = 600
"""Network seconds, so a few real ones: the policy of a real network has a day and three days."""
BATCH_INTERVAL_S = 7_200
SHARED, ELSEWHERE = Place("DEMO-10", 2), Place("DEMO-11", 1)
"""Where the drivers charge whose bills are followed to the payout; others leave these places free,
or one of them would be taken for the driver with the wallet."""
TESTED = "DEMO-12"
"""The station that makes the standard run, before its first driver comes."""
SEED = "chargera"
SHOWN_SESSIONS = 4
"""How many sessions a summary waits for."""
PATIENCE_S = 180.0
POLL_S = 0.25

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line says; ports 0 mean any free one."""

    data_dir: Path
    http_port: int = 0
    ocpp_port: int = 0
    until_anchored: bool = False
    """End once sessions of both versions are billed, anchored and verified."""
    until_settled: bool = False
    """End once two holders of a charger are paid for sessions of a wallet and of a gateway."""
    summary: Path | None = None
    command: str = "chargera"
    """How whoever reads along calls this program."""


@dataclass(frozen=True, slots=True)
class DemoStation:
    """One station of the demonstration."""

    station_id: str
    version: OcppVersion
    evse: str
    model: str
    latitude: str
    longitude: str
    tariff_id: str
    signs: bool = False


def _station(
    number: int, version: str, evse: str, place: tuple[str, str], **more: Any
) -> DemoStation:
    kind = "fast" if "ccs2" in evse else "post"
    return DemoStation(
        f"DEMO-{number:02}", OcppVersion(version), evse, f"Simulated {kind}", *place, **more
    )


STATIONS: tuple[DemoStation, ...] = (
    _station(1, "1.6", "1:type2:22000", ("52.3702", "4.8952"), tariff_id="DAY", signs=True),
    _station(2, "2.0.1", "1:type2:22000", ("52.3731", "4.8922"), tariff_id="DAY", signs=True),
    _station(3, "2.0.1", "1:ccs2:150000", ("52.3105", "4.7683"), tariff_id="FAST", signs=True),
    _station(4, "1.6", "1:type2:11000,2:type2:11000", ("51.9244", "4.4777"), tariff_id="DAY"),
    _station(5, "2.0.1", "1:type2:22000,2:type2:22000", ("51.9225", "4.4792"), tariff_id="DAY"),
    _station(6, "1.6", "1:type2:22000,2:type2:22000", ("52.0907", "5.1214"), tariff_id="DAY"),
    _station(7, "2.0.1", "1:ccs2:50000,2:type2:22000", ("52.0894", "5.1101"), tariff_id="FAST"),
    _station(8, "1.6", "1:type2:7400", ("51.4416", "5.4697"), tariff_id="DAY"),
    _station(9, "2.0.1", "1:type2:11000", ("53.2194", "6.5665"), tariff_id="DAY"),
    _station(10, "1.6", "1:ccs2:150000,2:ccs2:150000", ("51.5719", "4.7683"), tariff_id="FAST"),
    _station(11, "2.0.1", "1:type2:22000", ("52.2215", "6.8937"), tariff_id="DAY"),
    _station(12, "1.6", "1:type2:22000", ("50.8514", "5.6910"), tariff_id="DAY"),
)

ID_TOKENS = tuple(f"DEMO{number:04}" for number in range(1, 17))


def _tariff(tariff_id: str, elements: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "country_code": "NL",
        "party_id": "C4E",
        "id": tariff_id,
        "currency": "EUR",
        "elements": elements,
        "last_updated": "2026-01-01T00:00:00Z",
    }


def _component(kind: str, price: float, step_size: int = 1) -> dict[str, Any]:
    return {"type": kind, "price": price, "vat": 21, "step_size": step_size}


TARIFFS = (
    _tariff(
        "DAY",
        [
            {
                "price_components": [_component("ENERGY", 0.32)],
                "restrictions": {"start_time": "23:00", "end_time": "07:00"},
            },
            {"price_components": [_component("ENERGY", 0.45)]},
        ],
    ),
    _tariff(
        "FAST",
        [{"price_components": [_component("ENERGY", 0.69), _component("PARKING_TIME", 6, 60)]}],
    ),
)


@dataclass(frozen=True, slots=True)
class DemoLedger:
    """What the demonstration anchors and settles on."""

    label: str = "the topic that stands for Hedera's"
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By section; what `policy_settings` says is added."""
    clock_rate: int = CLOCK_RATE
    on_server: Callable[[Server], None] = lambda server: None
    """Told of the server before it starts."""
    on_end: Callable[[Server, Path], Awaitable[None]] | None = None
    """Called with the folder of what was kept, before a demonstration that ends does."""


def policy_settings() -> dict[str, dict[str, Any]]:
    """Return the settings, by section, with which days pass in seconds."""
    return {
        "ledger": {"anchor_interval_s": ANCHOR_INTERVAL_S},
        "settlement": {
            "enabled": True,
            "window_s": SETTLEMENT_WINDOW_S,
            "contest_period_s": CONTEST_PERIOD_S,
            "batch_interval_s": BATCH_INTERVAL_S,
        },
    }


async def run_demo(options: DemoOptions, say: Say, ledger: DemoLedger | None = None) -> None:
    """Run the demonstration; return when it is done, or never without `until_anchored`.

    Raises Unavailable if what should happen does not within three minutes, at the usual pace.
    """
    began_s = time.monotonic()
    ledger = ledger or DemoLedger()
    sections: dict[str, dict[str, Any]] = policy_settings()
    for name, values in ledger.settings.items():
        sections[name] = {**sections.get(name, {}), **values}
    settings = Settings.model_validate(sections)
    serve = ServeOptions(
        data_dir=options.data_dir,
        http_port=options.http_port,
        ocpp_port=options.ocpp_port,
        ocpp_tls_port=0,
        clock_rate=ledger.clock_rate,
        simulated=True,
    )
    server = Server(serve, settings)
    ledger.on_server(server)
    async with server.running():
        demo = _Demo(server, options, say, ledger)
        async with httpx2.AsyncClient(
            base_url=f"{server.http_url}/api/v1/",
            headers={"Authorization": f"Bearer {server.api_key}"},
            timeout=30,
        ) as client:
            await demo.play(client, began_s)


class _Demo:
    """One run."""

    def __init__(self, server: Server, options: DemoOptions, say: Say, ledger: DemoLedger) -> None:
        self._server = server
        self._ledger = ledger
        self._patience_s = PATIENCE_S * CLOCK_RATE / ledger.clock_rate
        self._options = options
        self._say = say
        self._kept = options.data_dir.resolve() / "demo"
        self._nonces: dict[str, str] = {}
        """What the first driver at a station with a signing meter identifies himself by."""

    async def play(self, client: httpx2.AsyncClient, began_s: float) -> None:
        """Register, let the stations play, narrate the first session, then go on or end."""
        members = await self._register(client)
        self._greet(time.monotonic() - began_s)
        plans = self._plans(members)
        fleet = asyncio.create_task(run_fleet(members, plans, seed=SEED))
        story = asyncio.create_task(self._tell(client, began_s))
        test = asyncio.create_task(self._test(client))
        try:
            done, _ = await asyncio.wait({fleet, story}, return_when=asyncio.FIRST_COMPLETED)
            if fleet in done:
                fleet.result()
            await story
            if self._ledger.on_end is not None:
                await self._ledger.on_end(self._server, self._kept)
            if not (self._options.until_anchored or self._options.until_settled):
                self._say("The network keeps running. Stop it with Ctrl-C.")
                await fleet
        finally:
            for task in (fleet, story, test):
                task.cancel()
            await asyncio.gather(fleet, story, test, return_exceptions=True)

    def _greet(self, seconds: float) -> None:
        server = self._server
        self._say(f"ChargEra is up after {seconds:.1f} s: {server.http_url}")
        if server.operator_password is not None:
            self._say(f"  sign in as operator with the password {server.operator_password}")
        self._say(f"  stations connect to {server.ready_line['ocpps']}")
        self._say(
            f"  simulated: {len(STATIONS)} stations, their meters and drivers,"
            f" {self._ledger.label}, and time, which runs {self._ledger.clock_rate} times faster"
        )

    # Registration -------------------------------------------------------------------------

    async def _register(self, client: httpx2.AsyncClient) -> list[FleetMember]:
        for tariff in TARIFFS:
            await _post(client, "tariffs", tariff)
        for id_token in ID_TOKENS:
            await _post(client, "id-tokens", {"id_token": id_token, "type": "ISO14443"})
        return await asyncio.gather(*(self._member(client, station) for station in STATIONS))

    async def _member(self, client: httpx2.AsyncClient, station: DemoStation) -> FleetMember:
        meter = self._meter(station) if station.signs else None
        registration = {
            "station_id": station.station_id,
            "manufacturer": "ChargEra",
            "model": station.model,
            "serial_number": f"SIM-{station.station_id}",
            "latitude": station.latitude,
            "longitude": station.longitude,
            "time_zone": "Europe/Amsterdam",
            "evse": station.evse,
            "ocpp": [str(station.version)],
            "profile": 2,
            "meter_key": meter.public_key_pem if meter else None,
        }
        password = (await _post(client, "stations", registration))["password"]
        path = f"stations/{station.station_id}"
        if password is None:  # registered by an earlier run, which alone was told it
            password = (await _post(client, f"{path}/password", {}))["password"]
        await _post(client, f"{path}/tariff", {"tariff_id": station.tariff_id}, method="PUT")
        if meter is not None:
            await self._prepare_first_reading(client, station.station_id)
        access = Access(
            str(self._server.ready_line["ocpps"]),
            station.station_id,
            password,
            str(self._options.data_dir / "tls" / "ca.pem"),
        )
        model = StationModel(
            access=access,
            version=station.version,
            connectors=parse_evses(station.evse),
            model=station.model,
            serial_number=f"SIM-{station.station_id}",
            rate=self._ledger.clock_rate,
            sample_interval_s=120,
        )
        return FleetMember(model, meter)

    async def _prepare_first_reading(self, client: httpx2.AsyncClient, station_id: str) -> None:
        """Let the station's first driver come with the nonce that shows its meter key to be held.

        The passport of a signing meter waits for a signed reading with that identification.
        """
        answer = await client.get(f"passports/{station_id}")
        answer.raise_for_status()
        nonce = answer.json()["onboarding_id_token"]
        await _post(client, "id-tokens", {"id_token": nonce, "type": "ISO14443"})
        self._nonces[station_id] = nonce

    def _meter(self, station: DemoStation) -> SigningMeter:
        """A simulated meter whose key is derived from its station's name: no secret at all."""
        secret = int.from_bytes(f"{SEED}/{station.station_id}".encode()) % (2**255) + 1
        key = ec.derive_private_key(secret, ec.SECP256R1())
        return SigningMeter(key, f"SIM-{station.station_id}", page=self._last_page(station))

    def _last_page(self, station: DemoStation) -> int:
        """Pages go on after a restart, as a real meter's do: they count in network seconds."""
        return int(self._server.clock.now().timestamp()) % 1_000_000_000

    def _plans(self, members: list[FleetMember]) -> Mapping[str, Iterator[PlannedSession]]:
        observed = recorded_sessions()
        now = self._server.clock.now()
        begins_s = now.hour * 3600 + now.minute * 60 + now.second
        plans: dict[str, Iterator[PlannedSession]] = {}
        for number, member in enumerate(members):
            station_id = member.model.access.station_id
            plans[station_id] = visits(
                observed,
                member.model,
                Random(f"{SEED}/visits/{station_id}"),  # noqa: S311 - a repeatable play
                ID_TOKENS,
                begins_s=begins_s,
                first_after=timedelta(seconds=60 + 45 * number),
                first_id_token=self._nonces.get(station_id),
                per_day=8,
                kept_free=[p.evse for p in (SHARED, ELSEWHERE) if p.station_id == station_id],
            )
        return plans

    # The story ----------------------------------------------------------------------------

    async def _tell(self, client: httpx2.AsyncClient, began_s: float) -> None:
        """Narrate the first session of this run to its verified receipt; then the summary."""
        before = {row["session_id"] for row in await _sessions(client)}

        async def fresh(state: str) -> list[dict[str, Any]]:
            rows = await _sessions(client, state)
            return [row for row in rows if row["session_id"] not in before]

        first = (await self._wait("a session to begin", lambda: fresh("charging")))[-1]
        self._say(
            f"\n1. A driver plugs in at {first['station_id']} (OCPP {first['ocpp_version']}):"
            f" {self._server.session_url(first['session_id'])}"
        )

        async def billed_first() -> list[dict[str, Any]]:
            return [r for r in await fresh("billed") if r["session_id"] == first["session_id"]]

        [bill] = await self._wait("its bill", billed_first)
        self._say(
            f"2. Charged {bill['energy_wh'] / 1000:.3f} kWh and billed"
            f" {bill['gross_minor'] / 100:.2f} {bill['currency']}, proof level"
            f" {bill['proof_level']}; the bill is entry {bill['cdr_log_index']} of the log."
        )
        await _post(client, "anchors", None)
        self._say("3. A signed head over that entry stands on the (simulated) topic.")
        receipt = await self._receipt(client, bill, tell=True)
        self._say(f"4. The receipt verifies with nothing but the trust file: {receipt}")
        await self._tell_test(client)
        if self._options.until_anchored:
            await self._finish(client, fresh, began_s)
            return
        settling = self._server.settling
        assert settling is not None, "the demonstration settles"
        rows, claims = await settle_and_pay(
            settling,
            client,
            self._say,
            SHARED,
            ELSEWHERE,
            ID_TOKENS[0],
            pace=CLOCK_RATE / self._ledger.clock_rate,
        )
        await self._keep(client, rows, claims, began_s)

    async def _test(self, client: httpx2.AsyncClient) -> None:
        """Begin the standard run of a station once it is connected; it goes on by itself."""
        while not self._server.control.is_connected(TESTED):
            await asyncio.sleep(POLL_S)
        await _post(client, f"stations/{TESTED}/tests", {})

    async def _tell_test(self, client: httpx2.AsyncClient) -> None:
        """Say what the standard run came to, if it has ended by now."""
        answer = await client.get(f"stations/{TESTED}/tests")
        answer.raise_for_status()
        for run in (one for one in answer.json()[:1] if one["log_index"] is not None):
            self._say(
                f"   Meanwhile {TESTED} made the standard run of OCPP {run['ocpp_version']}:"
                f" {run['state']}, {len(run['steps'])} steps, entry {run['log_index']} of the log."
            )

    async def _finish(self, client: httpx2.AsyncClient, fresh: Any, began_s: float) -> None:
        async def enough() -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = await fresh("billed")
            versions = {row["ocpp_version"] for row in rows}
            signed = any(row["proof_level"] == "L2" for row in rows)
            return rows if len(rows) >= SHOWN_SESSIONS and len(versions) == 2 and signed else []

        rows = await self._wait("sessions of both versions", enough)
        await _post(client, "anchors", None)
        await self._keep(client, rows, [], began_s)

    async def _keep(
        self,
        client: httpx2.AsyncClient,
        rows: list[dict[str, Any]],
        claims: list[dict[str, Any]],
        began_s: float,
    ) -> None:
        """Keep the receipts of these sessions, and the summary."""
        shown: list[dict[str, Any]] = []
        for row in rows:
            path = await self._receipt(client, row)
            names = ("session_id", "station_id", "ocpp_version", "energy_wh", "gross_minor")
            shown.append(
                {**{name: row[name] for name in (*names, "currency")}, "receipt": str(path)}
            )
        await self._summarise(shown, claims, began_s)

    async def _summarise(
        self, shown: list[dict[str, Any]], claims: list[dict[str, Any]], began_s: float
    ) -> None:
        folder = self._kept
        checkpoint, deployment = folder / "log" / "checkpoint", folder / "deployment.json"
        # The whole log beside its head: with it any two heads can be compared offline.
        await asyncio.to_thread(self._server.log_reader.export, checkpoint.parent)
        deployment.write_text(json.dumps(await self._server.trust_document(), indent=1))
        document = {
            "sessions": shown,
            "claims": claims,
            "checkpoint": str(checkpoint),
            "deployment": str(deployment),
            "seconds": round(time.monotonic() - began_s, 3),
        }
        if self._options.summary is not None:
            self._options.summary.write_text(json.dumps(document, indent=1) + "\n")
        self._say(
            f"\n{len(shown)} sessions billed, anchored and verified in"
            f" {document['seconds']:.0f} s. Check any of them yourself:\n"
            f"  {self._options.command} verify {shown[0]['receipt']} --trust {deployment}"
        )

    async def _receipt(
        self, client: httpx2.AsyncClient, row: dict[str, Any], *, tell: bool = False
    ) -> Path:
        """Fetch a receipt, verify it as a stranger would, and keep it."""
        answer = await client.get(f"sessions/{row['session_id']}/receipt")
        answer.raise_for_status()
        trust = parse_trust(await self._server.trust_document())
        verdict = verify_receipt(answer.content, trust)
        for step in verdict.steps if tell else ():
            if step.status is not StepStatus.NOT_ASKED:
                self._say(f"     {step.status:>7}  {step.step}: {step.detail}")
        if not verdict.valid:
            raise Unavailable(f"the receipt of {row['session_id']} does not verify")
        self._kept.mkdir(exist_ok=True)
        path = self._kept / f"{row['session_id']}.receipt.json"
        path.write_bytes(answer.content)
        return path

    async def _wait(self, what: str, look: Callable[[], Any]) -> list[dict[str, Any]]:
        patience = time.monotonic() + self._patience_s
        while time.monotonic() < patience:
            found: list[dict[str, Any]] = await look()
            if found:
                return found
            await asyncio.sleep(POLL_S)
        raise Unavailable(f"waited {self._patience_s:.0f} s for {what}")


async def _sessions(client: httpx2.AsyncClient, state: str | None = None) -> list[dict[str, Any]]:
    query = {"limit": "200"} | ({"state": state} if state else {})
    answer = await client.get("sessions", params=query)
    answer.raise_for_status()
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def _post(
    client: httpx2.AsyncClient, path: str, body: Any, *, method: str = "POST"
) -> dict[str, Any]:
    answer = await client.request(method, path, json=body)
    if answer.is_error:
        raise Unavailable(f"{path}: {answer.text}")
    document: dict[str, Any] = answer.json()
    return document
