"""What script adds: live parts, local times, copying, calm announcements, closing menus."""

import re
from collections.abc import Callable

from playwright.sync_api import expect

from chargera.app.ports import LiveEvent
from tests.browser.conftest import Looks, SampleServer

Look = Callable[..., Looks]


def stir(server: SampleServer, topic: str = "session") -> None:
    """Let something happen in the network."""
    server.loop.call_soon_threadsafe(server.sample.feed.publish, LiveEvent(topic, ""))


def test_times_are_local_with_utc_beside_them(looks_at: Look) -> None:
    looks = looks_at()
    looks.go("/log/entry/17")
    shown = looks.page.locator("#fact-received_at time")
    expect(shown).to_have_text(re.compile(r"^24 Nov 2026, 0\d:\d\d:\d\d$"))
    assert shown.get_attribute("title") == "24 Nov 2026, 07:27:10 UTC"
    assert shown.inner_text().endswith("08:27:10")


def test_a_live_page_shows_what_happened_without_being_loaded_again(
    looks_at: Look, sample_server: SampleServer
) -> None:
    looks = looks_at()
    looks.go("/")
    heading = looks.page.locator("h1")
    expect(heading).to_contain_text("189.2")
    looks.page.locator("#overview-hero summary").click()
    sample = sample_server.sample
    found = next(s for s in sample.network.sessions.values() if s.live and s.live.power_w)
    before = found.live
    try:
        found.live = type(before)(500_000, True, before.cost_so_far)
        stir(sample_server)
        expect(heading).not_to_contain_text("189.2")
        # What the reader had opened stays open, and times stay local.
        assert looks.page.locator("#overview-hero details").evaluate("(e) => e.open")
        expect(looks.page.locator("#overview-sessions time").first).not_to_contain_text("UTC")
    finally:
        found.live = before
    stir(sample_server)
    expect(heading).to_contain_text("189.2")
    assert looks.complaints == []


def test_announcements_are_calm(looks_at: Look, sample_server: SampleServer) -> None:
    looks = looks_at()
    looks.go("/")
    looks.page.evaluate(
        """() => {
            window.said = [];
            const speaker = document.getElementById("announcer");
            const note = () => window.said.push(speaker.textContent);
            new MutationObserver(note).observe(speaker, { childList: true });
        }"""
    )
    sample = sample_server.sample
    found = next(s for s in sample.network.sessions.values() if s.live and s.live.power_w)
    before = found.live
    try:
        for count in range(8):
            found.live = type(before)(400_000 + count * 1000, True, before.cost_so_far)
            stir(sample_server)
            looks.page.wait_for_timeout(600)
    finally:
        found.live = before
    assert len(looks.page.evaluate("() => window.said")) <= 1
    announcer = looks.page.locator("#announcer")
    assert announcer.get_attribute("aria-live") == "polite"


def test_a_fact_is_copied_and_said_so(looks_at: Look) -> None:
    looks = looks_at(permissions=["clipboard-read", "clipboard-write"])
    looks.go("/log/entry/17")
    looks.page.get_by_role("button", name="Copy Leaf hash").click()
    copied = looks.page.evaluate("() => navigator.clipboard.readText()")
    assert copied == looks.page.locator("#fact-leaf_hash code").inner_text()
    expect(looks.page.locator("#announcer")).to_have_text("Copied Leaf hash")


def test_without_a_clipboard_copying_falls_back(looks_at: Look) -> None:
    looks = looks_at(permissions=["clipboard-read", "clipboard-write"])
    looks.page.add_init_script(
        "navigator.clipboard.writeText = () => Promise.reject(new Error('not here'));"
    )
    looks.go("/log/entry/17")
    looks.page.get_by_role("button", name="Copy Commitment").click()
    expect(looks.page.locator("#announcer")).to_have_text("Copied Commitment")
    copied = looks.page.evaluate("() => navigator.clipboard.readText()")
    assert re.fullmatch("[0-9a-f]{64}", copied)


def test_the_account_menu_closes_with_escape_and_gives_focus_back(looks_at: Look) -> None:
    looks = looks_at()
    looks.sign_in()
    summary = looks.page.locator("details.account summary")
    summary.focus()
    looks.page.keyboard.press("Enter")
    expect(looks.page.get_by_role("button", name="Sign out")).to_be_visible()
    looks.page.keyboard.press("Tab")
    looks.page.keyboard.press("Escape")
    expect(looks.page.get_by_role("button", name="Sign out")).to_be_hidden()
    expect(summary).to_be_focused()


def test_the_first_tab_stop_skips_to_the_content(looks_at: Look) -> None:
    looks = looks_at()
    looks.go("/log")
    looks.page.keyboard.press("Tab")
    skip = looks.page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    looks.page.keyboard.press("Enter")
    expect(looks.page.locator("main")).to_be_focused()


def test_the_choice_of_dark_holds_on_every_page(looks_at: Look) -> None:
    looks = looks_at(scheme="light")
    looks.go("/tariffs")
    paper = "() => getComputedStyle(document.body).backgroundColor"
    light = looks.page.evaluate(paper)
    looks.page.get_by_role("button", name="Dark").click()
    expect(looks.page.get_by_role("button", name="Dark")).to_have_attribute("aria-pressed", "true")
    assert looks.page.evaluate(paper) != light
    assert "/tariffs" in looks.page.url
    looks.go("/log")
    assert looks.page.evaluate(paper) != light


def test_a_receipt_is_checked_from_a_file(looks_at: Look, sample_server: SampleServer) -> None:
    looks = looks_at()
    network = sample_server.sample.network
    billed = next(s for s in network.sessions.values() if s.row.state == "billed")
    receipt = network.receipt(billed)
    looks.go("/verify")
    looks.page.get_by_label("Receipt file").set_input_files(
        {"name": "receipt.json", "mimeType": "application/json", "buffer": receipt}
    )
    looks.page.get_by_role("button", name="Check").click()
    expect(looks.page.get_by_text("This receipt holds")).to_be_visible()
    assert looks.page.locator("#step-anchor .is-good").is_visible()
    assert looks.axe() == []
    looks.page.get_by_label("Or its text").fill(receipt.decode().replace("kWh", "Wh", 1) + " ")
    looks.page.get_by_role("button", name="Check").click()
    expect(looks.page.locator(".stop.is-failed").first).to_be_visible()
    assert looks.axe() == []
