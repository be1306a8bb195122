"""`chargera session open`: a session that a wallet pays, signed where its key is."""

import secrets
from pathlib import Path
from typing import Annotated

import typer

from chargera.cli.chain_access import load_key
from chargera.cli.client import Server
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from chargera.cli.output import show


def open_(
    station: Annotated[str, typer.Option("--station", help="The station's id.")],
    evse: Annotated[int, typer.Option("--evse")],
    asset: Annotated[str, typer.Option("--asset", help="Address of the token to pay in.")],
    max_: Annotated[
        int, typer.Option("--max", min=1, help="Most that the bill may draw, minor units.")
    ],
    key: Annotated[Path, typer.Option("--key", help="Key file of the wallet; it stays here.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Open an escrow for one session and start it; what is left comes back to the wallet."""
    from chargera.ledger.wallet import signed_escrow

    server, signing = Server(data_dir), load_key(key)
    terms = server.get("/payments/terms", payer=signing.address_text, asset=asset)
    body = signed_escrow(terms, signing, station, evse, max_, secrets.token_bytes)
    show(server.post("/payments", body), as_json)
