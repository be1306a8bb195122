"""The attester's judgement on custody records: each kind, and what is not signed."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from chargera.domain.errors import ChargEraError
from chargera.domain.passport import CustodyKind, PassportStatus
from chargera.proofs import records
from chargera.proofs.chain_values import hex_text
from chargera.proofs.custody import (
    CustodyEvidence,
    PassportNow,
    custody_identification,
    judge_custody,
)
from chargera.proofs.entry import EntryKind, envelope_bytes
from chargera.proofs.evidence import LoggedRecord
from chargera.proofs.passport import custody_digest, custody_value, key_hash, token_id
from chargera.proofs.tree import inclusion_proof
from tests.unit.proofs.sample_batch import address, sign
from tests.unit.proofs.sample_receipt import (
    METER_KEY_DER,
    START,
    STATION_ID,
    SampleLog,
    anchor_of,
    station,
)
from tests.unit.proofs.sample_settlement import HOST, facts
from tests.unit.proofs.test_onboarding import DOMAIN, TRUST, reading

PASSPORT = token_id("M", "N")
KEY = METER_KEY_DER.hex()
NOW = PassportNow(PASSPORT, facts(), 2)
PLACE = custody_value(CustodyKind.LOCATION, (520_000_000, 40_000_000))


@dataclass
class Change:
    """A custody record as an attester sees it, right but for what is changed in it."""

    kind: CustodyKind
    value: bytes
    changed: dict[str, Any] = field(default_factory=dict)
    plate: dict[str, Any] = field(default_factory=dict)
    with_station: bool = True
    signs_for: str | None = None
    """None: for what it should, if there is a key; empty: it does not sign."""

    def __post_init__(self) -> None:
        self.log = SampleLog()
        self.indexes: list[int] = []
        if self.with_station:
            plate = records.station_record(station(meter=True)) | self.plate
            self.indexes.append(self.log.append(EntryKind.STATION_REGISTERED, plate))
        record = records.custody_record(
            station_id=STATION_ID,
            passport_id=hex_text(PASSPORT),
            number=2,
            kind=self.kind,
            value=hex_text(self.value),
            note="a note",
            by="ada",
            at=START,
        )
        self.record = record | self.changed
        self.place = self.log.append(EntryKind.CUSTODY, self.record)
        self.indexes.append(self.place)
        if self.signs_for != "":
            named = self.signs_for or custody_identification(self.record)
            value = {"ocmf_base64": reading(named), "session_id": "s"}
            self.indexes.append(self.log.append(EntryKind.SIGNED_VALUE, value))

    @property
    def digest(self) -> bytes:
        return custody_digest(
            PASSPORT,
            2,
            self.kind,
            records.custody_record_digest(self.record),
            self.place,
            self.value,
            domain=DOMAIN,
        )

    def logged(self, index: int) -> LoggedRecord:
        tree = self.log.tree()
        envelope, record, salt = self.log.entries[index]
        path = tuple(inclusion_proof(index, tree.size, tree.node))
        return LoggedRecord(index, envelope_bytes(envelope), path, records.encode(record), salt)

    def evidence(self, **changes: Any) -> CustodyEvidence:
        note = self.log.note()
        one = CustodyEvidence(
            note,
            anchor_of(note),
            sign(HOST, self.digest),
            tuple(self.logged(index) for index in self.indexes),
        )
        return replace(one, **changes)


HONEST = [
    Change(CustodyKind.OWNER, custody_value(CustodyKind.OWNER, address(6)), with_station=False),
    Change(CustodyKind.OPERATOR, custody_value(CustodyKind.OPERATOR, "DE*ABC")),
    Change(CustodyKind.METER, key_hash(KEY)),
    Change(CustodyKind.METER, bytes(32), plate={"meter_key": None}, signs_for=""),
    Change(CustodyKind.FIRMWARE, bytes(32)),
    Change(CustodyKind.LOCATION, PLACE),
    Change(CustodyKind.REPAIR, bytes(32)),
]


@pytest.mark.parametrize("change", HONEST, ids=lambda change: str(change.kind))
def test_judge__what_happened_and_the_host_agrees__the_digest_to_sign(change: Change) -> None:
    assert judge_custody(change.evidence(), NOW, DOMAIN, TRUST) == change.digest


def refusal(change: Change, now: PassportNow = NOW, **changes: Any) -> str:
    with pytest.raises(ChargEraError) as refused:
        judge_custody(change.evidence(**changes), now, DOMAIN, TRUST)
    return refused.value.message


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (Change(CustodyKind.RETIREMENT, bytes(32)), "by himself"),
        (Change(CustodyKind.OWNER, bytes(32)), "value of kind owner"),
        (Change(CustodyKind.OWNER, b"\1" * 32), "value of kind owner"),
        (Change(CustodyKind.OPERATOR, b"x".ljust(32, b"\0")), "operator id"),
        (Change(CustodyKind.REPAIR, b"\1" * 32), "value of kind repair"),
        (Change(CustodyKind.LOCATION, b"\1" * 32), "value of kind location"),
        (Change(CustodyKind.LOCATION, PLACE, plate={"latitude": "51"}), "another place"),
        (Change(CustodyKind.LOCATION, PLACE, plate={"station_id": "CP-2"}), "another station"),
        (Change(CustodyKind.LOCATION, PLACE, with_station=False), "station_registered"),
        (Change(CustodyKind.METER, b"\1" * 32), "another meter key"),
        (Change(CustodyKind.METER, key_hash(KEY), signs_for=""), "no reading"),
        (Change(CustodyKind.METER, key_hash(KEY), signs_for="else"), "no reading"),
        (Change(CustodyKind.REPAIR, bytes(32), {"number": 3}), "must be 2"),
        (Change(CustodyKind.REPAIR, bytes(32), {"passport_id": "0x00"}), "another passport"),
        (Change(CustodyKind.REPAIR, bytes(32), {"kind": "lost"}), "misstates"),
        (Change(CustodyKind.REPAIR, bytes(32), {"value": None}), "hex digits"),
    ],
)
def test_judge__it_did_not_happen_like_that__refused(change: Change, fault: str) -> None:
    assert fault in refusal(change)


def test_judge__not_the_hosts_signature__refused() -> None:
    change = HONEST[0]
    assert "by the host" in refusal(change, host_signature=sign(1, change.digest))


def test_judge__passport_not_in_force_or_of_another_operator__refused() -> None:
    retired = replace(NOW, facts=facts(status=PassportStatus.RETIRED))
    assert "not in force" in refusal(HONEST[0], retired)
    assert "another operator" in refusal(HONEST[0], replace(NOW, facts=facts(operator_id="DE*ABC")))


def test_judge__not_anchored_or_twice__refused() -> None:
    change = HONEST[0]
    assert "no topic message" in refusal(change, anchor=None)
    twice = change.evidence().records
    assert "custody" in refusal(change, records=(*twice, twice[0]))
