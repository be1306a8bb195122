"""A small signed log with fixed keys, for the tests of notes, checkpoints, proofs and receipts."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chargera.proofs.note import VerifierKey

ORIGIN = "log.example/c4e/1"


def key_pair(seed: int, name: str = ORIGIN) -> tuple[VerifierKey, Ed25519PrivateKey]:
    """The same key for the same seed (0 to 255), so that failures repeat."""
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return VerifierKey(name, private.public_key().public_bytes_raw()), private


LOG_KEY, LOG_PRIVATE = key_pair(1)
OTHER_KEY, OTHER_PRIVATE = key_pair(2)
WITNESS_KEY, WITNESS_PRIVATE = key_pair(3, "witness.example/w1")
