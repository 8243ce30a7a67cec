"""Which ban matches, without a database."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

#: Bytes of a reason at most: what fits into a WebSocket close frame.
REASON_BYTES = 120

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Kind(TextChoices):
    """What a ban is about."""

    USER = "user", _("user")
    SESSION = "session", _("session")
    ADDRESS = "address", _("address")


@dataclass(frozen=True, slots=True)
class Subject:
    """Who wants something.

    Attributes:
        name: The name of the user.
        identity: The identifier of the session or token.
        address: The IP address, known while connecting only.

    """

    name: str = ""
    identity: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """An active ban.

    Attributes:
        until: When it ends, in seconds since the epoch; None if it does not end.

    """

    pk: int
    kind: str
    value: str
    reason: str
    until: float | None

    @property
    def decided_by(self) -> str:
        """What the audit log says about its decisions."""
        return f"ban:{self.pk}"


class Bans:
    """Active bans, indexed."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._exact: dict[tuple[str, str], Entry] = {}
        self._networks: list[tuple[Network, Entry]] = []
        for entry in entries:
            if entry.kind != Kind.ADDRESS:
                key = (entry.kind, entry.value)
                known = self._exact.get(key)
                if known is None or _outlasts(entry, known):
                    self._exact[key] = entry
            elif (found := network(entry.value)) is not None:
                self._networks.append((found, entry))

    def find(self, subject: Subject, now: float) -> Entry | None:
        """Return a ban that matches and has not ended, or None."""
        for key in ((Kind.USER, subject.name), (Kind.SESSION, subject.identity)):
            entry = self._exact.get(key) if key[1] else None
            if entry is not None and _lasts(entry, now):
                return entry
        if not self._networks or not subject.address:
            return None
        address = network(subject.address)
        for each, entry in self._networks:
            if address is not None and _within(address, each) and _lasts(entry, now):
                return entry
        return None


def network(text: str) -> Network | None:
    """Return an address or a range, or None; IPv4 addresses written as IPv6 are IPv4."""
    try:
        found = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None
    if found.version == 6 and found.prefixlen >= 96:
        mapped = found.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.ip_network(f"{mapped}/{found.prefixlen - 96}", strict=False)
    return found


def _within(address: Network, outer: Network) -> bool:
    return address.version == outer.version and address.subnet_of(outer)  # type: ignore[arg-type]


def _outlasts(entry: Entry, other: Entry) -> bool:
    """Return whether a ban is still active when another one has ended."""
    return other.until is not None and (entry.until is None or entry.until > other.until)


def _lasts(entry: Entry, now: float) -> bool:
    return entry.until is None or entry.until > now
