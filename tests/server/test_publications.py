"""Publications and their logs, with an engine in memory and with one that is far away."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from djhookbox.server.engine.memory import MemoryEngine
from djhookbox.server.refusals import Refusal

from .engines import FarEngine
from .rig import FakeConnection, Rig, turns

HISTORY = '{"history_size": 5}'


@pytest.fixture(params=[MemoryEngine, FarEngine])
def engine(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture
def rig(make_rig: Any, engine: MemoryEngine) -> Rig:
    rig: Rig = make_rig(engine=engine, recovery_seconds=0)
    rig.site.answers["create_channel"] = {"history_size": 5, "moderated": False}
    return rig


async def publish(rig: Rig, payload: int, channel: str = "room") -> dict[str, Any]:
    return await rig.rest(
        "publish", channel_name=channel, payload=str(payload), options=HISTORY, recorded="1"
    )


async def cursor(rig: Rig, options: str = HISTORY) -> str:
    return str((await rig.rest("cursor", channel_name="room", options=options))["cursor"])


async def catch_up(rig: Rig, since: str) -> tuple[list[Any], int | None]:
    client = await rig.connect("visitor")
    await rig.send(client, "SUBSCRIBE", channel_name="room", since=since)
    name, args = client.took()[-1]
    assert name == "SUBSCRIBE", args
    await rig.leave(client)
    return [each["payload"] for each in args["recovered"]], args["missed"]


async def test_rest_tells_the_place(rig: Rig) -> None:
    first, second = await publish(rig, 1), await publish(rig, 2)
    assert first.keys() == second.keys() == {"delivered", "epoch", "offset"}
    assert (first["offset"], second["offset"]) == (1, 2)
    assert await cursor(rig) == f"{second['epoch']}:2"
    rig.site.answers["create_channel"] = {}
    answer = await rig.rest("publish", channel_name="plain", payload="1")
    assert answer == {"delivered": 0}


async def test_a_cursor_creates_no_channel(rig: Rig) -> None:
    seen = await cursor(rig)
    assert seen.endswith(":0")
    assert rig.channels == {}
    assert rig.site.calls == []
    assert await cursor(rig) == seen
    await publish(rig, 1)
    await publish(rig, 2)
    assert await catch_up(rig, seen) == ([1, 2], 0)


async def test_without_history_there_is_no_cursor(rig: Rig) -> None:
    assert await cursor(rig, "{}") == ""
    assert await cursor(rig, '{"history_size": 0}') == ""
    rig.site.answers["create_channel"] = {}
    await rig.rest("create_channel", channel_name="room")
    assert await cursor(rig) == ""  # the live channel knows better


async def test_a_log_outlives_its_channel(rig: Rig) -> None:
    seen = await cursor(rig)
    await publish(rig, 1)
    await rig.rest("destroy_channel", channel_name="room")
    await turns()
    assert await cursor(rig) == seen.replace(":0", ":1")
    await publish(rig, 2)
    assert await catch_up(rig, seen) == ([1, 2], 0)


async def test_what_lingered_long_enough_is_missed_and_counted(
    rig: Rig, engine: MemoryEngine
) -> None:
    seen = await cursor(rig)
    await publish(rig, 1)
    await rig.rest("destroy_channel", channel_name="room")
    await turns()
    await engine.expire(time.time() + 301)
    assert await catch_up(rig, seen) == ([], 1)
    await publish(rig, 2)
    assert await catch_up(rig, seen) == ([2], 1)


@pytest.mark.parametrize("way", ["live", "destroyed", "created", "published"])
async def test_what_was_published_past_the_log_is_never_hidden(rig: Rig, way: str) -> None:
    """Between two times with history there was one without; a cursor must not bridge it."""
    seen = await cursor(rig)
    await publish(rig, 1)
    if way == "live":
        await rig.rest("set_channel_options", channel_name="room", history_size="0")
        await publish(rig, 2)
        await rig.rest("set_channel_options", channel_name="room", history_size="5")
    elif way == "destroyed":
        await rig.rest("set_channel_options", channel_name="room", history_size="0")
        await publish(rig, 2)
        await rig.rest("destroy_channel", channel_name="room")
    else:
        await rig.rest("destroy_channel", channel_name="room")
        if way == "created":
            await rig.rest("create_channel", channel_name="room", options="{}")
            await publish(rig, 2)
            await rig.rest("destroy_channel", channel_name="room")
        else:
            await rig.rest("publish", channel_name="room", payload="2", options="{}")
    await publish(rig, 3)
    assert await catch_up(rig, seen) == ([3], None)


async def test_many_at_once_are_numbered_in_the_order_they_are_seen(rig: Rig) -> None:
    clients = [await rig.connect(f"user{number}") for number in range(3)]
    for client in clients:
        await rig.send(client, "SUBSCRIBE", channel_name="room")
        client.took()

    async def come_and_go(client: FakeConnection) -> None:
        await rig.send(client, "UNSUBSCRIBE", channel_name="room")
        await rig.send(client, "SUBSCRIBE", channel_name="room", since=await cursor(rig))

    await asyncio.gather(
        *(publish(rig, number) for number in range(40)),
        rig.send(clients[1], "PUBLISH", channel_name="room", payload="40"),
        come_and_go(clients[2]),
    )
    await turns(400)
    offsets = [args["offset"] for name, args in clients[0].took() if name == "PUBLISH"]
    assert offsets == list(range(1, 42))
    others = [args for name, args in clients[2].took() if name == "PUBLISH"]
    assert [args["offset"] for args in others] == sorted({args["offset"] for args in others})


async def test_options_change_while_the_engine_takes_its_time(make_rig: Any) -> None:
    rig = make_rig(engine=FarEngine(), recovery_seconds=0)
    rig.site.answers["create_channel"] = {"history_size": 5, "moderated": False}
    seen = await cursor(rig)
    await rig.send(await rig.connect("bob"), "SUBSCRIBE", channel_name="room")
    await publish(rig, 1)
    first = asyncio.create_task(publish(rig, 2))
    await turns(3)
    sizes = [
        asyncio.create_task(rig.rest("set_channel_options", channel_name="room", history_size=size))
        for size in ("0", "5")
    ]
    second = asyncio.create_task(publish(rig, 3))
    assert (await first)["offset"] == 2  # it was there before them
    await asyncio.gather(*sizes)
    assert (await second)["offset"] == 1  # of the new epoch
    assert await catch_up(rig, seen) == ([3], None)
    await turns()
    rig.check()


async def test_a_log_expires_although_its_channel_could_not_come_back(
    rig: Rig, engine: MemoryEngine
) -> None:
    await publish(rig, 1)
    await rig.rest("destroy_channel", channel_name="room")
    await turns()
    with pytest.raises(Refusal, match="no_such"):
        await rig.rest("create_channel", channel_name="room", history_size="5", no_such="1")
    await turns()
    await engine.expire(time.time() + 3600)
    assert engine._count == 0


async def test_a_log_is_not_written_to_by_a_channel_that_is_gone(rig: Rig) -> None:
    rig.site.answers["create_channel"] = {"history_size": 5, "moderated_publish": True}
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    seen = await cursor(rig)
    held = rig.site.hold("publish")
    await rig.send(alice, "PUBLISH", channel_name="room", payload="0")
    await rig.rest("destroy_channel", channel_name="room")
    for number in (1, 2):
        assert (await publish(rig, number))["offset"] == number
    alice.took()
    held.set()
    await turns()
    assert [args["msg"] for _, args in alice.took()] == [
        "The channel was destroyed in the meantime"
    ]
    await rig.rest("destroy_channel", channel_name="room")
    await publish(rig, 3)
    assert await catch_up(rig, seen) == ([1, 2, 3], 0)


async def test_an_engine_that_is_down(make_rig: Any) -> None:
    engine = FarEngine()
    rig = make_rig(engine=engine, recovery_seconds=0)
    rig.site.answers["create_channel"] = {"history_size": 5}
    alice = await rig.connect("alice", ack=True)
    await rig.send(alice, "SUBSCRIBE", channel_name="room")
    await publish(rig, 1)
    await turns()
    alice.took()
    engine.down = True
    await rig.lifecycle.expire(time.time())
    with pytest.raises(Refusal) as error:
        await publish(rig, 2)
    assert error.value.code == "unavailable"
    await rig.send(alice, "PUBLISH", channel_name="room", payload="3")
    await rig.send(alice, "SUBSCRIBE", channel_name="other")
    assert [(name, args.get("code")) for name, args in alice.took()] == [
        ("ERROR", "unavailable")
    ] * 2
    engine.down = False
    assert (await publish(rig, 4))["offset"] == 2
    await turns()
    assert [args["payload"] for _, args in alice.took()] == [4]


async def test_a_persistent_engine_bridges_a_crash(make_rig: Any) -> None:
    """Neither the core nor the client know that there was one."""
    engine = FarEngine()
    before = make_rig(engine=engine)
    before.site.answers["create_channel"] = {"history_size": 5}
    alice = await before.connect("alice")
    await before.send(alice, "SUBSCRIBE", channel_name="room")
    await publish(before, 1)
    await turns()
    seen = alice.took()[-1][1]
    dying = asyncio.create_task(publish(before, 2))
    await turns(5)  # the engine has it, and nobody else
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    assert alice.took() == []

    after = make_rig(engine=engine)
    after.site.answers["create_channel"] = {"history_size": 5, "moderated": False}
    await publish(after, 3)
    assert await catch_up(after, f"{seen['epoch']}:{seen['offset']}") == ([2, 3], 0)


async def test_memory_begins_another_epoch_after_a_crash(make_rig: Any) -> None:
    before = make_rig()
    seen = await cursor(before)
    await publish(before, 1)
    after = make_rig()
    after.site.answers["create_channel"] = {"history_size": 5, "moderated": False}
    await publish(after, 2)
    assert await catch_up(after, seen) == ([2], None)


@pytest.mark.parametrize("asked", [False, True])
async def test_clients_are_told_how_many_they_reach_if_so_configured(
    make_rig: Any, asked: bool
) -> None:
    for told in (False, True):
        rig: Rig = make_rig(tell_delivered=told)
        rig.site.answers["create_channel"] = {"moderated": False, "moderated_publish": asked}
        alice, bob = await rig.connect("alice", ack=True), await rig.connect("bob")
        await rig.send(bob, "SUBSCRIBE", channel_name="room")
        for channel, reached in (("room", 1), ("other", 0)):
            await rig.send(alice, "PUBLISH", channel_name=channel, payload="1")
            (answer,) = [args for name, args in alice.took() if name == "ACK"]
            assert answer.get("delivered") == (reached if told else None)
