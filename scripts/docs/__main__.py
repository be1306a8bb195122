"""Writes those parts of docs/ that are facts of the code.

Usage: .venv/bin/python -m scripts.docs          write them
       .venv/bin/python -m scripts.docs --check  name what is out of date, exit 1 if anything is

A part stands between `<!-- generated: NAME -->` and `<!-- /generated -->`; everything around it
is written by hand.
"""

import argparse
import re
import sys
from pathlib import Path

from scripts.docs.facts import PARTS, WordsMissing

DOCS = Path(__file__).resolve().parents[2] / "docs"
PART = re.compile(r"(<!-- generated: ([a-z0-9.-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)


def renewed(page: str, used: set[str]) -> str:
    """Return a page with its generated parts made again; their names are added to `used`."""

    def part(match: re.Match[str]) -> str:
        used.add(match[2])
        return f"{match[1]}\n{''.join(PARTS[match[2]]()).strip()}\n\n{match[3]}"

    return PART.sub(part, page)


def outdated(folder: Path) -> dict[Path, str]:
    """Return the pages that are out of date, as they should be.

    Raises WordsMissing for a fact without words, or a part that no page has.
    """
    used: set[str] = set()
    pages: dict[Path, str] = {}
    for path in sorted(folder.rglob("*.md")):
        page = path.read_text(encoding="utf-8")
        wanted = renewed(page, used)
        if wanted != page:
            pages[path] = wanted
    for name in sorted(PARTS.keys() - used):
        raise WordsMissing(f"no page has the part {name}")
    return pages


def main() -> int:
    """Write or check all pages."""
    parser = argparse.ArgumentParser(description="Write the generated parts of docs/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if outdated")
    check = parser.parse_args().check
    try:
        pages = outdated(DOCS)
    except WordsMissing as missing:
        sys.exit(f"scripts/docs: {missing}")
    for path, page in pages.items():
        if not check:
            path.write_text(page, encoding="utf-8")
        what = "out of date: run python -m scripts.docs" if check else "written"
        sys.stdout.write(f"{path.relative_to(DOCS.parent)}: {what}\n")
    return 1 if check and pages else 0


if __name__ == "__main__":
    sys.exit(main())
