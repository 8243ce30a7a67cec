"""Show in the states of channels who is connected (the option `server_user_presence`)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from ..core.changes import SetState
from ..core.effects import PresenceDue
from ..refusals import Refusal
from ..runtime import Runtime
from .outcomes import Applied, ChannelGone, EngineFailed
from .proposals import Proposals

if TYPE_CHECKING:
    from ..cluster import Cluster

logger = logging.getLogger("djhookbox.server")

#: Seconds to wait before proposing a change again to an engine that failed.
PAUSE = 1.0


class ServerPresence:
    """Propose the changes of states that follow from users who come and go."""

    def __init__(self, runtime: Runtime, proposals: Proposals) -> None:
        self._hub = runtime.hub
        self._tasks = runtime.tasks
        self._proposals = proposals
        self._cluster = runtime.cluster

    def due(self, effect: PresenceDue) -> None:
        """Set the key of a user in a channel's state, until it succeeds."""
        if self._cluster is not None:
            self._tasks.start(self._look(self._cluster, effect))
            return
        try:
            applied = self._begin(effect)
        except EngineFailed:
            self._tasks.start(self._finish(effect, None))
        except Refusal as refusal:
            _give_up(effect, refusal)
        else:
            if not isinstance(applied, Applied):
                self._tasks.start(self._finish(effect, applied))

    async def _look(self, cluster: Cluster, effect: PresenceDue) -> None:
        """Set the key as all nodes know it, until it succeeds."""
        while True:
            try:
                there = await cluster.is_anywhere(effect.name)
                if effect.channel.state.get(effect.name) is not there:
                    await self._proposals.propose(effect.channel, SetState({effect.name: there}))
            except EngineFailed:
                await asyncio.sleep(PAUSE)
            except Refusal as refusal:
                _give_up(effect, refusal)
                return
            else:
                return

    def _begin(self, effect: PresenceDue) -> Applied | asyncio.Future[Applied]:
        there = effect.name in self._hub.users
        return self._proposals.begin(effect.channel, SetState({effect.name: there}))

    async def _finish(
        self, effect: PresenceDue, applied: Applied | asyncio.Future[Applied] | None
    ) -> None:
        while True:
            try:
                if applied is None:
                    await asyncio.sleep(PAUSE)
                    applied = self._begin(effect)
                if not isinstance(applied, Applied):
                    await applied
            except EngineFailed:
                applied = None
            except Refusal as refusal:
                _give_up(effect, refusal)
                return
            else:
                return


def _give_up(effect: PresenceDue, refusal: Refusal) -> None:
    if not isinstance(refusal, ChannelGone):
        logger.warning(
            "The state of %r does not show %r: %s", effect.channel.name, effect.name, refusal
        )
