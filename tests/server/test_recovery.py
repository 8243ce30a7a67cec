"""Recovery on channels without a history: clients that return soon miss nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest

from ..stand_ins.clock import Clock
from .engines import FarEngine
from .rig import FakeConnection, Rig
from .setups import SETUPS, Group, make_group


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[*SETUPS, "far"])
async def rig(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Group]:
    if request.param == "far":
        group = Group([Rig(FarEngine(recovery=60), clock=clock)])
    else:
        url = lambda: request.getfixturevalue("redis").url  # noqa: E731
        group = make_group(request.param, url, clock=clock, recovery_seconds=60)
    await group.start()
    group.answers("create_channel", {"moderated": False})
    yield group
    group.check()
    await group.stop()


_numbers = count()


async def publish(rig: Group, payload: object) -> dict[str, Any]:
    return await rig.rest(
        "publish", channel_name="room", payload=str(payload), options="{}", recorded="1"
    )


async def join(rig: Group, since: str | None = None) -> tuple[FakeConnection, dict[str, Any]]:
    client = await rig.connect(f"visitor{next(_numbers)}")
    more = {} if since is None else {"since": since}
    await rig.send(client, "SUBSCRIBE", channel_name="room", **more)
    name, args = client.took()[-1]
    assert name == "SUBSCRIBE", args
    return client, args


async def catch_up(rig: Group, since: str) -> tuple[list[Any], int | None]:
    client, args = await join(rig, since)
    await rig.leave(client)
    return [each["payload"] for each in args["recovered"]], args["missed"]


async def test_a_client_that_returns_receives_what_it_missed(rig: Group, clock: Clock) -> None:
    client, args = await join(rig)
    await publish(rig, 1)
    name, first = client.took()[-1]
    assert (name, first["offset"], first["epoch"]) == ("PUBLISH", 1, args["epoch"])
    stays, _ = await join(rig)
    await rig.leave(client)
    for number in (2, 3):
        clock.now += 10
        await publish(rig, number)
    seen = f"{args['epoch']}:1"
    assert await catch_up(rig, seen) == ([2, 3], 0)
    clock.now += 51
    assert await catch_up(rig, seen) == ([3], 1)
    clock.now += 60
    await rig.expire(clock.now)
    assert await catch_up(rig, seen) == ([], 2)
    await rig.leave(stays)


async def test_new_subscribers_receive_only_the_history(rig: Group) -> None:
    await join(rig)
    await publish(rig, 1)
    client = await rig.connect("other")
    await rig.send(client, "SUBSCRIBE", channel_name="room")
    assert [name for name, _ in client.frames] == ["SUBSCRIBE"], "no CHANNEL_INIT"
    assert client.took()[-1][1]["history"] == []
    await rig.rest("set_channel_options", channel_name="room", history_size="1")
    for number in (2, 3):
        await publish(rig, number)
    _, args = await join(rig)
    assert [entry["payload"] for _, entry in args["history"]] == [3]
    assert await catch_up(rig, f"{args['epoch']}:0") == ([1, 2, 3], 0)


async def test_a_channel_that_everybody_left_is_returned_to(rig: Group, clock: Clock) -> None:
    client, args = await join(rig)
    await rig.leave(client)
    assert not list(rig.channels("room"))
    clock.now += 30
    await publish(rig, 1)  # opens it again
    clock.now += 29
    assert await catch_up(rig, f"{args['epoch']}:0") == ([1], 0)
    for _ in range(3):  # nobody was there for the recovery time: nothing is kept
        clock.now += 61
        await rig.expire(clock.now)
        await publish(rig, 2)
        assert not list(rig.channels("room"))
    assert await catch_up(rig, f"{args['epoch']}:1") == ([], None)


async def test_a_page_starts_at_its_cursor(rig: Group, clock: Clock) -> None:
    cursor = (await rig.rest("cursor", channel_name="room", options="{}"))["cursor"]
    await publish(rig, 1)
    assert await catch_up(rig, cursor) == ([1], 0)
    clock.now += 200
    await rig.expire(clock.now)
    await rig.expire(clock.now + 100)
    assert await catch_up(rig, cursor) == ([], None)


async def test_a_clock_that_jumps_hides_nothing(rig: Group, clock: Clock) -> None:
    stays, args = await join(rig)
    seen = f"{args['epoch']}:0"
    await publish(rig, 1)
    clock.now -= 3600
    await publish(rig, 2)
    assert await catch_up(rig, seen) == ([1, 2], 0)
    clock.now += 7200
    await publish(rig, 3)
    assert await catch_up(rig, seen) == ([3], 2), "what is dropped is announced"
    assert stays.user is not None


async def test_switched_off_there_are_no_numbers(make_rig: Any) -> None:
    rig = Group([make_rig(recovery_seconds=0)])
    rig.answers("create_channel", {"moderated": False})
    client, args = await join(rig)
    assert not {"epoch", "offset"} & args.keys()
    assert await publish(rig, 1) == {"delivered": 1}
    assert "offset" not in client.took()[-1][1]
    answer = await rig.rest("cursor", channel_name="room", options="{}")
    assert answer["cursor"] == ""
