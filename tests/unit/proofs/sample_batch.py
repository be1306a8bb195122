"""Attesters with test keys, and a batch with two leaves, as tests of the settlement use them."""

from dataclasses import replace

from coincurve import PrivateKey

from chargera.domain.settlement import Rail
from chargera.proofs.chain_values import ZERO_ADDRESS
from chargera.proofs.secp256k1 import address_of
from chargera.proofs.settlement import Batch, Health, Leaf

CHAIN_ID = 123_456_789_012
HUB = bytes.fromhex("11" * 20)
EURO = bytes.fromhex("22" * 20)
C4E = bytes.fromhex("33" * 20)
PASSPORT = bytes.fromhex("44" * 32)


def key(number: int) -> PrivateKey:
    """A test key, the same for the same number from 1 on."""
    return PrivateKey(number.to_bytes(32, "big"))


def public_key(number: int) -> bytes:
    return key(number).public_key.format(compressed=False)


def address(number: int) -> bytes:
    return address_of(public_key(number))


def sign(number: int, digest: bytes) -> bytes:
    """Sign as wallets do: 65 bytes with v 27 or 28."""
    signature = key(number).sign_recoverable(digest, hasher=None)
    return signature[:64] + bytes([27 + signature[64]])


def leaf(**changes: object) -> Leaf:
    one = Leaf(
        evidence_digest=bytes.fromhex("55" * 32),
        payer=ZERO_ADDRESS,
        cdr_no=0,
        log_index=7,
        amount=3_000_000,
        vat=630_000,
        session_key=bytes.fromhex("66" * 16),
        start=1_777_881_600,
        end=1_777_885_200,
        import_wh=10_000,
        export_wh=0,
        passport_index=0,
        evse=1,
        rail=Rail.FIAT,
        proof_level=0,
        policy_version=1,
    )
    return replace(one, **changes)  # type: ignore[arg-type]  # members by name, as in the class


def batch(**changes: object) -> Batch:
    one = Batch(
        operator_id="NL*C4E",
        asset=EURO,
        checkpoint=bytes.fromhex("77" * 32),
        tree_size=100,
        topic=bytes.fromhex("00" * 18 + "03e9"),
        sequence_number=4,
        valid_until=1_777_990_000,
        proposer=address(9),
        c4e_rate=20_000_000,
        gateway=address(8),
        fiat_total=3_000_000,
        passports=(PASSPORT,),
        leaves=(
            leaf(),
            leaf(cdr_no=1, log_index=9, rail=Rail.WALLET, payer=address(7), evse=2),
        ),
        health=(Health(0, 1_777_880_000, 9_990, 3),),
    )
    return replace(one, **changes)  # type: ignore[arg-type]  # as above
