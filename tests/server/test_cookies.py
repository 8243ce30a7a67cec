"""How much memory the cookies of all connections may use."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from .rig import FakeConnection, Rig, turns


async def connect(rig: Rig, client: FakeConnection, name: str, cookies: int) -> str:
    """Send CONNECT with so many bytes of cookies; return the name or the code of the answer."""
    text = "c=" + "x" * (cookies - 2)
    await rig.send(client, "CONNECT", cookie_string=text, payload=json.dumps(name))
    (frame, args), *_others = client.took()
    return str(args.get("code", frame))


async def test_all_cookies_together_are_bounded(
    make_rig: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    rig = make_rig(max_cookie_bytes=40_000)
    clients = [rig.client() for _ in range(8)]
    answers = [await connect(rig, c, f"user{n}", 10_000) for n, c in enumerate(clients[:5])]
    assert answers == [*4 * ["CONNECTED"], "unavailable"]
    assert "HOOKBOX_MAX_COOKIE_BYTES" in caplog.text
    # Usual cookies are small, and are accepted nevertheless.
    assert await connect(rig, clients[5], "small", 1000) == "CONNECTED"
    # Whoever was refused may try again; each attempt counts once.
    await rig.leave(clients[0])
    assert await connect(rig, clients[4], "user4", 10_000) == "CONNECTED"
    rig.site.answers["connect"] = {"name": 5}
    await rig.leave(clients[1])
    for _ in range(3):
        assert await connect(rig, clients[6], "nobody", 9000) == "refused"
    assert rig.server.clients.frames.cookies._budget.used == 39_000
    for client in clients[2:]:
        await rig.leave(client)
    await turns()
    assert rig.server.clients.frames.cookies._budget.used == 0
    assert not rig.server.clients.frames.cookies._held
    rig.check()
