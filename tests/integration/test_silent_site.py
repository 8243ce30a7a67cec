"""Django down, or answering nonsense: nothing is granted, and the connection stays usable."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from ..stand_ins.client import Client, Refused
from ..stand_ins.process import Answer, FakeHookbox, Request
from ..stand_ins.waiting import wait_for
from .conftest import opening, scripted_site
from .processes import Hookbox
from .scripted import Held, Lonely, yes

PLAIN = "The site does not answer; try again later"
#: What 0.3.3 said about JSON of a wrong shape shows nothing of it, so we say the same.
PLAIN_SENTENCES = (
    PLAIN,
    "Invalid response (expected json list of length 2)",
    "Invalid response (expected json object in response index 1)",
)


def hanging(request: Request) -> Answer:
    """Take longer than the server waits."""
    gone = threading.Event()
    gone.wait(2.0)
    return Answer(hang_up=True)


BAD_ANSWERS: dict[str, Callable[[Request], Answer]] = {
    "nothing": lambda request: Answer(hang_up=True),
    "500": lambda request: Answer(500, "<h1>Server Error (500)</h1>"),
    "500 in JSON": lambda request: Answer(500, '[true, {"name": "root"}]'),
    "redirect": lambda request: Answer(302, "", {"Location": "/accounts/login/"}),
    "HTML": lambda request: Answer(200, "<html>Sign in, please</html>"),
    "bad JSON": lambda request: Answer(200, "[true, {"),
    "other JSON": lambda request: Answer(200, '{"name": "root"}'),
    "no options": lambda request: Answer(200, "[true]"),
    "options of a wrong type": lambda request: Answer(200, "[true, []]"),
    "no text": lambda request: Answer(200, ""),
    "hanging": hanging,
}


@pytest.mark.parametrize("bad", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
def test_whatever_the_site_answers_nothing_is_granted(
    bad: Callable[[Request], Answer],
    lonely_hookbox: Lonely,
    script: FakeHookbox,
    page: Callable[..., Client],
    word: str,
) -> None:
    hookbox = lonely_hookbox[0]
    channel = f"/{word}/"

    def fails(*hooks: str) -> None:
        script.answer = lambda request: bad(request) if request.call in hooks else yes(request)

    def unavailable(doing: Callable[[], object]) -> None:
        with pytest.raises(Refused) as refusal:
            doing()
        assert (refusal.value.msg in PLAIN_SENTENCES, refusal.value.code) == (True, "unavailable")

    alice, name = page(), json.dumps(f"alice{word}")
    fails("connect")
    unavailable(lambda: alice.connect(payload=name))
    assert hookbox.connections(f"alice{word}") == 0
    with pytest.raises(Refused) as refusal:
        # Not known to anybody, hence without ACK.
        alice.subscribe(channel)
    assert refusal.value.code == "not_connected"

    script.answer = yes
    alice.connect(payload=name)
    fails("create_channel")
    unavailable(lambda: alice.subscribe(channel))
    assert hookbox.rest("get_channel_info", channel_name=channel)[0] is False
    fails("subscribe")
    unavailable(lambda: alice.subscribe(channel))
    assert hookbox.subscribers(channel) == []

    script.answer = yes
    bob = page(f"bob{word}")
    bob.subscribe(channel)
    fails("publish")
    unavailable(lambda: alice.publish(channel, "spam"))

    script.answer = yes
    alice.subscribe(channel)
    alice.publish(channel, "hello")
    assert bob.expect("PUBLISH")["payload"] == "hello"
    assert bob.got("PUBLISH") == []


def test_nobody_listens_at_all(
    lonely_hookbox: Lonely, script: FakeHookbox, page: Callable[..., Client], word: str
) -> None:
    alice = page(f"alice{word}")
    hookbox = lonely_hookbox[0]
    port = script.port
    moved = hookbox.rest("set_config", cbport="1")
    assert moved == [True, {}]
    try:
        with pytest.raises(Refused) as refusal:
            alice.subscribe(f"/{word}/")
        assert (refusal.value.msg, refusal.value.code) == (PLAIN, "unavailable")
        with pytest.raises(Refused):
            page(f"bob{word}")
    finally:
        hookbox.rest("set_config", cbport=str(port))
    alice.subscribe(f"/{word}/")


def test_a_connect_without_a_name_is_refused(
    script: FakeHookbox, page: Callable[..., Client]
) -> None:
    for name in ("null", '""', "7", "[]", '"a\\nb"', json.dumps("x" * 256)):
        body = f'[true, {{"name": {name}}}]'
        script.answer = lambda request, body=body: Answer(body=body)  # type: ignore[misc]
        with pytest.raises(Refused, match="Unauthorized"):
            page("alice")


# ---- leaving in the middle ---------------------------------------------------


def gone(hookbox: Hookbox, name: str) -> None:
    """Wait until nothing is left of a user."""
    wait_for(lambda: hookbox.connections(name) == 0, f"{name} to have gone")
    wait_for(
        lambda: hookbox.rest("get_user_info", user_name=name)[0] is False, f"no user {name}", 5
    )


def test_vanishing_during_connect_leaves_no_ghost(
    lonely_hookbox: Lonely, script: FakeHookbox, page: Callable[..., Client], word: str
) -> None:
    held = Held(script, "connect")
    alice = page()
    before = lonely_hookbox[0].rest("get_server_info")[1]["connections"]
    alice.send("CONNECT", cookie_string="", payload=json.dumps(f"alice{word}"))
    assert held.reached.wait(5)
    alice.socket.socket.close()
    hookbox = lonely_hookbox[0]
    wait_for(
        lambda: hookbox.rest("get_server_info")[1]["connections"] < before, "the end to be noticed"
    )
    held.released.set()
    page(f"bob{word}")  # the same webhook, answered later
    assert hookbox.rest("get_user_info", user_name=f"alice{word}")[0] is False


@pytest.mark.parametrize("abruptly", [True, False])
@pytest.mark.parametrize("hook", ["create_channel", "subscribe"])
def test_vanishing_during_subscribe_leaves_no_ghost(
    hook: str,
    abruptly: bool,
    lonely_hookbox: Lonely,
    script: FakeHookbox,
    page: Callable[..., Client],
    word: str,
) -> None:
    hookbox, channel = lonely_hookbox[0], f"/{word}/"
    alice, bob = page(f"alice{word}"), page(f"bob{word}")
    script.answer = yes
    if hook == "subscribe":
        bob.subscribe(channel)
        hookbox.rest("set_channel_options", channel_name=channel, presenceful="true")
    held = Held(script, hook)
    alice.send("SUBSCRIBE", channel_name=channel)
    assert held.reached.wait(5)
    if abruptly:
        alice.socket.socket.close()
    else:
        alice.socket.close()
    gone(hookbox, alice.name)
    held.released.set()
    if hook == "create_channel":
        bob.subscribe(channel)  # waits for the same lock, hence comes later
    script.answer = yes
    carol = page(f"carol{word}")
    # Waits for its own webhook, sent after the one that was held back has been answered.
    carol.subscribe(channel)
    assert hookbox.subscribers(channel) == [bob.name, carol.name]
    if hook == "subscribe":
        assert [args["user"] for args in bob.got("SUBSCRIBE")] == [carol.name]
        assert bob.got("UNSUBSCRIBE") == []


def test_vanishing_during_an_automatic_subscription_leaves_no_ghost(
    lonely_hookbox: Lonely, script: FakeHookbox, page: Callable[..., Client], word: str
) -> None:
    """The subscribe is granted, then another channel is asked for, and refused."""
    hookbox, channel, other = lonely_hookbox[0], f"/{word}/", f"/{word}/other/"
    alice, bob = page(f"alice{word}"), page(f"bob{word}")
    bob.subscribe(channel)
    reached, released = threading.Event(), threading.Event()

    def reply(request: Request) -> Answer:
        if request.call == "subscribe" and request.form["user"] == alice.name:
            return Answer(body=json.dumps([True, {"auto_subscribe": [other]}]))
        if request.form.get("channel_name") == other:
            reached.set()
            released.wait(5)
            return Answer(body='[false, {"error": "no"}]')
        return yes(request)

    script.answer = reply
    alice.send("SUBSCRIBE", channel_name=channel)
    assert reached.wait(5)
    alice.socket.socket.close()
    gone(hookbox, alice.name)
    released.set()
    wait_for(lambda: "auto_subscribe" in hookbox.log(), "the refusal to be read")
    bob.sync()
    assert hookbox.subscribers(channel) == [bob.name]


def test_the_other_connection_of_a_user_stays(
    lonely_hookbox: Lonely, script: FakeHookbox, page: Callable[..., Client], word: str
) -> None:
    hookbox, channel = lonely_hookbox[0], f"/{word}/"
    first, second = page(f"alice{word}"), page(f"alice{word}")
    bob = page(f"bob{word}")
    bob.subscribe(channel)
    second.subscribe(channel)
    first.expect("SUBSCRIBE", channel_name=channel)
    first.socket.socket.close()
    wait_for(lambda: hookbox.connections(second.name) == 1, "the end to be noticed")
    assert hookbox.subscribers(channel) == [second.name, bob.name]
    bob.publish(channel, "still there?")
    assert second.expect("PUBLISH")["payload"] == "still there?"
    told = [r for r in script.requests if r.call == "disconnect" and r.form["name"] == second.name]
    assert told == []


# ---- at once -----------------------------------------------------------------


def test_two_connections_of_one_user_subscribe_at_once(
    lonely_hookbox: Lonely, script: FakeHookbox, page: Callable[..., Client], word: str
) -> None:
    channel = f"/{word}/"
    first, second = page(f"alice{word}"), page(f"alice{word}")
    bob = page(f"bob{word}")
    bob.subscribe(channel)
    lonely_hookbox[0].rest("set_channel_options", channel_name=channel, presenceful="true")
    held = Held(script, "subscribe")
    one = first.send("SUBSCRIBE", channel_name=channel)
    two = second.send("SUBSCRIBE", channel_name=channel)
    assert held.reached.wait(5)
    held.released.set()
    first.answer(one)
    second.answer(two)
    for page_ in (first, second):
        assert len(page_.got("SUBSCRIBE")) == 1
    assert [args["user"] for args in bob.got("SUBSCRIBE")] == [first.name]
    assert lonely_hookbox[0].subscribers(channel) == [first.name, bob.name]
    asked = [r for r in script.requests if r.call == "subscribe" and r.form["user"] == first.name]
    assert len(asked) == 1, "the second finds it done"


def test_two_users_create_a_channel_at_once(
    lonely_hookbox: Lonely, script: FakeHookbox, page: Callable[..., Client], word: str
) -> None:
    channel = f"/{word}/"
    alice, bob = page(f"alice{word}"), page(f"bob{word}")
    held = Held(script, "create_channel")
    one = alice.send("SUBSCRIBE", channel_name=channel)
    two = bob.send("SUBSCRIBE", channel_name=channel)
    assert held.reached.wait(5)
    held.released.set()
    alice.answer(one)
    bob.answer(two)
    assert lonely_hookbox[0].subscribers(channel) == [alice.name, bob.name]
    alice.publish(channel, "both of us")
    assert bob.expect("PUBLISH")["payload"] == "both of us"
    assert [request.call for request in script.requests].count("create_channel") == 1


def test_a_session_that_ends_while_it_connects(
    lonely_hookbox: Lonely, script: FakeHookbox, page: Callable[..., Client], word: str
) -> None:
    """Django has said yes, and closes the session's connections before the yes has arrived."""
    identity = f"session:{word}"
    body = json.dumps([True, {"name": f"alice{word}", "identity": identity}])
    held = Held(script, "connect", Answer(body=body))
    alice = page()
    alice.send("CONNECT", cookie_string="")
    assert held.reached.wait(5)
    lonely_hookbox[0].rest("disconnect", identity=identity, code="4000", reason="session ended")
    held.released.set()
    assert alice.closed() == (4000, "session ended")
    assert lonely_hookbox[0].connections(f"alice{word}") == 0


@pytest.mark.parametrize("hook", ["subscribe", "create_channel"])
def test_a_yes_that_is_older_than_an_edit_does_not_outlive_it(
    hook: str, migrated: Path, tmp_path: Path
) -> None:
    """The site has decided, is slow to say so, and by then a policy has been edited."""
    with ExitStack() as stack:
        hookbox, script = stack.enter_context(
            scripted_site(tmp_path, migrated, HOOKBOX_WEBHOOK_TIMEOUT=3)
        )
        page = opening(hookbox, stack)
        alice, bob = page("alice"), page("bob")
        if hook == "subscribe":
            bob.subscribe("/room/")
        reached, released = threading.Event(), threading.Event()
        now = {"/room/": {"options": {"moderated": True}, "refused": {"alice": "Not any more."}}}

        def reply(request: Request) -> Answer:
            if request.call == "recheck":
                return Answer(body=json.dumps([True, {"channels": now}]))
            if request.call == hook:
                reached.set()
                released.wait(5)
            if request.call == "create_channel":
                return Answer(body='[true, {"moderated": false}]')
            return yes(request)

        script.answer = reply
        if hook == "subscribe":
            frame = alice.send("SUBSCRIBE", channel_name="/room/")
        else:
            frame = alice.send("PUBLISH", channel_name="/room/", payload="1")
        assert reached.wait(5)
        edited = time.monotonic()
        assert hookbox.rest("recheck", patterns='["/room/"]')[0]
        # Longer than the server takes web processes to go by the old policy.
        wait_for(lambda: time.monotonic() > edited + 1.8, "the old policy to be forgotten")
        released.set()
        alice.answer(frame)
        info = partial(hookbox.rest, "get_channel_info")
        if hook == "subscribe":
            left = alice.expect("UNSUBSCRIBE", patience=6, channel_name="/room/")
            assert left["reason"] == "Not any more."
        wait_for(
            lambda: info(channel_name="/room/")[1]["options"]["moderated"],
            "the options of now",
            6,
        )
