"""`chargera serve`: the server, until it is told to stop."""

import asyncio
import contextlib
import gc
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from chargera.cli.output import note
from chargera.domain.errors import InvalidInput, Refused

if TYPE_CHECKING:
    from chargera.bootstrap import ServeOptions
    from chargera.settings import Settings

GC_NEW_OBJECTS = 20_000
"""Objects that may be made before the collector looks at them; the default is 700."""

FREE_BYTES_MIN = 64 * 2**20
"""Room that a new network takes: its database above all."""

Port = Annotated[int, typer.Option(min=0, max=65_535)]


def serve(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    http_port: Annotated[
        int, typer.Option("--http-port", min=0, max=65_535, help="0: any free one.")
    ] = 8080,
    ocpp_port: Annotated[
        int, typer.Option("--ocpp-port", min=0, max=65_535, help="0: any free one.")
    ] = 9000,
    ocpp_tls_port: Annotated[
        int | None,
        typer.Option("--ocpp-tls-port", min=0, max=65_535, help="OCPP over TLS, profile 2."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="Its certificate; without one a test CA's.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", help="The certificate's key.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    http_host: Annotated[
        str | None, typer.Option("--http-host", help="Address for pages and REST, if another.")
    ] = None,
    clock: Annotated[
        Literal["system", "manual"],
        typer.Option("--clock", help="manual: it moves by `clock advance` alone."),
    ] = "system",
    clock_rate: Annotated[
        float, typer.Option("--clock-rate", help="Network seconds in a real one.")
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Run the server; prints one line of JSON when all is up. SIGTERM stops it."""
    if (tls_cert is None) != (tls_key is None):
        raise InvalidInput(
            "a certificate and its key belong together",
            field="tls_key" if tls_key is None else "tls_cert",
            remedy="give --tls-cert and --tls-key, or neither",
        )
    from chargera import settings, telemetry
    from chargera.bootstrap import ServeOptions

    prepare_folder(data_dir)
    telemetry.configure_logging()
    options = ServeOptions(
        data_dir=data_dir,
        http_port=http_port,
        ocpp_port=ocpp_port,
        ocpp_tls_port=ocpp_tls_port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        manual_clock=clock == "manual",
        clock_rate=clock_rate,
        host=host,
        http_host=http_host,
    )
    configured = settings.load(data_dir, os.environ)
    asyncio.run(until_stopped(lambda stop: _serve(options, configured, stop)))


def prepare_folder(data_dir: Path, free_bytes_min: int = FREE_BYTES_MIN) -> None:
    """Make the data folder; raise Refused for one that cannot be written to, or has no room.

    Only a folder that is empty needs `free_bytes_min` of it.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
        free = shutil.disk_usage(data_dir).free
        is_new = not any(data_dir.iterdir())
    except OSError as error:
        raise Refused(
            f"the data folder {data_dir} cannot be used: {error.strerror}",
            field="data_dir",
            remedy="name a folder that this account may write to",
        ) from error
    if is_new and free < free_bytes_min:
        raise Refused(
            f"{data_dir} has {free // 2**20} MiB free, and a new network takes"
            f" {free_bytes_min // 2**20} MiB",
            field="data_dir",
            remedy="make room, or name a folder on another disk",
        )


async def _serve(options: "ServeOptions", configured: "Settings", stop: asyncio.Event) -> None:
    from chargera.bootstrap import running

    async with running(options, configured) as server:
        if server.operator_password is not None:
            note(
                "first start: sign in as `operator` with the password"
                f" {server.operator_password} (shown once)"
            )
        _spare_what_stays()
        print(json.dumps(server.ready_line), flush=True)
        await stop.wait()


def _spare_what_stays() -> None:
    """Have the garbage collector look at what is new, and seldom.

    What is there once all is up stays to the end, and the states of stations form no cycles:
    with the defaults a twelfth of the processor time goes into looking at them again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_NEW_OBJECTS, 20, 50)


async def until_stopped(body: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `body`; SIGTERM and SIGINT set its event, a second one cancels what is left of it."""
    stop = asyncio.Event()
    task = asyncio.ensure_future(body(stop))

    def told_to_stop() -> None:
        if stop.is_set():
            task.cancel()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop)
    waiting = asyncio.ensure_future(stop.wait())
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        await task
    waiting.cancel()
