"""Whatever a client sends, it gets a plain answer and its connection stays usable."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from .rig import Rig, turns


@pytest.mark.parametrize(
    ("name", "args", "code"),
    [
        ("FLY", {}, "malformed"),
        ("ÉTÉ", {}, "malformed"),
        ("connect", {}, "malformed"),
        ("SUBSCRIBE", {"channel_name": "room"}, "not_connected"),
        ("UNSUBSCRIBE", {}, "not_connected"),
        ("PUBLISH", {}, "not_connected"),
        ("MESSAGE", {}, "not_connected"),
        ("CONNECT", {}, "malformed"),
        ("CONNECT", {"cookie_string": None}, "malformed"),
        ("CONNECT", {"cookie_string": "é"}, "malformed"),
        ("CONNECT", {"cookie_string": "", "payload": 5}, "malformed"),
        ("CONNECT", {"cookie_string": "", "token": ["x"]}, "malformed"),
        ("CONNECT", {"cookie_string": "", "token": "x" * 9000}, "malformed"),
        ("CONNECT", {"cookie_string": "", "token": "x" * 2049}, "malformed"),
        ("CONNECT", {"cookie_string": "", "token": "a\0b"}, "malformed"),
        ("CONNECT", {"cookie_string": "", "token": "a\nb"}, "malformed"),
        ("CONNECT", {"cookie_string": "", "token": "\ud800"}, "malformed"),
        ("CONNECT", {"cookie_string": "", "payload": "NaN"}, "malformed"),
        ("CONNECT", {"cookie_string": "", "payload": '{"a": 1e999}'}, "malformed"),
        ("CONNECT", {"cookie_string": "", "payload": "[" * 101 + "]" * 101}, "malformed"),
        ("CONNECT", {"cookie_string": "", "expect_user": 5}, "malformed"),
        ("CONNECT", {"cookie_string": "", "expect_user": "a\0"}, "malformed"),
        ("CONNECT", {"cookie_string": "", "expect_user": "x" * 256}, "malformed"),
    ],
)
async def test_before_connect(rig: Rig, name: str, args: dict[str, Any], code: str) -> None:
    client = rig.client()
    await rig.send(client, name, **args)
    ((answer, error),) = client.took()
    assert (answer, error["id"], error["code"]) == ("ERROR", 7, code)
    assert isinstance(error["msg"], str)
    assert rig.site.calls == []
    await rig.send(client, "CONNECT", cookie_string="", payload='"alice"')
    assert client.names() == ["CONNECTED"]


@pytest.mark.parametrize("name", ["SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH", "MESSAGE"])
@pytest.mark.parametrize("value", [None, 5, True, "", [], {}, "x" * 256, "a\n", "\ud800"])
async def test_names_that_are_none(rig: Rig, name: str, value: Any) -> None:
    client = await rig.connect("alice")
    rig.site.took()
    field = "name" if name == "MESSAGE" else "channel_name"
    for args in ({field: value}, {}):
        await rig.send(client, name, **args)
        ((answer, error),) = client.took()
        assert (answer, error["code"]) == ("ERROR", "malformed")
    assert rig.site.calls == []
    assert rig.channels == {}


async def test_lines_that_are_no_frames(rig: Rig) -> None:
    client = await rig.connect("alice")
    await client.receive('\r\n{bad\r\n[5]\r\n"x"\r\n[1,"SUBSCRIBE",{"channel_name":"r"}]\r\n')
    await turns()
    found = [(name, args.get("id", 0)) for name, args in client.took()]
    assert found == [
        ("ERROR", None), ("ERROR", None), ("ERROR", 5), ("ERROR", None), ("SUBSCRIBE", 0),
    ]  # fmt: skip


async def test_a_frame_that_is_too_large(rig: Rig) -> None:
    client = await rig.connect("alice")
    await rig.send(client, "PUBLISH", channel_name="room", payload="x" * 300_000)
    assert client.took()[0][1]["code"] == "limit"
    await rig.subscribe(client)


async def test_acknowledgements(rig: Rig) -> None:
    client = await rig.connect("alice", ack=True)
    for name, frames in (
        ("SUBSCRIBE", ["SUBSCRIBE", "ACK"]), ("SUBSCRIBE", ["ACK"]),
        ("PUBLISH", ["PUBLISH", "ACK"]),
        ("UNSUBSCRIBE", ["UNSUBSCRIBE", "ACK"]), ("UNSUBSCRIBE", ["ACK"]), ("FLY", ["ERROR"]),
    ):  # fmt: skip
        await rig.send(client, name, channel_name="room")
        took = client.took()
        assert [frame for frame, _ in took] == frames
        place = {"offset", "epoch"} if name == "PUBLISH" else set()
        assert frames[-1] != "ACK" or took[-1][1].keys() == {"id"} | place


async def test_without_asking_there_are_none(rig: Rig) -> None:
    client = await rig.connect("alice", ack="yes")
    await rig.send(client, "PUBLISH", channel_name="room")
    assert client.took() == []


async def test_a_bug_is_logged_without_what_was_sent(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    client = rig.client()
    rig.site.answers["connect"] = ZeroDivisionError()
    with caplog.at_level(logging.ERROR):
        await rig.send(client, "CONNECT", cookie_string="sid=secret", token="t0ken")
    assert client.took()[0][1]["msg"] == "Internal error"
    assert "Unexpected error" in caplog.text
    assert "secret" not in caplog.text
    assert "t0ken" not in caplog.text


async def test_lone_surrogates_in_what_goes_to_the_site(rig: Rig) -> None:
    rig.site.answers["connect"] = {"name": "alice"}
    client = rig.client()
    await rig.send(client, "CONNECT", cookie_string="", payload='"\ud800"', token="t")
    assert client.names() == ["CONNECTED"]
    ((_, form),) = rig.site.took()
    assert form["payload"] == '"?"'
