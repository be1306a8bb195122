"""A key of the chain: its file, its address, its signatures.

A file is one line, `0x` and 64 hex digits. The key never leaves the process that reads it.
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Self

from eth_keys.datatypes import PrivateKey

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.proofs.chain_values import address_text, parse_hex
from chargera.proofs.secp256k1 import SIGNATURE_BYTES, N, address_of

SECRET_BYTES = 32
V_OFFSET = 27
"""What contracts add to the bit that tells two points apart."""


class ChainKey:
    """A private key on secp256k1 that signs digests."""

    def __init__(self, secret: bytes) -> None:
        """Hold a secret of 32 bytes. Raises InvalidInput for one that is no key."""
        if len(secret) != SECRET_BYTES or not 0 < int.from_bytes(secret, "big") < N:
            raise InvalidInput("not a private key of secp256k1", field="key")
        self._key = PrivateKey(secret)
        self.address = address_of(b"\x04" + self._key.public_key.to_bytes())
        """20 bytes."""

    @property
    def address_text(self) -> str:
        """The address with its checksum."""
        return address_text(self.address)

    @property
    def public_key(self) -> bytes:
        """The uncompressed public key, 65 bytes beginning with 0x04."""
        return b"\x04" + self._key.public_key.to_bytes()

    def sign(self, digest: bytes) -> bytes:
        """Return the signature of a 32-byte digest: r, s and v (27 or 28), s in its lower half."""
        signed = self._key.sign_msg_hash(digest).to_bytes()
        assert len(signed) == SIGNATURE_BYTES, "r, s and one byte"
        return signed[:-1] + bytes([signed[-1] + V_OFFSET])

    def sign_parity(self, digest: bytes) -> tuple[int, int, int]:
        """Return the parity of y, r and s, as transactions carry them."""
        signature = self._key.sign_msg_hash(digest)
        return signature.v, signature.r, signature.s

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a key file. Raises Unreadable; the message never holds the key."""
        try:
            text = path.read_text(encoding="ascii").strip()
            return cls(parse_hex(text.lower(), SECRET_BYTES, field="key"))
        except OSError as error:
            raise Unreadable(
                f"{path} cannot be read: {error.strerror}", field="key", remedy="check the path"
            ) from None
        except (InvalidInput, UnicodeDecodeError):
            raise Unreadable(
                f"{path} is no key of the chain",
                field="key",
                remedy="a key file is one line: 0x and 64 hex digits",
            ) from None

    @classmethod
    def open(cls, path: Path, random: Callable[[int], bytes] = secrets.token_bytes) -> Self:
        """Read a key file, made (readable by its owner alone) unless it exists."""
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside = path.with_name(f"{path.name}.new")
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(f"0x{random(SECRET_BYTES).hex()}\n")
            beside.replace(path)
        return cls.load(path)
