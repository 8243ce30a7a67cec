"""What a newcomer does with the demo: chat, news, stop and start; and how the demo itself ends."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import pytest
from playwright.sync_api import expect

from .. import forks
from ..stand_ins.waiting import wait_for
from .conftest import Demo, ForkedDemo

pytestmark = pytest.mark.browser

#: Run the demo as its script does.
WHOLE_DEMO = True


@pytest.fixture
def own_demo(tmp_path, prepared):
    """A demo for one test, which ends it in its own way; it has run before."""
    demos = []
    # Coverage measures no process that is forked.
    kind = ForkedDemo if forks.is_possible() else Demo

    def start(*arguments):
        demos.append(kind(tmp_path / f"data{len(demos)}", prepared))
        demos[-1].start(*arguments)
        return demos[-1]

    yield start
    for demo in demos:
        demo.clean_up()


def say(page, text):
    page.get_by_label("Message", exact=True).fill(text)
    page.get_by_role("button", name="Send").click()


def people(page):
    return page.locator("#people li > span:last-child")


def messages(page):
    return page.locator("#messages .body")


# ---- the pages -----------------------------------------------------------------------------------


def test_two_people_chat(demo, visit):
    room = f"{demo.site}/chat/lobby/"
    alice, bob = visit(room, "alice"), visit(room)
    bob.get_by_label("Name").fill("bob")
    bob.get_by_label("Password").fill("bob")
    bob.get_by_role("button", name="Sign in").click()
    bob.wait_for_url(room)
    expect(people(alice)).to_have_text(["alice (you)", "bob"])
    expect(people(bob)).to_have_text(["alice", "bob (you)"])
    say(alice, "Hello <b>bob</b> ü")
    expect(messages(bob)).to_have_text(["Hello <b>bob</b> ü"])
    say(bob, "Hello yourself")
    for page in (alice, bob):
        expect(messages(page)).to_have_text(["Hello <b>bob</b> ü", "Hello yourself"])
    alice.reload()
    expect(messages(alice)).to_have_text(["Hello <b>bob</b> ü", "Hello yourself"])
    bob.close()
    expect(people(alice)).to_have_text(["alice (you)"])
    # The history outlives the last one who leaves.
    alice.goto(f"{demo.site}/login/")
    alice.goto(room)
    expect(messages(alice)).to_have_count(2)


def test_rooms_are_apart(demo, visit):
    kitchen = visit(f"{demo.site}/chat/kitchen/", "alice")
    garden = visit(f"{demo.site}/chat/garden/", "bob")
    expect(people(kitchen)).to_have_text(["alice (you)"])
    say(garden, "in the garden")
    expect(messages(garden)).to_have_text(["in the garden"])
    say(kitchen, "in the kitchen")
    expect(messages(kitchen)).to_have_text(["in the kitchen"])


def test_the_chat_is_closed_to_strangers(demo, visit):
    page = visit(f"{demo.site}/chat/lobby/")
    expect(page).to_have_url(re.compile("/login/"))
    page.goto(f"{demo.site}/news/sports/")
    refusal = page.evaluate(
        """async () => {
            const { connect } = await import("djhookbox");
            const hookbox = connect();
            const room = hookbox.subscribe("/chat/lobby/");
            const refused = new Promise((resolve) => room.on("refused", resolve));
            room.on("subscribed", () => { throw new Error("let in"); });
            const published = await hookbox.publish("/chat/lobby/", "x").catch((e) => e.code);
            return [(await refused).code, published, hookbox.user.slice(0, 2)];
        }"""
    )
    assert refusal == ["refused", "refused", " _"]


def test_news_from_the_admin(demo, visit):
    news = visit(f"{demo.site}/news/today/")
    expect(news.get_by_role("alert")).to_contain_text("/news/today/ until a policy allows it")
    address = news.get_by_role("link", name="Add the policy").get_attribute("href")
    admin = visit(f"{demo.site}{address}", "admin")
    admin.get_by_role("button", name="Save", exact=True).first.click()
    expect(admin.locator(".messagelist .success")).to_be_visible()

    # It was refused before; coming back to the page is enough, nothing is restarted.
    news.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(news.get_by_text("Nothing yet.")).to_be_visible()

    admin.goto(f"{demo.site}/admin/djhookbox/publication/publish/")
    admin.get_by_label("Channel").fill("/news/today/")
    admin.get_by_label("Payload").fill('{"headline": "It works", "text": "From the admin"}')
    admin.locator("#hookbox-publish button[type=submit]").click()
    expect(news.get_by_role("heading", name="It works")).to_be_visible()
    expect(news.get_by_text("From the admin")).to_be_visible()

    def row_in(log, *words):
        def found():
            admin.goto(f"{demo.site}/admin/djhookbox/{log}/")
            rows = admin.locator("#result_list tbody tr").all_inner_texts()
            return any(all(word in row for word in words) for row in rows)

        wait_for(found, f"{words} in {log}")

    row_in("connectionlog", "connected")
    row_in("subscriptionlog", "refused", "/news/today/")
    row_in("subscriptionlog", "subscribed", "/news/today/")
    row_in("publication", "/news/today/", "sent")


def test_pages_come_back_after_stop_and_start_in_the_admin(demo, visit):
    room = f"{demo.site}/chat/lobby/"
    alice, bob = visit(room, "alice"), visit(room, "bob")
    for page in (alice, bob):
        expect(page.get_by_role("status")).to_have_text("Connected")
    admin = visit(f"{demo.site}/admin/djhookbox/server/", "admin")
    admin.get_by_role("link", name="Stop").click()
    admin.locator("#content button[type=submit]").click()
    for page in (alice, bob):
        expect(page.get_by_role("status")).to_have_text(re.compile("Reconnecting|Connecting"))
    wait_for(lambda: "Hookbox has stopped" in demo.output, "the demo to say so")
    assert demo.process.poll() is None
    admin.get_by_role("button", name="Start").click()
    for page in (alice, bob):
        expect(page.get_by_role("status")).to_have_text("Connected")
    wait_for(lambda: "Hookbox is running again" in demo.output, "the demo to say so")
    for page in (alice, bob):
        expect(people(page)).to_have_count(2)
    say(bob, "there again")
    expect(messages(alice).last).to_have_text("there again")


def test_whoever_signs_out_is_not_connected_any_more(demo, visit):
    room = f"{demo.site}/chat/lobby/"
    alice, bob = visit(room, "alice"), visit(room, "bob")
    expect(people(alice)).to_have_count(2)
    other = bob.context.new_page()
    other.goto(f"{demo.site}/news/today/")
    other.get_by_role("button", name="Sign out").click()
    expect(people(alice)).to_have_text(["alice (you)"])
    # The page tries once, only as the same user, and then says how it is.
    expect(bob.get_by_role("status")).to_contain_text("Not connected")
    expect(bob.locator("#problem")).to_be_visible()


# ---- the demo itself -----------------------------------------------------------------------------


def assert_it_ends(demo, number):
    assert len(demo.processes()) >= 3, "the demo, Django, Hookbox"
    assert demo.end(number) == 0
    assert "The demo has stopped." in demo.output
    demo.assert_nothing_is_left()


def test_its_end_leaves_nothing_running_and_a_second_start_keeps_what_there_is(own_demo, visit):
    demo = own_demo()
    demo.wait_until_it_runs()
    page = visit(f"{demo.site}/admin/djhookbox/channelpolicy/", "admin")
    page.get_by_role("link", name="Chat", exact=True).first.click()
    page.get_by_label("History size").fill("7")
    page.get_by_role("button", name="Save", exact=True).first.click()
    expect(page.locator(".messagelist .success")).to_be_visible()
    assert_it_ends(demo, signal.SIGINT)
    demo.start()
    demo.wait_until_it_runs()
    page = visit(f"{demo.site}/admin/djhookbox/channelpolicy/", "admin")
    expect(page.get_by_role("link", name="Chat", exact=True)).to_have_count(1)
    page.get_by_role("link", name="Chat", exact=True).first.click()
    expect(page.get_by_label("History size")).to_have_value("7")
    assert_it_ends(demo, signal.SIGTERM)


def test_ending_while_it_starts(own_demo):
    demo = own_demo()
    wait_for(lambda: "Preparing" in demo.output, "it to begin")
    assert demo.end() == 0
    demo.assert_nothing_is_left()


@pytest.mark.parametrize("which", ["--port", "--hookbox-port"])
def test_a_busy_port_is_one_clear_sentence(own_demo, which):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        taken = busy.getsockname()[1]
        demo = own_demo(which, str(taken))
        assert demo.process.wait(60) == 1
    assert f"The demo cannot run: port {taken} is in use by another program" in demo.output
    assert which in demo.output
    assert "Traceback" not in demo.output
    demo.assert_nothing_is_left()


def django_of(demo):
    """Return the pid of the demo's Django."""
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in demo.processes()}
    # The line of a process that was forked names a module of runserver.
    return next(pid for pid, line in lines.items() if b"runserver\0--noreload" in line)


def test_a_django_that_dies_is_reported_with_its_last_lines(own_demo):
    demo = own_demo()
    demo.wait_until_it_runs()
    os.kill(django_of(demo), signal.SIGKILL)
    assert demo.process.wait(30) == 1
    assert "Django has stopped unexpectedly" in demo.output
    assert "/login/" in demo.output, "its last lines"
    demo.assert_nothing_is_left()


def test_a_hookbox_that_was_left_behind_is_replaced(own_demo):
    demo = own_demo()
    demo.wait_until_it_runs()
    demo.process.kill()
    demo.process.wait()
    os.kill(django_of(demo), signal.SIGKILL)
    wait_for(lambda: len(demo.processes()) == 1, "only Hookbox to be left")
    [left] = demo.processes()
    demo.start()
    demo.wait_until_it_runs()
    assert left not in demo.processes()
    assert demo.end() == 0
    demo.assert_nothing_is_left()


def test_an_order_and_its_message_are_one_transaction(demo, visit):
    orders = f"{demo.site}/orders/"
    alice, bob = visit(orders, "alice"), visit(orders, "bob")

    def place(page, what, button="Place"):
        page.get_by_label("Order", exact=True).fill(what)
        page.get_by_role("button", name=button, exact=True).click()

    place(alice, "Tea")
    expect(bob.locator("#orders .what")).to_have_text(["Tea"])
    place(alice, "Never", "Place and fail")
    expect(alice.get_by_role("alert")).to_contain_text("rolled back")
    place(alice, "Cake")
    expect(bob.locator("#orders .what")).to_have_text(["Cake", "Tea"])
    bob.locator("#orders").get_by_role("button", name="Next step").first.click()
    expect(alice.locator("#orders .step")).to_have_text(["paid", "placed"])


def test_a_second_demo_leaves_the_first_alone(demo, tmp_path):
    second = Demo(tmp_path / "second")
    second.folder, second.hookbox_port = demo.folder, demo.hookbox_port
    second.start()
    assert second.process.wait(60) == 1
    assert f"another demo is running with port {demo.hookbox_port}" in second.output
    assert demo.process.poll() is None
    with socket.create_connection(("127.0.0.1", demo.hookbox_port), 5):
        pass  # its process still listens
