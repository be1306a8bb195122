"""What the log promises, checked as a stranger would: with its files, and with nothing of ours.

A server charges and bills for some seconds while its heads are watched; then it is stopped, and
what was downloaded has to do.
"""

import asyncio
import base64
import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.integration.durability.ordeal import Ordeal
from tests.server import COMMAND, ServerProcess, data_folder

CHECKPOINT_S = 2
ANCHOR_S = 4
SLACK = timedelta(seconds=4)
"""A quarter of a second between two looks at what is due, and a very busy machine."""

SETTINGS = {"LOG_CHECKPOINT_INTERVAL_S": CHECKPOINT_S, "LEDGER_ANCHOR_INTERVAL_S": ANCHOR_S}


@dataclass(frozen=True, slots=True)
class Published:
    """All that a stranger got hold of."""

    folder: Path
    heads: dict[int, bytes]
    seen_at: dict[int, datetime]
    vkey: str
    anchored: list[dict[str, Any]]
    hole_of: str

    @property
    def entries(self) -> list[bytes]:
        """The entries of the export, in order."""
        found: list[bytes] = []
        bundles = sorted(
            (path for path in self.folder.rglob("tile/entries/**/*") if path.is_file()),
            key=lambda path: path.relative_to(self.folder).parts[2].removesuffix(".p"),
        )
        for bundle in bundles:
            data = bundle.read_bytes()
            while data:
                size = int.from_bytes(data[:2])
                found.append(data[2 : 2 + size])
                data = data[2 + size :]
        return found


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    with data_folder() as folder:
        server = ServerProcess(folder, settings=SETTINGS)
        try:
            yield asyncio.run(watch(server, tmp_path_factory.mktemp("promises")))
        finally:
            server.discard()


async def watch(server: ServerProcess, folder: Path) -> Published:
    ordeal = Ordeal(server, Random(9), pairs=2)
    watching = asyncio.create_task(ordeal.watch_heads())
    await ordeal.prepare()
    async with ordeal.load():
        await asyncio.sleep(3.5 * CHECKPOINT_S)
    hole_of = await ordeal.stations[1].say_with_a_hole()
    await ordeal.finish()
    watching.cancel()
    with server.client() as client:
        client.post("anchors", json={}).raise_for_status()
    server.command("log", "export", str(folder), "--records")
    (folder / "deployment.json").write_bytes(server.fetch("/deployment.json"))
    trust = json.loads((folder / "deployment.json").read_text())
    topic = trust["topics"][0]["id"]
    messages = json.loads(server.fetch(f"/api/v1/topics/{topic}/messages?limit=100&order=asc"))
    ordeal.check_log()
    server.stop()
    return Published(
        folder,
        {size: note for size, (note,) in ordeal.heads.items()},
        ordeal.seen_at,
        trust["log"]["vkeys"][0],
        messages["messages"],
        hole_of,
    )


# A log client in a few lines that shares nothing with ours -------------------------------------


def root_of(leaves: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, word for word."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + root_of(leaves[:split]) + root_of(leaves[split:])).digest()


def leaves_of(entries: list[bytes]) -> list[bytes]:
    return [hashlib.sha256(b"\x00" + entry).digest() for entry in entries]


def opened(note: bytes, vkey: str) -> tuple[int, bytes]:
    """Return size and root of a checkpoint after checking its signature (C2SP signed-note)."""
    text, _, signature = note.partition(b"\n\n")
    origin, size, root = text.decode().split("\n")
    name, _, key = vkey.split("+", 2)
    _, signer, signed = signature.decode().strip().split(" ")
    assert origin == name == signer
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key)[1:])
    public.verify(base64.b64decode(signed)[4:], text + b"\n")
    return int(size), base64.b64decode(root)


def envelope(entry: bytes) -> dict[str, Any]:
    return dict(json.loads(entry))


def received_at(entry: bytes) -> datetime:
    return datetime.fromisoformat(envelope(entry)["received_at"])


# The promises ----------------------------------------------------------------------------------


def test_p1_p7_append_only__every_head_is_of_the_same_entries(published: Published) -> None:
    leaves = leaves_of(published.entries)
    assert len(published.heads) >= 3
    for size, note in published.heads.items():
        assert opened(note, published.vkey) == (size, root_of(leaves[:size]))
    assert max(published.heads) == len(leaves)


def test_p2_prompt__no_entry_waits_for_its_head_longer_than_two_intervals(
    published: Published,
) -> None:
    seen = sorted(published.seen_at.items())
    for index, entry in enumerate(published.entries):
        first_seen = next(at for size, at in seen if size > index)
        waited = first_seen - received_at(entry)
        assert waited <= timedelta(seconds=2 * CHECKPOINT_S) + SLACK, (index, waited)


def test_p3_anchored__every_entry_within_the_interval(published: Published) -> None:
    anchors = []
    for row in published.anchored:
        size, _ = opened(base64.b64decode(row["message"]), published.vkey)
        anchors.append((size, datetime.fromtimestamp(float(row["consensus_timestamp"]), UTC)))
    assert len(anchors) >= 2
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(anchors)), "one a size, in order"
    longest = timedelta(seconds=CHECKPOINT_S + ANCHOR_S)
    for index, entry in enumerate(published.entries):
        anchored_at = next(at for size, at in anchors if size > index)
        assert anchored_at - received_at(entry) <= longest + SLACK, index


def test_p4_one_view__what_is_anchored_is_what_was_served(published: Published) -> None:
    for row in published.anchored:
        note = base64.b64decode(row["message"])
        size, _ = opened(note, published.vkey)
        assert published.heads[size] == note


def test_p5_complete__numbers_without_holes__and_a_lost_event_is_an_entry(
    published: Published,
) -> None:
    last: dict[str, int] = {}
    for entry in map(envelope, published.entries):
        if entry["station"] is not None:
            assert entry["seq"] == last.get(entry["station"], 0) + 1
            last[entry["station"]] = entry["seq"]
    assert len(last) == 4
    lines = (published.folder / "records.jsonl").read_text().splitlines()
    holes = [line["record"] for line in map(json.loads, lines) if line["kind"] == "sequence_hole"]
    named = [(h["transaction_id"], h["first_seq_no"], h["last_seq_no"]) for h in holes]
    assert named == [(published.hole_of, 1, 1)]


def recomputed(folder: Path, *trust: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [COMMAND, "log", "recompute", str(folder), *trust, "--json"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_p6_recompute__with_no_server__every_bill_is_equal(published: Published) -> None:
    trust = ("--trust", str(published.folder / "deployment.json"))
    code, outcome = recomputed(published.folder, *trust)
    assert (code, outcome["valid"], outcome["differences"]) == (0, True, []), outcome
    assert outcome["entries"] == outcome["records"] == len(published.entries)
    assert outcome["bills"] == outcome["totals"]["EUR"]["bills"] >= 8
    code, outcome = recomputed(published.folder)
    assert (code, outcome["failed_step"]) == (3, None)


def test_p6_recompute__a_changed_reading__exit_1_and_named(
    published: Published, tmp_path: Path
) -> None:
    for path in published.folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    readings = tmp_path / "readings.jsonl"
    text = readings.read_text()
    readings.unlink()
    readings.write_text(text.replace('"register_wh":', '"register_wh":1', 1))
    code, outcome = recomputed(tmp_path, "--trust", str(tmp_path / "deployment.json"))
    assert (code, outcome["failed_step"]) == (1, "readings")
    assert outcome["differences"][0]["session_id"] == json.loads(text.splitlines()[0])["session_id"]
    readings.unlink()
    code, outcome = recomputed(tmp_path)
    assert (code, outcome["error"]["field"]) == (2, "directory")
