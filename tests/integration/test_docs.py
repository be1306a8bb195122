"""The tutorial and the guides that follow from it, run word for word against the real server."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import data_folder
from tests.unit.test_docs import ROOT, blocks

DOCS = ROOT / "docs"
PORTS = ("8080", "9000", "9001")
NEEDED = ("sh", "curl", "tee", "sed")
PATIENCE_S = 300
"""For the commands of a guide together: a dozen processes, on a machine that does more."""

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not all(map(shutil.which, NEEDED)), reason=f"the guides need {', '.join(NEEDED)}"
    ),
]


def free_ports() -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    ports = [str(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Reader:
    """Somebody who follows the guides in one folder, with two terminals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = dict(zip(PORTS, free_ports(), strict=True))
        self.server: subprocess.Popen[str] | None = None
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("CHARGERA_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def own(self, text: str) -> str:
        """The text with this run's ports in place of those of the guides."""
        return re.sub(r"\b(8080|9000|9001)\b", lambda port: self.ports[port[1]], text)

    def start(self, command: str) -> None:
        """Type a command into the first terminal, and wait until it says that all is up."""
        with (self.folder / "server.log").open("w") as log:
            self.server = subprocess.Popen(
                ["sh", "-c", f"exec {self.own(command)}"],
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.server.stdout is not None
        assert '"ready": true' in self.server.stdout.readline(), self.log()

    def type(self, *commands: str, **variables: str) -> str:
        """Type commands into the second terminal; the first that fails ends them."""
        done = subprocess.run(
            ["sh", "-eu"],
            input=self.own("\n".join(commands)),
            cwd=self.folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.log()}"
        return done.stdout

    def log(self) -> str:
        return (self.folder / "server.log").read_text()[-2000:]

    def stop(self) -> None:
        if self.server is not None:
            with self.server as server:
                server.terminate()
                assert server.wait(15) == 0, self.log()


@pytest.fixture
def reader() -> Iterator[Reader]:
    with data_folder() as folder:
        reader = Reader(folder)
        try:
            yield reader
        finally:
            reader.stop()


def guide(name: str) -> list[str]:
    return blocks(DOCS / name, "sh")


def test_guides__word_for_word__lead_where_they_say(reader):
    install, terminals, serve, *steps = guide("tutorials/first-charge.md")
    assert install == "make .venv\n"
    assert "export PATH=" in terminals
    reader.start(serve)
    said = reader.type(*steps, 'printf %s "$SESSION" > session\n')
    assert re.search(r"^ended +1$", said, re.MULTILINE)
    assert re.search(r"FIRST-1 +billed .* EUR +L0$", said, re.MULTILINE)
    told = blocks(DOCS / "tutorials/first-charge.md", "text")
    verdict, lie = told[-2], told[-1]
    for step in re.findall(r"^(?:ok|-) +(\w+)", verdict, re.MULTILINE):
        assert re.search(rf"^(ok|-) +{step} ", said, re.MULTILINE), step
    assert said.count("\nvalid\n") == 1
    assert [line for line in lie.splitlines() if line != "..." and line not in said] == []

    session = (reader.folder / "session").read_text()
    log = reader.own("http://127.0.0.1:8080/log")
    reader.type(f"curl -sf {log}/vkey -o vkey; curl -sf {log}/checkpoint -o checkpoint")
    checks = [b for b in guide("how-to/verify-a-receipt.md") if "jq" not in b and "ocmf" not in b]
    said = reader.type(*checks, SESSION=session)
    assert "ok       anchor_on_topic" in said
    assert said.count("ok       old_checkpoint") == 2
    assert len(checks) == 7

    said = reader.type(*guide("how-to/mirror-and-audit-the-log.md"))
    copied = reader.folder / "copy"
    assert (copied / "checkpoint").read_bytes() == (
        reader.folder / "mirror/checkpoint"
    ).read_bytes()
    for tile in (reader.folder / "mirror/tile").rglob("*"):
        if tile.is_file():
            twin = copied / tile.relative_to(reader.folder / "mirror")
            assert twin.read_bytes() == tile.read_bytes()
    assert (reader.folder / "anchored").read_text().startswith("log.chargera.example/NL-C4E/1\n")

    said = reader.type(*guide("how-to/erase-a-person.md"))
    assert re.search(r"^log_indexes +12, 14, 15\b", said, re.MULTILINE)
    assert re.search(r"^record +-$", said, re.MULTILINE)
    said = reader.type(f"chargera session receipt {session} --output r.json || echo refused")
    assert said == "refused\n"
