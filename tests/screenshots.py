"""Take the screenshots of the README from the demo: `python -m tests.screenshots`.

Runs the demo in a separate folder, lets users chat, and writes `docs/screenshots/*.png`.
Requires Chromium.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from .browser.conftest import ROOT, Demo
from .stand_ins.waiting import PATIENCE

FOLDER = ROOT / "docs" / "screenshots"
#: Bytes; more is too much for a page that people only want to read.
LARGEST = 150_000

TALK = (
    ("alice", "Has anybody tried the new release?"),
    ("bob", "It runs since Monday, no complaints."),
    ("alice", "Then I will update ours tonight."),
    ("bob", "Tell me how it went!"),
)


class Photographer:
    """Opens pages as several users and takes screenshots."""

    def __init__(self, browser: Browser, demo: Demo) -> None:
        self._browser = browser
        self._demo = demo
        self._cookies: dict[str, Any] = {}

    def open(self, path: str, user: str, *, width: int = 1440, scheme: Any = "light") -> Page:
        """Open a page of the demo as one of its users."""
        context = self._browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        site = self._demo.site
        if user in self._cookies:
            context.add_cookies(self._cookies[user])
        else:
            page.goto(f"{site}/login/")
            page.get_by_label("Name").fill(user)
            page.get_by_label("Password").fill(user)
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(f"{site}/chat/**")
            self._cookies[user] = context.cookies()
        page.goto(f"{site}{path}")
        return page

    def take(self, page: Page, name: str, height: int) -> None:
        """Take a screenshot of the upper part of a page."""
        page.set_viewport_size({"width": page.viewport_size["width"], "height": height})  # type: ignore[index]
        page.evaluate("document.activeElement?.blur(); scrollTo(0, 0)")
        page.screenshot(path=str(FOLDER / f"{name}.png"))
        page.context.close()
        size = (FOLDER / f"{name}.png").stat().st_size
        print(f"{name}.png: {size // 1000} kB")
        assert size <= LARGEST, f"{name}.png is larger than {LARGEST} bytes"


def chat(camera: Photographer) -> list[Page]:
    """Let two users chat, and return their pages."""
    pages = {name: camera.open("/chat/lobby/", name, width=900) for name in ("alice", "bob")}
    for page in pages.values():
        expect(page.locator("#status")).to_have_text("Connected")
    for name, text in TALK:
        pages[name].get_by_role("textbox").last.fill(text)
        pages[name].keyboard.press("Enter")
        for page in pages.values():
            expect(page.get_by_text(text)).to_be_visible()
    # What no policy opens: the log has a refusal to show.
    pages["bob"].evaluate(
        "import('djhookbox').then(({connect}) => connect().subscribe('/plans/secret/'))"
    )
    return list(pages.values())


def admin(camera: Photographer) -> None:
    """Take screenshots of the admin."""
    ours = "/admin/djhookbox/"
    for scheme, name in (("light", "server"), ("dark", "server-dark")):
        page = camera.open(f"{ours}server/", "admin", scheme=scheme)
        expect(page.locator("#hookbox-announcement")).to_contain_text("Live.")
        camera.take(page, name, 820)
    camera.take(camera.open(f"{ours}channelpolicy/", "admin"), "policies", 620)
    page = camera.open(f"{ours}channelpolicy/", "admin")
    page.locator("#result_list").get_by_role("link", name="Chat", exact=True).click()
    page.wait_for_selector("#hookbox-examples code")
    camera.take(page, "policy", 1360)
    query = "user=bob&channel=/tasks/&operation=publish"
    camera.take(camera.open(f"{ours}channelpolicy/try/?{query}", "admin"), "try", 960)
    camera.take(camera.open(f"{ours}subscriptionlog/?q=bob", "admin", width=1600), "logs", 620)
    camera.take(camera.open(f"{ours}publication/", "admin", width=1600), "publications", 620)
    page = camera.open(f"{ours}publishing/?channel=/chat/lobby/", "admin")
    page.locator("[name=payload]").fill('{"text": "Dinner is ready."}')
    expect(page.locator(".hookbox-json-status")).to_contain_text("This is JSON")
    camera.take(page, "publish", 720)


def main() -> int:
    """Take all screenshots; return the exit status."""
    executable = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    expect.set_options(timeout=PATIENCE * 1000)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        demo = Demo(Path(folder) / "data")
        start: Callable[..., Browser] = playwright.chromium.launch
        browser = start(executable_path=executable, args=["--no-sandbox"])
        try:
            demo.start()
            demo.wait_until_it_runs()
            camera = Photographer(browser, demo)
            pages = chat(camera)
            admin(camera)
            camera.take(pages[0], "chat", 560)
        finally:
            browser.close()
            demo.clean_up()
    return 0


if __name__ == "__main__":
    sys.exit(main())
