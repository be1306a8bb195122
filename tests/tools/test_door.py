"""PyPI `test-ocpp` finds the door of each version open for whom it should be; needs Python alone.

Part of `make test-tools`. It checks TLS, password, boot and heartbeat, no schema and no session.
"""

import subprocess
import sys

import pytest

from tests.tools.conftest import Credentials, Network


def test_ocpp(station: Credentials, password: str) -> subprocess.CompletedProcess[str]:
    ca_file = ["--ca", station.ca_file] if station.ca_file else []
    arguments = [station.endpoint, station.station_id, "--ocpp", station.version]
    return subprocess.run(
        [sys.executable, "-m", "test_ocpp", *arguments, "--password", password, *ca_file],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


test_ocpp.__test__ = False  # type: ignore[attr-defined]  # it is named after the tool


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("version", ["1.6", "2.0.1"])
def test_the_door__own_password__opens(network: Network, version: str, tls: bool) -> None:
    station = network.station(version, tls=tls)
    done = test_ocpp(station, station.password)
    assert done.returncode == 0, done.stdout
    assert "BootNotification status: Accepted" in done.stdout
    assert done.stdout.endswith("SUCCESS\n")
    assert ("TLS: TLSv1." in done.stdout) == tls


def test_the_door__wrong_password__stays_shut(network: Network) -> None:
    done = test_ocpp(network.station("1.6"), "wrong-" * 4)
    assert done.returncode == 1
    assert "HTTP 401" in done.stdout
