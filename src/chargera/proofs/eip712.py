"""EIP-712: the digests of typed data that wallets show, sign and contracts check.

Only what the contracts of this network use: flat structs of static members and of arrays of them.
Each member comes as its encoded word, so a struct hash is one line beside its type's text.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from chargera.proofs.chain_values import ADDRESS_BYTES, WORD_BYTES
from chargera.proofs.keccak import keccak256

_DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


@dataclass(frozen=True, slots=True)
class Domain:
    """What a signature is bound to beside its content: name and version, chain and contract."""

    name: str
    version: str
    chain_id: int
    contract: bytes

    @property
    def separator(self) -> bytes:
        """The domain separator, 32 bytes."""
        return _separator(self)


@lru_cache(maxsize=64)
def _separator(domain: Domain) -> bytes:
    return struct_hash(
        _DOMAIN_TYPE,
        text_word(domain.name),
        text_word(domain.version),
        uint_word(domain.chain_id),
        address_word(domain.contract),
    )


def typed_digest(domain: Domain, struct: bytes) -> bytes:
    """Return what is signed: the digest of a struct hash in a domain."""
    return keccak256(b"\x19\x01" + domain.separator + struct)


def struct_hash(type_text: str, *words: bytes) -> bytes:
    """Return the hash of a struct of that type whose members are these encoded words."""
    return keccak256(_type_hash(type_text) + b"".join(words))


@lru_cache(maxsize=64)
def _type_hash(type_text: str) -> bytes:
    return keccak256(type_text.encode())


def uint_word(number: int) -> bytes:
    """Encode an unsigned integer."""
    return number.to_bytes(WORD_BYTES, "big")


def int_word(number: int) -> bytes:
    """Encode a signed integer."""
    return number.to_bytes(WORD_BYTES, "big", signed=True)


def address_word(address: bytes) -> bytes:
    """Encode an address: right-aligned."""
    assert len(address) == ADDRESS_BYTES, "an address has 20 bytes"
    return address.rjust(WORD_BYTES, b"\0")


def bytes_word(data: bytes) -> bytes:
    """Encode bytes1 to bytes32: left-aligned."""
    assert len(data) <= WORD_BYTES, "a word has 32 bytes"
    return data.ljust(WORD_BYTES, b"\0")


def text_word(text: str) -> bytes:
    """Encode a string: its hash stands for it."""
    return keccak256(text.encode())


def array_word(words: Iterable[bytes]) -> bytes:
    """Encode an array of static members: the hash of its words stands for it."""
    return keccak256(b"".join(words))
