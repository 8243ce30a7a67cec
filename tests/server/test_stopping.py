"""The end of the server: within its grace period, whatever clients and the site do."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from ..stand_ins.waiting import until
from .running import App, Running, Start, read, send

#: Usually, three seconds are enough. The clients and the site share a thread with the server, and
#: several tests share the machine.
GRACE = 60.0


class Crowd:
    """Clients that come back as soon as they are closed."""

    def __init__(self, one: Running, clients: int, *, subscribed: bool) -> None:
        self._one = one
        self._subscribed = subscribed
        self.inside = 0
        # Without the limit of 100 connections that a session has by itself.
        connector = aiohttp.TCPConnector(limit=0)
        self._http = aiohttp.ClientSession(connector=connector)
        self._tasks = [asyncio.create_task(self._stay(number)) for number in range(clients)]

    async def _stay(self, number: int) -> None:
        while True:
            with suppress(aiohttp.ClientError, OSError, AssertionError):
                client = await self._http.ws_connect(f"{self._one.address}/ws")
                await send(client, "CONNECT", cookie_string="", payload=json.dumps(f"u{number}"))
                await read(client)
                if self._subscribed:
                    await send(client, "SUBSCRIBE", channel_name="room")
                    await read(client)
                self.inside += 1
                while (await client.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
                self.inside -= 1
            # They share a thread with the server, whose time is measured.
            await asyncio.sleep(0.1)

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()


def reported(site: App) -> list[dict[str, Any]]:
    return [
        event
        for hook, form, _ in site.calls
        if hook == "events"
        for event in json.loads(form["events"])
    ]


# How many events there are just before the end decided whether it came.
@pytest.mark.slow
@pytest.mark.timing  # asyncio's cancellations differ between Python 3.10, 3.11 and 3.12
@pytest.mark.parametrize(("clients", "subscribed"), [(500, False), (500, True)])
async def test_it_ends_although_clients_keep_coming_back(
    start: Start, site: App, clients: int, subscribed: bool
) -> None:
    site.answers["create_channel"] = {"moderated": False}
    one = await start(grace_period=GRACE)
    crowd = Crowd(one, clients, subscribed=subscribed)
    try:
        await until(lambda: crowd.inside == clients, patience=60)
        began = time.monotonic()
        await asyncio.wait_for(one.server.stop(), 2 * GRACE)
        assert time.monotonic() - began < GRACE
    finally:
        await crowd.leave()
    ends = [event for event in reported(site) if event["event"] == "disconnect"]
    assert len({event["conn_id"] for event in ends}) == len(ends) >= clients
    assert not one.server.runtime.connections


async def test_it_ends_although_the_site_hangs(start: Start, site: App) -> None:
    one = await start(grace_period=2.0, webhook_timeout=60.0)
    await one.open("alice")
    held = asyncio.Event()
    site.held = held
    waiting = [asyncio.create_task(one.open(f"u{number}")) for number in range(5)]
    await until(lambda: len(site.calls) == 6)
    began = time.monotonic()
    await asyncio.wait_for(one.server.stop(), 10)
    assert time.monotonic() - began < 2.0
    held.set()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_nobody_comes_in_on_a_connection_that_was_kept(start: Start, site: App) -> None:
    one = await start(grace_period=3.0, webhook_timeout=60.0)
    url = f"{one.address}/csp/handshake?du=0"
    async with one.http.post(url) as response:
        assert response.status == 200
        await response.read()
    await one.open("alice")
    site.held = asyncio.Event()
    stopping = asyncio.create_task(one.server.stop())
    await until(lambda: one.server.runtime.connections.stopping)
    with suppress(aiohttp.ClientConnectionError):
        async with one.http.post(url) as response:  # on the connection of before
            assert response.status == 503
    site.held.set()
    await stopping
    assert not one.server.runtime.connections


EARLY = """
import os, signal
from djhookbox.server import app, running
from djhookbox.server.config import ServerConfig

start = app.Server.start

async def start_and_be_told_to_stop(self, listener=None):
    address = await start(self)
    os.kill(os.getpid(), signal.SIGTERM)
    return address

app.Server.start = start_and_be_told_to_stop
running.run(ServerConfig(port=0, webhook_url="http://127.0.0.1:9/hookbox", webhook_secret="s"),
        on_ready=lambda address: print("ready"))
print("stopped")
"""


@pytest.mark.process
def test_a_signal_counts_as_soon_as_the_port_is_open() -> None:
    command = [sys.executable, "-c", EARLY]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout.split()) == (0, ["ready", "stopped"]), ended.stderr
