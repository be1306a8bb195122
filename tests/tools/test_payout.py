"""From the meter to the payout, by the demonstration; recomputed by somebody who trusts no one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.server import COMMAND, ServerProcess, data_folder

HERE = Path(__file__).parent


def chargera(*arguments: str, timeout_s: float = 60) -> tuple[int, Any]:
    done = subprocess.run(
        [COMMAND, *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, json.loads(done.stdout)


@dataclass(frozen=True)
class Network:
    """What the demonstration left, served again, and its log exported."""

    folder: Path
    summary: dict[str, Any]
    http: str

    @property
    def trust(self) -> str:
        return str(self.summary["deployment"])


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with data_folder() as folder:
        data, summary = folder / "data", folder / "s.json"
        code, document = chargera(
            *("demo", "--until-settled", "--summary", str(summary), "--data-dir", str(data)),
            timeout_s=280,
        )
        assert code == 0, document
        assert json.loads(summary.read_text()) == document
        server = ServerProcess(data, settings={"SETTLEMENT_ENABLED": "true"}).start()
        try:
            code, _ = chargera(
                "log", "export", str(folder / "x"), "--records", "--data-dir", str(data)
            )
            assert code == 0
            yield Network(folder, document, server.ready["http"])
        finally:
            server.stop()


@pytest.mark.timeout(360)
def test_claims__recomputed_from_log_and_policy__equal_what_the_chain_paid(
    network: Network,
) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(HERE / "payout_stranger.py"),
            str(network.folder / "x"),
            network.trust,
            str(network.folder / "s.json"),
            f"{network.http}/rpc",
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["holders"] == 2
    assert found["claims"] == len({(c["holder"], c["asset"]) for c in network.summary["claims"]})


def test_stranger__shares_no_code_with_us() -> None:
    text = (HERE / "payout_stranger.py").read_text()
    assert "chargera" not in text


def test_receipts__verify_offline_and_against_the_chain(network: Network) -> None:
    rpc = f"{network.http}/rpc"
    for session in network.summary["sessions"]:
        for asked, status in (([], "not_asked"), (["--rpc", rpc], "ok")):
            code, verdict = chargera("verify", session["receipt"], "--trust", network.trust, *asked)
            steps = {step["step"]: step["status"] for step in verdict["steps"]}
            assert (code, verdict["failed_step"]) == (0, None)
            assert steps["settlement"] == steps["bill"] == steps["anchor"] == "ok"
            assert steps["settlement_on_chain"] == status


def test_summary__a_wallet_and_a_fiat_session_in_both_versions(network: Network) -> None:
    assert {s["ocpp_version"] for s in network.summary["sessions"]} == {"1.6", "2.0.1"}
    assets = {claim["asset"] for claim in network.summary["claims"]}
    contracts = json.loads(Path(network.trust).read_text())["chain"]["contracts"]
    assert assets == {contracts["C4EToken"], contracts["TestEuro"]}
    assert len({claim["passport_id"] for claim in network.summary["claims"]}) == 1


def test_audit__keeps_every_promise(network: Network) -> None:
    http = network.http
    places = ("--log", f"{http}/log", "--anchors", f"mirror:{http}", "--rpc", f"{http}/rpc")
    code, verdict = chargera("audit", *places, "--trust", network.trust)
    assert [row["id"] for row in verdict["promises"]] == [f"P{n}" for n in range(1, 8)]
    assert [row["status"] for row in verdict["promises"]] == ["ok"] * 7
    assert code == 0


def test_audit__without_mirror_or_chain__cannot_tell(network: Network) -> None:
    code, verdict = chargera("audit", "--log", f"{network.http}/log", "--trust", network.trust)
    assert code == 3
    assert {row["status"] for row in verdict["promises"]} == {"ok", "pending"}
