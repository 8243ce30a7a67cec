"""Clients of the resume benchmark in headless Chromium: `python -m bench.resume.pages URL COUNT`.

Uses the same commands and answers as `clients.mjs`.
"""

from __future__ import annotations

import json
import shutil
import sys

from playwright.sync_api import sync_playwright


def main(address: str, count: int) -> None:
    """Open this many pages, each in its own browser context, and report on request."""
    executable = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        pages = [browser.new_context().new_page() for _ in range(count)]
        for page in pages:
            page.goto(address)
        for page in pages:
            page.wait_for_function("window.ready", timeout=60_000)
        print("ready", flush=True)
        for _line in sys.stdin:
            print(json.dumps([page.evaluate("record") for page in pages]), flush=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
