"""Restart the server during its reports to a site that answers late, incorrectly or never.

Like Django, the site stores events whose number exceeds the last one of that run of the process.
Every publication must be stored exactly once.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

import aiohttp
from aiohttp import web

from djhookbox.server.app import Server
from djhookbox.server.config import ServerConfig
from tests.stand_ins.site import Site, fields_of

from .processes import SECRET

#: Seconds of a webhook's timeout here; late answers take twice as long.
TIMEOUT = 0.2


class EventStore(Site):
    """A site that stores events once, and answers in several ways."""

    def __init__(self, rnd: random.Random) -> None:
        super().__init__({"events", "json", "nodes"})
        self.answers["create_channel"] = {"moderated": False}
        self._rnd = rnd
        #: Whether it answers immediately and correctly, as at the end.
        self.calm = False
        self.last: dict[str, int] = {}
        self.payloads: Counter[int] = Counter()
        self.reports = 0
        self.again = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a webhook."""
        fields = fields_of(await request.read(), request.content_type)
        if fields["action"] != "events":
            return web.json_response(self.answer(fields), headers=self.headers)
        self.reports += 1
        mood = "well" if self.calm else self._rnd.choice(["well", "late", "cut", "busy", "large"])
        if mood == "busy":
            return web.Response(status=503)
        events = json.loads(fields["events"])
        if mood == "large" and len(events) > 3:
            return web.Response(status=413)
        self._write(request.headers["X-Hookbox-Boot"], events)
        if mood == "late":
            await asyncio.sleep(2 * TIMEOUT)
        elif mood == "cut" and request.transport is not None:
            request.transport.abort()
        return web.json_response(self.answer(fields), headers=self.headers)

    def _write(self, boot: str, events: list[dict[str, Any]]) -> None:
        for event in events:
            if event["id"] <= self.last.get(boot, 0):
                self.again += 1
                continue
            self.last[boot] = event["id"]
            if event["event"] == "publish":
                self.payloads[event["payload"]] += 1


async def restarts(seed: int, lives: int) -> tuple[list[str], str]:
    """Run a server several times; return the faults, and a line for the summary."""
    rnd = random.Random(seed)
    store = EventStore(rnd)
    app = web.Application(client_max_size=16 * 1_048_576)
    app.router.add_post("/{path:.*}", store.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    published = 0
    try:
        for _ in range(lives):
            store.calm = False
            published = await _life(rnd, store, f"http://127.0.0.1:{port}/hookbox", published)
    finally:
        await runner.cleanup()
    findings = [f"{store.payloads[n]} times: publication {n}" for n in range(published)
                if store.payloads[n] != 1]  # fmt: skip
    summary = (
        f"{published} publications in {lives} lives, {store.reports} reports, "
        f"{store.again} events that came again"
    )
    return findings, summary


async def _life(rnd: random.Random, store: EventStore, url: str, published: int) -> int:
    config = ServerConfig(
        port=0, webhook_url=url, rest_secrets=(SECRET,), webhook_timeout=TIMEOUT,
        webhook_accepts=frozenset({"events", "json", "nodes"}),
    )  # fmt: skip
    server = Server(config)
    address = await server.start()
    async with aiohttp.ClientSession() as http:
        for _ in range(rnd.randrange(20, 700)):
            form = {"secret": SECRET, "channel_name": "/a/", "payload": str(published)}
            async with http.post(f"{address}/rest/publish", data=form) as response:
                assert json.loads(await response.text())[0] is True
            published += 1
            if rnd.random() < 0.01:
                await asyncio.sleep(rnd.random())
    store.calm = True  # requests in progress may still be answered late
    await server.stop()
    return published
