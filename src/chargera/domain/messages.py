"""What a station can tell, in one vocabulary for every OCPP version (2.x words).

The mapping modules of `ocpp` make these from validated payloads, and answers from
`Answer` values; nothing below that room sees a JSON key of the protocol. Times are the
station's own statement (`at`, aware UTC); our receive time travels beside the message.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from chargera.domain.pricing import ChargingState
from chargera.domain.station import ConnectorStatus
from chargera.domain.word import Word

STORED_CHARS_MAX = 512
"""Longest text of a station that is stored as it is; four bytes each still fit into an index."""


def storable(text: str) -> str:
    """Return a station's text as a database and the log can hold it.

    NUL and lone surrogates become U+FFFD. Of a text that is too long the beginning is kept and a
    digest of the whole, so that different texts stay different.
    """
    if len(text) <= STORED_CHARS_MAX and "\0" not in text and text.isascii():
        return text
    clean = (
        text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )
    if len(clean) <= STORED_CHARS_MAX:
        return clean
    digest = hashlib.sha256(clean.encode()).hexdigest()
    return f"{clean[: STORED_CHARS_MAX - len(digest) - 1]}#{digest}"


class TransactionEventKind(Word):
    """OCPP 2.0.1 `TransactionEventEnumType`."""

    STARTED = "Started"
    UPDATED = "Updated"
    ENDED = "Ended"


class ReadingContext(Word):
    """Where in the transaction a value was taken; the rest of `ReadingContextEnumType` is OTHER."""

    BEGIN = "Transaction.Begin"
    END = "Transaction.End"
    PERIODIC = "Sample.Periodic"
    CLOCK = "Sample.Clock"
    OTHER = "Other"


class AuthorizationStatus(Word):
    """The answers of OCPP `AuthorizationStatusEnumType` that both versions share."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    CONCURRENT_TX = "ConcurrentTx"
    EXPIRED = "Expired"
    INVALID = "Invalid"


@dataclass(frozen=True, slots=True)
class IdTokenRef:
    """An identifier as presented; `kind` is None in OCPP 1.6, which knows no types."""

    value: str
    kind: str | None

    @property
    def key(self) -> str:
        """The form under which it is looked up: without regard to case (OCPP `CiString`)."""
        return storable(self.value.casefold())


@dataclass(frozen=True, slots=True)
class SignedValue:
    """A signed meter value, byte for byte as received."""

    raw: bytes
    context: ReadingContext
    at: datetime


class MeterSample(NamedTuple):
    """The values of one moment that billing and live pages use; the raw frame keeps the rest."""

    at: datetime
    context: ReadingContext
    register_wh: int | None
    power_w: int | None


@dataclass(frozen=True, slots=True)
class BootNotification:
    """The station has started and says what it is."""

    vendor: str
    model: str
    serial_number: str | None
    firmware_version: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The station is there and asks for the time."""


@dataclass(frozen=True, slots=True)
class StatusNotification:
    """A connector's state.

    `evse` None: `connector` is an OCPP 1.6 connector number, 0 the whole station.
    """

    evse: int | None
    connector: int
    status: ConnectorStatus
    detail: str
    at: datetime | None
    charging: ChargingState | None
    """What the status says of a running transaction (1.6 only); None: nothing."""


@dataclass(frozen=True, slots=True)
class Authorize:
    """The question whether this token may charge."""

    id_token: IdTokenRef


@dataclass(frozen=True, slots=True)
class DataTransfer:
    """A vendor's own message."""

    vendor_id: str
    message_id: str | None


class TransactionEvent(NamedTuple):
    """Something that happened in a transaction.

    `evse` None: `connector` is an OCPP 1.6 connector number, or the message names neither.

    `transaction_id` is None where the CSMS numbers transactions (1.6 StartTransaction) and
    `"-1"` where a 1.6 station never learned its number. `seq_no` is None in 1.6.
    """

    kind: TransactionEventKind
    transaction_id: str | None
    seq_no: int | None
    evse: int | None
    connector: int | None
    at: datetime
    id_token: IdTokenRef | None
    samples: tuple[MeterSample, ...]
    signed: tuple[SignedValue, ...]
    charging: ChargingState | None
    stop_reason: str | None
    offline: bool
    remote_start_id: int | None


@dataclass(frozen=True, slots=True)
class MeterValues:
    """Values outside any transaction (1.6 without transactionId, 2.x MeterValues).

    `evse` None: `connector` is an OCPP 1.6 connector number, 0 the main meter.
    """

    evse: int | None
    connector: int | None
    samples: tuple[MeterSample, ...]
    signed: tuple[SignedValue, ...]


@dataclass(frozen=True, slots=True)
class UnservedCall:
    """A well-formed call of an action that this CSMS does not serve."""

    action: str


StationMessage = (
    BootNotification
    | Heartbeat
    | StatusNotification
    | Authorize
    | DataTransfer
    | TransactionEvent
    | MeterValues
    | UnservedCall
)


# Answers --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BootAnswer:
    """Accepted; the station is to send a heartbeat every `interval_s` of network time."""

    now: datetime
    interval_s: int


class HeartbeatAnswer(NamedTuple):
    """The time."""

    now: datetime


@dataclass(frozen=True, slots=True)
class AuthorizeAnswer:
    """Whether the token may charge, and until when it is valid."""

    status: AuthorizationStatus
    expires_at: datetime | None


class TransactionAnswer(NamedTuple):
    """The transaction's number (1.6) and the token's status where a token was given."""

    transaction_id: str
    status: AuthorizationStatus | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class DataTransferAnswer:
    """No vendor is known here: `UnknownVendorId`."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """An empty answer."""


@dataclass(frozen=True, slots=True)
class NotServed:
    """The error that the specification names for an action that is not served."""

    action: str


Answer = (
    BootAnswer
    | HeartbeatAnswer
    | AuthorizeAnswer
    | TransactionAnswer
    | DataTransferAnswer
    | Acknowledged
    | NotServed
)


# Commands to a station ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RemoteStart:
    """Start charging for this token (1.6 RemoteStartTransaction, 2.x RequestStartTransaction)."""

    evse: int
    connector: int
    ocpp16_connector_id: int
    id_token: IdTokenRef
    remote_start_id: int


@dataclass(frozen=True, slots=True)
class RemoteStop:
    """Stop this transaction."""

    transaction_id: str


@dataclass(frozen=True, slots=True)
class Reset:
    """Restart the station; `hard` without waiting for running transactions (2.x Immediate)."""

    hard: bool


@dataclass(frozen=True, slots=True)
class UnlockConnector:
    """Release the plug."""

    evse: int
    connector: int
    ocpp16_connector_id: int


@dataclass(frozen=True, slots=True)
class TriggerMessage:
    """Ask for a message that the station would send by itself."""

    requested_message: str
    evse: int | None
    connector: int | None
    ocpp16_connector_id: int | None


StationCommand = RemoteStart | RemoteStop | Reset | UnlockConnector | TriggerMessage


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """What the station answered; `answer` is its status word or the reason for none."""

    accepted: bool
    answer: str


class Probe(Word):
    """Calls that no command makes: a standard run sends them to see how a station refuses."""

    UNKNOWN_VENDOR = "unknown_vendor"
    """A DataTransfer of a vendor that nobody is."""
    UNKNOWN_ACTION = "unknown_action"
    BROKEN_CALL = "broken_call"
    """A known action without what it must have; it asks for nothing."""


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """What a station answered to a probe: an error with its code, or a result with its status."""

    word: str
    is_error: bool
