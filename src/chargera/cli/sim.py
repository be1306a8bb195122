"""`chargera sim`: stations in software, speaking real OCPP as a stranger would."""

import asyncio
import ipaddress
import logging
import ssl
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from chargera.cli.files import read_bytes
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, noun
from chargera.cli.output import show
from chargera.cli.serve import until_stopped
from chargera.domain.errors import InvalidInput, Unreadable

if TYPE_CHECKING:
    from chargera.sim.link import Access
    from chargera.sim.play import Script
    from chargera.sim.station import Tally

REACH_S = 60.0
"""How long a station with sessions to play tries to be accepted before it gives up."""

app = noun("sim", "Simulated stations.")


@app.callback()
def _sim() -> None:
    """Simulated stations."""


@app.command()
def station(
    url: Annotated[str, typer.Option("--url", help="ws:// or wss://, without the station's id.")],
    station_id: Annotated[str, typer.Option("--id")],
    password: Annotated[str, typer.Option("--password")],
    ocpp: Annotated[str, typer.Option("--ocpp", help="1.6 or 2.0.1")],
    sessions: Annotated[
        int | None, typer.Option("--sessions", min=0, help="How many; none: stay and obey.")
    ] = None,
    meter_key: Annotated[
        Path | None, typer.Option("--meter-key", help="PKCS8 key: the meter signs its values.")
    ] = None,
    id_token: Annotated[
        str | None, typer.Option("--id-token", help="Who charges; default SIM-DRIVER.")
    ] = None,
    evse: Annotated[
        str, typer.Option("--evse", help="N:TYPE:WATTS,... as registered.")
    ] = "1:type2:22000",
    ca_file: Annotated[
        Path | None,
        typer.Option(
            "--ca-file",
            help="Authority of the server's certificate, else the system's; without it a server on"
            " this machine may have any certificate.",
        ),
    ] = None,
    memory: Annotated[
        Path | None, typer.Option("--memory", help="File that keeps register and page count.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Run one software station: a number of sessions, or until it is stopped."""
    from chargera.domain.station import OcppVersion, parse_evses
    from chargera.sim.play import ID_TOKEN, Script

    if ocpp not in tuple(OcppVersion):
        raise InvalidInput(
            f"'{ocpp[:16]}' is not a version that the station speaks",
            field="ocpp",
            remedy=f"use one of {', '.join(OcppVersion)}",
        )
    logging.basicConfig(format="%(message)s")
    logging.getLogger("chargera.sim").setLevel(logging.INFO)
    script = Script(
        _access(url, station_id, password, ca_file),
        OcppVersion(ocpp),
        sessions,
        id_token=id_token or ID_TOKEN,
        meter_pem=None if meter_key is None else read_bytes(meter_key),
        memory_file=memory,
        connectors=parse_evses(evse),
        reach_s=None if sessions is None else REACH_S,
    )
    tally = asyncio.run(_played(script))
    show(asdict(tally), as_json)


def _access(url: str, station_id: str, password: str, ca_file: Path | None) -> "Access":
    """Return where the station connects.

    Raises InvalidInput for an address that is none, Unreadable for a file without a certificate.
    """
    from chargera.sim.link import Access

    try:
        parts = urlsplit(url)
        host, is_address = parts.hostname, parts.port != 0
    except ValueError:
        host, is_address = None, False
    if parts.scheme not in ("ws", "wss") or not host or not is_address:
        raise InvalidInput(
            f"'{url[:100]}' is no address of a WebSocket",
            field="url",
            remedy="give ws://HOST:PORT/ocpp or wss://HOST:PORT/ocpp, as `serve` prints them",
        )
    if ca_file is None:
        return Access(url, station_id, password, is_checked=not _is_this_machine(host))
    try:
        ssl.create_default_context(cadata=read_bytes(ca_file).decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise Unreadable(
            f"{ca_file} holds no certificate in PEM",
            field="ca_file",
            remedy="give the file of the server's authority",
        ) from None
    return Access(url, station_id, password, str(ca_file))


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _played(script: "Script") -> "Tally":
    """Play until the end or until a signal, and return what was done."""
    from chargera.sim.play import play
    from chargera.sim.station import Tally

    done: list[Tally] = []

    async def body(stop: asyncio.Event) -> None:
        done.append(await play(script, stop))

    await until_stopped(body)
    return done[0] if done else Tally()
