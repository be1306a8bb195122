"""Who signs what is sent to Hedera: a key from a file, the environment, or another program.

A signer maps bytes to bytes, so that a KMS or HSM fits. Only ECDSA keys on secp256k1 are used:
one key then pays on Hedera and signs for the EVM. Nothing here is ever logged.
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from chargera.domain.errors import ChargEraError, InvalidInput, Refused, Unavailable, Unreadable
from chargera.ledger.chain_key import SECRET_BYTES, ChainKey
from chargera.proofs.chain_values import parse_hex
from chargera.proofs.keccak import keccak256
from chargera.proofs.secp256k1 import N, P, recover_public_key

PUBLIC_KEY_BYTES = 33
SIGNATURE_BYTES = 64
COMMAND_TIMEOUT_S = 10.0
COMMAND_OUTPUT_BYTES_MAX = 1024


class Signer(Protocol):
    """A key that signs messages; it may block, so it is called in a thread."""

    @property
    def public_key(self) -> bytes:
        """The compressed public key on secp256k1: 02 or 03 and x, 33 bytes."""

    def sign(self, message: bytes) -> bytes:
        """Return r and s, 64 bytes, over the Keccak-256 hash of `message`.

        Raises Unavailable if the key cannot be asked now, Refused if it does not sign.
        """


class KeySigner:
    """A `Signer` whose key lies in this process."""

    def __init__(self, key: ChainKey) -> None:
        """Sign with `key`."""
        self._key = key
        self.public_key = compressed(key.public_key)

    def sign(self, message: bytes) -> bytes:
        """Return r and s over the Keccak-256 hash of `message`."""
        return self._key.sign(keccak256(message))[:SIGNATURE_BYTES]


class FileSigner(KeySigner):
    """A `Signer` whose key is a file of one line: 0x and 64 hex digits."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises Unreadable; the message never holds the key."""
        super().__init__(ChainKey.load(path))


class EnvironmentSigner(KeySigner):
    """A `Signer` whose key is a variable of the environment: 64 hex digits, with 0x or without."""

    def __init__(self, variable: str, environment: Mapping[str, str]) -> None:
        """Read the variable. Raises Unreadable; the message never holds the key."""
        text = environment.get(variable, "").strip().lower().removeprefix("0x")
        try:
            key = ChainKey(parse_hex(f"0x{text}", SECRET_BYTES, field=variable))
        except InvalidInput:
            raise Unreadable(
                f"{variable} holds no key",
                field=variable,
                remedy="set it to the 64 hex digits of an ECDSA key (secp256k1)",
            ) from None
        super().__init__(key)


class CommandSigner:
    """A `Signer` that is another program, such as the client of a KMS.

    It gets the message as hex digits on its standard input and prints the signature (r and s, 128
    hex digits). What it prints is checked against the public key before anyone relies on it.
    """

    def __init__(
        self, command: Sequence[str], public_key: bytes, *, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> None:
        """Ask `command` for signatures of the key whose compressed public key is given.

        Raises InvalidInput for an empty command or bytes that are no such key.
        """
        if not command:
            raise InvalidInput("the command that signs is empty", field="signer")
        self._uncompressed = uncompressed(public_key)
        self._command = list(command)
        self._timeout_s = timeout_s
        self.public_key = public_key

    def sign(self, message: bytes) -> bytes:
        """Return r and s over the Keccak-256 hash of `message`; see `Signer`."""
        try:
            ran = subprocess.run(  # noqa: S603  # the operator names the program, no shell runs it
                self._command,
                input=f"{message.hex()}\n".encode(),
                capture_output=True,
                timeout=self._timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._fault(f"gave no signature within {self._timeout_s:g} s") from None
        except OSError as error:
            raise self._fault(f"does not start: {error.strerror}") from None
        if ran.returncode:
            raise self._fault(f"ended with status {ran.returncode}")
        return self._checked(message, ran.stdout[:COMMAND_OUTPUT_BYTES_MAX])

    def _checked(self, message: bytes, output: bytes) -> bytes:
        try:
            text = output.decode("ascii").strip().lower().removeprefix("0x")
            signature = parse_hex(f"0x{text}", SIGNATURE_BYTES, field="signature")
        except (UnicodeDecodeError, ChargEraError):
            raise self._wrong(f"must print {2 * SIGNATURE_BYTES} hex digits") from None
        signature = low_s(signature)
        digest = keccak256(message)
        for v in (27, 28):
            try:
                if recover_public_key(digest, signature + bytes([v])) == self._uncompressed:
                    return signature
            except InvalidInput:
                continue
        raise self._wrong("signs with another key than the configured public key, or other bytes")

    def _fault(self, what: str) -> Unavailable:
        return Unavailable(
            f"the signer {self._command[0]} {what}", remedy="run it by hand to see what it says"
        )

    def _wrong(self, what: str) -> Refused:
        return Refused(
            f"the signer {self._command[0]} {what}",
            field="signer",
            remedy="it must sign the Keccak-256 hash of the bytes that it reads as hex digits",
        )


def compressed(public_key: bytes) -> bytes:
    """Return the compressed form (SEC 1, 2.3.3) of an uncompressed public key of 65 bytes."""
    x, y = public_key[1:33], public_key[33:]
    return bytes([2 + y[-1] % 2]) + x


def uncompressed(public_key: bytes) -> bytes:
    """Return the 65 bytes of a compressed public key. Raises InvalidInput if it is none."""
    x = int.from_bytes(public_key[1:], "big")
    if len(public_key) == PUBLIC_KEY_BYTES and public_key[0] in (2, 3) and x < P:
        square = (x**3 + 7) % P
        y = pow(square, (P + 1) // 4, P)
        if y * y % P == square:
            y = y if y % 2 == public_key[0] % 2 else P - y
            return b"\x04" + public_key[1:] + y.to_bytes(32, "big")
    raise InvalidInput(
        "not a compressed public key of secp256k1",
        field="public_key",
        remedy="give 66 hex digits that begin with 02 or 03",
    )


def low_s(signature: bytes) -> bytes:
    """Return the same signature with s in its lower half, as the EVM wants it (EIP-2)."""
    s = int.from_bytes(signature[32:], "big")
    return signature if s <= N // 2 else signature[:32] + (N - s).to_bytes(32, "big")
