"""Tabs of one browser that share a connection: `python -m bench.resume.tabs URL COUNT SEED`.

Prints `ready` when all are subscribed. Then it answers lines: on `blow`, it freezes, closes,
reloads or leaves one of the tabs and prints `done`; on `ended`, it prints the records of
pages that no longer exist; on anything else, those of the tabs. A record begins with the last
number before it.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright


class Tabs:
    """The tabs, and the actions on them."""

    def __init__(self, browser: Browser, address: str, count: int, seed: int) -> None:
        self._context: BrowserContext = browser.new_context()
        self._address = address
        self._chance = random.Random(seed)
        self.ended: list[Any] = []
        self._pages = [self._open(self._context.new_page()) for _ in range(count)]

    def records(self) -> list[Any]:
        """Return what each tab has received so far."""
        return [page.evaluate("record") for page in self._pages]

    def blow(self) -> None:
        """Do something to one of the tabs that a browser or a user might do."""
        index = self._chance.randrange(len(self._pages))
        page = self._pages[index]
        what = self._chance.choice([self._freeze, self._close, self._reload, self._leave])
        self._pages[index] = what(page)

    def _open(self, page: Page) -> Page:
        page.goto(self._address)
        page.wait_for_function("window.ready", timeout=60_000)
        return page

    def _freeze(self, page: Page) -> Page:
        tools = self._context.new_cdp_session(page)
        tools.send("Page.setWebLifecycleState", {"state": "frozen"})
        self._others(page).wait_for_timeout(self._chance.uniform(100, 4000))
        tools.send("Page.setWebLifecycleState", {"state": "active"})
        return page

    def _close(self, page: Page) -> Page:
        self._end(page)
        page.close()
        return self._open(self._context.new_page())

    def _reload(self, page: Page) -> Page:
        self._end(page)
        page.reload()
        page.wait_for_function("window.ready", timeout=60_000)
        return page

    def _leave(self, page: Page) -> Page:
        self._end(page)
        page.goto("about:blank")
        page.wait_for_timeout(self._chance.uniform(0, 1000))
        return self._open(page)

    def _end(self, page: Page) -> None:
        self.ended.append(page.evaluate("record"))

    def _others(self, page: Page) -> Page:
        return next(other for other in self._pages if other is not page)


def main(address: str, count: int, seed: int) -> None:
    """Open the tabs, and execute commands."""
    executable = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        tabs = Tabs(browser, address, count, seed)
        print("ready", flush=True)
        for line in sys.stdin:
            command = line.strip()
            if command == "blow":
                tabs.blow()
                print("done", flush=True)
            else:
                records = tabs.ended if command == "ended" else tabs.records()
                print(json.dumps(records), flush=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
