"""`python -m tests.doubles.hedera`: an emulator until it is interrupted; prints one JSON line."""

import argparse
import json
import signal
from threading import Event

from tests.doubles.hedera.emulator import CHAIN_ID, start, stop


def main() -> None:
    """Start, print what there is to know, wait for the end."""
    options = argparse.ArgumentParser(prog="python -m tests.doubles.hedera")
    options.add_argument("--grpc-port", type=int, default=0)
    options.add_argument("--mirror-port", type=int, default=0)
    options.add_argument("--mirrors", type=int, default=1)
    options.add_argument("--seed", default="chargera", help="the operator's test key is made of it")
    options.add_argument("--chain-id", type=int, default=CHAIN_ID)
    asked = options.parse_args()
    emulator = start(
        asked.seed,
        mirrors=asked.mirrors,
        grpc_port=asked.grpc_port,
        mirror_port=asked.mirror_port,
        chain_id=asked.chain_id,
    )
    ended = Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: ended.set())
    print(json.dumps(emulator.description()), flush=True)
    ended.wait()
    stop(emulator)


main()
