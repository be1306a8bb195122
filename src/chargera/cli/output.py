"""What commands print: one JSON document, or text for people; messages go to stderr."""

import json
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from chargera.domain.errors import ChargEraError

Progress = Callable[[int, int | None], None]
"""Told how much of how much is done; None: how much there is cannot be known."""


def show(document: Any, as_json: bool, text: str | None = None) -> None:
    """Print a result: as JSON, or as `text` (a plain rendering if that is None)."""
    if as_json:
        print(json.dumps(document, ensure_ascii=False), flush=True)
    else:
        print(plain(document) if text is None else text, flush=True)


def note(text: str) -> None:
    """Tell people something that is no result."""
    print(text, file=sys.stderr, flush=True)


def show_error(error: ChargEraError, as_json: bool) -> None:
    """Say what is wrong, why, and what to do next; with `--json` as a document on stdout."""
    if as_json:
        print(json.dumps({"error": error.as_dict()}, ensure_ascii=False), flush=True)
    where = f" ({error.field})" if error.field else ""
    note(f"error: {error.message}{where}")
    if error.remedy:
        note(f"  next: {error.remedy}")


def plain(document: Any, columns: Mapping[str, Sequence[str]] | None = None) -> str:
    """Render a document for people: a list of objects as a table, an object as lines.

    Parts that have parts of their own follow under their names. `columns` says what the tables
    under some of these names show; otherwise it is everything.
    """
    match document:
        case list() if document and all(isinstance(row, Mapping) for row in document):
            if all(_is_flat(value) for row in document for value in row.values()):
                return table(document, list(document[0]))
            return "\n\n".join(plain(row, columns) for row in document)
        case list():
            return "\n".join(_cell(item) for item in document) or "(none)"
        case Mapping():
            return _lines(document, columns or {})
        case _:
            return _cell(document)


def _lines(document: Mapping[str, Any], columns: Mapping[str, Sequence[str]]) -> str:
    flat = {str(key): value for key, value in document.items() if _is_flat(value)}
    width = max(map(len, flat), default=0)
    lines = [f"{key:<{width}}  {_cell(value)}" for key, value in flat.items()]
    for key, value in document.items():
        if not _is_flat(value):
            chosen = columns.get(str(key))
            text = plain(value, columns) if chosen is None else table(value, chosen)
            lines += [f"{key}:", textwrap.indent(text, "  ")]
    return "\n".join(lines)


def _is_flat(value: Any) -> bool:
    """Tell whether a value fits into a cell: it is one, or a few that are."""
    if isinstance(value, list):
        return not any(isinstance(item, (list, Mapping)) for item in value)
    return not (isinstance(value, Mapping) and value)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Render rows as columns of text, each as wide as it needs."""
    if not rows:
        return "(none)"
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    lines = [list(columns), *cells]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case int() | float():
            return str(value)
        case list() if _is_flat(value):
            return ", ".join(map(_cell, value)) or "-"
        case _:
            return json.dumps(value, ensure_ascii=False)


@contextmanager
def progress(what: str) -> Iterator[Progress]:
    """Show a bar on stderr for work that may take long; silent where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
