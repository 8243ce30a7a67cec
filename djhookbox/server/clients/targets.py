"""Whom a call to disconnect means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Target:
    """Connections, by what is known of them.

    Attributes:
        named: Fields of one connection, all of which must fit: `name`, `identity`, `conn_id`.
        names: Users, any of whom.
        identities: Identities, any of which.

    """

    named: Mapping[str, str] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    identities: frozenset[str] = frozenset()

    def includes(self, *, name: str, identity: str, conn_id: str) -> bool:
        """Tell whether a connection is meant."""
        if name in self.names or identity in self.identities:
            return True
        known = {"name": name, "identity": identity, "conn_id": conn_id}
        return bool(self.named) and self.named.items() <= known.items()
