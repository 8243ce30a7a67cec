"""The server's own channel: who gets reports, and that they leave no trace."""

from __future__ import annotations

import json
from typing import Any

import pytest

from djhookbox.server.metrics import STEP
from djhookbox.server.reporting import CHANNEL, INTERVAL

from .rig import FakeConnection, Rig, turns

NOW = 1_300_000_000.0


@pytest.fixture
async def reader(rig: Rig) -> FakeConnection:
    rig.site.accepted = rig.site.accepted | {"report"}
    rig.site.answers["create_channel"] = {"moderated": True, "anonymous": True}
    reader = await rig.connect("root")
    await rig.subscribe(reader, CHANNEL)
    rig.site.took()
    return reader


async def reports(rig: Rig, reader: FakeConnection, now: float) -> list[dict[str, Any]]:
    rig.server.service.reporter.tick(now)
    await turns()
    return [args["payload"] for name, args in reader.took() if name == "PUBLISH"]


async def test_a_report_comes_at_once_and_then_now_and_again(
    rig: Rig, reader: FakeConnection
) -> None:
    [report] = await reports(rig, reader, NOW)
    assert report["connections"] == 1
    assert report["connection_list"]["listed"][0]["user"] == "root"
    assert await reports(rig, reader, NOW + 1) == []
    assert await reports(rig, reader, NOW + 2) == []
    assert len(await reports(rig, reader, NOW + INTERVAL)) == 1
    assert len(await reports(rig, reader, NOW - 5000)) == 1, "the clock was set back"
    second = await rig.connect("second")
    await rig.subscribe(second, CHANNEL)
    reader.took()
    assert len(await reports(rig, second, NOW - 4999)) == 1, "who comes does not wait"


async def test_reports_are_neither_asked_about_nor_logged_nor_kept(
    rig: Rig, reader: FakeConnection
) -> None:
    before = rig.reported()
    assert await reports(rig, reader, NOW)
    assert rig.site.took() == []
    assert rig.reported() == before
    assert not rig.channels[CHANNEL].history


async def test_no_report_leaves_where_the_site_does_not_know_that_channel(
    rig: Rig, reader: FakeConnection
) -> None:
    rig.site.accepted = frozenset({"events"})  # an application that lets anybody in
    assert await reports(rig, reader, NOW) == []


async def test_only_the_page_that_asked_gets_them(rig: Rig, reader: FakeConnection) -> None:
    other_page = await rig.connect("root")
    assert await reports(rig, reader, NOW)
    assert other_page.took() == []
    await rig.leave(reader)
    rig.site.answers["destroy_channel"] = {}
    await turns()
    assert CHANNEL not in rig.channels
    rig.check()


async def test_a_reply_cannot_subscribe_anybody_by_itself(rig: Rig, reader: FakeConnection) -> None:
    rig.site.answers["connect"] = {"auto_subscribe": [CHANNEL]}
    await rig.connect("mallory")
    assert set(rig.channels[CHANNEL].subscribers) == {"root"}


async def test_what_a_report_says(rig: Rig) -> None:
    for name in ("bob", "alice"):
        await rig.subscribe(await rig.connect(name), "/chat/Ä")
    await rig.subscribe(await rig.connect("alice"), "/other")
    await rig.rest("publish", channel_name="/chat/Ä", payload="1")
    for second in range(1, STEP + 1):
        rig.server.metrics.sample(rig.server.metrics.started + second)
    report = await rig.rest("get_server_info", report="1")
    assert report["channel_list"]["total"] == 2
    listed = report["channel_list"]["listed"]
    assert [(c["name"], c["subscribers"]) for c in listed] == [("/chat/Ä", 2), ("/other", 1)]
    assert listed[0]["rate"] > 0 == listed[1]["rate"]
    assert listed[0]["history"] == 0
    assert len(report["rates"]["in"]) == len(report["rates"]["out"]) == 1
    connections = report["connection_list"]
    assert connections["total"] == 3
    assert {c["user"] for c in connections["listed"]} == {"alice", "bob"}
    # The page says no more of a connection, so a report must not either.
    for connection in connections["listed"]:
        assert set(connection) == {"id", "user", "transport", "since", "channels", "unsent"}
    plain = await rig.rest("get_server_info")
    assert "channel_list" not in plain
    assert set(plain) < set(report)
    json.dumps(report)


async def test_a_report_is_searched_and_bounded(rig: Rig) -> None:
    first = await rig.connect("Äpfel")
    for number in range(120):
        await rig.subscribe(first, f"/rooms/{number}/")
    everything = await rig.rest("get_server_info", report="1")
    assert everything["channel_list"]["total"] == 120
    assert len(everything["channel_list"]["listed"]) == 20
    found = await rig.rest("get_server_info", report="1", channel="ROOMS/11", user="äP")
    assert found["channel_list"]["total"] == 11
    assert found["connection_list"]["total"] == 1
    nobody = await rig.rest("get_server_info", report="1", user="bob")
    assert nobody["connection_list"] == {"total": 0, "listed": []}


async def test_each_part_of_the_lists_can_be_asked_for_in_several_orders(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = {name: await rig.connect(name) for name in ("alice", "bob", "carol")}
    for number in range(45):
        await rig.subscribe(clients["alice"], f"/rooms/{number:02}/")
    await rig.subscribe(clients["bob"], "/rooms/40/")
    for _count in range(3):
        await rig.send(clients["bob"], "PUBLISH", channel_name="/rooms/44/", payload="1")
        await rig.rest("publish", channel_name="/rooms/44/", payload="1")
    for since, name in enumerate(("carol", "alice", "bob")):
        clients[name].since = float(since)

    async def names(which: str, **form: str) -> list[str]:
        report = await rig.rest("get_server_info", report="1", **form)
        key = "name" if which == "channel_list" else "user"
        return [row[key] for row in report[which]["listed"]]

    rooms = [f"/rooms/{number:02}/" for number in range(45)]
    rest = [room for room in rooms if room != "/rooms/40/"]
    assert await names("channel_list") == ["/rooms/40/", *rest[:19]]
    assert await names("channel_list", channel_page="2") == rest[19:39]
    assert await names("channel_list", channel_page="3") == rest[39:]
    assert await names("channel_list", channel_page="99999") == []
    assert await names("channel_list", channel_page="0", channel="/40/") == ["/rooms/40/"]
    assert (await names("channel_list", channel_sort="rate"))[0] == "/rooms/44/"
    for number, room in enumerate(rooms):
        rig.server.runtime.hub.channels[room].created = 1000.0 + number
    assert await names("channel_list", channel_sort="oldest") == rooms[:20]
    assert await names("channel_list", channel_sort="newest") == rooms[::-1][:20]
    assert await names("connection_list") == ["bob", "alice", "carol"]
    assert await names("connection_list", user_sort="oldest") == ["carol", "alice", "bob"]
    assert (await names("connection_list", user_sort="channels"))[0] == "alice"
    assert len(await names("connection_list", user_sort="unsent")) == 3
    assert await names("connection_list", user_sort="<odd>") == ["bob", "alice", "carol"]
    # Those who do not read are first, unless another order is asked for.
    monkeypatch.setattr(
        type(clients["carol"]), "unsent", property(lambda one: 9 * (one is clients["carol"]))
    )
    assert await names("connection_list") == ["carol", "bob", "alice"]
    assert await names("connection_list", user_sort="newest") == ["bob", "alice", "carol"]
