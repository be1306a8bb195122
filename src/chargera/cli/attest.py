"""`chargera attest`: an independent attester, with nothing but key, credential, feed and trust."""

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chargera.cli.files import read_bytes
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from chargera.cli.output import note
from chargera.domain.errors import ChargEraError, Unreadable

if TYPE_CHECKING:
    from chargera.ledger.attester import Attester

POLL_S = 0.5
WAIT_S_MAX = 15.0


def attest(
    feed: Annotated[str, typer.Option("--feed", help="HTTP/api/v1/feed of the operator.")],
    credential: Annotated[Path, typer.Option("--credential", help="File with the bearer key.")],
    key: Annotated[Path, typer.Option("--key", help="File with the signing key.")],
    trust: Annotated[
        Path, typer.Option("--trust", help="deployment.json from a place that you trust.")
    ],
    once: Annotated[bool, typer.Option("--once", help="Answer what waits now, and end.")] = False,
    while_stdin_lasts: Annotated[
        bool, typer.Option("--while-stdin-lasts", hidden=True, help="End when stdin ends.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Check what waits for a signature; sign it or refuse it. One JSON line a decision."""
    from chargera.cli.serve import until_stopped

    async def run(stop: asyncio.Event) -> None:
        watch = asyncio.ensure_future(_stop_with_stdin(stop)) if while_stdin_lasts else None
        try:
            await _attest(feed, credential, key, trust, once, stop)
        finally:
            if watch is not None:
                watch.cancel()

    asyncio.run(until_stopped(run))


async def _stop_with_stdin(stop: asyncio.Event) -> None:
    """Stop when whoever started us is gone, however he went."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1):
        pass
    stop.set()


async def _attest(
    feed: str, credential: Path, key: Path, trust: Path, once: bool, stop: asyncio.Event
) -> None:
    from chargera.cli.verify import read_trust
    from chargera.ledger.attester import Attester, FeedClient, SignedMemory
    from chargera.ledger.chain_key import ChainKey
    from chargera.ledger.network_contracts import trusted_contracts

    trusted = read_trust(trust)
    if trusted.chain is None:
        raise Unreadable("the trust file names no chain", field="trust")
    client = FeedClient(feed, read_bytes(credential).decode("ascii", "replace").strip())
    signing_key = ChainKey.load(key)
    memory = SignedMemory(key.with_name(f"{key.name}.signed"))
    try:
        async with trusted_contracts(trusted.chain) as contracts:
            attester = Attester(signing_key, client, trusted, contracts, memory)
            await _answer(attester, once=once, stop=stop)
    finally:
        client.close()


async def _answer(attester: "Attester", *, once: bool, stop: asyncio.Event) -> None:
    """Answer whatever waits until told to stop; who does not answer is asked ever less often."""
    pause_s = POLL_S
    while not stop.is_set():
        try:
            for line in await attester.turn():
                print(json.dumps(line), flush=True)
            pause_s = POLL_S
        except ChargEraError as error:
            if once:
                raise
            pause_s = min(2 * pause_s, WAIT_S_MAX)
            note(f"waiting: {error.message}")
        if once:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_s)
