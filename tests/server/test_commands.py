"""What clients ask for, and all that can happen while the site is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest

from djhookbox.server.clients.commands import parse_payload
from djhookbox.server.refusals import Refusal
from djhookbox.server.site.webhooks import WebhookFailed
from djhookbox.wire.closing import SESSION_EXPIRED

from .rig import Rig, turns

MakeRig = Callable[..., Rig]


@pytest.fixture(params=["together", "one by one"])
async def rig(request: pytest.FixtureRequest, make_rig: MakeRig) -> AsyncIterator[Rig]:
    """Return a server for each way in which a site decides about a new channel."""
    rig = make_rig()
    if request.param == "one by one":
        rig.site.accepted -= {"subscribe_many"}
    yield rig
    await turns()
    rig.check()


def options(**given: Any) -> Callable[[Mapping[str, str]], dict[str, Any]]:
    """Answer create_channel alike for every name."""
    return lambda form: given


# ---- connect ----------------------------------------------------------------------------------


async def test_connect(rig: Rig) -> None:
    client = rig.client(cookie="sid=1")
    await rig.send(client, "CONNECT", cookie_string="a=b", payload='"alice"')
    (name, args), *more = client.took()
    assert (name, args["name"], args["payload"], args["conn_id"], more) == (
        "CONNECTED", "alice", '"alice"', client.id, [],
    )  # fmt: skip
    assert client.cookie == "sid=1; a=b"
    ((hook, form),) = rig.site.took()
    assert hook == "connect"
    assert form["conn_id"] == client.id
    assert "token" not in form
    assert "expected_user" not in form
    await rig.send(client, "CONNECT", cookie_string="")
    assert client.took()[0][1]["msg"] == "Already logged in"


@pytest.mark.parametrize(
    "reply",
    [{"name": ""}, {"name": None}, {"name": 7}, {"name": ["a"]}, {"name": "x" * 256},
     {"name": "a\nb"}, {"name": "\ud800"}, {"name": "a", "reflective": "yes"}],
)  # fmt: skip
async def test_a_reply_to_connect_that_cannot_be_used(rig: Rig, reply: dict[str, Any]) -> None:
    rig.site.answers["connect"] = reply
    client = rig.client()
    await rig.send(client, "CONNECT", cookie_string="")
    ((name, args),) = client.took()
    assert (name, args["id"]) == ("ERROR", 7)
    assert args["msg"].startswith("Unauthorized (")
    assert client.user is None
    assert rig.hub.users == {}
    rig.site.answers["connect"] = {"name": "alice"}
    await rig.send(client, "CONNECT", cookie_string="")
    assert client.names() == ["CONNECTED"]


async def test_a_client_that_goes_while_it_connects_leaves_no_user(rig: Rig) -> None:
    held = rig.site.hold("connect")
    client = rig.client()
    await rig.send(client, "CONNECT", cookie_string="", payload='"alice"')
    await rig.leave(client)
    held.set()
    await turns()
    assert rig.hub.users == {}
    assert client.frames == []
    # The site has a row that says it came; so it gets one that says it went.
    assert [(e["event"], e["user"]) for e in rig.reported()] == [("disconnect", "alice")]


async def test_who_is_sent_away_while_connecting_does_not_stay(rig: Rig) -> None:
    rig.site.answers["connect"] = {"name": "alice", "identity": "session:1"}
    held = rig.site.hold("connect")
    client = rig.client()
    await rig.send(client, "CONNECT", cookie_string="")
    await rig.rest("disconnect", identity="session:1", code="4000", reason="bye")
    held.set()
    await turns()
    assert client.end is not None
    assert client.end.code == SESSION_EXPIRED.code
    assert rig.hub.users == {}
    assert rig.server.runtime.connections._by_identity == {}


async def test_auto_subscribe_at_connect(rig: Rig) -> None:
    def create(form: Mapping[str, str]) -> Any:
        return Refusal("no") if form["channel_name"] == "b" else {}

    rig.site.answers["create_channel"] = create
    rig.site.answers["connect"] = {"auto_subscribe": ["a", "b", "c"]}
    client = rig.client()
    await rig.send(client, "CONNECT", cookie_string="", payload='"alice"')
    # One that fails stops neither the others nor the connection (D33).
    assert [a.get("channel_name") for _, a in client.took()] == [None, "a", "c"]
    assert "subscribe" not in rig.site.names()
    assert all(s.by_code for c in rig.channels.values() for s in c.subscribers.values())


@pytest.mark.parametrize("names", ["room", [1], [""], {"a": 1}, ["ok", None]])
async def test_auto_subscribe_that_is_no_list_of_names_is_left_out(rig: Rig, names: Any) -> None:
    rig.site.answers["connect"] = {"auto_subscribe": names}
    client = await rig.connect("alice")
    assert client.user is not None
    assert rig.channels == {}


# ---- subscribe --------------------------------------------------------------------------------


async def test_a_subscription_is_asked_for_once(rig: Rig) -> None:
    alice = await rig.connect("alice")
    rig.site.took()
    await rig.subscribe(alice)
    await rig.send(alice, "SUBSCRIBE", channel_name="room")
    assert alice.took() == []
    assert rig.site.decided == ["create_channel", "subscribe"]
    assert rig.reported() == []


async def test_a_new_channel_costs_one_webhook(make_rig: Any) -> None:
    rig = make_rig()
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    rig.site.took()
    await rig.subscribe(alice)
    assert rig.site.names() == ["subscribe_many"]
    await rig.subscribe(bob)
    assert rig.site.names() == ["subscribe"]


async def test_what_no_webhook_decided_is_reported(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"moderated": False}
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    await rig.send(alice, "PUBLISH", channel_name="room", payload='{"a": 1}')
    await rig.send(alice, "UNSUBSCRIBE", channel_name="room")
    found = [(e["event"], e.get("by"), e.get("delivered")) for e in rig.reported()]
    assert found == [
        ("subscribe", "client", None), ("publish", None, 1), ("unsubscribe", "client", None),
    ]  # fmt: skip


@pytest.mark.parametrize("hook", ["create_channel", "subscribe"])
@pytest.mark.parametrize("error", [Refusal("not you"), WebhookFailed()])
async def test_a_refusal_grants_nothing(rig: Rig, hook: str, error: Refusal) -> None:
    alice = await rig.connect("alice")
    rig.site.answers[hook] = error
    await rig.send(alice, "SUBSCRIBE", channel_name="room")
    ((name, args),) = alice.took()
    assert (name, args["msg"], args["code"]) == ("ERROR", error.reason, error.code)
    assert not any(c.subscribers for c in rig.channels.values())
    rig.site.answers.clear()
    await rig.subscribe(alice)


@pytest.mark.parametrize("hook", ["create_channel", "subscribe", "unsubscribe", "publish"])
@pytest.mark.parametrize("refused", [False, True])
async def test_a_client_that_goes_during_a_webhook_leaves_no_ghost(
    rig: Rig, hook: str, refused: bool
) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    if hook in ("unsubscribe", "publish"):
        await rig.subscribe(alice)
    held = rig.site.hold(hook)
    frame = {"unsubscribe": "UNSUBSCRIBE", "publish": "PUBLISH"}.get(hook, "SUBSCRIBE")
    await rig.send(alice, frame, channel_name="room")
    await rig.leave(alice)
    if refused:
        rig.site.answers[hook] = Refusal("no")
    held.set()
    await turns()
    assert list(rig.hub.users) == ["bob"]
    assert not any("alice" in c.subscribers for c in rig.channels.values())
    rig.check()
    rig.site.answers.clear()
    await rig.subscribe(bob)
    assert list(rig.channels["room"].audience) == [bob]


async def test_a_client_that_goes_while_others_channels_are_created_leaves_no_ghost(
    rig: Rig,
) -> None:
    alice, again = await rig.connect("alice"), await rig.connect("alice")
    rig.site.answers["subscribe"] = {"auto_subscribe": ["other"]}
    await rig.send(again, "PUBLISH", channel_name="room")  # so that the channel exists
    held = rig.site.hold("create_channel")
    rig.site.answers["create_channel"] = Refusal("no")
    await rig.send(alice, "SUBSCRIBE", channel_name="room")
    await rig.leave(alice)
    await rig.leave(again)
    held.set()
    await turns()
    assert rig.hub.users == {}
    assert not any(c.subscribers for c in rig.channels.values())


async def test_two_connections_of_one_user_subscribe_at_once(rig: Rig) -> None:
    one, two = await rig.connect("alice"), await rig.connect("alice")
    rig.site.took()
    held = rig.site.hold("subscribe")
    for client in (one, two):
        await rig.send(client, "SUBSCRIBE", channel_name="room")
    held.set()
    await turns()
    assert rig.site.decided == ["create_channel", "subscribe"]
    assert one.names() == two.names() == ["SUBSCRIBE"]
    await rig.send(one, "PUBLISH", channel_name="room")
    assert one.names() == two.names() == ["PUBLISH"]
    await rig.send(one, "UNSUBSCRIBE", channel_name="room")
    assert one.names() == two.names() == ["UNSUBSCRIBE"]


async def test_unsubscribe_races_with_subscribe(rig: Rig) -> None:
    one, two = await rig.connect("alice"), await rig.connect("alice")
    held = rig.site.hold("subscribe")
    await rig.send(one, "SUBSCRIBE", channel_name="room")
    await rig.send(two, "UNSUBSCRIBE", channel_name="room")
    held.set()
    await turns()
    assert one.names() == two.names() == ["SUBSCRIBE", "UNSUBSCRIBE"]
    assert rig.channels == {}


async def test_two_users_create_at_once(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    rig.site.took()
    held = rig.site.hold("create_channel")
    for client in (alice, bob):
        await rig.send(client, "SUBSCRIBE", channel_name="room")
    held.set()
    await turns()
    assert rig.site.decided == ["create_channel", "subscribe", "subscribe"]
    assert set(rig.channels["room"].subscribers) == {"alice", "bob"}


async def test_the_second_asks_again_if_the_first_may_not_create(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    answers: list[Any] = [Refusal("not alice"), {}]
    rig.site.answers["create_channel"] = lambda form: answers.pop(0)
    held = rig.site.hold("create_channel")
    for client in (alice, bob):
        await rig.send(client, "SUBSCRIBE", channel_name="room")
    held.set()
    await turns()
    assert alice.names() == ["ERROR"]
    assert bob.names() == ["SUBSCRIBE"]


async def test_subscribe_while_the_channel_is_destroyed(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    await rig.subscribe(alice)
    held = rig.site.hold("destroy_channel")
    rig.site.took()
    await rig.send(alice, "UNSUBSCRIBE", channel_name="room")
    await rig.send(bob, "SUBSCRIBE", channel_name="room")
    assert bob.took() == []
    held.set()
    await turns()
    assert rig.site.decided == ["unsubscribe", "destroy_channel", "create_channel", "subscribe"]
    assert bob.names() == ["SUBSCRIBE"]
    assert list(rig.channels["room"].subscribers) == ["bob"]


async def test_a_channel_destroyed_during_the_webhook_is_not_subscribed_to(rig: Rig) -> None:
    alice = await rig.connect("alice")
    await rig.rest("create_channel", channel_name="room")
    held = rig.site.hold("subscribe")
    await rig.send(alice, "SUBSCRIBE", channel_name="room")
    await rig.rest("destroy_channel", channel_name="room")
    held.set()
    await turns()
    assert alice.took()[0][1]["msg"] == "The channel was destroyed in the meantime"
    assert alice.user is not None
    assert alice.user.subscriptions == {}


async def test_a_receiver_may_publish_to_the_channel_that_is_subscribed_to(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    await rig.subscribe(bob)
    held = rig.site.hold("subscribe")
    await rig.send(alice, "SUBSCRIBE", channel_name="room")
    answer = await rig.rest("publish", channel_name="room", payload="1")
    assert (answer["delivered"], answer["offset"]) == (1, 1)
    await turns()
    assert bob.names() == ["PUBLISH"]
    held.set()
    await turns()
    assert alice.names() == ["SUBSCRIBE"]


async def test_a_snapshot_and_what_is_published_at_once_neither_double_nor_miss(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"history_size": 10, "moderated": False}
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    await rig.subscribe(alice)
    for number in range(3):
        await rig.rest("publish", channel_name="room", payload=str(number))
    await bob.receive('[1,"SUBSCRIBE",{"channel_name":"room"}]\r\n')
    for number in range(3, 6):
        await rig.rest("publish", channel_name="room", payload=str(number))
    await turns()
    frames = bob.took()
    assert [name for name, _ in frames[:2]] == ["CHANNEL_INIT", "SUBSCRIBE"]
    seen = [data["payload"] for _, data in frames[1][1]["history"]]
    seen += [args["payload"] for name, args in frames[2:]]
    assert seen == list(range(6))


async def test_channels_per_connection_are_bounded(make_rig: MakeRig) -> None:
    rig = make_rig(max_channels_per_connection=2)
    alice = await rig.connect("alice")
    await rig.subscribe(alice, "a")
    rig.site.answers["subscribe"] = {"auto_subscribe": ["c", "d"]}
    await rig.send(alice, "SUBSCRIBE", channel_name="b")
    assert alice.user is not None
    assert set(alice.user.subscriptions) == {"a", "b", "c"}  # what was granted is not taken back
    await rig.send(alice, "SUBSCRIBE", channel_name="e")
    assert alice.took()[-1][1]["code"] == "limit"


async def test_auto_subscribe_to_the_very_channel_and_away_from_others(rig: Rig) -> None:
    alice = await rig.connect("alice")
    await rig.subscribe(alice, "old")
    rig.site.answers["subscribe"] = {"auto_subscribe": ["room", "old"], "auto_unsubscribe": ["old"]}
    await rig.send(alice, "SUBSCRIBE", channel_name="room")
    assert [(n, a["channel_name"]) for n, a in alice.took()] == [
        ("SUBSCRIBE", "room"), ("UNSUBSCRIBE", "old"),
    ]  # fmt: skip
    assert list(rig.channels) == ["room"]


async def test_auto_subscribe_of_a_user_whose_subscriptions_are_per_connection(rig: Rig) -> None:
    rig.site.answers["connect"] = {
        "per_connection_subscriptions": True, "auto_subscribe": ["news"],
    }  # fmt: skip
    one = await rig.connect("alice")
    two = rig.client()
    await rig.send(two, "CONNECT", cookie_string="", payload='"alice"')
    assert two.names() == ["CONNECTED", "SUBSCRIBE"]
    assert set(rig.channels["news"].audience) == {one, two}


# ---- publish and message ----------------------------------------------------------------------


async def test_a_moderated_publish(rig: Rig) -> None:
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    rig.site.took()
    rig.site.answers["publish"] = {"override_payload": [2], "publication": 9}
    await rig.send(alice, "PUBLISH", channel_name="room", payload=' {"a" : "\\u00e9"}')
    ((hook, form),) = rig.site.took()
    assert hook == "publish"
    assert (form["payload"], form["originator"], form["user"]) == (
        '{"a":"\\u00e9"}', "alice", "alice",
    )  # fmt: skip
    assert alice.took()[0][1]["payload"] == [2]
    ((event),) = rig.reported()
    assert (event["event"], event["publication"], event["delivered"]) == ("delivered", 9, 1)


async def test_only_to_the_sender(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    await rig.subscribe(bob)
    rig.site.answers["publish"] = {"only_to_sender": True}
    await rig.send(alice, "PUBLISH", channel_name="room")
    assert alice.names() == ["PUBLISH"]
    assert bob.names() == []


async def test_anonymous_channels_do_not_name_the_originator(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"anonymous": True}
    alice = await rig.connect("alice")
    await rig.send(alice, "PUBLISH", channel_name="room")
    assert "originator" not in rig.site.took("publish")[0][1]


async def test_auto_subscribe_of_a_refused_publish_is_not_carried_out(rig: Rig) -> None:
    alice = await rig.connect("alice")
    rig.site.answers["publish"] = Refusal("no")
    await rig.send(alice, "PUBLISH", channel_name="room")
    assert alice.names() == ["ERROR"]


async def test_what_was_granted_is_published_though_the_sender_has_gone(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    await rig.subscribe(bob)
    rig.site.answers["publish"] = {"publication": 3, "auto_subscribe": ["other"]}
    held = rig.site.hold("publish")
    await rig.send(alice, "PUBLISH", channel_name="room", payload='"bye"')
    await rig.leave(alice)
    held.set()
    await turns()
    assert bob.took()[0][1]["payload"] == "bye"
    assert rig.reported()[-1]["delivered"] == 1
    assert "other" not in rig.channels


async def test_a_page_may_publish_as_the_last_thing_it_does(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"moderated": False}
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    await rig.subscribe(bob)
    await alice.receive('[1,"PUBLISH",{"channel_name":"room","payload":"1"}]\r\n')
    await rig.leave(alice)
    assert bob.names() == ["PUBLISH"]


@pytest.mark.parametrize(
    "payload",
    [5, None, {}, "", "{bad", "NaN", "1e999", "[" * 5000, "1" * 5000, "\ud800"],
)
async def test_payloads_that_are_no_json(rig: Rig, payload: Any) -> None:
    alice = await rig.connect("alice")
    await rig.send(alice, "PUBLISH", channel_name="room", payload=payload)
    assert alice.took()[0][1]["msg"] == "Invalid json for payload"
    assert rig.site.took("publish") == []


async def test_a_payload_with_a_lone_surrogate_passes(rig: Rig) -> None:
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    await rig.send(alice, "PUBLISH", channel_name="room", payload='"\ud800 \\udc00"')
    assert alice.took()[0][1]["payload"] == "\ud800 \udc00"


def test_payloads_are_json_texts() -> None:
    assert parse_payload("[1, null]") == [1, None]
    with pytest.raises(Refusal):
        parse_payload(None)


async def test_messages(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    rig.site.took()
    await rig.send(alice, "MESSAGE", name="bob", payload="1")
    ((_, form),) = rig.site.took()
    assert (form["sender"], form["recipient"], form["recipient_exists"], form["payload"]) == (
        "alice", "bob", "True", "1",
    )  # fmt: skip
    assert alice.names() == bob.names() == ["MESSAGE"]
    rig.site.answers["message"] = {"override_recipient_name": "alice", "override_payload": 5}
    await rig.send(alice, "MESSAGE", name="bob")
    assert alice.took()[0][1]["payload"] == 5
    assert bob.names() == []
    rig.site.answers["message"] = {"override_recipient_name": ["alice"]}
    await rig.send(alice, "MESSAGE", name="bob")
    ((name, args),) = alice.took()
    assert (name, args["code"]) == ("ERROR", "refused")


async def test_messages_that_no_webhook_decides(rig: Rig) -> None:
    rig.site.answers["connect"] = {"moderated_message": False, "reflective": False}
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    await rig.send(alice, "MESSAGE", name="bob")
    assert rig.site.took("message") == []
    assert (alice.names(), bob.names()) == ([], ["MESSAGE"])
    await rig.send(alice, "MESSAGE", name="nobody")
    assert alice.took()[0][1]["msg"] == "Invalid user name"


async def test_a_publication_skips_only_the_connection_it_came_from(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"reflective": False, "moderated": False}
    one, two, bob = [await rig.connect(name) for name in ("alice", "alice", "bob")]
    for client in (one, bob):
        await rig.subscribe(client)
    two.took(), one.took()
    await rig.rest("publish", channel_name="room", payload="1")
    await rig.send(one, "PUBLISH", channel_name="room", payload="2")
    await rig.rest("publish", channel_name="room", payload="3")
    await turns()
    payloads = [[a["payload"] for _, a in c.took()] for c in (one, two, bob)]
    assert payloads == [[1, 3], [1, 2, 3], [1, 2, 3]]


# ---- tokens ------------------------------------------------------------------------------------


async def test_a_used_token_is_refused_without_asking_the_site(rig: Rig) -> None:
    rig.site.answers["connect"] = {"name": "alice", "identity": "token:1:x", "single_use": 60}
    first, second = rig.client(), rig.client()
    await rig.send(first, "CONNECT", cookie_string="", token="t")
    assert first.user is not None
    rig.site.took()
    await rig.send(second, "CONNECT", cookie_string="", token="t")
    ((name, args),) = second.took()
    assert (name, args["code"]) == ("ERROR", "session_expired")
    assert second.user is None
    assert rig.site.calls == []
    await rig.send(second, "CONNECT", cookie_string="", token="another")
    assert second.user is not None


async def test_of_two_that_use_a_token_at_once_one_stays(rig: Rig) -> None:
    rig.site.answers["connect"] = {"name": "alice", "identity": "token:1:x", "single_use": 60}
    held = rig.site.hold("connect")
    clients = [rig.client(), rig.client()]
    for client in clients:
        await rig.send(client, "CONNECT", cookie_string="", token="t")
    held.set()
    await turns()
    ended = [client.end.code for client in clients if client.end]
    assert ended == [4000]
    assert len(rig.hub.users["alice"].connections) == 1
    (event,) = (event for event in rig.reported() if event["event"] == "disconnect")
    assert event["user"] == "alice"  # the site had let it in


@pytest.mark.parametrize("single_use", [None, True, "60", 0, -5])
async def test_tokens_that_may_be_used_again(rig: Rig, single_use: object) -> None:
    """As the ids of anonymous visitors, which a page that comes back sends again."""
    rig.site.answers["connect"] = {"name": "alice", "single_use": single_use}
    for _ in range(2):
        client = rig.client()
        await rig.send(client, "CONNECT", cookie_string="", token="t")
        assert client.user is not None
