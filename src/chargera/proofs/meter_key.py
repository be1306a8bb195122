"""Public keys of signing meters: many printed forms, one canonical form inside."""

import base64
import binascii
import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from chargera.domain.errors import InvalidInput, Undetermined, Unreadable

KEY_BYTES_MAX = 8192
"""A key file longer than this is not read."""

CURVES = MappingProxyType(
    {
        curve.name: curve
        for curve in (
            ec.SECP256R1(),
            ec.SECP256K1(),
            ec.SECP384R1(),
            ec.SECP521R1(),
            ec.SECP192R1(),
            ec.SECP224R1(),
            ec.BrainpoolP256R1(),
            ec.BrainpoolP384R1(),
            ec.BrainpoolP512R1(),
        )
    }
)
"""Every curve that can be checked here, by the name that SEC 2 or RFC 5639 gives it."""

_FORMS = "PEM, DER as hex or base64, or the bare point as hex"


@dataclass(frozen=True, slots=True)
class MeterKey:
    """The public key of one meter, as its registration or its label states it."""

    curve: str
    """One of `CURVES`."""
    der: bytes
    """SubjectPublicKeyInfo with a named curve and an uncompressed point (RFC 5480)."""
    public_key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    @property
    def canonical_der_hex(self) -> str:
        """The one spelling under which a key is stored and compared: lower-case hex of `der`."""
        return self.der.hex()

    def verify(self, payload: bytes, signature: bytes) -> bool:
        """Say whether `signature` is this key's ECDSA signature over SHA-256 of `payload`.

        The signature is a DER SEQUENCE of r and s (OCMF's default) or r and s side by side, each
        as long as a coordinate, which some meters write.
        """
        for numbers in _signature_readings(signature, self.public_key.key_size):
            try:
                self.public_key.verify(numbers, payload, ec.ECDSA(hashes.SHA256()))
            except InvalidSignature:
                continue
            return True
        return False


def meter_key_hash(key: MeterKey) -> bytes:
    """Return the 32 bytes that stand for the key on chain: SHA-256 of its SubjectPublicKeyInfo."""
    return hashlib.sha256(key.der).digest()


def load_meter_key(text: str | bytes) -> MeterKey:
    """Return the public key that `text` states.

    `text` is PEM, or DER as hex or base64 (white space is ignored in both), or the bare
    uncompressed point as hex with or without its leading 04: which curve the point lies on says
    which curve is meant. Bytes that are not text are taken as DER.

    Raises Unreadable for what is no public key, InvalidInput for a private key or one that is not
    of an elliptic curve, and Undetermined for a curve that cannot be checked here.
    """
    raw = text.encode() if isinstance(text, str) else bytes(text)
    if len(raw) > KEY_BYTES_MAX:
        raise Unreadable(f"a meter key has at most {KEY_BYTES_MAX} bytes", remedy=_remedy())
    if b"PRIVATE KEY" in raw:
        raise InvalidInput(
            "this is a private key; a meter's signatures are checked with its public key",
            field="meter_key",
            remedy="openssl pkey -in KEY.pem -pubout writes the public one",
        )
    if b"-----BEGIN" in raw:
        return _from_encoding(raw.strip(), pem=True)
    return _from_binary(_undress(raw))


def _remedy() -> str:
    return f"give the public key of the meter as {_FORMS}"


def _undress(raw: bytes) -> bytes:
    """Return the bytes that `raw` writes as hex or base64; `raw` itself if it is neither."""
    packed = b"".join(raw.split())
    if re.fullmatch(rb"(0[xX])?([0-9A-Fa-f]{2})+", packed):
        return bytes.fromhex(packed.removeprefix(b"0x").removeprefix(b"0X").decode())
    try:
        return base64.b64decode(packed, validate=True)
    except binascii.Error:
        return raw


def _from_binary(data: bytes) -> MeterKey:
    # A compressed point would fit several curves; one with both coordinates lies on one only.
    point = b"\x04" + data if len(data) % 2 == 0 else data
    for curve in CURVES.values() if point.startswith(b"\x04") else ():
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
        except ValueError:
            continue
        return _meter_key(key)
    return _from_encoding(data, pem=False)


def _from_encoding(data: bytes, *, pem: bool) -> MeterKey:
    try:
        key = load_pem_public_key(data) if pem else load_der_public_key(data)
    except UnsupportedAlgorithm as error:
        raise Undetermined(
            f"signatures of this key cannot be checked here: {error.args[0]}",
            field="meter_key",
            remedy=f"curves that can: {', '.join(CURVES)}",
        ) from None
    except ValueError:
        raise Unreadable("this is no public key", field="meter_key", remedy=_remedy()) from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise InvalidInput(
            "OCMF knows elliptic-curve keys (ECDSA) alone, this key is of another kind",
            field="meter_key",
            remedy=_remedy(),
        )
    return _meter_key(key)


def _meter_key(key: ec.EllipticCurvePublicKey) -> MeterKey:
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return MeterKey(curve=key.curve.name, der=der, public_key=key)


def _signature_readings(signature: bytes, key_size: int) -> list[bytes]:
    """Return the DER signatures that `signature` can mean: itself, or the one of its halves."""
    readings: list[bytes] = []
    with suppress(ValueError):
        readings.append(encode_dss_signature(*decode_dss_signature(signature)))
    size = (key_size + 7) // 8
    if len(signature) == 2 * size:
        halves = (int.from_bytes(signature[:size]), int.from_bytes(signature[size:]))
        readings.append(encode_dss_signature(*halves))
    return readings
