"""The private records behind log entries: their shapes, to and from domain values.

A record is canonical JSON (`canonical.encode`); its entry in the public log holds a salted
commitment to it. A receipt carries records, so their form is part of what a stranger relies
on: members are only ever added, and a reader refuses what it does not know.

| kind               | members                                                                    |
|--------------------|----------------------------------------------------------------------------|
| station_registered | see `station_record`                                                       |
| tariff_published   | tariff_id, version, digest, document, published_at                         |
| authorize          | see `authorize_record`                                                     |
| session_started    | see `session_started_record`                                               |
| session_ended      | see `session_ended_record`; count and digest of the readings so far        |
| signed_value       | session_id, context, ocmf_base64, received_at                              |
| meter_value_late   | session_id, event: one reading that came after the end                     |
| cdr                | see `chargera.app.billing`; `settlement`: see below                        |
| credit_cdr         | see `chargera.app.billing`                                                 |
| sequence_hole      | session_id, transaction_id, first_seq_no, last_seq_no, scattered           |
| anomaly            | session_id, transaction_id, code, readings                                 |
| deviation          | action, message_id, fault, frame_sha256, followed                          |
| station_changed    | see `station_change_record`                                                |
| tariff_assigned    | see `tariff_assigned_record`                                               |
| id_token_changed   | see `id_token_record`                                                      |
| access_changed     | see `access_record`                                                        |
| station_command    | see `command_record` (asked) and `command_answer_record` (answered)        |
| record_erased      | see `erasure_record`                                                       |
| onboarding         | see `onboarding_record`                                                    |
| passport_registered| see `passport_registered_record`                                           |
| custody            | see `custody_record`                                                       |
| payment            | see `payment_record`                                                       |
| batch              | see `batch_record`                                                         |
| journal_head       | see `journal_head_record`                                                  |
| protocol_tested    | see `protocol_tested_record`                                               |

The member `settlement` of a cdr says how it is settled on chain: null where it is not, and absent
in CDRs from before there was a chain, which means the same. Else it is {cdr_no, asset, rail
(wallet or fiat), payer (null on the fiat rail), session_key, passport_id, policy_version, amount
and vat (minor units of the asset), c4e_rate (of a bill settled in C4E, else null), chain_id, hub}.
Here as in all records of this kind, addresses have their checksum, words are `0x` and lower-case
hex, and numbers that may pass 2^53 are decimal strings.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from chargera.domain.errors import Unreadable
from chargera.domain.messages import ReadingContext, TransactionEventKind
from chargera.domain.passport import CustodyKind, protocol_of
from chargera.domain.pricing import ChargingState
from chargera.domain.settlement import BatchState, Rail
from chargera.domain.standard_run import RUN_NAME, StandardRun
from chargera.domain.station import ChargingStation
from chargera.domain.transaction import SessionEvent, Transaction
from chargera.proofs import canonical

Record = dict[str, Any]

EVENT_MEMBERS = frozenset(
    {
        "n",
        "kind",
        "own",
        "at",
        "received_at",
        "seq_no",
        "register_wh",
        "power_w",
        "context",
        "charging",
    }
)


@lru_cache(maxsize=1024)
def time_text(at: datetime) -> str:
    """Return RFC 3339 with milliseconds and `Z`.

    Remembered, because the messages of one batch were received at few different times.
    """
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="milliseconds")[:-6] + "Z"


def time_value(text: object, *, field: str) -> datetime:
    """Read what `time_text` writes, and only that; Unreadable otherwise."""
    if isinstance(text, str) and len(text) == len("2026-01-01T00:00:00.000Z"):
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            value = None
        if value is not None and text == time_text(value):
            return value
    raise Unreadable(
        "not a time of the form 2026-01-01T00:00:00.000Z",
        field=field,
        remedy="use the document as it was issued",
    )


def event_record(event: SessionEvent) -> Record:
    """Return one row of a session's readings as it stands in the canonical list."""
    return {
        "at": time_text(event.at),
        "charging": None if event.charging is None else str(event.charging),
        "context": str(event.context),
        "kind": str(event.kind),
        "n": event.n,
        "own": event.own,
        "power_w": event.power_w,
        "received_at": time_text(event.received_at),
        "register_wh": event.register_wh,
        "seq_no": event.seq_no,
    }


def event_bytes(event: SessionEvent) -> bytes:
    """Return `encode(event_record(event))`, which the channel needs for every message it takes."""
    n, kind, own, at, received_at, seq_no, register_wh, power_w, context, charging = event
    return (
        f'{{"at":"{time_text(at)}","charging":{_CHARGING[charging]},"context":"{context}",'
        f'"kind":"{kind}","n":{n},"own":{"true" if own else "false"},'
        f'"power_w":{"null" if power_w is None else power_w},'
        f'"received_at":"{time_text(received_at)}",'
        f'"register_wh":{"null" if register_wh is None else register_wh},'
        f'"seq_no":{"null" if seq_no is None else seq_no}}}'
    ).encode()


_CHARGING = {None: "null"} | {state: f'"{state}"' for state in ChargingState}


def event_from_record(record: Mapping[str, Any], *, field: str) -> SessionEvent:
    """Read one row of a session's readings; Unreadable names the member that is wrong."""
    if record.keys() != EVENT_MEMBERS:
        raise _unreadable(field, "its members are not those of a reading")
    for name in ("n", "seq_no", "register_wh", "power_w"):
        value = record[name]
        if not (value is None and name != "n") and type(value) is not int:
            raise _unreadable(f"{field}.{name}", "not an integer")
    if type(record["own"]) is not bool:
        raise _unreadable(f"{field}.own", "not true or false")
    try:
        kind = TransactionEventKind(record["kind"])
        context = ReadingContext(record["context"])
        charging = None if record["charging"] is None else ChargingState(record["charging"])
    except ValueError as error:
        raise _unreadable(field, "a word that no reading has") from error
    return SessionEvent(
        record["n"],
        kind,
        record["own"],
        time_value(record["at"], field=f"{field}.at"),
        time_value(record["received_at"], field=f"{field}.received_at"),
        record["seq_no"],
        record["register_wh"],
        record["power_w"],
        context,
        charging,
    )


def events_digest(records: Iterable[bytes]) -> str:
    """Return the SHA-256 (hex) of the canonical list of these canonical readings.

    It equals `sha256sum` over the list as it stands in a receipt.
    """
    return hashlib.sha256(b"[" + b",".join(records) + b"]").hexdigest()


def events_summary(records: Sequence[bytes]) -> Record:
    """Return the member `events` of session_ended and cdr records: count and digest."""
    return {"count": len(records), "digest": events_digest(records)}


# What the channel tells ------------------------------------------------------------------------


def authorize_record(id_token: str, id_token_type: str | None, status: str) -> Record:
    """Return the record of the question whether an identifier may charge, and its answer."""
    return {"id_token": id_token, "id_token_type": id_token_type, "status": status}


def deviation_record(
    action: str, message_id: str, fault: str, frame: bytes, *, followed: int
) -> Record:
    """Return the record of a call that broke its schema and was served nevertheless.

    `followed` counts the calls of this sort since the last record of it, which have none.
    """
    return {
        "action": action,
        "fault": fault,
        "followed": followed,
        "frame_sha256": hashlib.sha256(frame).hexdigest(),
        "message_id": message_id,
    }


def session_started_record(
    transaction: Transaction,
    *,
    id_token: str | None,
    offline: bool,
    station_time: datetime,
    tariff: Record | None,
    time_zone: str,
) -> Record:
    """Return the record of a session's start with the tariff that it is quoted."""
    status = transaction.id_token_status
    return {
        "connector": transaction.connector,
        "evse": transaction.evse,
        "id_token": id_token,
        "id_token_status": None if status is None else str(status),
        "meter_start_wh": transaction.meter_start_wh,
        "ocpp_version": str(transaction.ocpp_version),
        "offline": offline,
        "session_id": transaction.session_id,
        "started_at": time_text(transaction.started_at),
        "station_id": transaction.station_id,
        "station_time": time_text(station_time),
        "tariff": tariff,
        "time_zone": time_zone,
        "transaction_id": transaction.transaction_id,
    }


def session_ended_record(
    transaction: Transaction, *, ended_at: datetime, station_time: datetime
) -> Record:
    """Return the record of a session's end, which commits to all its readings so far."""
    return {
        "ended_at": time_text(ended_at),
        "events": running_summary(transaction),
        "meter_stop_wh": transaction.meter_stop_wh,
        "session_id": transaction.session_id,
        "station_time": time_text(station_time),
        "stop_reason": transaction.stop_reason,
        "transaction_id": transaction.transaction_id,
    }


def running_summary(transaction: Transaction) -> Record:
    """Return `events_summary` of a transaction's rows without their bytes."""
    digest = transaction.events_hash.copy()
    digest.update(b"]" if transaction.event_count else b"[]")
    return {"count": transaction.event_count, "digest": digest.hexdigest()}


def signed_value_record(session_id: str, context: str, raw: bytes, received_at: datetime) -> Record:
    """Return the record of a signed meter value: the OCMF bytes as received, in base64."""
    return {
        "context": context,
        "ocmf_base64": base64.b64encode(raw).decode("ascii"),
        "received_at": time_text(received_at),
        "session_id": session_id,
    }


def late_event_record(session_id: str, event: SessionEvent) -> Record:
    """Return the record of a reading that came after its session's end."""
    return {"event": event_record(event), "session_id": session_id}


def anomaly_record(
    session_id: str, transaction_id: str, code: str, readings: Sequence[int] = ()
) -> Record:
    """Return the record of something odd; `readings` are the `n` of those that are suspect."""
    return {
        "code": code,
        "readings": list(readings),
        "session_id": session_id,
        "transaction_id": transaction_id,
    }


def sequence_hole_record(
    session_id: str, transaction_id: str, first: int, last: int, *, scattered: bool = False
) -> Record:
    """Return the record of sequence numbers that never came.

    `scattered`: only some of those from `first` to `last` are missing.
    """
    return {
        "first_seq_no": first,
        "last_seq_no": last,
        "scattered": scattered,
        "session_id": session_id,
        "transaction_id": transaction_id,
    }


# What people change ----------------------------------------------------------------------------


def station_record(station: ChargingStation) -> Record:
    """Return the record of a registration; it never holds a password."""
    return {
        "connectors": [
            {
                "connector": c.connector,
                "connector_type": str(c.connector_type),
                "evse": c.evse,
                "ocpp16_connector_id": c.ocpp16_connector_id,
                "power_w_max": c.power_w_max,
            }
            for c in station.connectors
        ],
        "host": station.host_name,
        "latitude": station.latitude,
        "longitude": station.longitude,
        "manufacturer": station.manufacturer,
        "meter_key": station.meter_key_der_hex,
        "model": station.model,
        "ocpp_versions": sorted(station.ocpp_versions),
        "registered_at": time_text(station.registered_at),
        "security_profile": station.security_profile,
        "serial_number": station.serial_number,
        "station_id": station.station_id,
        "time_zone": station.time_zone,
    }


def tariff_record(
    tariff_id: str, version: int, digest: str, document: Mapping[str, Any], published_at: datetime
) -> Record:
    """Return the record of a published tariff version with its normalised OCPI document."""
    return {
        "digest": digest,
        "document": dict(document),
        "published_at": time_text(published_at),
        "tariff_id": tariff_id,
        "version": version,
    }


def station_change_record(station_id: str, change: str, by: str, at: datetime) -> Record:
    """Return the record of a change to a station's access, `password`; never the secret itself."""
    return {"at": time_text(at), "by": by, "change": change, "station_id": station_id}


def tariff_assigned_record(
    station_id: str, tariff_id: str, version: int, digest: str, from_at: datetime, by: str
) -> Record:
    """Return the record of a tariff version that prices a station's new sessions from a time on."""
    return {
        "by": by,
        "digest": digest,
        "from_at": time_text(from_at),
        "station_id": station_id,
        "tariff_id": tariff_id,
        "version": version,
    }


def id_token_record(
    id_token: str,
    id_token_type: str,
    *,
    blocked: bool,
    expires_at: datetime | None,
    login_id: str | None,
    by: str,
    at: datetime,
) -> Record:
    """Return the record of a driver's identifier as it stands after a change."""
    return {
        "at": time_text(at),
        "blocked": blocked,
        "by": by,
        "expires_at": expires_at and time_text(expires_at),
        "id_token": id_token,
        "id_token_type": id_token_type,
        "login_id": login_id,
    }


def access_record(
    change: str,
    *,
    login: str,
    role: str,
    by: str,
    at: datetime,
    api_key: str | None = None,
    scopes: Iterable[str] | None = None,
) -> Record:
    """Return the record of a change to who may do what.

    `change` is login_added, login_disabled, password_changed, api_key_added or api_key_revoked;
    `api_key` is a key's name, never the key.
    """
    return {
        "api_key": api_key,
        "at": time_text(at),
        "by": by,
        "change": change,
        "login": login,
        "role": role,
        "scopes": None if scopes is None else sorted(scopes),
    }


def command_record(
    command_id: str, action: str, request: Mapping[str, Any], by: str, at: datetime
) -> Record:
    """Return the record of a command to a station, written before it is sent."""
    return {
        "action": action,
        "at": time_text(at),
        "by": by,
        "command_id": command_id,
        "request": dict(request),
    }


def command_answer_record(
    command_id: str, accepted: bool | None, answer: str, at: datetime
) -> Record:
    """Return the record of a station's answer; `accepted` None: it gave none."""
    return {
        "accepted": accepted,
        "answer": answer,
        "at": time_text(at),
        "command_id": command_id,
    }


def erasure_record(log_indexes: Sequence[int], reason: str, by: str, at: datetime) -> Record:
    """Return the record of an erasure: which entries lost record and salt, never whose."""
    return {
        "at": time_text(at),
        "by": by,
        "log_indexes": list(log_indexes),
        "reason": reason,
    }


# What is settled on chain -----------------------------------------------------------------------


def onboarding_record(
    *,
    station_id: str,
    passport_id: str,
    metadata: Mapping[str, Any],
    host: str,
    commission_bps: int,
    meter_key_hash: str,
    station_key_hash: str,
    nonce: str,
    at: datetime,
) -> Record:
    """Return the record of a station's request for its passport.

    `metadata` is the document whose digest the passport carries; `nonce` makes the host's consent
    one for this request, and is what a signing meter must put its name to.
    """
    return {
        "at": time_text(at),
        "commission_bps": commission_bps,
        "host": host,
        "metadata": dict(metadata),
        "meter_key_hash": meter_key_hash,
        "nonce": nonce,
        "passport_id": passport_id,
        "station_id": station_id,
        "station_key_hash": station_key_hash,
    }


def passport_registered_record(
    *,
    station_id: str,
    passport_id: str,
    registration_hash: str,
    transaction_hash: str,
    host: str,
    rated_w: int,
    registered_at: datetime,
    at: datetime,
) -> Record:
    """Return the record of a passport that was minted; bills of its station can settle from now.

    `transaction_hash` is of the mint, `registered_at` the chain's time of it.
    """
    return {
        "at": time_text(at),
        "host": host,
        "passport_id": passport_id,
        "rated_w": rated_w,
        "registered_at": time_text(registered_at),
        "registration_hash": registration_hash,
        "station_id": station_id,
        "transaction_hash": transaction_hash,
    }


def custody_record(
    *,
    station_id: str,
    passport_id: str,
    number: int,
    kind: CustodyKind,
    value: str,
    note: str,
    by: str,
    at: datetime,
) -> Record:
    """Return the record of a change in a passport's life.

    `number` counts the passport's custody records from 0; `value` is the word that the chain
    takes (`passport.custody_value`); `note` says what was done, for people; `by` is the role of
    who asked for it, because passport files show this record to everybody. The digest that the
    chain holds is `custody_record_digest` of it.
    """
    return {
        "at": time_text(at),
        "by": by,
        "kind": str(kind),
        "note": note,
        "number": number,
        "passport_id": passport_id,
        "station_id": station_id,
        "value": value,
    }


def custody_record_digest(record: Mapping[str, Any]) -> bytes:
    """Return SHA-256 of a custody record's canonical bytes, the digest that the chain holds."""
    return hashlib.sha256(encode(record)).digest()


def payment_record(
    *,
    rail: Rail,
    session_key: str,
    session_id: str | None,
    asset: str,
    payer: str | None,
    gateway: str | None,
    maximum: int | None,
    transaction_hash: str | None,
    at: datetime,
) -> Record:
    """Return the record of how a session is paid.

    Wallet: `payer` opened an escrow of at most `maximum` by `transaction_hash`; the session may
    not have begun. Fiat: `gateway` prepays it, and the other three are null.
    """
    return {
        "asset": asset,
        "at": time_text(at),
        "gateway": gateway,
        "maximum": None if maximum is None else str(maximum),
        "payer": payer,
        "rail": str(rail),
        "session_id": session_id,
        "session_key": session_key,
        "transaction_hash": transaction_hash,
    }


def batch_record(
    *,
    digest: str,
    asset: str,
    cdr_numbers: Sequence[int],
    state: BatchState,
    transaction_hash: str | None,
    at: datetime,
) -> Record:
    """Return the record of a batch that came to a state, by that transaction where there is one."""
    return {
        "asset": asset,
        "at": time_text(at),
        "cdr_numbers": list(cdr_numbers),
        "digest": digest,
        "state": str(state),
        "transaction_hash": transaction_hash,
    }


def journal_head_record(chain_id: int, transactions: int, digest: str, at: datetime) -> Record:
    """Return the record of the head of the embedded chain's journal: its length and digest."""
    return {
        "at": time_text(at),
        "chain_id": chain_id,
        "digest": digest,
        "transactions": transactions,
    }


def protocol_tested_record(run: StandardRun) -> Record:
    """Return the record of a standard run over a station's connection.

    `run` names the table of steps and its version, `run_id` the run; `steps` are those that were
    made, in order; `connection` counts connections since the server started.
    """
    return {
        "at": time_text(run.ended_at),
        "connection": run.connection,
        "connector": run.connector,
        "evse": run.evse,
        "outcome": str(run.outcome),
        "protocol": str(protocol_of(run.ocpp_version)),
        "reason": run.reason,
        "requested_by": run.requested_by,
        "run": RUN_NAME,
        "run_id": run.run_id,
        "session_id": run.session_id,
        "started_at": time_text(run.started_at),
        "station_id": run.station_id,
        "steps": [
            {"detail": each.detail, "outcome": str(each.outcome), "step": str(each.step)}
            for each in run.results
        ],
    }


def encode(record: Mapping[str, Any]) -> bytes:
    """Return the canonical bytes of a record."""
    return canonical.encode(dict(record))


def _unreadable(field: str, fault: str) -> Unreadable:
    return Unreadable(fault, field=field, remedy="use the document as it was issued")
