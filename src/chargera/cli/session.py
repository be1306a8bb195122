"""`chargera session`: charging sessions, their receipts and CDRs, decisions on reviews."""

from pathlib import Path
from typing import Annotated

import typer

from chargera.cli.client import Server, path_part
from chargera.cli.files import write_whole
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, Limit, noun
from chargera.cli.output import plain, show, table
from chargera.cli.wallet import open_, refund

SHOWN = {
    "cdrs": ["cdr_id", "is_credit", "energy_wh", "gross_minor", "currency", "log_index"],
    "readings": ["n", "kind", "at", "register_wh", "power_w", "charging", "context"],
    "entries": ["log_index", "kind", "received_at"],
}
"""What the tables of one session show; with `--json` there is more."""

app = noun("session", "Charging sessions, receipts and CDRs.")
app.command("open")(open_)
app.command("refund")(refund)

SessionId = Annotated[str, typer.Argument(metavar="SESSION_ID")]
OutFile = Annotated[Path, typer.Option("--output", "-o", help="File to write.")]


@app.command("list")
def list_(
    station: Annotated[str | None, typer.Option("--station")] = None,
    state: Annotated[
        str | None, typer.Option("--state", help="charging, ended, billed, review, refused")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
    limit: Limit = None,
) -> None:
    """List sessions, newest first."""
    rows = Server(data_dir).rows("/sessions", limit, "before", station=station, state=state)
    columns = [
        "session_id",
        "station_id",
        "state",
        "started_at",
        "energy_wh",
        "gross_minor",
        "currency",
        "proof_level",
    ]
    show(rows, as_json, table(rows, columns))


@app.command("show")
def show_(
    session_id: SessionId, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False
) -> None:
    """Show one session with its readings, bills and log entries."""
    session = Server(data_dir).get(_path(session_id))
    show(session, as_json, plain(session, SHOWN))


@app.command()
def receipt(
    session_id: SessionId,
    output: OutFile,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Write the receipt that a stranger can check with `chargera verify`."""
    _save(Server(data_dir), session_id, "receipt", output, as_json)


@app.command()
def cdr(
    session_id: SessionId,
    output: OutFile,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Write the OCPI 2.2.1 CDR of a billed session with its tariff."""
    _save(Server(data_dir), session_id, "cdr", output, as_json)


@app.command()
def decide(
    session_id: SessionId,
    reason: Annotated[str, typer.Option("--reason", help="Why; it becomes a log entry.")],
    meter_start_wh: Annotated[int | None, typer.Option("--meter-start-wh")] = None,
    meter_stop_wh: Annotated[int | None, typer.Option("--meter-stop-wh")] = None,
    started_at: Annotated[str | None, typer.Option("--started-at")] = None,
    ended_at: Annotated[str | None, typer.Option("--ended-at")] = None,
    tariff: Annotated[str | None, typer.Option("--tariff", help="Id of the tariff.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Bill a session in review; what is left out stays as the station said."""
    body = {
        "reason": reason,
        "meter_start_wh": meter_start_wh,
        "meter_stop_wh": meter_stop_wh,
        "started_at": started_at,
        "ended_at": ended_at,
        "tariff_id": tariff,
    }
    show(Server(data_dir).post(f"{_path(session_id)}/decision", body, repeat=False), as_json)


def _save(server: Server, session_id: str, what: str, output: Path, as_json: bool) -> None:
    size = write_whole(output, [server.download(f"{_path(session_id)}/{what}")])
    document = {"session_id": session_id, "file": str(output), "bytes": size}
    show(document, as_json, f"wrote {output} ({size} bytes)")


def _path(session_id: str) -> str:
    return f"/sessions/{path_part(session_id, 'session_id')}"
