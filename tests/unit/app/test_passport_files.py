"""Passport files on demand: which entries and which head go into one."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from chargera.app.passport_files import build_passport_file
from chargera.app.passports import PassportRow, Step
from chargera.app.ports import StoredEntry
from chargera.app.receipts import ReceiptHead
from chargera.app.settlement_ports import NetworkTerms
from chargera.domain.errors import Conflict, Refused
from chargera.domain.standard_run import RunStep, StepOutcome
from chargera.domain.station import OcppVersion
from chargera.proofs import records
from chargera.proofs.chain_values import address_text, hex_text
from chargera.proofs.entry import EntryKind, envelope_bytes
from chargera.proofs.passport import consent_digest, metadata_document, metadata_of
from chargera.proofs.passport_file import parse_passport_file, verify_passport_file
from tests.unit.proofs.sample_batch import CHAIN_ID, address, sign
from tests.unit.proofs.sample_receipt import START, STATION_ID, TOPIC, anchor_of, station
from tests.unit.proofs.sample_run import passed_run, with_outcome
from tests.unit.proofs.sample_settlement import HOST
from tests.unit.proofs.test_passport_file import CONTRACT, DOMAIN, NONCE, TRUST, Born

TERMS = NetworkTerms(CHAIN_ID, {"ChargerPassport": address_text(CONTRACT)}, "NL*C4E")


@dataclass
class Database:
    """The rows of one charger's life."""

    born: Born = field(default_factory=Born)
    anchored: bool = True
    published: int = 0
    covers: bool = True
    erased: int | None = None

    def stored(self, index: int) -> StoredEntry:
        envelope, record, salt = self.born.log.entries[index]
        erased = index == self.erased
        return StoredEntry(
            index,
            envelope.kind,
            STATION_ID,
            None,
            START,
            envelope_bytes(envelope),
            None if erased else records.encode(record),
            None if erased else salt,
        )

    async def registration_entry(self, station_id: str, before: int) -> StoredEntry | None:
        assert (station_id, before) == (STATION_ID, self.born.indexes[1])
        return self.stored(self.born.indexes[0])

    async def entry(self, log_index: int) -> StoredEntry | None:
        return self.stored(log_index)

    async def station_entries(self, station_id: str, kind: str) -> list[StoredEntry]:
        assert station_id == STATION_ID
        indexes = {"custody": self.born.indexes[3:], "protocol_tested": self.born.tests}
        return [self.stored(index) for index in indexes[kind]]

    async def receipt_head(self, log_index: int) -> ReceiptHead | None:
        assert log_index >= self.born.indexes[-1]
        if not self.covers:
            return None
        note = self.born.log.note()
        return ReceiptHead(note, anchor_of(note) if self.anchored else None)

    async def publish(self) -> None:
        self.published += 1
        self.covers = True

    async def prove(self, indexes: Sequence[int], note: bytes) -> Sequence[bytes]:
        return [self.born.log.receipt_entry(i, note).proof.to_bytes() for i in indexes]

    def row(self) -> PassportRow:
        born = self.born
        return PassportRow(
            registration_no=1,
            station_id=STATION_ID,
            passport_id=born.passport,
            step=Step.REGISTERED,
            metadata=metadata_document(metadata_of(station(), "NL*C4E")),
            request={
                "commission_bps": 3_000,
                "meter_key_hash": hex_text(bytes(32)),
                "nonce": NONCE,
                "station_key_hash": hex_text(bytes(32)),
            },
            host=address_text(address(HOST)),
            consent=hex_text(sign(HOST, consent_digest(born.request, DOMAIN))),
            onboarding_log_index=born.indexes[1],
            topic_id=TOPIC.topic_id,
            sequence_number=1,
            reading_log_index=None,
            registration_hash=None,
            transaction_hash=None,
            mintable_at=None,
            mint_transaction_hash=None,
            registered_at=START,
            registered_log_index=born.indexes[2],
            retired_at=None,
            refusal=None,
            requested_at=START,
        )

    async def file(self, row: PassportRow | None = None) -> bytes:
        custody = list(zip(self.born.indexes[3:], self.born.proofs(), strict=True))
        return await build_passport_file(
            self, row or self.row(), TERMS, self.prove, self.publish, custody
        )


async def test_file__registered_charger__a_stranger_finds_it_valid() -> None:
    database = Database()
    data = await database.file()
    assert parse_passport_file(data) == database.born.file()
    assert verify_passport_file(data, TRUST).valid


async def test_file__standard_runs__of_each_protocol_the_latest_that_was_passed() -> None:
    failed = passed_run(results=with_outcome(RunStep.BOOT, StepOutcome.FAILED))
    other = passed_run(ocpp_version=OcppVersion.V1_6)
    database = Database(Born(tested=(passed_run(), other, passed_run(), failed)))
    file = parse_passport_file(await database.file())
    assert [entry.proof.index for entry in file.tests] == database.born.tests[1:3]
    assert verify_passport_file(await database.file(), TRUST).valid
    database.erased = database.born.tests[2]
    file = parse_passport_file(await database.file())
    assert [entry.proof.index for entry in file.tests] == database.born.tests[:2]


async def test_file__no_head_covers_it__one_is_published() -> None:
    database = Database(covers=False, anchored=False)
    assert parse_passport_file(await database.file()).anchor is None
    assert database.published == 1


async def test_file__not_registered_yet__says_what_to_do() -> None:
    database = Database()
    with pytest.raises(Conflict, match="not registered yet"):
        await database.file(replace(database.row(), step=Step.CONTEST))


async def test_file__record_was_erased__refused() -> None:
    with pytest.raises(Refused, match="erased"):
        await Database(erased=1).file()


def test_kinds__of_the_sample__are_those_of_a_passport() -> None:
    born = Born()
    kinds = [born.log.entries[index][0].kind for index in born.indexes]
    assert kinds[:3] == [
        EntryKind.STATION_REGISTERED,
        EntryKind.ONBOARDING,
        EntryKind.PASSPORT_REGISTERED,
    ]
