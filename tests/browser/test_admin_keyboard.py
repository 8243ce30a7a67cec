"""The pages can be used by keyboard alone: everything can be reached, and the focus is visible."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from .admin_pages import STILL, AdminSite

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: Give each control a number; return the numbers, with what they are. Of the radio buttons of a
#: group one is reached; what is folded up is not. From now on, note the numbers of what gets the
#: focus, and whether that can be seen (on it, or around it).
NUMBER = """() => {
  const found = {};
  document.activeElement.blur();  // what has the focus from the start would not change its look
  const all = document.querySelectorAll(
    "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']");
  window.look = (one) => {
    const style = getComputedStyle(one);
    return ["outlineStyle", "outlineWidth", "outlineColor", "boxShadow", "borderColor",
            "borderWidth", "backgroundColor", "color", "textDecorationLine"]
      .map((name) => style[name]).join();
  };
  all.forEach((one, index) => {
    if (one.disabled || one.tabIndex < 0) return;
    if (!one.checkVisibility({visibilityProperty: true})) return;
    one.dataset.number = index;
    one.dataset.look = look(one);
    found[index] = one.outerHTML.slice(0, 120);
  });
  window.focused = [];
  document.addEventListener("focusin", ({target}) => {
    const {number, look: before} = target.dataset;
    if (number) window.focused.push([number, look(target) !== before]);
  }, true);
  return found;
}"""

#: Focus each numbered control in the colours of now, and return those that look as without focus.
#: The last key was Tab, so the browser shows the focus as it does for the keyboard.
FOCUS_EACH = """() => {
  const unseen = [];
  for (const one of document.querySelectorAll("[data-number]")) {
    document.activeElement.blur();
    const before = look(one);
    one.focus({preventScroll: true});
    if (document.activeElement === one && look(one) === before)
      unseen.push(one.outerHTML.slice(0, 120));
  }
  return unseen;
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminSite]:
    site = AdminSite(tmp_path_factory.mktemp("admin") / "site")
    yield site
    site.stop()


def walk(page: Page) -> tuple[list[str], list[str]]:
    """Press Tab until everything was there; return what was not reached, and what was not seen."""
    page.evaluate(STILL)
    controls: dict[str, str] = page.evaluate(NUMBER)
    assert len(controls) > 10
    left, unseen = dict(controls), []
    presses = 2 * len(controls) + 20
    while left and presses > 0:
        # Each press reaches at most one of them.
        presses -= len(left)
        for _press in range(len(left)):
            page.keyboard.press("Tab")
        for number, seen in page.evaluate("focused.splice(0)"):
            gone = left.pop(number, None)
            if gone and not seen:
                unseen.append(gone)
    return list(left.values()), unseen


def unseen_in_the_dark(page: Page) -> list[str]:
    """Return the controls whose focus dark colours hide; what Tab reaches is the same in both."""
    page.emulate_media(color_scheme="dark")
    unseen: list[str] = page.evaluate(FOCUS_EACH)
    page.emulate_media(color_scheme="light")
    return unseen


def test_everything_is_reached_and_the_focus_is_seen(site: AdminSite, browser: Browser) -> None:
    with site.looked_at(browser, color_scheme="light") as page:
        # The parts of the server page that change would lose their numbers.
        page.route("**/server/live/**", lambda route: route.abort())
        for name in (
            "server", "server: stop", "policies", "policy", "policy: add", "try: allowed",
            "publish: channel", "publish: channels", "publications", "publication", "import",
            "connections", "disconnect user", "trail of a user",
        ):  # fmt: skip
            site.open(page, name)
            page.wait_for_load_state("networkidle")
            assert walk(page) == ([], []), name
            assert unseen_in_the_dark(page) == [], name
