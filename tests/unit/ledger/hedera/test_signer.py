"""Signers: the same signature from a file, the environment or another program, and no leak."""

import sys
from pathlib import Path

import pytest
from eth_keys.datatypes import PrivateKey

from chargera.domain.errors import ChargEraError, InvalidInput, Refused, Unavailable, Unreadable
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.hedera.signer import (
    CommandSigner,
    EnvironmentSigner,
    FileSigner,
    KeySigner,
    Signer,
    low_s,
    uncompressed,
)
from chargera.proofs.keccak import keccak256
from chargera.proofs.secp256k1 import N, recover

SECRET = bytes.fromhex("11" * 32)
KEY = ChainKey(SECRET)
MESSAGE = b"what a transaction's body is"
SIGNATURE = KeySigner(KEY).sign(MESSAGE)


def program(tmp_path: Path, body: str) -> list[str]:
    """A signing program: Python with the message in `message`."""
    path = tmp_path / "sign.py"
    path.write_text(f"import sys\nmessage = bytes.fromhex(sys.stdin.read().strip())\n{body}\n")
    return [sys.executable, str(path)]


def signers(tmp_path: Path) -> list[Signer]:
    file = tmp_path / "key"
    file.write_text(f"0x{SECRET.hex()}\n")
    command = program(tmp_path, f"print({SIGNATURE.hex()!r})")
    return [
        FileSigner(file),
        EnvironmentSigner("KEY", {"KEY": SECRET.hex()}),
        EnvironmentSigner("KEY", {"KEY": f" 0x{SECRET.hex().upper()}\n"}),
        CommandSigner(command, KeySigner(KEY).public_key),
    ]


def test_signers__wherever_the_key_lies__the_same_signature(tmp_path: Path) -> None:
    expected = PrivateKey(SECRET).public_key.to_compressed_bytes()
    for signer in signers(tmp_path):
        assert signer.public_key == expected
        signature = signer.sign(MESSAGE)
        assert len(signature) == 64
        assert KEY.address in [
            recover(keccak256(MESSAGE), signature + bytes([v])) for v in (27, 28)
        ]


@pytest.mark.parametrize("secret", ["22" * 32, "33" * 32, "44" * 32, "0f" * 32])
def test_uncompressed__both_parities__the_point(secret: str) -> None:
    key = PrivateKey(bytes.fromhex(secret)).public_key
    assert uncompressed(key.to_compressed_bytes()) == b"\x04" + key.to_bytes()


@pytest.mark.parametrize(
    "public_key", [b"", b"\x02" * 32, b"\x04" + b"\x01" * 32, b"\x02" + b"\xff" * 32]
)
def test_uncompressed__no_point__refused(public_key: bytes) -> None:
    with pytest.raises(InvalidInput, match="compressed public key"):
        CommandSigner(["sign"], public_key)


def test_uncompressed__x_without_a_point__refused() -> None:
    with pytest.raises(InvalidInput):
        uncompressed(b"\x02" + (5).to_bytes(32, "big"))


def test_command__a_high_s__comes_back_low(tmp_path: Path) -> None:
    high = SIGNATURE[:32] + (N - int.from_bytes(SIGNATURE[32:], "big")).to_bytes(32, "big")
    signer = CommandSigner(program(tmp_path, f"print('0x{high.hex()}')"), KeySigner(KEY).public_key)
    assert signer.sign(MESSAGE) == SIGNATURE
    assert low_s(SIGNATURE) == SIGNATURE


def test_command__signs_what_it_reads(tmp_path: Path) -> None:
    body = f"""
from chargera.ledger.chain_key import ChainKey
from chargera.proofs.keccak import keccak256
print(ChainKey(bytes.fromhex({SECRET.hex()!r})).sign(keccak256(message))[:64].hex())"""
    signer = CommandSigner(program(tmp_path, body), KeySigner(KEY).public_key)
    assert signer.sign(b"anything") == KeySigner(KEY).sign(b"anything")


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        ("print('00' * 64)", Refused, "another key"),
        (f"print({SIGNATURE.hex()!r} + '00')", Refused, "128 hex digits"),
        ("print('no hex')", Refused, "128 hex digits"),
        ("sys.stdout.buffer.write(b'\\xff\\xfe')", Refused, "128 hex digits"),
        ("sys.exit(3)", Unavailable, "status 3"),
        ("import time; time.sleep(60)", Unavailable, "no signature within 0.5 s"),
    ],
)
def test_command__what_goes_wrong_is_named(
    tmp_path: Path, body: str, error: type[ChargEraError], words: str
) -> None:
    signer = CommandSigner(program(tmp_path, body), KeySigner(KEY).public_key, timeout_s=0.5)
    if "sleep" not in body:
        signer = CommandSigner(program(tmp_path, body), KeySigner(KEY).public_key)
    with pytest.raises(error, match=words):
        signer.sign(MESSAGE)


def test_command__another_message_signed__refused(tmp_path: Path) -> None:
    signer = CommandSigner(
        program(tmp_path, f"print({SIGNATURE.hex()!r})"), KeySigner(KEY).public_key
    )
    with pytest.raises(Refused, match="other bytes"):
        signer.sign(b"another message")


def test_command__no_program__unavailable() -> None:
    with pytest.raises(Unavailable, match="does not start"):
        CommandSigner(["/no/such/program"], KeySigner(KEY).public_key).sign(MESSAGE)
    with pytest.raises(InvalidInput, match="empty"):
        CommandSigner([], KeySigner(KEY).public_key)


@pytest.mark.parametrize("text", ["", "zz" * 32, SECRET.hex()[:-1], SECRET.hex() + "00", "00" * 32])
def test_environment__no_key__unreadable_and_unsaid(text: str) -> None:
    with pytest.raises(Unreadable) as raised:
        EnvironmentSigner("OPERATOR_KEY", {"OPERATOR_KEY": text})
    assert raised.value.field == "OPERATOR_KEY"
    assert not text or text not in str(raised.value.as_dict())


def test_environment__no_variable__unreadable() -> None:
    with pytest.raises(Unreadable, match="OPERATOR_KEY holds no key"):
        EnvironmentSigner("OPERATOR_KEY", {})


def test_file__no_key__unreadable(tmp_path: Path) -> None:
    with pytest.raises(Unreadable):
        FileSigner(tmp_path / "missing")
