"""Builds the Go programs that judge the log; `python tests/tools/go_tools.py` builds them all.

They land in `build/tools/`. Needs Go 1.26 or newer and, the first time, the module proxy.
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "tools"
FSCK = "github.com/transparency-dev/tessera/cmd/fsck@v1.0.4"


@cache
def logjudge() -> Path:
    """The path of our own judge on golang.org/x/mod, built from tests/tools/logjudge."""
    return _go("logjudge", ["build", "-o", f"{FOLDER}/", "."], Path(__file__).parent / "logjudge")


@cache
def fsck() -> Path:
    """The path of Tessera's fsck, a published version of it."""
    return _go("fsck", ["install", FSCK], FOLDER)


def _go(name: str, command: list[str], folder: Path) -> Path:
    go = shutil.which("go")
    if go is None:
        sys.exit("Go is missing: install Go 1.26 or newer, the log's foreign judges need it")
    FOLDER.mkdir(parents=True, exist_ok=True)
    subprocess.run([go, *command], cwd=folder, check=True, env=os.environ | {"GOBIN": str(FOLDER)})
    return FOLDER / name


if __name__ == "__main__":
    print(logjudge())
    print(fsck())
