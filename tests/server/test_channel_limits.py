"""How many channels and subscriptions there may be in total."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from djhookbox.server.refusals import Refusal
from djhookbox.server.reporting import CHANNEL

from .rig import FakeConnection, Rig, turns


async def asked(rig: Rig, client: FakeConnection, *names: str) -> list[tuple[str, str]]:
    """Subscribe to channels one by one; return the names of the answers and their codes."""
    answers = []
    for name in names:
        await rig.send(client, "SUBSCRIBE", channel_name=name)
        frame, args = client.took()[-1]
        answers.append((frame, args.get("code", "")))
    return answers


FINE, FULL = ("SUBSCRIBE", ""), ("ERROR", "limit")


async def test_many_connections_cannot_create_channels_without_end(
    make_rig: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig(max_channels=3)
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    assert await asked(rig, alice, "a", "b") == [FINE, FINE]
    assert await asked(rig, bob, "c", "d", "a") == [FINE, FULL, FINE]
    assert "HOOKBOX_MAX_CHANNELS" in caplog.text
    await rig.send(bob, "SUBSCRIBE", channels=["d", "b"])
    assert sorted(bob.names()) == ["ERROR", "SUBSCRIBE"]
    for call, form in (
        ("create_channel", {}),
        ("publish", {"payload": "1", "options": '{"history_size": 1}'}),
        ("subscribe", {"name": "bob", "options": "{}"}),
    ):
        with pytest.raises(Refusal, match="HOOKBOX_MAX_CHANNELS") as caught:
            await rig.rest(call, channel_name="d", **form)
        assert caught.value.code == "limit"
    assert sorted(rig.channels) == ["a", "b", "c"]
    # The operators' own channel is there when it is needed most.
    assert await asked(rig, bob, CHANNEL) == [FINE]
    await rig.send(bob, "UNSUBSCRIBE", channel_name="c")
    await rig.send(bob, "UNSUBSCRIBE", channel_name=CHANNEL)
    await turns()
    bob.took()
    assert await asked(rig, bob, "d") == [FINE]
    rig.check()


async def test_nor_subscribe_without_end(
    make_rig: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig(max_subscriptions=4)
    alice, bob = await rig.connect("alice"), await rig.connect("bob")
    assert await asked(rig, alice, "a", "b", "c") == [FINE, FINE, FINE]
    assert await asked(rig, bob, "a", "b") == [FINE, FULL]
    assert "HOOKBOX_MAX_SUBSCRIPTIONS" in caplog.text
    with pytest.raises(Refusal, match="HOOKBOX_MAX_SUBSCRIPTIONS"):
        await rig.rest("subscribe", channel_name="b", name="bob")
    assert await asked(rig, bob, CHANNEL) == [FINE]
    # Another page of somebody who is in already is no further subscription.
    again = await rig.connect("alice")
    await rig.send(again, "SUBSCRIBE", channel_name="a")
    assert "ERROR" not in again.names()
    await rig.leave(again)
    await rig.leave(alice)
    await turns()
    assert await asked(rig, bob, "b", "c") == [FINE, FINE]
    await rig.leave(bob)
    await turns()
    assert rig.hub.subscriptions == 0
    rig.check()
