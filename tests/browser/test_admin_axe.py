"""Every page of the admin is accessible, obeys its CSP, and is not wider than the window."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from ..admin.catalogue import EMPTY, PAGES
from ..needs import need
from .admin_pages import STEPS, STILL, AdminSite
from .conftest import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.slow]

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
MOODS = ("stopped", "starting", "unreachable", "secret", "version", "genuine", "other")

#: Findings in what Django itself writes, by rule, and how to tell them apart. Its search field has
#: a picture for a label, with a text for it; axe takes the help text below it for the only label.
DJANGO: dict[str, tuple[str, ...]] = {"label-title-only": ('id="searchbar"',)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminSite]:
    site = AdminSite(tmp_path_factory.mktemp("admin") / "site")
    yield site
    site.stop()


@pytest.fixture(scope="module")
def empty_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminSite]:
    site = AdminSite(tmp_path_factory.mktemp("admin") / "empty", "empty")
    yield site
    site.stop()


@contextmanager
def examined(site: AdminSite, browser: Browser, **how: Any) -> Iterator[Page]:
    """Look at the site with axe on each page."""
    need(AXE.exists(), "axe-core is not installed: run “npm ci”")
    with site.looked_at(browser, **how) as page:
        page.add_init_script(path=AXE)
        yield page


#: axe's rules about colours; the others do not depend on the scheme.
COLOURS = ["color-contrast", "link-in-text-block"]

#: Keep three rows of each kind in tables: rows of the same elements and classes look alike. Return
#: the parts that Django puts around each page, and whether the colours are dark.
PREPARE = """(parts) => {
  for (const body of document.querySelectorAll("tbody")) {
    const kept = {};
    for (const row of [...body.rows]) {
      const parts = [row, ...row.querySelectorAll("*")];
      const kind = parts.map((part) => `${part.tagName}.${part.getAttribute("class")}`).join();
      kept[kind] = (kept[kind] ?? 0) + 1;
      if (kept[kind] > 3) row.remove();
    }
  }
  const frame = parts.flatMap((part) => [...document.querySelectorAll(part)]);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  return [frame.map((element) => element.outerHTML).join(), dark];
}"""

#: What Django puts around each page.
FRAME = ["#header", "#nav-sidebar"]


def findings(site: AdminSite, page: Page) -> list[str]:
    """Return what axe finds on a page in light and dark colours, as sentences.

    It looks at a header and a menu only if they are not those of a page that it has looked at. The
    page keeps the colours that were tried last, in which the next one begins.
    """
    found = []
    site.examined = True
    page.evaluate(STILL)
    frame, dark = page.evaluate(PREPARE, FRAME)
    markup = re.sub(r'value="\w{64}"', "", frame)  # the token against forged requests
    context = {"exclude": [[part] for part in FRAME]} if markup in site.frames else None
    site.frames.add(markup)
    here, there = ("dark", "light") if dark else ("light", "dark")
    for scheme, rules in ((here, None), (there, COLOURS)):
        if scheme == there:
            page.emulate_media(color_scheme=scheme)
        # Only an experimental rule, which is off, reads the style sheets.
        options: dict[str, Any] = {
            "resultTypes": ["violations"], "preload": {"assets": ["media"]},
        }  # fmt: skip
        if rules:
            options["runOnly"] = {"type": "rule", "values": rules}
        result: dict[str, Any] = page.evaluate(
            "([context, options]) => axe.run(context ?? document, options)", [context, options]
        )
        found += [
            f"{scheme}: {violation['id']}: {violation['help']}: {node['html'][:150]} "
            f"{node['failureSummary']}"
            for violation in result["violations"]
            for node in violation["nodes"]
            if not any(part in node["html"] for part in DJANGO.get(violation["id"], ()))
        ]
    site.examined = False
    return found


#: Return the language of the page, its direction, and how many pixels of it, or of a table in it,
#: are only seen after scrolling sideways.
HIDDEN = """() => {
  const { documentElement: page } = document;
  const wide = [page, ...document.querySelectorAll(".hookbox-scroll, .results")];
  const pixels = Math.max(...wide.map((element) => element.scrollWidth - element.clientWidth));
  return [page.lang, page.dir, pixels];
}"""

#: Pages are laid out as ever, and can be used, but nothing of them has to be painted.
UNPAINTED = """{
  const unpainted = new CSSStyleSheet();
  unpainted.replaceSync("html { opacity: 0 !important }");
  document.adoptedStyleSheets.push(unpainted);
}"""


def overflows(page: Page, name: str, language: str) -> dict[tuple[str, int], int]:
    """Return by how many pixels the page or a table is wider than narrow and wide windows.

    If the window has one of these widths, it comes first.
    """
    found = {}
    now = page.viewport_size
    assert now
    for width in (1600, 400) if now["width"] == 1600 else (400, 1600):
        if width != now["width"]:
            page.set_viewport_size({"width": width, "height": 800})
        *what, pixels = page.evaluate(HIDDEN)
        assert what == [language, "rtl" if language == "ar" else "ltr"], name
        if pixels > 0:
            found[name, width] = pixels
    return found


def everything(site: AdminSite, page: Page) -> Iterator[str]:
    """Open each page in turn."""
    for name in site.pages:
        site.open(page, name)
        yield name
    for name, step in STEPS.items():
        step(site, page)
        yield name


def test_the_site_has_what_is_to_be_looked_at(site: AdminSite, empty_site: AdminSite) -> None:
    assert set(site.pages) == set(PAGES)
    assert set(empty_site.pages) == set(EMPTY)


def test_axe_finds_nothing_and_no_page_is_wider_than_the_window(
    site: AdminSite, browser: Browser
) -> None:
    found = {}
    wide = {}
    with examined(site, browser, locale="en") as page:
        for name in everything(site, page):
            wide |= overflows(page, name, "en")
            page.set_viewport_size({"width": 1200, "height": 800})
            found[name] = findings(site, page)
    assert {name: texts for name, texts in found.items() if texts} == {}
    assert wide == {}


@pytest.mark.parametrize("mood", MOODS)
def test_axe_finds_nothing_in_any_state(site: AdminSite, browser: Browser, mood: str) -> None:
    with examined(site, browser, mood=mood) as page:
        for name in ("server", "channel", "user", "publish: policy", "publish: channel"):
            site.open(page, name)
            assert findings(site, page) == [], name


def test_axe_finds_nothing_where_nothing_is(empty_site: AdminSite, browser: Browser) -> None:
    with examined(empty_site, browser) as page:
        for name in empty_site.pages:
            empty_site.open(page, name)
            assert findings(empty_site, page) == [], name


@pytest.mark.parametrize("language", ["de", "ar"])
def test_no_page_is_wider_than_the_window(site: AdminSite, browser: Browser, language: str) -> None:
    wide = {}
    with site.looked_at(browser, locale=language) as page:
        page.add_init_script(UNPAINTED)
        for name in everything(site, page):
            wide |= overflows(page, name, language)
    assert wide == {}
