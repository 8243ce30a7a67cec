"""The server page in a browser: live through the channel, by polling, and without scripts."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from .conftest import restrict

pytestmark = pytest.mark.browser

LIVE = re.compile(r"Running\. Live\.")


@pytest.fixture
def operate(demo, visit):
    """Open the server page as the demo's admin."""

    def open_page(query="", *, wait=LIVE):
        page = visit(f"{demo.site}/admin/djhookbox/server/{query}", "admin")
        if wait:
            expect(announcement(page)).to_have_text(wait)
        return page

    return open_page


@pytest.fixture
def chat(demo, visit):
    """Open the chat as a user, and wait until it is connected."""

    def open_page(user):
        page = visit(f"{demo.site}/chat/lobby/", user)
        expect(page.locator("#status")).to_have_text("Connected")
        return page

    return open_page


def announcement(page):
    return page.locator("#hookbox-announcement")


def rows(page, which):
    return page.locator(f"[data-live={which}] tbody tr")


def row(page, which, text):
    return rows(page, which).filter(has_text=text)


def without_asking(page):
    """Let the page have nothing but what comes over the channel."""
    page.route("**/server/live/**", lambda route: route.abort())


def test_it_changes_as_things_happen_by_the_channel_alone(operate, chat):
    page = operate()
    without_asking(page)
    assert row(page, "connections", "alice").count() == 0
    alice = chat("alice")
    expect(row(page, "connections", "alice")).to_contain_text("WebSocket")
    lobby = row(page, "channels", "/chat/lobby/")
    expect(lobby.locator("[data-field=subscribers]")).to_have_text("1")
    chat("bob")
    expect(lobby.locator("[data-field=subscribers]")).to_have_text("2")
    expect(page.locator("[data-count=users]")).to_have_text("3")
    link = row(page, "channels", "/chat/lobby/").get_by_role("link")
    assert link.get_attribute("href").endswith("/server/channel/?name=%2Fchat%2Flobby%2F")
    alice.close()
    expect(row(page, "connections", "alice")).to_have_count(0)
    expect(announcement(page)).to_have_text(LIVE)


def test_a_drawing_grows_and_says_the_same_in_words(operate, chat):
    page = operate()
    chat("alice")
    drawing = page.locator(".hookbox-spark").last
    pattern = re.compile(r"Messages out per second in the last ten minutes: .* now \d+\.\d$")
    expect(drawing).to_have_attribute("aria-label", pattern, timeout=40_000)
    expect(drawing.locator("polyline")).to_have_attribute("points", re.compile(r"120\.0,"))


def test_it_asks_while_the_process_is_down_and_is_live_again_afterwards(demo, operate):
    watching, pressing = operate(), operate()
    pressing.get_by_role("link", name="Stop").click()
    pressing.locator("#content button[type=submit]").click()
    expect(pressing.locator(".messagelist .success")).to_have_text("Hookbox has been stopped.")
    for page in (watching, pressing):
        expect(announcement(page)).to_have_text(re.compile("Stopped. This page updates"))
        expect(page.locator("[data-live=channels]")).to_have_count(0)
    # The button came with the part that was fetched, its token with it.
    watching.get_by_role("button", name="Start").click()
    expect(watching.locator(".messagelist .success")).to_contain_text("Hookbox is running")
    for page in (watching, pressing):
        expect(announcement(page)).to_have_text(LIVE, timeout=40_000)
        expect(row(page, "connections", "admin").first).to_be_visible()


def test_a_user_is_sent_away_and_told_why(operate, chat):
    page = operate()
    alice, bob = chat("alice"), chat("bob")
    row(page, "connections", "alice").get_by_role("link", name="Disconnect").click()
    page.get_by_label("Reason").fill("Back at nine <b>sharp</b>.")
    page.get_by_role("button", name="Disconnect").click()
    expect(page.locator(".messagelist .success")).to_have_text("1 connection of alice was closed.")
    expect(alice.locator("#status")).to_have_text(re.compile("Not connected"))
    expect(alice.locator("#problem")).to_have_text("Back at nine <b>sharp</b>.")
    expect(bob.locator("#status")).to_have_text("Connected")

    expect(announcement(page)).to_have_text(LIVE)
    row(page, "connections", "bob").get_by_role("link", name="bob").click()
    page.get_by_role("link", name="Unsubscribe").click()
    page.get_by_label("Reason").fill("Another room, please.")
    page.get_by_role("button", name="Unsubscribe").click()
    expect(bob.locator("#problem")).to_have_text("Another room, please.")
    expect(bob.locator("#status")).to_have_text("Connected")
    page.goto(page.url.split("/admin/")[0] + "/admin/djhookbox/connectionlog/")
    expect(page.locator("#result_list")).to_contain_text("Back at nine")


def test_one_message_is_published_to_the_channels_that_were_ticked(operate, chat):
    alice = chat("alice")
    page = operate()
    names = ["/chat/lobby/", "djhookbox:server"]
    for name in names:
        page.get_by_role("checkbox", name=name).check()
    page.get_by_role("button", name="selected channels").focus()
    bob = chat("bob")
    expect(row(page, "connections", "bob")).to_have_count(1)
    for name in names:  # reports leave alone what somebody is choosing from
        expect(page.get_by_role("checkbox", name=name)).to_be_checked()
    page.get_by_role("button", name="selected channels").click()
    expect(page.locator("#content tbody th")).to_have_text(sorted(names), use_inner_text=True)
    page.get_by_label("Payload").fill('{"text": "to all of you", "user": "admin"}')
    page.get_by_role("button", name="Publish to 2 channels").click()
    expect(page.locator(".messagelist .error")).to_contain_text("refused")
    expect(page.locator(".messagelist .success")).to_contain_text("Published to 1 channel.")
    for other in (alice, bob):
        expect(other.get_by_text("to all of you")).to_be_visible()


def test_a_part_whose_control_has_the_focus_waits(operate, chat):
    chat("alice")
    page = operate()
    link = row(page, "connections", "alice").get_by_role("link", name="Disconnect")
    link.focus()
    chat("bob")
    expect(row(page, "channels", "/chat/lobby/").locator("[data-field=subscribers]")).to_have_text(
        "2"
    )
    expect(link).to_be_focused()
    assert row(page, "connections", "bob").count() == 0
    page.get_by_label("User contains").focus()
    expect(row(page, "connections", "bob")).to_have_count(1)


def test_it_rests_while_it_is_paused_or_hidden(operate):
    page, other = operate(), operate()
    admins = row(other, "connections", "admin")
    expect(admins).to_have_count(2)
    page.get_by_role("button", name="Pause").click()
    expect(announcement(page)).to_have_text("Running. Paused.")
    expect(admins).to_have_count(1)
    page.get_by_role("button", name="Resume").click()
    expect(announcement(page)).to_have_text(LIVE)
    expect(admins).to_have_count(2)
    hide = """(hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    expect(admins).to_have_count(1)
    page.evaluate(hide, False)
    expect(admins).to_have_count(2)


def test_what_is_searched_for_stays(operate, chat):
    chat("alice")
    page = operate("?user=LIC")
    expect(rows(page, "connections")).to_have_count(1)
    chat("bob")
    expect(row(page, "channels", "/chat/lobby/").locator("[data-field=subscribers]")).to_have_text(
        "2"
    )
    expect(rows(page, "connections")).to_have_count(1)
    expect(page.get_by_label("User contains")).to_have_value("LIC")


def test_whoever_signs_out_is_told(operate):
    page = operate()
    page.context.clear_cookies()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").click()
    expect(announcement(page)).to_contain_text("no longer signed in")
    expect(page.get_by_role("button", name="Pause")).to_be_hidden()


def test_without_a_script(demo, browser, operate):
    signed_in = operate()
    context = browser.new_context(java_script_enabled=False)
    context.add_cookies(signed_in.context.cookies())
    page = context.new_page()
    page.goto(f"{demo.site}/admin/djhookbox/server/?user=adm")
    expect(page.locator(".hookbox-state")).to_contain_text("Running")
    expect(rows(page, "connections").first).to_contain_text("admin")
    page.get_by_role("link", name="Refresh").click()
    expect(page).to_have_url(re.compile(r"\?channel=&user=adm$"))
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    context.close()


def test_under_a_strict_policy(demo, operate):
    page = operate(wait=None)
    # What the test hands to the browser comes from no network that Chromium would know.
    page.context.grant_permissions(["local-network-access"])
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"form-action 'self'; connect-src 'self' ws://127.0.0.1:{demo.hookbox_port}"
    )
    complaints = restrict(page, "*/admin/djhookbox/server/*", policy)
    for address in ("", "channel/?name=/chat/lobby/", "user/?name=admin", "disconnect/?user=admin"):
        page.goto(f"{demo.site}/admin/djhookbox/server/{address}")
        if not address:
            expect(announcement(page)).to_have_text(LIVE)
    assert complaints == []
