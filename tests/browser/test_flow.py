"""The whole way by keyboard, over the demo: sign in, watch a session, follow and verify it."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import AXE, SHOTS, Looks, open_looks

COMMAND = str(Path(sys.executable).with_name("chargera"))
UP_TIMEOUT_S = 90
SESSION_TIMEOUT_MS = 120_000
TABS_MAX = 150


@dataclass
class Demo:
    """A running demonstration and what it said so far."""

    process: "subprocess.Popen[str]"
    folder: Path
    said: list[str]

    def wait_for(self, pattern: str) -> str:
        """Return the first group of what it says."""
        deadline_s = time.monotonic() + UP_TIMEOUT_S
        while time.monotonic() < deadline_s:
            found = re.search(pattern, "".join(self.said))
            if found:
                return found[1]
            assert self.process.poll() is None, "".join(self.said)
            time.sleep(0.1)
        raise AssertionError(f"the demo did not say {pattern!r}: {''.join(self.said)}")


@pytest.fixture
def demo() -> Iterator[Demo]:
    """The network of `make demo`, on ports of its own."""
    with tempfile.TemporaryDirectory(prefix="c-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [COMMAND, "demo", "--data-dir", f"{folder}/d"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("CHARGERA_")},
        )
        said: list[str] = []
        assert process.stdout is not None
        reader = threading.Thread(target=said.extend, args=(process.stdout,))
        reader.start()
        try:
            yield Demo(process, Path(folder), said)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, "".join(said)[-3000:]
        finally:
            process.kill()
            process.wait()
            reader.join()
            process.stdout.close()


class Keyboard:
    """A person without a mouse."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def tab_to(self, target: Locator) -> None:
        """Press Tab until the target has the focus; it must be seen there."""
        target.first.wait_for()
        for _ in range(TABS_MAX):
            if target.first.evaluate("(element) => element === document.activeElement"):
                expect(target.first).to_be_in_viewport()
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not lead to {target}")

    def use(self, target: Locator) -> None:
        """Go to a link or button and press it."""
        self.tab_to(target)
        self.page.keyboard.press("Enter")


@pytest.mark.timeout(400)
def test_from_the_login_to_a_verified_receipt_by_keyboard(
    demo: Demo, browser: Browser, tmp_path: Path
) -> None:
    base = demo.wait_for(r"(http://127\.0\.0\.1:\d+)")
    password = demo.wait_for(r"with the password (\S+)")
    context = browser.new_context(
        locale="en-GB", timezone_id="Europe/Amsterdam", viewport={"width": 1280, "height": 800}
    )
    context.add_init_script(path=AXE)
    looks = open_looks(context, base)
    page, keys = looks.page, Keyboard(looks.page)
    looks.go("/")

    keys.use(page.get_by_role("link", name="Sign in"))
    page.locator("#name").wait_for()
    keys.tab_to(page.locator("#name"))
    page.keyboard.type("operator")
    keys.tab_to(page.locator("#password"))
    page.keyboard.type(password)
    page.keyboard.press("Enter")
    expect(page.locator("details.account")).to_be_visible()

    session_path = demo.wait_for(r"plugs in at \S+ \(OCPP \S+\): http://[^/]+(/session/[\w-]+)")
    watch_session(looks, keys, session_path)
    receipt = follow_proof(looks, keys, tmp_path)
    verify_everywhere(looks, keys, demo, receipt, tmp_path)
    assert looks.foreign == []
    assert looks.complaints == []
    context.close()


def watch_session(looks: Looks, keys: Keyboard, path: str) -> None:
    """Find the session from the first page and see it run, end and be anchored, live."""
    page = looks.page
    keys.tab_to(page.get_by_role("searchbox", name="Search for an identifier"))
    page.keyboard.type(path.rpartition("/")[2])
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{path}")
    energy = page.locator("#session-now .figures dd").first
    first = energy.inner_text()
    expect(energy).not_to_have_text(first, timeout=SESSION_TIMEOUT_MS)
    expect(page.locator("#session-now .title .state")).to_have_text(
        "Billed", timeout=SESSION_TIMEOUT_MS
    )
    anchored = page.locator("#proof-anchor .state.is-good")
    expect(anchored).to_be_visible(timeout=SESSION_TIMEOUT_MS)
    expect(page.locator("#session-bill h2")).to_have_text("Bill")
    assert looks.axe() == []
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / "flow-session.png", full_page=True)


def follow_proof(looks: Looks, keys: Keyboard, folder: Path) -> Path:
    """Download the receipt, open every stop of the proof, and go to its entry in the log."""
    page = looks.page
    link = page.get_by_role("link", name="Receipt", exact=True)
    keys.tab_to(link)
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    receipt = folder / "receipt.json"
    download.value.save_as(receipt)
    for stop in (
        "meter",
        "signed_value",
        "readings",
        "bill",
        "entry",
        "tree",
        "checkpoint",
        "anchor",
    ):
        summary = page.locator(f"#proof-{stop} summary")
        keys.use(summary)
        expect(page.locator(f"#proof-{stop} .facts").first).to_be_visible()
    assert looks.axe() == []
    leaf_hash = page.locator("#proof-tree-leaf_hash code").inner_text()
    keys.use(page.locator("#proof-entry-log_index a"))
    expect(page.locator("#fact-leaf_hash code")).to_have_text(leaf_hash)
    return receipt


def verify_everywhere(
    looks: Looks, keys: Keyboard, demo: Demo, receipt: Path, folder: Path
) -> None:
    """Check the receipt on the page and, with the trust file, without any server."""
    page = looks.page
    keys.use(page.get_by_role("navigation").get_by_role("link", name="Verify"))
    keys.tab_to(page.get_by_label("Or its text"))
    page.keyboard.insert_text(receipt.read_text())
    keys.use(page.get_by_role("button", name="Check"))
    expect(page.get_by_text("This receipt holds")).to_be_visible()
    trust = folder / "deployment.json"
    trust.write_text(page.request.get(f"{looks.base}/deployment.json").text())
    offline = subprocess.run(
        [COMMAND, "verify", str(receipt), "--trust", str(trust)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert offline.returncode == 0, offline.stdout + offline.stderr
