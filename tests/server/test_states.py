"""How much memory the states of channels may use."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from djhookbox.server.core.hub import Hub
from djhookbox.server.core.states import States, _weigh_options, _weigh_state
from djhookbox.server.refusals import Refusal

from .house import NOW, House
from .rig import Rig, turns

KIB = 1024


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig(max_channel_state=20 * KIB, max_state=50 * KIB)


def held(rig: Rig) -> int:
    return sum(channel.held for channel in rig.channels.values())


async def refused(rig: Rig, call: str, /, **form: str) -> str:
    """Return the reason; a change that is refused has no effect."""
    before = {name: dict(channel.state) for name, channel in rig.channels.items()}
    total = rig.hub.states.total
    with pytest.raises(Refusal) as caught:
        await rig.rest(call, **form)
    assert caught.value.code == "limit"
    assert {name: dict(channel.state) for name, channel in rig.channels.items()} == before
    assert rig.hub.states.total == held(rig) == total
    return caught.value.reason


@pytest.mark.parametrize("value", ["x" * 20 * KIB, ["[]"] * 500, [[]] * 2000, "😀" * 6000])
async def test_the_state_of_a_channel_is_bounded_in_memory(rig: Rig, value: Any) -> None:
    await rig.lifecycle.create("room", {"state": {"small": 1}})
    reason = await refused(
        rig, "state_set_key", channel_name="room", key="k", val=json.dumps(value)
    )
    assert "HOOKBOX_MAX_CHANNEL_STATE" in reason
    assert "room" in reason
    reason = await refused(
        rig, "set_channel_options", channel_name="room", state=json.dumps({"k": value})
    )
    assert "HOOKBOX_MAX_CHANNEL_STATE" in reason


async def test_many_small_keys_are_counted_too(rig: Rig) -> None:
    await rig.lifecycle.create("room", {})
    accepted = 0
    for number in range(300):
        with suppress(Refusal):
            await rig.rest("state_set_key", channel_name="room", key=f"k{number}", val="1")
            accepted += 1
    assert 50 < accepted == len(rig.channels["room"].state) < 200


async def test_all_states_together_are_bounded(rig: Rig) -> None:
    names = [f"room{number}" for number in range(6)]
    for name in names:
        await rig.lifecycle.create(name, {})
    given = {"key": "k", "val": json.dumps("x" * 12 * KIB)}
    for name in names[:4]:
        await rig.rest("state_set_key", channel_name=name, **given)
    reason = await refused(rig, "state_set_key", channel_name=names[4], **given)
    assert "HOOKBOX_MAX_STATE" in reason
    assert rig.hub.states.total == held(rig) <= 50 * KIB
    # Less is always possible, and makes room.
    await rig.rest("state_set_key", channel_name=names[0], key="k", val='"y"')
    await rig.rest("state_set_key", channel_name=names[4], **given)
    await rig.rest("state_delete_key", channel_name=names[1], key="k")
    await rig.rest("destroy_channel", channel_name=names[2])
    for name in (names[1], names[5]):
        await rig.rest("state_set_key", channel_name=name, **given)
    for name in list(rig.channels):
        await rig.rest("destroy_channel", channel_name=name)
    assert rig.hub.states.total == 0


@pytest.mark.parametrize(
    "options",
    [
        {"state": {"k": "x" * 30 * KIB}},
        {"server_presenceful": True, "server_user_presence": ["user" * 20] * 200},
        {"polling": {"form": {"k": "x" * 30 * KIB}}},
    ],
)
async def test_a_policy_gives_no_more_than_that(
    rig: Rig, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    rig.site.answers["create_channel"] = options
    alice = await rig.connect("alice")
    await rig.send(alice, "SUBSCRIBE", channel_name="room")
    ((name, args),) = alice.took()
    assert (name, args["code"]) == ("ERROR", "limit")
    assert "HOOKBOX_MAX_CHANNEL_STATE" in caplog.text
    assert not rig.channels
    await rig.lifecycle.create("other", {})
    text = {name: json.dumps(value) for name, value in options.items()}
    await refused(rig, "set_channel_options", channel_name="other", **text)
    await refused(rig, "create_channel", channel_name="third", **text)
    await turns()
    assert rig.hub.states.total == 0


async def test_what_is_large_already_can_be_changed_as_long_as_it_does_not_grow(rig: Rig) -> None:
    await rig.lifecycle.create("room", {"state": {"k": "x" * 18 * KIB}})
    for _ in range(3):
        await rig.rest("state_set_key", channel_name="room", key="k", val=json.dumps("y" * 18_000))
        await rig.rest("set_channel_options", channel_name="room", reflective="false")
    await refused(rig, "state_set_key", channel_name="room", key="l", val=json.dumps("y" * 18_000))


def test_weights_are_right_whatever_happens() -> None:
    rnd = random.Random(9)
    house = House()
    house.hub = Hub(states=States())
    values = [None, 1, "x" * 300, ["ü"] * 40, {"a": [1.5]}, "😀" * 20]
    people = [house.connect(name) for name in ("alice", "bob")]
    channels = [house.channel(f"room{number}") for number in range(3)]
    for _ in range(300):
        channel = rnd.choice(channels)
        keys = rnd.sample(["a", "bb", "alice", "carol", "d" * 30], 3)
        match rnd.randrange(5):
            case 0:
                house.set_options(channel, {"state": {key: rnd.choice(values) for key in keys}})
            case 1:
                given = {"server_presenceful": True, "server_user_presence": keys}
                house.set_options(channel, given)
            case 2:
                url = {"mode": "once", "url": "http://a.example/" + "x" * rnd.randrange(200)}
                house.set_options(channel, {"polling": url})
            case _:
                updates = {key: rnd.choice(values) for key in keys[:2]}
                house.hub.states.change(channel, updates, keys[1:])
        if rnd.random() < 0.2:
            house.detach(people.pop())
            people.append(house.connect(rnd.choice(("alice", "carol"))))
        for each in channels:
            assert each.held == _weigh_state(each.state) + _weigh_options(each.options)
        assert house.hub.states.total == sum(each.held for each in channels)
    for channel in channels:
        house.hub.destroy_channel(channel, NOW)
    assert house.hub.states.total == 0
