"""Who signed a digest: recovery of an address from an ECDSA signature over secp256k1.

In plain integers, so that a verifier needs no native library. The rules are those of the
contracts: r and s in range, s in its lower half, v 27 or 28 (SEC 1, section 4.1.6; EIP-2).
Nothing here handles a secret, so its time may depend on its input.
"""

from typing import NamedTuple

from chargera.domain.errors import InvalidInput
from chargera.proofs.chain_values import ADDRESS_BYTES
from chargera.proofs.keccak import keccak256

SIGNATURE_BYTES = 65
PUBLIC_KEY_BYTES = 65
"""0x04, x and y: the uncompressed point (SEC 1, section 2.3.3)."""

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


class _Point(NamedTuple):
    """A point in Jacobian coordinates: x / z^2 and y / z^3; z = 0 is the point at infinity."""

    x: int
    y: int
    z: int


_G = _Point(
    0x79BE667E_F9DCBBAC_55A06295_CE870B07_029BFCDB_2DCE28D9_59F2815B_16F81798,
    0x483ADA77_26A3C465_5DA4FBFC_0E1108A8_FD17B448_A6855419_9C47D08F_FB10D4B8,
    1,
)
_INFINITY = _Point(1, 1, 0)


def recover(digest: bytes, signature: bytes) -> bytes:
    """Return the address whose key made the 65-byte `signature` (r, s, v) of a 32-byte `digest`.

    Raises InvalidInput for a signature that no contract would take or that no key has made.
    """
    return address_of(recover_public_key(digest, signature))


def recover_public_key(digest: bytes, signature: bytes) -> bytes:
    """Return the signer's public key, 65 bytes beginning with 0x04. Raises as `recover`."""
    if len(signature) != SIGNATURE_BYTES:
        raise _wrong(f"must have {SIGNATURE_BYTES} bytes")
    r, s, v = (
        int.from_bytes(part, "big") for part in (signature[:32], signature[32:64], signature[64:])
    )
    if v not in (27, 28):
        raise _wrong("its last byte must be 27 or 28")
    if not (0 < r < N and 0 < s <= N // 2):
        raise _wrong("r or s is out of range; s must be in its lower half")
    # r is the x of a point; that x itself was over N happens once in 2^128 and v cannot say it.
    y = _y_of(r, odd=v == 28)
    if y is None:
        raise _wrong("r is no point of the curve")
    r_inverse = pow(r, -1, N)
    z = int.from_bytes(digest, "big")
    key = _sum_of_multiples(-z * r_inverse % N, _G, s * r_inverse % N, _Point(r, y, 1))
    if key.z == 0:
        raise _wrong("no key has made it")
    return _encode(key)


def address_of(public_key: bytes) -> bytes:
    """Return the 20-byte address of an uncompressed public key.

    Raises InvalidInput if it is not 0x04 and a point of the curve.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or public_key[0] != 4:
        raise InvalidInput(
            f"a public key has {PUBLIC_KEY_BYTES} bytes and begins with 04", field="public_key"
        )
    x, y = int.from_bytes(public_key[1:33], "big"), int.from_bytes(public_key[33:], "big")
    if not (x < P and y < P and (y * y - x * x * x - 7) % P == 0):
        raise InvalidInput("the public key is no point of the curve", field="public_key")
    return keccak256(public_key[1:])[-ADDRESS_BYTES:]


def _wrong(fault: str) -> InvalidInput:
    return InvalidInput(f"signature: {fault}", field="signature")


def _y_of(x: int, *, odd: bool) -> int | None:
    square = (x * x * x + 7) % P
    y = pow(square, (P + 1) // 4, P)
    if y * y % P != square:
        return None
    return y if y % 2 == odd else P - y


def _encode(point: _Point) -> bytes:
    z_inverse = pow(point.z, -1, P)
    square = z_inverse * z_inverse % P
    x, y = point.x * square % P, point.y * square * z_inverse % P
    return b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")


def _sum_of_multiples(a: int, one: _Point, b: int, other: _Point) -> _Point:
    """Return a * one + b * other, both multiples in one pass (Strauss and Shamir)."""
    choices = (None, one, other, _add(one, other))
    total = _INFINITY
    for bit in range(max(a.bit_length(), b.bit_length()) - 1, -1, -1):
        total = _double(total)
        choice = choices[(a >> bit & 1) | (b >> bit & 1) << 1]
        if choice is not None:
            total = _add(total, choice)
    return total


def _double(point: _Point) -> _Point:
    """Double a point; the curve has a = 0 and no point of order two, so y is never 0."""
    x, y, z = point
    y_squared = y * y % P
    s = 4 * x * y_squared % P
    m = 3 * x * x % P
    x3 = (m * m - 2 * s) % P
    return _Point(x3, (m * (s - x3) - 8 * y_squared * y_squared) % P, 2 * y * z % P)


def _add(one: _Point, other: _Point) -> _Point:
    if one.z == 0:
        return other
    if other.z == 0:
        return one
    z1, z2 = one.z * one.z % P, other.z * other.z % P
    u1, u2 = one.x * z2 % P, other.x * z1 % P
    s1, s2 = one.y * z2 * other.z % P, other.y * z1 * one.z % P
    h, r = (u2 - u1) % P, (s2 - s1) % P
    if h == 0:
        return _double(one) if r == 0 else _INFINITY
    h2 = h * h % P
    h3, v = h * h2 % P, u1 * h2 % P
    x3 = (r * r - h3 - 2 * v) % P
    return _Point(x3, (r * (v - x3) - s1 * h3) % P, one.z * other.z * h % P)
