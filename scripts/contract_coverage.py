"""Fail if a contract is covered less than its bar; reads contracts/coverage.lcov."""

import json
import sys
from pathlib import Path

CONTRACTS = Path("contracts")
BARS = {"SettlementHub.sol": 100.0, "ChargerShares.sol": 100.0}
"""Per cent of lines and of branches; every other contract has `OTHERS`."""
OTHERS = 95.0
UNREACHABLE = CONTRACTS / "unreachable.json"
"""Branches that no call can reach, by file: how many, and why."""


def coverage() -> int:
    """Print a table of lines and branches a file, and compare."""
    unreachable = json.loads(UNREACHABLE.read_text()) if UNREACHABLE.exists() else {}
    failed = []
    print(f"{'contract':<28}{'lines':>9}{'branches':>10}{'bar':>7}")
    for name, (lines, branches) in sorted(_measured().items()):
        excused = unreachable.get(name, {}).get("branches", 0)
        figures = (_per_cent(*lines), _per_cent(branches[0] + excused, branches[1]))
        bar = BARS.get(name, OTHERS)
        print(f"{name:<28}{figures[0]:>8.1f}%{figures[1]:>9.1f}%{bar:>6.0f}%")
        if min(figures) < bar:
            failed.append(name)
    if failed:
        print(f"below the bar: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


def _measured() -> dict[str, tuple[list[int], list[int]]]:
    """Return [hit, found] of lines and of branches for each file of `src`."""
    files: dict[str, tuple[list[int], list[int]]] = {}
    name = ""
    for line in (CONTRACTS / "coverage.lcov").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == "SF":
            name = Path(value).name if value.startswith("src/") else ""
        elif name and key in ("LH", "LF", "BRH", "BRF"):
            lines, branches = files.setdefault(name, ([0, 0], [0, 0]))
            counts = branches if key.startswith("BR") else lines
            counts[key.endswith("F")] += int(value)
    if not files:
        sys.exit("contracts/coverage.lcov has no file of src: did forge coverage run?")
    return files


def _per_cent(hit: int, found: int) -> float:
    return 100.0 * hit / found if found else 100.0


if __name__ == "__main__":
    sys.exit(coverage())
