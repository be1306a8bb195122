"""`chargera demo`: the whole network on this machine, with simulated stations."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Annotated

import typer

from chargera.cli.options import AsJson
from chargera.cli.output import note
from chargera.cli.serve import prepare_folder, until_stopped


def demo(
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Where it keeps everything.")] = Path(
        "chargera-demo"
    ),
    http_port: Annotated[
        int, typer.Option("--http-port", min=0, max=65_535, help="0: any free one.")
    ] = 0,
    ocpp_port: Annotated[
        int, typer.Option("--ocpp-port", min=0, max=65_535, help="0: any free one.")
    ] = 0,
    until_anchored: Annotated[
        bool,
        typer.Option("--until-anchored", help="End once sessions are billed and anchored."),
    ] = False,
    until_settled: Annotated[
        bool,
        typer.Option("--until-settled", help="End once two holders of a charger are paid."),
    ] = False,
    summary: Annotated[
        Path | None, typer.Option("--summary", help="File for what was done.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the network at work: stations, sessions, bills, receipts, an anchored log."""
    import logging
    import shutil
    import sys

    from chargera import telemetry
    from chargera.demo import DemoOptions, run_demo

    telemetry.configure_logging(level=logging.WARNING)
    options = DemoOptions(
        data_dir=data_dir,
        http_port=http_port,
        ocpp_port=ocpp_port,
        until_anchored=until_anchored,
        until_settled=until_settled,
        summary=summary,
        command="chargera" if shutil.which("chargera") else sys.argv[0],
    )
    say = note if as_json else _say
    prepare_folder(data_dir)
    if summary is not None:
        prepare_folder(summary.parent)

    async def play(stop: asyncio.Event) -> None:
        running = asyncio.ensure_future(run_demo(options, say))
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            if not running.done():
                running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    asyncio.run(until_stopped(play))
    if as_json:
        print(json.dumps(_summary(summary)), flush=True)


def _say(text: str) -> None:
    print(text, flush=True)


def _summary(path: Path | None) -> object:
    """Return the summary that was written, `{}` where none was asked for."""
    if path is None or not path.exists():
        return {}
    return json.loads(path.read_text(encoding="utf-8"))
