"""What one OCPP version is to the channel: its words, schemas and mappings, as one value.

A dialect turns a payload into a neutral message and an answer into a payload. Everything that
differs between versions stands in its tables; the code here walks them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from chargera.domain.errors import InvalidInput
from chargera.domain.messages import (
    Answer,
    CommandAnswer,
    NotServed,
    StationCommand,
    StationMessage,
    UnservedCall,
)
from chargera.domain.station import OcppVersion
from chargera.ocpp import deviations, schemas
from chargera.ocpp.fields import TEXT_CHARS_MAX, Notes
from chargera.ocpp.framing import CallRefused, Fault, Payload

Read = Callable[[Payload, Notes], StationMessage]
Write = Callable[[Any], Payload]

COMMAND_ACCEPTED = frozenset({"Accepted", "Scheduled", "Unlocked"})
"""Status words by which a station says that it does what was asked."""


@dataclass(frozen=True, slots=True)
class Action:
    """A request of a station that is served."""

    read: Read
    """Maps a payload; raises CallRefused where a needed value cannot be read."""
    write: Write
    """Returns the payload of the answer that the use case gave."""


class ReadCall(NamedTuple):
    """A call as understood, and how it breaks its schema if it does."""

    message: StationMessage
    deviation: str | None


class Dialect:
    """One OCPP version."""

    def __init__(
        self,
        version: OcppVersion,
        *,
        spelling: Mapping[Fault, str],
        served: Mapping[str, Action],
        command: Callable[[StationCommand], tuple[str, Payload]],
        answers_unreadable: bool,
    ) -> None:
        """Compile the schemas of what is served.

        `spelling` holds the error codes that differ from those of 2.0.1. With
        `answers_unreadable` a frame whose id cannot be read is answered with the id -1.
        """
        self.version = version
        self.subprotocol = f"ocpp{version}"
        self.answers_unreadable = answers_unreadable
        self._spelling = spelling
        self._served = served
        self._command = command
        self._known = schemas.actions(version)
        self._checks = {
            action: (schema.is_valid, schema, entry.read)
            for action, entry in served.items()
            for schema in (schemas.request_schema(version, action),)
        }

    def code(self, fault: Fault) -> str:
        """Return the error code as this version spells it."""
        return self._spelling.get(fault, fault.value)

    def read(self, action: str, payload: Payload) -> ReadCall:
        """Return what a station's call says.

        Raises CallRefused for a payload that cannot be read without guessing.
        """
        known = self._checks.get(action)
        if known is None:
            return ReadCall(UnservedCall(action), None)
        is_valid, schema, read = known
        notes: Notes = []
        if not is_valid(payload):
            notes += deviations.check(schema.violations(payload))
        message = read(payload, notes)
        return ReadCall(message, deviations.describe(notes) if notes else None)

    def write(self, action: str, answer: Answer) -> Payload:
        """Return the payload that answers a call; raise CallRefused if it is not served."""
        if isinstance(answer, NotServed):
            raise self._not_served(answer.action)
        return self._served[action].write(answer)

    def _not_served(self, action: str) -> CallRefused:
        """The two errors are told apart by whether the version knows the action.

        OCPP-J 1.6 table 4.2.3 and 2.0.1 part 4 table 7: NotImplemented is for an action that is
        not known, NotSupported for one that is known and not supported.
        """
        if action in self._known:
            return CallRefused(Fault.NOT_SUPPORTED, f"{action} is not served here")
        return CallRefused(Fault.NOT_IMPLEMENTED, f"OCPP {self.version} has no such action")

    def command(self, command: StationCommand) -> tuple[str, Payload]:
        """Return action and payload of a command.

        Raises InvalidInput if this version cannot express it.
        """
        action, payload = self._command(command)
        violations = schemas.request_schema(self.version, action).violations(payload)
        if violations:
            first = violations[0]
            raise InvalidInput(
                f"OCPP {self.version} cannot express this command: {first.path}: {first.detail}",
                field=first.path.split(".")[-1],
                remedy="choose a value that this station's OCPP version knows",
            )
        return action, payload

    def command_answer(self, action: str, payload: Payload) -> tuple[CommandAnswer, str | None]:
        """Return what a station answered to a command, and how that breaks its schema."""
        violations = schemas.response_schema(self.version, action).violations(payload)
        status = payload.get("status")
        if status.__class__ is not str or len(status) > TEXT_CHARS_MAX or "\0" in status:
            return CommandAnswer(False, "unreadable"), "status: is no readable text"
        deviation = deviations.describe([f"{v.path}: {v.detail}" for v in violations]) or None
        return CommandAnswer(status in COMMAND_ACCEPTED, status), deviation
