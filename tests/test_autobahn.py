"""The server that the Autobahn test suite runs against; the suite itself needs Python 2.7."""

from __future__ import annotations

import asyncio
import re

import pytest
from websockets.asyncio.client import ClientConnection, connect

from bench import autobahn
from djhookbox.server.transports.websocket import WebSocketConnection

from .ports import free_port


@pytest.mark.parametrize("sent", ["", "héllo", "x" * 3_000_000, b"", b"\0\xff" * 40_000])
async def test_every_message_comes_back(monkeypatch: pytest.MonkeyPatch, sent: str | bytes) -> None:
    # `serve` replaces it for the whole process.
    monkeypatch.setattr("djhookbox.server.port.WebSocketConnection", WebSocketConnection)
    port = free_port()
    serving = asyncio.create_task(autobahn.serve(port))
    try:
        client = await connected(port)
        async with client:
            await client.send(sent)
            assert await asyncio.wait_for(client.recv(), 60) == sent
            await asyncio.wait_for(await client.ping(b"hi"), 60)
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def connected(port: int) -> ClientConnection:
    """Return a client, once the server listens."""
    found: list[ClientConnection] = []

    async def listens() -> bool:
        try:
            found.append(
                await connect(
                    f"ws://127.0.0.1:{port}/ws", compression=None, max_size=None, proxy=None
                )
            )
        except OSError:
            return False
        return True

    while not await listens():
        await asyncio.sleep(0.05)
    return found[0]


def test_every_package_of_the_suite_is_pinned() -> None:
    lines = autobahn.REQUIREMENTS.read_text().splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9.-]*==[0-9.]+", line) for line in packages)
    assert any(line.startswith("autobahntestsuite==") for line in packages)
