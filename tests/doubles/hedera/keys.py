"""Keys as Hedera has them, and whether the signatures of a transaction satisfy one."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias

from Crypto.Hash import keccak
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hiero_sdk_python.hapi.services.basic_types_pb2 import Key

JsonObject: TypeAlias = dict[str, Any]

KEY_DEPTH_MAX = 15
"""How deep key lists may nest."""
ADDRESS_BYTES = 20
_CURVE = ec.SECP256K1()
_ED25519, _ECDSA, _LIST, _THRESHOLD = "ed25519", "ECDSA_secp256k1", "keyList", "thresholdKey"


def keccak256(data: bytes) -> bytes:
    """Return the 32-byte Keccak-256 digest."""
    return keccak.new(digest_bits=256, data=data).digest()


def ecdsa_key(public_key: bytes) -> Key:
    """Return a key of a compressed point on secp256k1."""
    return Key(ECDSA_secp256k1=public_key)


def compressed(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the 33 bytes of a point."""
    numbers = public_key.public_numbers()
    return bytes([2 + numbers.y % 2]) + numbers.x.to_bytes(32)


def address_of(public_key: bytes) -> bytes:
    """Return the EVM address of a compressed point."""
    numbers = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, public_key).public_numbers()
    return keccak256(numbers.x.to_bytes(32) + numbers.y.to_bytes(32))[-ADDRESS_BYTES:]


def ecdsa_address(key: Key | None) -> bytes | None:
    """Return the address that belongs to a key, None for all but single ECDSA keys."""
    if key is None or key.WhichOneof("key") != _ECDSA:
        return None
    return address_of(key.ECDSA_secp256k1)


def is_valid(key: Key, depth: int = 1) -> bool:
    """Whether an entity may have this key: no empty lists, thresholds in range, real points."""
    if depth > KEY_DEPTH_MAX:
        return False
    match key.WhichOneof("key"):
        case "ed25519":
            return len(key.ed25519) == 32
        case "ECDSA_secp256k1":
            return _is_point(key.ECDSA_secp256k1)
        case "keyList":
            parts = key.keyList.keys
            return bool(parts) and all(is_valid(part, depth + 1) for part in parts)
        case "thresholdKey":
            parts = key.thresholdKey.keys.keys
            return 0 < key.thresholdKey.threshold <= len(parts) and all(
                is_valid(part, depth + 1) for part in parts
            )
        case "contractID" | "delegatable_contract_id":
            return True
        case _:
            return False


def is_empty_list(key: Key) -> bool:
    """Whether this is the empty key list, which in an update takes a key away."""
    return key.WhichOneof("key") == _LIST and not key.keyList.keys


def count(key: Key | None) -> int:
    """Return how many single keys are in a key: fees go by it."""
    if key is None:
        return 0
    match key.WhichOneof("key"):
        case "keyList":
            return sum(count(part) for part in key.keyList.keys)
        case "thresholdKey":
            return sum(count(part) for part in key.thresholdKey.keys.keys)
        case None:
            return 0
        case _:
            return 1


def document(key: Key | None) -> JsonObject | None:
    """Return a key as a mirror shows it."""
    if key is None:
        return None
    match key.WhichOneof("key"):
        case None:
            return None
        case "ed25519":
            return {"_type": "ED25519", "key": key.ed25519.hex()}
        case "ECDSA_secp256k1":
            return {"_type": "ECDSA_SECP256K1", "key": key.ECDSA_secp256k1.hex()}
        case _:
            return {"_type": "ProtobufEncoded", "key": key.SerializeToString().hex()}


def satisfied(key: Key | None, has: Callable[[str, bytes], bool]) -> bool:
    """Whether `has` holds of enough single keys (kind and bytes) in `key`."""
    if key is None:
        return False
    match key.WhichOneof("key"):
        case "ed25519" | "ECDSA_secp256k1" as kind:
            return has(kind, getattr(key, kind))
        case "keyList":
            parts = key.keyList.keys
            return bool(parts) and all(satisfied(part, has) for part in parts)
        case "thresholdKey":
            signed = sum(satisfied(part, has) for part in key.thresholdKey.keys.keys)
            threshold: int = key.thresholdKey.threshold
            return signed >= threshold > 0
        case _:
            return False


class Agreement(Protocol):
    """Who agrees to a transaction."""

    pairs: Any
    """The signatures that it comes with."""

    def signers(self) -> set[bytes]:
        """Return the single keys that have signed."""

    def satisfy(self, key: Key | None) -> bool:
        """Whether enough of the keys in `key` have signed."""

    def key_of_alias(self, alias: bytes) -> Key | None:
        """Return the ECDSA key that has signed and whose address is `alias` (HIP-583)."""


class Collected:
    """Keys that have signed at one time or another: those of a scheduled transaction."""

    pairs = ()

    def __init__(self, public_keys: Iterable[bytes]) -> None:
        """Hold the single keys that have signed."""
        self.public_keys = frozenset(public_keys)

    def signers(self) -> set[bytes]:
        """Return the single keys that have signed."""
        return set(self.public_keys)

    def satisfy(self, key: Key | None) -> bool:
        """Whether enough of the keys in `key` have signed."""
        return satisfied(key, lambda _, public_key: public_key in self.public_keys)

    def key_of_alias(self, alias: bytes) -> Key | None:
        """Return the ECDSA key that has signed and whose address is `alias`."""
        for public_key in self.public_keys:
            if _is_point(public_key) and address_of(public_key) == alias:
                return ecdsa_key(public_key)
        return None


class Signatures:
    """The signature map of a transaction: which keys have signed its body."""

    def __init__(self, body: bytes, signature_map: Any) -> None:
        """Hold the pairs for `body`; nothing is verified yet."""
        self._body = body
        self.pairs = list(signature_map.sigPair)
        self._digest = keccak256(body)
        self._known: dict[bytes, bool] = {}

    def satisfy(self, key: Key | None) -> bool:
        """Whether enough of the keys in `key` have signed."""
        return satisfied(key, self._has)

    def signers(self) -> set[bytes]:
        """Return the keys that are given whole and have signed."""
        whole = {pair.pubKeyPrefix: pair.WhichOneof("signature") for pair in self.pairs}
        return {key for key, kind in whole.items() if len(key) > 31 and self._has(kind, key)}

    def key_of_alias(self, alias: bytes) -> Key | None:
        """Return the ECDSA key that has signed and whose address is `alias` (HIP-583)."""
        for pair in self.pairs:
            point = pair.pubKeyPrefix
            if _is_point(point) and address_of(point) == alias and self._has(_ECDSA, point):
                return ecdsa_key(point)
        return None

    def _has(self, kind: str, public_key: bytes) -> bool:
        if public_key not in self._known:
            self._known[public_key] = any(
                pair.WhichOneof("signature") == kind
                and public_key.startswith(pair.pubKeyPrefix)
                and self._verifies(kind, public_key, getattr(pair, kind))
                for pair in self.pairs
            )
        return self._known[public_key]

    def _verifies(self, kind: str, public_key: bytes, signature: bytes) -> bool:
        try:
            if kind == _ED25519:
                Ed25519PublicKey.from_public_bytes(public_key).verify(signature, self._body)
            else:
                point = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, public_key)
                r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
                der = encode_dss_signature(r, s)
                point.verify(der, self._digest, ec.ECDSA(Prehashed(SHA256())))
        except (InvalidSignature, ValueError):
            return False
        return kind == _ED25519 or len(signature) == 64


def _is_point(data: bytes) -> bool:
    if len(data) != 33:
        return False
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, data)
    except ValueError:
        return False
    return True
