"""Custody in memory: one station with its passport, and a chain that keeps its records.

What a unit of work did not commit is gone. The chain applies what the contract applies, and refuses
a record whose number is taken; signatures are looked at where the product looks at them.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from chargera.app.custody import PASSPORT, CustodyRecords, CustodyRow, CustodyStep
from chargera.app.custody_requests import CustodyRequest, open_custody
from chargera.app.passports import AnchoredPlace, PassportRow, Step
from chargera.app.permissions import Caller, Role
from chargera.app.ports import NewEntry
from chargera.app.settlement_ports import ContractRefused
from chargera.domain.errors import Unavailable
from chargera.domain.passport import CustodyKind
from chargera.domain.station import ChargingStation
from chargera.ledger.abi import Struct
from chargera.ledger.chain_key import ChainKey
from chargera.proofs.chain_values import hex_text, operator_word
from chargera.proofs.passport import metadata_document, metadata_of, passport_domain
from tests.unit.app.settlement_rig import KEEPER, OPERATOR, START, Clock, terms
from tests.unit.proofs.sample_batch import CHAIN_ID, address, sign
from tests.unit.proofs.sample_receipt import STATION_ID, TOPIC, station

HOST = ChainKey(b"\x31" * 32)
NEW_HOST = ChainKey(b"\x32" * 32)
TERMS = terms()
DOMAIN = passport_domain(CHAIN_ID, address(6))
RUNS_IT = Caller(None, "ada", Role.OPERATOR)
HOSTS_IT = Caller("host", "bob", Role.HOST)
OVER = (CustodyStep.RECORDED, CustodyStep.REFUSED)


def passport(step: Step = Step.REGISTERED) -> PassportRow:
    metadata = metadata_of(station(), OPERATOR)
    return PassportRow(
        registration_no=1,
        station_id=STATION_ID,
        passport_id=hex_text(metadata.token_id),
        step=step,
        metadata=metadata_document(metadata),
        request={},
        host=HOST.address_text,
        consent=None,
        onboarding_log_index=1,
        topic_id=TOPIC.topic_id,
        sequence_number=1,
        reading_log_index=None,
        registration_hash=None,
        transaction_hash=None,
        mintable_at=None,
        mint_transaction_hash=None,
        registered_at=START,
        registered_log_index=2,
        retired_at=None,
        refusal=None,
        requested_at=START,
    )


@dataclass
class Rows:
    custody: list[CustodyRow] = field(default_factory=list)
    passport: PassportRow | None = field(default_factory=passport)
    station: ChargingStation = field(default_factory=station)
    former: list[tuple[int, ChargingStation]] = field(default_factory=list)
    entries: list[NewEntry] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)


class Work:
    """One unit of work; each of its parts is itself."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.rows = deepcopy(world.rows)

    @property
    def custody(self) -> "Custody":
        return Custody(self._world, self.rows)

    @property
    def passports(self) -> "Passports":
        return Passports(self._world, self.rows)

    @property
    def stations(self) -> "Stations":
        return Stations(self.rows)

    async def accept(self, id_token: str, now: object) -> None:
        self.rows.accepted.append(id_token)

    def append(self, entry: NewEntry) -> None:
        self.rows.entries.append(entry)

    async def flush(self) -> int | None:
        return len(self.rows.entries) + 9 - (2 if self._has_two() else 1)

    def _has_two(self) -> bool:
        new = self.rows.entries[len(self._world.rows.entries) :]
        return len(new) == 2

    async def commit(self) -> None:
        if self._world.dies_at == "commit":
            raise Unavailable("the database is gone")
        self._world.rows = self.rows


@dataclass
class Custody:
    world: "World"
    rows: Rows

    async def of_station(self, station_id: str) -> Sequence[CustodyRow]:
        return [row for row in self.rows.custody if row.station_id == station_id]

    async def add(self, row: CustodyRow) -> CustodyRow:
        self.rows.custody.append(replace(row, custody_no=len(self.rows.custody)))
        return self.rows.custody[-1]

    async def update(self, row: CustodyRow) -> None:
        self.rows.custody[row.custody_no] = row

    async def open(self) -> Sequence[CustodyRow]:
        return [row for row in self.rows.custody if row.step not in OVER]

    async def lock(self, custody_no: int) -> CustodyRow:
        return self.world.faster or self.rows.custody[custody_no]

    async def is_charging(self, station_id: str) -> bool:
        return self.world.is_charging


@dataclass
class Passports:
    world: "World"
    rows: Rows

    async def of_station(self, station_id: str) -> PassportRow | None:
        return self.rows.passport

    async def minted(self, passport_id: str) -> PassportRow | None:
        found = self.rows.passport
        return found if found is not None and found.passport_id == passport_id else None

    async def update(self, row: PassportRow) -> None:
        self.rows.passport = row

    async def anchored(self, log_index: int) -> AnchoredPlace | None:
        if log_index >= self.world.anchored_size:
            return None
        return AnchoredPlace(self.world.anchored_size, TOPIC.topic_id, 7)

    async def reading_of(self, station_id: str, after: int, identification: str) -> int | None:
        return self.world.readings.get(identification)

    async def signatures(self, digest: str) -> Mapping[int, str]:
        if not self.world.attesters_sign:
            return {}
        return {n: hex_text(sign(n + 1, bytes.fromhex(digest[2:]))) for n in range(3)}

    async def refusals(self, digest: str) -> Sequence[str]:
        return self.world.refusals


@dataclass
class Stations:
    rows: Rows

    async def reaches(self, caller: Caller, station_id: str) -> bool:
        return station_id == STATION_ID and caller in (RUNS_IT, HOSTS_IT)

    async def registered(self, station_id: str) -> ChargingStation | None:
        return self.rows.station

    async def change(self, station: ChargingStation, until_log_index: int) -> None:
        self.rows.former.append((until_log_index, self.rows.station))
        self.rows.station = station


@dataclass
class World:
    """The database, the chain, and what is outside of both."""

    rows: Rows = field(default_factory=Rows)
    clock: Clock = field(default_factory=Clock)
    anchored_size: int = 0
    readings: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    attesters_sign: bool = True
    refusals: list[str] = field(default_factory=list)
    is_charging: bool = False
    faster: CustodyRow | None = None
    """What somebody else has made of a record by the time that it is locked."""
    anchors_reach: bool = True
    dies_at: str = ""
    # The chain.
    host: str = HOST.address_text
    operator_id: str = OPERATOR
    status: int = 2
    meter_key_hash: bytes = bytes(32)
    holders: dict[bytes, bytes] = field(default_factory=dict)
    history: list[Struct] = field(default_factory=list)
    of_others: list[tuple[bytes, Struct]] = field(default_factory=list)
    """Records of passports that are not registered here."""
    looked_from: list[int] = field(default_factory=list)
    """From which block each look for all records began."""
    sent: list[str] = field(default_factory=list)
    refuses: ContractRefused | None = None

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Any]:
        yield Work(self)

    async def anchor_now(self) -> int:
        if self.anchors_reach:
            self.anchored_size = 100
        return self.anchored_size

    def records(self, *, custodial: bool = True) -> CustodyRecords:
        """The worker; `custodial`: the host has left his key to this server."""
        return CustodyRecords(
            self,
            TERMS,
            self,
            Sender(self, KEEPER),
            self.clock,
            self.anchor_now,
            HOST if custodial else None,
            Sender(self, HOST.address_text) if custodial else None,
            lambda station_id, evse, id_token: self.asked.append(id_token),
        )

    async def ask(self, kind: str, **said: Any) -> CustodyRow:
        """Ask for a record and commit it."""
        request = CustodyRequest(said.pop("station_id", STATION_ID), kind, **said)
        async with self.work() as work:
            row = await open_custody(work, RUNS_IT, TERMS, self, request, now=self.clock.now())
            await work.commit()
        return row

    async def go(self, *, custodial: bool = True, turns: int = 4) -> CustodyRow:
        """Let the worker go as far as it comes, and return the newest record."""
        records = self.records(custodial=custodial)
        for _ in range(turns):
            await records.advance()
        return self.rows.custody[-1]

    # Contracts --------------------------------------------------------------------------------

    chain_id = CHAIN_ID

    def address(self, contract: str) -> str:
        return TERMS.contracts[contract]

    async def read(self, contract: str, function: str, *arguments: Any) -> Any:
        if self.dies_at == function:
            raise Unavailable("the chain is silent")
        match function:
            case "factsOf":
                return Struct(
                    status=self.status,
                    operatorId=operator_word(self.operator_id),
                    host=self.host,
                    latE7=520_000_000,
                    lonE7=40_000_000,
                    meterKeyHash=self.meter_key_hash,
                )
            case "custodyOf":
                return list(self.history)
            case "quorum":
                return 3
            case "masks":
                return 0b1111, 0
            case _:
                assert function == "meterKeyHolder"
                return self.holders.get(arguments[0], bytes(32))

    async def events(
        self,
        contract: str,
        event: str,
        topics: Sequence[bytes | None] = (),
        *,
        from_block: int = 0,
    ) -> Sequence[Any]:
        if self.dies_at == event:
            raise Unavailable("the chain is silent")
        if event == "Transfer":
            return [
                Struct(
                    members={"to": owner},
                    block_time=int(START.timestamp()),
                    transaction_hash="0xmoved",
                )
                for owner in (self.host, NEW_HOST.address_text)
            ]
        assert (contract, event) == (PASSPORT, "CustodyRecorded")
        if not topics:
            self.looked_from.append(from_block)
            return [
                Struct(members=Struct(tokenId=token_id, kind=said.kind), block_number=block)
                for block, (token_id, said) in enumerate(self._said(), 1)
                if block >= from_block
            ]
        number = int.from_bytes(topics[1] or b"")
        return [Struct(transaction_hash=f"0x{number}")]

    def _said(self) -> list[tuple[bytes, Struct]]:
        """What the contract has recorded, a record a block, with whose it is."""
        own = bytes.fromhex(passport().passport_id[2:])
        return [(own, said) for said in self.history] + self.of_others

    def append(self, kind: int, digest: bytes, log_index: int, value: bytes) -> None:
        """What the contract does with a record."""
        at = int(self.clock.now().timestamp())
        self.history.append(
            Struct(kind=kind, recordedAt=at, logIndex=log_index, recordDigest=digest, value=value)
        )
        if kind == CustodyKind.RETIREMENT.number:
            self.status = 3


@dataclass
class Sender:
    """An account of the server's: one effect for one purpose."""

    world: World
    address: str

    async def send(self, purpose: str, contract: str, function: str, *arguments: Any) -> str:
        world = self.world
        if world.refuses is not None:
            raise world.refuses
        if purpose not in world.sent:
            world.sent.append(purpose)
            if function == "retire":
                _, digest, log_index = arguments
                world.append(CustodyKind.RETIREMENT.number, digest, log_index, bytes(32))
            else:
                _, kind, digest, log_index, value, _, host_signature = arguments
                assert len(host_signature) == 65
                world.append(kind, digest, log_index, value)
        return "0xsent"
