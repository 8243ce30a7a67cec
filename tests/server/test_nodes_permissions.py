"""The documented rights of a user of Redis suffice; a missing one is reported."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from djhookbox.server.engine.base import Unusable

from ..redis_server import redis_server
from .nodes import Node, eventually

pytestmark = pytest.mark.process

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "scaling.rst"


def documented() -> list[str]:
    """Return the rights that the documentation names."""
    found = re.search(r"ACL SETUSER hookbox on >password (.+\n.+)\n", PAGE.read_text())
    assert found is not None
    return found[1].split()


async def test_the_documented_rights_suffice() -> None:
    with redis_server("--user", "hookbox", "on", ">password", *documented()) as server:
        url = server.url.replace("//", "//hookbox:password@")
        one, two = nodes = [Node(url), Node(url)]
        for node in nodes:
            node.site.answers["create_channel"] = {"history_size": 5, "presenceful": True}
            await node.start()
        room = "räum *?[x] {1}:'"
        alice, bob = await one.connect("alice"), await two.connect("bob")
        await one.send(alice, "SUBSCRIBE", channel_name=room)
        await two.send(bob, "SUBSCRIBE", channel_name=room)
        assert (await one.rest("publish", channel_name=room, payload="1", key="k"))["offset"] == 1
        await two.rest("state_set_key", channel_name=room, key="k", val="2")
        await two.rest("set_channel_options", channel_name=room, reflective="false")
        await one.rest("disconnect", name="bob")
        await eventually(lambda: list(one.channels[room].subscribers) == ["alice"])
        assert alice.names()[-3:] == ["PUBLISH", "STATE_UPDATE", "UNSUBSCRIBE"]
        await one.redis.nodes.beat_once()
        for node in nodes:
            await node.stop()
        assert server.command("ACL", "LOG") == b"*0", "nothing was refused"


@pytest.mark.parametrize("missing", ["~hookbox:*", "&hookbox:*", "+@write", "+@scripting", "+time"])
async def test_what_is_missing_is_said_at_the_start(missing: str) -> None:
    rights = [right for right in documented() if right != missing]
    with redis_server("--user", "hookbox", "on", ">password", "resetchannels", *rights) as server:
        node = Node(server.url.replace("//", "//hookbox:password@"))
        with pytest.raises(Unusable, match="does not permit"):
            await node.start()
