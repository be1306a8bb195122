"""Keccak-256, the hash of Ethereum: SHA-3 with the padding that it had before it was a standard."""

from Crypto.Hash import keccak

DIGEST_BYTES = 32


def keccak256(data: bytes) -> bytes:
    """Return the 32-byte Keccak-256 digest of `data`."""
    return keccak.new(digest_bits=256, data=data).digest()
