"""`chargera log` and `chargera anchor`: the event log and where its heads are anchored."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from chargera.cli.client import Server
from chargera.cli.files import write_whole
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, Limit, noun
from chargera.cli.output import Progress, progress, show, table
from chargera.domain.errors import Refused

app = noun("log", "The tamper-evident event log.")
anchors = noun("anchor", "Where the log's heads stand on the ledger.")

ANCHOR_TIMEOUT_S = 180.0


@app.command()
def head(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Show how far the log is recorded, signed and anchored."""
    show(Server(data_dir).get("/log/head"), as_json)


@app.command()
def entry(
    log_index: Annotated[int, typer.Argument(metavar="N", min=0)],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show one entry: public envelope, and its record for who may read it."""
    show(Server(data_dir).get(f"/log/entries/{log_index}"), as_json)


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write into.")],
    records: Annotated[
        bool, typer.Option("--records", help="Also the records that the caller may read.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Copy checkpoint and tiles, as any client of the log could, and `records.jsonl`.

    A later export into the same folder adds what is new.
    """
    from chargera.proofs.checkpoint import parse_checkpoint
    from chargera.proofs.tiles import tiles_of

    server = Server(data_dir)
    _make(directory)
    note = server.file("/log/checkpoint")
    size = parse_checkpoint(note).size
    tiles = list(tiles_of(size))
    with progress("tiles") as report:
        for done, tile in enumerate(tiles, start=1):
            target = directory / tile.path
            if not target.exists():
                _make(target.parent)
                write_whole(target, [server.file(f"/log/{tile.path}")])
            report(done, len(tiles))
    write_whole(directory / "checkpoint", [note])  # last: what it names is there
    lines = _Lines()
    if records:
        with (
            progress("records") as report,
            server.stream("/log/records", size=size) as pieces,
        ):
            write_whole(directory / "records.jsonl", lines.counted(pieces, report))
    document = {"directory": str(directory), "size": size, "tiles": len(tiles)}
    document["records"] = lines.count if records else None
    show(document, as_json)


class _Lines:
    """Counts lines that pass by."""

    def __init__(self) -> None:
        self.count = 0

    def counted(self, pieces: Iterator[bytes], report: Progress) -> Iterator[bytes]:
        for piece in pieces:
            self.count += piece.count(b"\n")
            report(self.count, None)
            yield piece


@anchors.command()
def now(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Anchor the newest head; returns once its message has a sequence number."""
    show(Server(data_dir).post("/anchors", timeout_s=ANCHOR_TIMEOUT_S), as_json)


@anchors.command("list")
def list_(
    data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False, limit: Limit = None
) -> None:
    """List anchors, newest first."""
    rows = Server(data_dir).rows("/anchors", limit, "before")
    columns = ["tree_size", "state", "topic_id", "sequence_number", "consensus_timestamp"]
    show(rows, as_json, table(rows, columns))


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{directory} cannot be made: {error.strerror}", field="directory") from error
