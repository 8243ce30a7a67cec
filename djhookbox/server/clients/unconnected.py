"""Whoever has come in and has not connected: a small budget, a short time, a bound per address.

Everybody may open a socket or begin a handshake; only CONNECT is decided by the site. Without a
budget of its own, what never connects would take the places of visitors.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

logger = logging.getLogger("djhookbox.server")

#: Seconds between two lines in the log about those who had to go for others.
LOG_INTERVAL = 60.0
#: One person has as many IPv6 addresses as there are in such a network.
IPV6_PREFIX = 64


@dataclass(slots=True)
class _Guest:
    network: str
    drop: Callable[[], None]
    timer: asyncio.TimerHandle | None


class Unconnected:
    """Holds those who have not connected, the oldest first.

    A newcomer is always let in. If there are too many, or too many from its address, the one who
    has waited longest has to go: a client that means it connects at once.

    Args:
        most: How many there may be.
        most_per_address: How many may come from one address, or one IPv6 network of 64 bits.
        seconds: How long each may stay.
        shared: Tells whether an address stands for many clients, as that of a trusted proxy does.

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
        self._by_network: dict[str, dict[Hashable, None]] = {}
        self._gone = 0
        self._logged = -LOG_INTERVAL

    def __len__(self) -> int:
        return len(self._guests)

    def add(
        self, guest: Hashable, address: str, drop: Callable[[], None], *, timed: bool = True
    ) -> None:
        """Let somebody in.

        Args:
            guest: Who it is.
            address: Where it comes from.
            drop: Sends it away; called at most once, and not after `remove`.
            timed: Whether it has to connect in time; else it only has to make room for others.

        """
        network = "" if self._shared(address) else _network(address)
        self._put(guest, network, drop, timed)

    def _put(
        self, guest: Hashable, network: str, drop: Callable[[], None], timed: bool = True
    ) -> None:
        self.remove(guest)
        same = self._by_network.get(network, {})
        if network and len(same) >= self._most_per_address:
            self._send_away(next(iter(same)))
        if len(self._guests) >= self._most:
            self.drop_oldest()
        timer = None
        if timed:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self._seconds, self._time_over, guest)
        self._guests[guest] = _Guest(network, drop, timer)
        self._by_network.setdefault(network, {})[guest] = None

    def remove(self, guest: Hashable) -> bool:
        """Forget somebody who has connected or gone; tell whether it was here."""
        found = self._guests.pop(guest, None)
        if found is None:
            return False
        if found.timer is not None:
            found.timer.cancel()
        same = self._by_network[found.network]
        del same[guest]
        if not same:
            del self._by_network[found.network]
        return True

    def drop_oldest(self) -> bool:
        """Send away the one who has waited longest; tell whether there was anybody."""
        oldest = next(iter(self._guests), None)
        if oldest is None:
            return False
        self._send_away(oldest)
        return True

    @contextmanager
    def asking(self, guest: Hashable, stays: Callable[[], bool]) -> Iterator[None]:
        """Leave somebody alone while the site decides.

        Args:
            guest: Who asks to connect.
            stays: Tells afterwards whether it is still here and has not connected.

        """
        found = self._guests.get(guest)
        self.remove(guest)
        try:
            yield
        finally:
            if found is not None and stays():
                self._put(guest, found.network, found.drop)

    def _time_over(self, guest: Hashable) -> None:
        found = self._guests.get(guest)
        if found is not None and self.remove(guest):
            found.drop()

    def _send_away(self, guest: Hashable) -> None:
        self._gone += 1
        now = time.monotonic()
        if now >= self._logged + LOG_INTERVAL:
            logger.warning(
                "Too many come and do not connect; those who waited longest had to go (%d): see "
                "HOOKBOX_MAX_UNCONNECTED and HOOKBOX_MAX_UNCONNECTED_PER_ADDRESS",
                self._gone,
            )
            self._logged, self._gone = now, 0
        self._time_over(guest)


def _network(address: str) -> str:
    """Return what stands for all addresses of one client."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((found, IPV6_PREFIX), strict=False))
    return address
