"""Foreign judges over the log that the real server serves, between any two of its moments.

Part of `make test-tools`: needs Go, and `proofbundle` from PyPI.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import proofbundle
import pytest

from tests.tools.conftest import Network

sys.path.insert(0, str(Path(__file__).parent))  # these tools are scripts of their own

import go_tools  # after the path is known
from run_fsck import run_fsck


@pytest.fixture(scope="module")
def moments(
    network: Network, charged: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Files with the signed heads of several moments, as they stand on the topic."""
    assert charged
    folder = tmp_path_factory.mktemp("heads")
    files = []
    for number, head in enumerate(network.heads()):
        files.append(folder / f"checkpoint.{number}")
        files[-1].write_bytes(head)
    return files


@pytest.fixture(scope="module")
def vkey(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log's key as the trust file says it, which the log itself must serve alike."""
    [text] = json.loads(network.server.fetch("/deployment.json"))["log"]["vkeys"]
    assert network.server.fetch("/log/vkey").decode().strip() == text
    path = tmp_path_factory.mktemp("key") / "vkey"
    path.write_text(f"{text}\n")
    return path


def size(head: Path) -> int:
    return int(head.read_text().splitlines()[1])


def test_the_log__between_any_two_moments__has_only_grown(
    network: Network, moments: list[Path], vkey: Path
) -> None:
    sizes = [size(head) for head in moments]
    assert sizes == sorted(set(sizes))
    assert len(sizes) >= 3
    for head in moments:
        done = subprocess.run(
            [
                *[str(go_tools.logjudge()), "-log", f"{network.server.ready['http']}/log"],
                *["-vkey", str(vkey), "-old", str(head), "-sample", "0"],
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert f"consistency with the older head of {size(head)} entries" in done.stdout


def test_the_log__fsck_of_tessera__passes(
    network: Network, moments: list[Path], vkey: Path
) -> None:
    found, said = run_fsck(f"{network.server.ready['http']}/log", str(vkey), timeout_s=60)
    assert found is not None, said
    assert found >= size(moments[-1])


def test_receipts__proofbundle__finds_every_entry_of_the_bill(
    network: Network, charged: list[dict[str, Any]], vkey: Path, tmp_path: Path
) -> None:
    path = tmp_path / "receipt.json"
    receipts = []
    for row in charged:
        network.server.command("session", "receipt", row["session_id"], "-o", str(path))
        receipts.append(json.loads(path.read_text()))
    entries = log_entries(network)
    proofs = [entry["proof"] for receipt in receipts for entry in receipt["entries"]]
    assert len(proofs) >= 4 * len(charged)
    key = vkey.read_text().strip()
    for proof in proofs:
        index = index_of(proof)
        for number, right in ((index, True), (index - 1, False)):
            verdict = proofbundle.verify_tlog_proof(
                proof, entries[number], key, expected_origin=key.split("+")[0]
            )
            assert bool(verdict["ok"]) is right, verdict


def index_of(proof: str) -> int:
    """Return the place that a tlog-proof speaks of (C2SP tlog-proof: the line `index N`)."""
    [line] = [line for line in proof.splitlines() if line.startswith("index ")]
    return int(line.split()[1])


def log_entries(network: Network) -> list[bytes]:
    """Return the log's entries from its bundles (C2SP tlog-tiles: length and bytes of each)."""
    count = int(network.server.fetch("/log/checkpoint").splitlines()[1])
    assert count < 256_000, "one path element is enough here"
    entries: list[bytes] = []
    for bundle in range((count + 255) // 256):
        left = count - 256 * bundle
        part = f".p/{left}" if left < 256 else ""
        data = network.server.fetch(f"/log/tile/entries/{bundle:03}{part}")
        while data:
            length = int.from_bytes(data[:2])
            entries.append(data[2 : 2 + length])
            data = data[2 + length :]
    return entries
