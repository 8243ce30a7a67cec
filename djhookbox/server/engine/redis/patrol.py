"""Compare channels with Redis in turn, whether or not anything is known to have gone wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from ..base import EngineError
from .codec import raw

if TYPE_CHECKING:
    from .engine import RedisEngine
    from .replicas import Replica

#: Channels to compare each second.
BATCH = 100
#: Seconds for which a channel may be behind: the changes may be under way.
BEHIND_SECONDS = 3.0


class Told(NamedTuple):
    """What Redis knows about a channel.

    Attributes:
        name: The channel.
        id: Its opening, or an empty text if there is none.
        version: Its version.
        reads: Whether this node is among its readers.
        members: How many users are in it.

    """

    name: str
    id: str
    version: int
    reads: bool
    members: int


async def ask(engine: RedisEngine, names: list[str]) -> list[Told]:
    """Ask Redis about channels.

    Raises:
        EngineError: If it does not answer.

    """
    reply = await engine.ask("versions", engine.nodes.arguments("", *map(raw, names)))
    found = reply[1]
    fours = zip(names, found[::4], found[1::4], found[2::4], found[3::4], strict=True)
    return [
        Told(name, opening.decode(), int(version), bool(reads), int(members))
        for name, opening, version, reads, members in fours
    ]


class _Suspect(NamedTuple):
    replica: Replica
    told: Told
    since: float

    def is_behind(self) -> bool:
        """Return whether nothing has happened to the channel that would explain it."""
        replica, told = self.replica, self.told
        return replica.id != told.id or replica.version < told.version


class Patrol:
    """Notices channels that do not follow, and those with other members than in Redis."""

    def __init__(self, engine: RedisEngine) -> None:
        self._engine = engine
        self._due: list[str] = []
        self._suspects: dict[str, _Suspect] = {}
        self._comparing: asyncio.Task[None] | None = None

    def look(self, now: float) -> None:
        """Check the suspects, and compare the next channels; called once a second."""
        engine = self._engine
        for name, suspect in list(self._suspects.items()):
            if engine.replicas.get(name) is not suspect.replica or not suspect.is_behind():
                del self._suspects[name]
            elif now - suspect.since > BEHIND_SECONDS:
                del self._suspects[name]
                engine.figures["versions_missed"] += 1
                engine.openings.reload(name)
        if self._comparing is None or self._comparing.done():
            self._due = self._due or list(engine.replicas)
            names, self._due = self._due[:BATCH], self._due[BATCH:]
            if names:
                self._comparing = asyncio.ensure_future(self._compare(names, now))

    async def _compare(self, names: list[str], now: float) -> None:
        try:
            found = await ask(self._engine, names)
        except EngineError:
            return  # the link reports it
        for told in found:
            replica = self._engine.replicas.get(told.name)
            if replica is None or replica.is_loading:
                continue
            suspect = _Suspect(replica, told, now)
            if suspect.is_behind():
                self._suspects.setdefault(told.name, suspect)
            elif not told.reads or self._differs(replica, told):
                self._engine.openings.reload(told.name)

    def _differs(self, replica: Replica, told: Told) -> bool:
        """Return whether a channel of the same version has other members here."""
        engine = self._engine
        if replica.version != told.version or engine.openings.is_lenient:
            return False
        members = engine.mirror.size(told.name)
        return members not in (None, told.members) and engine.mirror.idle(told.name)
