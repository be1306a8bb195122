"""Where `verify` reads a log's files: from a server, or from a folder with an export."""

from pathlib import Path

from chargera.cli.files import read_bytes
from chargera.domain.errors import NotFound, Unavailable, Unreadable
from chargera.proofs.kept_head import LogSource

FILE_BYTES_MAX = 64 * 1024
"""Of a checkpoint or tile; the widest tile has 8 KiB."""

TIMEOUT_S = 10.0


def served_log(url: str) -> LogSource:
    """Return the log that the server at `url`, the part before `/api/v1`, serves below `/log`."""
    base_url = url.rstrip("/").removesuffix("/api/v1") + "/log"
    return LogSource(base_url, lambda path: _fetch(f"{base_url}/{path}"))


def exported_log(folder: Path) -> LogSource | None:
    """Return the log that was exported or mirrored into `folder`, None if none was."""
    if not (folder / "tile").is_dir() or not (folder / "checkpoint").is_file():
        return None
    return LogSource(str(folder), lambda path: read_bytes(folder / path, FILE_BYTES_MAX))


def _fetch(address: str) -> bytes:
    import httpx2

    body = b""
    try:
        with httpx2.stream("GET", address, timeout=TIMEOUT_S, trust_env=False) as response:
            if response.status_code == httpx2.codes.NOT_FOUND:
                raise NotFound(f"there is no {address}")
            if response.status_code != httpx2.codes.OK:
                raise Unavailable(f"{address} answers with status {response.status_code}")
            for piece in response.iter_bytes():
                body += piece
                if len(body) > FILE_BYTES_MAX:
                    raise Unreadable(f"{address} has more than {FILE_BYTES_MAX} bytes")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise Unavailable(f"{address} does not answer: {error}") from error
    return body
