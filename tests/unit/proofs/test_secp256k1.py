"""Recovery in plain integers, with libsecp256k1 and eth-keys as judges."""

import pytest
from coincurve import PrivateKey
from eth_keys import keys
from hypothesis import given, settings
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput
from chargera.proofs import secp256k1
from chargera.proofs.secp256k1 import N, P, address_of, recover, recover_public_key
from tests.unit.proofs.sample_batch import address, public_key, sign

DIGESTS = st.binary(min_size=32, max_size=32)
DIGEST = bytes(range(32))


@given(st.integers(1, N - 1), DIGESTS)
@settings(max_examples=60)
def test_recover__signature_of_another_library__its_address(secret: int, digest: bytes) -> None:
    private = PrivateKey(secret.to_bytes(32, "big"))
    raw = private.sign_recoverable(digest, hasher=None)
    signature = raw[:64] + bytes([27 + raw[64]])
    assert recover_public_key(digest, signature) == private.public_key.format(compressed=False)
    judge = keys.PrivateKey(private.secret).public_key.to_canonical_address()
    assert recover(digest, signature) == judge


@given(st.binary(min_size=64, max_size=64), st.sampled_from([27, 28]), DIGESTS)
@settings(max_examples=60)
def test_recover__random_bytes__as_another_library(rs: bytes, v: int, digest: bytes) -> None:
    s = int.from_bytes(rs[32:], "big") % (N // 2) or 1
    r = int.from_bytes(rs[:32], "big") % N or 1
    rs = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    try:
        judged = keys.Signature(rs + bytes([v - 27])).recover_public_key_from_msg_hash(digest)
    except Exception:  # whatever the judge raises, it is no signature
        with pytest.raises(InvalidInput):
            recover(digest, rs + bytes([v]))
    else:
        assert recover(digest, rs + bytes([v])) == judged.to_canonical_address()


def test_recover__one_bit_of_the_digest_changed__another_address() -> None:
    signature = sign(1, DIGEST)
    assert recover(DIGEST, signature) == address(1)
    assert recover(DIGEST[:-1] + b"\0", signature) != address(1)


def altered(*, r: int | None = None, s: int | None = None, v: int | None = None) -> bytes:
    signature = sign(1, DIGEST)
    parts = (signature[:32], signature[32:64], signature[64:])
    new = [
        old if value is None else value.to_bytes(len(old), "big")
        for old, value in zip(parts, (r, s, v), strict=True)
    ]
    return b"".join(new)


def upper_s() -> bytes:
    signature = sign(1, DIGEST)
    s = N - int.from_bytes(signature[32:64], "big")
    return altered(s=s, v=55 - signature[64])


@pytest.mark.parametrize(
    ("signature", "fault"),
    [
        (b"", "65 bytes"),
        (sign(1, DIGEST)[:64], "65 bytes"),
        (altered(v=0), "27 or 28"),
        (altered(v=29), "27 or 28"),
        (altered(r=0), "out of range"),
        (altered(r=N), "out of range"),
        (altered(s=0), "out of range"),
        (altered(s=N), "out of range"),
        (upper_s(), "lower half"),
        (altered(r=5), "no point"),  # 5^3 + 7 is no square
    ],
)
def test_recover__what_no_contract_takes__refused(signature: bytes, fault: str) -> None:
    with pytest.raises(InvalidInput, match=fault):
        recover(DIGEST, signature)


def test_recover__the_sum_is_no_point__refused() -> None:
    """s R = z G: the key would be the point at infinity."""
    k, s = 12_345, 678
    point = PrivateKey(k.to_bytes(32, "big")).public_key.format(compressed=False)
    digest = (s * k % N).to_bytes(32, "big")
    signature = point[1:33] + s.to_bytes(32, "big") + bytes([27 + point[-1] % 2])
    with pytest.raises(InvalidInput, match="no key"):
        recover(digest, signature)


def test_recover__r_is_the_generator__its_sum_and_its_double_are_right() -> None:
    """With R = G the table of the two-fold multiplication adds a point to itself."""
    generator = public_key(1)
    assert generator[-1] % 2 == 0
    signature = generator[1:33] + (77).to_bytes(32, "big") + bytes([27])
    judge = keys.Signature(signature[:64] + b"\0").recover_public_key_from_msg_hash(DIGEST)
    assert recover(DIGEST, signature) == judge.to_canonical_address()


def test_add__point_and_its_negative__infinity_and_infinity_changes_nothing() -> None:
    one = secp256k1._G
    negative = one._replace(y=P - one.y)
    assert secp256k1._add(one, negative) == secp256k1._INFINITY
    assert secp256k1._add(one, secp256k1._INFINITY) == one
    assert secp256k1._add(secp256k1._INFINITY, one) == one


@pytest.mark.parametrize(
    "key", [b"", public_key(1)[1:], b"\x06" + public_key(1)[1:], public_key(1)[:-1] + b"\0"]
)
def test_address_of__no_public_key__refused(key: bytes) -> None:
    with pytest.raises(InvalidInput, match="public key"):
        address_of(key)
