"""A certificate is renewed under a running server: nobody restarts it, nobody is cut off."""

import ssl
import time
from datetime import UTC, datetime
from pathlib import Path

from chargera.ocpp.certificates import local_authority
from tests.server import ServerProcess, data_folder

LOOK_S = 5


def shown(server: ServerProcess) -> str:
    """The certificate that the next connection gets."""
    port = int(server.ready["ocpps"].removesuffix("/ocpp").rpartition(":")[2])
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=10)


def test_serve__new_files__the_next_connection_has_them(tmp_path: Path) -> None:
    old, new = (local_authority(tmp_path / name, datetime.now(UTC)) for name in ("old", "new"))
    files = ("--tls-cert", str(old.certificate_path), "--tls-key", str(old.key_path))
    with data_folder() as folder, ServerProcess(folder, "--ocpp-tls-port", "0", *files) as server:
        first = shown(server)
        assert first in old.certificate_path.read_text()
        new.certificate_path.replace(old.certificate_path)  # and for a moment the key does not fit
        assert shown(server) == first
        new.key_path.replace(old.key_path)
        deadline_s = time.monotonic() + 3 * LOOK_S
        while shown(server) == first:
            assert time.monotonic() < deadline_s, server.errors()
            time.sleep(0.1)
        assert shown(server) in old.certificate_path.read_text()
        server.stop()
