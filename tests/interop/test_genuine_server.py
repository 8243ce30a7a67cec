"""The genuine Hookbox 0.3.3 as the process of a site."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from ..integration.conftest import MakePair
from ..integration.processes import Pair, Site
from ..stand_ins.client import Refused
from ..stand_ins.waiting import wait_for
from . import genuine
from .clients import genuine_client
from .conftest import Enter
from .pages import OldPage

pytestmark = [pytest.mark.process, pytest.mark.slow]


# ---- what works --------------------------------------------------------------


def test_policies_open_channels_with_their_options(site: Site, enter: Enter, word: str) -> None:
    site.do(
        "policy", f"/{word}/<slug:topic>/", subscribe_audience="signed_in",
        publish_audience="signed_in", history_size=2, presenceful=True, state={"a": 1},
    )  # fmt: skip
    channel = f"/{word}/a/"
    alice, bob = enter(f"alice{word}"), enter(f"bob{word}")
    assert alice.name == f"alice{word}"
    answer = alice.subscribe(channel)
    assert (answer["history_size"], answer["state"]) == (2, {"a": 1})
    assert bob.subscribe(channel)["presence"] == [alice.name, bob.name]
    alice.expect("SUBSCRIBE", user=bob.name)
    alice.publish(channel, {"from": "a page"})
    assert bob.expect("PUBLISH")["payload"] == {"from": "a page"}
    assert site.do("publish", channel, ["from code"]) is None  # it does not count
    assert bob.expect("PUBLISH")["payload"] == ["from code"]
    bob.unsubscribe(channel)
    alice.expect("UNSUBSCRIBE", user=bob.name)


def test_what_is_refused_is_refused_with_the_reason(site: Site, enter: Enter, word: str) -> None:
    site.do("policy", f"/{word}/", subscribe_audience="signed_in", publish_audience="staff")
    alice, anonymous = enter(f"alice{word}"), enter()
    assert anonymous.name.startswith(" _")
    for page, channel in ((alice, f"/{word}/closed/"), (anonymous, f"/{word}/")):
        with pytest.raises(Refused) as refusal:
            page.subscribe(channel)
        assert refusal.value.msg
    alice.subscribe(f"/{word}/")
    with pytest.raises(Refused) as refusal:
        alice.publish(f"/{word}/", "spam")
    (row,) = site.rows("Publication", 1, channel=f"/{word}/")
    assert (row["status"], row["reason"]) == ("refused", refusal.value.msg)


def test_handlers_and_receivers_take_part(site: Site, enter: Enter, word: str) -> None:
    alice = enter(f"alice{word}")
    assert alice.subscribe(f"/handled/{word}/")["history_size"] == 3
    with pytest.raises(Refused) as refusal:
        enter("mallory")
    assert refusal.value.msg == "Mallory may not connect."


def test_the_logs_say_what_happened(site: Site, enter: Enter, word: str) -> None:
    site.do("policy", f"/{word}/", publish_audience="signed_in")
    alice = enter(f"alice{word}")
    alice.subscribe(f"/{word}/")
    alice.publish(f"/{word}/", "from a page")
    site.do("publish", f"/{word}/", "from code")
    alice.socket.close()
    connected, closed = site.rows("ConnectionLog", 2, user_name=alice.name)
    assert (connected["event"], closed["event"]) == ("connect", "disconnect")
    events = [
        (row["event"], row["user_name"])
        for row in site.rows("SubscriptionLog", 4, channel=f"/{word}/")
    ]
    assert events == [
        ("create", alice.name), ("subscribe", alice.name), ("unsubscribe", alice.name),
        ("destroy", ""),
    ]  # fmt: skip
    by_page, by_code = site.rows("Publication", 2, channel=f"/{word}/")
    assert (by_page["source"], by_page["user_name"], by_page["payload"]) == (
        "client", alice.name, "from a page",
    )  # fmt: skip
    assert (by_code["source"], by_code["status"], by_code["delivered"]) == ("code", "sent", None)


def test_code_changes_live_channels(site: Site, enter: Enter, word: str) -> None:
    site.do("policy", f"/{word}/")
    alice, bob = enter(f"alice{word}"), enter(f"bob{word}")
    alice.subscribe(f"/{word}/")
    site.do("subscribe", f"/{word}/", bob.name)
    bob.expect("SUBSCRIBE", channel_name=f"/{word}/")
    site.do("state_set", f"/{word}/", "topic", "Grüße")
    assert alice.expect("STATE_UPDATE")["updates"] == {"topic": "Grüße"}
    site.do("state_delete", f"/{word}/", "topic")
    assert alice.expect("STATE_UPDATE", deletes=["topic"])
    site.do("set_channel_options", f"/{word}/", history_size=4)
    info = site.do("channel_info", f"/{word}/")
    assert sorted(info["subscribers"]) == [alice.name, bob.name]
    assert info["options"]["history_size"] == 4
    site.do("unsubscribe", f"/{word}/", bob.name)
    bob.expect("UNSUBSCRIBE", channel_name=f"/{word}/")


def test_publish_to_a_channel_that_there_is_not(site: Site, word: str) -> None:
    """It asks back for that, while the request that publishes is still waiting for it."""
    site.do("policy", f"/{word}/")
    assert site.ask("publish", f"/{word}/", 1) == {"result": None}


@pytest.mark.browser
def test_its_own_client_takes_csp(
    genuine_pair: Pair, site: Site, browser: Browser, word: str
) -> None:
    """As docs/coming-from-2011.rst has it: browsers of today do not get on with its WebSockets."""
    site.do("policy", f"/{word}/", publish_audience="signed_in", history_size=1)
    with browser.new_context() as context:
        key = site.do("sign_in", f"alice{word}")
        context.add_cookies([{"name": "sessionid", "value": key, "url": site.origin}])
        context.add_init_script("delete window.WebSocket")
        alice = OldPage(context.new_page())
        alice.page.goto(f"{site.origin}/page/")
        alice.connect(genuine_pair.hookbox.url)
        assert alice.expect("open") == f"alice{word}"
        assert alice.subscribe(f"/{word}/")["historySize"] == 1
        alice.publish(f"/{word}/", {"text": "Grüße"})
        assert alice.expect("publish")["payload"] == {"text": "Grüße"}
        site.do("publish", f"/{word}/", "from code")
        assert alice.expect("publish")["payload"] == "from code"
        alice.disconnect()
    site.rows("ConnectionLog", 1, user_name=f"alice{word}", event="disconnect")


def test_it_creates_a_channel_for_nobody_in_particular(site: Site, enter: Enter, word: str) -> None:
    """It asks without a cookie, so that only what everyone may create is created for code."""
    site.do("policy", f"/{word}/", create_audience="signed_in")
    answer = site.do("attempt", "publish", f"/{word}/", 1)
    assert answer["error"] == "HookboxRefused"
    enter(f"alice{word}").subscribe(f"/{word}/")
    assert site.do("publish", f"/{word}/", 1) is None


# ---- what it cannot do -------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "arguments"),
    [("create", ["/handled/x/"]), ("disconnect", ["alice"]), ("server_info", [])],
)
def test_what_it_cannot_do_is_said(site: Site, call: str, arguments: list[str]) -> None:
    answer = site.ask("attempt", call, *arguments)["result"]
    assert answer["error"] == "HookboxRefused"
    assert answer["code"] == "unsupported"
    assert "Hookbox 0.3.3" in answer["text"]
    assert "HOOKBOX_EXECUTABLE" in answer["text"]


def test_there_is_no_cursor(site: Site, word: str) -> None:
    site.do("policy", f"/{word}/", history_size=5)
    assert site.do("attempt", "cursor", f"/{word}/")["error"] == ""


def test_names_that_it_would_mistake_are_refused(site: Site, enter: Enter, word: str) -> None:
    site.do("policy", f"/{word}/<path:rest>", publish_audience="signed_in")
    alice = enter(f"alice{word}")
    alice.subscribe(f"/{word}/grün/")  # pages may use them
    alice.publish(f"/{word}/grün/", "ü")
    answer = site.ask("attempt", "publish", f"/{word}/grün/", 1)["result"]
    assert (answer["error"], answer["code"]) == ("HookboxRefused", "unsupported")
    assert f"/{word}/grün/" in answer["text"]


def test_an_edited_policy_and_an_ended_session_are_warned_of(
    genuine_pair: Pair, site: Site, word: str
) -> None:
    before = genuine_pair.site.log().count("does not support “revoke”")
    session = site.do("sign_in", f"alice{word}")
    site.do("policy", f"/{word}/")
    site.do("sign_out", session=session)
    wait_for(
        lambda: genuine_pair.site.log().count("does not support “revoke”") >= before + 2,
        "two warnings",
    )


def test_a_site_with_one_worker_is_told_what_it_needs(make_pair: MakePair) -> None:
    pair = make_pair(HOOKBOX_EXECUTABLE=str(genuine.HOOKBOX), HOOKBOX_TIMEOUT=1)
    pair.site.run("single")
    pair.hookbox.run()
    pair.site.do("policy", "/news/")
    answer = pair.site.do("try_to_publish", "/news/", 1)
    assert answer["error"] == "HookboxUnreachable"
    assert "second worker or thread" in answer["text"]


def test_cookies_that_scripts_do_not_see_are_warned_of(make_pair: MakePair) -> None:
    pair = make_pair(HOOKBOX_EXECUTABLE=str(genuine.HOOKBOX))
    checked = pair.manage("check")
    assert "djhookbox.W018" in checked.stderr
    assert "SESSION_COOKIE_HTTPONLY" in checked.stderr


# ---- the process -------------------------------------------------------------


def test_the_admin_starts_describes_and_stops_it(make_pair: MakePair) -> None:
    pair = make_pair(HOOKBOX_EXECUTABLE=str(genuine.HOOKBOX))
    pair.site.run()
    site = pair.site
    assert site.do("control", "status")["state"] == "stopped"
    begun = site.do("control", "start")
    assert begun["state"] == "running", begun
    assert begun["identified"] is True
    assert str(genuine.HOOKBOX) in Path(f"/proc/{begun['pid']}/cmdline").read_text()
    assert site.do("control", "start")["pid"] == begun["pid"]
    with genuine_client(pair.hookbox.websocket) as page:
        page.connect()
    again = site.do("control", "restart")
    assert again["state"] == "running"
    assert again["pid"] != begun["pid"]
    assert site.do("control", "stop")["state"] == "stopped"
    assert pair.holder() is None


def test_a_process_with_another_secret_is_seen(genuine_pair: Pair) -> None:
    script = (
        "from djhookbox.process import control; now = control.status();"
        "print(now.state.value, 'HOOKBOX_EXECUTABLE answers' in now.message)"
    )
    for secret, said in (
        ({}, "running True"),
        ({"HOOKBOX_REST_SECRET": "y" * 30}, "secret_refused False"),
    ):
        settings = {
            "HOOKBOX_EXECUTABLE": str(genuine.HOOKBOX),
            "HOOKBOX_PORT": genuine_pair.hookbox.port,
        }
        other = Pair(
            genuine_pair.folder, genuine_pair.folder / "db.sqlite3", {**settings, **secret}
        )
        assert other.manage("shell", "-v0", "-c", script).stdout.strip() == said


def test_its_options_are_made_of_the_settings(make_pair: MakePair) -> None:
    pair = make_pair(
        HOOKBOX_EXECUTABLE=str(genuine.HOOKBOX), HOOKBOX_ADMIN_PASSWORD="sesame",
        HOOKBOX_WEBHOOK_SECRET="w" * 20, HOOKBOX_REST_SECRET="r" * 20,
    )  # fmt: skip
    pair.hookbox.run("--cb-message", "elsewhere", "--log-level", "debug")
    arguments = Path(f"/proc/{pair.hookbox.child.pid}/cmdline").read_text().split("\0")[2:-1]
    assert arguments == [
        "-i", "127.0.0.1", "-p", str(pair.hookbox.port),
        "--cbhost", "127.0.0.1", "--cbport", str(pair.site.port), "--cbpath", "/hookbox",
        "-s", "w" * 20, "-r", "r" * 20, "-a", "sesame",
    ]  # fmt: skip
    for option in ("--cb-message", "--log-level"):
        assert f"{option} applies only to the bundled server" in pair.hookbox.log()
