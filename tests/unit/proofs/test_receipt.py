"""Receipts: what verifies, and that nothing else does."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chargera.domain.messages import ReadingContext, TransactionEventKind
from chargera.domain.pricing import ChargingState
from chargera.domain.transaction import SessionEvent
from chargera.proofs import canonical
from chargera.proofs.anchor import AnchoredMessage, TopicMessage
from chargera.proofs.cdr import Correction
from chargera.proofs.entry import EntryKind
from chargera.proofs.mirrors import MirrorAnswer
from chargera.proofs.note import VerifierKey
from chargera.proofs.receipt import (
    ReceiptVerdict,
    parse_receipt,
    verify_receipt,
)
from chargera.proofs.steps import StepStatus
from chargera.proofs.trust import trust_of_key
from chargera.sim.meter import Identification, ReadingKind, SigningMeter
from tests.unit.proofs.sample_receipt import (
    METER_KEY,
    SESSION_ID,
    START,
    Sample,
    anchor_of,
    events,
    log_verifier,
    sample,
    trust,
)


def steps(verdict: ReceiptVerdict) -> dict[str, StepStatus]:
    return {step.step: step.status for step in verdict.steps}


def signed_pair(begin_wh: int = 1000, end_wh: int = 11_000) -> list[bytes]:
    meter = SigningMeter(METER_KEY, "SIM-1")
    return [
        meter.reading(register_wh, START + timedelta(hours=hour), kind, Identification()).encode()
        for register_wh, hour, kind in (
            (begin_wh, 0, ReadingKind.BEGIN),
            (end_wh, 1, ReadingKind.END),
        )
    ]


def late_event() -> SessionEvent:
    """The station paused after half an hour, and says so after its session was billed."""
    return SessionEvent(
        3,
        TransactionEventKind.UPDATED,
        True,
        START + timedelta(minutes=30),
        START + timedelta(hours=2),
        None,
        None,
        None,
        ReadingContext.OTHER,
        ChargingState.IDLE,
    )


def edited(data: bytes, change: Callable[[Any], None]) -> bytes:
    document = json.loads(data)
    change(document)
    return canonical.encode(document)


def entry_of(document: Any, kind: EntryKind, place: int = 0) -> Any:
    return [e for e in document["entries"] if e["kind"] == kind][place]


# What verifies ---------------------------------------------------------------------------------


def test_verify__anchored_and_trusted__every_asked_step_is_ok() -> None:
    verdict = verify_receipt(sample().document(), trust())
    assert verdict.valid, verdict
    assert (verdict.exit_code, verdict.failed_step) == (0, None)
    assert verdict.as_dict()["valid"] is True
    assert [s for s, status in steps(verdict).items() if status is StepStatus.NOT_ASKED] == [
        "signed_values",
        "credits",
        "anchor_on_topic",
        "old_checkpoint",
        "settlement",
        "settlement_on_chain",
    ]


def test_verify__trust_in_a_bare_log_key__topic_is_not_judged() -> None:
    assert verify_receipt(sample().document(), trust_of_key(str(log_verifier()))).exit_code == 0


def test_verify__no_trust__undetermined() -> None:
    verdict = verify_receipt(sample().document(), None)
    assert (verdict.exit_code, verdict.failed_step) == (3, None)
    assert steps(verdict)["signature"] is StepStatus.PENDING


def test_verify__not_anchored_yet__undetermined() -> None:
    verdict = verify_receipt(sample().document(anchored=False), trust())
    assert verdict.exit_code == 3
    assert steps(verdict)["anchor"] is StepStatus.PENDING


def test_verify__signed_meter__level_two() -> None:
    data = sample(signed=signed_pair()).document()
    assert steps(verify_receipt(data, trust()))["signed_values"] is StepStatus.OK
    assert parse_receipt(data).cdr.record["proof_level"] == "L2"


def test_verify__signed_values_of_a_station_without_key__not_judged() -> None:
    it = sample()
    record = {
        "context": "Transaction.Begin",
        "ocmf_base64": "",
        "received_at": "",
        "session_id": SESSION_ID,
    }
    it.indexes.append(it.log.append(EntryKind.SIGNED_VALUE, record))
    verdict = verify_receipt(it.document(), trust())
    assert verdict.exit_code == 0
    assert "1 enclosed" in {s.step: s.detail for s in verdict.steps}["signed_values"]


def test_verify__correction_by_a_person__bill_of_the_correction() -> None:
    correction = Correction(START, START + timedelta(hours=2), 1000, 2000)
    for signed in (None, signed_pair()):
        data = sample(correction=correction, signed=signed).document()
        verdict = verify_receipt(data, trust())
        assert verdict.exit_code == 0, verdict
        assert steps(verdict)["signed_values"] is StepStatus.NOT_ASKED
        assert parse_receipt(data).cdr.record["energy_wh"] == 1000


def test_verify__late_value__credit_takes_back_the_first_bill() -> None:
    data = sample(late=late_event()).document()
    verdict = verify_receipt(data, trust())
    assert verdict.exit_code == 0, verdict
    assert steps(verdict)["credits"] is StepStatus.OK


# What does not ---------------------------------------------------------------------------------


@pytest.mark.untraced  # what it runs is run by others; watched it takes three times as long
@pytest.mark.parametrize("signed", [False, True])
def test_verify__any_byte_changed__never_valid_and_a_step_is_named(signed: bool) -> None:
    data = sample(signed=signed_pair() if signed else None).document()
    believed = trust()
    stride = 1 if not signed else 7
    for position in range(0, len(data), stride):
        for flip in (0x01, 0x20):
            changed = data[:position] + bytes([data[position] ^ flip]) + data[position + 1 :]
            verdict = verify_receipt(changed, believed)
            assert verdict.failed_step is not None, (position, data[position - 20 : position + 20])
            assert verdict.exit_code in (1, 2)


def test_verify__any_byte_missing_or_added__refused() -> None:
    data = sample().document()
    for position in range(0, len(data), 97):
        assert verify_receipt(data[:position] + data[position + 1 :], trust()).exit_code in (1, 2)
        assert verify_receipt(data[:position] + b" " + data[position:], trust()).exit_code in (1, 2)


def test_verify__trust_of_another_network__invalid() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    other = trust_of_key(str(VerifierKey("log.other/c4e/1", raw)))
    verdict = verify_receipt(sample().document(), other)
    assert (verdict.exit_code, verdict.failed_step) == (1, "signature")


def test_verify__bill_of_another_operator__invalid() -> None:
    verdict = verify_receipt(sample().document(), trust(operator_id="DE*XYZ"))
    assert (verdict.exit_code, verdict.failed_step) == (1, "records")


FORM_FAULTS: dict[str, Callable[[Any], object]] = {
    "unknown member": lambda d: d.update(more=1),
    "missing member": lambda d: d.pop("anchor"),
    "format": lambda d: d.update(format="chargera.receipt/2"),
    "settlement": lambda d: d.update(settlement={}),
    "session id": lambda d: d.update(session_id=7),
    "events": lambda d: d.update(events={}),
    "entries": lambda d: d.update(entries=[]),
    "an event is no object": lambda d: d["events"].__setitem__(0, 1),
    "an event's number": lambda d: d["events"][0].update(n=1),
    "an entry is no object": lambda d: d["entries"].__setitem__(0, 1),
    "an entry's member": lambda d: d["entries"][0].update(more=1),
    "an entry's type": lambda d: d["entries"][0].update(seq=True),
    "an entry's kind": lambda d: d["entries"][0].update(kind="security_event"),
    "an entry's salt": lambda d: d["entries"][0].update(salt="00"),
    "an entry's seq": lambda d: d["entries"][0].update(seq=0),
    "an entry's time": lambda d: d["entries"][0].update(received_at="yesterday"),
    "order": lambda d: d["entries"].reverse(),
    "no bill": lambda d: d["entries"].remove(entry_of(d, EntryKind.CDR)),
    "no tariff": lambda d: d["entries"].remove(entry_of(d, EntryKind.TARIFF_PUBLISHED)),
    "anchor": lambda d: d.update(anchor={}),
}


@pytest.mark.parametrize("fault", FORM_FAULTS)
def test_verify__not_of_the_form__exit_2(fault: str) -> None:
    verdict = verify_receipt(edited(sample().document(), FORM_FAULTS[fault]), trust())
    assert (verdict.exit_code, verdict.failed_step) == (2, "form")


def test_verify__not_canonical_not_an_object_too_long_too_deep__exit_2() -> None:
    data = sample().document()
    for wrong in (b" " + data, b"[]", b"", b"x" * (16 * 2**20 + 1), b"[" * 100_000):
        verdict = verify_receipt(wrong, trust())
        assert (verdict.exit_code, verdict.failed_step) == (2, "form")


def test_verify__extra_data_in_a_proof__exit_2() -> None:
    def add(document: Any) -> None:
        proof = document["entries"][0]["proof"]
        document["entries"][0]["proof"] = proof.replace("\nindex", "\nextra eHg=\nindex", 1)

    assert verify_receipt(edited(sample().document(), add), trust()).failed_step == "form"


def test_verify__entries_under_different_heads__exit_2() -> None:
    it = sample()
    data = it.document()
    it.log.append(EntryKind.SECURITY_EVENT, {})
    other = it.log.receipt_entry(it.indexes[0]).to_json()
    change: Callable[[Any], object] = lambda d: d["entries"].__setitem__(0, other)  # noqa: E731 - named for mypy
    assert verify_receipt(edited(data, change), trust()).failed_step == "form"


def test_verify__second_signature_on_the_head__exit_2() -> None:
    def add(document: Any) -> None:
        for entry in document["entries"]:
            last = entry["proof"].rstrip("\n").rsplit("\n", 1)[1]
            entry["proof"] += last.replace("log.test", "log.more") + "\n"

    assert verify_receipt(edited(sample().document(), add), trust()).failed_step == "form"


def relogged(change: Callable[[Sample], None], **options: Any) -> ReceiptVerdict:
    """Log something else in the first place: what the operator, not a courier, could forge."""
    it = sample(**options)
    change(it)
    return verify_receipt(it.document(), trust())


def replace_record(kind: EntryKind, **members: Any) -> Callable[[Sample], None]:
    def change(it: Sample) -> None:
        for place, (envelope, record, salt) in enumerate(it.log.entries):
            if envelope.kind is kind:
                from chargera.proofs import records
                from chargera.proofs.entry import Envelope, commit

                new = {**record, **members}
                it.log.entries[place] = (
                    Envelope(
                        kind,
                        envelope.station,
                        envelope.seq,
                        envelope.received_at,
                        commit(salt, records.encode(new)),
                    ),
                    new,
                    salt,
                )

    return change


OPERATOR_FAULTS: list[tuple[EntryKind, dict[str, Any], str]] = [
    (EntryKind.SESSION_STARTED, {"session_id": "another"}, "records"),
    (EntryKind.STATION_REGISTERED, {"station_id": "CP-2"}, "records"),
    (EntryKind.STATION_REGISTERED, {"time_zone": "UTC"}, "records"),
    (EntryKind.STATION_REGISTERED, {"meter_key": "00"}, "bill"),
    (EntryKind.TARIFF_PUBLISHED, {"version": 2}, "records"),
    (EntryKind.SESSION_STARTED, {"tariff": None}, "records"),
    (EntryKind.SESSION_ENDED, {"events": {"count": 3, "digest": "0" * 64}}, "readings"),
    (EntryKind.CDR, {"events": {"count": 2, "digest": "0" * 64}}, "readings"),
    (EntryKind.CDR, {"energy_wh": 9}, "bill"),
    (EntryKind.CDR, {"proof_level": "L2"}, "bill"),
    (EntryKind.CDR, {"known_anomalies": ["no_id_token"]}, "bill"),
    (EntryKind.CDR, {"known_anomalies": ["unheard_of"]}, "bill"),
    (EntryKind.CDR, {"tariff": 7}, "records"),
]


@pytest.mark.parametrize(("kind", "members", "step"), OPERATOR_FAULTS)
def test_verify__operator_logged_something_else__named(
    kind: EntryKind, members: dict[str, Any], step: str
) -> None:
    verdict = relogged(replace_record(kind, **members))
    assert (verdict.exit_code, verdict.failed_step) == (1, step), verdict


def test_verify__entry_of_another_station__named() -> None:
    def change(it: Sample) -> None:
        from dataclasses import replace

        place = it.indexes[2]
        envelope, record, salt = it.log.entries[place]
        it.log.entries[place] = (replace(envelope, station="CP-2"), record, salt)

    assert relogged(change).failed_step == "records"


@pytest.mark.parametrize(
    ("members", "step"),
    [
        ({"gross_minor": 0}, "credits"),
        ({"credits": "cdr-9"}, "credits"),
        ({"credits_log_index": 0}, "credits"),
    ],
)
def test_verify__credit_is_not_whole__named(members: dict[str, Any], step: str) -> None:
    verdict = relogged(replace_record(EntryKind.CREDIT_CDR, **members), late=late_event())
    assert verdict.failed_step == step


def test_verify__second_bill_without_credit__named() -> None:
    it = sample(late=late_event())
    it.indexes = [i for i in it.indexes if it.log.entries[i][0].kind is not EntryKind.CREDIT_CDR]
    assert verify_receipt(it.document(), trust()).failed_step == "credits"


def test_verify__meter_signature_bad__a_forged_bill_is_named() -> None:
    good = signed_pair()
    forged = base64.b64encode(good[0].replace(b'"RV":1', b'"RV":0', 1)).decode()

    def change(it: Sample) -> None:
        replace_record(EntryKind.SIGNED_VALUE, ocmf_base64=forged)(it)

    verdict = relogged(change, signed=good)
    assert verdict.failed_step == "bill"
    assert steps(verdict)["signed_values"] is StepStatus.FAILED


def test_verify__signed_value_is_not_base64__named() -> None:
    change = replace_record(EntryKind.SIGNED_VALUE, ocmf_base64="*")
    assert relogged(change, signed=signed_pair()).failed_step == "bill"


# The anchor ------------------------------------------------------------------------------------


def with_anchor(anchor: AnchoredMessage) -> bytes:
    return edited(sample().document(), lambda d: d.update(anchor=anchor.to_json()))


def test_verify__anchor_is_of_another_head__named() -> None:
    other = sample(late=late_event()).log.note()
    assert verify_receipt(with_anchor(anchor_of(other)), trust()).failed_step == "anchor"


def test_verify__topic_is_not_trusted__named() -> None:
    anchor = anchor_of(sample().log.note())
    moved = AnchoredMessage(
        topic_id="0.0.9",
        payer_account_id=anchor.payer_account_id,
        sequence_number=1,
        consensus_timestamp=anchor.consensus_timestamp,
        message=anchor.message,
        running_hash=_hash_on(anchor, "0.0.9"),
        previous_running_hash=anchor.previous_running_hash,
    )
    verdict = verify_receipt(with_anchor(moved), trust())
    assert (verdict.exit_code, verdict.failed_step) == (1, "anchor")
    assert verify_receipt(with_anchor(moved), trust(topics=False)).exit_code == 0


def _hash_on(anchor: AnchoredMessage, topic_id: str) -> bytes:
    from chargera.proofs.running_hash import running_hash

    return running_hash(
        anchor.previous_running_hash,
        payer_account_id=anchor.payer_account_id,
        topic_id=topic_id,
        consensus_timestamp=anchor.consensus_timestamp,
        sequence_number=anchor.sequence_number,
        message=anchor.message,
    )


def mirror_row(anchor: AnchoredMessage, **changes: Any) -> TopicMessage:
    members = {
        "topic_id": anchor.topic_id,
        "payer_account_id": anchor.payer_account_id,
        "sequence_number": anchor.sequence_number,
        "consensus_timestamp": anchor.consensus_timestamp,
        "message": anchor.message,
        "running_hash": anchor.running_hash,
    }
    return TopicMessage(**{**members, **changes})


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([{}], StepStatus.OK),
        ([], StepStatus.PENDING),
        ([{"topic_id": "0.0.9"}], StepStatus.PENDING),
        ([{"message": b"x"}], StepStatus.PENDING),
        ([{"running_hash": bytes(48)}], StepStatus.PENDING),
    ],
)
def test_verify__mirror_answers__agrees_lags_or_lies(
    rows: list[dict[str, Any]], status: StepStatus
) -> None:
    it = sample()
    anchor = anchor_of(it.log.note())
    answer = MirrorAnswer("mirror", [mirror_row(anchor, **changes) for changes in rows])
    verdict = verify_receipt(it.document(), trust(), mirrors=[answer])
    assert steps(verdict)["anchor_on_topic"] is status
    assert verdict.exit_code == (0 if status is StepStatus.OK else 3)


def test_verify__mirror_not_reached_or_nothing_anchored__undetermined() -> None:
    answer = MirrorAnswer("mirror", None, "no answer")
    for anchored in (True, False):
        verdict = verify_receipt(sample().document(anchored=anchored), trust(), mirrors=[answer])
        assert verdict.exit_code == 3
        assert steps(verdict)["anchor_on_topic"] is StepStatus.PENDING


# An earlier head -------------------------------------------------------------------------------


def test_verify__same_old_head_ok__other_of_its_size_is_a_fork() -> None:
    it = sample()
    verdict = verify_receipt(it.document(), trust(), old_checkpoint=it.log.note())
    assert steps(verdict)["old_checkpoint"] is StepStatus.OK
    other = sample()
    replace_record(EntryKind.SECURITY_EVENT, note="another")(other)
    for believed in (trust(), None):
        verdict = verify_receipt(it.document(), believed, old_checkpoint=other.log.note())
        assert verdict.failed_step == "old_checkpoint"


def test_verify__older_or_foreign_head__undetermined_or_named() -> None:
    it = sample()
    older = it.log.note()
    it.log.append(EntryKind.SECURITY_EVENT, {})
    verdict = verify_receipt(it.document(), trust(), old_checkpoint=older)
    assert steps(verdict)["old_checkpoint"] is StepStatus.PENDING
    assert verdict.exit_code == 3
    foreign = older.replace(b"log.test", b"log.else")
    assert verify_receipt(it.document(), None, old_checkpoint=foreign).failed_step == (
        "old_checkpoint"
    )
    assert verify_receipt(it.document(), trust(), old_checkpoint=b"?").failed_step == (
        "old_checkpoint"
    )


def test_verify__readings_that_were_not_billed__named() -> None:
    it = sample()
    it.events = events()[:2]
    assert verify_receipt(it.document(), trust()).failed_step == "readings"


def test_verify__meter_key_on_a_curve_that_cannot_be_checked__undetermined() -> None:
    # SubjectPublicKeyInfo of a curve that no library here has (secp192k1).
    key = (
        "3046301006072a8648ce3d020106052b8104001f033200"
        "04db4ff10ec057e9ae26b07d0280b7f4341da5d1b1eae06c7d9b2f2f6d9c5628a7844163d015be86344082aa88d95e2f9d"
    )
    verdict = relogged(replace_record(EntryKind.STATION_REGISTERED, meter_key=key))
    assert steps(verdict)["bill"] is StepStatus.PENDING
    assert verdict.exit_code == 3
