"""`make demo` from its start to receipts that verify with no server, as the README promises."""

import json
import signal
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.store.embedded import is_gone
from tests.server import COMMAND, data_folder

DEMO_TIMEOUT_S = 300
"""Twenty seconds on two cores; how long on a machine that does more besides is not the point."""
pytestmark = pytest.mark.timeout(2 * DEMO_TIMEOUT_S)


def chargera(*arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def told() -> Any:
    """The summary of one demonstration with its receipts, after everything has stopped."""
    with data_folder() as folder:
        summary = folder / "s.json"
        done = chargera(
            *["demo", "--until-anchored", "--summary", str(summary)],
            *["--data-dir", str(folder / "data"), "--json"],
            timeout_s=DEMO_TIMEOUT_S,
        )
        assert done.returncode == 0, done.stderr
        assert is_gone(folder / "data"), "PostgreSQL runs on"
        document = json.loads(summary.read_text())
        assert json.loads(done.stdout) == document
        assert "up after" in done.stderr
        yield document


def verify(receipt: str, *trust: str) -> tuple[int, dict[str, Any]]:
    done = chargera("verify", receipt, *trust, "--json")
    return done.returncode, json.loads(done.stdout)


def test_demo__every_receipt__verifies_with_the_trust_file_alone(told: Any) -> None:
    assert len(told["sessions"]) >= 3
    for session in told["sessions"]:
        code, verdict = verify(session["receipt"], "--trust", told["deployment"])
        assert (code, verdict["valid"], verdict["failed_step"]) == (0, True, None)
        steps = {step["step"]: step["status"] for step in verdict["steps"]}
        assert steps["anchor"] == steps["bill"] == steps["inclusion"] == "ok"


def test_demo__summary__is_of_the_documented_shape(told: Any) -> None:
    assert set(told) == {"sessions", "claims", "checkpoint", "deployment", "seconds"}
    assert told["claims"] == []
    assert 0 < told["seconds"] < timedelta(minutes=2).total_seconds()
    for name in ("checkpoint", "deployment"):
        assert Path(told[name]).is_absolute()
        assert Path(told[name]).is_file()
    members = {"session_id", "station_id", "ocpp_version", "energy_wh", "gross_minor", "currency"}
    for session in told["sessions"]:
        assert set(session) == members | {"receipt"}
        assert session["energy_wh"] > 0
        assert session["gross_minor"] > 0
        assert session["currency"] == "EUR"
        assert Path(session["receipt"]).is_absolute()
    assert {session["ocpp_version"] for session in told["sessions"]} == {"1.6", "2.0.1"}


def test_demo__checkpoint__is_a_head_that_covers_every_receipt(told: Any) -> None:
    size = int(Path(told["checkpoint"]).read_text().splitlines()[1])
    for session in told["sessions"]:
        receipt = json.loads(Path(session["receipt"]).read_text())
        for entry in receipt["entries"]:
            assert int(entry["proof"].split("index ")[1].split()[0]) < size
        kept = ("--old-checkpoint", told["checkpoint"])
        code, verdict = verify(session["receipt"], "--trust", told["deployment"], *kept)
        assert code == 0, verdict


def test_demo__ctrl_c_in_the_middle__ends_quietly_and_leaves_nothing() -> None:
    with data_folder() as folder:
        with subprocess.Popen(
            [COMMAND, "demo", "--data-dir", str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as demo:
            assert demo.stdout is not None
            for line in demo.stdout:
                if line.startswith("1. A driver plugs in"):
                    break
            demo.send_signal(signal.SIGINT)
            _, errors = demo.communicate(timeout=30)
        assert (demo.returncode, errors) == (0, "")
        assert is_gone(folder), "PostgreSQL runs on"


def test_demo__changed_or_without_trust__is_not_taken(told: Any, tmp_path: Path) -> None:
    good = Path(told["sessions"][0]["receipt"])
    assert verify(str(good))[0] == 3

    forged = tmp_path / "forged.json"
    text = good.read_text()
    amount = told["sessions"][0]["gross_minor"]
    assert f'"gross_minor":{amount}' in text
    forged.write_text(text.replace(f'"gross_minor":{amount}', f'"gross_minor":{amount - 1}'))
    code, verdict = verify(str(forged), "--trust", told["deployment"])
    assert code == 1
    assert verdict["failed_step"]
