"""Foreign judges over a log written by `chargera.proofs`: right ones pass, spoiled ones do not.

Part of `make test-tools`: needs Go, and `proofbundle` from PyPI.
"""

import functools
import http.server
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))  # these tools are scripts of their own, not a package

import go_tools  # noqa: E402  # after the path is known
from run_fsck import run_fsck  # noqa: E402
from write_log import ORIGIN, entry, write_log  # noqa: E402

from chargera.proofs.note import VerifierKey  # noqa: E402

SIZES = [0, 1, 255, 256, 300, 70_000]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    write_log(folder, SIZES)
    return folder


@pytest.fixture
def spoiled(log, tmp_path):
    return Path(shutil.copytree(log, tmp_path / "log"))


class KeepAlive(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # fsck opens many connections at once
    daemon_threads = True


@contextmanager
def served(folder: Path) -> Iterator[str]:
    handler = functools.partial(KeepAlive, directory=str(folder))
    with Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def judge(log: Path | str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [str(go_tools.logjudge()), "-log", str(log), "-vkey", str(folder / "vkey"), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("size", SIZES)
def test_logjudge__right_log__every_part_checked(log, size):
    done = judge(log, log, "-old", str(log / f"checkpoint.{size}"))
    assert done.returncode == 0, done.stderr
    assert "70000 entries in 274 bundles" in done.stdout
    assert "277 tiles equal" in done.stdout
    assert f"consistency with the older head of {size} entries" in done.stdout


@pytest.mark.parametrize("size", SIZES[:-1])
def test_logjudge__small_log_over_http__every_entry_proven(tmp_path, size):
    write_log(tmp_path, [size])
    with served(tmp_path) as url:
        done = judge(url, tmp_path, "-sample", "0")
    assert done.returncode == 0, done.stderr
    assert f"inclusion of {size} entries" in done.stdout


@pytest.mark.parametrize(
    ("path", "position"),
    [
        ("checkpoint", 0),
        ("checkpoint", 20),
        ("checkpoint", -3),
        ("tile/entries/000", 1),
        ("tile/entries/000", 2),
        ("tile/entries/273.p/112", -1),
        ("tile/0/000", 0),
        ("tile/0/273.p/112", -1),
        ("tile/1/000", 100),
        ("tile/1/001.p/17", 0),
        ("tile/2/000.p/1", 0),
    ],
)
def test_logjudge__one_bit_flipped__refused(spoiled, path, position):
    flip(spoiled / path, position)
    done = judge(spoiled, spoiled)
    assert done.returncode == 1
    assert "REFUSED" in done.stderr


def test_logjudge__tile_missing__refused(spoiled):
    (spoiled / "tile/1/000").unlink()
    assert judge(spoiled, spoiled).returncode == 1


def test_logjudge__rolled_back_or_forked__refused(log, tmp_path):
    write_log(tmp_path / "shorter", [300])
    done = judge(tmp_path / "shorter", log, "-old", str(log / "checkpoint.70000"))
    assert done.returncode == 1
    assert "rolled back" in done.stderr

    fork = tmp_path / "fork"
    write_log(fork, [400], lambda number: entry(number if number < 280 else number + 1))
    done = judge(fork, log, "-old", str(log / "checkpoint.256"))
    assert done.returncode == 0, done.stderr  # so far it is the same log
    done = judge(fork, log, "-old", str(log / "checkpoint.300"))
    assert done.returncode == 1
    assert "forked" in done.stderr


def test_logjudge__another_key__refused(log, tmp_path):
    (tmp_path / "vkey").write_text(f"{VerifierKey(ORIGIN, bytes(range(32)))}")
    assert judge(log, tmp_path).returncode == 1


def test_fsck__right_log__passes(log):
    with served(log) as url:
        size, said = run_fsck(url, str(log / "vkey"))
    assert size == 70_000, said


@pytest.mark.parametrize("path", ["tile/entries/003", "tile/0/003", "tile/1/000"])
def test_fsck__one_bit_flipped__refused(spoiled, path):
    flip(spoiled / path, 40)
    with served(spoiled) as url:
        size, _ = run_fsck(url, str(spoiled / "vkey"), timeout_s=20)
    assert size is None


def test_proofbundle__all_proofs__judged_right():
    done = subprocess.run(
        [sys.executable, str(FOLDER / "judge_proofs.py")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
