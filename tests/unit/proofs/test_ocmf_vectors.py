"""Published OCMF strings of real meters: each judged right, no byte of them can change."""

import json
import time
from pathlib import Path

import pytest

from chargera.proofs.meter_checks import CHECKS, verify_meter, verify_meter_file
from chargera.proofs.meter_key import load_meter_key
from chargera.proofs.meter_verdict import MeterVerdict
from chargera.proofs.ocmf import TimeStatus
from chargera.proofs.steps import StepStatus

FILE = Path(__file__).parents[2] / "vectors" / "ocmf_signed.json"
VECTORS = json.loads(FILE.read_text())["vectors"]
KEBA = [vector for vector in VECTORS if vector["file"].endswith("keba_test.xml")]

SAMPLES = {
    name: next(v for v in VECTORS if v["file"].endswith(name) and v["valid"])
    for name in (
        "fromweb.xml",
        "test.xml",
        "OCMF_Test_Data_00.xml",
        "brainpoolP256r1.xml",
        "chargepoint_3.xml",
        "OCMF-receipt-with_publickey_and_data.xml",
        "test_ocmf_ebee_01.xml",
    )
}
"""Every curve, both encodings and forms of signature, every form of key and of value."""


def signature_of(document: dict[str, object]) -> str:
    steps = document["steps"]
    assert isinstance(steps, list)
    return next(step["status"] for step in steps if step["step"] == "signature")


def test_the_file_is_whole() -> None:
    assert len(VECTORS) == 94
    assert sum(vector["valid"] for vector in VECTORS) == 92
    assert len(KEBA) == 79


@pytest.mark.parametrize("index", range(94))
def test_every_string_is_judged_right_by_its_signature(index: int) -> None:
    vector = VECTORS[index]
    document, code = verify_meter_file(vector["ocmf"], vector["public_key"])
    assert signature_of(document) == ("ok" if vector["valid"] else "failed")
    assert code in (0, 1)
    assert vector["valid"] or code == 1


@pytest.mark.untraced  # what it runs is run by others
@pytest.mark.parametrize("name", SAMPLES)
def test_no_byte_can_change(name: str) -> None:
    vector = SAMPLES[name]
    key = load_meter_key(vector["public_key"])
    raw = vector["ocmf"].encode()
    judged = verify_meter([raw], key)
    assert judged.is_signed
    for position in range(len(raw)):
        for flip in (0x01, 0x20, 0x80, 0xFF):
            changed = bytearray(raw)
            changed[position] ^= flip
            verdict = verify_meter([bytes(changed)], key)
            assert not verdict.valid, (position, flip)
            assert verdict.exit_code in (1, 2, 3)


@pytest.mark.untraced  # what it runs is run by others
@pytest.mark.parametrize("name", ["chargepoint_3.xml", "test_ocmf_ebee_01.xml"])
def test_no_byte_of_the_signature_section_can_take_any_other_value(name: str) -> None:
    vector = SAMPLES[name]
    key = load_meter_key(vector["public_key"])
    raw = vector["ocmf"].encode()
    for position in range(raw.rindex(b"|"), len(raw)):
        for value in range(256):
            changed = raw[:position] + bytes([value]) + raw[position + 1 :]
            assert verify_meter([changed], key).valid == (changed == raw), (position, value)


def test_no_byte_can_be_left_out_or_doubled() -> None:
    vector = SAMPLES["fromweb.xml"]
    key = load_meter_key(vector["public_key"])
    raw = vector["ocmf"].encode()
    for position in range(len(raw)):
        assert not verify_meter([raw[:position] + raw[position + 1 :]], key).valid
        assert not verify_meter([raw[: position + 1] + raw[position:]], key).valid


def test_a_key_of_another_string_never_fits() -> None:
    keys = {load_meter_key(vector["public_key"]) for vector in VECTORS}
    for vector in SAMPLES.values():
        own = load_meter_key(vector["public_key"])
        for key in keys - {own}:
            assert not verify_meter([vector["ocmf"].encode()], key).valid


def test_gaps_of_the_keba_series_are_found() -> None:
    by_page = sorted(
        KEBA, key=lambda vector: int(json.loads(vector["ocmf"].split("|")[1])["PG"][1:])
    )
    key = load_meter_key(by_page[0]["public_key"])
    verdicts = [verify_meter([vector["ocmf"].encode()], key) for vector in by_page]
    pages = [verdict.last_pages["T"] for verdict in verdicts]
    assert (pages[0], pages[-1]) == (46669, 46765)
    found = missing = 0
    for before, page, vector in zip(pages, pages[1:], by_page[1:], strict=False):
        verdict = verify_meter([vector["ocmf"].encode()], key, previous_pages={"T": before})
        follows = page == before + 1
        assert (verdict.failed_step == "pagination") == (not follows)
        found += not follows
        missing += page - before - 1
    assert found > 0
    assert missing == 46765 - 46669 + 1 - len(KEBA)


def test_the_keba_series_has_no_transaction_across_two_strings() -> None:
    key = load_meter_key(KEBA[0]["public_key"])
    values = [vector["ocmf"].encode() for vector in KEBA[:12]]
    for first in values:
        for second in values:
            assert not verify_meter([first, second], key).valid


def test_what_real_meters_write() -> None:
    def verdict_of(name: str) -> MeterVerdict:
        return verify_meter(
            [SAMPLES[name]["ocmf"].encode()], load_meter_key(SAMPLES[name]["public_key"])
        )

    from_web = verdict_of("fromweb.xml")
    assert from_web.valid
    assert str(from_web.begin.register_wh_exact) == "259.6"
    assert (from_web.begin.register_wh, from_web.end.register_wh) == (259, 259)
    assert from_web.end.time_status is TimeStatus.RELATIVE
    assert verdict_of("test.xml").energy_wh == 2850951 - 2850685
    assert verdict_of("chargepoint_3.xml").energy_wh == 1304
    assert verdict_of("OCMF_Test_Data_00.xml").begin.register_wh == 9038
    assert verdict_of("OCMF-receipt-with_publickey_and_data.xml").failed_step == "meter_state"


# The command's files


def test_begin_and_end_on_two_lines() -> None:
    pair = [v for v in VECTORS if v["file"].endswith("brainpoolP256r1.xml")]
    key = pair[0]["public_key"]
    lines = "\n".join(vector["ocmf"] for vector in pair)
    single, code = verify_meter_file(lines, key)
    for text in (lines + "\n", lines.replace("\n", "\r\n"), "\ufeff" + lines, f"\n{lines}\n\n"):
        assert verify_meter_file(text, key) == (single, code)
        assert verify_meter_file(text.encode(), key.encode()) == (single, code)
    assert list(single) == ["valid", "steps", "failed_step"]
    assert [step["step"] for step in single["steps"]] == ["form", *CHECKS]


def test_a_string_may_have_lines_of_its_own() -> None:
    vector = SAMPLES["fromweb.xml"]
    section = vector["ocmf"].rindex("|") + 1
    text = vector["ocmf"][:section] + "\n" + vector["ocmf"][section:]
    assert verify_meter_file(text, vector["public_key"])[1] == 0


@pytest.mark.parametrize("text", ["", "no OCMF", "x\nOCMF|{}|{}", "\ud800", b"\xff\xfe"])
def test_a_file_that_is_unreadable(text: str | bytes) -> None:
    document, code = verify_meter_file(text, VECTORS[0]["public_key"])
    assert (code, document["failed_step"], document["valid"]) == (2, "form", False)
    assert signature_of(document) == "not_asked"


def test_a_key_file_that_is_unreadable() -> None:
    document, code = verify_meter_file(VECTORS[0]["ocmf"], "no key")
    assert (code, document["failed_step"]) == (2, "form")
    assert "key file" in document["steps"][0]["detail"]
    private = "-----BEGIN PRIVATE KEY-----\n"
    assert verify_meter_file(VECTORS[0]["ocmf"], private)[1] == 2


def test_a_key_on_a_curve_that_cannot_be_checked() -> None:
    key = "3046301006072a8648ce3d020106052b8104001f033200" + "04" + "11" * 48
    document, code = verify_meter_file(VECTORS[0]["ocmf"], key)
    assert (code, document["failed_step"], document["valid"]) == (3, None, False)
    assert signature_of(document) == StepStatus.PENDING
    assert "1.3.132.0.31" in document["steps"][1]["detail"]
    assert verify_meter_file("no OCMF", key)[1] == 2


def test_it_takes_a_few_milliseconds_at_most() -> None:
    started = time.process_time()
    for vector in VECTORS:
        verify_meter_file(vector["ocmf"], vector["public_key"])
    assert (time.process_time() - started) / len(VECTORS) < 0.02
