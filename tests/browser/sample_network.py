"""A network that never changes: stations, sessions, a log and its receipts, without a database.

Everything that a page proves is real: the log is a tree with a signed head, the bill is computed
by the product, the meter's values are signed, the anchor's running hash is right.
"""

import hashlib
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chargera.app.ports import QuotedTariff
from chargera.app.views import (
    AnchorView,
    CdrView,
    ConnectorView,
    LogEntryView,
    ReadingView,
    SessionLive,
    SessionRow,
    SessionView,
    StationRow,
    TariffView,
)
from chargera.domain.bill import bill_as_json
from chargera.domain.messages import ReadingContext, TransactionEventKind
from chargera.domain.pricing import MeteredSession, RegisterValue, running_cost
from chargera.domain.station import ChargingStation, Connector, ConnectorType, OcppVersion
from chargera.domain.transaction import SessionEvent
from chargera.proofs import records
from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.cdr import Judgement, SessionFacts, SignedMeterValue, judge
from chargera.proofs.checkpoint import Checkpoint, sign_checkpoint
from chargera.proofs.entry import EntryKind, Envelope, commit, envelope_bytes
from chargera.proofs.meter_key import load_meter_key
from chargera.proofs.note import VerifierKey
from chargera.proofs.ocpi import tariff_digest, tariff_from_ocpi
from chargera.proofs.receipt import ReceiptEntry, receipt_document
from chargera.proofs.running_hash import running_hash
from chargera.proofs.tlog_proof import TlogProof
from chargera.proofs.tree import MemoryTree, inclusion_proof, leaf_hash
from chargera.proofs.trust import Trust, TrustedTopic
from chargera.sim.meter import Identification, MeterReading, ReadingKind, SigningMeter

NOW = datetime(2026, 11, 24, 9, 41, 30, tzinfo=UTC)
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0)
OPERATOR_ID = "NL*C4E"
ORIGIN = "log.chargera.example/c4e/1"
TOPIC = TrustedTopic("0.0.1001", "0.0.1002", 0)

LOG_KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"sample log key").digest())
METER_KEY = ec.derive_private_key(
    int.from_bytes(hashlib.sha256(b"sample meter key").digest()), ec.SECP256R1()
)

CITY: dict[str, Any] = {
    "country_code": "NL",
    "currency": "EUR",
    "elements": [
        {
            "price_components": [
                {"price": "0.39", "step_size": 1, "type": "ENERGY", "vat": "21"},
                {"price": "3", "step_size": 300, "type": "PARKING_TIME", "vat": "21"},
            ]
        }
    ],
    "id": "city-ac",
    "last_updated": "2026-11-01T00:00:00Z",
    "party_id": "C4E",
    "tariff_alt_text": [
        {"language": "en", "text": "Street and car park. Please make room when you are full."}
    ],
}
HIGHWAY: dict[str, Any] = {
    "country_code": "NL",
    "currency": "EUR",
    "elements": [
        {
            "price_components": [
                {"price": "0.59", "step_size": 1, "type": "ENERGY", "vat": "21"},
            ],
            "restrictions": {"end_time": "22:00", "start_time": "07:00"},
        },
        {
            "price_components": [{"price": "0.45", "step_size": 1, "type": "ENERGY", "vat": "21"}],
        },
        {
            "price_components": [{"price": "0.5", "step_size": 1, "type": "FLAT", "vat": "21"}],
        },
    ],
    "id": "highway-dc",
    "last_updated": "2026-11-01T00:00:00Z",
    "party_id": "C4E",
}


def session_id(number: int) -> str:
    """A UUIDv7 that is the same in every run."""
    digest = hashlib.sha256(f"session {number}".encode()).hexdigest()
    return f"01935d{number:02x}-{digest[:4]}-7{digest[4:7]}-8{digest[7:10]}-{digest[10:22]}"


@dataclass(frozen=True)
class Plug:
    """How a sample station is equipped."""

    kind: ConnectorType
    power_w: int
    status: str
    detail: str | None = None


_T2, _CCS, _CHA = ConnectorType.TYPE2, ConnectorType.CCS2, ConnectorType.CHADEMO
FLEET: tuple[tuple[str, str, str, str, bool, bool, str | None, tuple[Plug, ...]], ...] = (
    # id, manufacturer, model, OCPP version, signs, connected, tariff, connectors
    ("Amstel-01", "Ampère Works", "Street 22", "2.0.1", True, True, "city-ac",
     (Plug(_T2, 22_000, "Occupied"), Plug(_T2, 22_000, "Available"))),
    ("Amstel-02", "Ampère Works", "Street 22", "2.0.1", False, True, "city-ac",
     (Plug(_T2, 22_000, "Occupied"), Plug(_T2, 22_000, "Occupied"))),
    ("Dom-Square-01", "Ampère Works", "Street 11", "1.6", False, True, "city-ac",
     (Plug(_T2, 11_000, "Available", "Preparing"),)),
    ("Erasmus-01", "Noordlicht", "Duo DC 150", "2.0.1", True, True, "highway-dc",
     (Plug(_CCS, 150_000, "Occupied"), Plug(_CHA, 50_000, "Available"))),
    ("Erasmus-02", "Noordlicht", "Duo DC 150", "2.0.1", False, True, "highway-dc",
     (Plug(_CCS, 150_000, "Available"), Plug(_CHA, 50_000, "Faulted", "GroundFailure"))),
    ("Harbour-01", "Volthuis", "Wall 11", "1.6", False, True, "city-ac",
     (Plug(_T2, 11_000, "Occupied", "SuspendedEV"),)),
    ("Harbour-02", "Volthuis", "Wall 11", "1.6", False, True, None,
     (Plug(_T2, 11_000, "Available"),)),
    ("Market-01", "Volthuis", "Wall 22", "1.6", True, True, "city-ac",
     (Plug(_T2, 22_000, "Available"),)),
    ("Museum-01", "Ampère Works", "Street 11", "1.6", False, True, "city-ac",
     (Plug(_T2, 11_000, "Reserved"),)),
    ("Station-North", "Noordlicht", "Mono DC 60", "2.0.1", False, True, "highway-dc",
     (Plug(_CCS, 60_000, "Occupied"),)),
    ("Station-South", "Noordlicht", "Mono DC 60", "2.0.1", False, False, "highway-dc",
     (Plug(_CCS, 60_000, "Unavailable"),)),
    ("Windmill-01", "Volthuis", "Wall 22", "1.6", False, True, "city-ac",
     (Plug(_T2, 22_000, "Occupied"),)),
)  # fmt: skip


def charging_station(station_id: str) -> ChargingStation:
    """The registration of a sample station."""
    row = next(row for row in FLEET if row[0] == station_id)
    number = FLEET.index(row)
    return ChargingStation(
        station_id=station_id,
        manufacturer=row[1],
        model=row[2],
        serial_number=f"{row[1][:2].upper()}-{20_417 + 331 * number}",
        latitude=f"52.{3676 + 17 * number}",
        longitude=f"4.{9041 - 23 * number}",
        time_zone="Europe/Amsterdam",
        connectors=tuple(
            Connector(n, 1, plug.kind, plug.power_w, n) for n, plug in enumerate(row[7], 1)
        ),
        ocpp_versions=frozenset({OcppVersion(row[3])}),
        security_profile=2,
        plain_allowed=False,
        meter_key_der_hex=meter().public_key_hex if row[4] else None,
        host_name="host-amsterdam",
        registered_at=NOW - timedelta(days=40, hours=number),
    )


def meter() -> SigningMeter:
    """The one meter key of all signing stations."""
    return SigningMeter(METER_KEY, "M-4711", page=31)


def log_verifier() -> VerifierKey:
    """The log's public key."""
    return VerifierKey(ORIGIN, LOG_KEY.public_key().public_bytes_raw())


def metered(
    started_at: datetime, minutes: int, power_w: int, register_wh: int, *, ended: bool
) -> list[SessionEvent]:
    """A session as a car draws it: full power, then a taper; a value a minute."""
    events = []
    register = float(register_wh)
    for minute in range(minutes + 1):
        share = minute / max(minutes, 1)
        taper = 1 - max(0.0, share - 0.6) * (1.9 if ended else 0.7)
        ramp = min(1.0, 0.3 + minute / 3)
        now_w = max(int(power_w * ramp * taper * (1 + 0.015 * math.sin(minute * 1.7))), 0)
        last = ended and minute == minutes
        kind = TransactionEventKind.STARTED if minute == 0 else TransactionEventKind.UPDATED
        context = ReadingContext.BEGIN if minute == 0 else ReadingContext.PERIODIC
        if last:
            kind, context, now_w = TransactionEventKind.ENDED, ReadingContext.END, 0
        at = started_at + timedelta(minutes=minute)
        received_at = at + timedelta(milliseconds=180)
        events.append(
            SessionEvent(
                minute, kind, True, at, received_at, minute, int(register), now_w, context, None
            )
        )
        register += now_w / 60
    return events


def cdr_record(
    identity: str,
    cdr_id: str,
    station: ChargingStation,
    version: OcppVersion,
    judgement: Judgement,
) -> dict[str, Any]:
    """The record of a bill, as `records` describes it."""
    session, bill = judgement.session, judgement.bill
    assert session is not None
    assert session.ended_at is not None
    assert bill is not None
    return {
        "anomalies": [str(a) for a in sorted(judgement.anomalies)],
        "bill": bill_as_json(bill),
        "cdr_id": cdr_id,
        "connector": 1,
        "correction": None,
        "ended_at": records.time_text(session.ended_at),
        "energy_wh": session.energy_wh,
        "evse": 1,
        "known_anomalies": [],
        "meter_start_wh": session.registers[0].register_wh,
        "meter_stop_wh": session.registers[-1].register_wh,
        "numbered": version is not OcppVersion.V1_6,
        "ocpp_version": str(version),
        "operator_id": OPERATOR_ID,
        "previous_pages": None,
        "proof_level": str(judgement.proof_level),
        "replaces": None,
        "session_id": identity,
        "started_at": records.time_text(session.started_at),
        "station_id": station.station_id,
        "time_zone": session.time_zone,
    }


@dataclass
class SampleLog:
    """Entries in order, the tree over them and the head that covers all."""

    entries: list[tuple[Envelope, dict[str, Any], bytes, str | None]] = field(default_factory=list)

    def append(
        self,
        kind: EntryKind,
        record: dict[str, Any],
        station: str | None = None,
        session: str | None = None,
        at: datetime = NOW,
    ) -> int:
        salt = hashlib.sha256(f"salt {len(self.entries)}".encode()).digest()
        seq = sum(1 for e, *_ in self.entries if e.station == station) + 1
        envelope = Envelope(
            kind, station, seq if station else None, at, commit(salt, records.encode(record))
        )
        self.entries.append((envelope, record, salt, session))
        return len(self.entries) - 1

    def tree(self) -> MemoryTree:
        return MemoryTree([leaf_hash(envelope_bytes(e)) for e, *_ in self.entries])

    def note(self) -> bytes:
        tree = self.tree()
        head = Checkpoint(ORIGIN, tree.size, tree.root())
        return sign_checkpoint(head, log_verifier(), LOG_KEY.sign)

    def proof(self, index: int) -> TlogProof:
        tree = self.tree()
        return TlogProof(index, tuple(inclusion_proof(index, tree.size, tree.node)), self.note())

    def receipt_entry(self, index: int) -> ReceiptEntry:
        envelope, record, salt, _ = self.entries[index]
        return ReceiptEntry(
            envelope.kind,
            envelope.station,
            envelope.seq,
            records.time_text(envelope.received_at),
            record,
            salt,
            self.proof(index),
        )

    def view(self, index: int, *, readable: bool) -> LogEntryView:
        envelope, record, salt, session = self.entries[index]
        entry = envelope_bytes(envelope)
        return LogEntryView(
            log_index=index,
            kind=str(envelope.kind),
            station_id=envelope.station,
            station_seq=envelope.seq,
            session_id=session if readable else None,
            received_at=envelope.received_at,
            entry=entry.decode(),
            leaf_hash=leaf_hash(entry).hex(),
            readable=readable,
            record=record if readable else None,
            salt=salt.hex() if readable else None,
        )


@dataclass
class SampleSession:
    """A session of the sample, billed or running."""

    row: SessionRow
    events: list[SessionEvent]
    live: SessionLive | None = None
    entries: list[int] = field(default_factory=list)
    cdr: CdrView | None = None
    signed: int = 0
    id_token: str = "04A2B7C8D9"
    tariff_id: str | None = "city-ac"


class SampleNetwork:
    """All of it, made once."""

    def __init__(self) -> None:
        self.passports: Any = None
        """A store of registrations in place of the sample's."""
        self.log = SampleLog()
        self.tariffs: dict[str, QuotedTariff] = {}
        self.documents = {"city-ac": CITY, "highway-dc": HIGHWAY}
        self.registered: dict[str, int] = {}
        self.sessions: dict[str, SampleSession] = {}
        self._found_network()
        self._bill_sessions()
        self._start_sessions()
        self.note = self.log.note()
        self.anchor = self._anchor(self.note)

    @property
    def trust(self) -> Trust:
        return Trust(ORIGIN, (log_verifier(),), OPERATOR_ID, (TOPIC,))

    def stations(self) -> list[StationRow]:
        rows = []
        for number, (station_id, maker, model, version, signs, up, tariff, plugs) in enumerate(
            FLEET
        ):
            mine = [s for s in self.sessions.values() if s.row.station_id == station_id and s.live]
            rows.append(
                StationRow(
                    station_id=station_id,
                    manufacturer=maker,
                    model=model,
                    latitude=charging_station(station_id).latitude,
                    longitude=charging_station(station_id).longitude,
                    time_zone="Europe/Amsterdam",
                    ocpp_version=version,
                    connected=up,
                    last_seen_at=NOW - timedelta(seconds=7 + 11 * number if up else 5400),
                    connectors=tuple(
                        ConnectorView(
                            n, 1, plug.kind, plug.power_w, plug.status,
                            plug.detail or plug.status, NOW - timedelta(minutes=13 * n + number),
                        )
                        for n, plug in enumerate(plugs, 1)
                    ),
                    tariff_id=tariff,
                    tariff_version=1 if tariff else None,
                    signs_meter_values=signs,
                    power_w=sum((s.live.power_w or 0) for s in mine if s.live),
                    open_sessions=len(mine),
                )
            )  # fmt: skip
        return rows

    def tariff_views(self) -> list[TariffView]:
        return [
            TariffView(
                tariff_id=quoted.tariff_id,
                version=quoted.version,
                digest=quoted.digest,
                currency="EUR",
                published_at=NOW - timedelta(days=23),
                log_index=quoted.log_index,
                is_current=True,
                stations=tuple(row[0] for row in FLEET if row[6] == quoted.tariff_id),
                document=self.documents[quoted.tariff_id],
            )
            for quoted in self.tariffs.values()
        ]

    def anchors(self) -> list[AnchorView]:
        size = self.log.tree().size
        views = []
        for number in range(4):
            at = NOW - timedelta(seconds=52 + 3600 * number)
            views.append(
                AnchorView(
                    tree_size=size - 13 * number,
                    state="anchored",
                    requested_at=at - timedelta(seconds=3),
                    attempts=1,
                    hedera_transaction_id=f"0.0.1002@{int(at.timestamp()) - 3}.000000001",
                    topic_id=TOPIC.topic_id,
                    sequence_number=41 - number,
                    consensus_timestamp=f"{int(at.timestamp())}.{118_204_771 + number:09d}",
                    running_hash="",
                    anchored_at=at,
                )
            )
        return views

    def session_view(self, session: SampleSession, *, readable: bool) -> SessionView:
        quoted = self.tariffs.get(session.tariff_id or "")
        return SessionView(
            session=session.row,
            time_zone="Europe/Amsterdam",
            id_token=session.id_token if readable else None,
            id_token_status="Accepted",
            stop_reason=None if session.live else "EVDisconnected",
            tariff_id=quoted and quoted.tariff_id,
            tariff_version=quoted and quoted.version,
            tariff_digest=quoted and quoted.digest,
            tariff_log_index=quoted and quoted.log_index,
            started_log_index=session.entries[0] if session.entries else None,
            ended_log_index=session.entries[-2] if len(session.entries) > 2 else None,
            received_at=session.row.started_at,
            changed_at=NOW,
            live=session.live,
            cdrs=(session.cdr,) if session.cdr else (),
            readings=tuple(
                ReadingView(
                    e.n, e.kind, e.at, e.received_at, e.seq_no, e.register_wh, e.power_w, e.context,
                    None,
                )
                for e in session.events
            ),
            signed_values=session.signed,
            entries=tuple(self.log.view(i, readable=True) for i in session.entries),
            may_decide=readable,
        )  # fmt: skip

    def receipt(self, session: SampleSession) -> bytes:
        assert session.tariff_id is not None
        quoted = self.tariffs[session.tariff_id]
        indexes = sorted(
            [self.registered[session.row.station_id], quoted.log_index, *session.entries]
        )
        return receipt_document(
            session.row.session_id,
            [self.log.receipt_entry(index) for index in indexes],
            session.events,
            self.anchor,
        )

    def _found_network(self) -> None:
        self.log.append(EntryKind.NETWORK_CREATED, {"operator_id": OPERATOR_ID})
        for station_id, *_ in FLEET:
            record = records.station_record(charging_station(station_id))
            self.registered[station_id] = self.log.append(
                EntryKind.STATION_REGISTERED, record, station_id, at=NOW - timedelta(days=40)
            )
        for tariff_id, document in self.documents.items():
            digest = tariff_digest(document)
            record = records.tariff_record(tariff_id, 1, digest, document, NOW - timedelta(days=23))
            index = self.log.append(EntryKind.TARIFF_PUBLISHED, record, at=NOW - timedelta(days=23))
            self.tariffs[tariff_id] = QuotedTariff(
                tariff_id, 1, digest, tariff_from_ocpi(document), index
            )

    def _bill_sessions(self) -> None:
        for number, (station_id, began, minutes, power_w) in enumerate(
            (
                ("Amstel-01", 212, 78, 21_600),
                ("Windmill-01", 190, 55, 21_000),
                ("Market-01", 150, 41, 20_800),
                ("Museum-01", 130, 63, 10_900),
            )
        ):
            started_at = NOW - timedelta(minutes=began, seconds=20)
            self._bill(
                number, station_id, metered(started_at, minutes, power_w, 418_203, ended=True)
            )

    def _bill(self, number: int, station_id: str, events: list[SessionEvent]) -> None:
        identity = session_id(number)
        station, quoted = charging_station(station_id), self.tariffs["city-ac"]
        began, ended = events[0], events[-1]
        reference = {
            "digest": quoted.digest,
            "log_index": quoted.log_index,
            "tariff_id": quoted.tariff_id,
            "version": quoted.version,
        }
        started = {"session_id": identity, "tariff": reference}
        entries = [
            self.log.append(
                EntryKind.SESSION_STARTED, started, station_id, identity, began.received_at
            )
        ]
        values = self._signed_values(station, identity, began, ended, entries)
        encoded = [records.encode(records.event_record(event)) for event in events]
        closed = {"events": records.events_summary(encoded), "session_id": identity}
        entries.append(
            self.log.append(
                EntryKind.SESSION_ENDED, closed, station_id, identity, ended.received_at
            )
        )
        version = OcppVersion(next(row[3] for row in FLEET if row[0] == station_id))
        key = station.meter_key_der_hex
        judgement = judge(
            SessionFacts(
                numbered=version is not OcppVersion.V1_6,
                time_zone=station.time_zone,
                events=events,
                tariff=quoted.tariff,
                meter_key=load_meter_key(key) if key else None,
                signed=values,
                previous_pages=None,
                correction=None,
            )
        )
        assert judgement.bill is not None, judgement.reasons
        bill, cdr_id = judgement.bill, f"C4E-2026-{1184 + number:06d}"
        record = cdr_record(identity, cdr_id, station, version, judgement) | {
            "events": records.events_summary(encoded),
            "tariff": reference,
            "transaction_id": f"tx-{4400 + number}",
        }
        index = self.log.append(
            EntryKind.CDR, record, station_id, identity, ended.received_at + timedelta(seconds=4)
        )
        entries.append(index)
        row = SessionRow(
            session_id=identity,
            station_id=station_id,
            evse=1,
            connector=1,
            ocpp_version=version,
            transaction_id=f"tx-{4400 + number}",
            state="billed",
            started_at=began.at,
            ended_at=ended.at,
            meter_start_wh=began.register_wh,
            meter_stop_wh=ended.register_wh,
            energy_wh=record["energy_wh"],
            currency="EUR",
            net_minor=bill.net_minor,
            vat_minor=bill.vat_minor,
            gross_minor=bill.gross_minor,
            proof_level=str(judgement.proof_level),
            cdr_log_index=index,
            anomalies=tuple(str(a) for a in sorted(judgement.anomalies)),
            settlement=None,
        )
        cdr = CdrView(
            cdr_id, False, None, "EUR", bill.net_minor, bill.vat_minor, bill.gross_minor,
            record["energy_wh"], ended.received_at, index,
        )  # fmt: skip
        self.sessions[identity] = SampleSession(
            row, events, entries=entries, cdr=cdr, signed=len(values)
        )

    def _signed_values(
        self,
        station: ChargingStation,
        identity: str,
        began: SessionEvent,
        ended: SessionEvent,
        entries: list[int],
    ) -> list[SignedMeterValue]:
        if station.meter_key_der_hex is None:
            return []
        signer, who = meter(), Identification("04A2B7C8D9")
        values = []
        for event, context, kind in (
            (began, ReadingContext.BEGIN, ReadingKind.BEGIN),
            (ended, ReadingContext.END, ReadingKind.END),
        ):
            reading = MeterReading(event.register_wh or 0, event.at, kind)
            first = MeterReading(began.register_wh or 0, began.at, ReadingKind.BEGIN)
            shown = [reading] if kind is ReadingKind.BEGIN else [first, reading]
            raw = signer.record(shown[-1:], who).encode()
            values.append(SignedMeterValue(context, raw))
            record = records.signed_value_record(identity, str(context), raw, event.received_at)
            entries.append(
                self.log.append(
                    EntryKind.SIGNED_VALUE, record, station.station_id, identity, event.received_at
                )
            )
        return values

    def _start_sessions(self) -> None:
        running = (
            # station, evse, minutes, watts, charging, tariff
            ("Erasmus-01", 1, 19, 143_000, True, "highway-dc"),
            ("Amstel-02", 2, 34, 10_900, True, "city-ac"),
            ("Station-North", 1, 11, 57_500, True, "highway-dc"),
            ("Amstel-01", 1, 47, 21_800, True, "city-ac"),
            ("Windmill-01", 1, 26, 21_100, True, "city-ac"),
            ("Amstel-02", 1, 88, 7_200, True, "city-ac"),
            ("Harbour-01", 1, 143, 10_800, False, "city-ac"),
        )
        for number, (station_id, evse, minutes, power_w, charging, tariff_id) in enumerate(
            running, 16
        ):
            started_at = NOW - timedelta(minutes=minutes, seconds=12)
            events = metered(started_at, minutes, power_w, 96_410 + 9_731 * number, ended=False)
            self._start(number, station_id, evse, events, charging, tariff_id)
        self._odd(24, "Harbour-02", "review", ("no_tariff",))
        self._odd(25, "Dom-Square-01", "refused", ())

    def _start(
        self,
        number: int,
        station_id: str,
        evse: int,
        events: list[SessionEvent],
        charging: bool,
        tariff_id: str,
    ) -> None:
        identity, quoted = session_id(number), self.tariffs[tariff_id]
        registers = tuple(RegisterValue(e.at, e.register_wh or 0) for e in events)
        metering = MeteredSession(events[0].at, None, "Europe/Amsterdam", registers)
        cost = bill_as_json(running_cost(quoted.tariff, metering, events[-1].at))
        begun = {"session_id": identity, "tariff": {"tariff_id": tariff_id}}
        entry = self.log.append(
            EntryKind.SESSION_STARTED, begun, station_id, identity, events[0].received_at
        )
        row = SessionRow(
            session_id=identity,
            station_id=station_id,
            evse=evse,
            connector=1,
            ocpp_version=next(r[3] for r in FLEET if r[0] == station_id),
            transaction_id=f"tx-{4400 + number}",
            state="charging",
            started_at=events[0].at,
            ended_at=None,
            meter_start_wh=registers[0].register_wh,
            meter_stop_wh=None,
            energy_wh=registers[-1].register_wh - registers[0].register_wh,
            currency="EUR",
            net_minor=None,
            vat_minor=None,
            gross_minor=None,
            proof_level="L0",
            cdr_log_index=None,
            anomalies=(),
            settlement=None,
        )
        power_w = events[-1].power_w if charging else 0
        self.sessions[identity] = SampleSession(
            row,
            events,
            live=SessionLive(power_w, charging, cost),
            entries=[entry],
            signed=1 if charging_station(station_id).meter_key_der_hex else 0,
            tariff_id=tariff_id,
        )

    def _odd(self, number: int, station_id: str, state: str, anomalies: tuple[str, ...]) -> None:
        identity = session_id(number)
        started_at = NOW - timedelta(minutes=301)
        events = metered(started_at, 32, 10_700, 55_120, ended=True)
        begun = {"session_id": identity, "tariff": None}
        entry = self.log.append(
            EntryKind.SESSION_STARTED, begun, station_id, identity, events[0].received_at
        )
        row = SessionRow(
            session_id=identity, station_id=station_id, evse=1, connector=1, ocpp_version="1.6",
            transaction_id="118", state=state, started_at=started_at, ended_at=events[-1].at,
            meter_start_wh=events[0].register_wh, meter_stop_wh=events[-1].register_wh,
            energy_wh=(events[-1].register_wh or 0) - (events[0].register_wh or 0), currency=None,
            net_minor=None, vat_minor=None, gross_minor=None, proof_level="L0", cdr_log_index=None,
            anomalies=anomalies, settlement=None,
        )  # fmt: skip
        self.sessions[identity] = SampleSession(row, events, entries=[entry], tariff_id=None)

    def _anchor(self, note: bytes) -> AnchoredMessage:
        previous = hashlib.sha384(b"what stood on the topic before").digest()
        consensus = f"{int((NOW - timedelta(seconds=52)).timestamp())}.118204771"
        hashed = running_hash(
            previous,
            payer_account_id=TOPIC.payer,
            topic_id=TOPIC.topic_id,
            consensus_timestamp=consensus,
            sequence_number=41,
            message=note,
        )
        return AnchoredMessage(
            topic_id=TOPIC.topic_id,
            payer_account_id=TOPIC.payer,
            sequence_number=41,
            consensus_timestamp=consensus,
            message=note,
            running_hash=hashed,
            previous_running_hash=previous,
        )
