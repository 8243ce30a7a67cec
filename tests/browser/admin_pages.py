"""Run the site of `tests.admin_site`, and browsers that open it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from .. import forks
from ..ports import free_port
from ..projects import answers
from ..stand_ins.waiting import PATIENCE, wait_for

#: Looks change at once, so that none is measured on its way to another.
STILL = """{
  const still = new CSSStyleSheet();
  still.replaceSync("* { transition: none !important }");
  document.adoptedStyleSheets.push(still);
}"""


class AdminSite:
    """The running site; `pages` are the addresses of its pages by name."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        folder.mkdir(parents=True)
        port = free_port()
        self.origin = f"http://127.0.0.1:{port}"
        self._log = folder / "log"
        self._process = forks.shared().start(
            ["-m", "tests.admin_site", str(port), *arguments], self._log,
            environment={**os.environ, "ADMIN_SITE_FOLDER": str(folder)},
        )  # fmt: skip
        try:
            wait_for(self._runs, "the site to run", 90)
        except BaseException:
            self.stop()
            raise
        self.pages: dict[str, str] = json.loads((folder / "pages.json").read_text())
        self._cookies: list[Any] = []
        #: While axe looks at a page, it tries styles of its own, which the policy rightly blocks.
        self.examined = False
        #: The markup around pages that axe has looked at.
        self.frames: set[str] = set()

    def _runs(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        return answers(f"{self.origin}/admin/login/")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    @contextmanager
    def looked_at(
        self, browser: Browser, *, mood: str = "running", width: int = 1200, **how: Any
    ) -> Iterator[Page]:
        """Sign in as a superuser; fail where a page breaks a policy or fails itself."""
        context = browser.new_context(viewport={"width": width, "height": 800}, **how)
        problems: list[str] = []
        try:
            page = context.new_page()
            page.set_default_timeout(PATIENCE * 1000)
            page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
            page.on(
                "console",
                lambda message: (
                    problems.append(f"{page.url}: {message.text}")
                    if ("Content Security Policy" in message.text and not self.examined)
                    or "status of 5" in message.text
                    else None
                ),
            )
            if self._cookies:
                context.add_cookies(self._cookies)
            else:
                page.goto(f"{self.origin}/admin/login/?next=/admin/djhookbox/")
                page.locator("#id_username").fill("root")
                page.locator("#id_password").fill("root")
                page.locator("[type=submit]").click()
                page.wait_for_url(f"{self.origin}/admin/djhookbox/")
                self._cookies = [cookie for cookie in context.cookies() if cookie["name"] != "mood"]
            context.add_cookies([{"name": "mood", "value": mood, "url": self.origin}])
            yield page
        finally:
            context.close()
        assert problems == [], problems

    def open(self, page: Page, name: str) -> None:
        answer = page.goto(self.origin + self.pages[name])
        assert answer is not None
        assert answer.status == 200, (name, answer.status)


def delete_several(site: AdminSite, page: Page, name: str) -> None:
    """Go to Django's question before several rows are deleted."""
    site.open(page, name)
    page.locator("#action-toggle").check()
    page.locator("select[name=action]").select_option("delete_selected")
    page.locator("button[name=index]").click()
    page.wait_for_selector("input[name=post]", state="attached")


def mistaken(site: AdminSite, page: Page, name: str, field: str, wrong: str) -> None:
    """Send a form with a mistake."""
    site.open(page, name)
    page.locator(field).fill(wrong)
    page.locator("#content-main form button[type=submit], [name=_save]").first.click()
    page.wait_for_selector(".errorlist, .errornote")


def publish_question(site: AdminSite, page: Page) -> None:
    site.open(page, "publish: channels")
    page.locator("[name=payload]").fill('{"text": "hello"}')
    page.locator(".hookbox-buttons button.default").click()
    page.wait_for_selector("[name=confirmed]", state="attached")


def import_plan(site: AdminSite, page: Page) -> None:
    site.open(page, "import")
    changed = {"name": "News", "pattern": "/news/<slug:topic>/", "history_size": 7}
    new = {"name": "New", "pattern": "/new/"}
    file = [{"model": "djhookbox.channelpolicy", "fields": fields} for fields in (changed, new)]
    page.locator("[name=text]").fill(json.dumps(file))
    page.locator(".hookbox-buttons button.default").click()
    page.wait_for_selector("[name=seen]", state="attached")


#: What is reached only by pressing something.
STEPS = {
    "policies: delete several": lambda site, page: delete_several(site, page, "policies"),
    "publications: delete several": lambda site, page: delete_several(site, page, "publications"),
    "policy: mistaken": lambda site, page: mistaken(site, page, "policy: add", "#id_name", ""),
    "publish: mistaken": lambda site, page: mistaken(
        site, page, "publish: channel", "[name=payload]", "{"
    ),
    "publish again: mistaken": lambda site, page: mistaken(
        site, page, "publish again", "[name=payload]", "{"
    ),
    "import: mistaken": lambda site, page: mistaken(site, page, "import", "[name=text]", "{"),
    "publish: question": publish_question,
    "import: plan": import_plan,
}
