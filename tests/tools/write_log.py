"""Writes a signed log of made-up entries as static files: `python tests/tools/write_log.py DIR`.

In the folder: `checkpoint`, `tile/...`, `vkey`, and `checkpoint.SIZE` for each older head.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chargera.proofs.checkpoint import Checkpoint, sign_checkpoint
from chargera.proofs.note import VerifierKey
from chargera.proofs.tiles import Tile, grow
from chargera.proofs.tree import Frontier, leaf_hashes

ORIGIN = "log.example/c4e/1"
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = VerifierKey(ORIGIN, PRIVATE.public_key().public_bytes_raw())


def entry(number: int) -> bytes:
    return f'{{"number":{number}}}'.encode()


def write_log(folder: Path, sizes: list[int], entry_of: Callable[[int], bytes] = entry) -> None:
    """Grow a log in `folder` to each of `sizes` in turn, with a signed head at each."""

    def fetch(tile: Tile) -> bytes:
        return (folder / tile.path).read_bytes()

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vkey").write_text(f"{KEY}\n")
    frontier = Frontier()
    for size in sizes:
        entries = [entry_of(number) for number in range(frontier.size, size)]
        for tile, data in grow(frontier.size, entries, fetch):
            path = folder / tile.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        frontier = frontier.extended(leaf_hashes(entries))
        head = sign_checkpoint(Checkpoint(ORIGIN, size, frontier.root()), KEY, PRIVATE.sign)
        (folder / f"checkpoint.{size}").write_bytes(head)
        (folder / "checkpoint").write_bytes(head)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sizes", type=int, nargs="*", default=[300, 70_000])
    arguments = parser.parse_args()
    write_log(arguments.folder, arguments.sizes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
