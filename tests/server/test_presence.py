"""The option `server_user_presence`, also with an engine that is slow or fails."""

from __future__ import annotations

from typing import Any

import pytest

from djhookbox.server.channels import presence
from djhookbox.server.core.changes import SetState

from ..stand_ins.waiting import until
from .engines import FarEngine, MoodyEngine
from .rig import FakeConnection, Rig, turns

OPTIONS = {"server_presenceful": True, "server_user_presence": ["alice", "watcher"]}


async def watched(rig: Rig, **options: Any) -> FakeConnection:
    """Return a subscriber of a channel that shows alice and the subscriber."""
    rig.site.answers["create_channel"] = {**OPTIONS, **options}
    watcher = await rig.connect("watcher")
    await rig.send(watcher, "SUBSCRIBE", channel_name="room")
    await turns()
    assert rig.channels["room"].state == {
        "alice": False,
        "watcher": True,
        **options.get("state", {}),
    }
    watcher.took()
    return watcher


def updates(watcher: FakeConnection) -> list[dict[str, Any]]:
    return [args["updates"] for name, args in watcher.took() if name == "STATE_UPDATE"]


@pytest.fixture(params=[None, FarEngine, MoodyEngine])
async def rig(make_rig: Any, request: pytest.FixtureRequest) -> Any:
    rig = make_rig(engine=request.param() if request.param else None)
    yield rig
    await turns(400)
    rig.check()


async def test_users_who_come_and_go_are_shown(rig: Rig) -> None:
    watcher = await watched(rig, state={"other": 1})
    one, two = await rig.connect("alice"), await rig.connect("alice")
    await rig.connect("somebody else")
    await turns(200)
    assert updates(watcher) == [{"alice": True}]
    await rig.leave(one)
    assert updates(watcher) == []
    await rig.leave(two)
    await turns(200)
    assert updates(watcher) == [{"alice": False}]


async def test_changes_of_the_list_are_shown(rig: Rig) -> None:
    watcher = await watched(rig)
    await rig.connect("bob")
    await rig.rest("set_channel_options", channel_name="room", server_user_presence='["bob"]')
    await turns(200)
    assert updates(watcher) == [{"bob": True}]
    await rig.rest("set_channel_options", channel_name="room", reflective="false")
    await turns(200)
    assert updates(watcher) == []
    await rig.rest("set_channel_options", channel_name="room", state="{}")
    await turns(200)
    assert updates(watcher)[-1] == {"bob": True}
    await rig.rest("destroy_channel", channel_name="room")
    await rig.connect("bob")


async def test_the_engine_knows_every_change(make_rig: Any) -> None:
    engine = FarEngine()
    rig = make_rig(engine=engine)
    watcher = await watched(rig)
    engine.gate.clear()
    alice = await rig.connect("alice")
    await rig.leave(alice)
    assert updates(watcher) == [], "nobody sees a change before it has come back"
    engine.gate.set()
    await turns(400)
    assert updates(watcher) == [{"alice": True}, {"alice": False}]
    changes = [change.updates for _, change in engine.known if isinstance(change, SetState)]
    assert changes[-2:] == [{"alice": True}, {"alice": False}]


async def test_an_engine_that_fails_is_asked_again(
    make_rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "PAUSE", 0.01)
    engine = FarEngine()
    rig = make_rig(engine=engine)
    watcher = await watched(rig)
    engine.down = True
    alice = await rig.connect("alice")
    await rig.leave(alice)
    await rig.connect("alice")
    assert rig.channels["room"].state["alice"] is False
    engine.down = False
    await until(lambda: rig.channels["room"].state["alice"])
    await turns(400)
    assert updates(watcher)[-1] == {"alice": True}


async def test_a_state_that_is_full_does_not_stop_anybody(
    make_rig: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig(max_channel_state=4096)
    await rig.lifecycle.create("room", {**OPTIONS, "state": {"k": "x" * 2500}})
    size = rig.channels["room"].held
    rig.hub.states._most_each = size
    rig.channels["room"].options.server_user_presence.append("bob")
    await rig.connect("bob")
    assert "does not show 'bob'" in caplog.text
    assert "bob" not in rig.channels["room"].state
