"""`chargera log` and `chargera anchor`: the event log and where its heads are anchored."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from chargera.cli.client import Server
from chargera.cli.files import read_bytes, write_whole
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, Limit, noun
from chargera.cli.output import Progress, progress, show, table
from chargera.cli.verify import read_trust, steps_text
from chargera.domain.errors import NotPermitted, Refused, Unreadable

if TYPE_CHECKING:
    from chargera.proofs.recompute import Recomputation

app = noun("log", "The tamper-evident event log.")
anchors = noun("anchor", "Where the log's heads stand on the ledger.")

ANCHOR_TIMEOUT_S = 180.0
LINES_MAX = 100
"""Most differences that are printed."""


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
    """Copy checkpoint and tiles, as any client of the log could, and its records.

    With --records `records.jsonl` has what entries commit to, `readings.jsonl` what those records
    commit to: enough to recompute every bill. A later export into the same folder adds what is new.
    """
    from chargera.proofs.checkpoint import parse_checkpoint
    from chargera.proofs.tiles import tiles_of

    server = Server(data_dir)
    _make(directory)
    with suppress(NotPermitted):  # others export what is signed already
        server.post("/log/head")
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
    document: dict[str, str | int | None] = {
        "directory": str(directory),
        "size": size,
        "tiles": len(tiles),
    }
    for name in ("records", "readings"):
        document[name] = _save_lines(server, directory, name, size) if records else None
    show(document, as_json)


def _save_lines(server: Server, directory: Path, name: str, size: int) -> int:
    """Write one of the streams that belong to the log, and return how many lines it has."""
    lines = _Lines()
    with progress(name) as report, server.stream(f"/log/{name}", size=size) as pieces:
        write_whole(directory / f"{name}.jsonl", lines.counted(pieces, report))
    return lines.count


@app.command()
def recompute(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="What `log export DIR --records` wrote.")
    ],
    trust: Annotated[
        Path | None, typer.Option("--trust", help="deployment.json from a place that you trust.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Recompute every bill from an export alone; needs no server.

    Exit 0: every bill is equal, 1: something differs, 2: unreadable, 3: could not be determined
    (no trusted key given, or records that the export has not got).
    """
    from chargera.proofs.export import ExportedLog
    from chargera.proofs.recompute import recompute as run

    believed = None if trust is None else read_trust(trust)
    with (
        _opened(directory / "records.jsonl") as records,
        _opened(directory / "readings.jsonl") as readings,
        progress("entries and sessions") as report,
    ):
        export = ExportedLog(
            read_bytes(directory / "checkpoint"),
            lambda tile: read_bytes(directory / tile.path),
            records,
            readings,
        )
        outcome = run(export, believed, lambda what, done, total: report(done, total))
    show(outcome.as_dict(), as_json, _recomputation_text(outcome))
    raise typer.Exit(outcome.exit_code)


def _recomputation_text(outcome: "Recomputation") -> str:
    lines = [steps_text(outcome.as_dict())]
    for currency, total in sorted(outcome.totals.items()):
        whole = ", ".join(f"{name} {value}" for name, value in total.as_dict().items())
        lines.append(f"{currency}: {whole}")
    lines += [
        f"entry {d.log_index}, session {d.session_id}: {d.step}: {d.detail}"
        for d in outcome.differences[:LINES_MAX]
    ]
    return "\n".join(lines)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise Unreadable(
            f"{path} cannot be read: {error.strerror}",
            field="directory",
            remedy="make the export with: chargera log export DIR --records",
        ) from error


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
