"""Changes of channels with an engine that is slow, fails, or answers too late."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest

from djhookbox.server.channels import proposals as proposals_module
from djhookbox.server.channels.outcomes import ChannelGone, EngineFailed
from djhookbox.server.channels.proposals import Proposals
from djhookbox.server.core.announcing import compose
from djhookbox.server.core.changes import (
    Destroy,
    Publish,
    SetOptions,
    SetState,
    Subscribe,
    Unsubscribe,
)
from djhookbox.server.core.model import Channel
from djhookbox.server.refusals import Refusal
from djhookbox.wire.options import OptionError

from .engines import FarEngine, MoodyEngine
from .rig import FakeConnection, Rig, turns


class Slow:
    """A server whose engine takes its time, with somebody in a channel."""

    def __init__(self, rig: Rig, engine: FarEngine, alice: FakeConnection) -> None:
        self.rig, self.engine, self.alice = rig, engine, alice

    @property
    def proposals(self) -> Proposals:
        return self.rig.server.channels.proposals

    @property
    def channel(self) -> Channel:
        return self.rig.channels["room"]

    def start(self, change: Any) -> asyncio.Task[Any]:
        return asyncio.ensure_future(self.proposals.propose(self.channel, change))

    def publish(self, payload: Any) -> asyncio.Task[Any]:
        return self.start(compose(self.channel, payload, "alice", time.time()))

    def told(self) -> list[str]:
        """Return the kinds of changes that the engine has had."""
        return [type(change).__name__ for _, change in self.engine.known]


@pytest.fixture(params=[FarEngine, MoodyEngine])
async def slow(make_rig: Any, request: pytest.FixtureRequest) -> Any:
    engine = request.param()
    rig = make_rig(engine=engine)
    rig.site.answers["create_channel"] = {"history_size": 9, "moderated": False}
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    yield Slow(rig, engine, alice)
    engine.gate.set()
    engine.down = False
    await turns(400)
    rig.check()


async def test_nobody_sees_a_change_before_it_has_come_back(slow: Slow) -> None:
    slow.engine.gate.clear()
    work = [slow.publish(number) for number in range(4)]
    work += [slow.start(SetState({"k": 1})), slow.start(SetOptions({"presenceful": True}, 0))]
    await turns()
    seen = len(slow.alice.took())
    assert seen < 2  # what was answered at once
    assert sum(task.done() for task in work) == seen
    assert not slow.channel.options.presenceful
    slow.engine.gate.set()
    await asyncio.gather(*work)
    await turns()
    assert [args.get("payload") for _, args in slow.alice.took()] == [
        *range(seen, 4), None,
    ]  # fmt: skip
    assert slow.channel.options.presenceful
    assert slow.channel.state == {"k": 1}


async def test_changes_are_applied_in_the_order_in_which_they_were_asked_for(slow: Slow) -> None:
    versions = []
    work = []
    for number in range(20):
        work.append(slow.publish(number))
        await turns(number % 5)
        versions.append(slow.channel.version)
    applied = [await task for task in work]
    offsets = [each.position.offset for each in applied]
    assert offsets == list(range(1, 21))
    await turns()
    assert [args["payload"] for _, args in slow.alice.took()] == list(range(20))
    assert versions == sorted(versions)
    published = [change for _, change in slow.engine.known if isinstance(change, Publish)]
    assert [change.data["payload"] for change in published] == list(range(20))


async def test_channels_do_not_wait_for_one_another(slow: Slow) -> None:
    await slow.rig.subscribe(slow.alice, "other")
    slow.engine.gate.clear()
    work = [slow.publish(number) for number in range(3)]
    other = slow.rig.channels["other"]
    change = compose(other, "x", "alice", time.time())
    both = asyncio.ensure_future(slow.proposals.propose(other, change))
    await turns()
    assert slow.told()[-1] == "Publish"
    assert any(name == "other" for name, each in slow.engine.known if each is change)
    slow.engine.gate.set()
    await asyncio.gather(both, *work)
    await turns()


async def test_what_was_begun_is_finished_although_nobody_waits(slow: Slow) -> None:
    slow.engine.gate.clear()
    work = [slow.publish(number) for number in range(3)]
    await turns()
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    slow.engine.gate.set()
    await turns()
    assert [args["payload"] for _, args in slow.alice.took()] == [0, 1, 2]
    assert (await slow.publish(3)).position.offset == 4


async def test_what_waits_behind_the_end_of_a_channel_is_refused(slow: Slow) -> None:
    slow.engine.gate.clear()
    channel = slow.channel
    work = [slow.publish(number) for number in range(2)]
    end = asyncio.ensure_future(slow.proposals.destroy(channel))
    late = [slow.publish(2), slow.start(SetState({"k": 1})), slow.start(SetOptions({}, 0))]
    again = asyncio.ensure_future(slow.proposals.open("room", {"history_size": 3}))
    slow.engine.gate.set()
    await asyncio.gather(end, again, *work)
    assert [type(each) for each in await asyncio.gather(*late, return_exceptions=True)] == [
        ChannelGone
    ] * 3
    assert slow.alice.names() == ["PUBLISH", "PUBLISH", "UNSUBSCRIBE"]
    assert slow.channel is again.result() is not channel
    assert (slow.channel.stream and slow.channel.stream.offset) == 2


async def test_a_change_that_comes_back_after_the_channel_has_gone(slow: Slow) -> None:
    """As when another process has destroyed it."""
    slow.engine.gate.clear()
    channel = slow.channel
    work = [slow.publish(number) for number in range(3)]
    await turns()
    seen = slow.alice.names()
    slow.rig.hub.destroy_channel(channel, 0)
    slow.engine.gate.set()
    results = await asyncio.gather(*work, return_exceptions=True)
    assert [type(each) for each in results[len(seen) :]] == [ChannelGone] * (3 - len(seen))
    assert slow.alice.names() == []
    assert channel.stream is not None
    assert channel.stream.offset == len(seen)


async def test_one_that_the_engine_no_longer_has_is_gone(slow: Slow) -> None:
    del slow.engine._open["room"]
    with pytest.raises(ChannelGone):
        await slow.publish(1)
    assert slow.alice.names() == []
    slow.rig.hub.destroy_channel(slow.channel, 0)


async def test_who_left_meanwhile_is_not_subscribed(slow: Slow) -> None:
    bob = await slow.rig.connect("bob")
    assert bob.user is not None
    slow.engine.gate.clear()
    work = [slow.publish(0), slow.start(Subscribe(bob.user, bob, 0)), slow.publish(1)]
    await turns()
    await slow.rig.leave(bob)
    slow.engine.gate.set()
    await asyncio.gather(*work)
    await turns()
    assert list(slow.channel.subscribers) == ["alice"]
    assert slow.channel.audience == {slow.alice: None}
    joined = [type(c) for _, c in slow.engine.known if getattr(c, "user", None) is bob.user]
    assert joined in ([], [Subscribe, Unsubscribe])


async def test_a_leave_is_repeated_until_the_engine_knows(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals_module, "LEAVE_PAUSE", 0.001)
    bob = await slow.rig.connect("bob")
    await slow.rig.subscribe(bob)
    slow.engine.down = True
    slow.engine.known.append(("", SetState({})))  # so that neither engine answers at once
    await slow.rig.leave(bob)
    assert list(slow.channel.subscribers) == ["alice"]
    await asyncio.sleep(0.05)
    slow.engine.down = False
    await asyncio.sleep(0.05)
    await turns()
    leaves = [c for _, c in slow.engine.known if isinstance(c, Unsubscribe)]
    assert [change.user.name for change in leaves] == ["bob"]


async def test_who_loses_the_right_waits_for_no_engine(slow: Slow) -> None:
    slow.engine.gate.clear()
    user = slow.alice.user
    assert user is not None
    slow.proposals.withdraw(slow.channel, user, "policy")
    assert [(name, args["reason"]) for name, args in slow.alice.took()] == [
        ("UNSUBSCRIBE", "policy")
    ]


async def test_many_are_entered_in_one_step(slow: Slow) -> None:
    """One of them fails, one is gone; all that can be done is done at once."""
    for name in ("a", "b", "c"):
        await slow.rig.rest("create_channel", channel_name=name)
    channels = [slow.rig.channels[name] for name in ("a", "b", "c")]
    user = slow.alice.user
    assert user is not None
    slow.engine.gate.clear()
    before = asyncio.ensure_future(slow.proposals.propose(channels[1], SetState({"k": 1})))
    end = asyncio.ensure_future(slow.proposals.destroy(channels[2]))
    await turns(1)
    entering = asyncio.ensure_future(
        slow.proposals.propose_all(
            [(channel, Subscribe(user, slow.alice, 0)) for channel in channels],
            last=lambda effect: False,
        )
    )
    await turns()
    assert slow.alice.names() == []
    slow.engine.gate.set()
    first, second, third = await entering
    assert (first, second) == (None, None)
    assert isinstance(third, ChannelGone)
    await asyncio.gather(before, end)
    subscribed = [args["channel_name"] for name, args in slow.alice.took() if name == "SUBSCRIBE"]
    assert subscribed == ["a", "b"]
    assert len(slow.alice.packets[-1].split(b"\r\n")) == 3, "both in one piece"


@pytest.mark.parametrize("given", [{"history_size": "x"}, {"polling": {"mode": "no"}}])
async def test_wrong_options_never_reach_the_engine(slow: Slow, given: dict[str, Any]) -> None:
    before = slow.told()
    with pytest.raises(OptionError):
        await slow.start(SetOptions(given, 0))
    with pytest.raises(Refusal):
        await slow.proposals.open("new", given)
    assert slow.told() == before


async def test_with_an_engine_that_is_down_nothing_changes(make_rig: Any) -> None:
    engine = FarEngine()
    rig: Rig = make_rig(engine=engine)
    rig.site.answers["create_channel"] = {"moderated": False}
    alice, bob = await rig.connect("alice"), await rig.connect("bob", ack=True)
    await rig.subscribe(alice)
    version = rig.channels["room"].version
    engine.down = True
    for call, form in (
        ("publish", {"payload": "1"}),
        ("set_channel_options", {"reflective": "false"}),
        ("state_set_key", {"key": "k", "val": "1"}),
        ("subscribe", {"name": "bob"}),
        ("unsubscribe", {"name": "alice"}),
        ("destroy_channel", {}),
    ):
        with pytest.raises(EngineFailed):
            await rig.rest(call, channel_name="room", **form)
    await rig.send(bob, "SUBSCRIBE", channel_name="room")
    many = {"room": "", "new": ""}
    await rig.send(bob, "SUBSCRIBE", channels=many)
    channel = rig.channels["room"]
    assert (channel.version, list(channel.subscribers), channel.state) == (version, ["alice"], {})
    assert channel.options.reflective
    assert alice.took() == []
    assert "new" not in rig.channels
    engine.down = False
    await rig.send(bob, "SUBSCRIBE", channel_name="room")
    assert "SUBSCRIBE" in bob.names()
    await turns()
    rig.check()


async def test_a_channel_whose_end_failed_is_tried_again(make_rig: Any) -> None:
    engine = FarEngine()
    rig: Rig = make_rig(engine=engine)
    rig.site.answers["create_channel"] = {"moderated": False}
    await rig.rest("create_channel", channel_name="room")
    engine.down = True
    await rig.lifecycle.expire(time.time() + 61)
    await turns()
    assert "room" in rig.channels
    engine.down = False
    await rig.lifecycle.expire(time.time() + 122)
    await turns()
    assert rig.channels == {}


async def test_a_channel_that_somebody_enters_does_not_end(slow: Slow) -> None:
    await slow.rig.rest("create_channel", channel_name="empty")
    channel = slow.rig.channels["empty"]
    user = slow.alice.user
    assert user is not None
    enter = asyncio.ensure_future(slow.proposals.propose(channel, Subscribe(user, slow.alice, 0)))
    await turns(1)
    await slow.proposals.destroy(channel, only_empty=True)
    await enter
    assert slow.rig.channels["empty"] is channel
    assert not any(isinstance(change, Destroy) for _, change in slow.engine.known)


async def test_an_engine_in_memory_changes_within_the_call(rig: Rig) -> None:
    """Several changes in one turn of the event loop, with nothing in between."""
    rig.site.answers["create_channel"] = {"history_size": 3, "moderated": False}
    alice = await rig.connect("alice")
    await rig.subscribe(alice)
    channel, proposals = rig.channels["room"], rig.server.channels.proposals
    version = channel.version
    for number in range(3):
        work = proposals.propose(channel, compose(channel, number, None, 0))
        with pytest.raises(StopIteration) as end:
            work.send(None)
        assert end.value.value.position.offset == number + 1
    proposals.submit(channel, SetState({"k": 1}))
    assert channel.version == version + 4
    assert alice.names() == []
    await turns(2)
    assert alice.names() == ["PUBLISH"] * 3 + ["STATE_UPDATE"]


async def test_a_failure_that_nobody_waits_for_is_logged(
    slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    slow.engine.down = True
    with caplog.at_level(logging.WARNING):
        for number in range(2):
            slow.proposals.submit(slow.channel, SetState({"k": number}))
        await turns()
    assert "'room' was not changed" in caplog.text
