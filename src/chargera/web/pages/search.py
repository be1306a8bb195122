"""One box for any identifier: it leads to the page of what it names, or says what it could be."""

import re
from typing import Any, cast
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from chargera.app.registry import show_station
from chargera.app.sessions import log_head, show_session
from chargera.domain.errors import NotFound, Unreadable
from chargera.proofs.chain_values import address_text, parse_address
from chargera.web.pages.site import Site, Visit, see_other

QUERY_MAX = 128
INDEX_DIGITS_MAX = 18

_SESSION = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WORD = re.compile(r"(?:0x)?([0-9a-f]{64})")
_ADDRESS = re.compile(r"(?:0x)?([0-9a-fA-F]{40})")

KINDS = ("station", "session", "entry")
CHAIN_KINDS = ("passport", "batch", "address")
"""What can be looked up; the latter only where bills are settled on chain."""


async def search(site: Site, request: Request) -> Response:
    """Answer `/search?q=`: redirect to the page of that name, or help."""
    wanted = request.query_params.get("q", "").strip()[:QUERY_MAX]
    async with site.visit(request) as visit:
        found = await find(site, visit, wanted) if wanted else None
        if found is not None:
            return see_other(found)
        kinds = KINDS + (CHAIN_KINDS if site.services.settlement is not None else ())
        values = {"wanted": wanted, "kinds": kinds}
        return site.page(visit, "search.html", "search", values, 404 if wanted else 200)


async def find(site: Site, visit: Visit, wanted: str) -> str | None:
    """Return the address of the page that this identifier names; None if there is none."""
    for look in (_station, _session, _on_chain, _entry):
        found = await look(site, visit, wanted)
        if found is not None:
            return found
    return None


async def _station(site: Site, visit: Visit, wanted: str) -> str | None:
    try:
        await show_station(visit.work, visit.viewer, wanted, site.services.is_connected)
    except NotFound:
        return None
    return f"/s/{quote(wanted, safe='')}"


async def _session(site: Site, visit: Visit, wanted: str) -> str | None:
    session_id = wanted.lower()
    if not _SESSION.fullmatch(session_id):
        return None
    try:
        await show_session(
            visit.work, visit.viewer, session_id, now=site.services.clock.now(), linked=False
        )
    except NotFound:
        return None
    return f"/session/{session_id}"


async def _entry(site: Site, visit: Visit, wanted: str) -> str | None:
    digits = wanted.removeprefix("#").replace(",", "")
    if not (digits.isdecimal() and digits.isascii() and len(digits) <= INDEX_DIGITS_MAX):
        return None
    index = int(digits)
    return f"/log/entry/{index}" if index < (await log_head(visit.work)).size else None


async def _on_chain(site: Site, visit: Visit, wanted: str) -> str | None:
    """Look among passports, batches and addresses, with or without `0x`."""
    if site.services.settlement is None:
        return None
    work = _parts(visit)
    word = _WORD.fullmatch(wanted.lower())
    if word is not None:
        text = f"0x{word[1]}"
        if await work.passports.by_id(text) is not None:
            return f"/passport/{text}"
        return f"/settlement/{text}" if await work.settlement.batch(text) is not None else None
    address = _ADDRESS.fullmatch(wanted)
    if address is None:
        return None
    try:
        return f"/holder/{address_text(parse_address(f'0x{address[1]}', field='q'))}"
    except Unreadable:  # mistyped: its checksum is wrong
        return None


def _parts(visit: Visit) -> Any:
    """Return the unit of work with the parts that settlement has in it."""
    return cast("Any", visit.work)
