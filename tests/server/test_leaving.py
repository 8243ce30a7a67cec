"""What happens when a connection ends."""

from __future__ import annotations

from djhookbox.server.site.webhooks import Refusal, WebhookFailed

from .rig import Rig, turns


async def test_the_order_of_webhooks(rig: Rig) -> None:
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    for channel in ("b", "a"):
        await rig.subscribe(alice, channel)
    await rig.subscribe(bob, "a")
    rig.site.took()
    await rig.leave(alice)
    calls = [(hook, form.get("channel_name", form.get("name"))) for hook, form in rig.site.took()]
    assert calls == [
        ("unsubscribe", "b"), ("destroy_channel", "b"), ("unsubscribe", "a"),
        ("disconnect", "alice"),
    ]  # fmt: skip


async def test_nobody_waits_for_the_webhooks(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"presenceful": True}
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    for client in (alice, bob):
        await rig.subscribe(client)
    held = rig.site.hold("unsubscribe")
    await rig.leave(alice)
    assert bob.names() == ["UNSUBSCRIBE"]
    again = await rig.connect("alice")  # while the site still thinks about the old one
    await rig.subscribe(again)
    held.set()
    await turns()
    assert set(rig.channels["room"].subscribers) == {"alice", "bob"}


async def test_failures_change_nothing(rig: Rig) -> None:
    rig.site.answers |= {"unsubscribe": Refusal("stay"), "disconnect": WebhookFailed()}
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    await rig.leave(alice)
    assert rig.channels == {}
    assert rig.hub.users == {}


async def test_other_connections_keep_the_subscriptions(rig: Rig) -> None:
    one, two = await rig.connect("alice"), await rig.connect("alice")
    await rig.subscribe(one)
    two.took()
    rig.site.took()
    await rig.leave(one)
    assert rig.site.took() == []
    assert two.took() == []
    assert list(rig.channels["room"].audience) == [two]


async def test_the_site_is_not_asked_about_what_it_ends_itself(rig: Rig) -> None:
    rig.site.answers["unsubscribe"] = {"auto_unsubscribe": ["b"], "auto_subscribe": ["d"]}
    alice = await rig.connect("alice")
    for name in "abc":
        await rig.subscribe(alice, name)
    rig.site.took()
    await rig.leave(alice)
    asked = [(hook, form.get("channel_name")) for hook, form in rig.site.took()]
    assert asked == [
        ("unsubscribe", "a"), ("destroy_channel", "a"), ("destroy_channel", "b"),
        ("unsubscribe", "c"), ("destroy_channel", "c"), ("disconnect", None),
    ]  # fmt: skip
    (_, event) = rig.reported()
    assert (event["event"], event["channel_name"], event["by"]) == ("unsubscribe", "b", "auto")


async def test_what_is_reported(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"moderated": False}
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    rig.reported()
    await rig.leave(alice)
    _, end, unsubscribe = rig.reported()
    assert (end["event"], end["user"], end["code"], end["conn_id"]) == (
        "disconnect", "alice", 1000, alice.id,
    )  # fmt: skip
    assert (unsubscribe["event"], unsubscribe["by"]) == ("unsubscribe", "disconnect")
    assert end["duration"] >= 0


async def test_who_never_connected_goes_unnoticed(rig: Rig) -> None:
    await rig.leave(rig.client())
    assert rig.site.calls == []
    assert rig.reported() == []


async def test_identities_are_forgotten(rig: Rig) -> None:
    rig.site.answers["connect"] = {"identity": "session:1"}
    one, two = await rig.connect("alice"), await rig.connect("alice")
    index = rig.server.runtime.connections._by_identity
    assert index == {"session:1": {one: None, two: None}}
    await rig.leave(one)
    assert index == {"session:1": {two: None}}
    await rig.leave(two)
    assert index == {}


async def test_an_auto_subscribe_has_nobody_to_go_to(rig: Rig) -> None:
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    rig.site.answers["unsubscribe"] = {"auto_subscribe": ["other"]}
    await rig.leave(alice)
    assert rig.channels == {}
