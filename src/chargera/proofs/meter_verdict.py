"""What is asked of a signed charging transaction, and what became of it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from chargera.proofs.ocmf import IdentificationLevel, OcmfRecord, TimeStatus
from chargera.proofs.steps import Step, StepStatus, failed_step


class TimeUse(StrEnum):
    """What a price needs the meter's times for."""

    DURATION = "duration"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class MeterExpectations:
    """What is known of the transaction from outside; None where nothing is, and nothing asked."""

    key_hash: bytes | None = None
    """`meter_key_hash` of the key in the station's registration."""
    meter_serial: str | None = None
    identification: str | None = None
    """The IdToken, or the nonce of an onboarding; compared without regard to case."""
    identification_level: IdentificationLevel | None = None
    """The least level that the contract needs."""
    time_use: TimeUse | None = None


@dataclass(frozen=True, slots=True)
class SignedReading:
    """The first or last reading of a transaction, as the meter signed it."""

    register_wh_exact: Decimal
    at: datetime
    """Aware UTC, the meter's clock."""
    time_status: TimeStatus
    page: str

    @property
    def register_wh(self) -> int:
        """Whole Wh: a Wh that is not full is not counted."""
        return int(self.register_wh_exact)


@dataclass(frozen=True, slots=True)
class MeterVerdict:
    """All steps in order, and the values that a bill may rest upon."""

    steps: tuple[Step, ...]
    records: tuple[OcmfRecord, ...] = ()
    begin: SignedReading | None = None
    """None unless every signature is good and the first reading begins a transaction."""
    end: SignedReading | None = None
    """None unless every signature is good and the last reading ends a transaction."""

    @property
    def is_readable(self) -> bool:
        """The values are OCMF strings."""
        return self.steps[0].status is StepStatus.OK

    @property
    def is_signed(self) -> bool:
        """Every string was signed by the key, whatever the other checks say."""
        return self.steps[1].status is StepStatus.OK

    @property
    def failed_step(self) -> str | None:
        """The name of the first check that failed."""
        return failed_step(self.steps)

    @property
    def undetermined(self) -> bool:
        """Nothing failed, but something that was asked cannot be decided here."""
        pending = any(step.status is StepStatus.PENDING for step in self.steps)
        return pending and self.failed_step is None

    @property
    def valid(self) -> bool:
        """Every check that was asked is ok."""
        return self.failed_step is None and not self.undetermined

    @property
    def exit_code(self) -> int:
        """0 valid, 1 not valid, 2 unreadable, 3 undetermined."""
        if not self.is_readable:
            return 2
        if self.failed_step is not None:
            return 1
        return 3 if self.undetermined else 0

    @property
    def energy_wh(self) -> int | None:
        """Whole Wh between the begin and end registers; None unless both are there."""
        if self.begin is None or self.end is None:
            return None
        return self.end.register_wh - self.begin.register_wh

    @property
    def last_pages(self) -> dict[str, int]:
        """The last signed page of each series, to be `previous_pages` of the next check."""
        if not self.is_signed:
            return {}
        return {record.page_series.value: record.page_number for record in self.records}

    def as_dict(self) -> dict[str, object]:
        """Return the document of `verify-meter --json`."""
        return {
            "valid": self.valid,
            "steps": [step.as_dict() for step in self.steps],
            "failed_step": self.failed_step,
        }
