"""The checkout itself: what is committed names no registry and no machine, and links lead on."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors"
LOCK_FILES = ("requirements/*.txt", "**/package-lock.json", "**/go.sum", "**/go.mod", "**/.npmrc")
TEXT_BYTES_MAX = 2 * 2**20

# In pieces, so that this file does not name what it forbids.
REGISTRY_HOSTS = re.compile(
    r"pypi\.(?:org|python)|pythonhosted\.|registry\.(?:npmjs|yarnpkg)|crates\.io/api|"
    r"(?:proxy|sum)\.golang\.|index-url|find-links"
)
MACHINE_PATHS = re.compile(r"(?<![\w./~-])/(?:home/\w|Users/\w|root/\w|work/\w)")


def committed() -> list[Path]:
    """Return the files under version control, or what would be in a source archive."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("this is no checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def text_of(path: Path) -> str | None:
    data = path.read_bytes()
    return None if len(data) > TEXT_BYTES_MAX or b"\0" in data else data.decode(errors="replace")


def found(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    """Return file, line and text of every match, for the one who must remove it."""
    places = []
    for path in paths:
        for number, line in enumerate((text_of(path) or "").splitlines(), 1):
            if pattern.search(line):
                places.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    return places


def test_committed_files__name_no_registry_host() -> None:
    others = [path for path in committed() if path != Path(__file__)]
    assert found(REGISTRY_HOSTS, others) == []


def test_committed_files__name_no_path_of_a_developers_machine() -> None:
    others = [path for path in committed() if path != Path(__file__)]
    assert found(MACHINE_PATHS, others) == []


def test_lock_files__have_hashes_and_no_addresses() -> None:
    paths = [path for pattern in LOCK_FILES for path in ROOT.glob(pattern)]
    paths = [path for path in paths if not {"node_modules", ".venv"} & set(path.parts)]
    assert {path.name for path in paths} >= {"base.txt", "test.txt", "package-lock.json", "go.sum"}
    for path in paths:
        text = path.read_text()
        assert "resolved" not in re.sub(r"omit-lockfile-registry-resolved", "", text), path
        if path.parent.name == "requirements":
            pins = [
                line for line in text.splitlines() if re.match(r"[a-z0-9]", line, re.IGNORECASE)
            ]
            assert pins
            assert all("==" in line and line.endswith("\\") for line in pins), path
            assert text.count("--hash=sha256:") >= len(pins), path


def test_package_lock__every_package_has_its_hash() -> None:
    lock = json.loads((ROOT / "tests/tools/node/package-lock.json").read_text())
    packages = {name: facts for name, facts in lock["packages"].items() if name}
    assert packages
    assert [name for name, facts in packages.items() if "integrity" not in facts] == []


def test_requirements__are_of_the_declared_dependencies() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    base = (ROOT / "requirements/base.txt").read_text().lower()
    for dependency in declared["project"]["dependencies"]:
        name = re.split(r"[\[<>=!~ ]", dependency)[0]
        assert re.search(rf"^{re.escape(name)}(\[.*\])?==", base, re.MULTILINE), (
            f"make lock: {name}"
        )


def test_vectors__each_has_its_source_and_licence() -> None:
    readme = (VECTORS / "README.md").read_text()
    found = [path for path in VECTORS.rglob("*") if path.is_file()]
    files = {path.relative_to(VECTORS).as_posix() for path in found} - {"README.md"}
    assert files
    assert {name for name in files if f"`{name}`" not in readme} == set()
    rows = [line for line in readme.splitlines() if line.startswith("| `")]
    for row in rows:
        assert re.search(r"MIT|Apache|BSD|CC|ISC|public domain|own", row, re.IGNORECASE), row


@pytest.mark.parametrize("folder", ["src/chargera/sim/data", "tests/vectors"])
def test_data_of_others__stands_with_its_licence(folder: str) -> None:
    readme = (ROOT / folder / "README.md").read_text()
    assert re.search(r"licen[cs]e", readme, re.IGNORECASE)
    data = [path.name for path in (ROOT / folder).iterdir() if path.suffix in (".csv", ".json")]
    assert data
    assert [name for name in data if name not in readme] == []


def documents() -> list[Path]:
    return [path for path in committed() if path.suffix == ".md"]


def test_documents__relative_links_lead_to_something() -> None:
    broken = []
    for path in documents():
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            file, _, anchor = target.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            goal = (path.parent / file).resolve() if file else path
            if not goal.exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
            elif anchor and goal.suffix == ".md" and anchor not in anchors(goal):
                broken.append(f"{path.relative_to(ROOT)}: {target} (no such heading)")
    assert broken == []


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings as forges make them."""
    headings = re.findall(r"^#+ +(.+?)\s*$", path.read_text(), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def test_documents__repository_paths_in_code_style_exist() -> None:
    pattern = re.compile(
        r"`((?:src/chargera|tests|docs|scripts|benchmarks|requirements)/[\w./-]+)`"
    )
    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in documents()
        for name in pattern.findall(path.read_text())
        if not (ROOT / name).exists()
    ]
    assert missing == []


def test_make_targets__that_documents_name__exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pattern = re.compile(r"`make ([a-z][a-z-]*)")
    named = {
        (str(path.relative_to(ROOT)), name)
        for path in documents()
        for name in pattern.findall(path.read_text())
    }
    assert named
    assert {(path, name) for path, name in named if name not in targets} == set()


def test_scripts_that_make_calls__exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    called = set(re.findall(r"\bscripts/[\w-]+", makefile))
    assert called
    assert {name for name in called if not (ROOT / name).is_file()} == set()
