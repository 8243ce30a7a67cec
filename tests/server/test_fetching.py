"""Fetching what channels poll: listed hosts only, checked where the connection is made."""

from __future__ import annotations

import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from djhookbox.server.channels import fetching as module
from djhookbox.server.channels.fetching import Fetcher, HostRefused
from djhookbox.wire.hosts import HostRules

Make = Callable[..., Fetcher]


class Inside:
    """A server in the process's own network, which counts who reaches it."""

    def __init__(self, server: TestServer, asked: list[web.Request]) -> None:
        self.port = server.port
        self.asked = asked

    def url(self, host: str, path: str = "/") -> str:
        return f"http://{host}:{self.port}{path}"


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    asked: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        if request.path == "/redirect":
            return web.Response(status=302, headers={"Location": "/"})
        if request.path == "/bomb":
            body = gzip.compress(b"0" * 5_000_000)
            return web.Response(body=body, headers={"Content-Encoding": "gzip"})
        if request.path == "/long":
            return web.Response(body=b"0" * (module.MAX_ANSWER + 1))
        return web.Response(text="secret of the inside")

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)
    async with TestServer(app) as server:
        yield Inside(server, asked)


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[Fetcher] = []

    def fetcher(*hosts: str) -> Fetcher:
        made.append(Fetcher(HostRules.parse(hosts)))
        return made[-1]

    yield fetcher
    for each in made:
        await each.close()


def names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let the DNS give these addresses, one list after the other; return who was asked for."""
    asked: list[str] = []
    left = list(answers)

    async def resolve(self: Any, host: str, port: int = 0, family: int = 0) -> list[Any]:
        asked.append(host)
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [
            {"hostname": host, "host": each, "port": port, "family": socket.AF_INET, "proto": 0,
             "flags": socket.AI_NUMERICHOST}
            for each in addresses
        ]  # fmt: skip

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    return asked


async def refused(fetching: Awaitable[bytes], words: str) -> None:
    with pytest.raises((ValueError, OSError, aiohttp.ClientError)) as caught:
        await fetching
    assert words in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1"])
async def test_nothing_is_listed_by_default(inside: Inside, make: Make, host: str) -> None:
    with pytest.raises(HostRefused, match="HOOKBOX_POLLING_HOSTS does not list"):
        await make().fetch(inside.url(host))
    assert not inside.asked


async def test_a_listed_address_is_fetched_from(inside: Inside, make: Make) -> None:
    fetcher = make("127.0.0.0/8")
    assert await fetcher.fetch(inside.url("127.0.0.1")) == b"secret of the inside"
    await refused(fetcher.fetch(inside.url("localhost")), "does not list 'localhost'")
    assert len(inside.asked) == 1
    assert "Cookie" not in inside.asked[0].headers


async def test_a_listed_name_must_not_stand_for_a_private_address(
    inside: Inside, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, ["127.0.0.1"])
    words = "feed.example.com is 127.0.0.1 here, which HOOKBOX_POLLING_HOSTS must list"
    await refused(make("feed.example.com").fetch(inside.url("feed.example.com")), words)
    assert not inside.asked
    both = make("feed.example.com", "127.0.0.1")
    assert await both.fetch(inside.url("feed.example.com")) == b"secret of the inside"


async def test_the_address_is_checked_that_is_connected_to(
    inside: Inside, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: first a public address, which does not answer, then one of the inside."""
    asked = names(monkeypatch, ["192.0.2.1"], ["127.0.0.1"])
    fetcher = make("feed.example.com", "192.0.2.1")
    monkeypatch.setattr(module, "SECONDS", 0.2)
    for _ in range(2):
        with pytest.raises((aiohttp.ClientError, OSError, TimeoutError)):
            await fetcher.fetch(inside.url("feed.example.com"))
    assert asked == ["feed.example.com"] * 2, "asked again for each connection"
    assert not inside.asked


async def test_of_several_addresses_the_public_ones_count(
    inside: Inside, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, ["127.0.0.1", "192.0.2.1"])
    monkeypatch.setattr(module, "SECONDS", 0.2)
    with pytest.raises((aiohttp.ClientError, OSError, TimeoutError)):
        await make("feed.example.com", "192.0.2.1").fetch(inside.url("feed.example.com"))
    assert not inside.asked


async def test_answers_that_are_not_used(inside: Inside, make: Make) -> None:
    fetcher = make("127.0.0.1")
    await refused(fetcher.fetch(inside.url("127.0.0.1", "/redirect")), "redirects are not followed")
    await refused(fetcher.fetch(inside.url("127.0.0.1", "/bomb")), "compressed")
    await refused(fetcher.fetch(inside.url("127.0.0.1", "/long")), "longer than 1048576 bytes")
    assert [request.path for request in inside.asked] == ["/redirect", "/bomb", "/long"]


@pytest.mark.parametrize("url", ["", "http://", "http://[::1", "file:///etc/passwd", "x"])
async def test_urls_without_a_host(make: Make, url: str) -> None:
    with pytest.raises(HostRefused):
        await make("127.0.0.1").fetch(url)
