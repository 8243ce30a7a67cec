"""Clients that have not connected yet: a separate budget, a deadline and a limit per address.

Anyone may open a socket or begin a handshake; the site decides only about CONNECT. Without a
separate budget, clients that never connect would take the places of visitors.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

logger = logging.getLogger("djhookbox.server")

#: Seconds between two log lines about clients that had to make room for others.
LOG_INTERVAL = 60.0
#: Clients to drop for one that comes: one may stay because its request is about to be read.
TRIES = 3
#: A person can use every IPv6 address of a network of this prefix length.
IPV6_PREFIX = 64


@dataclass(slots=True)
class _Guest:
    network: str
    drop: Callable[[], None]


class Unconnected:
    """Hold the clients that have not connected, oldest first.

    A new client is always let in. If there are too many, in total or from its address, the one
    that has waited longest is dropped: a real client connects immediately.

    Args:
        most: Maximum number of clients.
        most_per_address: Maximum number from one address, or one IPv6 network of 64 bits.
        seconds: How long each may stay.
        shared: Returns whether an address stands for many clients, as a trusted proxy's does.

    """

    def __init__(
        self,
        most: int,
        most_per_address: int,
        seconds: float,
        shared: Callable[[str], bool] = lambda address: False,
    ) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._seconds = seconds
        self._shared = shared
        self._guests: dict[Hashable, _Guest] = {}
        #: Until when clients may stay, in the loop's time; the next one first. All share
        #: one timer, because thousands of clients may arrive at once.
        self._deadlines: dict[Hashable, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._by_network: dict[str, dict[Hashable, None]] = {}
        self._gone = 0
        self._logged = -LOG_INTERVAL

    def __len__(self) -> int:
        return len(self._guests)

    def add(
        self, guest: Hashable, address: str, drop: Callable[[], None], *, timed: bool = True
    ) -> None:
        """Add a client.

        Args:
            guest: The client.
            address: The address that it comes from.
            drop: Drops the client; called at most once, and not after `remove`.
            timed: Whether it must connect in time; otherwise it only has to make room for others.

        """
        network = "" if self._shared(address) else _network(address)
        self._put(guest, network, drop, timed)

    def _put(
        self, guest: Hashable, network: str, drop: Callable[[], None], timed: bool = True
    ) -> None:
        self.remove(guest)
        for _ in range(TRIES):
            same = self._by_network.get(network, {})
            if not network or len(same) < self._most_per_address:
                break
            self._send_away(next(iter(same)))
        for _ in range(TRIES):
            if len(self._guests) < self._most:
                break
            self.drop_oldest()
        self._guests[guest] = _Guest(network, drop)
        if timed:
            self._deadlines[guest] = asyncio.get_running_loop().time() + self._seconds
            self._watch()
        self._by_network.setdefault(network, {})[guest] = None

    def keep(self, guest: Hashable) -> None:
        """Let a client stay without a deadline, as the last one that has to make room."""
        found = self._guests.pop(guest, None)
        if found is not None:
            self._deadlines.pop(guest, None)
            self._guests[guest] = found
            same = self._by_network[found.network]
            same[guest] = same.pop(guest)

    def remove(self, guest: Hashable) -> bool:
        """Remove a client that has connected or gone; return whether it was present."""
        found = self._guests.pop(guest, None)
        if found is None:
            return False
        self._deadlines.pop(guest, None)
        same = self._by_network[found.network]
        del same[guest]
        if not same:
            del self._by_network[found.network]
        return True

    def drop_oldest(self) -> bool:
        """Drop the client that has waited longest; return whether there was one."""
        oldest = next(iter(self._guests), None)
        if oldest is None:
            return False
        self._send_away(oldest)
        return True

    def asking(self, guest: Hashable, stays: Callable[[], bool]) -> AbstractContextManager[None]:
        """Exempt a client from being dropped while the site decides.

        Args:
            guest: The client that asks to connect.
            stays: Returns afterwards whether it is still open and has not connected.

        """
        return _Asking(self, guest, stays)

    def exempt(self, guest: Hashable) -> _Guest | None:
        """Remove a client for a while; return what `admit` needs, or None if it was absent."""
        found = self._guests.get(guest)
        self.remove(guest)
        return found

    def admit(self, guest: Hashable, found: _Guest) -> None:
        """Add a client again, as one that has just come."""
        self._put(guest, found.network, found.drop)

    def _look(self) -> None:
        """Drop those whose time is over, and look again when that of the next one is."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        for guest in [guest for guest, _deadline in self._due(now)]:
            self._time_over(guest)
        self._watch()

    def _watch(self) -> None:
        if self._timer is None and self._deadlines:
            first = next(iter(self._deadlines.values()))
            self._timer = asyncio.get_running_loop().call_at(first, self._look)

    def _due(self, now: float) -> Iterator[tuple[Hashable, float]]:
        return takewhile(lambda each: each[1] <= now, self._deadlines.items())

    def _time_over(self, guest: Hashable) -> None:
        found = self._guests.get(guest)
        if found is not None and self.remove(guest):
            found.drop()

    def _send_away(self, guest: Hashable) -> None:
        self._gone += 1
        now = time.monotonic()
        if now >= self._logged + LOG_INTERVAL:
            logger.warning(
                "Too many clients have not sent CONNECT; the %d oldest were dropped: see "
                "HOOKBOX_MAX_UNCONNECTED and HOOKBOX_MAX_UNCONNECTED_PER_ADDRESS",
                self._gone,
            )
            self._logged, self._gone = now, 0
        self._time_over(guest)


class _Asking(AbstractContextManager[None]):
    """Exempts a client. A class, as every client needs one, and a generator costs more."""

    __slots__ = ("_found", "_guest", "_stays", "_unconnected")

    def __init__(
        self, unconnected: Unconnected, guest: Hashable, stays: Callable[[], bool]
    ) -> None:
        self._unconnected = unconnected
        self._guest = guest
        self._stays = stays
        self._found: _Guest | None = None

    def __enter__(self) -> None:
        self._found = self._unconnected.exempt(self._guest)

    def __exit__(self, *_: object) -> None:
        if self._found is not None and self._stays():
            self._unconnected.admit(self._guest, self._found)


@lru_cache(maxsize=1024)
def _network(address: str) -> str:
    """Return a key that stands for all addresses of one client."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((found, IPV6_PREFIX), strict=False))
    return address
