"""Fail if contracts are covered less than their bar, or if a storage layout has changed.

`coverage` reads contracts/coverage.lcov; `storage` compares what the compiler says with the
committed layouts, `storage --write` commits to new ones (a change breaks upgrades: see the notice
base before you do).
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CONTRACTS = Path("contracts")
LAYOUTS = CONTRACTS / "snapshots" / "storage"
BARS = {"SettlementHub.sol": 100.0, "ChargerShares.sol": 100.0}
"""Per cent of lines and of branches; every other contract has `OTHERS`."""
OTHERS = 95.0
UNREACHABLE = CONTRACTS / "unreachable.json"
"""Branches that no call can reach, by file: how many, and why."""
STORED = (
    "C4EToken",
    "ChargerPassport",
    "ChargerShares",
    "NetworkPolicy",
    "AttesterRegistry",
    "SettlementHub",
    "EmissionController",
    "TestEuro",
)


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


def storage(*, write: bool) -> int:
    """Compare each contract's storage layout with the committed one."""
    changed = []
    for name in STORED:
        path = LAYOUTS / f"{name}.json"
        text = json.dumps(_layout(name), indent=1) + "\n"
        if write:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            changed.append(name)
    if changed:
        print(f"storage layout is not as committed: {', '.join(changed)}", file=sys.stderr)
    return bool(changed)


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


def _layout(contract: str) -> list[dict[str, Any]]:
    """Return what upgrades must keep: label, slot, offset and type of each variable."""
    command = ["node_modules/.bin/forge", "inspect", contract, "storage-layout", "--json"]
    done = subprocess.run(command, cwd=CONTRACTS, check=True, capture_output=True, text=True)
    layout = json.loads(done.stdout)
    names = {key: kind["label"] for key, kind in (layout["types"] or {}).items()}
    return [
        {
            "label": variable["label"],
            "offset": variable["offset"],
            "slot": variable["slot"],
            "type": names[variable["type"]],
        }
        for variable in layout["storage"]
    ]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["coverage"]:
            sys.exit(coverage())
        case ["storage", *rest]:
            sys.exit(storage(write="--write" in rest))
        case _:
            sys.exit("usage: contract_bars.py coverage | storage [--write]")
