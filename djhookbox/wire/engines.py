"""Addresses of Redis, as HOOKBOX_ENGINE gives them; parsing needs no Redis client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from .urls import bracketed

#: The engine of a server that is alone.
MEMORY = "memory"
#: The schemes, and what their addresses look like.
SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
EXAMPLES = (
    "redis://localhost:6379/0, rediss://… with TLS, unix:///run/redis.sock, or "
    "redis+sentinel://host:26379,host:26379/service"
)
#: The oldest version that has everything that the scripts use.
OLDEST = (6, 2)
#: The policy of a Redis that refuses writes when its memory is full, and deletes nothing.
KEEPS_ALL = "noeviction"
#: All keys begin with this, unless the address says otherwise.
PREFIX = "hookbox:"


class BadAddress(ValueError):
    """An address that cannot be used; the text says why, without the password."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where Redis is.

    Attributes:
        url: The URL for the Redis client; with Sentinel, without a host.
        prefix: What all keys begin with.
        sentinels: Hosts and ports of Sentinels.
        service: The name under which Sentinels know the master.
        shown: The address without its password.

    """

    url: str
    prefix: str
    shown: str
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""

    def at(self, host: str, port: int) -> str:
        """Return the URL for the Redis client, of a master that Sentinels have named."""
        return self.url.format(f"{bracketed(host)}:{port}")


def parse(text: str) -> Address:
    """Parse an address.

    Raises:
        BadAddress: If it is not one.

    """
    scheme = text.partition("://")[0].lower()
    if scheme not in SCHEMES or "://" not in text:
        raise BadAddress(f"it must be “memory” or an address such as {EXAMPLES}")
    try:
        parts = urlsplit(text)
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise BadAddress(f"it is not a URL ({error})") from None
    prefixes = [value for name, value in query if name == "prefix"]
    rest = [(name, value) for name, value in query if name != "prefix"]
    credentials, _, hosts = parts.netloc.rpartition("@")
    shown = f"{scheme}://{hosts}{parts.path}"
    prefix = prefixes[-1] if prefixes else PREFIX
    tail = f"?{urlencode(rest)}" if rest else ""
    before = f"{credentials}@" if credentials else ""
    if scheme.endswith("+sentinel"):
        service, _, database = parts.path.strip("/").partition("/")
        if not hosts or not service:
            raise BadAddress(
                "it must name Sentinels and a service, as in redis+sentinel://host:26379/service"
            )
        if database and not database.isdigit():
            raise BadAddress(f"the database must be a number, not {database!r}")
        found = tuple(_host(each) for each in hosts.split(","))
        url = f"{scheme.removesuffix('+sentinel')}://{before}{{}}/{database or 0}{tail}"
        return Address(url, prefix, shown, found, unquote(service))
    if scheme == "unix":
        if not parts.path:
            raise BadAddress("it must name a socket, as in unix:///run/redis.sock")
    else:
        _host(hosts or "localhost")
        database = parts.path.strip("/")
        if database and not database.isdigit():
            raise BadAddress(f"the database must be a number, not {database!r}")
    return Address(f"{scheme}://{before}{hosts}{parts.path}{tail}", prefix, shown)


def why(told: str) -> str:
    """Return the part of an error of the Redis client that is for readers, without a full stop."""
    return told.partition(" : <")[0].rstrip(".")  # without the objects that represent Sentinels


def unfit(facts: Mapping[str, object]) -> str:
    """Return why a Redis cannot be used, given its answer to INFO; or ""."""
    version = str(facts.get("redis_version", "0"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        return f"is version {version}; version 6.2 or newer is required"
    if facts.get("redis_mode") == "cluster":
        return "is a Redis Cluster, which is not supported: use a single Redis"
    return ""


def risk(facts: Mapping[str, object]) -> str:
    """Return why a Redis may lose keys, given its answer to INFO; or ""."""
    policy = str(facts.get("maxmemory_policy", KEEPS_ALL))
    if policy == KEEPS_ALL or str(facts.get("maxmemory", "0")) == "0":
        return ""
    return (
        f"may delete keys of channels when its memory is full: maxmemory-policy is {policy}; "
        f"set it to {KEEPS_ALL}"
    )


def _host(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or port == 0:
        raise BadAddress(f"{text!r} is not a host with a port")
    return host, port or 26379
