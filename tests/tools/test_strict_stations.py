"""npm `ocpp-rpc` in strict mode charges at the real server; its ajv judges all that we say.

Part of `make test-tools`: needs Node.js and the packages of tests/tools/node.
"""

import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tests.tools.conftest import ID_TOKEN, Credentials, Network

NODE = Path(__file__).parent / "node"
ANSWER_S = 30.0
PROTOCOLS = [("1.6", "ocpp1.6"), ("2.0.1", "ocpp2.0.1")]


class Station:
    """A station program that runs, and what it has told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._told: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            self._told.put(line)
        self._told.put("")

    def expect(self, event: str) -> dict[str, Any]:
        """Return the next thing it tells, which must be this event."""
        line = self._told.get(timeout=ANSWER_S)
        assert line, f"the station ended: {self.errors()}"
        told: dict[str, Any] = json.loads(line)
        assert told["event"] == event, told
        return told

    def ended(self) -> int:
        """Return its exit code once it has ended with nothing more to tell."""
        assert self._told.get(timeout=ANSWER_S) == ""
        return self._process.wait(ANSWER_S)

    def errors(self) -> str:
        """Return what it has against us; it must have ended."""
        return self._process.stderr.read() if self._process.stderr else ""


@contextmanager
def running(credentials: Credentials) -> Iterator[Station]:
    with subprocess.Popen(
        ["node", str(NODE / "station.mjs"), credentials.plan()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Station(process)
        finally:
            process.kill()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("version", ["1.6", "2.0.1"])
def test_a_strict_station__by_card_and_by_command__is_served_and_billed(
    network: Network, version: str, tls: bool
) -> None:
    credentials = network.station(version, tls=tls)
    name = credentials.station_id
    command = network.server.command
    with running(credentials) as station:
        booted = station.expect("booted")
        assert booted["interval"] > 0
        assert (booted["known"], booted["unknown"]) == ("Accepted", "Invalid")
        assert booted["other"] == "NotSupported"
        by_card = station.expect("started")
        assert station.expect("ended")["transaction"] == by_card["transaction"]

        station.expect("waiting")
        assert command("station", "command", name, "unlock", "--evse", "1")["accepted"] is True
        station.expect("unlock")
        asked = command("station", "command", name, "trigger", "StatusNotification")
        assert asked["accepted"] is True
        assert station.expect("trigger")["params"]["requestedMessage"] == "StatusNotification"

        start = ["station", "command", name, "remote-start", "--evse", "1"]
        started = command(*start, "--id-token", ID_TOKEN)
        by_command = station.expect("started")
        assert started["accepted"] is True
        assert started["session_id"] is not None
        stop = ["station", "command", name, "remote-stop", "--session", started["session_id"]]
        assert command(*stop)["accepted"] is True
        station.expect("ended")
        assert command("station", "command", name, "reset")["accepted"] is True
        station.expect("reset")
        assert station.ended() == 0

    first, second = network.billed(name, 2)
    # 7.35 kWh at 0.40, ten minutes of parking at 3.00 an hour and 0.35 are 3.79; with 21 % 4.59.
    assert first["transaction_id"] == by_card["transaction"]
    assert (first["energy_wh"], first["currency"]) == (7_350, "EUR")
    assert (first["net_minor"], first["vat_minor"], first["gross_minor"]) == (379, 80, 459)
    # 0.70 kWh and 0.35 are 0.63; with 21 % 0.76.
    assert second["session_id"] == started["session_id"]
    assert second["transaction_id"] == by_command["transaction"]
    assert (second["energy_wh"], second["gross_minor"]) == (700, 76)
    assert {row["ocpp_version"] for row in (first, second)} == {version}
    assert [row["anomalies"] for row in (first, second)] == [[], []]


def careless_server(socket: ServerConnection) -> None:
    """Answer the boot with a time that is none."""
    [_, message_id, *_] = json.loads(socket.recv())
    answer = {"status": "Accepted", "currentTime": "not a time", "interval": 300}
    socket.send(json.dumps([3, message_id, answer]))
    socket.wait_closed()


@pytest.mark.parametrize(("version", "protocol"), PROTOCOLS)
def test_a_strict_station__answer_not_of_the_standard__ends_in_protest(
    version: str, protocol: str
) -> None:
    with serve(careless_server, "127.0.0.1", 0, subprotocols=[Subprotocol(protocol)]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.socket.getsockname()[1]
        credentials = Credentials("J", "x" * 20, version, f"ws://127.0.0.1:{port}", None)
        with running(credentials) as station:
            assert station.ended() == 1
            assert "the server's BootNotification answer" in station.errors()
        server.shutdown()


def knock(*attempts: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["node", str(NODE / "knock.mjs"), f"[{','.join(attempts)}]"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("version", "protocol"), PROTOCOLS)
def test_who_is_not_known__is_refused_like_everybody_else(
    network: Network, version: str, protocol: str
) -> None:
    own, other = network.station(version), network.station(version)
    answers = knock(
        own.plan(password="wrong-" * 4),
        own.plan(password=other.password),
        own.plan(identity="NOBODY-KNOWS-ME"),
        own.plan(password=None),
    )
    assert [answer["status"] for answer in answers] == [401] * 4
    assert answers[1:] == answers[:1] * 3  # status, headers and body
    # Whoever has the right password still comes in.
    assert knock(own.plan(), other.plan()) == [{"connected": protocol}] * 2
