"""Addresses of Redis."""

from __future__ import annotations

import pytest

from djhookbox.wire.engines import PREFIX, BadAddress, parse, unfit


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("redis://localhost", "redis://localhost", "redis://localhost"),
        ("redis://:pw@h:1234/2", "redis://:pw@h:1234/2", "redis://h:1234/2"),
        ("rediss://u:p@[::1]:1/0?ssl_cert_reqs=none",
         "rediss://u:p@[::1]:1/0?ssl_cert_reqs=none", "rediss://[::1]:1/0"),
        ("unix:///run/redis.sock?db=3", "unix:///run/redis.sock?db=3", "unix:///run/redis.sock"),
    ],
)  # fmt: skip
def test_addresses(text: str, url: str, shown: str) -> None:
    address = parse(text)
    assert (address.url, address.shown, address.prefix) == (url, shown, PREFIX)


def test_a_prefix_is_ours() -> None:
    address = parse("redis://h/0?prefix=shop:&socket_keepalive=1")
    assert (address.prefix, address.url) == ("shop:", "redis://h/0?socket_keepalive=1")


def test_sentinels() -> None:
    address = parse("redis+sentinel://:pw@a:1,b/main/2")
    assert address.sentinels == (("a", 1), ("b", 26379))
    assert address.service == "main"
    assert address.at("c", 5) == "redis://:pw@c:5/2"
    assert address.at("::1", 5) == "redis://:pw@[::1]:5/2"
    assert "pw" not in address.shown


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "memory"), ("localhost:6379", "memory"), ("http://localhost", "memory"),
        ("redis://h/x", "number"), ("redis://h:99999/0", "port"), ("unix://", "socket"),
        ("redis+sentinel://h:1", "service"), ("redis+sentinel://:x@/m", "Sentinels"),
        ("redis+sentinel://h/m/x", "number"), ("redis://[::1", "URL"),
    ],
)  # fmt: skip
def test_what_is_no_address(text: str, why: str) -> None:
    with pytest.raises(BadAddress, match=why):
        parse(text)


def test_versions() -> None:
    assert not unfit({"redis_version": "6.2.0", "redis_mode": "standalone"})
    assert not unfit({"redis_version": "7.2.4"})
    assert "6.0.16" in unfit({"redis_version": "6.0.16"})
    assert "Cluster" in unfit({"redis_version": "7.0.0", "redis_mode": "cluster"})
