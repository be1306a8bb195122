"""Charging while the topic is away: its p99 beside that of the same server with the topic there.

    python -m benchmarks outage [--seconds S] [--stations N] [--json] [--output FILE]

The real server anchors on the emulator of Hedera once a second, which is 3,600 times as often as
a network does by default. Three turns of one load: with the topic, with neither node nor mirror,
and with the topic again. What counts is how long stations wait for their answers; the bar is that
they wait no longer when every anchor fails. Afterwards one anchor must catch up.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.ocpp import PATIENCE_S, RAISED, WARM_UP_S, disk, playing, register
from benchmarks.ocpp_load import Plan
from scripts.demo_hedera import command, environment
from tests.doubles.hedera import Emulator, FaultKind, running_emulator
from tests.server import ServerProcess

RATIO_BAR = 1.5
"""Of the p99 without the topic to the larger of the two with it: what turns differ by anyhow."""
RESULT = Path(__file__).parent / "results" / "outage.json"


def main(arguments: list[str] | None = None) -> int:
    """Run, print a table on stderr and with `--json` the figures; return 1 if the bar is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks outage", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="measured time a turn")
    parser.add_argument("--stations", type=int, default=50, help="stations under load")
    parser.add_argument("--json", action="store_true", help="print the figures on stdout")
    parser.add_argument("--output", type=Path, default=RESULT, help="where they are written")
    options = parser.parse_args(arguments)
    result = asyncio.run(run(options.seconds, options.stations))
    text = json.dumps(result, indent=2)
    if options.json:
        print(text)
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(text + "\n")
    return 0 if all(bar["met"] for bar in result["bars"]) else 1


async def run(seconds: float, stations: int) -> dict[str, Any]:
    """Return all figures as a JSON document."""
    async with running_emulator(seed="outage") as emulator:
        with tempfile.TemporaryDirectory(prefix="c-", dir=disk()) as folder:
            return await asyncio.to_thread(_measure, emulator, Path(folder), seconds, stations)


def _measure(emulator: Emulator, folder: Path, seconds: float, stations: int) -> dict[str, Any]:
    command(emulator, "ledger", "init", "--yes", "--data-dir", str(folder))
    settings = {
        name.removeprefix("CHARGERA_"): value for name, value in environment(emulator).items()
    }
    settings |= {
        **{name: str(value) for name, value in RAISED.items()},
        "LEDGER_ANCHOR_INTERVAL_S": "1",
        "LOG_CHECKPOINT_INTERVAL_S": "1",
        "SETTLEMENT_ENABLED": "false",
    }
    turns = {}
    with ExitStack() as stack:
        server = stack.enter_context(ServerProcess(folder, settings=settings))
        registered = register(server, "2.0.1", [f"OUT-{n:03}" for n in range(stations)])
        port = int(server.ready["ocpp"].split(":")[2].partition("/")[0])
        plan = Plan("127.0.0.1", port, "2.0.1", server.process.pid, registered)
        load = stack.enter_context(playing(plan))
        turns["with the topic"] = load.turn(WARM_UP_S, seconds)
        before = _messages(server)
        for kind in (FaultKind.UNAVAILABLE, FaultKind.MIRROR_DOWN):
            emulator.faults.add(kind, times=None)
        turns["without it"] = load.turn(WARM_UP_S, seconds)
        without = _messages(server)
        emulator.faults.clear()
        caught_up_s = _wait_for_anchor(server, without)
        turns["with it again"] = load.turn(WARM_UP_S, seconds)
        after = _messages(server)
        server.stop()
    for name, turn in turns.items():
        rate = turn.window_messages / turn.window_s
        _say(f"{name:15} {rate:7.0f} msg/s  p50 {turn.p50_ms:6.2f} ms  p99 {turn.p99_ms:7.2f} ms")
    usual = max(turns["with the topic"].p99_ms, turns["with it again"].p99_ms)
    ratio = turns["without it"].p99_ms / usual
    met = ratio <= RATIO_BAR
    _say(f"p99 without it {ratio:.2f} x the usual <= {RATIO_BAR}  {'ok' if met else 'MISSED'}")
    _say(
        f"anchors: {before} before, {without - before} without it; caught up in {caught_up_s:.1f} s"
    )
    return {
        "benchmark": "outage",
        "machine": machine(),
        "stations": stations,
        "turns": {name: asdict(turn) for name, turn in turns.items()},
        "anchors": {"before": before, "without": without - before, "again": after - without},
        "caught_up_s": round(caught_up_s, 2),
        "bars": [
            {"name": "p99 ratio", "value": round(ratio, 2), "bar": RATIO_BAR, "met": met},
            {
                "name": "anchors without the topic",
                "value": without - before,
                "bar": 0,
                "met": without == before,
            },
        ],
    }


def _messages(server: ServerProcess) -> int:
    ((count,),) = server.query("select count(*) from anchor where state = 'anchored'")
    return int(count)


def _wait_for_anchor(server: ServerProcess, before: int) -> float:
    began_s = time.monotonic()
    while _messages(server) == before:
        if time.monotonic() - began_s > PATIENCE_S:
            raise AssertionError(f"no anchor {PATIENCE_S:g} s after the topic came back")
        time.sleep(0.05)
    return time.monotonic() - began_s


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
