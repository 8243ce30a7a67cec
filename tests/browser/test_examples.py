"""The example site's two short pages: with htmx, where a message says that something has changed,
and with Alpine, where each message counts.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_list_with_htmx_is_the_same_everywhere(demo, visit):
    alice, bob = (visit(f"{demo.site}/tasks/", name) for name in ("alice", "bob"))
    for page in (alice, bob):
        expect(page.get_by_role("status")).to_have_text("Connected")
    alice.get_by_role("textbox", name="Task").fill("Buy <milk>")
    alice.get_by_role("button", name="Add").click()
    for page in (alice, bob):
        expect(page.locator(".task")).to_have_text(["Buy <milk>"])
    expect(alice.get_by_role("textbox", name="Task")).to_have_value("")
    bob.locator(".task").click()
    expect(alice.locator(".task")).to_have_attribute("aria-pressed", "true")


def test_a_poll_with_alpine_counts_each_vote_once_also_after_an_interruption(demo, visit):
    alice, bob = (visit(f"{demo.site}/poll/", name) for name in ("alice", "bob"))
    for page in (alice, bob):
        expect(page.get_by_role("status")).to_have_text("Connected")
    counts = bob.locator(".choice .count")
    alice.get_by_role("button", name="Dal").click()
    expect(counts).to_have_text(["0", "1", "0"])
    # Lost while others vote: offline lets open sockets live on, so the page's own is closed too.
    bob.context.set_offline(True)
    bob.evaluate("dispatchEvent(new Event('offline'))")
    alice.get_by_role("button", name="Dal").click()
    alice.get_by_role("button", name="Pizza").click()
    expect(alice.locator(".choice .count")).to_have_text(["1", "2", "0"])
    bob.context.set_offline(False)
    expect(counts).to_have_text(["1", "2", "0"])
    bob.reload()
    expect(counts).to_have_text(["1", "2", "0"])


def test_a_vote_that_cannot_be_counted_is_said(demo, visit):
    page = visit(f"{demo.site}/poll/", "alice")
    page.route("**/poll/vote/", lambda route: route.abort())
    page.get_by_role("button", name="Ramen").click()
    expect(page.get_by_role("alert")).to_contain_text("not counted")
