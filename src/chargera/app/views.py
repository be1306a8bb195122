"""What is shown to people and programs: read-only rows, the same for pages and for REST.

Every view is what its caller may see. A member that the caller may not see, or that does not
exist yet, is None. `as_json` gives a view's JSON twin: members by their names, times as RFC
3339 with `Z`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Any

from chargera.proofs.records import time_text

# Stations --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConnectorView:
    """One connector with its last reported state."""

    evse: int
    connector: int
    connector_type: str
    power_w_max: int
    status: str
    """Available, Occupied, Reserved, Unavailable, Faulted or Unknown."""
    status_detail: str | None
    """What the station itself called it (1.6 has more words)."""
    status_at: datetime | None


@dataclass(frozen=True, slots=True)
class StationRow:
    """A station in a list; everybody may see it."""

    station_id: str
    manufacturer: str
    model: str
    latitude: str
    longitude: str
    time_zone: str
    ocpp_version: str | None
    """Of the last connection."""
    connected: bool
    last_seen_at: datetime | None
    connectors: tuple[ConnectorView, ...]
    tariff_id: str | None
    tariff_version: int | None
    signs_meter_values: bool
    """Registered with a meter key: unsigned values are not billed."""
    power_w: int
    """Sum over the sessions that are charging now."""
    open_sessions: int


@dataclass(frozen=True, slots=True)
class StationPrivate:
    """What only those see who run or audit the station."""

    serial_number: str
    host: str | None
    ocpp_versions: tuple[str, ...]
    security_profile: int
    plain_allowed: bool
    vendor_reported: str | None
    model_reported: str | None
    firmware_version: str | None
    last_boot_at: datetime | None
    may_command: bool
    may_price: bool


@dataclass(frozen=True, slots=True)
class StationView:
    """One station. `private` is None for a caller to whom it does not belong."""

    station: StationRow
    registered_at: datetime
    meter_key_der_hex: str | None
    private: StationPrivate | None


@dataclass(frozen=True, slots=True)
class MessageView:
    """One exchange in a station's message log; `frame` and `answer` as they went over the wire."""

    message_no: int
    received_at: datetime
    inbound: bool
    ocpp_version: str
    action: str | None
    message_id: str | None
    frame: str
    answer: str | None
    outcome: str


@dataclass(frozen=True, slots=True)
class CommandView:
    """A command that was sent to a station, or could not be."""

    command_id: str
    station_id: str
    action: str
    request: Mapping[str, Any]
    requested_by: str
    requested_at: datetime
    state: str
    """queued, sent, answered or failed."""
    accepted: bool | None
    answer: str | None
    answered_at: datetime | None
    session_id: str | None
    """The session that it started, or was to stop; None until that is known."""


# Identifiers, tariffs, logins ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IdTokenView:
    """A driver's identifier."""

    id_token: str
    type: str
    status: str
    """accepted, blocked or expired."""
    expires_at: datetime | None
    login: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TariffView:
    """A tariff version; `document` is the normalised OCPI 2.2.1 Tariff."""

    tariff_id: str
    version: int
    digest: str
    currency: str
    published_at: datetime
    log_index: int
    is_current: bool
    """No later version of this tariff exists."""
    stations: tuple[str, ...]
    """Whose new sessions get it now."""
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LoginView:
    """A login."""

    login_id: str
    name: str
    role: str
    created_at: datetime
    disabled_at: datetime | None
    has_password: bool


@dataclass(frozen=True, slots=True)
class ApiKeyView:
    """An API key, without the key itself."""

    api_key_id: str
    name: str
    login: str
    role: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


# Sessions --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A charging session in a list. Bill members are None until it is billed."""

    session_id: str
    station_id: str
    evse: int
    connector: int
    ocpp_version: str
    transaction_id: str | None
    """The station's."""
    state: str
    """charging, ended, billed, review or refused."""
    started_at: datetime
    ended_at: datetime | None
    meter_start_wh: int | None
    meter_stop_wh: int | None
    energy_wh: int | None
    """Last register minus first; so far while it runs."""
    currency: str | None
    net_minor: int | None
    vat_minor: int | None
    gross_minor: int | None
    proof_level: str
    cdr_log_index: int | None
    anomalies: tuple[str, ...]
    settlement: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class CdrView:
    """A final bill, or the credit that takes one back."""

    cdr_id: str
    is_credit: bool
    replaces_cdr_id: str | None
    currency: str
    net_minor: int
    vat_minor: int
    gross_minor: int
    energy_wh: int
    created_at: datetime
    log_index: int


@dataclass(frozen=True, slots=True)
class ReadingView:
    """One value or change of state that the station sent in a session."""

    n: int
    kind: str
    at: datetime
    received_at: datetime
    seq_no: int | None
    register_wh: int | None
    power_w: int | None
    context: str
    charging: str | None


@dataclass(frozen=True, slots=True)
class SessionLive:
    """How a running session stands."""

    power_w: int | None
    charging: bool
    """False: parked."""
    cost_so_far: Mapping[str, Any] | None
    """`bill_as_json` of what it would cost if it ended at the last reading; None without price."""


@dataclass(frozen=True, slots=True)
class SessionView:
    """One charging session with all that is known of it."""

    session: SessionRow
    time_zone: str
    id_token: str | None
    """None for who may not see whose session it was."""
    id_token_status: str | None
    stop_reason: str | None
    tariff_id: str | None
    tariff_version: int | None
    tariff_digest: str | None
    tariff_log_index: int | None
    started_log_index: int | None
    ended_log_index: int | None
    received_at: datetime
    changed_at: datetime
    live: SessionLive | None
    cdrs: tuple[CdrView, ...]
    readings: tuple[ReadingView, ...]
    signed_values: int
    entries: tuple["LogEntryView", ...]
    may_decide: bool


@dataclass(frozen=True, slots=True)
class LiveSession:
    """A session that runs now, as everybody may see it on the first page.

    `session_id`, `cost_minor` (gross, so far) and `currency` are None for who does not reach it.
    """

    station_id: str
    evse: int
    connector: int
    started_at: datetime
    charging: bool
    """False: parked."""
    energy_wh: int | None
    power_w: int | None
    session_id: str | None
    cost_minor: int | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class Today:
    """What goes on now, and what the day has brought, over the whole network."""

    sessions: tuple[LiveSession, ...]
    """Newest first, as many as were asked for."""
    energy_wh: int
    """Of all sessions that run or ended since the day began."""
    bills: int
    """Bills made since the day began; credits are none."""


# The log ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LogEntryView:
    """An entry of the log; `entry` is public, `record` and `salt` for those who may read them.

    `readable` False: the caller may not see the record. Readable and None: it was erased.
    """

    log_index: int
    kind: str
    station_id: str | None
    station_seq: int | None
    session_id: str | None
    received_at: datetime
    entry: str
    """Canonical envelope: the text whose bytes are the leaf."""
    leaf_hash: str
    readable: bool
    record: Mapping[str, Any] | None
    salt: str | None
    """Hex."""


@dataclass(frozen=True, slots=True)
class LogHeadView:
    """How far the log is, and how far it is signed and anchored."""

    size: int
    """Durable entries; the last ones may not be under a signed head yet."""
    checkpoint: str | None
    """The newest signed note."""
    checkpoint_size: int | None
    root_hash: str | None
    signed_at: datetime | None
    anchored_size: int | None
    anchored_at: datetime | None


@dataclass(frozen=True, slots=True)
class AnchorView:
    """A signed head that is, or is to be, a message of the ledger topic."""

    tree_size: int
    state: str
    requested_at: datetime
    attempts: int
    hedera_transaction_id: str
    topic_id: str | None
    sequence_number: int | None
    consensus_timestamp: str | None
    running_hash: str | None
    """Base64, as a mirror node shows it."""
    anchored_at: datetime | None
    payer_account_id: str | None = None
    running_hash_version: int | None = None
    message: str | None = None
    """Base64; with the members above all that a mirror's row has, for `verify --anchors`."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The figures at the top of the first page; what the caller may see of sessions."""

    stations: int
    stations_connected: int
    connectors: int
    connectors_faulted: int
    sessions_charging: int
    sessions_review: int
    sessions_billed: int
    power_w: int
    energy_wh: int
    """Of all billed sessions."""
    log_size: int


# JSON twins ------------------------------------------------------------------------------------


def as_json(view: Any) -> Any:
    """Return a view as JSON values: objects by member names, times with `Z`."""
    match view:
        case datetime():
            return time_text(view)
        case Mapping():
            return {str(key): as_json(value) for key, value in view.items()}
        case list() | tuple():
            return [as_json(value) for value in view]
        case _ if is_dataclass(view):
            return {field.name: as_json(getattr(view, field.name)) for field in fields(view)}
        case _:
            return view


def station_json(view: StationView) -> dict[str, Any]:
    """Return one station as a flat object; private members are missing for strangers."""
    flat: dict[str, Any] = as_json(view.station)
    flat |= {
        "registered_at": as_json(view.registered_at),
        "meter_key_der_hex": view.meter_key_der_hex,
    }
    return flat | (as_json(view.private) if view.private is not None else {})


def session_json(view: SessionView) -> dict[str, Any]:
    """Return one session as a flat object: the members of its row, then the rest."""
    rest: dict[str, Any] = as_json(view)
    row: dict[str, Any] = rest.pop("session")
    return row | rest
