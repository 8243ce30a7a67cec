"""What the console says on the demo, whose DEBUG is on."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from ..stand_ins.waiting import wait_for
from .conftest import Demo

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def listen(page: Page) -> list[str]:
    """Return the list that collects what the console says."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    return said


def wait_for_text(page: Page, said: list[str], text: str) -> str:
    def found() -> bool:
        page.wait_for_timeout(50)  # which lets Playwright tell what the console says
        return any(text in line for line in said)

    wait_for(found, f"“{text}” in {said}")
    return next(line for line in said if text in line)


def test_nothing_is_silent(demo: Demo, visit) -> None:
    page = visit(f"{demo.site}/chat/lobby/", "alice")
    said = listen(page)
    page.evaluate("""async () => {
        const { connect } = await import("djhookbox");
        window.hookbox = connect();
        await hookbox.publish("/chat/garden/", { text: "Is anybody here?" });
        hookbox.subscribe("/nothing/opens/this/");
    }""")
    wait_for_text(page, said, "A message to /chat/garden/ reached nobody")
    refused = wait_for_text(page, said, "/nothing/opens/this/: ")
    assert "/admin/djhookbox/channelpolicy/" in refused

    # A blocked connection: nothing listens at this address.
    page.evaluate("""() => {
        const config = document.getElementById("djhookbox-config");
        config.textContent = JSON.stringify({ ...JSON.parse(config.textContent), port: 9 });
    }""")
    page.evaluate("async () => (await import('djhookbox')).connect({ payload: 1 })")
    wait_for_text(page, said, "The site reaches the process, but this page cannot connect to")


def test_a_process_that_does_not_run(demo: Demo, visit) -> None:
    page = visit(f"{demo.site}/news/today/", "admin")
    said = listen(page)
    demo.manage("shell", "-c", "from djhookbox.process import control; control.stop()")
    line = wait_for_text(page, said, "The page cannot connect to")
    assert "runhookbox" in line
    assert "(Shown because DEBUG is on.)" in line
