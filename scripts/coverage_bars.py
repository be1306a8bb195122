"""Fail if the branch coverage of a room is below its bar; print a table of all rooms."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

BARS = {"domain": 100.0, "proofs": 100.0, "app": 95.0, "eventlog": 95.0, "ocpp": 95.0}
"""Least branch coverage in per cent, of the rooms that are measured (pyproject.toml)."""


def main() -> int:
    """Read the last run's data and compare."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        command = [sys.executable, "-m", "coverage", "json", "-q", "-o", str(report)]
        subprocess.run(command, check=True)
        files = json.loads(report.read_text())["files"]
    rooms: dict[str, list[int]] = {}
    for name, measured in files.items():
        room = Path(name).parts[2]
        summary = measured["summary"]
        hit = summary["covered_lines"] + summary["covered_branches"]
        total = summary["num_statements"] + summary["num_branches"]
        counts = rooms.setdefault(room, [0, 0])
        counts[0] += hit
        counts[1] += total
    failed = []
    print(f"{'room':<16}{'covered':>9}{'bar':>7}")
    for room, (hit, total) in sorted(rooms.items()):
        covered = 100.0 * hit / total if total else 100.0
        bar = BARS.get(room)
        print(f"{room:<16}{covered:>8.1f}%{'' if bar is None else f'{bar:.0f}%':>7}")
        if bar is not None and covered < bar:
            failed.append(room)
    if failed:
        print(f"below the bar: {', '.join(failed)}; see `coverage report -m`", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
