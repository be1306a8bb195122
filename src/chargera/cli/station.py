"""`chargera station`: register, list, show, price, command and test charging stations."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from chargera.cli.chain_access import load_key
from chargera.cli.client import Server, path_part
from chargera.cli.files import key_text
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, Limit, noun
from chargera.cli.output import note, show, table
from chargera.cli.passport import owner_of, sign_consent
from chargera.domain.errors import InvalidInput

app = noun("station", "Charging stations: register, list, show, price, command, test.")

TEST_POLL_S = 0.3

REGISTERED = (
    *("station_id", "password", "registration", "passport_id"),
    *("registration_hash", "transaction_hash", "refusal"),
)
"""What `register` prints."""

StationId = Annotated[str, typer.Argument(metavar="STATION", help="The station's id.")]


@app.command()
def register(
    station_id: Annotated[str, typer.Option("--id", help="Its identity: the end of its URL.")],
    manufacturer: Annotated[str, typer.Option("--manufacturer")],
    model: Annotated[str, typer.Option("--model")],
    serial: Annotated[str, typer.Option("--serial", help="Its serial number.")],
    lat: Annotated[str, typer.Option("--lat", help="Latitude in decimal degrees.")],
    lon: Annotated[str, typer.Option("--lon", help="Longitude in decimal degrees.")],
    evse: Annotated[str, typer.Option("--evse", help='N:TYPE:WATTS,... "1:type2:22000".')],
    profile: Annotated[int, typer.Option("--profile", help="OCPP security profile: 1, 2, 3.")],
    time_zone: Annotated[str, typer.Option("--time-zone", help="IANA name.")] = "UTC",
    ocpp: Annotated[str, typer.Option("--ocpp", help="Versions it may speak.")] = "1.6,2.0.1",
    allow_plain: Annotated[
        bool, typer.Option("--allow-plain", help="Let it send its password without TLS.")
    ] = False,
    meter_key: Annotated[
        Path | None, typer.Option("--meter-key", help="Public key of its signing meter.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="Login of its host.")] = None,
    host_key: Annotated[
        Path | None, typer.Option("--host-key", help="Key file of its host; it stays here.")
    ] = None,
    consent: Annotated[
        Path | None, typer.Option("--consent", help="What the host has signed beforehand.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Register a station; its password is shown once. The same facts again change nothing."""
    body = {
        "station_id": station_id,
        "manufacturer": manufacturer,
        "model": model,
        "serial_number": serial,
        "latitude": lat,
        "longitude": lon,
        "evse": evse,
        "profile": profile,
        "time_zone": time_zone,
        "ocpp": [version.strip() for version in ocpp.split(",")],
        "allow_plain": allow_plain,
        "meter_key": None if meter_key is None else key_text(meter_key),
        "host": host,
        "owner": owner_of(host_key, consent),
    }
    server = Server(data_dir)
    registered = server.post("/stations", body)
    if host_key is not None:
        signature = sign_consent(registered, body, load_key(host_key))
        if signature is not None:
            named = path_part(station_id, "station_id")
            server.post(f"/passports/{named}/consent", {"signature": signature})
    show({name: registered[name] for name in REGISTERED}, as_json)
    if registered["password"] is None:
        note(
            "It was registered before. For a new password: chargera station password " + station_id
        )


@app.command("list")
def list_(
    data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False, limit: Limit = None
) -> None:
    """List the stations."""
    rows = Server(data_dir).rows("/stations", limit, "after")
    columns = ["station_id", "connected", "ocpp_version", "tariff_id", "open_sessions", "power_w"]
    show(rows, as_json, table(rows, columns))


@app.command("show")
def show_(
    station_id: StationId, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False
) -> None:
    """Show one station."""
    show(Server(data_dir).get(_path(station_id)), as_json)


@app.command()
def password(
    station_id: StationId,
    set_: Annotated[
        str | None, typer.Option("--set", help="20 to 40 characters; else one is generated.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Replace a station's password; the new one is shown once."""
    show(Server(data_dir).post(f"{_path(station_id)}/password", {"password": set_}), as_json)


@app.command()
def tariff(
    station_id: StationId,
    tariff_id: Annotated[str, typer.Argument(metavar="TARIFF_ID")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """From now on price the station's new sessions by this tariff."""
    show(Server(data_dir).put(f"{_path(station_id)}/tariff", {"tariff_id": tariff_id}), as_json)


@app.command()
def messages(
    station_id: StationId,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
    limit: Limit = None,
) -> None:
    """List the exchanges with a station, newest first."""
    rows = Server(data_dir).rows(f"{_path(station_id)}/messages", limit, "before")
    show(rows, as_json, table(rows, ["received_at", "inbound", "action", "outcome", "frame"]))


@app.command()
def command(
    station_id: StationId,
    command: Annotated[
        str,
        typer.Argument(metavar="COMMAND", help="remote-start, remote-stop, reset, trigger, unlock"),
    ],
    message: Annotated[
        str | None, typer.Argument(metavar="[MESSAGE]", help="What `trigger` asks for.")
    ] = None,
    evse: Annotated[int | None, typer.Option("--evse")] = None,
    connector: Annotated[int | None, typer.Option("--connector")] = None,
    id_token: Annotated[str | None, typer.Option("--id-token", help="Who starts.")] = None,
    session: Annotated[str | None, typer.Option("--session", help="What to stop.")] = None,
    hard: Annotated[bool, typer.Option("--hard", help="Reset without waiting.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Send a command and print the station's answer.

    Exit 0: accepted, 1: the station refused, 3: it gave no answer.
    """
    if message is not None and command != "trigger":
        raise InvalidInput(f"{command} takes no message", field="message", remedy="leave it out")
    if message is None and command == "trigger":
        raise InvalidInput(
            "trigger needs the message that it asks for",
            field="message",
            remedy=f"say for example: chargera station command {station_id} trigger Heartbeat",
        )
    body = {
        "command": command,
        "evse": evse,
        "connector": connector,
        "id_token": id_token,
        "session_id": session,
        "hard": hard,
        "message": message,
    }
    view = Server(data_dir).post(f"{_path(station_id)}/commands", body, timeout_s=120.0)
    answer = {name: view[name] for name in ("accepted", "answer", "session_id", "command_id")}
    show(answer, as_json)
    raise typer.Exit({True: 0, False: 1, None: 3}[view["accepted"]])


@app.command("test")
def make_test(
    station_id: StationId,
    evse: Annotated[
        int | None, typer.Option("--evse", help="Where to charge; else a free one.")
    ] = None,
    connector: Annotated[int | None, typer.Option("--connector")] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Reset the station as the last step.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Make the standard run of a connected station and print what became of each step.

    Exit 0: passed, 1: failed, 3: interrupted.
    """
    server, path = Server(data_dir), f"{_path(station_id)}/tests"
    run = server.post(path, {"evse": evse, "connector": connector, "reset": reset})
    if not as_json:
        note(f"standard run {run['run_id']} of OCPP {run['ocpp_version']}")
    told = 0
    while True:
        run = server.get(f"{path}/{run['run_id']}")
        if not as_json:
            for step in run["steps"][told:]:
                note(_step_text(step))
        told = len(run["steps"])
        if run["state"] != "running":
            break
        time.sleep(TEST_POLL_S)
    entry = f"{run['state']}: entry {run['log_index']} of the log"
    show(run, as_json, entry if run["reason"] is None else f"{entry}: {run['reason']}")
    raise typer.Exit({"passed": 0, "failed": 1, "interrupted": 3}[run["state"]])


@app.command("tests")
def list_tests(
    station_id: StationId, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False
) -> None:
    """List the standard runs of a station, newest first."""
    rows = Server(data_dir).get(f"{_path(station_id)}/tests")
    show(rows, as_json, table(rows, ["started_at", "ocpp_version", "state", "log_index", "run_id"]))


def _step_text(step: dict[str, Any]) -> str:
    return f"{step['number']:>2}  {step['outcome']:<14}  {step['step']:<17}  {step['detail']}"


def _path(station_id: str) -> str:
    return f"/stations/{path_part(station_id, 'station_id')}"
