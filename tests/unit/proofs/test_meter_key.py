"""Meter keys: every printed form of one key is the same key, and nothing else is a key."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from chargera.domain.errors import InvalidInput, Undetermined, Unreadable
from chargera.proofs.meter_key import CURVES, KEY_BYTES_MAX, load_meter_key, meter_key_hash

SECP192K1 = bytes.fromhex("3046301006072a8648ce3d020106052b8104001f033200") + b"\x04" + b"\x11" * 48


def key_of(curve: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(0xC4E, CURVES[curve])


def spki(public: ec.EllipticCurvePublicKey) -> bytes:
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("curve", CURVES)
def test_every_form_is_the_same_key(curve: str) -> None:
    public = key_of(curve).public_key()
    der = spki(public)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    spaced = " ".join(der.hex().upper()[i : i + 4] for i in range(0, 2 * len(der), 4))
    forms: list[str | bytes] = [
        pem,
        pem.decode(),
        b"\n  " + pem + b"\n",
        der,
        der.hex(),
        spaced,
        f"0x{der.hex()}\n",
        base64.b64encode(der),
        base64.encodebytes(der),
        point.hex(),
        point[1:].hex().upper(),
    ]
    keys = [load_meter_key(form) for form in forms]
    assert {key.curve for key in keys} == {curve}
    assert {key.canonical_der_hex for key in keys} == {der.hex()}
    assert len(set(keys)) == 1
    assert meter_key_hash(keys[0]) == hashlib.sha256(der).digest()


@pytest.mark.parametrize("curve", CURVES)
def test_signatures_are_der_or_two_numbers_side_by_side(curve: str) -> None:
    private = key_of(curve)
    key = load_meter_key(spki(private.public_key()))
    der = private.sign(b"payload", ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(der)
    size = (private.key_size + 7) // 8
    raw = r.to_bytes(size) + s.to_bytes(size)
    assert key.verify(b"payload", der)
    assert key.verify(b"payload", raw)
    assert not key.verify(b"Payload", der)
    assert not key.verify(b"Payload", raw)
    for bad in (b"", der[:-1], der + b"\0", raw[:-1], raw + b"\0", bytes(2 * size)):
        assert not key.verify(b"payload", bad)


def test_a_compressed_point_says_no_curve() -> None:
    public = key_of("secp256r1").public_key()
    point = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    with pytest.raises(Unreadable):
        load_meter_key(point.hex())


def test_a_compressed_point_in_der_is_written_out() -> None:
    public = key_of("secp256r1").public_key()
    point = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    der = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + point
    assert load_meter_key(der).der == spki(public)


@pytest.mark.parametrize("form", [SECP192K1, SECP192K1.hex(), base64.b64encode(SECP192K1)])
def test_a_curve_that_cannot_be_checked_is_undetermined(form: str | bytes) -> None:
    with pytest.raises(Undetermined, match="cannot be checked") as error:
        load_meter_key(form)
    assert "secp256r1" in error.value.remedy


def test_a_private_key_is_not_taken() -> None:
    pem = key_of("secp256r1").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InvalidInput, match="private key"):
        load_meter_key(pem)


def test_keys_of_another_kind_are_not_taken() -> None:
    others = [
        ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key(),
        rsa.generate_private_key(65537, 2048).public_key(),
    ]
    for key in others:
        with pytest.raises(InvalidInput, match="elliptic-curve"):
            load_meter_key(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        "04",
        "nothing of the kind",
        "not base64!",
        b"\xff\xfe",
        "11" * 64,
        "04" + "11" * 64,
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "00" * KEY_BYTES_MAX,
    ],
)
def test_what_is_no_key(text: str | bytes) -> None:
    with pytest.raises(Unreadable):
        load_meter_key(text)
