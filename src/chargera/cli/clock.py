"""`chargera clock`: the network's time."""

from typing import Annotated

import typer

from chargera.cli.client import Server
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, noun
from chargera.cli.output import show

app = noun("clock", "The network's time.")

ADVANCE_TIMEOUT_S = 3600.0


@app.command()
def advance(
    seconds: Annotated[float, typer.Argument(metavar="SECONDS", min=0)],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Move a manual clock; returns once all work that is due then is done."""
    body = {"seconds": seconds}
    show(
        Server(data_dir).post("/clock/advance", body, timeout_s=ADVANCE_TIMEOUT_S, repeat=False),
        as_json,
    )


@app.command()
def now(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Show the network's time."""
    show(Server(data_dir).get("/clock"), as_json)
