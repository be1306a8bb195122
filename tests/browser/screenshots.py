"""Takes the pictures of the README from the sample network: `python -m tests.browser.screenshots`.

They are the same for the same pages and fonts, so a change of them is a change of the pages.
Needs Chromium; writes to `docs/images`.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import uvicorn
from playwright.async_api import Page, ViewportSize, async_playwright

from tests.browser.conftest import FLAGS, chromium_path
from tests.browser.sample_app import PASSWORD, Sample, make_sample

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SCHEMES: tuple[tuple[str, Literal["light", "dark"]], ...] = (("", "light"), ("-dark", "dark"))


@dataclass(frozen=True)
class Shot:
    """A picture: of which page, how high; `below` leaves out what stands above an element."""

    name: str
    path: str
    height: int
    width: int = 1280
    below: str | None = None


def shots(sample: Sample) -> list[Shot]:
    """The pictures."""
    billed = next(s for s in sample.network.sessions.values() if s.cdr and s.signed == 2)
    session = f"/session/{billed.row.session_id}"
    return [
        Shot("overview", "/", 960),
        Shot("session", session, 1180, below="#session-bill"),
    ]


async def take(page: Page, base: str, shot: Shot, suffix: str) -> None:
    """Take one picture."""
    size: ViewportSize = {"width": shot.width, "height": shot.height}
    await page.set_viewport_size(size)
    await page.goto(base + shot.path)
    await page.locator("footer").wait_for()
    await page.wait_for_timeout(300)
    top = 0.0
    if shot.below is not None:
        box = await page.locator(shot.below).bounding_box()
        assert box is not None
        top = box["y"] - 48
    await page.screenshot(
        path=IMAGES / f"{shot.name}{suffix}.png",
        full_page=True,
        clip={"x": 0, "y": top, "width": shot.width, "height": shot.height},
        animations="disabled",
    )


async def main() -> None:
    """Serve the sample and take every picture, light and dark."""
    sample = await make_sample()
    server = uvicorn.Server(
        uvicorn.Config(sample.pages.app, port=0, lifespan="off", log_level="warning")
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.05)
    base = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    IMAGES.mkdir(parents=True, exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path(), args=[*FLAGS, "--no-sandbox"]
        )
        for suffix, scheme in SCHEMES:
            page = await browser.new_page(
                color_scheme=scheme, locale="en-GB", timezone_id="Europe/Amsterdam"
            )
            await page.goto(f"{base}/login")
            await page.locator("#name").fill("operator")
            await page.locator("#password").fill(PASSWORD)
            await page.locator("main button").click()
            await page.locator("details.account").wait_for()
            for shot in shots(sample):
                await take(page, base, shot, suffix)
        await browser.close()
    sample.pages.close()
    server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(main())
