"""Every command against a running server: JSON, text, exit codes."""

import asyncio
import json
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chargera.domain.station import OcppVersion, parse_evses
from chargera.proofs.ocpi import parse_json
from chargera.sim.link import Access
from chargera.sim.station import SimulatedStation, StationModel
from tests.server import ServerProcess

from .conftest import TARIFF, CommandLine


@pytest.fixture
def tariff_file(tmp_path: Path) -> Path:
    file = tmp_path / "tariff.json"
    file.write_text(json.dumps(TARIFF))
    return file


@contextmanager
def playing(station: SimulatedStation) -> Iterator[None]:
    """Let a station be connected while commands, which block, run in this thread."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(station.run([], stay=True))

    def play() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        until = time.monotonic() + 20
        while not station.is_online and time.monotonic() < until:
            time.sleep(0.02)
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()


def test_serve_json__is_readable_by_its_owner_alone(server: ServerProcess) -> None:
    mode = (server.data_dir / "serve.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_station__registered_once_listed_shown_priced_and_given_a_password(
    run: CommandLine, tariff_file: Path
) -> None:
    password = run.register("ST-1")
    again = run("station", "register", *_facts("ST-1"), "--allow-plain", "--json")
    assert (again.json["station_id"], again.json["password"]) == ("ST-1", None)
    assert again.json["registration"] is None, "this server settles nothing on chain"
    assert "registered before" in again.err
    other = run.json("station", "register", *_facts("ST-1", model="Other"), "--allow-plain", code=1)
    assert other["error"]["field"] == "model"

    assert "ST-1" in [row["station_id"] for row in run.json("station", "list")]
    assert run.json("station", "show", "ST-1")["longitude"] == "-4.8952"
    assert "serial_number" in run("station", "show", "ST-1").out
    assert run.json("station", "show", "NONE", code=1)["error"]["code"] == "not_found"

    fresh = run.json("station", "password", "ST-1")
    assert fresh["password"] not in (None, password)
    given = run.json("station", "password", "ST-1", "--set", "twenty-characters-ok")
    assert given["password"] == "twenty-characters-ok"
    assert run.json("station", "password", "ST-1", "--set", "short", code=1)["error"]["field"] == (
        "password"
    )

    run("tariff", "set", tariff_file)
    assigned = run.json("station", "tariff", "ST-1", "DAY")
    assert (assigned["tariff_id"], assigned["stations"]) == ("DAY", ["ST-1"])
    assert run.json("station", "messages", "ST-1") == []


def _facts(station_id: str, **changes: str) -> list[str]:
    facts = {
        "id": station_id,
        "manufacturer": "Maker",
        "model": "Post",
        "serial": "SN-1",
        "lat": "52.3702",
        "lon": "-4.8952",
        "evse": "1:type2:22000",
        "profile": "1",
    } | changes
    return [part for name, value in facts.items() for part in (f"--{name}", value)]


def test_station__with_a_meter_key_from_a_file(run: CommandLine, tmp_path: Path) -> None:
    vectors = json.loads(Path("tests/vectors/ocmf_signed.json").read_text())["vectors"]
    text = vectors[0]["public_key"]
    pem, der = tmp_path / "key.hex", tmp_path / "key.der"
    pem.write_text(text)
    der.write_bytes(bytes.fromhex(text))
    run.register("ST-HEX", "--meter-key", str(pem))
    run.register("ST-DER", "--meter-key", str(der))
    keys = [run.json("station", "show", s)["meter_key_der_hex"] for s in ("ST-HEX", "ST-DER")]
    assert keys == [text.lower()] * 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("remote-start", "--evse", "1", "--id-token", "COMMANDER"),
        ("reset", "--hard"),
        ("trigger", "Heartbeat"),
        ("unlock", "--evse", "1"),
    ],
)
def test_station_command__to_a_station_that_is_away_is_undetermined(
    run: CommandLine, arguments: tuple[str, ...]
) -> None:
    run.register("ST-AWAY")
    run("token", "add", "COMMANDER", "--type", "ISO14443")
    answer = run.json("station", "command", "ST-AWAY", *arguments, code=3)
    assert answer["accepted"] is None
    assert answer["session_id"] is None
    assert "not connected" in answer["answer"]


def test_station_test__exits_by_what_came_of_it_and_lists_it(
    run: CommandLine, server: ServerProcess
) -> None:
    password = run.register("ST-TEST")
    away = run("station", "test", "ST-TEST", code=None)
    assert away.code == 3
    assert "not connected" in away.err
    station = SimulatedStation(
        StationModel(
            access=Access(server.ready["ocpp"], "ST-TEST", password),
            version=OcppVersion.V1_6,
            connectors=parse_evses("1:type2:22000"),
            rate=0.0,
        ),
        Random(1),
    )
    with playing(station):
        shown = run("station", "test", "ST-TEST")
        made = run.json("station", "test", "ST-TEST", "--evse", "1")
        wrong = run("station", "test", "ST-TEST", "--evse", "7", code=None)
    assert wrong.code == 1
    lines = shown.err.splitlines()
    assert len(lines) == 17
    assert "16  not_applicable  reset" in lines[-1]
    assert shown.out.startswith("passed: entry ")
    assert (made["state"], made["ocpp_version"]) == ("passed", "1.6")
    listed = run.json("station", "tests", "ST-TEST")
    assert listed[0] == made
    assert [row["state"] for row in listed] == ["passed", "passed"]
    assert made["run_id"] in run("station", "tests", "ST-TEST").out


@pytest.mark.parametrize(
    ("arguments", "code", "field"),
    [
        (("ST-AWAY", "dance"), 1, "command"),
        (("ST-AWAY", "reset", "Heartbeat"), 1, "message"),
        (("ST-AWAY", "trigger"), 1, "message"),
        (("ST-AWAY", "remote-stop", "--session", "none"), 1, "session_id"),
        (("NONE", "reset"), 1, "station_id"),
        (("ST-AWAY",), 2, "command"),
    ],
)
def test_station_command__what_makes_no_sense_is_refused_by_name(
    run: CommandLine, arguments: tuple[str, ...], code: int, field: str
) -> None:
    run.register("ST-AWAY")
    assert run.json("station", "command", *arguments, code=code)["error"]["field"] == field


def test_token__added_blocked_imported_erased(run: CommandLine, tmp_path: Path) -> None:
    run("login", "add", "card-holder", "--role", "driver")
    added = run.json(
        *("token", "add", "T-1", "--type", "ISO14443", "--blocked"),
        *("--expires", "2030-01-01T00:00:00Z", "--login", "card-holder"),
    )
    assert added == {
        "id_token": "T-1",
        "type": "ISO14443",
        "blocked": True,
        "expires_at": "2030-01-01T00:00:00.000Z",
    }
    assert run.json("token", "unblock", "t-1")["blocked"] is False
    assert run.json("token", "block", "T-1")["blocked"] is True
    file = tmp_path / "cards.csv"
    file.write_text("id_token,blocked\nT-1,false\nT-2,\n")
    assert run.json("token", "import", file) == {"added": 1, "changed": 1, "unchanged": 0}
    file.write_text("id_token\nT-3\nT-3\n")
    assert run.json("token", "import", file, code=1)["error"]["field"] == "row 2, id_token"
    rows = {row["id_token"]: row for row in run.json("token", "list")}
    assert (rows["T-1"]["status"], rows["T-1"]["login"]) == ("accepted", "card-holder")
    assert len(run.json("token", "list", "--limit", "1")) == 1
    assert run.json("token", "erase", "T-2")["log_indexes"]
    assert "T-2" not in run("token", "list").out


def test_login_and_api_key__made_shown_once_closed(run: CommandLine) -> None:
    made = run.json("login", "add", "olga", "--role", "operator")
    assert (made["name"], made["role"]) == ("olga", "operator")
    assert made["password"]
    assert run.json("login", "password", "olga", "--set", "ten letters")["password"]
    key = run.json("api-key", "add", "olga", "--scope", "read,stations:command", "--scope", "all")
    assert (key["login"], key["scopes"]) == ("olga", ["all", "read", "stations:command"])
    assert key["api_key"].startswith("c4e_")
    assert "olga" in run("api-key", "list").out
    assert "olga" in run("login", "list").out
    assert run.json("api-key", "revoke", "olga") == {}
    assert run.json("login", "disable", "olga") == {}
    assert run.json("login", "add", "x", "--role", "king", code=1)["error"]["field"] == "role"


def test_another_key__sees_what_it_may(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("hostess", "host-2"):
        run("login", "add", name, "--role", "host")
    run.register("ST-HOSTED", "--host", "hostess")
    key = run.json("api-key", "add", "host-2", "--scope", "all")["api_key"]
    monkeypatch.setenv("CHARGERA_API_KEY", key)
    assert run.json("station", "list") == []
    assert run.json("station", "show", "ST-HOSTED", code=1)["error"]["code"] == "not_found"
    refused = run.json("login", "add", "x", "--role", "host", code=1)
    assert refused["error"]["code"] == "not_permitted"
    monkeypatch.setenv("CHARGERA_API_KEY", "c4e_wrong")
    assert run.json("station", "list", code=1)["error"]["code"] == "not_signed_in"


def test_tariff__set_listed_shown_and_refused_by_path(run: CommandLine, tariff_file: Path) -> None:
    first = run.json("tariff", "set", tariff_file)
    assert {"tariff_id", "version", "digest"} <= first.keys()
    assert run.json("tariff", "set", tariff_file)["version"] == first["version"]
    assert run.json("tariff", "show", "DAY", "--version", "1")["version"] == 1
    assert "DAY" in run("tariff", "list").out
    changed = TARIFF | {"max_price": {"excl_vat": 1}}
    tariff_file.write_text(json.dumps(changed))
    assert run.json("tariff", "set", tariff_file, code=1)["error"]["field"] == "max_price"
    tariff_file.write_text("{")
    assert run.json("tariff", "set", tariff_file, code=2)["error"]["code"] == "unreadable"


def test_clock__stands_and_moves_by_hand(run: CommandLine) -> None:
    before = run.json("clock", "now")["now"]
    assert run.json("clock", "now")["now"] == before
    after = run.json("clock", "advance", "60.5")["now"]
    assert after > before
    assert run.json("clock", "advance", "x", code=2)["error"]["code"] == "unreadable"


def test_the_line__from_a_station_to_a_receipt_that_verifies(
    run: CommandLine, server: ServerProcess, tariff_file: Path, tmp_path: Path
) -> None:
    password = run.register("ST-LINE")
    run("tariff", "set", tariff_file)
    run("station", "tariff", "ST-LINE", "DAY")
    run("token", "add", "SIM-DRIVER", "--type", "ISO14443")
    run("log", "export", tmp_path / "early")
    played = run.json(
        *("sim", "station", "--url", server.ready["ocpp"], "--id", "ST-LINE"),
        *("--password", password, "--ocpp", "2.0.1", "--sessions", "1"),
    )
    assert (played["ended"], played["refused"]) == (1, 0)
    [row] = _billed(run, "ST-LINE")
    session_id = row["session_id"]
    assert row["energy_wh"] == played["energy_wh"]
    assert session_id in run("session", "list").out
    assert run.json("session", "show", session_id)["cdrs"]

    receipt, cdr = tmp_path / "receipt.json", tmp_path / "cdr.json"
    deployment, key = tmp_path / "deployment.json", tmp_path / "vkey"
    anchored = run.json("anchor", "now")
    assert anchored["state"] == "anchored"
    assert anchored["sequence_number"] >= 1
    assert run.json("anchor", "list", "--limit", "1") == [anchored]
    saved = run.json("session", "receipt", session_id, "-o", receipt)
    assert saved["bytes"] == receipt.stat().st_size
    run("session", "cdr", session_id, "-o", cdr)
    deployment.write_bytes(server.fetch("/deployment.json"))

    assert run.json("verify", receipt, "--trust", deployment)["valid"] is True
    mirror = f"mirror:{server.ready['http']}"
    steps = run.json("verify", receipt, "--trust", deployment, "--anchors", mirror)["steps"]
    assert {s["step"]: s["status"] for s in steps}["anchor_on_topic"] == "ok"
    page = tmp_path / "messages.json"
    page.write_bytes(server.fetch(f"/api/v1/topics/{anchored['topic_id']}/messages"))
    listed = tmp_path / "anchors.json"
    waiting = {"tree_size": 10**6, "state": "pending", "sequence_number": None}
    listed.write_text(json.dumps([waiting, *run.json("anchor", "list")]))
    for source in (page, _rows_alone(page, tmp_path), listed):
        assert run.json("verify", receipt, "--trust", deployment, "--anchors", source)["valid"]
    key = json.loads(deployment.read_text())["log"]["vkeys"][0]
    assert run.json("verify", receipt, "--log-key", key)["valid"] is True
    assert run.json("verify", receipt, code=3)["valid"] is False
    silent = run.json(
        "verify", receipt, "--trust", deployment, "--anchors", "mirror:http://127.0.0.1:1", code=3
    )
    assert silent["failed_step"] is None
    run("verify", receipt, "--trust", deployment, "--log-key", key, code=2)
    _compare_with_kept_heads(run, server, tmp_path)

    priced = run.json("tariff", "price", tariff_file, "--cdr", cdr)
    assert priced["gross_minor"] == row["gross_minor"]
    run("tariff", "price", tariff_file, code=2)
    assert parse_json(cdr.read_bytes())["tariffs"]


def _compare_with_kept_heads(run: CommandLine, server: ServerProcess, folder: Path) -> None:
    """A head from before the session binds its receipt, by the server's tiles or by an export."""
    early, mirror = folder / "early" / "checkpoint", f"mirror:{server.ready['http']}"

    def compare(kept: Path, *sources: str, code: int = 0, by: CommandLine = run) -> Any:
        trusted = (folder / "receipt.json", "--trust", folder / "deployment.json")
        given = [part for source in sources for part in ("--anchors", source)]
        answer = by.json("verify", *trusted, "--old-checkpoint", kept, *given, code=code)
        return answer if code == 2 else {s["step"]: s for s in answer["steps"]}["old_checkpoint"]

    assert compare(_head(server, folder))["status"] == "ok"
    assert compare(early, mirror)["status"] == "ok"
    assert compare(early)["status"] == "ok"  # by the server of --data-dir
    assert compare(early, "mirror:http://127.0.0.1:1", code=3)["status"] == "ok"
    lagging = compare(early, by=CommandLine(folder / "elsewhere", run._capture), code=3)
    assert lagging["status"] == "pending"
    assert "--anchors mirror:URL" in lagging["detail"]
    kept = early.rename(early.with_name("kept"))
    run("log", "export", folder / "early")
    assert compare(kept)["status"] == "ok"
    kept.write_bytes(kept.read_bytes().replace(b"\n\n", b"\nmore\n\n"))
    assert compare(kept, code=2)["error"]["field"] == "old_checkpoint"
    head = early.read_bytes().split(b"\n")
    kept.write_bytes(b"\n".join([head[0], b"1", *head[2:]]))  # a size that was not signed
    assert compare(kept, mirror, code=1)["status"] == "failed"


def _billed(run: CommandLine, station_id: str) -> list[dict[str, Any]]:
    """Return a station's billed sessions; a session is billed within 15 s of its end."""
    deadline_s = time.monotonic() + 15
    while time.monotonic() < deadline_s:
        rows = run.json("session", "list", "--station", station_id, "--state", "billed")
        if rows:
            return list(rows)
        time.sleep(0.1)
    raise AssertionError("no bill within 15 s")


def _rows_alone(page: Path, folder: Path) -> Path:
    file = folder / "rows.json"
    file.write_text(json.dumps(json.loads(page.read_text())["messages"]))
    return file


def _head(server: ServerProcess, folder: Path) -> Path:
    file = folder / "head"
    file.write_bytes(server.fetch("/log/checkpoint"))
    return file


def test_session__in_review_waits_for_a_decision(run: CommandLine) -> None:
    refused = run.json("session", "decide", "none", "--reason", "because", code=1)
    assert refused["error"]["code"] == "not_found"
    assert run.json("session", "list", "--state", "paid", code=1)["error"]["field"] == "state"
    missing = run.json("session", "receipt", "none", "-o", "/nowhere/file", code=1)
    assert missing["error"]["code"] == "not_found"


def test_log__head_entry_and_export(run: CommandLine, tmp_path: Path) -> None:
    run("token", "add", "NEWEST")
    entry = run.json("log", "entry", "0")
    assert entry["kind"] == "network_created"
    beyond = run.json("log", "entry", "1000000", code=1)
    assert beyond["error"]["code"] == "not_found"

    folder = tmp_path / "export"
    exported = run.json("log", "export", folder, "--records")
    head = run.json("log", "head")  # the export had one signed over everything
    assert exported["size"] == head["size"] == head["checkpoint_size"]
    assert 0 < exported["records"] <= head["size"]  # what was erased has no record
    assert (folder / "checkpoint").read_text() == head["checkpoint"]
    lines = (folder / "records.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert list(first) == ["index", "kind", "record", "salt"]
    assert (first["index"], first["salt"]) == (0, entry["salt"])
    again = run.json("log", "export", folder)
    assert again["records"] is None
    blocked = tmp_path / "file"
    blocked.touch()
    assert run.json("log", "export", blocked / "below", code=1)["error"]["code"] == "refused"


def test_backup_and_restore__to_a_server_that_goes_on(
    run: CommandLine, server: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "backup.tar"
    saved = run.json("backup", file)
    assert saved["bytes"] == file.stat().st_size
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    busy = run.json("restore", file, code=1)
    assert busy["error"]["code"] == "conflict"

    size = run.json("log", "head")["size"]
    new = CommandLine(tmp_path / "new", capsys)
    restored = new.json("restore", file)
    assert restored["log_size"] == size
    assert new.json("restore", file, code=1)["error"]["code"] == "conflict"
    with ServerProcess(tmp_path / "new", "--clock", "manual") as second:
        assert new.json("log", "head")["size"] >= size
        stations = {row["station_id"] for row in run.json("station", "list")}
        assert {row["station_id"] for row in new.json("station", "list")} == stations
        second.stop()


def test_doctor__finds_the_server(run: CommandLine) -> None:
    document = run.json("doctor")
    found = {check["name"]: check for check in document["checks"]}
    assert document["healthy"] is True
    assert found["server"]["status"] == "ok"
    assert found["postgresql"]["version"].startswith("18.")
    assert found["fastapi"]["status"] == "ok"
    assert "server" in run("doctor").out


def test_the_command_itself__prints_one_document(server: ServerProcess) -> None:
    assert server.command("clock", "now").keys() == {"now"}
    assert server.command("station", "show", "NONE", code=1)["error"]["code"] == "not_found"
