"""`chargera token`: identifiers of drivers."""

from pathlib import Path
from typing import Annotated

import typer

from chargera.cli.client import Server
from chargera.cli.files import read_bytes
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, Limit, noun
from chargera.cli.output import show, table

app = noun("token", "Drivers' identifiers (RFID cards and the like).")

IdToken = Annotated[str, typer.Argument(metavar="ID_TOKEN", help="As the station reads it.")]


Kind = Annotated[str | None, typer.Option("--type", help="Its type, if the value has several.")]


@app.command()
def add(
    id_token: IdToken,
    kind: Annotated[str, typer.Option("--type", help="OCPP IdTokenType.")] = "ISO14443",
    blocked: Annotated[bool, typer.Option("--blocked")] = False,
    expires: Annotated[str | None, typer.Option("--expires", help="RFC 3339 time.")] = None,
    login: Annotated[str | None, typer.Option("--login", help="Whose it is.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Register an identifier."""
    body = {
        "id_token": id_token,
        "type": kind,
        "blocked": blocked,
        "expires_at": expires,
        "login": login,
    }
    show(Server(data_dir).post("/id-tokens", body), as_json)


@app.command("list")
def list_(
    data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False, limit: Limit = None
) -> None:
    """List the registered identifiers."""
    rows = Server(data_dir).rows("/id-tokens", limit, "after")
    columns = ["id_token", "type", "status", "expires_at", "login"]
    show(rows, as_json, table(rows, columns))


@app.command()
def block(
    id_token: IdToken,
    kind: Kind = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Block an identifier: it starts no session any more."""
    body = {"id_token": id_token, "type": kind, "blocked": True}
    show(Server(data_dir).post("/id-tokens/block", body), as_json)


@app.command()
def unblock(
    id_token: IdToken,
    kind: Kind = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Let a blocked identifier charge again."""
    body = {"id_token": id_token, "type": kind, "blocked": False}
    show(Server(data_dir).post("/id-tokens/block", body), as_json)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV: id_token,type,blocked,expires_at,login")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Add or change all identifiers of a CSV file, or none of them."""
    show(Server(data_dir).send("/id-tokens/import", read_bytes(file), "text/csv"), as_json)


@app.command()
def erase(
    id_token: IdToken,
    reason: Annotated[str, typer.Option("--reason")] = "asked for by the person",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Forget a person's identifier everywhere, of whatever type; the log goes on verifying."""
    body = {"id_token": id_token, "reason": reason}
    show(Server(data_dir).post("/id-tokens/erase", body), as_json)
