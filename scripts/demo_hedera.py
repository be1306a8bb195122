"""The demonstration on an emulator of Hedera: the same network, with only the profile changed.

    make demo-hedera [ARGS="--until-settled --summary s.json"]

The emulator is a development tool of the checkout (tests/doubles/hedera says what it does not
imitate). Its operator's key is a test key. The network is initialised by `chargera ledger init`,
as on any other network of Hedera.
"""

import argparse
import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from chargera import telemetry
from chargera.bootstrap import Server
from chargera.demo import DemoLedger, DemoOptions, policy_settings, run_demo
from tests.doubles.hedera import Emulator, running_emulator

CLOCK_RATE = 30
"""A transaction of Hedera is valid for two minutes: at this pace for four seconds."""
CHAIN_ID = 298
NODE_ACCOUNT_ID = "0.0.3"


class ServersTime:
    """The time of the server, once it has begun to run its clock; before, this machine's."""

    def __init__(self) -> None:
        """Follow no server yet."""
        self.server: Server | None = None

    def now(self) -> datetime:
        """Return the time in UTC."""
        clock = getattr(self.server, "clock", None)
        return datetime.now(UTC) if clock is None else clock.now()

    def follow(self, server: Server) -> None:
        """Take the time of this server."""
        self.server = server


def hedera_settings(emulator: Emulator) -> dict[str, str]:
    """Return the section `hedera` of the settings for the emulator."""
    return {
        "nodes": f"{emulator.grpc_address}={NODE_ACCOUNT_ID}",
        "mirrors": emulator.mirror_url,
        "chain_id": str(CHAIN_ID),
        "operator_account": emulator.operator_id,
        "operator_key": emulator.operator_key_hex,
        "poll_s": "0.5",
    }


def environment(emulator: Emulator) -> dict[str, str]:
    """Return the environment with which any command works on the emulator."""
    sections: dict[str, dict[str, object]] = {
        **{name: dict(values) for name, values in policy_settings().items()},
        "hedera": dict(hedera_settings(emulator)),
    }
    sections["ledger"]["network"] = "custom"
    return {
        f"CHARGERA_{section}_{name}".upper(): str(value)
        for section, values in sections.items()
        for name, value in values.items()
    }


def command(emulator: Emulator, *arguments: str) -> None:
    """Run `chargera` with these arguments on the emulator. Raises CalledProcessError."""
    code = "from chargera.cli import main; main()"
    print(f"\n$ chargera {' '.join(arguments)}", flush=True)
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment(emulator)},
        check=True,
    )


def check_as_a_stranger(emulator: Emulator, log_url: str, kept: Path) -> None:
    """Verify every receipt and audit the network, by log, mirror and trust file alone."""
    sources = [
        *("--trust", str(kept / "deployment.json")),
        *("--anchors", f"mirror:{emulator.mirror_url}"),
        *("--rpc", f"mirror:{emulator.mirror_url}"),
    ]
    for receipt in sorted(kept.glob("*.receipt.json")):
        command(emulator, "verify", str(receipt), *sources)
    command(emulator, "audit", "--log", log_url, *sources)


Visit = Callable[[Emulator, Server, Path], Awaitable[None]]
"""Called at the end, while all still runs, with the folder of receipts and trust file."""


async def no_visit(emulator: Emulator, server: Server, kept: Path) -> None:
    """Nobody else looks."""


async def play(options: DemoOptions, visit: Visit = no_visit) -> None:
    """Start the emulator, initialise the network, run the demonstration, check what came of it."""
    time = ServersTime()
    async with running_emulator(clock=time) as emulator:
        print(f"An emulator of Hedera runs: node {emulator.grpc_address}, {emulator.mirror_url}")
        data_dir = str(options.data_dir)
        await asyncio.to_thread(
            command, emulator, "ledger", "init", "--yes", "--data-dir", data_dir
        )

        async def end(server: Server, kept: Path) -> None:
            await visit(emulator, server, kept)
            log_url = f"{server.http_url}/log"
            await asyncio.to_thread(check_as_a_stranger, emulator, log_url, kept)

        ledger = DemoLedger(
            label="an emulator of Hedera",
            settings={"ledger": {"network": "custom"}, "hedera": hedera_settings(emulator)},
            clock_rate=CLOCK_RATE,
            on_server=time.follow,
            on_end=end,
        )
        await run_demo(options, lambda text: print(text, flush=True), ledger)


def main() -> None:
    """Parse the arguments of `chargera demo` that make sense here, and play."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=Path("chargera-demo-hedera"))
    parser.add_argument("--http-port", type=int, default=0)
    parser.add_argument("--ocpp-port", type=int, default=0)
    parser.add_argument("--until-anchored", action="store_true")
    parser.add_argument("--until-settled", action="store_true")
    parser.add_argument("--summary", type=Path)
    telemetry.configure_logging(level=logging.WARNING)
    asyncio.run(play(DemoOptions(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
