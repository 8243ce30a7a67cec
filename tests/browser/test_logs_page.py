"""The logs in a browser: from a message to its payload, from a row to everything, by keyboard."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from .conftest import Demo

pytestmark = pytest.mark.browser


@pytest.fixture
def admin(demo: Demo, visit: Callable[..., Page]) -> Page:
    """The administrator, whose clipboard may be read."""
    page = visit(f"{demo.site}/admin/", "admin")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    return page


def publish(page: Page, demo: Demo, payload: str) -> None:
    page.goto(f"{demo.site}/admin/djhookbox/publication/publish/?channel=/chat/lobby/")
    page.get_by_label("Payload").fill(payload)
    page.get_by_role("button", name="Publish", exact=True).click()
    expect(page.locator(".messagelist")).to_contain_text("/chat/lobby/")


def test_a_payload_is_folded_copied_and_published_again(demo: Demo, admin: Page) -> None:
    publish(admin, demo, '{"text": "Grüße <b>"}')
    admin.goto(f"{demo.site}/admin/djhookbox/publication/?q=/chat/*")
    admin.locator("#result_list th.field-when a").first.click()
    payload = admin.locator(".hookbox-payload pre")
    expect(payload).to_be_visible()
    admin.locator(".hookbox-payload summary").press("Enter")
    expect(payload).to_be_hidden()
    admin.get_by_role("button", name="Copy").press("Enter")
    expect(admin.locator(".hookbox-copy [role=status]")).to_have_text("Copied.")
    assert admin.evaluate("navigator.clipboard.readText()") == '{\n  "text": "Grüße <b>"\n}'
    admin.get_by_role("link", name="Publish again…").click()
    admin.get_by_label("Payload").fill('"once more"')
    admin.get_by_role("button", name="Publish again").click()
    expect(admin.locator("#result_list .field-beginning").first).to_contain_text('"once more"')


def test_one_step_leads_from_a_row_to_everything(demo: Demo, admin: Page) -> None:
    publish(admin, demo, '"trail"')
    admin.goto(f"{demo.site}/admin/djhookbox/publication/")
    admin.get_by_role("link", name="Everything about /chat/lobby/").first.press("Enter")
    expect(admin.get_by_role("heading", level=1)).to_contain_text("/chat/lobby/")
    rows = admin.locator(".hookbox-happenings tbody tr")
    expect(rows.first).to_contain_text('"trail"')
    rows.first.locator("th a").press("Enter")
    expect(admin.locator(".hookbox-payload pre")).to_have_text('"trail"')


def test_days_are_chosen_by_keyboard(demo: Demo, admin: Page) -> None:
    publish(admin, demo, '"days"')
    admin.goto(f"{demo.site}/admin/djhookbox/publication/?q=/chat/lobby/")
    admin.get_by_label("Until").fill("2020-01-01")
    admin.get_by_role("button", name="Show").press("Enter")
    expect(admin.get_by_text("Nothing matches.")).to_be_visible()
    expect(admin.locator("#searchbar")).to_have_value("/chat/lobby/")
    admin.get_by_role("link", name="Clear search and filters").press("Enter")
    expect(admin.locator("#result_list tbody tr").first).to_be_visible()


def test_what_is_exported_is_downloaded(demo: Demo, admin: Page) -> None:
    publish(admin, demo, '"export"')
    admin.goto(f"{demo.site}/admin/djhookbox/publication/?q=/chat/lobby/")
    with admin.expect_download() as download:
        admin.get_by_role("link", name="Export CSV").press("Enter")
    text = download.value.path().read_text(encoding="utf-8-sig")
    assert text.startswith("id,created,user_name")
    assert '"""export"""' in text
