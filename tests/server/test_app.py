"""The server put together, with real sockets: WebSockets, limits, slow readers, the end."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from contextlib import suppress

import aiohttp
import pytest

from djhookbox.server.app import PING_TURN, Server
from djhookbox.server.clients.registry import Connections
from djhookbox.server.config import ServerConfig
from djhookbox.server.transports.websocket import WebSocketConnection
from djhookbox.wire.closing import restart

from ..stand_ins.waiting import until
from .running import App, Start, ended, read, send, transport

# ---- handshakes -------------------------------------------------------------------------------


async def test_health_says_only_ok(start: Start) -> None:
    one = await start()
    async with one.http.get(f"{one.address}/health") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})
    async with one.http.get(f"{one.address}/nowhere") as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "7"}, 426),
        ({"Upgrade": "websocket", "Connection": "Upgrade"}, 426),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
async def test_requests_that_are_no_handshake(
    start: Start, headers: dict[str, str], status: int
) -> None:
    one = await start()
    async with one.http.get(f"{one.address}/ws", headers=headers) as response:
        assert response.status == status
        assert status != 426 or response.headers["Sec-WebSocket-Version"] == "8, 13"
    assert not one.server.runtime.connections


@pytest.mark.parametrize(
    ("headers", "cookie"),
    [
        ({}, None),
        ({"Origin": "http://site.example"}, "sid=1"),
        ({"Sec-Fetch-Site": "same-origin"}, "sid=1"),
    ],
)
async def test_cookies_count_only_for_a_page_that_proves_itself(
    start: Start, site: App, headers: dict[str, str], cookie: str | None
) -> None:
    one = await start(allowed_origins=("http://site.example",))
    await one.open("alice", headers={**headers, "Cookie": "sid=1"})
    assert site.calls[0][2] == cookie


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("tenant.example:8001", "tenant.example:8001"),
        ("x\tX-Real-IP: 6.6.6.6", None),
        ("a.example, b.example", None),
        ("a.example\r\nHost: b.example", None),
    ],
)
async def test_the_site_is_told_which_host_was_asked_for_and_by_whom(
    start: Start, site: App, host: str, told: str | None
) -> None:
    one = await start(trusted_proxies=("127.0.0.0/8",), allowed_hosts=("*",))
    name, port = one.address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "X-Hookbox-Host: forged.example\r\nX-Forwarded-For: 6.6.6.6\r\n"
        "X-Forwarded-For: 7.7.7.7, 1.2.3.4\r\n\r\n".encode()
    )
    answer = await reader.readuntil(b"\r\n\r\n")
    if b" 400 " in answer.splitlines()[0]:
        assert told is None  # which is as good
        writer.close()
        return
    text = b'[1,"CONNECT",{"cookie_string":"","payload":"\\"alice\\""}]\r\n'
    writer.write(struct.pack("!BB", 0x81, 0x80 | len(text)) + b"\0\0\0\0" + text)
    await asyncio.wait_for(reader.readuntil(b"CONNECTED"), 10)
    (headers,) = site.received
    assert headers.get("X-Hookbox-Host") == told
    assert headers["X-Real-IP"] == "1.2.3.4"
    writer.close()


async def test_headers_that_are_no_text(start: Start, site: App) -> None:
    one = await start()
    host, port = one.address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-Fetch-Site: same-origin\r\nCookie: a=\xe9; sid=1\r\n"
        b"User-Agent: \xff\xfe\r\nX-Forwarded-For: \xe9\r\n\r\n"
    )
    assert b"101" in await reader.readuntil(b"\r\n\r\n")
    text = b'[1,"CONNECT",{"cookie_string":"","payload":"\\"alice\\""}]\r\n'
    writer.write(struct.pack("!BB", 0x81, 0x80 | len(text)) + b"\0\0\0\0" + text)
    assert b"CONNECTED" in await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
    _, form, cookie = site.calls[0]
    assert form["remote_addr"] == "127.0.0.1"
    assert cookie is not None
    assert cookie.endswith("; sid=1")
    writer.close()


async def test_too_many_connections(start: Start) -> None:
    one = await start(max_connections=2)
    first, _ = await one.open("a"), await one.open("b")
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await one.open()
    assert caught.value.status == 503
    await first.close()
    await until(lambda: len(one.server.runtime.connections) == 1)
    await one.open("c")


# ---- frames -----------------------------------------------------------------------------------


async def test_a_conversation(start: Start, site: App) -> None:
    one = await start()
    alice, bob = await one.open("alice"), await one.open("bob")
    for client in (alice, bob):
        await send(client, "SUBSCRIBE", channel_name="/é/")
        assert (await read(client))[1] == "SUBSCRIBE"
    await send(alice, "PUBLISH", channel_name="/é/", payload='"😀"')
    for client in (alice, bob):
        _, name, args = await read(client)
        assert (name, args["payload"], args["user"]) == ("PUBLISH", "😀", "alice")
    await alice.close()
    await until(lambda: "disconnect" in [hook for hook, _, _ in site.calls])
    assert list(one.channels["/é/"].subscribers) == ["bob"]


async def test_boundaries_of_messages_mean_nothing(start: Start) -> None:
    one = await start()
    client = await one.open("alice")
    frame = '[1,"SUBSCRIBE",{"channel_name":"a"}]\r\n[2,"FLY",{}]\r'
    for character in frame:
        await client.send_str(character)
    await client.send_str("")  # not the end of the connection (D07)
    await client.send_bytes('\n[3,"FLÜ",{}]\r\n'.encode())
    await client.send_bytes(b"\xff\xfe\r\n")
    assert (await read(client))[1] == "SUBSCRIBE"
    found = [await read(client) for _ in range(3)]
    assert [(name, args["id"]) for _, name, args in found] == [
        ("ERROR", 2), ("ERROR", 3), ("ERROR", None),
    ]  # fmt: skip


async def test_ten_thousand_frames_in_one_write(start: Start, site: App) -> None:
    site.answers["create_channel"] = {"moderated": False}
    one = await start(max_frames_per_second=100_000)
    alice, bob = await one.open("alice"), await one.open("bob")
    await send(bob, "SUBSCRIBE", channel_name="room")
    await read(bob)
    frames = (
        json.dumps([n, "PUBLISH", {"channel_name": "room", "payload": str(n)}])
        for n in range(10_000)
    )
    await alice.send_str("\r\n".join(frames) + "\r\n")
    await send(alice, "FLY")
    got = [(await read(bob))[2]["payload"] for _ in range(10_000)]
    assert got == list(range(10_000))
    assert (await read(alice))[1] == "ERROR"


async def test_a_client_that_publishes_and_goes(start: Start) -> None:
    one = await start()
    alice, bob = await one.open("alice"), await one.open("bob")
    await send(bob, "SUBSCRIBE", channel_name="room")
    await read(bob)
    await send(alice, "PUBLISH", channel_name="room", payload='"bye"')
    await alice.close()
    assert (await read(bob))[2]["payload"] == "bye"


async def test_clients_that_vanish_do_not_hold_up_the_others(start: Start, site: App) -> None:
    site.answers["create_channel"] = {"moderated": False}
    one = await start()
    stays = await one.open("stays")
    await send(stays, "SUBSCRIBE", channel_name="room")
    await read(stays)
    for number in range(20):
        client = await one.open(f"u{number}")
        await send(client, "SUBSCRIBE", channel_name="room")
        await read(client)
        transport(client).abort()
        await one.rest("publish", channel_name="room", payload=str(number))
        assert (await read(stays))[2]["payload"] == number
    await until(lambda: list(one.channels["room"].subscribers) == ["stays"])


# ---- limits and ends --------------------------------------------------------------------------


async def test_a_subscriber_that_never_reads(start: Start, site: App) -> None:
    site.answers["create_channel"] = {"moderated": False}
    one = await start(max_unsent=100_000)
    reader, stuck = await one.open("reader"), await one.open("stuck")
    for client in (reader, stuck):
        await send(client, "SUBSCRIBE", channel_name="room")
        await read(client)
    raw = stuck.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    transport(stuck).pause_reading()
    payload = json.dumps("x" * 10_000)
    for _ in range(2000):
        await one.rest("publish", channel_name="room", payload=payload)
        await read(reader)
        if one.server.metrics.dropped_slow:
            break
    assert one.server.metrics.dropped_slow == 1
    await until(lambda: list(one.channels["room"].subscribers) == ["reader"])
    await until(lambda: len(one.server.runtime.connections) == 1)


async def test_dead_peers_are_found(start: Start) -> None:
    one = await start(ping_interval=0.1)
    alive, dead = await one.open("alive"), await one.open("dead")
    transport(dead).pause_reading()  # so it answers no ping
    reading = asyncio.create_task(alive.receive())
    await until(lambda: "dead" not in one.server.runtime.hub.users)
    await asyncio.sleep(0.3)  # three more pings
    assert "alive" in one.server.runtime.hub.users
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading


async def test_sent_away(start: Start, site: App) -> None:
    one = await start()
    alice = await one.open("alice")
    reply = await one.rest("disconnect", name="alice", code="4501", reason="The account is gone")
    assert reply == [True, {"disconnected": 1}]
    assert await ended(alice) == 4501
    await until(lambda: not one.server.runtime.connections)
    assert one.server.runtime.hub.users == {}


async def test_a_client_that_does_not_answer_a_close_is_dropped(start: Start) -> None:
    one = await start()
    host, port = one.address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    (connection,) = one.server.runtime.connections
    await one.rest("disconnect", conn_id=connection.id)
    with suppress(ConnectionError):  # aborted, or ended
        rest = await asyncio.wait_for(reader.read(), 5)
        assert rest.startswith(b"\x88")
    writer.close()


async def test_stopping_tells_clients_to_come_back_and_reports(start: Start, site: App) -> None:
    site.answers["create_channel"] = {"moderated": False}
    one = await start()
    clients = [await one.open(f"u{number}") for number in range(5)]
    await send(clients[0], "SUBSCRIBE", channel_name="room")
    await read(clients[0])
    site.calls.clear()
    stopping = asyncio.create_task(one.server.stop())
    assert [await ended(client) for client in clients] == [1012] * 5
    await asyncio.wait_for(stopping, 5)
    assert {hook for hook, _, _ in site.calls} == {"events"}
    events = [e for _, form, _ in site.calls for e in json.loads(form["events"])]
    assert [e["code"] for e in events if e["event"] == "disconnect"] == [1012] * 5
    with pytest.raises(aiohttp.ClientConnectionError):
        await one.open()


async def test_stopping_tells_clients_that_know_ack_how_to_spread(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("djhookbox.wire.closing.RETURNS_PER_SECOND", 1)
    one = await start()
    old, new = await one.open("old"), await one.open()
    await send(new, "CONNECT", cookie_string="", payload=json.dumps("new"), ack=True)
    await read(new)
    async with one.http.post(f"{one.address}/csp/handshake", data="{}") as answer:
        session = json.loads((await answer.text()).strip("()"))["session"]
    frame = [1, "CONNECT", {"cookie_string": "", "payload": '"csp"', "ack": True}]
    packet = json.dumps([[1, 0, json.dumps(frame) + "\r\n"]])
    await one.http.post(f"{one.address}/csp/send?s={session}", data=packet)
    await until(lambda: "csp" in one.server.runtime.hub.users)
    stopping = asyncio.create_task(one.server.stop())
    expected = {"code": 1012, "reason": "The server restarts; come back", "spread": 3}
    assert (await read(new))[1:] == ["DISCONNECT", expected]
    assert await ended(new) == 1012
    message = await old.receive()
    assert message.type is aiohttp.WSMsgType.CLOSE, "one of 2010 sees its close frame only"
    await asyncio.wait_for(stopping, 5)


@pytest.mark.parametrize(
    ("connections", "spread"), [(0, 0), (199, 0), (200, 1), (20_000, 100), (10**6, 120)]
)
def test_the_more_come_back_the_longer_they_are_spread(connections: int, spread: int) -> None:
    farewell = restart(connections)
    assert (farewell.code, farewell.spread) == (1012, spread)
    assert ("spread" in farewell.args()) is (spread > 0)


async def test_a_taken_port(start: Start) -> None:
    one = await start()
    port = int(one.address.rpartition(":")[2])
    with pytest.raises(OSError, match=f"port {port} on 127.0.0.1 is in use"):
        await Server(ServerConfig(port=port)).start()


async def test_a_periodic_task_that_fails_is_logged(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await start()

    async def fail(now: float) -> None:
        raise RuntimeError("oops")

    monkeypatch.setattr(one.server.channels.lifecycle, "expire", fail)
    with caplog.at_level(logging.ERROR):
        await until(lambda: "A background task failed" in caplog.text)


async def test_a_close_reason_cannot_forge_a_log_line(
    start: Start, site: App, caplog: pytest.LogCaptureFixture
) -> None:
    one = await start()
    socket = await one.open("alice")
    with caplog.at_level(logging.INFO, logger="djhookbox.server"):
        await socket.close(code=4321, message=b"bye\n\x1b[2K\x00 WARNING all is well")
        await until(lambda: "events" in [hook for hook, *_ in site.calls])
    (line,) = (r.getMessage() for r in caplog.records if "closed: 4321" in r.getMessage())
    assert line.endswith(r"bye\n\x1b[2K\x00 WARNING all is well")
    (events,) = (form["events"] for hook, form, _ in site.calls if hook == "events")
    (ended,) = (e for e in json.loads(events) if e["event"] == "disconnect")
    assert ended["reason"] == r"bye\n\x1b[2K\x00 WARNING all is well"


async def test_pings_are_spread_over_half_of_their_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pinged = slept = 0.0
    found: list[tuple[float, float]] = []

    class Pinged(WebSocketConnection):
        def __init__(self) -> None:
            pass

        def ping(self) -> bool:
            nonlocal pinged
            pinged += 1
            return True

    async def sleep(seconds: float) -> None:
        nonlocal slept
        found.append((slept, pinged))
        slept += seconds
        if slept > 40:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    server = Server(ServerConfig(ping_interval=20.0))
    connections = [Pinged() for _ in range(4 * PING_TURN)]
    monkeypatch.setattr(Connections, "__iter__", lambda _: iter(connections))
    with suppress(asyncio.CancelledError):
        await server._ping_all()
    assert [count / PING_TURN for at, count in found if at <= 20] == [0, 1, 2, 3, 4, 4]
    assert [at for at, _ in found[1:6]] == [10, 12.5, 15, 17.5, 20]
