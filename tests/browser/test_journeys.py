"""What operators come to the logs for, in few clicks, with nothing cut off at 1280 pixels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from .admin_pages import AdminSite

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: Whether something is wider than its place.
CUT = "element => element.scrollWidth > element.clientWidth"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminSite]:
    site = AdminSite(tmp_path_factory.mktemp("journeys") / "site")
    yield site
    site.stop()


@pytest.fixture
def index(site: AdminSite, browser: Browser) -> Iterator[Page]:
    with site.looked_at(browser, width=1280) as page:
        page.goto(f"{site.origin}/admin/djhookbox/")
        yield page


def follow(page: Page, *links: str) -> None:
    for link in links:
        page.locator("#content").get_by_role("link", name=link, exact=True).first.click()


def test_why_somebody_was_refused(index: Page) -> None:
    follow(index, "Refusals")
    assert not index.locator(".hookbox-entries").evaluate(CUT)
    row = index.locator(".hookbox-happenings tr").filter(has_text="alice")
    row.get_by_role("link", name="Check this again").first.click()
    expect(index.locator("#id_channel")).to_have_value("/front/")
    expect(index.locator("#id_user")).to_have_value("alice")


def test_the_refusals_of_a_week_are_one_file(index: Page) -> None:
    follow(index, "Refusals", "Past 7 days")
    with index.expect_download() as download:
        follow(index, "Export CSV")
    lines = download.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert lines[0].startswith("created,refused,id,user_name,channel,")
    assert {line.split(",")[1] for line in lines[1:]} == {"connect", "subscribe"}


@pytest.mark.parametrize("log", ["connections", "subscriptions", "publications"])
@pytest.mark.parametrize("width", [390, 1280, 1600])
def test_nothing_of_a_log_is_cut_off(
    site: AdminSite, browser: Browser, log: str, width: int
) -> None:
    with site.looked_at(browser, width=width) as page:
        site.open(page, log)
        assert not page.locator("#changelist .results").evaluate(CUT)
        who = page.locator("#result_list :is(.field-user_link, .field-sender)").first
        why = page.locator("#result_list :is(.field-why, .field-decision, .field-outcome)").first
        expect(who).to_be_visible()
        expect(why).to_be_visible()


def test_several_events_are_chosen_by_keyboard(site: AdminSite, browser: Browser) -> None:
    with site.looked_at(browser, width=1280) as page:
        site.open(page, "connections")
        for word in ("refused", "connected"):
            choice = page.locator("#changelist-filter").get_by_role("link", name=word, exact=True)
            choice.press("Enter")
            expect(choice).to_have_attribute("aria-current", "true")
        badges = page.locator("#result_list .hookbox-badge")
        expect(badges.filter(has_text="refused")).not_to_have_count(0)
        expect(badges.filter(has_text="disconnected")).to_have_count(0)
