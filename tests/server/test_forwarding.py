"""CSP requests that reach another node than the one that has their session."""

from __future__ import annotations

import asyncio
import io
import os
import stat
from pathlib import Path

import aiohttp
import pytest

from djhookbox.server.transports import forwarding
from djhookbox.wire.proof import SECRET_HEADER, to_header

from ..ports import free_port
from ..redis_server import RedisServer
from ..stand_ins.waiting import until
from .running import Running, Start
from .test_csp_transport import ORIGIN, Session, names, packets


@pytest.fixture
async def nodes(start: Start, redis: RedisServer, tmp_path: Path) -> list[Running]:
    config = {"engine": redis.url, "run_dir": str(tmp_path), "allowed_origins": (ORIGIN,)}
    made = [await start(**config) for _number in range(2)]
    await know_each_other(made)
    return made


async def know_each_other(nodes: list[Running]) -> None:
    def complete() -> bool:
        return all(len(node.server._cluster.shared.nodes.others) == 1 for node in nodes)  # type: ignore[union-attr]

    await until(complete, "the nodes to know each other")


class Wandering(Session):
    """A session each of whose requests goes to the next node."""

    def __init__(self, nodes: list[Running]) -> None:
        super().__init__(nodes[0])
        self.nodes = nodes
        self.turn = 0

    async def begin(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.one = self.nodes[self.turn % len(self.nodes)]
        self.turn += 1
        return await super().begin(*args, **kwargs)


async def collect(session: Session, frames: dict[int, str | None]) -> None:
    """Add the next packets by their numbers, and acknowledge those there are."""
    text = await session.text("comet", a=str(max(frames, default=1)))
    frames |= {number: frame and frame[1] for number, frame in packets(text)}


async def test_each_request_of_a_session_may_reach_another_node(nodes: list[Running]) -> None:
    session = await Wandering(nodes).open()
    await session.connect("eve")
    await session.send([2, "SUBSCRIBE", {"channel_name": "/a/"}])
    frames: dict[int, str | None] = {}
    while "SUBSCRIBE" not in frames.values():
        await collect(session, frames)
    for number in range(4):
        await session.send([3 + number, "PUBLISH", {"channel_name": "/a/", "payload": "1"}])
    while [*frames.values()].count("PUBLISH") < 4:
        await collect(session, frames)
    assert session.turn >= 8
    await session.text("close")
    await until(lambda: not any(len(n.server.runtime.connections) for n in nodes), "the end")


async def test_a_held_request_is_answered_through_the_other_node(nodes: list[Running]) -> None:
    session = await Session(nodes[0]).open()
    await session.connect("eve")
    session.one = nodes[1]
    held = asyncio.create_task(session.text("comet", a="1"))
    await asyncio.sleep(0.2)
    assert not held.done()
    session.one = nodes[0]
    await session.send([2, "SUBSCRIBE", {"channel_name": "/a/"}])
    assert "SUBSCRIBE" in names(await held)


async def test_a_stream_passes_the_other_node_piece_by_piece(nodes: list[Running]) -> None:
    session = await Session(nodes[0]).open()
    await session.connect("eve")
    session.one = nodes[1]
    stream = await session.begin("comet", se="1", bs="\n", ct="text/event-stream")
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    session.one = nodes[0]
    for number in range(3):
        await session.send([2 + number, "SUBSCRIBE", {"channel_name": f"/{number}/"}])
        text = b""
        while b"U1VCU0NSSUJF" not in text and b"SUBSCRIBE" not in text and not text:
            text += await asyncio.wait_for(stream.content.readany(), 10)
        assert text


async def test_sessions_that_no_node_has(nodes: list[Running]) -> None:
    own = nodes[0].server._cluster.shared.node  # type: ignore[union-attr]
    for key in (f"{own}-{'0' * 32}", f"{'0' * 16}-{'0' * 32}", "x-y", "-", f"{'é' * 16}-1", "?s=-"):
        response = await Session(nodes[1], key).ask("comet")
        assert response.status == 404, key
        assert "not found" in await response.text()


async def test_a_node_that_was_killed(nodes: list[Running], caplog) -> None:
    session = await Session(nodes[0]).open()
    await session.connect("eve")
    gone = nodes[0].server.clients.forwarding
    assert gone is not None
    await gone._runner.cleanup()  # type: ignore[union-attr]
    Path(gone._path).touch()
    session.one = nodes[1]
    response = await session.ask("comet", _Origin=ORIGIN)
    assert response.status == 503
    assert response.headers["Access-Control-Allow-Origin"]
    assert "A CSP request to node" in caplog.text


async def test_errors_of_the_owner_are_passed_back(nodes: list[Running]) -> None:
    session = await Session(nodes[0]).open()
    session.one = nodes[1]
    assert (await session.ask("send", "no batch")).status == 400
    assert (await session.ask("send", io.BytesIO(b"x" * 1_100_000))).status == 413
    assert (await session.ask("close", method="GET")).status == 405


async def test_only_nodes_reach_the_internal_address(nodes: list[Running], tmp_path: Path) -> None:
    owner = nodes[0].server.clients.forwarding
    assert owner is not None
    assert stat.S_IMODE(os.stat(owner._path).st_mode) == 0o600
    session = await Session(nodes[0]).open()
    connector = aiohttp.UnixConnector(owner._path)
    async with aiohttp.ClientSession(connector=connector) as client:
        url = f"http://localhost/csp/comet?s={session.key}&du=0"
        for headers in ({}, {SECRET_HEADER: to_header("wrong")}):
            async with client.post(url, headers=headers) as response:
                assert response.status == 403
        async with client.post(url, headers={SECRET_HEADER: to_header("s")}) as response:
            assert response.status == 200
    # A client cannot make a node believe that it is one.
    response = await Session(nodes[1], session.key).ask("reflect", "x", _Hookbox_Secret="s")
    assert response.status == 200


async def test_nodes_of_other_machines_need_an_address(nodes: list[Running], caplog) -> None:
    session = await Session(nodes[0]).open()
    nodes[1].server.clients.forwarding._machine = "another"  # type: ignore[union-attr]
    session.one = nodes[1]
    assert (await session.ask("comet")).status == 503
    assert "set HOOKBOX_NODE_URL on each machine" in caplog.text


async def test_nodes_reach_each_other_at_their_urls(
    start: Start, redis: RedisServer, tmp_path: Path
) -> None:
    ports = [free_port() for _number in range(2)]
    nodes = [
        await start(engine=redis.url, run_dir=str(tmp_path), node_url=f"http://127.0.0.1:{port}")
        for port in ports
    ]
    await know_each_other(nodes)
    session = await Wandering(nodes).open()
    await session.connect("eve")
    async with aiohttp.ClientSession() as client:
        url = f"http://127.0.0.1:{ports[0]}/csp/comet?s={session.key}"
        async with client.post(url) as response:
            assert response.status == 403


async def test_a_folder_whose_path_is_too_long_for_a_socket(
    start: Start, redis: RedisServer, tmp_path: Path
) -> None:
    deep = tmp_path / ("x" * 100)
    nodes = [await start(engine=redis.url, run_dir=str(deep)) for _number in range(2)]
    await know_each_other(nodes)
    await (await Wandering(nodes).open()).connect("eve")


async def test_sockets_of_dead_nodes_are_removed(
    start: Start, redis: RedisServer, tmp_path: Path
) -> None:
    import socket

    dead = tmp_path / "node-0000000000000000.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(dead))
    living = await start(engine=redis.url, run_dir=str(tmp_path))
    assert not dead.exists()
    await start(engine=redis.url, run_dir=str(tmp_path))
    assert living.server.clients.forwarding is not None
    assert Path(living.server.clients.forwarding._path).exists()


async def test_a_node_that_has_just_started_is_waited_for(
    nodes: list[Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await Session(nodes[0]).open()
    other = nodes[1].server.clients.forwarding
    assert other is not None
    find, asked = other._find, []

    def late(node: str):  # type: ignore[no-untyped-def]
        asked.append(node)
        return find(node) if len(asked) > 1 else None

    monkeypatch.setattr(other, "_find", late)
    monkeypatch.setattr(forwarding, "HEARTBEAT_SECONDS", 0.01)
    session.one = nodes[1]
    assert (await session.ask("reflect", "x")).status == 200
