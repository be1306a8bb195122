"""Every error that ChargEra raises on purpose, as one tree.

    ChargEraError
    ├── InvalidInput            the caller's value is wrong; names field, fault and remedy
    │   ├── Unreadable          not even of the right form (exit 2)
    │   └── Unsupported         well formed, but a feature that is refused by name
    ├── Refused                 well formed and understood, but a rule forbids it
    │   ├── NotPermitted        the caller may not do this
    │   └── Conflict            it contradicts what was already accepted
    ├── NotFound                no such thing, or none that the caller may see
    └── Undetermined            could not be decided now; trying later may help (exit 3)
        └── Unavailable         a part that is needed does not answer

The table `EXIT_CODE` maps each to the exit code of the command line; `web` maps the same
classes to HTTP, `ocpp` to OCPP error codes.
"""

# ruff: noqa: N818 - errors are named by what happened: `raise Refused`, `except NotFound`

from typing import ClassVar


class ChargEraError(Exception):
    """Something that ChargEra refuses, with the words for its reader."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, field: str | None = None, remedy: str = "") -> None:
        """Say what is wrong, where (`field`), and what the reader can do (`remedy`)."""
        super().__init__(message)
        self.message = message
        self.field = field
        self.remedy = remedy

    def as_dict(self) -> dict[str, str | None]:
        """Return the four members of the `error` object of the API and of `--json`."""
        return {
            "code": self.code,
            "message": self.message,
            "field": self.field,
            "remedy": self.remedy,
        }


class InvalidInput(ChargEraError):
    """A value from outside is wrong."""

    code = "invalid_input"


class Unreadable(InvalidInput):
    """The input is not of the form that it claims."""

    code = "unreadable"


class Unsupported(InvalidInput):
    """The input is well formed but asks for something that is refused by name."""

    code = "unsupported"


class Refused(ChargEraError):
    """A rule forbids this."""

    code = "refused"


class NotPermitted(Refused):
    """The caller may not do this."""

    code = "not_permitted"


class Conflict(Refused):
    """This contradicts what was already accepted."""

    code = "conflict"


class NotFound(ChargEraError):
    """There is no such thing, or none that the caller may see."""

    code = "not_found"


class Undetermined(ChargEraError):
    """This cannot be decided now."""

    code = "undetermined"


class Unavailable(Undetermined):
    """A part that is needed does not answer."""

    code = "unavailable"


EXIT_CODE: dict[type[ChargEraError], int] = {
    Unreadable: 2,
    Undetermined: 3,
    Unavailable: 3,
    ChargEraError: 1,
}
"""Exit codes of the command line; a class that is not listed takes that of its nearest parent."""


def exit_code(error: ChargEraError) -> int:
    """Return the exit code of `error`: 1 refused or invalid, 2 unreadable, 3 undetermined."""
    return next(EXIT_CODE[cls] for cls in type(error).__mro__ if cls in EXIT_CODE)
