"""Browser files: a closed list, as published, small, and nothing from another host."""

import gzip
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from chargera.web.assets import FOLDER, OWN, Assets
from tests.unit.web.browser_client import client_of

STATIC = Path(str(FOLDER))
TEMPLATES = STATIC.parent / "templates"
FIRST_VIEW_BYTES_MAX = 60 * 1024
SHEET_BYTES_MAX = 10 * 1024

REMOTE = re.compile(
    r"""(?:src|href|srcset|action|poster|data)\s*=\s*["']?\s*(?:https?:)?//"""
    r"""|url\(\s*["']?(?:https?:)?//|@import|\bimport\s*\(?\s*["'](?:https?:)?//""",
    re.IGNORECASE,
)
"""Whatever would make a browser ask another host; links to read on are written as text."""


def listed() -> set[str]:
    return {asset.name for asset in Assets()} | {"vendor/manifest.json"}


def test_every_file_is_listed_and_every_listed_file_is_there() -> None:
    files = {str(path.relative_to(STATIC)) for path in STATIC.rglob("*") if path.is_file()}
    assert files == listed()


@pytest.mark.parametrize(
    "path",
    [*(STATIC / name for name in OWN), *sorted(TEMPLATES.rglob("*.html"))],
    ids=lambda path: path.name,
)
def test_nothing_is_loaded_from_another_host(path: Path) -> None:
    assert not REMOTE.search(path.read_text())


def test_remote_assets_would_be_found() -> None:
    for text in (
        '<script src="https://cdn.example/x.js">',
        "<img src=//cdn.example/x.png>",
        "a { background: url('http://x.example/y') }",
        "@import 'other.css';",
        'import("https://cdn.example/x.js")',
    ):
        assert REMOTE.search(text), text


def test_no_template_has_inline_script_style_or_handlers() -> None:
    for path in TEMPLATES.rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"<style|\sstyle=|\son\w+=|hx-on|javascript:", text), path
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), path


def test_vendored_files_are_those_of_the_manifest() -> None:
    for entry in json.loads((STATIC / "vendor/manifest.json").read_text()):
        data = (STATIC / "vendor" / entry["file"]).read_bytes()
        assert len(data) == entry["size"]
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]
        assert entry["licence"]
        assert entry["version"] in entry["file"]


def test_a_changed_vendored_file_is_refused(tmp_path: Path) -> None:
    copy = tmp_path / "static"
    shutil.copytree(STATIC, copy)
    script = next((copy / "vendor").glob("htmx*.js"))
    script.write_bytes(script.read_bytes() + b" ")
    with pytest.raises(ValueError, match="not what its manifest says"):
        Assets(copy)


def test_the_first_view_is_small() -> None:
    sizes = {asset.name: len(gzip.compress(asset.data)) for asset in Assets()}
    assert sizes["app.css"] <= SHEET_BYTES_MAX
    loaded = [name for name in sizes if name.endswith((".css", ".js", ".svg"))]
    assert sum(sizes[name] for name in loaded) <= FIRST_VIEW_BYTES_MAX


async def test_an_asset_is_served_compressed_and_kept_for_ever_at_its_own_address() -> None:
    assets = Assets()
    app = Starlette(routes=[Route("/static/{name:path}", assets.serve)])
    async with client_of(app) as browser:
        kept = await browser.get(assets.url("app.css"))
        assert kept.status_code == 200
        assert "immutable" in kept.headers["cache-control"]
        assert kept.headers["content-encoding"] == "gzip"
        assert kept.headers["content-type"].startswith("text/css")
        plain = await browser.get("/static/app.css", headers={"accept-encoding": "identity"})
        assert plain.content == (STATIC / "app.css").read_bytes()
        assert "immutable" not in plain.headers["cache-control"]
        same = await browser.get(
            assets.url("app.css"), headers={"if-none-match": kept.headers["etag"]}
        )
        assert same.status_code == 304


@pytest.mark.parametrize("name", ["nothing.js", "vendor/manifest.json", "../pages/site.py", ""])
async def test_what_is_not_listed_is_not_served(name: str) -> None:
    app = Starlette(routes=[Route("/static/{name:path}", Assets().serve)])
    async with client_of(app) as browser:
        assert (await browser.get(f"/static/{name}")).status_code == 404


def test_an_asset_that_is_not_listed_has_no_address() -> None:
    with pytest.raises(KeyError):
        Assets().url("other.css")
