"""Runs Tessera's fsck over a log: `python tests/tools/run_fsck.py URL VKEY_FILE`.

fsck ends with 0 also when it found the log wrong, and can wait for ever on a bad tile: what
counts is its last word, within a time limit. Exit 0: the log is right; 1: it is not.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import go_tools

SUCCESS = re.compile(r"Successfully fsck'd log with size (\d+)")


def run_fsck(url: str, vkey_file: str, timeout_s: float = 120) -> tuple[int | None, str]:
    """The size of the log that fsck found right (None: it did not), and all that it said."""
    with tempfile.NamedTemporaryFile("w") as key:
        key.write(Path(vkey_file).read_text().strip())  # fsck takes no newline at the end
        key.flush()
        return _judge(url, key.name, timeout_s)


def _judge(url: str, key_file: str, timeout_s: float) -> tuple[int | None, str]:
    command = [
        str(go_tools.fsck()),
        f"-storage_url={url.rstrip('/')}/",
        f"-public_key={key_file}",
        "-N=4",
        "-ui=false",
    ]
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        said = done.stdout
    except subprocess.TimeoutExpired as late:
        said = f"{(late.stdout or b'').decode()}\nno verdict within {timeout_s} s"
    verdict = SUCCESS.search(said)
    return (int(verdict[1]) if verdict else None), said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="address below which checkpoint and tile/ are served")
    parser.add_argument("vkey_file", help="file that holds the log's verifier key")
    parser.add_argument("--timeout", type=float, default=120, metavar="SECONDS")
    arguments = parser.parse_args()
    size, said = run_fsck(arguments.url, arguments.vkey_file, arguments.timeout)
    if size is None:
        print(said, file=sys.stderr)
        print("fsck: REFUSED", file=sys.stderr)
        return 1
    print(f"fsck: the log of {size} entries is right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
