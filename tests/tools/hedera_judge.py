"""Runs the JavaScript SDK of Hedera, the judge in tests/tools/hedera_js, on an emulator."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.doubles.hedera import Emulator

FOLDER = Path(__file__).parent / "hedera_js"
JUDGE_S = 120


def run(emulator: Emulator, contract: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Run all scenarios; return what each has seen. `contract`: abi and bytecode of TestEuro."""
    return _node("judge.mjs", emulator.description(), contract)


def read(
    emulator: Emulator, topics: Mapping[str, int], calls: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Read so many messages of topics, and what calls (address, calldata; in hex) return.

    Returns `{"topics": {id: {"sequence_number", "running_hash", "messages"}}, "calls": [{"node",
    "mirror"}]}`, all bytes in hex: see read.mjs.
    """
    wanted = {"topics": topics, "calls": calls}
    (line,) = _node("read.mjs", emulator.description(), wanted)
    return line


def _node(program: str, *values: Any) -> list[dict[str, Any]]:
    """Run a program; return the lines of JSON that it prints. Fails if it does."""
    ended = subprocess.run(
        ["node", FOLDER / program, *(json.dumps(value) for value in values)],
        capture_output=True,
        text=True,
        timeout=JUDGE_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]
