"""Batch files: what is written is read again, and nothing else is."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.proofs import canonical
from chargera.proofs.batch_file import (
    AttesterSignature,
    BatchFile,
    decode_batch_file,
    encode_batch_file,
    parse_batch_file,
)
from chargera.proofs.chain_values import ZERO_ADDRESS, hex_text
from chargera.proofs.checkpoint import Checkpoint, sign_checkpoint
from chargera.proofs.settlement import Attestation
from chargera.proofs.tree import MemoryTree, inclusion_proof
from tests.unit.proofs.sample_batch import CHAIN_ID, HUB, address, batch, leaf, sign
from tests.unit.proofs.sample_receipt import LOG_KEY, ORIGIN, log_verifier


def batch_file(*, gateway: bool = True, signers: tuple[int, ...] = (1, 2)) -> BatchFile:
    """A batch whose two leaves stand in a log of ten entries; attester n has index n - 1."""
    tree = MemoryTree([bytes([n]) * 32 for n in range(10)])
    head = Checkpoint(ORIGIN, tree.size, tree.root())
    one = batch(
        tree_size=tree.size,
        checkpoint=tree.root(),
        leaves=tuple(
            leaf(evidence_digest=bytes([index]) * 32, log_index=index, cdr_no=index)
            for index in (4, 7)
        ),
    )
    if not gateway:
        one = replace(one, gateway=ZERO_ADDRESS, fiat_total=0)
    file = BatchFile(
        chain_id=CHAIN_ID,
        hub=HUB,
        batch=one,
        head=sign_checkpoint(head, log_verifier(), LOG_KEY.sign),
        paths=tuple(
            tuple(inclusion_proof(leaf.log_index, tree.size, tree.node)) for leaf in one.leaves
        ),
        signatures=(),
        gateway_signature=None,
    )
    digest = file.digest
    return replace(
        file,
        signatures=tuple(AttesterSignature(n - 1, address(n), sign(n, digest)) for n in signers),
        gateway_signature=sign(8, digest) if gateway else None,
    )


@pytest.mark.parametrize("gateway", [True, False])
def test_batch_file__written__read_again_and_its_check_passes(*, gateway: bool) -> None:
    file = batch_file(gateway=gateway)
    data = encode_batch_file(file)
    assert decode_batch_file(data) == file
    file.check()
    assert file.attestation == Attestation(0b11, tuple(s.signature for s in file.signatures))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda f: {"signatures": (replace(f.signatures[0], signer=address(3)),)}, "signature 0"),
        (lambda f: {"gateway_signature": sign(3, f.digest)}, "gateway"),
        (
            lambda f: {
                "head": sign_checkpoint(
                    Checkpoint(ORIGIN, 10, bytes(32)), log_verifier(), LOG_KEY.sign
                )
            },
            "not the head",
        ),
        (lambda f: {"paths": (f.paths[1], f.paths[0])}, "proof"),
    ],
)
def test_check__what_is_signed_or_proven_is_something_else__named(
    change: Callable[[BatchFile], dict[str, Any]], fault: str
) -> None:
    file = batch_file()
    with pytest.raises(InvalidInput, match=fault):
        replace(file, **change(file)).check()


def edited(change: Callable[[Any], object]) -> Any:
    document = json.loads(encode_batch_file(batch_file()))
    change(document)
    return document


FAULTS: dict[str, Callable[[Any], object]] = {
    "no object": lambda d: d.clear(),
    "unknown member": lambda d: d.update(more=1),
    "another format": lambda d: d.update(format="chargera.batch/2"),
    "head is no text": lambda d: d.update(head=1),
    "chain id is no number": lambda d: d.update(chain_id="1"),
    "chain id is negative": lambda d: d.update(chain_id=-1),
    "hub without checksum": lambda d: d["batch"].update(asset="0x" + "ab" * 20),
    "batch is no object": lambda d: d.update(batch=[]),
    "batch without a member": lambda d: d["batch"].pop("asset"),
    "leaves are no list": lambda d: d["batch"].update(leaves={}),
    "too many leaves": lambda d: d["batch"].update(leaves=d["batch"]["leaves"] * 25),
    "leaf with a member more": lambda d: d["batch"]["leaves"][0].update(more=1),
    "rail that is none": lambda d: d["batch"]["leaves"][0].update(rail="cash"),
    "amount is a number": lambda d: d["batch"]["leaves"][0].update(amount=3_000_000),
    "amount with a zero before": lambda d: d["batch"]["leaves"][0].update(amount="03"),
    "amount of 65 bits": lambda d: d["batch"]["leaves"][0].update(amount=str(2**64)),
    "rate of 129 bits": lambda d: d["batch"].update(c4e_rate=str(2**128)),
    "number is true": lambda d: d["batch"]["leaves"][0].update(evse=True),
    "topic is none": lambda d: d["batch"].update(topic="1001"),
    "topic is no text": lambda d: d["batch"].update(topic=1001),
    "operator is none": lambda d: d["batch"].update(operator_id="NLC4E"),
    "passport is short": lambda d: d["batch"].update(passports=["0x00"]),
    "health is none": lambda d: d["batch"].update(health=[{}]),
    "health out of range": lambda d: d["batch"]["health"][0].update(uptime_bps=2**16),
    "digest of something else": lambda d: d.update(digest="0x" + "00" * 32),
    "member changed under the digest": lambda d: d["batch"].update(valid_until=1),
    "path missing": lambda d: d["paths"].pop(),
    "path is no base64": lambda d: d["paths"][0].append("!"),
    "path is no text": lambda d: d["paths"][0].append(1),
    "signature short": lambda d: d["signatures"][0].update(signature="0x00"),
    "signature twice": lambda d: d["signatures"].append(d["signatures"][0]),
    "index too high": lambda d: d["signatures"][1].update(index=112),
    "signer without checksum": lambda d: d["signatures"][0].update(signer="0x" + "ab" * 20),
    "gateway without signature": lambda d: d.update(gateway_signature=None),
    "gateway signature short": lambda d: d.update(gateway_signature="0x"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_parse__not_of_the_form__unreadable(fault: str) -> None:
    with pytest.raises(Unreadable):
        parse_batch_file(edited(FAULTS[fault]))


def test_decode__too_long_or_not_canonical__unreadable() -> None:
    data = encode_batch_file(batch_file())
    with pytest.raises(Unreadable, match="at most"):
        decode_batch_file(b" " * 1_000_001)
    with pytest.raises(Unreadable, match="canonical"):
        decode_batch_file(data.replace(b'":', b'": ', 1))


def test_decode__any_byte_changed__refused_or_its_check_fails() -> None:
    data = encode_batch_file(batch_file())
    trusted = [address(1), address(2)]
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 1
        try:
            file = decode_batch_file(bytes(changed))
            file.check()
        except InvalidInput:
            continue
        # What may pass is another head's signature or signers' index: not what this file shows.
        same = file.signatures and [s.signer for s in file.signatures] == trusted
        assert not same or file.head != batch_file().head or hex_text(file.digest), place


def test_encode__is_canonical_and_holds_amounts_as_text() -> None:
    document = json.loads(encode_batch_file(batch_file()))
    assert canonical.encode(document) == encode_batch_file(batch_file())
    assert document["batch"]["leaves"][0]["amount"] == "3000000"
