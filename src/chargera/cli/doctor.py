"""`chargera doctor`: each dependency with its version, whether it can be reached, and the fix."""

import ast
import importlib.metadata
import operator
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from chargera.cli.output import show
from chargera.domain.errors import ChargEraError

PYTHON_MIN = (3, 11)
DISK_FREE_MIN = 512 * 2**20
TOOL_TIMEOUT_S = 10.0

TOOLS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("go", ("go", "version"), "https://go.dev/dl; checks the log with foreign code"),
    ("node", ("node", "--version"), "https://nodejs.org; a foreign OCPP client"),
    ("cargo", ("cargo", "--version"), "https://rustup.rs; prices CDRs with foreign code"),
    ("chromium", ("chromium", "--version"), "your system's package; browser tests"),
)
"""Programs that only `make test-tools` needs: name, how to ask, what for."""


HERE = {
    "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
    "sys_platform": sys.platform,
    "platform_machine": platform.machine(),
}
"""What the environment markers of our requirements ask about."""

COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class Health(StrEnum):
    """What became of a check."""

    OK = "ok"
    FAILED = "failed"
    ABSENT = "absent"
    """Not there, and not needed to run."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: Health
    version: str | None
    detail: str
    fix: str


def doctor(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Look at everything that ChargEra needs; exit 1 if something is missing."""
    checks = list(examine(data_dir))
    document = {
        "healthy": all(check.status is not Health.FAILED for check in checks),
        "checks": [asdict(check) for check in checks],
    }
    lines = []
    for check in checks:
        lines.append(
            f"{check.status:<7} {check.name:<28} {check.version or '-':<12} {check.detail}"
        )
        if check.status is Health.FAILED:
            lines.append(f"        fix: {check.fix}")
    show(document, as_json, "\n".join(lines))
    raise typer.Exit(0 if document["healthy"] else 1)


def examine(data_dir: Path) -> Iterator[Check]:
    """Yield all checks, the ones that others build on first."""
    yield _python()
    yield from _packages()
    yield _postgres_programs()
    yield _data_folder(data_dir)
    yield _settings(data_dir)
    yield _database(data_dir)
    yield _server(data_dir)
    yield from _hedera(data_dir)
    for name, command, purpose in TOOLS:
        yield _tool(name, command, purpose)


def _python() -> Check:
    fits = sys.version_info[:2] >= PYTHON_MIN
    return Check(
        "python",
        Health.OK if fits else Health.FAILED,
        platform.python_version(),
        f"{platform.system()} {platform.machine()}",
        "install Python 3.11 or newer",
    )


def _packages() -> Iterator[Check]:
    """Check each dependency of the installed distribution against what it asks for."""
    for requirement in importlib.metadata.requires("chargera") or ():
        text, _, marker = requirement.partition(";")
        if marker and not is_for_here(marker):
            continue
        name = re.split(r"[\s\[<>=!~]", text.strip(), maxsplit=1)[0]
        yield _package(name, text.strip())


def is_for_here(marker: str) -> bool:
    """Tell whether an environment marker (PEP 508) names this Python and machine, and no extra."""
    return _holds(ast.parse(marker.strip(), mode="eval").body)


def _holds(node: ast.expr) -> bool:
    match node:
        case ast.BoolOp(op=ast.And()):
            return all(map(_holds, node.values))
        case ast.BoolOp():
            return any(map(_holds, node.values))
        case ast.Compare(ast.Name("python_version"), [sign], [ast.Constant(str(wanted))]):
            return COMPARISONS[type(sign)](_numbers(HERE["python_version"]), _numbers(wanted))
        case ast.Compare(ast.Name(name), [sign], [ast.Constant(str(wanted))]):
            return name in HERE and COMPARISONS[type(sign)](HERE[name], wanted)
        case _:
            return False


def _package(name: str, requirement: str) -> Check:
    fix = "pip install --require-hashes -r requirements/base.txt"
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Check(name, Health.FAILED, None, "not installed", fix)
    least = re.search(r">=\s*([0-9.]+)", requirement)
    if least is not None and _numbers(version) < _numbers(least[1]):
        return Check(name, Health.FAILED, version, f"{requirement} is needed", fix)
    return Check(name, Health.OK, version, requirement, fix)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _postgres_programs() -> Check:
    def look() -> tuple[str, str]:
        from chargera.store.programs import installed

        path = installed().postgres
        done = subprocess.run(  # noqa: S603 - the program of our own wheel
            [str(path), "--version"],
            capture_output=True,
            text=True,
            timeout=TOOL_TIMEOUT_S,
            check=True,
        )
        return done.stdout.strip().split()[-1], "embedded server of the wheel"

    return _guarded("postgresql", "install the requirements, or set CHARGERA_DATABASE_URL", look)


def _data_folder(data_dir: Path) -> Check:
    place = data_dir
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    writable = os.access(place, os.W_OK | os.X_OK)
    enough = free >= DISK_FREE_MIN
    return Check(
        "data folder",
        Health.OK if writable and enough else Health.FAILED,
        None,
        f"{data_dir}: {free // 2**20} MiB free" + ("" if writable else ", not writable"),
        "choose another --data-dir, or make room",
    )


def _settings(data_dir: Path) -> Check:
    def look() -> tuple[None, str]:
        from chargera import settings

        loaded = settings.load(data_dir, os.environ)
        return None, f"operator {loaded.operator.id}, ledger {loaded.ledger.network}"

    return _guarded("settings", "see `chargera settings show`", look)


def _database(data_dir: Path) -> Check:
    def look() -> tuple[str | None, str]:
        import psycopg

        from chargera import settings

        url = settings.load(data_dir, os.environ).database.url
        if url is None:
            return None, "embedded: `serve` starts and stops it"
        with psycopg.connect(url.get_secret_value(), connect_timeout=5) as connection:
            number = connection.info.server_version
        return f"{number // 10_000}.{number % 10_000}", "reachable"

    return _guarded("database", "start PostgreSQL, or correct CHARGERA_DATABASE_URL", look)


def _server(data_dir: Path) -> Check:
    from chargera.cli.client import SERVE_FILE, Server

    fix = f"chargera serve --data-dir {data_dir}"
    if not (data_dir / SERVE_FILE).exists() and "CHARGERA_URL" not in os.environ:
        return Check("server", Health.ABSENT, None, "not running", fix)

    def look() -> tuple[str, str]:
        server = Server(data_dir)
        answer = server.get("/whoami")
        return answer["version"], f"{server.url}, as {answer['name']}"

    return _guarded("server", fix, look)


def _hedera(data_dir: Path) -> Iterator[Check]:
    """Check the network of Hedera, where one is configured."""
    from chargera import settings
    from chargera.app.clock import wall_clock
    from chargera.cli.hedera_checks import hedera_checks

    try:
        loaded = settings.load(data_dir, os.environ)
        if loaded.ledger.network == "embedded":
            return
        checks = list(hedera_checks(loaded, wall_clock))
    except ChargEraError as error:  # of the settings
        yield Check("hedera", Health.FAILED, None, error.message, error.remedy)
        return
    for check in checks:
        yield _guarded(check.name, check.fix, check.look)


def _tool(name: str, command: tuple[str, ...], purpose: str) -> Check:
    path = shutil.which(command[0])
    if path is None:
        return Check(name, Health.ABSENT, None, "only for `make test-tools`", purpose)
    done = subprocess.run(  # noqa: S603 - a fixed program, asked for its version
        [path, *command[1:]],
        capture_output=True,
        text=True,
        timeout=TOOL_TIMEOUT_S,
        check=False,
    )
    found = re.search(r"\d+(\.\d+)+", done.stdout)
    return Check(name, Health.OK, found[0] if found else None, path, purpose)


def _guarded(name: str, fix: str, look: Callable[[], tuple[str | None, str]]) -> Check:
    """Make a check of something that may fail in any way: whatever it says is the finding."""
    try:
        version, detail = look()
    except ChargEraError as error:
        return Check(name, Health.FAILED, None, error.message, error.remedy or fix)
    except Exception as error:
        return Check(name, Health.FAILED, None, str(error).strip() or repr(error), fix)
    return Check(name, Health.OK, version, detail, fix)
