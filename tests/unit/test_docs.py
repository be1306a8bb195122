"""Documentation that cannot rot: links lead somewhere, commands exist, examples come out right."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.exceptions import TyperException

from chargera import settings
from chargera.cli import app
from chargera.proofs import ocpi
from chargera.proofs.entry import commit, parse_envelope
from chargera.proofs.tree import leaf_hash
from chargera.proofs.trust import parse_trust

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
UNIT = ROOT / "deploy/systemd/chargera.service"
ALERTS = ROOT / "deploy/prometheus/alerts.yml"

LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
VARIABLE = re.compile(r"\bCHARGERA_[A-Z0-9_]+\b")
NOT_SETTINGS = {"CHARGERA_DATA_DIR", "CHARGERA_URL", "CHARGERA_API_KEY", "CHARGERA_SECTION_NAME"}

by_name = {"ids": lambda path: str(path.relative_to(ROOT))}


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(page.read_text()) if kind == language]


# Links ----------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
        found.add(words.strip().replace(" ", "-"))
    return found


def broken_links(page: Path) -> list[str]:
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES, **by_name)
def test_links__every_page__lead_somewhere(page):
    assert broken_links(page) == []


def test_links__missing_file_or_heading__are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A heading\n[a](#a-heading) [b](#another) [c](none.md) [d](https://e.f)\n")
    assert broken_links(page) == ["#another", "none.md"]


def test_pages__every_one__is_linked_from_another():
    linked = set()
    for page in PAGES:
        for target in LINK.findall(page.read_text()):
            linked.add((page.parent / target.partition("#")[0]).resolve())
    folder = ROOT / "docs"
    inside = [p for p in PAGES if folder in p.parents and p != folder / "README.md"]
    orphans = [p for p in inside if p not in linked]
    assert orphans == []


# Commands -------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of each `chargera ...` in shell text, pipes and substitutions cut off."""
    text = re.sub(r"<<-?'?(\w+)'?.*?\n\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if "chargera " not in line:
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        for place, word in enumerate(words):
            if word == "chargera" or word.endswith("/bin/chargera"):
                arguments = []
                for argument in words[place + 1 :]:
                    if set(argument) <= set("();<>|&"):
                        break
                    arguments.append(argument)
                yield arguments


def refusal(arguments: list[str]) -> str | None:
    """What the command line says of these arguments without running anything; None: they fit."""
    command: Any = typer.main.get_command(app)
    context: Any = None
    rest = list(arguments)
    if rest == ["--help"]:
        return None
    while hasattr(command, "commands"):
        if not rest or rest[0] not in command.commands:
            return f"no command {' '.join(arguments)}"
        command = command.commands[rest.pop(0)]
    try:
        context = command.make_context(arguments[0], rest)
    except TyperException as error:
        return error.format_message()
    except typer.Exit:
        return None  # --help
    context.close()
    return None


def documented_commands() -> Iterator[Any]:
    for page in PAGES:
        for language in ("sh", ""):
            for block in blocks(page, language):
                for arguments in commands(block):
                    yield pytest.param(arguments, id=f"{page.name}: {' '.join(arguments)[:60]}")
    start = re.search(r"^ExecStart=(.*?[^\\])$", UNIT.read_text(), re.DOTALL | re.MULTILINE)
    assert start is not None
    for arguments in commands(start[1]):
        yield pytest.param(arguments, id="chargera.service")


@pytest.mark.parametrize("arguments", list(documented_commands()))
def test_commands__every_documented_one__exists_with_these_options(arguments):
    assert refusal(arguments) is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("chargera session fly", "no command"),
        ("chargera session list --colour", "colour"),
        ("chargera session receipt S", "--output"),
        ("X=$(chargera log entry ten | jq .)", "valid integer"),
    ],
)
def test_commands__what_does_not_exist__is_found(line, said):
    [arguments] = commands(line)
    assert said in (refusal(arguments) or "")


def test_inline_commands__every_one__names_a_command():
    root: Any = typer.main.get_command(app)
    unknown = []
    for page in PAGES:
        for text in re.findall(r"`chargera ((?:[a-z-]+ ?)+)", FENCE.sub("", page.read_text())):
            command, words = root, text.split()
            while words and hasattr(command, "commands"):
                command = command.commands.get(words.pop(0))
            if command is None:
                unknown.append(f"{page.name}: chargera {text}")
    assert unknown == []


# Facts of the code ----------------------------------------------------------------------------


def test_generated_parts__are_current():
    done = subprocess.run(
        [sys.executable, "-m", "scripts.docs", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def known_variables() -> set[str]:
    names = set(NOT_SETTINGS)
    for section, values in settings.shown(settings.Settings()).items():
        for name in values:
            variable = f"{settings.PREFIX}{section}_{name}".upper()
            names |= {variable, f"{variable}_FILE"}
    return names | {f"{name}_FILE" for name in NOT_SETTINGS}


@pytest.mark.parametrize("page", [*PAGES, UNIT], **by_name)
def test_variables__every_documented_one__exists(page):
    named = {n for n in VARIABLE.findall(page.read_text()) if n != "CHARGERA_CHROMIUM"}
    assert named <= known_variables()


def test_settings_example__is_read(tmp_path):
    [example] = blocks(ROOT / "docs/reference/settings.md", "toml")
    (tmp_path / settings.CONFIG_FILE).write_text(example)
    read = settings.load(tmp_path, {})
    assert (read.operator.id, read.ledger.anchor_interval_s) == ("NL*ABC", 600)


def test_alerts__use_only_metrics_and_labels_that_exist():
    table = (ROOT / "docs/reference/metrics.md").read_text()
    known: dict[str, str] = {}
    for name, label, kind in re.findall(
        r"^\| `(chargera_\w+)(?:\{(\w+)\})?` \| (\w+) ", table, re.MULTILINE
    ):
        ends = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
        known.update({f"{name}{end}": label for end in ends})
    text = ALERTS.read_text()
    used = re.findall(r"\b(chargera_[a-z_]+)(?:\{(\w+)=)?", text)
    assert len(known) > 15
    assert len(used) > 10
    assert [name for name, label in used if name not in known] == []
    assert [name for name, label in used if label and known[name] != label] == []


def test_alerts__every_rule__says_what_to_do():
    rules = ALERTS.read_text().split("- alert: ")[1:]
    assert len(rules) == len({rule.split("\n")[0] for rule in rules})
    for rule in rules:
        assert all(f"{member}:" in rule for member in ("expr", "severity", "summary", "action"))


def test_alerts__defaults__are_those_of_the_settings():
    text, defaults = ALERTS.read_text(), settings.Settings()
    assert f"chargera_log_lag_seconds > {2 * defaults.log.checkpoint_interval_s}\n" in text
    # The interval is the policy's, which the server tells.
    assert "chargera_anchor_lag_seconds > chargera_anchor_window_seconds + 300\n" in text


# Examples -------------------------------------------------------------------------------------

LOG_ENTRIES = ROOT / "docs/reference/log-entries.md"


def example_entry() -> tuple[bytes, bytes, bytes]:
    """Entry, salt and record of the example."""
    [entry] = blocks(LOG_ENTRIES, "json")
    shell = blocks(LOG_ENTRIES, "sh")[0]
    salt = re.search(r"^salt=([0-9a-f]{64})$", shell, re.MULTILINE)
    record = re.search(r"^record='(.*)'$", shell, re.MULTILINE)
    assert salt is not None
    assert record is not None
    return entry.strip().encode(), bytes.fromhex(salt[1]), record[1].encode()


def test_commitment_example__opens_the_entry():
    entry, salt, record = example_entry()
    assert parse_envelope(entry).commitment == commit(salt, record)
    shown = blocks(LOG_ENTRIES, "text")
    assert [line.split()[0] for line in shown[:2]] == [
        commit(salt, record).hex(),
        leaf_hash(entry).hex(),
    ]


@pytest.mark.skipif(
    not all(map(shutil.which, ("sh", "sha256sum", "basenc", "tr"))), reason="needs coreutils"
)
@pytest.mark.parametrize("place", [0, 1])
def test_commitment_example__in_a_shell__prints_what_is_shown(place):
    script = blocks(LOG_ENTRIES, "sh")[place]
    done = subprocess.run(["sh", "-eu"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout == blocks(LOG_ENTRIES, "text")[place]


def test_trust_file_example__is_one():
    [example] = blocks(ROOT / "docs/reference/receipt.md", "json")
    trust = parse_trust(json.loads(example))
    assert trust.log_keys[0].name == trust.origin


def test_error_example__has_the_members_of_every_error():
    [example] = blocks(ROOT / "docs/reference/errors.md", "json")
    assert list(json.loads(example)["error"]) == ["code", "message", "field", "remedy"]


def test_bill_example__comes_out_as_told():
    page = ROOT / "docs/explanation/how-bills-are-made.md"
    tariff, session = map(ocpi.parse_json, blocks(page, "json"))
    bill = ocpi.price_documents(tariff, session=session)
    rows = {}
    for row in re.findall(r"^\| (.+) \|$", page.read_text(), re.MULTILINE):
        what, _, exact, cents = (cell.strip(" *") for cell in row.split("|"))
        rows[what] = (exact, cents)
    lines = {line["dimension"]: line for line in bill["lines"]}  # type: ignore[attr-defined]
    told = [rows[name] for name in ("fee", "energy, one line", "parking", "net", "VAT", "gross")]
    assert [cents for _, cents in told] == [
        str(lines["FLAT"]["minor"]),
        str(lines["ENERGY"]["minor"]),
        str(lines["PARKING_TIME"]["minor"]),
        str(bill["net_minor"]),
        str(bill["vat_minor"]),
        str(bill["gross_minor"]),
    ]
    assert [float(exact) for exact, _ in told[3:]] == [
        float(str(bill[name])) for name in ("net_exact", "vat_exact", "gross_exact")
    ]
    energy = [rows["energy until 7:00"][0], rows["energy from 7:00"][0]]
    periods = bill["periods"]
    parts = [d["exact"] for p in periods for d in p["dimensions"] if d["dimension"] == "ENERGY"]  # type: ignore[attr-defined]
    assert list(map(float, energy)) == list(map(float, parts))
