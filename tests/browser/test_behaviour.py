"""What script adds: live parts, local times, copying, calm announcements, closing menus."""

import re
from collections.abc import Callable

from playwright.sync_api import expect

from chargera.app.ports import LiveEvent
from chargera.ledger.abi import interface
from tests.browser.conftest import Looks, SampleServer
from tests.browser.sample_chain import BORN, CHAIN_ID, CONTRACTS, EURO, INVESTOR, SETTLED

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


# The chain --------------------------------------------------------------------------------------

WALLET = """
    window.asked = [];
    window.ethereum = {
        request: async ({ method, params }) => {
            window.asked.push({ method, params });
            if (method === "eth_requestAccounts") return ["0x" + "7".repeat(40)];
            if (method === "wallet_switchEthereumChain" && !window.known) {
                throw Object.assign(new Error("unknown chain"), { code: 4902 });
            }
            if (method === "eth_sendTransaction") {
                if (window.refuses) throw new Error("the person said no");
                return "0x" + "5".repeat(64);
            }
            return null;
        },
    };
"""
"""A wallet as browsers have them (EIP-1193), which remembers what it was asked."""


def test_without_a_wallet_the_page_says_what_to_do(looks_at: Look) -> None:
    looks = looks_at()
    looks.go(f"/holder/{INVESTOR}")
    looks.page.get_by_role("button", name="Claim by wallet").click()
    expect(looks.page.locator("#wallet-said")).to_contain_text("This browser has no wallet")
    assert looks.axe() == []
    assert looks.complaints == []


def test_a_wallet_is_asked_for_the_call_that_the_server_wrote(looks_at: Look) -> None:
    looks = looks_at()
    looks.page.add_init_script(WALLET)
    looks.go(f"/holder/{INVESTOR}")
    button = looks.page.get_by_role("button", name="Claim by wallet")
    button.focus()
    looks.page.keyboard.press("Enter")
    expect(looks.page.locator("#wallet-said")).to_contain_text("0x" + "5" * 64)
    asked = looks.page.evaluate("() => window.asked")
    methods = [each["method"] for each in asked]
    assert methods == [
        "eth_requestAccounts",
        "wallet_switchEthereumChain",
        "wallet_addEthereumChain",
        "eth_sendTransaction",
    ]
    assert asked[2]["params"][0]["chainId"] == hex(CHAIN_ID)
    assert asked[2]["params"][0]["rpcUrls"] == [f"{looks.base}/rpc"]
    token_id, shares = int(BORN[0].passport_id, 16), CONTRACTS["ChargerShares"]
    claim = interface("ChargerShares").function("claim").encode([token_id, EURO, INVESTOR])
    sent = asked[3]["params"][0]
    assert sent == {"from": f"0x{'7' * 40}", "to": shares, "data": f"0x{claim.hex()}"}
    assert looks.axe() == []


def test_what_the_wallet_refuses_is_said(looks_at: Look) -> None:
    looks = looks_at()
    looks.page.add_init_script(WALLET + "window.known = window.refuses = true;")
    looks.go(f"/holder/{INVESTOR}")
    looks.page.get_by_role("button", name="Claim by wallet").click()
    expect(looks.page.locator("#wallet-said")).to_contain_text("the person said no")
    expect(looks.page.get_by_role("button", name="Claim by wallet")).to_be_enabled()


def test_any_identifier_is_found_from_any_page_by_keyboard(looks_at: Look) -> None:
    looks = looks_at()
    looks.page.set_viewport_size({"width": 320, "height": 800})
    looks.go("/tariffs")
    looks.page.get_by_role("searchbox", name="Search for an identifier").focus()
    looks.page.keyboard.type(BORN[0].passport_id)
    looks.page.keyboard.press("Enter")
    expect(looks.page.locator("h1")).to_have_text("Amstel-01")
    looks.page.wait_for_load_state()
    assert looks.page.url.endswith(f"/passport/{BORN[0].passport_id}")
    assert looks.overflow_px() <= 0


def test_the_address_of_a_leaf_shows_it(looks_at: Look) -> None:
    looks = looks_at()
    looks.go(f"/settlement/{SETTLED.digest}#leaf-2")
    leaf = looks.page.locator("#leaf-2")
    expect(leaf).to_be_in_viewport()
    expect(leaf.get_by_text("wallet: from the payer")).to_be_visible()
