"""The command line: clients of the REST API, one module a noun.

Modules import only what printing help needs; what is heavy is imported by the command that uses
it, so that `chargera --help` is there at once.
"""

import errno
import os
import sys
import traceback
from collections.abc import Sequence

import typer
from typer.exceptions import TyperException

from chargera import __version__
from chargera.cli import (
    attest,
    audit,
    clock,
    demo,
    doctor,
    ledger,
    log,
    login,
    operation,
    output,
    passport,
    serve,
    session,
    settlement,
    shares,
    sim,
    station,
    tariff,
    token,
    verify,
)
from chargera.domain.errors import ChargEraError, Refused, Unreadable, exit_code

USAGE = 2
REPORT = "report what is above, and what you did"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
ROOM = "make room, or name another place"

app = typer.Typer(
    name="chargera",
    help="An EV-charging network whose every step can be checked by a stranger.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 refused or invalid, 2 usage or unreadable input,"
    " 3 could not be determined.",
)
app.command()(serve.serve)
app.command()(demo.demo)
for _noun in (
    station.app,
    token.app,
    login.app,
    login.keys,
    tariff.app,
    session.app,
    passport.app,
    settlement.app,
    shares.app,
    log.app,
    log.anchors,
    ledger.app,
    clock.app,
    sim.app,
    operation.settings_app,
):
    app.add_typer(_noun)
app.command()(verify.verify)
app.command("verify-meter")(verify.verify_meter)
app.command()(audit.audit)
app.command()(attest.attest)
app.command()(doctor.doctor)
app.command()(operation.backup)
app.command()(operation.restore)
app.command()(operation.openapi)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _chargera(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """An EV-charging network whose every step can be checked by a stranger."""


def main() -> None:
    """Run the command that the arguments name, and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], commands: typer.Typer = app) -> int:
    """Run one of the commands and return its exit code; errors are printed, never raised."""
    as_json = "--json" in arguments
    try:
        result = commands(list(arguments), prog_name="chargera", standalone_mode=False)
    except ChargEraError as error:
        output.show_error(error, as_json)
        return exit_code(error)
    except TyperException as error:
        return _usage(error, as_json)
    except BrokenPipeError:
        # Whoever read us has had enough; what is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in NO_ROOM:
            return _unforeseen(as_json)
        where = error.filename or "a file"
        fault = Refused(f"{where} cannot be written: {error.strerror}", remedy=ROOM)
        output.show_error(fault, as_json)
        return exit_code(fault)
    except Exception:
        return _unforeseen(as_json)
    return result if isinstance(result, int) else 0


def _unforeseen(as_json: bool) -> int:
    """Show the error that is being handled to whoever can mend it."""
    traceback.print_exc()
    fault = ChargEraError("this failed for a reason that was not foreseen", remedy=REPORT)
    output.show_error(fault, as_json)
    return exit_code(fault)


def _usage(error: TyperException, as_json: bool) -> int:
    """Say how the command is used."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "chargera"
    message = error.format_message()
    if not message.strip() or message.startswith("Usage:"):
        print(message, file=sys.stderr)  # a noun without a verb: its help
        return USAGE
    fault = Unreadable(message, field=_field(error), remedy=f"{path} --help")
    output.show_error(fault, as_json)
    return USAGE


def _field(error: TyperException) -> str | None:
    """Name the option or argument that is wrong, as it is typed but for its dashes."""
    parameter = getattr(error, "param", None)
    name = getattr(error, "option_name", None)
    if parameter is not None:
        name = max(parameter.opts, key=len)
    return name.lstrip("-").replace("-", "_").lower() if name else None
