"""The examples of the documents, as they stand there, with the real libraries of npm."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from ..needs import need
from ..stand_ins.waiting import wait_for
from .conftest import Demo, sign_in
from .framework_pages import (
    CHANNEL,
    EXCHANGING,
    MODULES,
    Site,
    add_component,
    add_exchanged,
    add_poll,
    add_refreshed,
)

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: Whether the page has left the channel.
LEFT = f"() => connect().getSubscription({CHANNEL!r}) === undefined"
INSIDE = f"() => window.connect && connect().getSubscription({CHANNEL!r})?.status === 'subscribed'"


@pytest.fixture(scope="module")
def site(demo: Demo) -> Iterator[Site]:
    need(MODULES.is_dir(), "the libraries of npm are missing: run “npm ci”")
    site = Site(demo)
    for name in EXCHANGING:
        add_exchanged(site, name)
    yield site
    site.close()


@pytest.fixture
def page(demo: Demo, visit: Callable[..., Page]) -> Page:
    """Signed in; cookies do not care about ports."""
    page = visit("about:blank")
    sign_in(page, demo.site, "alice")
    page.sockets = []  # type: ignore[attr-defined]
    page.on("websocket", lambda socket: page.sockets.append(socket.url))  # type: ignore[attr-defined]
    return page


def say(page: Page, text: str) -> None:
    page.wait_for_function(INSIDE)
    page.evaluate("([channel, text]) => connect().publish(channel, text)", [CHANNEL, text])


def expect_one_connection(page: Page) -> None:
    assert len(page.sockets) == 1, page.sockets  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", EXCHANGING)
def test_pages_whose_body_is_exchanged(site: Site, page: Page, name: str) -> None:
    page.goto(f"{site.address}/{name}/one/")
    page.evaluate("window.stays = true")
    for number, text in enumerate(["two", "one", "two", "one", "two"]):
        page.get_by_role("link", name=text, exact=True).click()
        # Not yet in the page that Turbo shows from its cache at first.
        expect(page.locator("html:not([aria-busy]) h1")).to_have_text(text)
        say(page, f"message {number}")
        expect(page.locator("room-messages li")).to_have_text([f"message {number}"])
    assert page.evaluate("window.stays"), "the document was never loaded anew"
    expect_one_connection(page)
    page.get_by_role("link", name="three").click()
    expect(page.locator("h1")).to_have_text("three")
    page.wait_for_function(LEFT)


@pytest.mark.parametrize("name", EXCHANGING)
def test_a_page_that_is_exchanged_for_one_of_another_user(
    site: Site, page: Page, name: str
) -> None:
    page.goto(f"{site.address}/{name}/one/")
    page.wait_for_function(INSIDE)
    page.evaluate("window.alices = connect()")
    page.get_by_role("link", name="bob").click()
    expect(page.locator("h1")).to_have_text("bob")
    page.wait_for_function("alices.status === 'closed' && connect() !== alices")
    page.wait_for_function(INSIDE)


def test_react(page: Page, site: Site) -> None:
    page.goto(add_component(site, "react"))
    say(page, "to both")
    expect(page.locator("#first li")).to_have_text(["to both"])
    expect(page.locator("#second li")).to_have_text(["to both"])
    page.get_by_role("button").click()
    say(page, "to one")
    expect(page.locator("#second li")).to_have_text(["to both", "to one"])
    page.get_by_role("button").click()
    page.wait_for_function(LEFT)
    expect_one_connection(page)


def test_vue(page: Page, site: Site) -> None:
    page.goto(add_component(site, "vue"))
    say(page, "hello")
    expect(page.locator("li")).to_have_text(["hello"])
    expect(page.locator("b")).to_have_text("subscribed")
    page.get_by_role("button", name="publish").click()
    expect(page.locator("li")).to_have_text(["hello", "from Vue"])
    names = page.evaluate(
        "[kept.connection, kept.deep.list[0], reference.value].map(({ user }) => user)"
    )
    assert names == ["alice"] * 3
    assert (
        page.evaluate(
            """async (channel) => {
            const { subscription } = { subscription: kept.connection.subscribe(channel) };
            await subscription.ready;
            await reference.value.publish(channel, "again");
            subscription.unsubscribe();
            return subscription.status;
        }""",
            CHANNEL,
        )
        == "subscribed"
    )
    page.get_by_role("button", name="hide").click()
    page.wait_for_function(LEFT)
    expect_one_connection(page)


def test_svelte(page: Page, site: Site) -> None:
    page.goto(add_component(site, "svelte"))
    say(page, "one")
    expect(page.locator("li")).to_have_text(["one", "one"])
    page.evaluate("hide()")
    say(page, "two")
    expect(page.locator("li")).to_have_text(["one", "two"])
    page.evaluate("hide()")
    page.wait_for_function(LEFT)
    expect_one_connection(page)


def test_alpine(page: Page, site: Site) -> None:
    page.goto(add_component(site, "alpine"))
    say(page, "one")
    expect(page.locator("li")).to_have_text(["one"])
    page.evaluate("Alpine.$data(document.querySelector('ul')).subscription.publish('two')")
    expect(page.locator("li")).to_have_text(["one", "two"])
    page.evaluate("document.querySelector('ul').remove()")
    page.wait_for_function(LEFT)
    expect_one_connection(page)


def test_a_list_that_htmx_fetches_again(demo: Demo, page: Page, site: Site) -> None:
    page.goto(add_refreshed(site, "tasks_list.html", "/tasks/", "<li>Once subscribed</li>"))
    listed = page.locator("#tasks li")
    expect(listed).to_have_text(["Once subscribed"])
    site.pages["/tasks/list/"] = "<li>Published</li>"
    say(page, "anything")
    expect(listed).to_have_text(["Published"])
    # What was missed during an interruption: offline lets open sockets live on.
    page.context.set_offline(True)
    page.evaluate("dispatchEvent(new Event('offline'))")
    site.pages["/tasks/list/"] = "<li>Missed</li>"
    demo.manage("shell", "-c", f"import djhookbox; djhookbox.publish({CHANNEL!r}, {{}})")
    page.context.set_offline(False)
    expect(listed).to_have_text(["Missed"])
    site.pages["/tasks/list/"] = "<li>After a gap</li>"
    page.evaluate("(channel) => connect().getSubscription(channel).emit('gap', {})", CHANNEL)
    expect(listed).to_have_text(["After a gap"])


def test_a_request_that_fails_is_repeated(page: Page, site: Site) -> None:
    path = "/tasks/list/"
    page.goto(add_refreshed(site, "tasks_list.html", "/tasks/", "<li>Before</li>"))
    listed = page.locator("#tasks li")
    expect(listed).to_have_text(["Before"])
    site.pages[path] = "<li>After</li>"
    site.failing[path] = 0
    say(page, "anything")
    wait_for(lambda: page.wait_for_timeout(50) or site.failing[path] >= 2, "a repetition")
    del site.failing[path]
    expect(listed).to_have_text(["After"])


def test_many_messages_are_one_request_and_a_hidden_page_makes_none(page: Page, site: Site) -> None:
    page.goto(add_refreshed(site, "tasks_list.html", "/tasks/", "<li>Now</li>"))
    expect(page.locator("#tasks li")).to_have_text(["Now"])
    page.evaluate(
        """() => {
            window.heard = 0;
            document.getElementById("tasks").addEventListener("hookbox:refresh", () => heard++);
            Object.defineProperty(document, "hidden", { get: () => window.away });
            window.away = true;
            document.querySelector("hookbox-refresh").setAttribute("spread", "0");
            window.got = 0;
        }"""
    )
    page.evaluate("(channel) => connect().subscribe(channel).on('publish', () => got++)", CHANNEL)
    for number in range(5):
        say(page, f"message {number}")
    page.wait_for_function("got === 5")
    # Timers of no duration that started before this one have fired.
    page.evaluate("() => new Promise((resolve) => setTimeout(resolve, 50))")
    assert page.evaluate("heard") == 0
    page.evaluate("away = false; document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_function("heard === 1")


def test_a_list_on_a_page_that_htmx_replaces(page: Page, site: Site) -> None:
    page.goto(add_refreshed(site, "tasks_list.html", "/tasks/", "<li>First</li>"))
    expect(page.locator("#tasks li")).to_have_text(["First"])
    page.evaluate("window.stays = true")
    page.get_by_role("link", name="else").click()
    expect(page.locator("h1")).to_have_text("else")
    page.wait_for_function(LEFT)
    site.pages["/tasks/list/"] = "<li>Second</li>"
    page.get_by_role("link", name="page").click()
    expect(page.locator("#tasks li")).to_have_text(["Second"])
    assert page.evaluate("window.stays"), "the document was never loaded anew"
    expect_one_connection(page)


def test_fragments_of_the_site_are_inserted_but_not_those_of_browsers(
    demo: Demo, page: Page, site: Site
) -> None:
    address = add_refreshed(site, 'swap="beforeend"', "/rooms/1/", "<li>Fetched</li>")
    page.goto(address)
    listed = page.locator("ul li")
    expect(listed).to_have_text(["Fetched"])
    code = (
        "import djhookbox; djhookbox.publish_template("
        f"{CHANNEL!r}, 'demosite/tasks_list.html', {{'tasks': [{{'pk': 1, 'text': '<b>'}}]}})"
    )
    demo.manage("shell", "-c", code)
    expect(listed).to_have_text(["Fetched", "<b>"])
    assert page.evaluate("document.querySelector('button').hasAttribute('hx-post')")
    site.pages["/rooms/1/list/"] = "<li>Fetched again</li>"
    page.wait_for_function(INSIDE)
    page.evaluate("(channel) => connect().publish(channel, { html: '<li>Forged</li>' })", CHANNEL)
    expect(listed).to_have_text(["Fetched again"])


def test_a_poll_that_alpine_counts(page: Page, site: Site) -> None:
    page.goto(add_poll(site))
    page.wait_for_function(INSIDE)
    page.evaluate("(channel) => connect().publish(channel, { dish: 'Dal' })", CHANNEL)
    expect(page.locator("li")).to_have_text(["7"])
