"""Which signatures satisfy which keys, and which keys an entity may have."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hiero_sdk_python.hapi.services.basic_types_pb2 import (
    Key,
    KeyList,
    SignatureMap,
    SignaturePair,
    ThresholdKey,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.doubles.hedera import keys

BODY = b"the body of a transaction"


class Signer:
    """A key of either kind."""

    def __init__(self, number: int, kind: str) -> None:
        self.kind = kind
        if kind == "ed25519":
            self._secret = Ed25519PrivateKey.from_private_bytes(number.to_bytes(32))
            self.public = self._secret.public_key().public_bytes_raw()
        else:
            self._ecdsa = ec.derive_private_key(number, ec.SECP256K1())
            self.public = keys.compressed(self._ecdsa.public_key())

    @property
    def key(self) -> Key:
        return Key(**{self.kind: self.public})

    def pair(self, body: bytes = BODY, prefix: int | None = None) -> SignaturePair:
        if self.kind == "ed25519":
            signature = self._secret.sign(body)
        else:
            der = self._ecdsa.sign(keys.keccak256(body), ec.ECDSA(Prehashed(SHA256())))
            r, s = decode_dss_signature(der)
            signature = r.to_bytes(32) + s.to_bytes(32)
        return SignaturePair(pubKeyPrefix=self.public[:prefix], **{self.kind: signature})


SIGNERS = [Signer(n, "ed25519" if n % 2 else "ECDSA_secp256k1") for n in range(1, 6)]


def signed(*pairs: SignaturePair) -> keys.Signatures:
    return keys.Signatures(BODY, SignatureMap(sigPair=pairs))


def threshold(number: int, *parts: Key) -> Key:
    return Key(thresholdKey=ThresholdKey(threshold=number, keys=KeyList(keys=parts)))


@pytest.mark.parametrize("signer", SIGNERS[:2], ids=lambda signer: signer.kind)
def test_a_key_is_satisfied_by_its_own_signature_of_this_body_alone(signer):
    assert signed(signer.pair()).satisfy(signer.key)
    assert signed(signer.pair(prefix=4)).satisfy(signer.key)
    assert not signed(signer.pair(b"another body")).satisfy(signer.key)
    assert not signed(SIGNERS[2].pair()).satisfy(signer.key)
    assert not signed().satisfy(signer.key)
    cut = signer.pair()
    setattr(cut, signer.kind, getattr(cut, signer.kind)[:-1])
    assert not signed(cut).satisfy(signer.key)


@given(signing=st.sets(st.integers(0, 4)), needed=st.integers(1, 5))
def test_a_threshold_counts_distinct_keys(signing, needed):
    key = threshold(needed, *(signer.key for signer in SIGNERS))
    pairs = [SIGNERS[number].pair() for number in signing]
    agreed = signed(*pairs, *pairs)  # twice is not two keys
    assert agreed.satisfy(key) == (len(signing) >= needed)
    collected = keys.Collected(agreed.signers())
    assert collected.satisfy(key) == (len(signing) >= needed)


def test_lists_nest():
    one, two, three, *_ = SIGNERS
    key = Key(keyList=KeyList(keys=[one.key, threshold(1, two.key, three.key)]))
    assert signed(one.pair(), three.pair()).satisfy(key)
    assert not signed(two.pair(), three.pair()).satisfy(key)
    assert keys.count(key) == 3


def test_nothing_satisfies_an_empty_list_or_no_key():
    assert not signed(SIGNERS[0].pair()).satisfy(Key(keyList=KeyList()))
    assert not signed(SIGNERS[0].pair()).satisfy(None)
    assert not signed(SIGNERS[0].pair()).satisfy(Key())


@pytest.mark.parametrize(
    "key",
    [
        Key(),
        Key(keyList=KeyList()),
        Key(ed25519=b"short"),
        Key(ECDSA_secp256k1=b"\x02" + b"\xff" * 32),
        Key(ECDSA_secp256k1=b"\x04" * 33),
        threshold(0, SIGNERS[0].key),
        threshold(2, SIGNERS[0].key),
        threshold(1, SIGNERS[0].key, Key()),
    ],
)
def test_what_is_no_key_is_told(key):
    assert not keys.is_valid(key)


def test_lists_nest_so_deep_and_no_deeper():
    key = SIGNERS[0].key
    for _ in range(keys.KEY_DEPTH_MAX - 1):
        key = Key(keyList=KeyList(keys=[key]))
    assert keys.is_valid(key)
    assert not keys.is_valid(Key(keyList=KeyList(keys=[key])))


def test_an_alias_is_completed_by_the_key_whose_address_it_is():
    owner = SIGNERS[1]
    alias = keys.address_of(owner.public)
    assert signed(owner.pair()).key_of_alias(alias) == owner.key
    assert signed(SIGNERS[3].pair()).key_of_alias(alias) is None
    assert signed(owner.pair(b"another body")).key_of_alias(alias) is None


def test_mirrors_show_single_keys_in_hex_and_others_as_protobuf():
    assert keys.document(None) is None
    assert keys.document(SIGNERS[0].key) == {"_type": "ED25519", "key": SIGNERS[0].public.hex()}
    assert keys.document(SIGNERS[1].key)["_type"] == "ECDSA_SECP256K1"
    both = threshold(1, SIGNERS[0].key, SIGNERS[1].key)
    shown = keys.document(both)
    assert shown["_type"] == "ProtobufEncoded"
    assert Key.FromString(bytes.fromhex(shown["key"])) == both
