"""Leftovers that do not go willingly, and clusters that cannot be made."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chargera.domain.errors import Conflict, Unavailable
from chargera.store.account import server_account
from chargera.store.cluster import HERE, Cluster
from chargera.store.postgres import EmbeddedPostgres
from chargera.store.programs import Programs, installed
from tests.integration.store.embedded import identity_of, is_gone, until


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="c-") as path:
        yield Path(path)


@pytest.fixture
def cluster(place: Path) -> Cluster:
    """A cluster that was made and whose server was stopped."""
    with EmbeddedPostgres(place):
        pass
    return Cluster(place / "postgres", server_account(place / "postgres"))


def test_clear__orphan_that_does_not_react__is_killed(place: Path, cluster: Cluster) -> None:
    with subprocess.Popen(
        [installed().postgres, "-D", HERE],
        cwd=cluster.data.path,
        stderr=subprocess.DEVNULL,
        env={"LC_ALL": "C"},
        start_new_session=True,
        **identity_of(cluster.data.path),
    ) as orphan:
        until(lambda: cluster.is_ready(orphan.pid))
        orphan.send_signal(signal.SIGSTOP)
        os.close(cluster.clear(timeout_s=1.0))
        assert orphan.wait(1) == -signal.SIGKILL
    assert is_gone(place)
    assert not (cluster.data.path / "postmaster.pid").exists()


def test_clear__lock_held_by_what_we_cannot_see__is_a_conflict(cluster: Cluster) -> None:
    holder = cluster.try_alive()
    assert holder is not None
    with pytest.raises(Conflict, match=r"still runs in .* unknown"):
        cluster.clear(timeout_s=0.1)
    os.close(holder)
    os.close(cluster.clear(timeout_s=0.1))


def test_prepare__initdb_that_fails__says_why(place: Path) -> None:
    cluster = Cluster(place / "postgres", server_account(place / "postgres"))
    os.close(cluster.claim())
    alive = cluster.clear(timeout_s=1.0)
    with pytest.raises(Unavailable, match=r"initdb failed: cannot run .*/initdb: "):
        cluster.prepare(Programs(place), {}, alive)
    os.close(alive)
    assert not cluster.data.path.exists()
    with EmbeddedPostgres(place):  # the next start makes it
        pass
