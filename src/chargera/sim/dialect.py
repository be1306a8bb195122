"""What a simulated station says and hears, before it is put into the words of one OCPP version."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from ocpp.exceptions import OCPPError

from chargera.domain.station import Connector, ConnectorStatus

Payload = Any
"""A request or answer of the PyPI package `ocpp`, which carries no types."""

LOG = logging.getLogger("ocpp.sim")
"""Where charge points log: a call that they refuse, as they should, is no error of theirs."""


def _is_no_refusal(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], OCPPError))


LOG.addFilter(_is_no_refusal)


class PlugState(StrEnum):
    """What a connector shows, by the finer words of OCPP 1.6."""

    AVAILABLE = "Available"
    PREPARING = "Preparing"
    CHARGING = "Charging"
    SUSPENDED_EV = "SuspendedEV"
    FINISHING = "Finishing"

    @property
    def status(self) -> ConnectorStatus:
        """The coarser word of OCPP 2.x."""
        is_free = self is PlugState.AVAILABLE
        return ConnectorStatus.AVAILABLE if is_free else ConnectorStatus.OCCUPIED


class StopCause(StrEnum):
    """Why a transaction ends."""

    LOCAL = "local"
    REMOTE = "remote"
    DEAUTHORIZED = "deauthorized"
    RESET = "reset"
    UNLOCK = "unlock"


@dataclass(frozen=True, slots=True)
class Sample:
    """What the meter of one connector shows at one moment of a transaction."""

    seq_no: int
    """Counts the messages of the transaction from 0; a repetition keeps it."""
    at: datetime
    register_wh: int
    power_w: int


@dataclass(slots=True)
class Charge:
    """A transaction that runs, as the station keeps it."""

    connector: Connector
    id_token: str
    id_token_kind: str
    transaction_id: str
    """The station's own (2.x); in 1.6 replaced by the answer to StartTransaction."""
    started_at: datetime
    remote_start_id: int | None = None
    signed: list[tuple[Sample, str]] = field(default_factory=list)
    """Signed values with the moments that they belong to."""
    public_key_hex: str | None = None


class Orders(Protocol):
    """What the other side may order; each returns at once and says whether it will be done."""

    def remote_start(
        self, connector: Connector | None, id_token: str, kind: str, remote_start_id: int | None
    ) -> bool:
        """Start a transaction on `connector`, or on any free one."""

    def remote_stop(self, transaction_id: str) -> bool:
        """End a transaction."""

    def reset(self) -> bool:
        """End all transactions and start anew."""

    def unlock(self, connector: Connector | None) -> bool:
        """Release the plug, ending its transaction."""

    def trigger(self, message: str, connector: Connector | None) -> bool:
        """Send the message with this action name soon."""


class Dialect(Protocol):
    """One OCPP version: every method returns the payload of a request."""

    subprotocol: str

    def charge_point(self, station_id: str, connection: object, timeout_s: float) -> Any:
        """Return the `ocpp` charge point that answers the orders of one connection."""

    def boot(self, identity: Mapping[str, str], *, after_reset: bool) -> Payload:
        """BootNotification."""

    def heartbeat(self) -> Payload:
        """Heartbeat."""

    def status(self, connector: Connector, state: PlugState, at: datetime) -> Payload:
        """StatusNotification."""

    def authorize(self, id_token: str, kind: str) -> Payload:
        """Authorize."""

    def started(self, charge: Charge, sample: Sample, *, offline: bool) -> Payload:
        """The first message of a transaction."""

    def updated(self, charge: Charge, sample: Sample, *, offline: bool, full: bool) -> Payload:
        """A reading in between; `full` when the car has just stopped drawing power."""

    def ended(self, charge: Charge, sample: Sample, cause: StopCause, *, offline: bool) -> Payload:
        """The last message of a transaction."""

    def accepts(self, answer: Payload) -> bool:
        """Say whether an answer to authorize, started or updated lets the driver charge."""

    def note_answer(self, charge: Charge, answer: Payload) -> None:
        """Keep what the answer to `started` tells."""


def timestamp(at: datetime) -> str:
    """Return `at` as OCPP writes times: RFC 3339, UTC, milliseconds."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
