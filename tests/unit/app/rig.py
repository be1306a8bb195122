"""Charging and billing over a database in memory, and short ways to say what a station says."""

from datetime import datetime, timedelta
from typing import Any

from chargera.app.ports import ConnectorStatement, KnownIdToken
from chargera.app.testing import MemoryDatabase, MemorySession
from chargera.domain.messages import (
    IdTokenRef,
    MeterSample,
    ReadingContext,
    SignedValue,
    StationMessage,
    StatusNotification,
    TransactionAnswer,
    TransactionEvent,
    TransactionEventKind,
)
from chargera.domain.pricing import ChargingState
from chargera.domain.station import ConnectorStatus, OcppVersion
from chargera.proofs import canonical
from tests.histories import IN_FORCE, START, STATION, STATION_ID, Csms

S, U, E = TransactionEventKind.STARTED, TransactionEventKind.UPDATED, TransactionEventKind.ENDED
CONTEXT = {S: ReadingContext.BEGIN, U: ReadingContext.PERIODIC, E: ReadingContext.END}
V1, V2 = OcppVersion.V1_6, OcppVersion.V2_0_1

__all__ = ["START", "STATION", "STATION_ID", "V1", "V2", "ConnectorStatement", "E", "S", "U"]


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def event(
    kind: TransactionEventKind,
    minutes: float,
    register_wh: int | None = None,
    *,
    number: str | None = None,
    seq_no: int | None = None,
    evse: int | None = None,
    connector: int | None = None,
    token: str | None = None,
    token_kind: str | None = None,
    charging: ChargingState | None = None,
    signed: tuple[bytes, ...] = (),
    moment: datetime | None = None,
    stop_reason: str | None = None,
    power_w: int = 7000,
) -> TransactionEvent:
    moment = moment or at(minutes)
    samples = ()
    if register_wh is not None:
        samples = (MeterSample(moment, CONTEXT[kind], register_wh, power_w),)
    return TransactionEvent(
        kind=kind,
        transaction_id=number,
        seq_no=seq_no,
        evse=evse,
        connector=connector,
        at=moment,
        id_token=IdTokenRef(token, token_kind) if token is not None else None,
        samples=samples,
        signed=tuple(SignedValue(raw, CONTEXT[kind], moment) for raw in signed),
        charging=charging,
        stop_reason=stop_reason,
        offline=False,
        remote_start_id=None,
    )


def start_1_6(
    minutes: float, register_wh: int, *, token: str = "ABC", connector: int = 1, **more: Any
) -> TransactionEvent:
    return event(S, minutes, register_wh, token=token, connector=connector, **more)


def status(
    minutes: float | None,
    detail: str,
    *,
    connector: int = 1,
    evse: int | None = None,
    charging: ChargingState | None = None,
    moment: datetime | None = None,
) -> StatusNotification:
    kind = ConnectorStatus.AVAILABLE if detail == "Available" else ConnectorStatus.OCCUPIED
    if moment is None and minutes is not None:
        moment = at(minutes)
    return StatusNotification(evse, connector, kind, detail, moment, charging)


class Rig(Csms):
    """One station with two connectors, a tariff and two drivers."""

    def __init__(self) -> None:
        self.memory = MemoryDatabase()
        super().__init__(self.memory)
        self.memory.stations[STATION_ID] = STATION
        self.memory.tariffs[STATION_ID] = [IN_FORCE]
        for value in ("ABC", "DEF"):
            self.add_token(value)
        self.clock.advance(24 * 3600)

    def add_token(self, value: str, kind: str = "ISO14443", **more: Any) -> None:
        ref = IdTokenRef(value, kind)
        known: dict[str, Any] = {"blocked": False, "expires_at": None, "login_id": None}
        others = [one for one in self.memory.id_tokens.get(ref.key, []) if one.ref.kind != kind]
        self.memory.id_tokens[ref.key] = [*others, KnownIdToken(ref, **known | more)]

    async def hear(self, version: OcppVersion, *messages: StationMessage) -> list[Any]:
        """Handle each message in a batch of its own and return the answers."""
        return [(await self.say(version, [message]))[0] for message in messages]

    async def started(self, start: TransactionEvent) -> str:
        """Start a 1.6 transaction and return its number."""
        [answer] = await self.hear(V1, start)
        assert isinstance(answer, TransactionAnswer)
        return answer.transaction_id

    def restart(self) -> None:
        self.charging.forget([STATION_ID])

    @property
    def sessions(self) -> list[MemorySession]:
        rows = self.memory.sessions.values()
        return sorted(rows, key=lambda row: row.transaction.started_at)

    @property
    def session(self) -> MemorySession:
        [only] = self.memory.sessions.values()
        return only

    def anomalies(self) -> list[str]:
        return sorted(str(anomaly) for anomaly in self.session.transaction.anomalies)

    def records(self, kind: str) -> list[Any]:
        entries = [e for e in self.memory.entries if str(e.kind) == kind]
        return [canonical.decode(e.record or b"") for e in entries]
