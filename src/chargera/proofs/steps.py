"""The outcome of one named check, as every verifier of this room reports it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class StepStatus(StrEnum):
    """What became of a check."""

    OK = "ok"
    FAILED = "failed"
    PENDING = "pending"
    """It was asked, but cannot be decided here and now."""
    NOT_ASKED = "not_asked"
    """There was nothing to check it against."""


@dataclass(frozen=True, slots=True)
class Step:
    """One check: its stable name, what became of it, and why in a sentence for any reader."""

    step: str
    status: StepStatus
    detail: str

    def as_dict(self) -> dict[str, str]:
        """Return the three members of a step in `verify --json`."""
        return {"step": self.step, "status": self.status.value, "detail": self.detail}


def failed_step(steps: Iterable[Step]) -> str | None:
    """Return the name of the first step that failed, None if none did."""
    return next((step.step for step in steps if step.status is StepStatus.FAILED), None)
