"""`verify` of a settled bill and `passport verify`, as a stranger runs them, offline."""

import json
from pathlib import Path
from typing import Any

import pytest

from chargera import cli
from chargera.proofs import canonical
from chargera.proofs.passport_file import passport_file_document
from chargera.proofs.trust import Trust, trust_document
from tests.unit.proofs.sample_receipt import ORIGIN, TOPIC, log_verifier
from tests.unit.proofs.sample_settlement import Network, settlement_trust
from tests.unit.proofs.test_passport_file import TRUST, Born

NOBODY = "http://127.0.0.1:1/rpc"


def write_trust(path: Path, trust: Trust) -> str:
    document = trust_document(
        network="embedded",
        operator_id="NL*C4E",
        origin=ORIGIN,
        vkeys=[str(log_verifier())],
        topics=[TOPIC],
        chain=trust.chain,
        attesters=trust.attesters,
    )
    path.write_text(json.dumps(document))
    return str(path)


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = cli.run([*words, "--json"])
    document = json.loads(capsys.readouterr().out)
    return code, {step["step"]: step["status"] for step in document["steps"]}


@pytest.fixture
def receipt(tmp_path: Path) -> str:
    network = Network()
    index = network.add_session(0)
    path = tmp_path / "receipt.json"
    path.write_bytes(network.receipt(index, network.settlement(index)))
    return str(path)


def test_verify__settled_and_trusted__settlement_is_ok(
    receipt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trust = write_trust(tmp_path / "t.json", settlement_trust())
    code, steps = run(["verify", receipt, "--trust", trust], capsys)
    assert (code, steps["settlement"], steps["settlement_on_chain"]) == (0, "ok", "not_asked")


def test_verify__chain_does_not_answer_or_is_not_trusted__undetermined(
    receipt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trust = write_trust(tmp_path / "t.json", settlement_trust())
    code, steps = run(["verify", receipt, "--trust", trust, "--rpc", NOBODY], capsys)
    assert (code, steps["settlement_on_chain"]) == (3, "pending")
    code, steps = run(["verify", receipt, "--rpc", NOBODY], capsys)
    assert (code, steps["settlement_on_chain"]) == (3, "pending")


def test_verify__what_has_no_settlement__the_chain_is_not_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = Network()
    path = tmp_path / "receipt.json"
    path.write_bytes(network.receipt(network.add_session(0), None))
    trust = write_trust(tmp_path / "t.json", settlement_trust())
    code, steps = run(["verify", str(path), "--trust", trust, "--rpc", NOBODY], capsys)
    assert (code, steps["settlement_on_chain"]) == (0, "not_asked")
    path.write_bytes(b"{}")
    assert run(["verify", str(path), "--rpc", NOBODY], capsys)[0] == 2


def test_passport_verify__its_file_alone__valid_then_altered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "passport.json"
    data = canonical.encode(passport_file_document(Born().file()))
    path.write_bytes(data)
    trust = write_trust(tmp_path / "t.json", TRUST)
    code, steps = run(["passport", "verify", str(path), "--trust", trust], capsys)
    assert (code, steps["registration_hash"], steps["custody"]) == (0, "ok", "ok")
    asked = ["passport", "verify", str(path), "--trust", trust, "--rpc", NOBODY]
    assert run(asked, capsys)[0] == 3
    path.write_bytes(data.replace(b'"model":"X"', b'"model":"Y"'))
    code, steps = run(asked, capsys)
    assert (code, steps["inclusion"]) == (1, "failed")
    path.write_bytes(data[:-1])
    assert run(asked, capsys)[0] == 2
