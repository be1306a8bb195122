"""The command line without a server: help, usage, errors, and what a stranger runs offline."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from chargera import __version__, cli
from chargera.cli import client, doctor, output, serve, sim
from chargera.cli.files import read_bytes, write_whole
from chargera.domain.errors import Conflict, NotFound, Refused, Unavailable, Unreadable

VECTORS = json.loads(Path("tests/vectors/ocmf_signed.json").read_text())["vectors"]
WITHOUT_SERVER = {"verify", "verify-meter", "tariff price", "sim station", "doctor", "openapi"}
TARIFF = {
    "id": "T",
    "currency": "EUR",
    "elements": [{"price_components": [{"type": "ENERGY", "price": 0.3, "step_size": 1}]}],
}


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (words, command) of every command."""
    group = typer.main.get_command(cli.app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        if below is None:
            yield (name,), command
        else:
            yield from (((name, verb), leaf) for verb, leaf in below.items())


COMMANDS = dict(commands())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help__is_there_for_every_command(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*words, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: chargera {' '.join(words)}")
    assert "--json" in text
    assert "--data-dir" in text


def test_the_commands_of_the_interface_are_all_there() -> None:
    wanted = """serve|demo|station register|station list|station show|station password
        station tariff|station command|token add|token list|token block|token unblock|token import
        login add|api-key add|tariff set|tariff price|session list|session show|session receipt
        session cdr|log head|log entry|log export|anchor now|anchor list|verify|verify-meter
        sim station|doctor|clock advance|backup|restore|openapi|settings show"""
    named = {tuple(part.split()) for line in wanted.split("\n") for part in line.split("|")}
    assert named <= COMMANDS.keys()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_an_unknown_option__is_usage(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*words, "--no-such-option", "--json"]) == 2
    said = capsys.readouterr()
    assert json.loads(said.out)["error"].keys() == {"code", "message", "field", "remedy"}
    assert "error:" in said.err


@pytest.mark.parametrize("words", [(), ("station",), ("sim",), ("settings",)])
def test_a_noun_alone__shows_what_it_can(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(words) == 2
    said = capsys.readouterr()
    assert "Usage: chargera" in said.out + said.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_help__loads_nothing_heavy() -> None:
    heavy = ["fastapi", "pydantic", "psycopg", "httpx2", "cryptography", "picows", "rich"]
    program = (
        "import sys; from chargera import cli; cli.run(['--help']);"
        f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


NEEDS_A_SERVER = {
    ("station", "register"): [
        *("--id", "S", "--manufacturer", "M", "--model", "X", "--serial", "N", "--lat", "1"),
        *("--lon", "1", "--evse", "1:type2:22000", "--profile", "2"),
    ],
    ("station", "list"): [],
    ("station", "show"): ["S"],
    ("station", "command"): ["S", "reset"],
    ("token", "add"): ["T"],
    ("token", "list"): [],
    ("login", "add"): ["N", "--role", "host"],
    ("api-key", "add"): ["N", "--scope", "all"],
    ("session", "list"): [],
    ("session", "receipt"): ["S", "-o", "F"],
    ("log", "head"): [],
    ("anchor", "now"): [],
    ("clock", "advance"): ["1"],
    ("backup",): ["F"],
}


@pytest.mark.parametrize("words", NEEDS_A_SERVER, ids=" ".join)
def test_without_a_server__the_error_says_how_to_start_one(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*words, *NEEDS_A_SERVER[words], "--data-dir", str(tmp_path), "--json"]
    assert cli.run(arguments) == 3
    said = capsys.readouterr()
    error = json.loads(said.out)["error"]
    assert error["code"] == "unavailable"
    assert error["remedy"] == f"start one: chargera serve --data-dir {tmp_path}"


@pytest.mark.parametrize("content", ["{", "[]", '{"http": 1}', '{"http": "http://x"}'])
def test_a_damaged_serve_file__is_unreadable(
    tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "serve.json").write_text(content)
    assert cli.run(["log", "head", "--data-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().out == ""


def test_what_was_not_foreseen__is_an_error_like_any_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands = typer.Typer()

    @commands.command()
    def divide(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
        raise ZeroDivisionError

    assert cli.run(["--json"], commands) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["error"]["code"] == "error"
    assert "ZeroDivisionError" in said.err


def test_a_reader_that_has_had_enough__is_no_error() -> None:
    program = f"{sys.executable} -c 'from chargera.cli import main; main()' openapi"
    done = subprocess.run(
        ["/bin/sh", "-c", f"{program} | true"], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


# Offline ---------------------------------------------------------------------------------------


def written(path: Path, document: Any) -> str:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


def test_tariff_price__a_session(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = {
        "started_at": "2026-05-04T08:00:00Z",
        "ended_at": "2026-05-04T09:00:00Z",
        "readings": [
            {"at": "2026-05-04T08:00:00Z", "register_wh": 0},
            {"at": "2026-05-04T09:00:00Z", "register_wh": 1500},
        ],
    }
    tariff = written(tmp_path / "t.json", TARIFF)
    given = written(tmp_path / "s.json", session)
    assert cli.run(["tariff", "price", tariff, "--session", given, "--json"]) == 0
    bill = json.loads(capsys.readouterr().out)
    assert (bill["net_exact"], bill["net_minor"]) == ("0.45", 45)
    assert cli.run(["tariff", "price", tariff, "--session", given]) == 0
    assert "net_minor" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tariff", "session", "code", "field"),
    [
        ("{", None, 2, None),
        (TARIFF, None, 2, None),
        (TARIFF | {"min_price": 1}, {}, 1, "min_price"),
        (TARIFF, {"started_at": "x"}, 1, "started_at"),
    ],
)
def test_tariff_price__what_is_wrong_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tariff: Any,
    session: Any,
    code: int,
    field: str | None,
) -> None:
    arguments = ["tariff", "price", written(tmp_path / "t.json", tariff), "--json"]
    if session is not None:
        arguments += ["--session", written(tmp_path / "s.json", session)]
    assert cli.run(arguments) == code
    assert json.loads(capsys.readouterr().out)["error"]["field"] == field


def test_verify_meter__a_good_value_a_flipped_one_and_no_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vector = VECTORS[0]
    value = written(tmp_path / "value", vector["ocmf"])
    key = written(tmp_path / "key", vector["public_key"])
    assert cli.run(["verify-meter", value, "--key", key, "--json"]) in (0, 1)
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert {"signature": "ok"}.items() <= {s["step"]: s["status"] for s in steps}.items()
    flipped = written(tmp_path / "flipped", vector["ocmf"].replace("0.2596", "0.2595"))
    assert cli.run(["verify-meter", flipped, "--key", key]) == 1
    assert "FAILED   signature" in capsys.readouterr().out
    assert cli.run(["verify-meter", value, "--key", str(tmp_path / "none"), "--json"]) == 2


def test_verify__what_is_no_receipt_fails_by_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in ("", "{}", "[" * 100_000):
        file = written(tmp_path / "receipt", content)
        assert cli.run(["verify", file, "--json"]) == 2
        assert json.loads(capsys.readouterr().out)["failed_step"] == "form"
        assert cli.run(["verify", file, "--anchors", "mirror:http://127.0.0.1:1"]) == 2
        assert "INVALID: form" in capsys.readouterr().out
    assert cli.run(["verify", str(tmp_path / "none"), "--json"]) == 2


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--trust", "broken"], 2),
        (["--trust", "none"], 2),
        (["--trust", "broken", "--log-key", "x"], 2),
        (["--log-key", "x"], 2),
        (["--anchors", "broken"], 2),
        (["--anchors", "page"], 2),
        (["--old-checkpoint", "none"], 2),
        (["--old-checkpoint", "page"], 2),
    ],
)
def test_verify__trust_and_sources_that_cannot_be_read(
    tmp_path: Path, options: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "broken", "{")
    written(tmp_path / "page", {"messages": [{}], "links": {"next": None}})
    receipt = written(tmp_path / "receipt", "{}")
    named = [str(tmp_path / o) if o in ("broken", "none", "page") else o for o in options]
    assert cli.run(["verify", receipt, *named, "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    if "error" in document:
        assert document["error"]["message"]
        assert document["error"]["remedy"]
    else:
        assert document["failed_step"] == "form"


def test_openapi_and_settings__need_no_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.run(["openapi", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["info"]["title"] == "ChargEra"
    monkeypatch.setenv("CHARGERA_DATABASE_URL", "postgresql://u:hunter2@h/d")
    assert cli.run(["settings", "show", "--data-dir", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert 'operator.id = "NL*C4E"' in text
    assert "hunter2" not in text
    monkeypatch.setenv("CHARGERA_OPERATOR_ID", "nobody")
    assert cli.run(["settings", "show", "--data-dir", str(tmp_path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["field"] == "operator.id"


def test_sim_station__knows_its_versions(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--url", "ws://x", "--id", "S", "--password", "P", "--ocpp", "1.5", "--json"]
    assert cli.run(["sim", "station", *options]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["field"] == "ocpp"


@pytest.mark.parametrize(
    ("options", "code", "field"),
    [
        (("--url", "http://127.0.0.1:9/ocpp"), 1, "url"),
        (("--url", "wss://"), 1, "url"),
        (("--url", "ws://host:port/ocpp"), 1, "url"),
        (("--url", "wss://127.0.0.1:9/ocpp", "--ca-file", "README.md"), 2, "ca_file"),
        (("--url", "wss://127.0.0.1:9/ocpp", "--ca-file", "none.pem"), 2, "file"),
    ],
)
def test_sim_station__what_is_no_address_and_no_certificate(
    options: tuple[str, ...], code: int, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = [*options, "--id", "S", "--password", "P", "--ocpp", "1.6", "--json"]
    assert cli.run(["sim", "station", *whole]) == code
    assert json.loads(capsys.readouterr().out)["error"]["field"] == field


def test_sim_station__only_this_machine_needs_no_certificate() -> None:
    for url, is_checked in (
        ("wss://127.0.0.1:9/ocpp", False),
        ("wss://localhost/ocpp", False),
        ("wss://[::1]:9/ocpp", False),
        ("wss://csms.example/ocpp", True),
        ("wss://192.0.2.7:9/ocpp", True),
    ):
        assert sim._access(url, "S", "P", None).is_checked is is_checked


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("verify-meter", "x"), "key"),
        (("station", "list", "--limit", "0"), "limit"),
        (("log", "entry", "x"), "log_index"),
        (("station", "show"), "station_id"),
        (("station", "register", "--time-zon", "UTC"), "time_zon"),
    ],
)
def test_usage__names_what_is_wrong(
    words: tuple[str, ...], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*words, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["field"] == field


def test_serve__a_certificate_needs_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--tls-cert", "cert.pem", "--data-dir", str(tmp_path), "--json"]
    assert cli.run(["serve", *options]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["field"] == "tls_key"
    assert cli.run(["serve", "--clock", "sundial", "--json"]) == 2
    assert cli.run(["serve", "--http-port", "70000", "--json"]) == 2


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_serve__a_folder_that_cannot_be_used_is_named(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        assert cli.run([command, "--data-dir", str(place), "--json"]) == 1
        error = json.loads(capsys.readouterr().out)["error"]
        assert (error["code"], error["field"]) == ("refused", "data_dir")
        assert str(place) in error["message"]


def test_serve__a_new_network_needs_room(tmp_path: Path) -> None:
    wanted = 2 * shutil.disk_usage(tmp_path).total
    with pytest.raises(Refused, match="MiB free"):
        serve.prepare_folder(tmp_path / "new", wanted)
    (tmp_path / "new" / "chargera.toml").touch()
    serve.prepare_folder(tmp_path / "new", wanted)


def test_no_room__is_said_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    full = typer.Typer()

    @full.command()
    def fill(number: int) -> None:
        raise OSError(number, os.strerror(number), "big.bin")

    assert cli.run([str(errno.ENOSPC)], full) == 1
    said = capsys.readouterr().err
    assert "big.bin cannot be written: No space left on device" in said
    assert "Traceback" not in said
    assert cli.run([str(errno.EIO)], full) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_name_that_names_nothing__is_refused_by_field(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "serve.json").write_text('{"http": "http://127.0.0.1:1", "api_key": "k"}')
    for words, field in (
        (("session", "show"), "session_id"),
        (("station", "show"), "station_id"),
        (("tariff", "show"), "tariff_id"),
        (("login", "disable"), "name"),
    ):
        assert cli.run([*words, name, "--data-dir", str(tmp_path), "--json"]) == 2
        assert json.loads(capsys.readouterr().out)["error"]["field"] == field


# Parts -----------------------------------------------------------------------------------------


def test_errors_of_the_server__are_the_classes_that_they_are_here() -> None:
    assert client._class_of("not_found") is NotFound
    assert client._class_of("conflict") is Conflict
    unknown = client._class_of("not_signed_in")
    assert issubclass(unknown, Refused)
    assert unknown("x").as_dict()["code"] == "not_signed_in"


def test_write_whole__a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")

    def breaks() -> Iterator[bytes]:
        yield b"half"
        raise Unavailable("the connection broke")

    with pytest.raises(Unavailable):
        write_whole(file, breaks())
    assert file.read_text() == "old"
    assert write_whole(file, [b"n", b"ew"]) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.stat().st_mode & 0o400
    write_whole(file, [b"secret"], private=True)
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refused, match="cannot be written"):
        write_whole(tmp_path / "no" / "folder", [b""])


def test_read_bytes__says_why_it_cannot(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="cannot be read"):
        read_bytes(tmp_path)
    (tmp_path / "file").write_bytes(b"abc")
    assert read_bytes(tmp_path / "file", 3) == b"abc"
    with pytest.raises(Unreadable, match="more than 2 bytes"):
        read_bytes(tmp_path / "file", 2)


def test_plain__renders_for_people() -> None:
    assert output.plain([]) == "(none)"
    assert output.plain(["a", 1]) == "a\n1"
    assert output.plain([{"a": None, "bb": True}, {"a": "xyz", "bb": False}]) == (
        "a    bb\n-    yes\nxyz  no"
    )
    assert output.plain({"one": [1, 2], "three": 1.5}) == "one    1, 2\nthree  1.5"
    assert output.plain(None) == "-"


def test_plain__parts_with_parts_follow_under_their_names() -> None:
    document = {
        "rows": [{"a": 1, "b": {"deep": [{"x": 1}]}}, {"a": 2, "b": {}}],
        "id": "S",
        "list": [],
        "of": {"c": {"d": 4}},
    }
    assert output.plain(document) == (
        "id    S\n"
        "list  -\n"
        "rows:\n"
        "  a  1\n"
        "  b:\n"
        "    deep:\n"
        "      x\n"
        "      1\n"
        "\n"
        "  a  2\n"
        "  b  {}\n"
        "of:\n"
        "  c:\n"
        "    d  4"
    )
    assert output.plain({"rows": document["rows"]}, {"rows": ["a"]}) == "rows:\n  a\n  1\n  2"
    assert output.table([], ["a"]) == "(none)"


def test_progress__is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("work") as report:
        report(1, 2)
        report(1, None)
    assert capsys.readouterr() == ("", "")


def test_doctor__names_the_fix_of_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARGERA_DATABASE_URL", "postgresql://127.0.0.1:1/none")
    monkeypatch.setenv("CHARGERA_URL", "http://127.0.0.1:1")
    assert cli.run(["doctor", "--data-dir", str(tmp_path / "new"), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    found = {check["name"]: check for check in document["checks"]}
    assert document["healthy"] is False
    assert found["database"]["status"] == "failed"
    assert found["server"]["status"] == "failed"
    assert found["python"]["status"] == "ok"
    assert cli.run(["doctor", "--data-dir", str(tmp_path)]) == 1
    assert "fix: " in capsys.readouterr().out
    monkeypatch.setenv("CHARGERA_OPERATOR_ID", "nobody")
    settings = doctor._settings(tmp_path)
    assert (settings.status, settings.fix.startswith("correct it")) == ("failed", True)


@pytest.mark.parametrize(
    ("name", "requirement", "status"),
    [
        ("typer", "typer>=0.1", "ok"),
        ("typer", "typer>=999", "failed"),
        ("no-such-package", "no-such-package", "failed"),
        ("typer", "typer", "ok"),
    ],
)
def test_doctor__compares_versions(name: str, requirement: str, status: str) -> None:
    assert doctor._package(name, requirement).status == status


def test_doctor__asks_only_for_what_this_machine_needs() -> None:
    major, minor = sys.version_info[:2]
    here, later = f"'{major}.{minor}'", f"'{major}.{minor + 1}'"
    for marker, is_for_here in {
        f"python_version >= {here}": True,
        f"python_version < {later}": True,
        f"python_version > {here}": False,
        "python_version > '3.9'": True,
        f"python_version == {later} or sys_platform == '{sys.platform}'": True,
        f"python_version == {here} and (sys_platform == 'none' or sys_platform != 'none')": True,
        f"python_version == {here} and platform_machine == 'none'": False,
        "extra == 'hedera'": False,
        "not sys_platform": False,
    }.items():
        assert doctor.is_for_here(marker) is is_for_here, marker


def test_doctor__a_tool_that_only_tests_need_may_be_absent() -> None:
    assert doctor._tool("none", ("no-such-program",), "tests").status == "absent"
    assert doctor._tool("python", (sys.executable, "--version"), "tests").status == "ok"
