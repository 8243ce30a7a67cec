"""Fetch the messages that channels poll, from listed hosts only.

A URL may come from a policy, from a handler or from the answer to a poll. Someone who can set a
URL, or who controls the host name in it, must not reach hosts that only the process can reach.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from ...wire.hosts import HostRules

#: Maximum size of an answer, in bytes.
MAX_ANSWER = 1_048_576
#: Maximum number of answers to read concurrently.
MAX_AT_ONCE = 16
#: Timeout for one poll, in seconds.
SECONDS = 30.0
#: Bytes to read from an answer at a time.
_CHUNK = 65_536


class HostRefused(ValueError):
    """The host is not listed; the text says what to do."""


class Fetcher:
    """Make the requests of all pollers.

    Args:
        hosts: The hosts that polls may fetch from.

    """

    def __init__(self, hosts: HostRules) -> None:
        self._hosts = hosts
        self._turn = asyncio.Semaphore(MAX_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    def check(self, url: str) -> None:
        """Check that the host of a URL is listed.

        Raises:
            HostRefused: If it is not.

        """
        try:
            host = urlsplit(url).hostname or ""
        except ValueError:
            host = ""
        if not self._hosts.allows_host(host):
            raise HostRefused(f"HOOKBOX_POLLING_HOSTS does not list {host!r}")

    async def fetch(self, url: str, form: Mapping[str, str] | None = None) -> bytes:
        """Return the body of the answer to a GET, or to a POST of a form.

        Redirects are not followed: they could lead anywhere.

        Raises:
            HostRefused: If the host is not listed, or resolves to an address that must be listed.
            ValueError: If the answer is not usable.
            aiohttp.ClientError: If there is no answer.
            asyncio.TimeoutError: If the request takes too long.

        """
        self.check(url)
        async with self._turn:
            return await self._request(url, form)

    async def close(self) -> None:
        """Close the HTTP session."""
        if self._session is not None:
            await self._session.close()

    # ---- parts -----------------------------------------------------------

    async def _request(self, url: str, form: Mapping[str, str] | None) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=SECONDS),
                connector=aiohttp.TCPConnector(
                    # Check the address each time a connection is made.
                    resolver=_CheckingResolver(self._hosts),
                    use_dns_cache=False,
                    force_close=True,
                ),
                trust_env=False,
                auto_decompress=False,  # a small answer must not become a large one
            )
        headers = {"Accept-Encoding": "identity"}
        body = None
        if form is not None:
            body = urlencode(form, errors="replace").encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        async with self._session.request(
            "GET" if form is None else "POST", url, data=body, headers=headers,
            allow_redirects=False,
        ) as response:  # fmt: skip
            if response.status != 200:
                hint = " (redirects are not followed)" if 300 <= response.status < 400 else ""
                raise ValueError(f"status {response.status}{hint}")
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise ValueError("the answer is compressed")
            answer = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                answer += chunk
                if len(answer) > MAX_ANSWER:
                    raise ValueError(f"the answer is longer than {MAX_ANSWER} bytes")
            return bytes(answer)


class _CheckingResolver(AbstractResolver):
    """Resolve names, and refuse addresses that may not be connected to, at connection time."""

    def __init__(self, hosts: HostRules) -> None:
        self._hosts = hosts
        self._inner = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        allowed = [each for each in found if self._hosts.allows_address(each["host"])]
        if not allowed:
            address = found[0]["host"] if found else "no address"
            raise OSError(
                errno.EACCES,
                f"{host} is {address} here, which HOOKBOX_POLLING_HOSTS must list as an address",
            )
        return allowed

    async def close(self) -> None:
        await self._inner.close()
