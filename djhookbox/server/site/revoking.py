"""Carry out revocations, each of them once, whether the site sends them or they are pulled.

The site calls `revoke` after a commit. It has stored the same revocations in the transaction, and
this process pulls them with the webhook `outbox`. Whatever kept a call from arriving, the pull
comes after it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Iterable, Iterator, Sequence

from ...wire import rest
from ...wire.answers import Revoked
from ...wire.closing import is_valid_code
from ...wire.revocations import Position, Revocation, Revocations
from ..connection import Connection
from ..runtime import Runtime
from .confirming import Confirming
from .queue import patience
from .rechecks import Rechecks

logger = logging.getLogger("djhookbox.server")

#: For how long a key is remembered at least, and how many keys; the oldest are forgotten first.
KEY_SECONDS = 900.0
MOST_KEYS = 100_000
#: With more users than this in one call or pull, all subscriptions are rechecked.
MANY_USERS = 1000
#: Seconds until the site is asked again to confirm all connections.
RETRY_SECONDS = 2.0


class Keys:
    """The keys of what was carried out; a restart forgets them, and closes all connections.

    A key may be forgotten once the pull has passed its row, which a pull that begins after the
    call always does.
    """

    def __init__(self) -> None:
        #: When each was carried out, in order of time.
        self._known: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def add(self, key: str, now: float) -> None:
        """Remember a key."""
        self._known[key] = now
        if len(self._known) > MOST_KEYS:
            del self._known[next(iter(self._known))]

    def forget(self, pulled: float, now: float) -> None:
        """Forget old keys.

        Args:
            pulled: When the last pull began that returned all there was.
            now: The time.

        """
        before = min(pulled, now - KEY_SECONDS)
        for key, at in list(self._known.items()):
            if at >= before:
                return
            del self._known[key]


class Revoking:
    """Carry out revocations.

    Args:
        runtime: The shared parts of the server.
        rechecks: Asks the site about subscriptions.
        confirming: Asks the site about connections.

    Attributes:
        position: How far this process has pulled.

    """

    def __init__(self, runtime: Runtime, rechecks: Rechecks, confirming: Confirming) -> None:
        self._connections = runtime.connections
        self._hub = runtime.hub
        self._webhooks = runtime.webhooks
        self._tasks = runtime.tasks
        self._rechecks = rechecks
        self._confirming = confirming
        self._keys = Keys()
        self.position = Position()

    # ---- pulled ----------------------------------------------------------

    def take(self, pulled: Revocations | None, began: float) -> bool:
        """Carry out what was pulled; return whether there is more to pull at once.

        Args:
            pulled: The reply, or None if the site could not read any.
            began: When the pull began, in the loop's time.

        """
        if pulled is None:
            return False
        if pulled.over:
            self._start_over()
        self.perform(pulled.entries)
        self.position = Position(pulled.number, pulled.token)
        if not pulled.more:
            self._keys.forget(began, asyncio.get_running_loop().time())
        return pulled.more

    def _start_over(self) -> None:
        """Have everything confirmed that was decided before this pull.

        That is so after a start, when there are few connections or none, and if this process was
        away for longer than the site keeps revocations, or the site was restored from a backup.
        """
        if self.position.token:
            logger.warning(
                "The site's revocations do not continue where this process has pulled them; all "
                "connections and subscriptions are confirmed"
            )
        connecting = self._connections.being_identified()
        if not connecting and not any(connection.user for connection in self._connections):
            return
        self._rechecks.begin([re.compile(".*", re.DOTALL)], None)
        self._tasks.start(self._confirm(connecting))

    async def _confirm(self, connecting: Sequence[Connection]) -> None:
        await self._until_confirmed(None)
        # The site may have decided about these before, and they were not asked about.
        config = self._webhooks.config
        await asyncio.sleep(patience(config.max_channels_per_connection) * config.webhook_timeout)
        await self._until_confirmed(connecting)

    async def _until_confirmed(self, connections: Sequence[Connection] | None) -> None:
        while True:
            if await self._confirming.confirm(connections, strictly=True):
                return
            await asyncio.sleep(RETRY_SECONDS * (0.7 + 0.6 * random.random()))  # noqa: S311 - jitter

    # ---- pulled or sent --------------------------------------------------

    def perform(self, revocations: Iterable[Revocation]) -> Revoked:
        """Carry out those that have not been carried out yet; a bad one is logged and skipped."""
        now = asyncio.get_running_loop().time()
        fresh: list[Revocation] = []
        for each in revocations:
            if each.key not in self._keys:
                self._keys.add(each.key, now)
                fresh.append(each)
        if not fresh:
            return Revoked(0, 0, 0)
        disconnected = sum(map(self._connections.disconnect, _disconnects(fresh)))
        channels = connections = 0
        for patterns, users in _rechecks(fresh):
            covered = self._rechecks.begin(patterns, users)
            channels += covered["channels"]
            connections += covered["connections"]
        return Revoked(disconnected, channels, connections)


def _disconnects(revocations: Sequence[Revocation]) -> Iterator[rest.Disconnect]:
    """Yield what ends connections, combined, and those with the highest codes first.

    A user who is deactivated and gets a new password at the same time must not reconnect.
    """
    ends: dict[tuple[int, str], tuple[dict[str, None], dict[str, None]]] = {}
    for each in revocations:
        if not each.code:
            continue
        if not is_valid_code(each.code):
            logger.error("The revocation %s has the close code %d", each.key, each.code)
            continue
        names, identities = ends.setdefault((each.code, each.reason), ({}, {}))
        names.update(dict.fromkeys(each.users))
        identities.update(dict.fromkeys(each.identities))
    for (code, reason), (names, identities) in sorted(
        ends.items(), key=lambda item: item[0], reverse=True
    ):
        yield rest.Disconnect(
            names=tuple(names), identities=tuple(identities), code=code, reason=reason
        )


def _rechecks(
    revocations: Sequence[Revocation],
) -> Iterator[tuple[list[re.Pattern[str]], set[str] | None]]:
    """Yield patterns and users to recheck, combined."""
    everything = re.compile(".*", re.DOTALL)
    patterns: dict[str, re.Pattern[str]] = {}
    users: set[str] = set()
    for each in revocations:
        if each.code:
            continue
        users.update(each.users)
        for text in each.patterns:
            try:
                patterns.setdefault(text, re.compile(text))
            except re.error as error:
                # Nobody knows which channels are meant.
                logger.error("The pattern of the revocation %s is unusable: %s", each.key, error)
                patterns[text] = everything
    if len(users) > MANY_USERS:
        yield [everything], None
        return
    if patterns:
        yield list(patterns.values()), None
    if users:
        yield [everything], users
