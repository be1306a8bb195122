"""`chargera ledger` and its server on the emulator: from nothing to a change of topic."""

import io
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chargera import cli
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.hedera.signer import compressed
from tests.doubles.hedera.emulator import Emulator, start, stop
from tests.doubles.hedera.faults import FaultKind
from tests.server import ServerProcess, data_folder

KMS = """
import sys
from chargera.ledger.chain_key import ChainKey
from chargera.proofs.keccak import keccak256
message = bytes.fromhex(sys.stdin.read())
print(ChainKey(b"\\x22" * 32).sign(keccak256(message))[:64].hex())
"""
"""A program that signs with the new operator key, as the client of a KMS would."""
COLD = ChainKey(b"\x21" * 32)
NEW_OPERATOR = ChainKey(b"\x22" * 32)


@dataclass
class Network:
    """An emulator and a data folder on it."""

    emulator: Emulator
    data_dir: Path

    @property
    def settings(self) -> dict[str, str]:
        it = self.emulator
        return {
            "LEDGER_NETWORK": "custom",
            "HEDERA_NODES": f"{it.grpc_address}=0.0.3",
            "HEDERA_MIRRORS": ",".join(it.mirror_urls),
            "HEDERA_CHAIN_ID": str(it.chain_id),
            "HEDERA_OPERATOR_ACCOUNT": it.operator_id,
            "HEDERA_OPERATOR_KEY": it.operator_key_hex,
            "SETTLEMENT_ENABLED": "false",
        }

    def run(self, *words: str, code: int = 0, **changed: str) -> Any:
        """Run a command with `--json` and return its document."""
        given = {f"CHARGERA_{k}": v for k, v in (self.settings | changed).items()}
        said, noted = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as environment:
            for name, value in given.items():
                environment.setenv(name, value)
            with redirect_stdout(said), redirect_stderr(noted):
                found = cli.run([*words, "--data-dir", str(self.data_dir), "--json"])
        assert found == code, said.getvalue() + noted.getvalue()
        return json.loads(said.getvalue())

    def server(self) -> ServerProcess:
        return ServerProcess(self.data_dir, settings=self.settings)

    def audit(self, server: ServerProcess) -> dict[str, str]:
        """Audit with the trust file that the server gives now; return verdicts by promise."""
        trust = self.data_dir / "trust.json"
        trust.write_bytes(httpx2.get(f"{server.ready['http']}/deployment.json").content)
        anchors = [w for url in self.emulator.mirror_urls for w in ("--anchors", f"mirror:{url}")]
        log = f"{server.ready['http']}/log"
        said = io.StringIO()
        with redirect_stdout(said):
            cli.run(["audit", "--log", log, "--trust", str(trust), *anchors, "--json"])
        return {p["id"]: p["status"] for p in json.loads(said.getvalue())["promises"]}


@pytest.fixture(scope="module")
def begun() -> Iterator[Network]:
    """A network that was initialised, with a cold key that lies elsewhere."""
    emulator = start(seed="commands", mirrors=2)
    try:
        with data_folder() as folder:
            network = Network(emulator, folder)
            cold = compressed(COLD.public_key).hex()
            network.run("ledger", "init", "--yes", "--cold-key", cold)
            yield network
    finally:
        stop(emulator)


@pytest.fixture
def empty() -> Iterator[Network]:
    emulator = start(seed="empty", mirrors=1)
    try:
        with data_folder() as folder:
            yield Network(emulator, folder)
    finally:
        stop(emulator)


# Before anything is there ----------------------------------------------------------------------


def test_init__without_yes__only_tells(empty: Network) -> None:
    document = empty.run("ledger", "init")
    assert (document["done"], document["topic_id"], document["contracts"]) == (False, None, None)
    assert document["network"] == "custom"
    assert 2 < float(document["left_usd"]) < 4
    assert float(document["needed_hbar"]) > 0
    assert not empty.emulator.ledger.topics
    refused = empty.run("ledger", "status", code=1)
    assert "ledger init" in refused["error"]["remedy"]
    ports = ("--http-port", "0", "--ocpp-port", "0")
    refused = empty.run("serve", *ports, code=1)
    assert "ledger init" in refused["error"]["remedy"]


@pytest.mark.parametrize(
    ("changed", "field", "code"),
    [
        ({"HEDERA_OPERATOR_KEY": "77" * 32}, "hedera.operator_key", 1),
        ({"HEDERA_OPERATOR_ACCOUNT": "0.0.4444"}, None, 1),
        ({"HEDERA_OPERATOR_KEY": "no key"}, "hedera.operator_key", 1),
        ({"LEDGER_NETWORK": "embedded"}, "ledger.network", 1),
        ({"HEDERA_MIRRORS": "http://127.0.0.1:9"}, None, 3),
    ],
)
def test_init__names_what_does_not_fit(
    changed: dict[str, str], field: str | None, code: int, empty: Network
) -> None:
    assert empty.run("ledger", "init", "--yes", code=code, **changed)["error"]["field"] == field
    assert not empty.emulator.ledger.topics


def test_init__account_with_too_little__pays_nothing(empty: Network) -> None:
    empty.emulator.ledger.accounts[1001].balance = 10**8
    refused = empty.run("ledger", "init", "--yes", code=1)
    assert "are needed" in refused["error"]["message"]
    assert not empty.emulator.ledger.topics


def test_init__interrupted_by_the_network__goes_on(empty: Network) -> None:
    empty.emulator.faults.add(FaultKind.UNAVAILABLE, times=None, method="callEthereum")
    refused = empty.run("ledger", "init", "--yes", code=3)
    assert refused["error"]["code"] == "unavailable"
    empty.emulator.faults.clear()
    document = empty.run("ledger", "init", "--yes")
    assert document["done"] is True
    assert len(empty.emulator.ledger.topics) == 1
    assert empty.run("ledger", "init")["left_usd"] == "0.0000"


def test_init__mainnet__wants_its_name(tmp_path: Path) -> None:
    """The question comes from the profile, before anything is sent."""
    from chargera.cli.ledger import _confirm
    from chargera.domain.errors import Refused
    from chargera.ledger.hedera.profiles import profile

    for given in (None, "yes", "testnet"):
        with pytest.raises(Refused, match="nobody confirmed"):
            _confirm(profile("mainnet"), given)
    _confirm(profile("mainnet"), "mainnet")
    _confirm(profile("testnet"), None)


# A network at work -----------------------------------------------------------------------------


def test_doctor__looks_at_keys_account_mirrors_clock_node_and_fees(begun: Network) -> None:
    checks = {c["name"]: c for c in begun.run("doctor")["checks"]}
    names = ["hedera sdk", "operator key", "operator account", "hedera clock", "hedera node"]
    for name in [*names, "hedera fees"]:
        assert checks[name]["status"] == "ok", checks[name]
    assert sum(name.startswith("mirror ") for name in checks) == 2
    broken = begun.run("doctor", code=1, HEDERA_OPERATOR_KEY="77" * 32)
    failed = {c["name"] for c in broken["checks"] if c["status"] == "failed"}
    assert failed == {"operator account"}
    begun.emulator.clock.advance(-300)  # as if this machine's clock were ahead
    try:
        behind = begun.run("doctor", code=1)
    finally:
        begun.emulator.clock.advance(300)
    assert "hedera clock" in {c["name"] for c in behind["checks"] if c["status"] == "failed"}


def test_server__anchors_and_strangers_audit_by_mirrors_alone(begun: Network) -> None:
    server = begun.server().start()
    try:
        begun.run("anchor", "now")
        status = begun.run("ledger", "status")
        assert status["messages"] == 1
        assert status["last_anchor"]["topic_id"] == status["topic_id"]
        assert status["warnings"] == []
        assert status["lag_s"] == 0
        verdicts = begun.audit(server)
        told = {promise: verdicts[promise] for promise in ("P1", "P2", "P4", "P5", "P7")}
        assert set(told.values()) == {"ok"}
        page = httpx2.get(f"{server.ready['http']}/log").text
        assert "Tamper window" in page
        begun.emulator.faults.add(FaultKind.MIRROR_LIE, times=None, value="message", mirror=1)
        assert begun.audit(server)["P4"] == "pending"
        begun.emulator.faults.clear()
    finally:
        server.stop()


def test_topic_is_changed__old_and_new_hold_all_heads_once(begun: Network) -> None:
    server = begun.server().start()
    begun.run("anchor", "now")
    old = begun.run("ledger", "status")["topic_id"]
    refused = begun.run("ledger", "rotate-topic", code=1)  # a server runs
    assert refused["error"]["code"] == "conflict"
    server.stop()
    change = begun.run("ledger", "rotate-topic")
    assert change["topic_id"] != old
    server = begun.server().start()
    try:
        begun.run("anchor", "now")
        anchors = begun.run("anchor", "list")
        sizes = [row["tree_size"] for row in anchors]
        assert len(sizes) == len(set(sizes))
        assert {row["state"] for row in anchors} == {"anchored"}
        for row in anchors:
            is_new = row["tree_size"] >= change["from_size"]
            assert row["topic_id"] == (change["topic_id"] if is_new else old)
        assert anchors[0]["topic_id"] == change["topic_id"]
        verdicts = begun.audit(server)
        assert {verdicts[p] for p in ("P1", "P2", "P4", "P5", "P7")} == {"ok"}
        trust = json.loads((begun.data_dir / "trust.json").read_text())
        assert [topic["from_size"] for topic in trust["topics"]] == [0, change["from_size"]]
    finally:
        server.stop()
    kept = begun.data_dir / "keys" / f"hedera-submit.{old}"
    shutil.copy(kept, begun.data_dir / "stolen")
    refused = begun.run(
        "ledger", "rotate-submit-key", "--key", str(begun.data_dir / "stolen"), code=1
    )
    assert "does not take this key" in refused["error"]["message"]
    following = begun.data_dir / "keys" / f"hedera-submit-after-{old}-next"
    begun.run("ledger", "rotate-submit-key", "--key", str(following))
    server = begun.server().start()
    try:
        begun.run("anchor", "now")
    finally:
        server.stop()


def test_operator_key_is_changed__the_old_one_pays_no_more(begun: Network) -> None:
    key = begun.data_dir / "new-operator"
    key.write_text(f"0x{'22' * 32}\n")
    assert begun.run("ledger", "rotate-operator-key", code=2)["error"]["field"] == "key"
    signs = begun.data_dir / "kms"
    signs.write_text(KMS)
    public_key = compressed(NEW_OPERATOR.public_key).hex()
    command = f"{sys.executable} {signs}"
    named = ("--command", command, "--public-key", public_key)
    begun.run("ledger", "rotate-operator-key", *named)
    refused = begun.run("ledger", "init", code=1)
    assert refused["error"]["field"] == "hedera.operator_key"
    begun.emulator.ledger.operator_secret = b"\x22" * 32  # configured from here on
    again = begun.run("ledger", "rotate-operator-key", "--key", str(key))
    assert again["result"] == "the account has this key"
    assert again["public_key"] == compressed(NEW_OPERATOR.public_key).hex()
    server = begun.server().start()
    try:
        begun.run("anchor", "now")
    finally:
        server.stop()
