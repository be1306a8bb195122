"""The test command never leaves the real network out silently."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def said(**environment: str) -> str:
    known = {name: value for name, value in os.environ.items() if not name.startswith("OPERATOR")}
    done = subprocess.run(
        ["sh", "scripts/not-run"],
        cwd=ROOT,
        env={**known, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_without_an_account__the_last_lines_say_so_and_how_to() -> None:
    lines = said().splitlines()
    assert lines[0].startswith("NOT RUN: tests on a real network of Hedera")
    assert "OPERATOR_ID=" in lines[1]
    assert "OPERATOR_KEY=" in lines[1]
    assert lines[1].endswith("pytest -s tests/network")
    assert said(OPERATOR_ID="0.0.1") == ""
    # Whatever comes of the tests, it is the last that their command says.
    command = (ROOT / "scripts/test").read_text().splitlines()
    assert command[-1] == "sh scripts/not-run"
    assert command.count("    sh scripts/not-run") == 1


def test_without_an_account__pytest_says_so_too() -> None:
    known = {name: value for name, value in os.environ.items() if not name.startswith("OPERATOR")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/network"],
        cwd=ROOT,
        env=known,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5  # nothing was collected
    assert "NOT RUN: tests/network" in done.stdout
