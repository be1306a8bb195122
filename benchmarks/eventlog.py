"""Event log: appending against the limit of hashlib, proofs at a million entries, beside a peer.

    python -m benchmarks eventlog [--leaves N] [--output FILE]

Rates of a machine say little; so every append is measured beside what one leaf hash and one node
hash a record cost at least (the limit), runs taking turns, and the bar is the median quotient:

- batch append >= 0.5 of the limit;
- inclusion proof, consistency proof and the verification of each <= 50 us at 1,000,000 entries,
  from a tree in memory and, for the newest 50,000 entries, from the log's tiles on the disk.

The peer is PyPI `proofbundle` (pure Python, MIT), and `pymerkle` if somebody has installed it (GPL,
so it is no dependency of ours). What is not installed is reported as null.
"""

import argparse
import importlib
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chargera.eventlog.files import DurableFiles, OsDisk
from chargera.eventlog.tiles import Edge, StoredTiles
from chargera.proofs.checkpoint import Checkpoint, sign_checkpoint
from chargera.proofs.note import VerifierKey
from chargera.proofs.tiles import TILE_WIDTH, Tile, tile_reader
from chargera.proofs.tlog_proof import TlogProof
from chargera.proofs.tree import (
    Frontier,
    MemoryTree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    root_of,
    verify_consistency,
    verify_inclusion,
)

RATIO_BAR = 0.5
PROOF_BAR_US = 50.0
RECORD_SIZES = (200, 500, 1000)
APPEND_RECORDS = 65_536
BATCHES = (256, 4096)
ROUNDS = 7
SAMPLES = 2_000
COLD_SAMPLES = 200
RECENT = 50_000
PEER_LEAVES = 65_536


def main(arguments: list[str] | None = None) -> int:
    """Run, print a table on stderr and JSON on stdout; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks eventlog", description=__doc__)
    parser.add_argument("--leaves", type=int, default=1_000_000, help="size of the tree of proofs")
    parser.add_argument("--output", type=Path, help="write the JSON here too")
    options = parser.parse_args(arguments)
    result = run(options.leaves)
    text = json.dumps(result, indent=2)
    print(text)
    if options.output is not None:
        options.output.write_text(text + "\n")
    return 0 if all(bar["met"] for bar in result["bars"]) else 1


def run(leaves: int) -> dict[str, Any]:
    """Return all figures as a JSON document."""
    appends = [_append(size, batch) for size in RECORD_SIZES for batch in BATCHES]
    proofs = _proofs(leaves)
    bars = [
        _bar(
            f"append, {a['record_bytes']} B, batch {a['batch']}", a["ratio"], RATIO_BAR, least=True
        )
        for a in appends
    ]
    bars += [_bar(name, proofs[name], PROOF_BAR_US, least=False) for name in PROOF_TASKS]
    return {
        "benchmark": "eventlog",
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "processor": _processor(),
        },
        "append": appends,
        "proofs": proofs,
        "peers": {"proofbundle": _proofbundle(), "pymerkle": _pymerkle()},
        "bars": bars,
    }


# Appending -------------------------------------------------------------------------------------


def _append(record_bytes: int, batch: int) -> dict[str, Any]:
    """Appending in batches to the frontier and to tiles, each as a quotient of the limit."""
    random = Random(record_bytes)
    records = [random.randbytes(record_bytes) for _ in range(APPEND_RECORDS)]
    node = b"\x01" + bytes(64)

    def limit() -> None:
        for record in records:
            sha256(b"\x00" + record).digest()
            sha256(node).digest()

    def frontier() -> None:
        edge = Frontier()
        for start in range(0, len(records), batch):
            edge = edge.extended(leaf_hashes(records[start : start + batch]))
        edge.root()

    def tiles() -> None:
        edge = Edge()
        for start in range(0, len(records), batch):
            edge, _ = edge.grown(records[start : start + batch])
        edge.root()

    seconds = _taking_turns({"limit": limit, "frontier": frontier, "tiles": tiles})
    return {
        "record_bytes": record_bytes,
        "batch": batch,
        "records": len(records),
        "limit_per_s": _rate(len(records), seconds["limit"]),
        "append_per_s": _rate(len(records), seconds["frontier"]),
        "ratio": _quotient(seconds["limit"], seconds["frontier"]),
        "with_tiles_per_s": _rate(len(records), seconds["tiles"]),
        "with_tiles_ratio": _quotient(seconds["limit"], seconds["tiles"]),
    }


def _taking_turns(tasks: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(ROUNDS):
        for name, task in tasks.items():
            seconds[name].append(_timed(task))
    return seconds


# Proofs ----------------------------------------------------------------------------------------

PROOF_TASKS = (
    "inclusion_proof_us",
    "consistency_proof_us",
    "verify_inclusion_us",
    "verify_consistency_us",
    "recent_proof_from_tiles_us",
)


def _proofs(size: int) -> dict[str, Any]:
    """Median time of each operation at `size` leaves, in memory, and from tiles on the disk."""
    leaves = [_leaf(number) for number in range(size)]
    tree = MemoryTree(leaves)
    root = tree.root()
    random = Random(1)
    indexes = [random.randrange(size) for _ in range(SAMPLES)]
    sizes = [random.randrange(1, size) for _ in range(SAMPLES)]
    inclusion = [inclusion_proof(index, size, tree.node) for index in indexes]
    consistency = [consistency_proof(old, size, tree.node) for old in sizes]
    old_roots = [tree.root(old) for old in sizes]
    result = {
        "leaves": size,
        "inclusion_proof_us": _median_us(
            lambda index: inclusion_proof(index, size, tree.node), ([index] for index in indexes)
        ),
        "consistency_proof_us": _median_us(
            lambda old: consistency_proof(old, size, tree.node), ([old] for old in sizes)
        ),
        "verify_inclusion_us": _median_us(
            lambda index, proof: verify_inclusion(leaves[index], index, size, proof, root),
            zip(indexes, inclusion, strict=True),
        ),
        "verify_consistency_us": _median_us(
            lambda old, proof, old_root: verify_consistency(old, size, proof, old_root, root),
            zip(sizes, consistency, old_roots, strict=True),
        ),
    }
    result |= _stored_proofs(size, root, indexes[:COLD_SAMPLES], inclusion[:COLD_SAMPLES])
    return result


def _stored_proofs(
    size: int, root: bytes, indexes: list[int], expected: list[list[bytes]]
) -> dict[str, Any]:
    """Proofs as the log serves them, from tiles on the disk, and as a stranger checks them."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    key = VerifierKey("bench.example/log", private.public_key().public_bytes_raw())
    note = sign_checkpoint(Checkpoint(key.name, size, root), key, private.sign)
    random = Random(3)
    recent = [random.randrange(max(size - RECENT, 0), size) for _ in range(SAMPLES)]
    with tempfile.TemporaryDirectory() as folder:
        stored = _stored_tiles(size, Path(folder))
        read = stored.nodes(size)
        for index, proof in zip(indexes, expected, strict=True):
            assert inclusion_proof(index, size, read) == proof
        cold_us = _median_us(
            lambda index: inclusion_proof(index, size, tile_reader(size, stored.fetch)),
            ([index] for index in indexes),
        )
        for index in recent:
            inclusion_proof(index, size, read)
        recent_us = _median_us(
            lambda index: inclusion_proof(index, size, read), ([index] for index in recent)
        )
    proofs = [
        (_leaf(index), TlogProof(index, tuple(proof), note))
        for index, proof in zip(indexes, expected, strict=True)
    ]
    return {
        "recent_proof_from_tiles_us": recent_us,
        "cold_proof_from_tiles_us": cold_us,
        "verify_tlog_proof_us": _median_us(
            lambda leaf, proof: proof.verify(leaf, key.name, [key]), proofs
        ),
        "tlog_proof_bytes": len(proofs[0][1].to_bytes()),
    }


def _stored_tiles(size: int, folder: Path) -> StoredTiles:
    """Write the hash tiles of the tree of `_proofs`, unsynced, and return their reader."""
    disk, row, level = OsDisk(folder), [_leaf(number) for number in range(size)], 0
    while row:
        full = []
        for start in range(0, len(row), TILE_WIDTH):
            hashes = row[start : start + TILE_WIDTH]
            disk.write(Tile(level, start // TILE_WIDTH, len(hashes)).path, b"".join(hashes))
            if len(hashes) == TILE_WIDTH:
                full.append(root_of(hashes))
        row, level = full, level + 1
    return StoredTiles(DurableFiles(disk))


def _leaf(number: int) -> bytes:
    return sha256(number.to_bytes(8)).digest()


# Peers -----------------------------------------------------------------------------------------


def _proofbundle() -> dict[str, Any] | None:
    """PyPI proofbundle keeps no tree: a root or a proof starts from all leaves each time."""
    peer = _optional("proofbundle.merkle")
    if peer is None:
        return None
    records = [number.to_bytes(200) for number in range(PEER_LEAVES)]
    tree = MemoryTree(leaf_hashes(records))
    root = tree.root()
    indexes = Random(2).sample(range(PEER_LEAVES), 500)
    proofs = [inclusion_proof(index, PEER_LEAVES, tree.node) for index in indexes]
    started = time.perf_counter()
    assert peer.merkle_tree_hash(records) == root
    build_s = time.perf_counter() - started
    started = time.perf_counter()
    assert peer.inclusion_proof(records, indexes[0]) == proofs[0]
    prove_s = time.perf_counter() - started

    def verify(index: int, proof: list[bytes]) -> None:
        assert peer.verify_inclusion(records[index], index, PEER_LEAVES, proof, root)

    def ours(index: int, proof: list[bytes]) -> None:
        verify_inclusion(leaf_hash(records[index]), index, PEER_LEAVES, proof, root)

    return {
        "leaves": PEER_LEAVES,
        "root_per_s": round(PEER_LEAVES / build_s),
        "ours_root_per_s": _rate(
            PEER_LEAVES, [_timed(lambda: Frontier().extended(leaf_hashes(records)).root())]
        ),
        "inclusion_proof_us": round(prove_s * 1e6, 1),
        "verify_inclusion_us": _median_us(verify, zip(indexes, proofs, strict=True)),
        "ours_verify_inclusion_us": _median_us(ours, zip(indexes, proofs, strict=True)),
    }


def _pymerkle() -> dict[str, Any] | None:
    """PyPI pymerkle keeps a tree in memory and agrees with ours on roots and audit paths."""
    peer = _optional("pymerkle")
    if peer is None:
        return None
    records = [number.to_bytes(200) for number in range(PEER_LEAVES)]
    tree = peer.InmemoryTree(algorithm="sha256")
    started = time.perf_counter()
    for record in records:
        tree.append_entry(record)
    build_s = time.perf_counter() - started
    assert tree.get_root() == Frontier().extended(leaf_hashes(records)).root()
    indexes = Random(2).sample(range(PEER_LEAVES), 500)
    return {
        "leaves": PEER_LEAVES,
        "append_per_s": round(PEER_LEAVES / build_s),
        "inclusion_proof_us": _median_us(
            lambda index: tree.prove_inclusion(index + 1, PEER_LEAVES),
            ([index] for index in indexes),
        ),
    }


def _optional(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"{name} is not installed: its column is null", file=sys.stderr)
        return None


# Measuring -------------------------------------------------------------------------------------


def _timed(task: Callable[[], object]) -> float:
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


def _median_us(task: Callable[..., object], arguments: Iterable[Sequence[Any]]) -> float:
    times = []
    for values in arguments:
        started = time.perf_counter()
        task(*values)
        times.append(time.perf_counter() - started)
    return round(statistics.median(times) * 1e6, 1)


def _rate(count: int, seconds: list[float]) -> int:
    return round(count / statistics.median(seconds))


def _quotient(limit: list[float], ours: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(limit, ours, strict=True)), 2)


def _bar(name: str, value: float, bar: float, *, least: bool) -> dict[str, Any]:
    met = value >= bar if least else value <= bar
    relation, verdict = ">=" if least else "<=", "ok" if met else "MISSED"
    print(f"{name:32} {value:8} {relation} {bar}  {verdict}", file=sys.stderr)
    return {"name": name, "value": value, "bar": bar, "met": met}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    raise SystemExit(main())
