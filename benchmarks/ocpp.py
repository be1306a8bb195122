"""The channel: durable messages a CPU second, beside PyPI `ocpp` without storage in the same run.

    python -m benchmarks ocpp [--seconds S] [--stations N] [--idle N] [--json] [--output FILE]

The real server (`chargera serve` with its embedded PostgreSQL, fsync on) is driven over plain
WebSockets by a load generator in a process of its own: a hundred stations, one CALL outstanding
each, whole sessions that are started, metered, ended, billed and logged. What counts is the CPU
time of the server and of all processes of its database, background work included, for each
message that is acknowledged. Then every stored row is counted against the acknowledgements.

The peer has the same load before and after that: `ocpp` over `websockets` with default settings,
constant answers, no password and no storage. Bars: 8 times its rate in OCPP 1.6, 15 times in 2.0.1.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.ocpp_frames import ID_TOKEN, UPDATES
from benchmarks.ocpp_load import Plan, Turn
from benchmarks.processes import resident_bytes
from tests.message_log import exchanges
from tests.server import ServerProcess

RATIO_BARS = {"1.6": 8.0, "2.0.1": 15.0}
AIM_PER_CPU_S = 12_000
WARM_UP_S = 2.0
PATIENCE_S = 60.0
RESULT = Path(__file__).parent / "results" / "ocpp.json"

RAISED = {"CHANNEL_MESSAGES_PER_S": 1_000_000}
"""Bounds that the load would run into, by setting; everything else is as it comes."""

PATIENT = {"CHANNEL_PING_INTERVAL_S": 600}
"""For stations that say nothing while others connect, which takes a minute on a busy machine."""

TARIFF = {
    "country_code": "NL",
    "party_id": "C4E",
    "id": "BENCH",
    "currency": "EUR",
    "elements": [
        {
            "price_components": [
                {"type": "ENERGY", "price": 0.39, "vat": 21, "step_size": 1},
                {"type": "PARKING_TIME", "price": 2.5, "vat": 21, "step_size": 60},
            ]
        }
    ],
    "last_updated": "2026-01-01T00:00:00Z",
}


def main(arguments: list[str] | None = None) -> int:
    """Run, print a table on stderr and with `--json` the figures; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks ocpp", description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0, help="measured time a version")
    parser.add_argument("--stations", type=int, default=100, help="stations under load")
    parser.add_argument("--idle", type=int, default=400, help="further stations that only wait")
    parser.add_argument("--json", action="store_true", help="print the figures on stdout")
    parser.add_argument("--output", type=Path, default=RESULT, help="where they are written")
    parser.add_argument("--version", choices=list(RATIO_BARS), help="only this OCPP version")
    options = parser.parse_args(arguments)
    versions = [options.version] if options.version else list(RATIO_BARS)
    result = run(versions, options.seconds, options.stations, options.idle)
    text = json.dumps(result, indent=2)
    if options.json:
        print(text)
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(text + "\n")
    return 0 if all(bar["met"] for bar in result["bars"]) else 1


def run(versions: list[str], seconds: float, stations: int, idle: int) -> dict[str, Any]:
    """Return all figures as a JSON document."""
    _say(f"raised: {', '.join(f'CHARGERA_{name}={value}' for name, value in RAISED.items())}")
    runs = {version: _version(version, seconds, stations) for version in versions}
    bars = []
    for version, figures in runs.items():
        bar = RATIO_BARS[version]
        met = figures["ratio"] >= bar
        _say(
            f"{version:6} {figures['ratio']:6.1f} x the peer >= {bar}  {'ok' if met else 'MISSED'}"
        )
        bars.append({"name": f"{version} ratio", "value": figures["ratio"], "bar": bar, "met": met})
    return {
        "benchmark": "ocpp",
        "machine": machine(),
        "libraries": {
            name: version_of(name) for name in ("picows", "orjson", "psycopg", "ocpp", "websockets")
        },
        "raised": {f"CHARGERA_{name}": value for name, value in RAISED.items()},
        "stations": stations,
        "aim_per_cpu_s": AIM_PER_CPU_S,
        "versions": runs,
        "idle": _idle(idle) if idle else None,
        "bars": bars,
    }


# One version --------------------------------------------------------------------------------


def _version(version: str, seconds: float, stations: int) -> dict[str, Any]:
    """Let the peer, the server and the peer again take their turns under one load."""
    with ExitStack() as stack:
        server = stack.enter_context(_server())
        peer_pid, peer_port = stack.enter_context(_peer())
        registered = register(server, version, [f"BENCH-{n:03}" for n in range(stations)])
        address = ("127.0.0.1", int(server.ready["ocpp"].split(":")[2].partition("/")[0]))
        ours = stack.enter_context(playing(Plan(*address, version, server.process.pid, registered)))
        peer = stack.enter_context(
            playing(Plan("127.0.0.1", peer_port, version, peer_pid, registered))
        )
        peer_turns = [peer.turn(WARM_UP_S, seconds / 2)]
        turn = ours.turn(WARM_UP_S, seconds)
        _wait_for_bills(server)
        peer_turns.append(peer.turn(WARM_UP_S, seconds / 2))
        stored = _check(server, version, turn, stations)
    peer_rate = sum(t.window_messages for t in peer_turns) / sum(t.cpu_server_s for t in peer_turns)
    cpu_s = turn.cpu_server_s + turn.cpu_database_s
    rate = turn.window_messages / cpu_s
    _say(_line(version, "chargera", turn))
    for peer_turn in peer_turns:
        _say(_line(version, "ocpp", peer_turn))
    return {
        "durable_messages_per_cpu_s": round(rate),
        "peer_messages_per_cpu_s": round(peer_rate),
        "ratio": round(rate / peer_rate, 2),
        "cpu_us_a_message": round(1e6 * cpu_s / turn.window_messages, 1),
        "cpu_us_a_message_of_database": round(1e6 * turn.cpu_database_s / turn.window_messages, 1),
        "messages_per_s": round(turn.window_messages / turn.window_s),
        "sessions_billed_per_s": round(turn.window_sessions / turn.window_s),
        "p50_ms": round(turn.p50_ms, 2),
        "p99_ms": round(turn.p99_ms, 2),
        "stored": stored,
        "turn": asdict(turn),
        "peer_turns": [asdict(peer_turn) for peer_turn in peer_turns],
    }


def _line(version: str, name: str, turn: Turn) -> str:
    cpu_s = turn.cpu_server_s + turn.cpu_database_s
    return (
        f"{version:6} {name:9} {turn.window_messages / cpu_s:7.0f} msg/CPU-s"
        f" (database {turn.cpu_database_s / cpu_s:4.0%})"
        f" {turn.window_messages / turn.window_s:7.0f} msg/s"
        f"  p50 {turn.p50_ms:6.2f} ms  p99 {turn.p99_ms:7.2f} ms"
        f"  load {turn.cpu_load_s / turn.window_s:4.0%} of a core"
    )


def _wait_for_bills(server: ServerProcess) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    waiting = "select count(*) from charging_session where state in ('charging', 'ended')"
    while count := server.query(waiting)[0][0]:
        if time.monotonic() >= deadline_s:
            raise AssertionError(f"{count} sessions are not billed after {PATIENCE_S:g} s")
        time.sleep(0.1)


def _check(server: ServerProcess, version: str, turn: Turn, stations: int) -> dict[str, int]:
    """Hold what is stored against what was acknowledged; raise if a row lacks or is too many."""
    acknowledged = Counter(turn.acknowledged) + Counter(BootNotification=stations)
    with server.database() as connection:
        rows = exchanges(connection)
    stored = Counter(
        row.action for row in rows if row.inbound and row.answer is not None and row.outcome == "ok"
    )
    assert stored == acknowledged, f"{acknowledged} were acknowledged, stored are {stored}"
    ((readings, sessions, billed, bills),) = server.query(
        "select (select count(*) from session_event),"
        " (select count(*) from charging_session), (select count(*) from charging_session"
        "  where state = 'billed' and anomalies = '{}' and meter_stop_wh > meter_start_wh),"
        " (select count(*) from cdr where not is_credit)"
    )
    counts = {
        "messages": len(rows),
        "readings": readings,
        "sessions": sessions,
        "billed": billed,
        "bills": bills,
    }
    events = (UPDATES + 2) * turn.sessions
    expected = {
        "messages": acknowledged.total(),
        "readings": events,
        "sessions": turn.sessions,
        "billed": turn.sessions,
        "bills": turn.sessions,
    }
    assert counts == expected, f"stored: {counts}, expected in {version}: {expected}"
    return counts


# Idle connections -----------------------------------------------------------------------------


def _idle(count: int) -> dict[str, Any]:
    """Return what a station costs that is connected, has booted and says nothing."""
    with _server(RAISED | PATIENT) as server, ExitStack() as stack:
        port = int(server.ready["ocpp"].split(":")[2].partition("/")[0])

        def connect(prefix: str, number: int) -> int:
            ids = [f"{prefix}-{n:03}" for n in range(number)]
            registered = register(server, "2.0.1", ids)
            before = resident_bytes(server.process.pid)
            plan = Plan("127.0.0.1", port, "2.0.1", server.process.pid, registered)
            stack.enter_context(playing(plan))
            time.sleep(1.0)
            return resident_bytes(server.process.pid) - before

        connect("WARM", 50)
        grown = connect("IDLE", count)
    bytes_each = round(grown / count)
    _say(f"idle   {count} connections after boot: {bytes_each} bytes each")
    return {"connections": count, "bytes_a_connection": bytes_each}


# Processes ------------------------------------------------------------------------------------


@contextmanager
def _server(settings: Mapping[str, Any] = RAISED) -> Iterator[ServerProcess]:
    """The real server on a folder that is on a disk, not in memory."""
    with (
        tempfile.TemporaryDirectory(prefix="c-", dir=disk()) as folder,
        ServerProcess(Path(folder), settings=dict(settings)) as server,
    ):
        yield server
        server.stop()


def disk() -> Path:
    """Return a folder on a disk: where an fsync costs nothing, nothing is shown."""
    types = {
        Path(fields[1]): fields[2]
        for line in Path("/proc/mounts").read_text().splitlines()
        if len(fields := line.split()) > 2
    }
    for folder in (Path(tempfile.gettempdir()), Path("/var/tmp"), Path.home(), Path.cwd()):
        at = folder.resolve()
        while at not in types:
            at = at.parent
        if types[at] not in ("tmpfs", "ramfs"):
            return folder
    raise SystemExit("no folder of this machine is on a disk; set TMPDIR to one that is")


@contextmanager
def _peer() -> Iterator[tuple[int, int]]:
    """The peer's process; gives its number and port."""
    command = [sys.executable, "-m", "benchmarks.ocpp_peer"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process.pid, json.loads(process.stdout.readline())["port"]
        finally:
            process.terminate()


class Player:
    """A load generator's process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def tell(self, document: Mapping[str, Any]) -> Any:
        """Send one line and return the line that answers it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(document) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the load generator has given up: its error stands above"
        return json.loads(line)

    def turn(self, warm_up_s: float, seconds: float) -> Turn:
        """Let it play."""
        return Turn(**self.tell({"warm_up_s": warm_up_s, "seconds": seconds}))


@contextmanager
def playing(plan: Plan) -> Iterator[Player]:
    """A load generator whose stations are connected and booted."""
    command = [sys.executable, "-m", "benchmarks.ocpp_load"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            player = Player(process)
            player.tell(asdict(plan))
            yield player
        finally:
            process.terminate()


def register(server: ServerProcess, version: str, ids: list[str]) -> list[tuple[str, str]]:
    """Register stations, their tariff and their driver's token; return ids and passwords."""
    with server.client() as client:

        def send(method: str, path: str, body: object) -> dict[str, str]:
            answer = client.request(method, path, json=body)
            assert answer.is_success, answer.text
            return dict(answer.json())

        send("POST", "tariffs", TARIFF)
        send("POST", "id-tokens", {"id_token": ID_TOKEN, "type": "ISO14443"})
        registered = []
        for station_id in ids:
            facts = {
                "station_id": station_id,
                "manufacturer": "Bench",
                "model": "B1",
                "serial_number": station_id,
                "latitude": "52.37",
                "longitude": "4.89",
                "evse": "1:type2:22000",
                "profile": 1,
                "allow_plain": True,
                "ocpp": [version],
            }
            made = send("POST", "stations", facts)
            send("PUT", f"stations/{station_id}/tariff", {"tariff_id": "BENCH"})
            registered.append((station_id, made["password"]))
        return registered


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
