"""`chargera tariff`: publish OCPI 2.2.1 tariffs, and price sessions with them offline."""

from pathlib import Path
from typing import Annotated, Any

import typer

from chargera.cli.client import Server, path_part
from chargera.cli.files import read_bytes
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, noun
from chargera.cli.output import show, table
from chargera.domain.errors import Unreadable

app = noun("tariff", "Prices: OCPI 2.2.1 tariffs.")


@app.command("set")
def set_(
    file: Annotated[Path, typer.Argument(help="OCPI 2.2.1 Tariff object.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Publish a tariff, or its next version."""
    show(Server(data_dir).send("/tariffs", read_bytes(file), "application/json"), as_json)


@app.command("list")
def list_(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """List the current version of each tariff."""
    rows = Server(data_dir).get("/tariffs")
    show(rows, as_json, table(rows, ["tariff_id", "version", "currency", "published_at", "digest"]))


@app.command("show")
def show_(
    tariff_id: Annotated[str, typer.Argument(metavar="TARIFF_ID")],
    version: Annotated[int | None, typer.Option("--version", min=1)] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show a version of a tariff, the newest by default."""
    path = f"/tariffs/{path_part(tariff_id, 'tariff_id')}"
    show(Server(data_dir).get(path, version=version), as_json)


@app.command()
def price(
    file: Annotated[Path, typer.Argument(help="OCPI 2.2.1 Tariff object.")],
    cdr: Annotated[Path | None, typer.Option("--cdr", help="OCPI 2.2.1 CDR.")] = None,
    session: Annotated[
        Path | None, typer.Option("--session", help="{started_at, ended_at, readings, ...}")
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", help="Zone of local times; default UTC.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Price a CDR or a session by a tariff; needs no server."""
    from chargera.proofs import ocpi

    if (cdr is None) == (session is None):
        raise Unreadable(
            "give a CDR or a session", remedy="give exactly one of --cdr and --session"
        )

    def document(path: Path | None) -> Any:
        return None if path is None else ocpi.parse_json(read_bytes(path))

    bill = ocpi.price_documents(
        ocpi.parse_json(read_bytes(file)),
        cdr=document(cdr),
        session=document(session),
        time_zone=time_zone,
    )
    show(bill, as_json)
