"""Verifying a receipt in the browser: the same function as the command line, run on this server."""

from dataclasses import dataclass

from markupsafe import Markup
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from chargera.domain.errors import InvalidInput
from chargera.proofs.receipt import RECEIPT_BYTES_MAX, ReceiptVerdict, parse_receipt
from chargera.proofs.steps import Step
from chargera.web.pages.site import Site, Visit

OUTCOMES = {0: "valid", 1: "invalid", 2: "unreadable", 3: "undetermined"}
"""By exit code of `chargera verify`."""


@dataclass(frozen=True, slots=True)
class ShownVerdict:
    """The outcome in a word, and every step."""

    outcome: str
    steps: tuple[Step, ...]
    session_id: str | None


async def show_verify(site: Site, request: Request) -> Response:
    """Answer `GET /verify`."""
    async with site.visit(request) as visit:
        return site.page(visit, "verify.html", "verify", {"verdict": None})


async def check_receipt(site: Site, request: Request) -> Response:
    """Answer `POST /verify`: no login and no form value, since nothing changes by it."""
    async with site.visit(request) as visit:
        pass
    receipt = await _receipt(request, visit)
    verdict = await site.judge.judge(receipt, await site.services.trust())
    shown = ShownVerdict(OUTCOMES[verdict.exit_code], verdict.steps, _session_id(receipt, verdict))
    return site.page(visit, "verify.html", "verify", {"verdict": shown})


async def _receipt(request: Request, visit: Visit) -> bytes:
    """Return the uploaded file, or else the pasted text."""
    declared = request.headers.get("content-length", "")
    if not declared.isdecimal() or int(declared) > 2 * RECEIPT_BYTES_MAX:
        raise _too_large(visit)
    async with request.form(max_files=1, max_fields=2, max_part_size=RECEIPT_BYTES_MAX) as form:
        file, text = form.get("file"), form.get("text")
        data = await file.read(RECEIPT_BYTES_MAX + 1) if isinstance(file, UploadFile) else b""
    if not data and isinstance(text, str):
        # Browsers end lines with CR LF, and people leave blank lines around what they paste.
        data = text.replace("\r\n", "\n").strip().encode()
    if not data:
        raise InvalidInput(visit.view.texts("verify.nothing"), field="file")
    if len(data) > RECEIPT_BYTES_MAX:
        raise _too_large(visit)
    return data


def _session_id(receipt: bytes, verdict: ReceiptVerdict) -> str | None:
    return parse_receipt(receipt).session_id if verdict.valid else None


def _too_large(visit: Visit) -> InvalidInput:
    size: Markup = visit.view.texts("verify.too_large", size=RECEIPT_BYTES_MAX // 2**20)
    return InvalidInput(size, field="file")
