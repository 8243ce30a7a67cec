"""HOOKBOX_ENGINE: what the check and the command say about it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from django.core.checks import Warning
from django.core.management import CommandError, call_command
from django.test import override_settings

from djhookbox.checks.engines import check_engine
from djhookbox.process import engines
from djhookbox.server.engine.base import Unusable
from djhookbox.server.engine.redis.link import Link
from djhookbox.wire.engines import parse

from .ports import free_port
from .redis_server import PROGRAM, RedisServer, redis_server
from .stand_ins.waiting import wait_for

pytestmark = [pytest.mark.process, pytest.mark.once]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server("--requirepass", "secret") as server:
        yield server


def problem(url: str) -> str:
    with override_settings(HOOKBOX_ENGINE=url):
        messages = check_engine()
        assert [m.msg for m in messages] == [found for found in engines.problems() if found]
        assert all(isinstance(message, Warning) for message in messages)
        return messages[0].msg if messages else ""


def test_nothing_is_said_without_the_setting_or_if_all_is_well(server: RedisServer) -> None:
    assert problem("memory") == ""
    assert problem(server.url.replace("redis://", "redis://:secret@")) == ""


def test_a_password_that_is_wrong_or_missing(server: RedisServer) -> None:
    for url in (server.url, server.url.replace("redis://", "redis://:wr0ng@")):
        said = problem(url)
        assert "password" in said.lower() or "auth" in said.lower()
        assert "wr0ng" not in said


async def connected(run_id: str, renewed: bool) -> None:
    """Do nothing when a link is up."""


@pytest.mark.parametrize(
    ("policy", "limit", "is_warned_of"),
    [("allkeys-lru", "100mb", True), ("volatile-ttl", "100mb", True), ("allkeys-lru", "0", False),
     ("noeviction", "100mb", False)],
)  # fmt: skip
def test_a_cache_may_lose_keys(
    policy: str, limit: str, is_warned_of: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server("--maxmemory-policy", policy, "--maxmemory", limit) as server:
        said = problem(server.url)
        asyncio.run(Link(parse(server.url), connected).try_once())
    assert bool(said) == bool(caplog.messages) == is_warned_of
    if is_warned_of:
        assert caplog.messages == [said]
        assert f"maxmemory-policy is {policy}; set it to noeviction" in said


def test_nobody_answers() -> None:
    assert "cannot be reached" in problem(f"redis://127.0.0.1:{free_port()}/0")


def test_the_command_says_it_in_one_sentence(tmp_path: object) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    with (
        override_settings(HOOKBOX_ENGINE=url, HOOKBOX_RUN_DIR=str(tmp_path)),
        pytest.raises(CommandError, match="cannot be reached"),
    ):
        call_command("runhookbox", port=free_port())


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[Callable[[int], int]]:
    """Start a Sentinel that knows a master as `shop`, and return its port."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(master: int) -> int:
        port = free_port()
        file = tmp_path / "sentinel.conf"
        file.write_text(f"port {port}\nsentinel monitor shop 127.0.0.1 {master} 1\n")
        processes.append(
            subprocess.Popen([str(PROGRAM), str(file), "--sentinel"], stdout=subprocess.DEVNULL)
        )
        wait_for(lambda: listens(port), "the Sentinel to listen")
        return port

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_one_sentinel_of_several_suffices(
    server: RedisServer, sentinel: Callable[[int], int]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hosts = (
            f"127.0.0.1:{free_port()},127.0.0.1:{silent.getsockname()[1]},"
            f"127.0.0.1:{sentinel(server.port)}"
        )
        url = f"redis+sentinel://:secret@{hosts}/shop"
        assert problem(url) == ""
        asyncio.run(Link(parse(url), connected).try_once())
        other = f"redis+sentinel://:secret@{hosts}/another"
        assert "No master found for 'another'" in problem(other)
        with pytest.raises(Unusable, match="No master found for 'another'"):
            asyncio.run(Link(parse(other), connected).try_once())
