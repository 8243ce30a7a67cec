"""What an operator does with policies: the first one to the first message, their order, a look."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from .conftest import Demo, restrict

pytestmark = pytest.mark.browser

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'"
)


@pytest.fixture
def admin(demo: Demo, visit: Callable[..., Page]) -> Page:
    """The list of policies, as the administrator, under a strict policy for contents."""
    page = visit(f"{demo.site}/admin/", "admin")
    complaints = restrict(page, "*/admin/*", POLICY)
    page.goto(f"{demo.site}/admin/djhookbox/channelpolicy/")
    yield page
    assert complaints == []


def add(page: Page, demo: Demo, name: str, pattern: str, **chosen: str) -> None:
    page.goto(f"{demo.site}/admin/djhookbox/channelpolicy/add/")
    page.get_by_label("Name:").fill(name)
    page.get_by_label("Pattern:").fill(pattern)
    for label, value in chosen.items():
        page.get_by_label(f"Who may {label}:").select_option(value)
    page.get_by_role("button", name="Save", exact=True).first.click()
    expect(page.locator(".messagelist .success")).to_contain_text(name)


def names(page: Page) -> list[str]:
    return page.locator("#result_list th.field-name").all_inner_texts()


def test_from_the_first_policy_to_the_first_message(demo, visit, admin):
    admin.get_by_role("link", name="Add channel policy").click()
    admin.get_by_label("Name:").fill("News")
    matches = admin.locator("#hookbox-examples")
    admin.get_by_label("Pattern:").fill("/news/<slug:topic")
    expect(matches).to_contain_text("has no counterpart")
    admin.get_by_label("Pattern:").fill("/news/<slug:topic>/")
    expect(matches.locator("code").first).to_have_text("/news/today/")
    admin.get_by_label("Who may subscribe:").select_option("everyone")
    expect(admin.locator("#hookbox-warnings")).to_contain_text("Everyone may read these channels")
    expect(admin.locator("#hookbox-explained")).to_contain_text(
        "Everyone, including anonymous visitors, may subscribe to /news/today/."
    )
    expect(admin.locator(".field-groups")).to_be_hidden()
    admin.get_by_label("Who may publish:").select_option("groups")
    expect(admin.locator(".field-groups")).to_be_visible()
    admin.get_by_label("Who may publish:").select_option("staff")
    admin.get_by_role("button", name="Save", exact=True).first.click()
    expect(admin.locator(".messagelist .info")).to_contain_text(
        "The change takes effect immediately"
    )

    news = visit(f"{demo.site}/news/today/")
    expect(news.get_by_text("Nothing yet.")).to_be_visible()

    admin.locator("#result_list").get_by_role("link", name="News", exact=True).click()
    admin.get_by_role("link", name="Publish…").click()
    expect(admin.get_by_label("Channel")).to_have_value("/news/today/")
    expect(admin.get_by_text("1 connection will receive it.")).to_be_visible()
    payload = admin.get_by_label("Payload")
    status = admin.locator(".hookbox-json-status")
    payload.fill('{"headline": "It works"')
    expect(status).to_contain_text("✖ This is not JSON.")
    payload.fill('{"headline": "It works", "text": "From the admin"}')
    expect(status).to_contain_text("✔ This is JSON, 50 bytes.")
    admin.get_by_role("button", name="Publish").click()
    expect(admin.locator(".messagelist .success")).to_have_text(
        "Published to /news/today/; it reached 1 connection."
    )
    expect(news.get_by_role("heading", name="It works")).to_be_visible()

    admin.goto(f"{demo.site}/admin/djhookbox/channelpolicy/try/")
    admin.get_by_label("User:").fill("ali")
    completions = admin.locator("#id_user-completions option")
    expect(completions).to_have_count(1)
    expect(completions).to_have_attribute("value", "alice")
    admin.get_by_label("User:").fill("alice")
    admin.get_by_label("Channel:").fill("/news/today/")
    admin.get_by_label("Operation:").select_option("publish")
    admin.get_by_role("button", name="Try").click()
    expect(admin.locator(".hookbox-answer")).to_contain_text("Only staff may do this here.")
    expect(admin.locator(".hookbox-answer")).to_contain_text("Its pattern does not match.")

    # An edit reaches the page that is open.
    admin.goto(f"{demo.site}/admin/djhookbox/channelpolicy/")
    admin.locator("#result_list").get_by_role("link", name="News", exact=True).click()
    admin.get_by_label("Who may subscribe:").select_option("signed_in")
    admin.get_by_role("button", name="Save", exact=True).first.click()
    expect(admin.locator(".messagelist .info")).to_have_text(
        "The change takes effect immediately, also for 1 live channel with 1 connection."
    )
    expect(news.get_by_role("alert")).to_contain_text("Only signed-in users")


def test_the_order_by_keyboard_and_by_dragging(demo, admin):
    for name in ("One", "Two", "Three"):
        add(admin, demo, name, f"/{name}/")
    admin.goto(f"{demo.site}/admin/djhookbox/channelpolicy/")
    mine = [name for name in names(admin) if name in ("One", "Two", "Three")]
    assert mine == ["One", "Two", "Three"]
    others = [name for name in names(admin) if name not in mine]

    earlier = "Move “Three” up"
    admin.get_by_role("button", name=earlier).focus()
    admin.keyboard.press("Enter")
    expect(admin.locator(".messagelist .success")).to_contain_text("“Three” is now number")
    assert names(admin) == [*others, "One", "Three", "Two"]
    # The focus is where it was, so that the next press goes on.
    expect(admin.get_by_role("button", name=earlier)).to_be_focused()
    admin.keyboard.press("Enter")
    expect(admin.locator("#result_list th.field-name").nth(len(others))).to_have_text("Three")

    handle = admin.get_by_role("button", name=re.compile("Move “Three” by"))
    handle.focus()
    admin.keyboard.press("ArrowDown")
    expect(admin.locator("#result_list th.field-name").nth(len(others))).to_have_text("One")
    assert names(admin) == [*others, "One", "Three", "Two"]

    first = admin.locator("#result_list tbody tr").first.bounding_box()
    box = admin.get_by_role("button", name=re.compile("Move “Two” by")).bounding_box()
    admin.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    admin.mouse.down()
    admin.mouse.move(first["x"] + 60, first["y"] + first["height"] - 2, steps=5)
    admin.mouse.move(first["x"] + 60, first["y"] + 2, steps=5)
    with admin.expect_navigation():
        admin.mouse.up()
    assert names(admin) == ["Two", *others, "One", "Three"]

    box = admin.get_by_role("button", name=re.compile("Move “Two” by")).bounding_box()
    admin.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    admin.mouse.down()
    admin.mouse.move(box["x"], box["y"] + 100, steps=5)
    admin.keyboard.press("Escape")
    admin.mouse.up()
    assert names(admin) == ["Two", *others, "One", "Three"]


def test_without_scripts(demo, visit, browser):
    cookies = visit(f"{demo.site}/admin/", "admin").context.cookies()
    context = browser.new_context(java_script_enabled=False)
    try:
        context.add_cookies(cookies)
        page = context.new_page()
        add(page, demo, "Plain", "/plain/", subscribe="everyone")
        page.get_by_role("button", name="Move “Plain” up").click()
        expect(page.locator(".messagelist .success")).to_contain_text("“Plain” is now number")
        page.locator("#result_list").get_by_role("link", name="Plain", exact=True).click()
        expect(page.locator("#hookbox-examples")).to_contain_text("/plain/")
        page.get_by_role("link", name="Publish…").click()
        page.get_by_label("Payload").fill("{")
        page.get_by_role("button", name="Check without publishing").click()
        expect(page.locator(".errorlist")).to_contain_text("This is not JSON")
        page.get_by_label("Payload").fill('"hello"')
        page.get_by_role("button", name="Check without publishing").click()
        expect(page.get_by_text("The message is JSON and can be published.")).to_be_visible()
        expect(page.get_by_text("Nobody is currently subscribed.")).to_be_visible()
        page.get_by_role("button", name="Publish", exact=True).click()
        expect(page.locator(".messagelist .success")).to_contain_text("Published to /plain/")
    finally:
        context.close()


def test_every_page_looks_right_under_a_strict_policy(demo, admin):
    for path in (
        "channelpolicy/", "channelpolicy/add/", "channelpolicy/try/?channel=/chat/lobby/",
        "channelpolicy/import/", "publishing/?channel=/a/&channel=/b/",
    ):  # fmt: skip
        for width in (400, 1600):
            admin.set_viewport_size({"width": width, "height": 900})
            admin.goto(f"{demo.site}/admin/djhookbox/{path}")
            wider = admin.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert wider <= 0, (path, width)
