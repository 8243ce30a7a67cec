"""What operators come to the logs for, in few clicks, with nothing cut off at 1280 pixels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from .admin_pages import AdminSite

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: Clicks from the index of the admin to the end of a journey.
MOST = 4

#: Whether something is wider than its place.
CUT = "element => element.scrollWidth > element.clientWidth"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminSite]:
    site = AdminSite(tmp_path_factory.mktemp("journeys") / "site")
    yield site
    site.stop()


@pytest.fixture
def index(site: AdminSite, browser: Browser) -> Iterator[Page]:
    """Count the clicks; choosing and typing by keyboard are not counted."""
    clicks: list[str] = []
    with site.looked_at(browser, width=1280) as page:
        page.expose_function("clicked", lambda path: clicks.append(path))
        page.add_init_script("addEventListener('click', event => clicked(location.pathname), true)")
        page.goto(f"{site.origin}/admin/djhookbox/")
        yield page
    assert 1 < len(clicks) <= MOST, clicks


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


def test_a_channel_is_opened_for_a_group(site: AdminSite, browser: Browser, index: Page) -> None:
    with site.looked_at(browser) as page:
        page.goto(f"{site.origin}/admin/auth/group/add/")
        page.locator("#id_name").fill("editors")
        page.locator("[name=_save]").click()
        page.wait_for_selector(".messagelist .success")
    index.locator("tr.model-channelpolicy .addlink").click()
    index.locator("#id_name").fill("For editors")
    index.locator("#id_pattern").fill("/editors/<slug:topic>/")
    index.locator("#id_subscribe_audience").press_sequentially("members")
    index.locator(".field-groups .select2-selection").click()
    index.keyboard.type("edi")
    expect(index.locator(".select2-results__option--highlighted")).to_have_text("editors")
    index.keyboard.press("Enter")
    explained = index.get_by_text("Members of editors may subscribe to /editors/today/.")
    expect(explained).to_be_visible()
    index.locator("[name=_save]").first.click()
    row = index.locator("#result_list tr").filter(has_text="For editors")
    expect(row.locator(".field-subscribe_column")).to_contain_text("editors")


def test_somebody_is_removed_everywhere(index: Page) -> None:
    follow(index, "Server", "alice", "Ban until lifted…")
    index.locator("[name=_save]").click()
    expect(index.locator(".messagelist")).to_contain_text("2 connections were closed.")
    row = index.locator("#result_list tr").filter(has_text="alice")
    expect(row.locator(".field-status_column")).to_contain_text("active")


def test_a_message_is_published_to_the_channels_of_a_policy(index: Page) -> None:
    follow(index, "Channel policies")
    row = index.locator("#result_list tr").filter(has_text="/news/<slug:topic>/")
    row.get_by_role("link", name="Publish to the channels of “News”").click()
    index.locator("[name=payload]").fill('{"text": "hello"}')
    index.locator(".hookbox-buttons button.default").click()
    index.get_by_role("button", name="Publish to 120 connections").click()
    expect(index.locator(".messagelist .success")).to_contain_text("/news/today/")


def test_a_message_is_repeated(index: Page) -> None:
    follow(index, "Publish history", "Today")
    row = index.locator("#result_list tr").filter(has_text="It was down.")
    row.get_by_role("link", name="Publish again…").click()
    index.locator(".hookbox-buttons button.default").click()
    expect(index.locator(".messagelist .success")).to_contain_text("Published to /front/")


@pytest.mark.parametrize("width", [390, 1280, 1600])
def test_no_policy_and_no_ban_is_cut_off(site: AdminSite, browser: Browser, width: int) -> None:
    with site.looked_at(browser, width=width) as page:
        for name in ("policies", "bans"):
            site.open(page, name)
            assert not page.locator("#changelist .results").evaluate(CUT), name


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
