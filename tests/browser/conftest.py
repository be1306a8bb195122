"""Chromium over the pages: the sample network for looks, the demo for the way through.

Needs Chromium (`CHARGERA_CHROMIUM` names it if it is not on the path) and axe-core, which
`npm ci --prefix tests/tools/node` installs; a missing one is an error that names it.
"""

import asyncio
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Route,
    sync_playwright,
)

from tests.browser.sample_app import PASSWORD, Sample, make_sample

AXE = Path(__file__).parents[1] / "tools" / "node" / "node_modules" / "axe-core" / "axe.min.js"
SHOTS = Path(__file__).parents[2] / "build" / "screenshots"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
)
WAIT_MS = 10_000


@dataclass
class Looks:
    """What one page did while it was looked at."""

    page: Page
    base: str
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        """Open a page and wait until it stands."""
        self.page.goto(self.base + path)
        self.page.locator("footer").wait_for()

    def sign_in(self, name: str = "operator", password: str = PASSWORD) -> None:
        """Sign in with the mouse."""
        self.go("/login")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.locator("details.account").wait_for()
        self.page.wait_for_load_state()  # now the page's script listens

    def axe(self) -> list[str]:
        """Return what axe-core finds, one line a finding."""
        found: dict[str, Any] = self.page.evaluate("() => axe.run()")
        return [
            f"{rule['id']}: {rule['help']}: {node['target']}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]

    def overflow_px(self) -> int:
        """Return by how much the page is wider than its window."""
        wide: int = self.page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wide


def chromium_path() -> str:
    """Return where Chromium is."""
    named = os.environ.get("CHARGERA_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    assert found, "Chromium is missing: install it, or name it in CHARGERA_CHROMIUM"
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One browser for all."""
    assert AXE.is_file(), "axe-core is missing: npm ci --prefix tests/tools/node"
    # As root Chromium has no sandbox of its own; it sees nothing but our own pages.
    flags = [*FLAGS, "--no-sandbox"] if os.geteuid() == 0 else list(FLAGS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=chromium_path(), args=flags)
        yield chromium
        chromium.close()


@dataclass
class SampleServer:
    """The sample app on a port of this machine, in a thread of its own."""

    url: str
    sample: Sample
    loop: asyncio.AbstractEventLoop


@pytest.fixture(scope="session")
def sample_server() -> Iterator[SampleServer]:
    """Serve the sample network."""
    listener = socket.create_server(("127.0.0.1", 0))
    up = threading.Event()
    made: list[SampleServer] = []
    servers: list[uvicorn.Server] = []

    async def serve() -> None:
        sample = await make_sample()
        config = uvicorn.Config(sample.pages.app, lifespan="off", log_level="warning")
        servers.append(uvicorn.Server(config))
        port = listener.getsockname()[1]
        made.append(SampleServer(f"http://127.0.0.1:{port}", sample, asyncio.get_running_loop()))
        up.set()
        await servers[0].serve(sockets=[listener])

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert up.wait(30)
    wait_for_port(made[0].url)
    yield made[0]
    made[0].loop.call_soon_threadsafe(made[0].sample.pages.close)
    servers[0].should_exit = True
    thread.join(15)
    assert not thread.is_alive(), "open live streams keep the server from stopping"


def wait_for_port(url: str) -> None:
    """Return once somebody answers there."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    deadline_s = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((host, port), 1).close()
        except OSError:
            assert time.monotonic() < deadline_s, f"nobody answers at {url}"
            time.sleep(0.05)
        else:
            return


def open_looks(context: BrowserContext, base: str) -> Looks:
    """Open a page that reaches no other host and remembers every complaint."""
    page = context.new_page()
    looks = Looks(page, base)
    host = urlsplit(base).netloc

    def gate(route: Route, request: Request) -> None:
        if urlsplit(request.url).netloc == host:
            route.continue_()
        else:
            looks.foreign.append(request.url)
            route.abort()

    def complain(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            looks.complaints.append(message.text)

    page.route("**/*", gate)
    page.on("console", complain)
    page.on("pageerror", lambda error: looks.complaints.append(str(error)))
    page.set_default_timeout(WAIT_MS)
    return looks


@pytest.fixture(scope="session")
def signed_in_state(browser: Browser, sample_server: SampleServer) -> Any:
    """The cookies of an operator, for all who need not sign in themselves."""
    context = browser.new_context()
    open_looks(context, sample_server.url).sign_in()
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def looks_at(
    browser: Browser, sample_server: SampleServer, signed_in_state: Any
) -> Iterator[Callable[..., Looks]]:
    """Return a function that opens a page over the sample, as an operator or a visitor."""
    contexts: list[BrowserContext] = []

    def look(*, signed_in: bool = False, scheme: str = "light", **options: Any) -> Looks:
        context = browser.new_context(
            viewport={"width": 1280, "height": 800},
            color_scheme=scheme,
            locale="en-GB",
            timezone_id="Europe/Amsterdam",
            storage_state=signed_in_state if signed_in else None,
            **options,
        )
        context.add_init_script(path=AXE)
        contexts.append(context)
        return open_looks(context, sample_server.url)

    yield look
    for context in contexts:
        context.close()
