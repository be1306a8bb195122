import ipaddress
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from chargera.domain.errors import InvalidInput
from chargera.ocpp.certificates import RenewableTls, local_authority, server_context

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def test_local_authority__first_call__makes_ca_and_server_certificate(tmp_path: Path) -> None:
    files = local_authority(tmp_path / "tls", NOW, ["csms.example", "192.0.2.7"])
    ca, server = load(files.ca_path), load(files.certificate_path)
    server.verify_directly_issued_by(ca)
    assert isinstance(server.public_key(), ec.EllipticCurvePublicKey)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"csms.example", "localhost"}
    assert set(names.get_values_for_type(x509.IPAddress)) == {
        ipaddress.ip_address(a) for a in ("192.0.2.7", "127.0.0.1", "::1")
    }
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not server.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert server.not_valid_before_utc < NOW < server.not_valid_after_utc
    key = load_pem_private_key(files.key_path.read_bytes(), None)
    assert key.public_key() == server.public_key()


def test_local_authority__keys__are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    files = local_authority(tmp_path / "tls", NOW)
    for path in (files.key_path, tmp_path / "tls" / "ca.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    assert not list((tmp_path / "tls").glob("*.partial"))


def test_local_authority__again__keeps_what_is_good(tmp_path: Path) -> None:
    first = local_authority(tmp_path, NOW)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert local_authority(tmp_path, NOW + timedelta(days=300)) == first
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("later", "names"),
    [
        (timedelta(days=380), ["localhost"]),
        (timedelta(days=-2), ["localhost"]),
        (timedelta(), ["new.example"]),
    ],
)
def test_local_authority__old_or_of_other_names__is_renewed_by_the_same_ca(
    tmp_path: Path, later: timedelta, names: list[str]
) -> None:
    files = local_authority(tmp_path, NOW)
    ca, server = files.ca_path.read_bytes(), files.certificate_path.read_bytes()
    local_authority(tmp_path, NOW + later, names)
    assert files.ca_path.read_bytes() == ca
    assert files.certificate_path.read_bytes() != server


def test_local_authority__lost_ca__is_made_anew_with_its_server(tmp_path: Path) -> None:
    files = local_authority(tmp_path, NOW)
    files.ca_path.unlink()
    local_authority(tmp_path, NOW)
    load(files.certificate_path).verify_directly_issued_by(load(files.ca_path))
    files.key_path.unlink()
    local_authority(tmp_path, NOW)
    assert files.key_path.exists()


def test_local_authority__foreign_ca_key__is_refused_with_a_remedy(tmp_path: Path) -> None:
    files = local_authority(tmp_path, NOW)
    foreign = rsa.generate_private_key(65537, 2048)
    pem = foreign.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "ca.key").write_bytes(pem)
    files.certificate_path.unlink()
    with pytest.raises(InvalidInput) as caught:
        local_authority(tmp_path, NOW)
    assert caught.value.remedy


def test_server_context__only_what_is_strong(tmp_path: Path) -> None:
    files = local_authority(tmp_path, NOW)
    context = server_context(files.certificate_path, files.key_path)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_COMPRESSION
    for cipher in context.get_ciphers():
        assert cipher["aead"], cipher["name"]
        assert cipher["protocol"] == "TLSv1.3" or cipher["kea"] == "kx-ecdhe", cipher["name"]


def test_server_context__files_that_do_not_fit__are_refused(tmp_path: Path) -> None:
    one, two = local_authority(tmp_path / "1", NOW), local_authority(tmp_path / "2", NOW)
    with pytest.raises(InvalidInput):
        server_context(one.certificate_path, two.key_path)
    with pytest.raises(InvalidInput):
        server_context(tmp_path / "absent", two.key_path)


def test_renewable_tls__reads_again_what_changed_and_keeps_what_fits(tmp_path: Path) -> None:
    live, other = local_authority(tmp_path / "live", NOW), local_authority(tmp_path / "other", NOW)
    tls = RenewableTls(live.certificate_path, live.key_path)
    first = tls.context
    assert not tls.renew()
    assert tls.context is first

    live.certificate_path.write_bytes(other.certificate_path.read_bytes())
    with pytest.raises(InvalidInput):  # its key is not there yet
        tls.renew()
    assert not tls.renew(), "said once"
    assert tls.context is first
    other.key_path.replace(live.key_path)
    assert tls.renew()
    second = tls.context
    assert second is not first

    live.key_path.unlink()
    with pytest.raises(InvalidInput):
        tls.renew()
    assert tls.context is second
