"""Passport files: recomputed from what was logged, by whoever holds one."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from chargera.domain.errors import Unreadable
from chargera.domain.passport import CustodyKind
from chargera.domain.standard_run import RunStep, StandardRun, StepOutcome
from chargera.domain.station import OcppVersion
from chargera.proofs import canonical, records
from chargera.proofs.chain_values import address_text, hex_text, parse_hex, topic_address
from chargera.proofs.custody_history import CustodyProof
from chargera.proofs.entry import EntryKind
from chargera.proofs.passport import (
    consent_digest,
    custody_digest,
    custody_value,
    key_hash,
    metadata_digest,
    metadata_document,
    metadata_of,
    passport_domain,
    registration_hash,
    request_of,
)
from chargera.proofs.passport_file import (
    ChainPassport,
    PassportFile,
    parse_passport_file,
    passport_file_document,
    verify_passport_file,
)
from chargera.proofs.receipt import ReceiptVerdict
from chargera.proofs.steps import StepStatus
from chargera.proofs.trust import TrustedAttester, TrustedChain
from tests.unit.proofs.sample_batch import CHAIN_ID, address, public_key, sign
from tests.unit.proofs.sample_receipt import (
    START,
    STATION_ID,
    TOPIC,
    SampleLog,
    anchor_of,
    station,
    trust,
)
from tests.unit.proofs.sample_run import RESULTS, passed_run, with_outcome
from tests.unit.proofs.sample_settlement import HOST, facts

CONTRACT = bytes.fromhex("88" * 20)
ATTESTERS = (1, 2, 3)
DOMAIN = passport_domain(CHAIN_ID, CONTRACT)
TRUST = replace(
    trust(),
    chain=TrustedChain(CHAIN_ID, "http://127.0.0.1:1/rpc", {"ChargerPassport": CONTRACT}),
    attesters=tuple(TrustedAttester(address(n), public_key(n)) for n in ATTESTERS),
)
NONCE = hex_text(b"N".ljust(32, b"\0"))


@dataclass
class Born:
    """A charger in a log: registered, onboarded, minted, and changed twice."""

    log: SampleLog = field(default_factory=SampleLog)
    indexes: list[int] = field(default_factory=list)
    changed: dict[EntryKind, dict[str, Any]] = field(default_factory=dict)
    """Members that the operator logged otherwise, by kind."""
    tested: tuple[StandardRun, ...] = ()
    history: tuple[tuple[CustodyKind, Any], ...] = (
        (CustodyKind.REPAIR, None),
        (CustodyKind.OWNER, address(6)),
    )

    def __post_init__(self) -> None:
        metadata = metadata_of(station(), "NL*C4E")
        self.passport = hex_text(metadata.token_id)
        self.add(EntryKind.STATION_REGISTERED, records.station_record(station()))
        onboarding = records.onboarding_record(
            station_id=STATION_ID,
            passport_id=self.passport,
            metadata=metadata_document(metadata),
            host=address_text(address(HOST)),
            commission_bps=3_000,
            meter_key_hash=hex_text(key_hash(None)),
            station_key_hash=hex_text(bytes(32)),
            nonce=NONCE,
            at=START,
        )
        self.add(EntryKind.ONBOARDING, onboarding)
        self.request = request_of(
            metadata,
            host=address(HOST),
            commission_bps=3_000,
            meter_key_hash=bytes(32),
            station_key_hash=bytes(32),
            nonce=parse_hex(NONCE, field="nonce"),
            topic=topic_address(TOPIC.topic_id),
            sequence_number=1,
            log_index=self.indexes[-1],
        )
        registered = records.passport_registered_record(
            station_id=STATION_ID,
            passport_id=self.passport,
            registration_hash=hex_text(registration_hash(self.request, DOMAIN)),
            transaction_hash=hex_text(bytes(32)),
            host=address_text(address(HOST)),
            rated_w=22_000,
            registered_at=START,
            at=START,
        )
        self.add(EntryKind.PASSPORT_REGISTERED, registered)
        for number, (kind, value) in enumerate(self.history):
            record = records.custody_record(
                station_id=STATION_ID,
                passport_id=self.passport,
                number=number,
                kind=kind,
                value=hex_text(custody_value(kind, value)),
                note="a note",
                by="ada",
                at=START,
            )
            self.add(EntryKind.CUSTODY, record)

        self.tests = [
            self.log.append(EntryKind.PROTOCOL_TESTED, records.protocol_tested_record(run))
            for run in self.tested
        ]

    def add(self, kind: EntryKind, record: dict[str, Any]) -> None:
        self.indexes.append(self.log.append(kind, record | self.changed.get(kind, {})))

    def file(self, *, custody: bool = True, **changes: Any) -> PassportFile:
        note = self.log.note()
        indexes = [*(self.indexes if custody else self.indexes[:3]), *self.tests]
        one = PassportFile(
            passport_id=self.request.token_id,
            chain_id=CHAIN_ID,
            contract=CONTRACT,
            consent=sign(HOST, consent_digest(self.request, DOMAIN)),
            topic=self.request.topic,
            sequence_number=1,
            entries=tuple(self.log.receipt_entry(index, note) for index in indexes),
            anchor=anchor_of(note),
            custody_proofs=self.proofs() if custody else (),
        )
        return replace(one, **changes)

    def proofs(self) -> tuple[CustodyProof, ...]:
        """Each record signed by the host of that moment and by three attesters."""
        host, proofs = HOST, []
        for number, (kind, value) in enumerate(self.history):
            if kind is CustodyKind.RETIREMENT:
                proofs.append(CustodyProof())
                continue
            index = self.indexes[3 + number]
            digest = custody_digest(
                self.request.token_id,
                number,
                kind,
                records.custody_record_digest(self.log.entries[index][1]),
                index,
                custody_value(kind, value),
                domain=DOMAIN,
            )
            attested = tuple((address(n), sign(n, digest)) for n in ATTESTERS)
            proofs.append(CustodyProof(sign(host, digest), attested))
            host = 6 if kind is CustodyKind.OWNER else host
        return tuple(proofs)

    def chain(self, **changes: Any) -> ChainPassport:
        history = [
            (
                CustodyKind(self.log.entries[i][1]["kind"]),
                records.custody_record_digest(self.log.entries[i][1]),
                i,
                parse_hex(self.log.entries[i][1]["value"], field="value"),
            )
            for i in self.indexes[3:]
        ]
        said = facts(
            registration_hash=registration_hash(self.request, DOMAIN),
            metadata_digest=metadata_digest(metadata_of(station(), "NL*C4E")),
        )
        return replace(ChainPassport("U", said, history), **changes)


def encoded(file: PassportFile) -> bytes:
    return canonical.encode(passport_file_document(file))


def steps(verdict: ReceiptVerdict) -> dict[str, StepStatus]:
    return {step.step: step.status for step in verdict.steps}


def verdict_on(born: Born, step: str, **changes: Any) -> tuple[StepStatus, str]:
    verdict = verify_passport_file(encoded(born.file(**changes)), TRUST)
    [found] = [one for one in verdict.steps if one.step == step]
    return found.status, found.detail


def test_file__written__read_again_and_valid() -> None:
    born = Born(tested=(passed_run(),))
    data = encoded(born.file())
    assert parse_passport_file(data) == born.file()
    verdict = verify_passport_file(data, TRUST, born.chain())
    assert set(steps(verdict).values()) == {StepStatus.OK}
    assert verdict.exit_code == 0
    unasked = verify_passport_file(data, TRUST)
    assert unasked.valid
    assert steps(unasked)["passport_on_chain"] is StepStatus.NOT_ASKED


def test_file__nothing_has_changed_yet__custody_is_not_asked() -> None:
    assert verdict_on(Born(), "custody", custody=False)[0] is StepStatus.NOT_ASKED


def test_file__protocols_that_were_tested__each_with_its_entry() -> None:
    assert verdict_on(Born(), "protocols")[0] is StepStatus.NOT_ASKED
    runs = (passed_run(), passed_run(ocpp_version=OcppVersion.V1_6))
    status, detail = verdict_on(Born(tested=runs), "protocols")
    assert status is StepStatus.OK
    assert detail == "tested: ocpp2.0.1 (entry 5), ocpp1.6 (entry 6)"


@pytest.mark.parametrize(
    "run",
    [
        passed_run(station_id="CP-2"),
        passed_run(results=RESULTS[:5], reason="the connection was lost"),
        passed_run(results=with_outcome(RunStep.UNKNOWN_ACTION, StepOutcome.FAILED)),
    ],
)
def test_file__test_that_the_station_did_not_pass__named(run: StandardRun) -> None:
    status, detail = verdict_on(Born(tested=(run,)), "protocols")
    assert (status, detail) == (StepStatus.FAILED, "entry 5 is no test that it passed")


def test_file__custody_up_to_the_retirement__who_signed_what() -> None:
    history = (
        (CustodyKind.OWNER, address(6)),
        (CustodyKind.LOCATION, (1, 2)),
        (CustodyKind.RETIREMENT, None),
    )
    status, detail = verdict_on(Born(history=history), "custody")
    assert status is StepStatus.OK
    assert "3 custody records without a hole, 2 signed by the host" in detail
    assert "its host retired it" in detail
    beyond = Born(history=(*history[2:], *history[1:2]))
    assert verdict_on(beyond, "custody") == (
        StepStatus.FAILED,
        "not the custody record 1 of this passport",
    )


def test_file__custody_that_not_all_have_signed__named() -> None:
    born = Born()
    repair, owner = born.proofs()
    (first, signed), *others = repair.signatures
    cases = {
        "record 0 is not signed by the host": replace(repair, host_signature=None),
        "is not signed by the host 0x": replace(repair, host_signature=owner.host_signature),
        "is not signed by 0x": replace(repair, signatures=((address(4), signed), *others)),
        "1 trusted attesters signed": replace(repair, signatures=((first, signed),) * 3),
    }
    for fault, proof in cases.items():
        status, detail = verdict_on(born, "custody", custody_proofs=(proof, owner))
        assert (status, fault in detail) == (StepStatus.FAILED, True), detail
    retired = Born(history=((CustodyKind.RETIREMENT, None),))
    status, detail = verdict_on(retired, "custody", custody_proofs=(repair,))
    assert (status, detail) == (StepStatus.FAILED, "a retirement is signed by nobody")


def test_file__trust_does_not_say_who_attests__the_hosts_signatures_are_judged() -> None:
    unsigned = tuple(replace(proof, signatures=()) for proof in Born().proofs())
    data = encoded(Born().file(custody_proofs=unsigned))
    assert verify_passport_file(data, replace(TRUST, attesters=None)).valid
    assert verify_passport_file(data, TRUST).failed_step == "custody"


def test_file__chain_says_by_what_and_whose_it_is() -> None:
    born = Born()
    said = born.chain(recorded_by=("0xaa", "0xbb"), owners=("0x01", "0x02"))
    verdict = verify_passport_file(encoded(born.file()), TRUST, said)
    [step] = [one for one in verdict.steps if one.step == "passport_on_chain"]
    assert step.detail.endswith("; custody by 0xaa, 0xbb; NFT owned by 0x01 then 0x02")


def test_file__no_trust_or_no_anchor__undetermined() -> None:
    born = Born()
    assert verify_passport_file(encoded(born.file()), None).exit_code == 3
    assert verify_passport_file(encoded(born.file(anchor=None)), TRUST).exit_code == 3


def test_file__trust_says_nothing_of_topic_and_chain__they_are_not_judged() -> None:
    believed = replace(TRUST, topics=None, chain=None)
    assert verify_passport_file(encoded(Born().file()), believed).valid


@pytest.mark.parametrize(
    ("step", "changes"),
    [
        ("metadata", {"passport_id": bytes(32)}),
        ("registration_hash", {"sequence_number": 2}),
        ("registration_hash", {"topic": bytes(20)}),
        ("registration_hash", {"contract": bytes(20)}),
        ("consent", {"consent": sign(1, bytes(32))}),
        ("consent", {"chain_id": 1}),
    ],
)
def test_file__member_that_does_not_follow__named(step: str, changes: dict[str, Any]) -> None:
    assert verdict_on(Born(), step, **changes)[0] is StepStatus.FAILED


@pytest.mark.parametrize(
    ("kind", "members", "step"),
    [
        (EntryKind.ONBOARDING, {"passport_id": hex_text(bytes(32))}, "metadata"),
        (EntryKind.ONBOARDING, {"commission_bps": 1}, "registration_hash"),
        (EntryKind.ONBOARDING, {"metadata": None}, "metadata"),
        (EntryKind.STATION_REGISTERED, {"model": "Y"}, "metadata"),
        (EntryKind.STATION_REGISTERED, {"station_id": "CP-2"}, "metadata"),
        (EntryKind.PASSPORT_REGISTERED, {"registration_hash": "0x"}, "registration_hash"),
        (EntryKind.CUSTODY, {"number": 1}, "custody"),
        (EntryKind.CUSTODY, {"kind": "lost"}, "custody"),
        (EntryKind.CUSTODY, {"value": "0x"}, "custody"),
        (EntryKind.CUSTODY, {"passport_id": ""}, "custody"),
    ],
)
def test_file__operator_logged_something_else__named(
    kind: EntryKind, members: dict[str, Any], step: str
) -> None:
    assert verdict_on(Born(changed={kind: members}), step)[0] is StepStatus.FAILED


def test_file__entry_of_another_station__named() -> None:
    born = Born()
    envelope, record, salt = born.log.entries[born.indexes[3]]
    born.log.entries[born.indexes[3]] = (replace(envelope, station="CP-2"), record, salt)
    assert verdict_on(born, "metadata") == (StepStatus.FAILED, "an entry is of another station")


def test_file__another_chain_than_trusted__named() -> None:
    assert TRUST.chain is not None
    believed = replace(TRUST, chain=replace(TRUST.chain, chain_id=1))
    verdict = verify_passport_file(encoded(Born().file()), believed)
    assert verdict.failed_step == "registration_hash"


def test_file__anchor_of_another_head_or_topic__named() -> None:
    born = Born()
    status, _ = verdict_on(born, "anchor", anchor=anchor_of(b"another"))
    assert status is StepStatus.FAILED
    for topics in ((), (replace(TOPIC, payer="0.0.9"),)):
        verdict = verify_passport_file(encoded(born.file()), replace(TRUST, topics=topics))
        assert verdict.failed_step == "anchor"


def test_file__what_the_chain_says() -> None:
    born = Born()
    honest = born.chain()
    data = encoded(born.file())
    other_hash = replace(facts(), registration_hash=bytes(32))
    assert honest.facts is not None
    cases = [
        ({"fault": "silent"}, StepStatus.PENDING),
        ({"facts": None}, StepStatus.FAILED),
        ({"facts": other_hash}, StepStatus.FAILED),
        ({"facts": replace(honest.facts, rated_w=1)}, StepStatus.FAILED),
        ({"custody": honest.custody[:1]}, StepStatus.FAILED),
        ({"custody": honest.custody[::-1]}, StepStatus.FAILED),
        ({"custody": [*honest.custody, honest.custody[0]]}, StepStatus.PENDING),
    ]
    for changes, status in cases:
        verdict = verify_passport_file(data, TRUST, replace(honest, **changes))  # type: ignore[arg-type]  # members by name
        assert steps(verdict)["passport_on_chain"] is status, changes


@pytest.mark.untraced  # what it runs is run by others
def test_file__any_byte_changed__never_valid() -> None:
    data = encoded(Born().file())
    for position in range(0, len(data), 5):
        changed = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        verdict = verify_passport_file(changed, TRUST)
        assert verdict.failed_step is not None, data[position - 20 : position + 20]


FAULTS: dict[str, Callable[[Any], object]] = {
    "member more": lambda d: d.update(more=1),
    "format": lambda d: d.update(format="x"),
    "chain id": lambda d: d.update(chain_id=True),
    "sequence number": lambda d: d.update(sequence_number=0),
    "no entries": lambda d: d.update(entries=[]),
    "entries": lambda d: d.update(entries={}),
    "entry": lambda d: d["entries"].append(1),
    "entry of another kind": lambda d: d["entries"][0].update(kind="cdr"),
    "onboarding missing": lambda d: d["entries"].pop(1),
    "out of order": lambda d: d["entries"].reverse(),
    "passport": lambda d: d.update(passport_id="0x"),
    "contract": lambda d: d.update(contract="0x"),
    "consent": lambda d: d.update(consent="0x"),
    "custody missing": lambda d: d.update(custody=[]),
    "custody": lambda d: d.update(custody={}),
    "custody proof": lambda d: d["custody"][0].update(more=1),
    "signatures": lambda d: d["custody"][0].update(signatures={}),
    "signature": lambda d: d["custody"][0]["signatures"].append({}),
    "topic": lambda d: d.update(topic="1001"),
    "topic type": lambda d: d.update(topic=1001),
    "anchor": lambda d: d.update(anchor={}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_parse__not_of_the_form__exit_2(fault: str) -> None:
    document = json.loads(encoded(Born().file()))
    FAULTS[fault](document)
    data = canonical.encode(document)
    with pytest.raises(Unreadable):
        parse_passport_file(data)
    assert verify_passport_file(data, TRUST).exit_code == 2


def test_parse__too_long_too_deep_no_object__exit_2() -> None:
    for data in (b"[]", b" " * (4 * 2**20 + 1), b"[" * 100_000):
        assert verify_passport_file(data, TRUST).exit_code == 2
