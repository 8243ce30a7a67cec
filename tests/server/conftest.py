"""Fixtures for all tests of the server's modules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from ..redis_server import RedisServer, redis_server
from .rig import Rig, turns
from .running import site as site
from .running import start as start


@pytest.fixture
def make_rig() -> Callable[..., Rig]:
    """Return a maker of servers without a network."""
    return lambda **config: Rig(**config)


@pytest.fixture
async def rig(make_rig: Callable[..., Rig]) -> AsyncIterator[Rig]:
    """Return a server without a network; afterwards nothing may be left over."""
    rig = make_rig()
    yield rig
    await turns()
    rig.check()


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisServer]:
    """Return a Redis server for tests that do not disturb it."""
    with redis_server() as server:
        yield server


@pytest.fixture
def redis(redis_process: RedisServer) -> RedisServer:
    """Return a Redis server without any data."""
    assert redis_process.command("FLUSHALL") == b"+OK"
    return redis_process
