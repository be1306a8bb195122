"""Server certificates of the TLS port: the operator's own, or one of a test CA made here.

OCPP 2.0.1 A00.FR.312 ff. and the 1.6 security whitepaper ask for TLS 1.2 or newer with forward
secret AEAD suites and without compression.
"""

import ipaddress
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from chargera.domain.errors import InvalidInput

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2; every suite of TLS 1.3 is forward secret and AEAD."""

CA_DAYS = 3650
SERVER_DAYS = 397
RENEW_DAYS = 30
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class LocalAuthority:
    """Files of a CA that exists only so that a first installation can speak TLS."""

    ca_path: Path
    certificate_path: Path
    key_path: Path


class RenewableTls:
    """The TLS settings of new connections, made anew when the certificate's files change."""

    def __init__(self, certificate_path: Path, key_path: Path) -> None:
        """Read the files; raise InvalidInput if they do not fit."""
        self._files = (certificate_path, key_path)
        self._seen = self._stamps()
        self.context = server_context(certificate_path, key_path)

    def renew(self) -> bool:
        """Read the files again if they changed; say whether that gave new settings.

        Raises InvalidInput, once a change, if the files do not fit (yet): the old settings stay.
        """
        stamps = self._stamps()
        if stamps == self._seen:
            return False
        self._seen = stamps
        self.context = server_context(*self._files)
        return True

    def _stamps(self) -> list[tuple[int, ...] | None]:
        """Return what changes when a file is written or another is put in its place."""
        stamps: list[tuple[int, ...] | None] = []
        for path in self._files:
            try:
                status = path.stat()
            except OSError:
                stamps.append(None)
            else:
                stamps.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return stamps


def server_context(certificate_path: Path, key_path: Path) -> ssl.SSLContext:
    """Return the TLS settings of the OCPP port; raise InvalidInput if the files do not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(certificate_path, key_path)
    except (ssl.SSLError, OSError) as error:
        raise InvalidInput(
            f"certificate and key of the TLS port cannot be used: {error}",
            field="tls_cert",
            remedy="give a PEM certificate chain and the PEM key that belongs to it",
        ) from error
    return context


def local_authority(
    folder: Path, now: datetime, names: Sequence[str] = LOCAL_NAMES
) -> LocalAuthority:
    """Return the test CA and server certificate in `folder`, made or renewed where necessary.

    `names` are DNS names and addresses that stations reach the server by. Keys are P-256 in
    files that only their owner can read. `now` is the machine's time, for TLS peers use theirs.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = LocalAuthority(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    ca_key_path = folder / "ca.key"
    if not (ca_key_path.exists() and files.ca_path.exists()):
        ca_key = ec.generate_private_key(ec.SECP256R1())
        _write_key(ca_key_path, ca_key)
        _write(files.ca_path, _pem(_ca_certificate(ca_key, now)), 0o644)
        files.certificate_path.unlink(missing_ok=True)
    if not _is_good(files, now, names):
        ca_key = _read_key(ca_key_path)
        ca = x509.load_pem_x509_certificate(files.ca_path.read_bytes())
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _server_certificate(ca, ca_key, key, now, names)
        _write_key(files.key_path, key)
        _write(files.certificate_path, _pem(certificate) + _pem(ca), 0o644)
    return files


def _is_good(files: LocalAuthority, now: datetime, names: Sequence[str]) -> bool:
    if not (files.certificate_path.exists() and files.key_path.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(files.certificate_path.read_bytes())
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return (
        set(extension.value) >= set(_general_names(names))
        and certificate.not_valid_after_utc - now > timedelta(days=RENEW_DAYS)
        and certificate.not_valid_before_utc <= now
    )


def _ca_certificate(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ChargEra test CA")])
    return (
        _builder(name, name, key.public_key(), now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _server_certificate(
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    names: Sequence[str],
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _builder(subject, ca.subject, key.public_key(), now, SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(key_cert_sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_general_names(names)), critical=False)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    began_at = now.astimezone(UTC) - timedelta(hours=1)  # a peer's clock may be behind
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(began_at)
        .not_valid_after(began_at + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, key_cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not key_cert_sign,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    result: list[x509.GeneralName] = []
    for name in dict.fromkeys([*names, *LOCAL_NAMES]):
        try:
            result.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            result.append(x509.DNSName(name))
    return result


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidInput(
            f"{path} is no EC key", field="tls_key", remedy="delete it; a new one will be made"
        )
    return key


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write(path, pem, 0o600)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Put a whole file in place at once, with its mode from the first byte on."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
