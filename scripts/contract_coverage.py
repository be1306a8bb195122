"""Fail if tests reach less of a contract than its bar; reads contracts/coverage.lcov.

What they do not reach is named in `contracts/unreached.json` with its reason, by file and by the
text of its line, so that a new miss fails, and so does a reason for what is reached by now.
"""

import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

CONTRACTS = Path("contracts")
EXACT = {
    "BatchLib.sol",
    "Challenges.sol",
    "ChargerShares.sol",
    "HubBalances.sol",
    "HubEscrows.sol",
    "HubPayments.sol",
    "HubState.sol",
    "SettlementCourt.sol",
    "SettlementHub.sol",
    "Split.sol",
}
"""What holds money: every line and branch is reached, or has its reason."""
OTHERS = 95.0
"""Per cent of lines and of branches of every other contract, without reasons."""


@dataclass
class Reached:
    """One file: how many lines and branches there are, and the texts of those that were missed."""

    found: Counter[str] = field(default_factory=Counter)
    missed: list[tuple[str, str]] = field(default_factory=list)

    def per_cent(self, kind: str, excused: set[tuple[str, str]]) -> float:
        """Return what was reached of "line" or "branch"; what is excused counts as reached."""
        missed = sum(1 for miss in self.missed if miss[0] == kind and miss not in excused)
        return 100.0 * (1 - missed / self.found[kind]) if self.found[kind] else 100.0


def coverage() -> int:
    """Print a table of lines and branches a file, and compare; return the exit code."""
    reasons = json.loads((CONTRACTS / "unreached.json").read_text())
    files = _measured()
    faults = []
    print(f"{'contract':<28}{'lines':>9}{'branches':>10}{'bar':>7}{'excused':>9}")
    for name, it in sorted(files.items()):
        excused = {
            (kind, text)
            for kind in ("line", "branch")
            for text in reasons.get(name, {}).get(kind, {})
        }
        bar = 100.0 if name in EXACT else OTHERS
        figures = [it.per_cent(kind, excused) for kind in ("line", "branch")]
        count = sum(1 for miss in it.missed if miss in excused)
        print(f"{name:<28}{figures[0]:>8.1f}%{figures[1]:>9.1f}%{bar:>6.0f}%{count:>9}")
        if min(figures) < bar:
            faults += [
                f"{name}: not reached: {kind}: {text}"
                for kind, text in it.missed
                if (kind, text) not in excused
            ]
        faults += [f"{name}: reached, and excused: {text}" for _, text in excused - {*it.missed}]
    faults += [f"{name}: no such file" for name in EXACT | set(reasons) if name not in files]
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    return bool(faults)


def _measured() -> dict[str, Reached]:
    files: dict[str, Reached] = {}
    name, source = "", [""]
    for record in (CONTRACTS / "coverage.lcov").read_text().splitlines():
        key, _, value = record.partition(":")
        if key == "SF":
            name = Path(value).name if value.startswith("src/") else ""
            source = (CONTRACTS / value).read_text().splitlines() if name else [""]
        elif name and key in ("DA", "BRDA"):
            place, *_, hits = value.split(",")
            kind = "line" if key == "DA" else "branch"
            it = files.setdefault(name, Reached())
            it.found[kind] += 1
            if hits in ("0", "-"):
                it.missed.append((kind, source[int(place) - 1].strip()))
    if not files:
        sys.exit("contracts/coverage.lcov has no file of src: did forge coverage run?")
    return files


if __name__ == "__main__":
    sys.exit(coverage())
