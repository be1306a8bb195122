"""One running server for the commands of a module, and a way to run commands in this process."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chargera import cli
from tests.server import ServerProcess, data_folder

TARIFF = {
    "country_code": "NL",
    "party_id": "C4E",
    "id": "DAY",
    "currency": "EUR",
    "elements": [
        {"price_components": [{"type": "ENERGY", "price": 0.25, "vat": 21, "step_size": 1}]}
    ],
    "last_updated": "2026-01-01T00:00:00Z",
}


@dataclass
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


class CommandLine:
    """Runs commands as `main` does, on one data folder."""

    def __init__(self, data_dir: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.data_dir = data_dir
        self._capture = capture

    def __call__(self, *arguments: str | Path, code: int | None = 0) -> Outcome:
        """Run a command; `code` is what it must exit with, None: anything."""
        self._capture.readouterr()
        given = cli.run([str(a) for a in arguments] + ["--data-dir", str(self.data_dir)])
        said = self._capture.readouterr()
        outcome = Outcome(given, said.out, said.err)
        assert code is None or given == code, outcome
        return outcome

    def json(self, *arguments: str | Path, code: int = 0) -> Any:
        """Run a command with `--json` and return its document."""
        return self(*arguments, "--json", code=code).json

    def register(self, station_id: str, *more: str) -> str:
        """Register a station that may speak plainly; return its password."""
        facts = {
            "--id": station_id,
            "--manufacturer": "Maker",
            "--model": "Post",
            "--serial": "SN-1",
            "--lat": "52.3702",
            "--lon": "-4.8952",
            "--evse": "1:type2:22000",
            "--profile": "1",
        }
        options = [part for pair in facts.items() for part in pair]
        made = self.json("station", "register", *options, "--allow-plain", *more)
        return str(made["password"])


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with data_folder() as folder:
        process = ServerProcess(folder, "--clock", "manual")
        try:
            yield process.start()
        finally:
            process.discard()


@pytest.fixture
def run(
    server: ServerProcess, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    for name in [name for name in os.environ if name.startswith("CHARGERA_")]:
        monkeypatch.delenv(name)
    return CommandLine(server.data_dir, capsys)
