"""Every page at phone and desktop width, light and dark: accessible, quiet, within its window.

Screenshots land in `build/screenshots`.
"""

from collections.abc import Callable
from typing import Literal

import pytest

from tests.browser.conftest import SHOTS, Looks, SampleServer
from tests.browser.sample_chain import (
    BORN,
    FORMED,
    HOST,
    INVESTOR,
    KILLED,
    PASSPORTS,
    SETTLED,
)

Look = Callable[..., Looks]

PAGES = {
    "overview": "/",
    "stations": "/stations",
    "station": "/s/Amstel-01",
    "sessions": "/sessions",
    "tariffs": "/tariffs",
    "id-tokens": "/id-tokens",
    "log": "/log",
    "entry": "/log/entry/17",
    "verify": "/verify",
    "passports": "/passports",
    "passport": f"/passport/{BORN[0].passport_id}",
    "passport-pending": f"/passport/{PASSPORTS[2].passport_id}",
    "settlement": "/settlement",
    "batch-settled": f"/settlement/{SETTLED.digest}",
    "batch-killed": f"/settlement/{KILLED.digest}",
    "batch-formed": f"/settlement/{FORMED.digest}",
    "attesters": "/attesters",
    "holder": f"/holder/{INVESTOR}",
    "holder-host": f"/holder/{HOST}",
    "search": "/search",
    "search-nothing": "/search?q=0xnothing",
    "missing": "/no/such/page",
    "session-billed": "billed",
    "session-running": "charging",
    "session-review": "review",
    "session-refused": "refused",
}
VISITOR_PAGES = {
    "visitor-overview": "/",
    "visitor-station": "/s/Erasmus-02",
    "visitor-entry": "/log/entry/3",
    "visitor-batch": f"/settlement/{SETTLED.digest}",
    "login": "/login",
}
EXPECTED_COMPLAINT = "Failed to load resource: the server responded with a status of 404"


def path_of(server: SampleServer, page: str) -> str:
    if page.startswith("/"):
        return page
    sessions = server.sample.network.sessions.values()
    found = next(s for s in sessions if s.row.state == page)
    return f"/session/{found.row.session_id}"


WIDTHS = (320, 1280)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.mark.parametrize("name", [*PAGES, *VISITOR_PAGES])
def test_a_page_is_accessible_quiet_and_within_its_window(
    looks_at: Look, sample_server: SampleServer, name: str
) -> None:
    looks = looks_at(signed_in=name in PAGES)
    path = path_of(sample_server, (PAGES | VISITOR_PAGES)[name])
    looks.go(path)
    SHOTS.mkdir(parents=True, exist_ok=True)
    for width in WIDTHS:
        looks.page.set_viewport_size({"width": width, "height": 800})
        for scheme in SCHEMES:
            looks.page.emulate_media(color_scheme=scheme)
            shot = SHOTS / f"{name}-{width}-{scheme}.png"
            looks.page.screenshot(path=shot, full_page=True)
    for details in looks.page.locator("main details").all():
        details.evaluate("(element) => { element.open = true; }")
    for width in WIDTHS:
        looks.page.set_viewport_size({"width": width, "height": 800})
        assert looks.overflow_px() <= 0
        for scheme in SCHEMES:
            looks.page.emulate_media(color_scheme=scheme)
            assert looks.axe() == [], (width, scheme)
    looks.page.set_viewport_size({"width": 640, "height": 800})
    looks.page.evaluate("() => { document.documentElement.style.fontSize = '200%'; }")
    assert looks.overflow_px() <= 0
    assert looks.foreign == []
    assert [c for c in looks.complaints if EXPECTED_COMPLAINT not in c] == []


@pytest.mark.parametrize("name", ["overview", "session-billed", "log", "verify"])
def test_a_page_works_without_script(
    looks_at: Look, sample_server: SampleServer, name: str
) -> None:
    looks = looks_at(java_script_enabled=False)
    looks.page.goto(f"{looks.base}/login")
    looks.page.locator("#name").fill("operator")
    looks.page.locator("#password").fill("sample password")
    looks.page.locator("main button").click()
    looks.go(path_of(sample_server, PAGES[name]))
    assert looks.page.locator("h1").count() == 1
    assert looks.page.locator("button.copy:visible").count() == 0
    assert "UTC" in looks.page.locator("main").inner_text() or name == "verify"


def test_states_are_words_and_icons_not_colours_alone(looks_at: Look) -> None:
    looks = looks_at()
    looks.go("/stations")
    states = looks.page.locator(".state")
    assert states.count() > 20
    for state in states.all():
        assert state.locator("svg").count() == 1
        assert state.inner_text().strip()


def test_the_first_view_is_small(looks_at: Look) -> None:
    looks = looks_at()
    looks.go("/")
    sizes: list[int] = looks.page.evaluate(
        "() => performance.getEntriesByType('resource').map((entry) => entry.encodedBodySize)"
    )
    page_size: int = looks.page.evaluate(
        "() => performance.getEntriesByType('navigation')[0].encodedBodySize"
    )
    assert 0 < sum(sizes) <= 60 * 1024
    assert page_size <= 60 * 1024


def test_a_bill_prints_as_a_receipt(looks_at: Look, sample_server: SampleServer) -> None:
    looks = looks_at(signed_in=True)
    looks.go(path_of(sample_server, "billed"))
    looks.page.emulate_media(media="print")
    assert looks.page.locator(".bill").is_visible()
    assert looks.page.locator("#proof-anchor").is_visible()
    for hidden in (".menu", "footer", "button.print", ".no-print >> nth=0"):
        assert not looks.page.locator(hidden).first.is_visible()
    SHOTS.mkdir(parents=True, exist_ok=True)
    looks.page.screenshot(path=SHOTS / "session-billed-print.png", full_page=True)
