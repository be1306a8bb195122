"""Options that every command has: `--data-dir` and `--json`, after the subcommand."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_DATA_DIR = Path("chargera-data")

DataDir = Annotated[
    Path,
    typer.Option(
        "--data-dir",
        envvar="CHARGERA_DATA_DIR",
        help="The server's data folder; its serve.json says where the server is.",
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]

Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Print at most this many.")]


def noun(name: str, text: str) -> typer.Typer:
    """Return the group of commands of one noun."""
    return typer.Typer(name=name, help=text, no_args_is_help=True, rich_markup_mode=None)
