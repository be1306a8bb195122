"""The files that browsers load: a closed list, read once, served compressed and cached for ever.

Third-party files are those of `static/vendor/manifest.json`, byte for byte as published; our own
are `OWN`. Nothing else is served, and no page loads anything from another host.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response

FOLDER = files("chargera.web") / "static"
OWN = ("app.css", "app.js", "claim.js", "favicon.svg", "icons.svg")

CONTENT_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "LICENSE": "text/plain; charset=utf-8",
}
"""By the last part of the name; a file of another type cannot be listed."""

FOR_EVER = "public, max-age=31536000, immutable"
SHORTLY = "public, max-age=300"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its bytes, the same compressed, and the hash that its address carries."""

    name: str
    content_type: str
    data: bytes
    compressed: bytes
    version: str

    @property
    def url(self) -> str:
        """Its address; it changes with the content."""
        return f"/static/{self.name}?v={self.version}"


class Assets:
    """All assets by name."""

    def __init__(self, folder: Traversable = FOLDER) -> None:
        """Read the listed files; a missing one, or a vendored one with other bytes, is an error."""
        self._assets = {name: _read(folder, name) for name in OWN}
        for entry in json.loads((folder / "vendor" / "manifest.json").read_bytes()):
            asset = _read(folder, f"vendor/{entry['file']}")
            if hashlib.sha256(asset.data).hexdigest() != entry["sha256"]:
                raise ValueError(f"{asset.name} is not what its manifest says; vendor it again")
            self._assets[asset.name] = asset

    def __iter__(self) -> Iterator[Asset]:
        """Yield every asset."""
        return iter(self._assets.values())

    def url(self, name: str) -> str:
        """Return the address of an asset; KeyError if it is not listed."""
        return self._assets[name].url

    async def serve(self, request: Request) -> Response:
        """Answer `/static/{name:path}`: the file, or 404 for whatever is not listed."""
        asset = self._assets.get(request.path_params["name"])
        if asset is None:
            return Response("no such file\n", 404, media_type="text/plain")
        is_current = request.query_params.get("v") == asset.version
        headers = {
            "cache-control": FOR_EVER if is_current else SHORTLY,
            "etag": f'"{asset.version}"',
            "vary": "accept-encoding",
            "x-content-type-options": "nosniff",
        }
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        body = asset.data
        if "gzip" in request.headers.get("accept-encoding", ""):
            body, headers["content-encoding"] = asset.compressed, "gzip"
        return Response(body, headers=headers, media_type=asset.content_type)


def _read(folder: Traversable, name: str) -> Asset:
    data = folder.joinpath(name).read_bytes()
    return Asset(
        name,
        CONTENT_TYPES[name.rpartition(".")[2]],
        data,
        gzip.compress(data, mtime=0),
        hashlib.sha256(data).hexdigest()[:12],
    )
