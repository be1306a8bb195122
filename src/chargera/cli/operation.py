"""`chargera backup`, `restore`, `openapi`, `settings`: running an installation."""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chargera import __version__
from chargera.cli.client import SERVE_FILE, Server
from chargera.cli.files import read_bytes, write_whole
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, noun
from chargera.cli.output import Progress, note, progress, show
from chargera.domain.errors import Conflict

if TYPE_CHECKING:
    from chargera.store.backup import Restored

settings_app = noun("settings", "Configuration of a data folder.")


@settings_app.callback()
def _settings() -> None:
    """Configuration of a data folder."""


@settings_app.command("show")
def show_settings(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Show every setting as a server here would see it; secrets are masked."""
    from chargera import settings

    shown = settings.shown(settings.load(data_dir, os.environ))
    lines = [
        f"{section}.{name} = {json.dumps(value)}"
        for section, members in shown.items()
        for name, value in members.items()
    ]
    show(shown, as_json, "\n".join(lines))


def backup(
    file: Annotated[Path, typer.Argument(help="File to write; it will hold secrets.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Write database, keys and settings of the running server into one file."""
    server = Server(data_dir)
    with progress("backup") as report, server.stream("/backup") as pieces:
        size = write_whole(file, _counted(pieces, report), private=True)
    show({"file": str(file), "bytes": size}, as_json, f"wrote {file} ({size} bytes)")
    note("It holds private keys: keep it where only you can read it.")


def restore(
    file: Annotated[Path, typer.Argument(help="A file of `chargera backup`.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="The newest signed head of the log that you know."),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Restore a backup into a new data folder (or the empty database of its settings).

    Refused where a head of the log is known that the backup does not reach.
    """
    if (data_dir / SERVE_FILE).exists():
        raise Conflict(
            f"a server runs for {data_dir}, or ended without cleaning up",
            field="data_dir",
            remedy=f"stop it; if none runs, remove {data_dir / SERVE_FILE}",
        )
    known = None if checkpoint is None else read_bytes(checkpoint)
    with progress("restore"):
        restored = _restore(file, data_dir, known)
    show(asdict(restored), as_json)
    note(f"Start it with: chargera serve --data-dir {data_dir}")


def _restore(file: Path, data_dir: Path, known: bytes | None) -> "Restored":
    from chargera import settings
    from chargera.store.backup import restore as restore_archive
    from chargera.store.postgres import EmbeddedPostgres

    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    url = settings.load(data_dir, os.environ).database.url
    if url is not None:
        return asyncio.run(restore_archive(file, url.get_secret_value(), data_dir, known))
    with EmbeddedPostgres(data_dir) as postgres:
        return asyncio.run(restore_archive(file, postgres.url(), data_dir, known))


def openapi(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Print the OpenAPI document of the REST API."""
    from chargera.web.api import openapi_document

    document = openapi_document(__version__)
    show(document, as_json, json.dumps(document, indent=2, ensure_ascii=False))


def _counted(pieces: Iterator[bytes], report: Progress) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        report(size, None)
        yield piece
