"""The settlement in a receipt: its bill's leaf, who attested it, what became of it on chain."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chargera.domain.errors import Unreadable
from chargera.domain.settlement import BatchState, Rail
from chargera.proofs import canonical
from chargera.proofs.batch_file import AttesterSignature, BatchFile
from chargera.proofs.chain_values import address_text, hex_text
from chargera.proofs.receipt import ReceiptVerdict, parse_receipt, verify_receipt
from chargera.proofs.receipt_settlement import (
    ChainAnswer,
    Settlement,
    parse_settlement,
    settlement_document,
    settlement_of,
)
from chargera.proofs.settlement import batch_digest
from chargera.proofs.steps import StepStatus
from chargera.proofs.trust import trust_of_key
from tests.unit.proofs.sample_batch import CHAIN_ID, EURO, HUB, address, sign
from tests.unit.proofs.sample_receipt import log_verifier, trust
from tests.unit.proofs.sample_settlement import Network, settlement_trust

TRUST = settlement_trust()


def outcome(verdict: ReceiptVerdict, step: str = "settlement") -> tuple[StepStatus, str]:
    [found] = [each for each in verdict.steps if each.step == step]
    return found.status, found.detail


def settled() -> tuple[Network, int, Settlement]:
    network = Network()
    fiat = network.add_session(0)
    network.add_session(1, rail=Rail.WALLET)
    return network, fiat, network.settlement(*network.lanes[EURO])


def resigned(settlement: Settlement, **changes: Any) -> Settlement:
    """Another batch, signed again by those who sign everything."""
    batch = replace(settlement.batch, **changes)
    digest = batch_digest(batch, CHAIN_ID, HUB)
    pairs = tuple((address(n), sign(n, digest)) for n in (1, 2))
    return replace(settlement, batch=batch, signatures=pairs)


def test_verify__settled_and_trusted__ok_and_nothing_else_changes() -> None:
    network, fiat, settlement = settled()
    verdict = verify_receipt(network.receipt(fiat, settlement), TRUST)
    assert verdict.valid
    assert verdict.exit_code == 0
    status, detail = outcome(verdict)
    assert status is StepStatus.OK
    assert "number 0" in detail
    assert "2 trusted attesters" in detail


def test_verify__wallet_session_second_in_its_batch__ok() -> None:
    network, _, settlement = settled()
    wallet = network.lanes[EURO][1]
    verdict = verify_receipt(network.receipt(wallet, settlement), TRUST)
    assert outcome(verdict)[0] is StepStatus.OK


def test_parse__what_was_written__is_read_again() -> None:
    network, fiat, settlement = settled()
    data = network.receipt(fiat, settlement)
    assert parse_receipt(data).settlement == settlement
    assert parse_receipt(data).settled_leaf == settlement.batch.leaves[0]
    without = parse_receipt(network.receipt(fiat, None))
    assert (without.settlement, without.settled_leaf) == (None, None)
    assert parse_settlement(settlement_document(settlement)) == settlement


def test_settlement_of__a_batch_file__its_batch_and_signatures() -> None:
    _, _, settlement = settled()
    signatures = tuple(
        AttesterSignature(place, signer, signature)
        for place, (signer, signature) in enumerate(settlement.signatures)
    )
    file = BatchFile(CHAIN_ID, HUB, settlement.batch, b"", (), signatures, None)
    assert settlement_of(file) == settlement


@pytest.mark.parametrize("believed", [None, trust(), trust_of_key(str(log_verifier()))])
def test_verify__no_trust_in_attesters__not_asked(believed: Any) -> None:
    network, fiat, settlement = settled()
    verdict = verify_receipt(network.receipt(fiat, settlement), believed)
    assert outcome(verdict)[0] is StepStatus.NOT_ASKED
    forged = replace(settlement, signatures=((address(1), sign(2, settlement.digest)),))
    verdict = verify_receipt(network.receipt(fiat, forged), believed)
    assert outcome(verdict)[0] is StepStatus.FAILED


def test_verify__no_settlement__not_asked_and_valid() -> None:
    network, fiat, _ = settled()
    verdict = verify_receipt(network.receipt(fiat, None), TRUST)
    assert outcome(verdict)[0] is StepStatus.NOT_ASKED
    assert verdict.valid


def test_verify__too_few_trusted_attesters__failed() -> None:
    network, fiat, _ = settled()
    for signers in ((), (1,), (1, 4), (4, 5, 6)):
        settlement = network.settlement(fiat, signers=signers)
        verdict = verify_receipt(network.receipt(fiat, settlement), TRUST)
        status, detail = outcome(verdict)
        assert status is StepStatus.FAILED
        assert "2 are needed" in detail
    settlement = network.settlement(fiat, signers=(1, 4, 3))
    assert verify_receipt(network.receipt(fiat, settlement), TRUST).valid


def test_verify__another_chain_or_hub_than_trusted__failed() -> None:
    network, fiat, settlement = settled()
    assert TRUST.chain is not None
    for chain in (replace(TRUST.chain, chain_id=1), replace(TRUST.chain, contracts={})):
        believed = replace(TRUST, chain=chain)
        verdict = verify_receipt(network.receipt(fiat, settlement), believed)
        assert outcome(verdict) == (StepStatus.FAILED, "the batch is of another chain or hub")


def test_verify__leaf_says_something_else_than_the_bill__failed() -> None:
    network, fiat, settlement = settled()
    leaves = settlement.batch.leaves
    for changes in (
        {"leaves": (replace(leaves[0], amount=1), leaves[1])},
        {"asset": address(1)},
        {"operator_id": "DE*ABC"},
        {"passports": (bytes(32),)},
    ):
        forged = resigned(settlement, **changes)
        verdict = verify_receipt(network.receipt(fiat, forged), TRUST)
        assert outcome(verdict)[0] is StepStatus.FAILED, changes
    other_chain = replace(settlement, chain_id=CHAIN_ID + 1)
    pairs = tuple((address(n), sign(n, other_chain.digest)) for n in (1, 2))
    verdict = verify_receipt(network.receipt(fiat, replace(other_chain, signatures=pairs)), TRUST)
    assert outcome(verdict)[0] is StepStatus.FAILED


def test_verify__batch_without_this_session_or_with_it_twice__failed() -> None:
    network, fiat, settlement = settled()
    leaves = settlement.batch.leaves
    for some in ((leaves[1],), (leaves[0], leaves[0])):
        forged = resigned(settlement, leaves=some)
        verdict = verify_receipt(network.receipt(fiat, forged), TRUST)
        assert outcome(verdict) == (
            StepStatus.FAILED,
            "the batch does not have one leaf of this session",
        )


def test_verify__bill_that_is_not_settled_on_chain__failed() -> None:
    network = Network()
    network.add_session(0)
    settlement = network.settlement(*network.lanes[EURO])
    off_chain = network.add_session(1, cdr={"settlement": None})
    leaf = replace(settlement.batch.leaves[0], log_index=off_chain)
    verdict = verify_receipt(
        network.receipt(off_chain, resigned(settlement, leaves=(leaf,))), TRUST
    )
    assert outcome(verdict)[0] is StepStatus.FAILED


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        (None, StepStatus.NOT_ASKED, "--rpc"),
        (ChainAnswer("U", BatchState.SETTLED, True), StepStatus.OK, "according to U"),
        (ChainAnswer("U", BatchState.SETTLED, False), StepStatus.FAILED, "not paid"),
        (ChainAnswer("U", BatchState.KILLED, False), StepStatus.FAILED, "killed"),
        (ChainAnswer("U", BatchState.PROPOSED, False), StepStatus.PENDING, "proposed"),
        (ChainAnswer("U", None, False), StepStatus.PENDING, "does not know"),
        (ChainAnswer("U", None, False, "silent"), StepStatus.PENDING, "U: silent"),
    ],
)
def test_verify__what_the_chain_says(
    answer: ChainAnswer | None, status: StepStatus, detail: str
) -> None:
    network, fiat, settlement = settled()
    verdict = verify_receipt(network.receipt(fiat, settlement), TRUST, chain=answer)
    found, said = outcome(verdict, "settlement_on_chain")
    assert found is status
    assert detail in said


def test_verify__chain_asked_about_nothing__not_asked() -> None:
    network, fiat, _ = settled()
    answer = ChainAnswer("U", BatchState.SETTLED, True)
    verdict = verify_receipt(network.receipt(fiat, None), TRUST, chain=answer)
    assert outcome(verdict, "settlement_on_chain")[0] is StepStatus.NOT_ASKED


@pytest.mark.untraced  # what it runs is run by others
@pytest.mark.parametrize("trusted", [True, False])
def test_verify__any_byte_of_it_changed__never_valid(*, trusted: bool) -> None:
    network = Network()
    fiat = network.add_session(0)
    data = network.receipt(fiat, network.settlement(fiat))
    begin = data.index(b'"settlement":{"batch"')
    believed = TRUST if trusted else trust()
    for position in range(begin, len(data), 1 if trusted else 7):
        for flip in (0x01, 0x20) if trusted else (0x01,):
            changed = data[:position] + bytes([data[position] ^ flip]) + data[position + 1 :]
            verdict = verify_receipt(changed, believed)
            assert verdict.failed_step in ("form", "settlement"), position


FAULTS: dict[str, Callable[[Any], object]] = {
    "member more": lambda d: d.update(more=1),
    "chain id": lambda d: d.update(chain_id=0),
    "chain id type": lambda d: d.update(chain_id=True),
    "hub": lambda d: d.update(hub="0x"),
    "batch": lambda d: d.update(batch=None),
    "digest": lambda d: d.update(digest=hex_text(bytes(32))),
    "signatures": lambda d: d.update(signatures=None),
    "too many signatures": lambda d: d.update(signatures=[1] * 113),
    "signature": lambda d: d["signatures"].append(1),
    "signature members": lambda d: d["signatures"][0].update(index=0),
    "signature short": lambda d: d["signatures"][0].update(signature="0x00"),
    "signer": lambda d: d["signatures"][0].update(signer=address_text(address(1)).lower()),
    "signer twice": lambda d: d["signatures"].append(d["signatures"][0]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_parse__not_of_the_form__unreadable(fault: str) -> None:
    _, _, settlement = settled()
    document = json.loads(canonical.encode(settlement_document(settlement)))
    FAULTS[fault](document)
    with pytest.raises(Unreadable):
        parse_settlement(document)


def test_parse__no_object__unreadable() -> None:
    with pytest.raises(Unreadable):
        parse_settlement([])
