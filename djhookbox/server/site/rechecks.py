"""Ask the site again about subscriptions after a policy was edited.

Each webhook covers a hundred subscriptions. Those made by code are not rechecked. If the site
cannot be reached for half a minute, the subscriptions end: no access remains that the site does
not confirm.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Collection, Mapping, Sequence

from ...wire import webhooks
from ...wire.events import Unsubscribed
from ...wire.options import INITIAL_ONLY, OptionError
from ...wire.replies import Rechecked
from ..channels.outcomes import ChannelGone, EngineFailed
from ..channels.proposals import Proposals
from ..core import snapshots
from ..core.changes import SetOptions
from ..core.model import Channel
from ..refusals import Refusal
from ..runtime import Runtime
from .queue import patience

logger = logging.getLogger("djhookbox.server")

BATCH = 100
#: Pauses between attempts while the site does not answer, in seconds.
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
#: A web process may apply the old policy for up to a second. Subscriptions granted in that time
#: are rechecked, and once more after every webhook and batch of that time has been answered.
SETTLED_SECONDS = 1.5


class Rechecks:
    """Recheck subscriptions."""

    def __init__(self, runtime: Runtime, proposals: Proposals) -> None:
        self._hub = runtime.hub
        self._webhooks = runtime.webhooks
        self._events = runtime.events
        self._tasks = runtime.tasks
        self._clock = runtime.clock
        self._proposals = proposals
        self._shared = runtime.shared

    def begin(
        self, patterns: Sequence[re.Pattern[str]], users: Collection[str] | None
    ) -> dict[str, int]:
        """Start rechecking in the background; return the counts of what is covered."""
        work = self._affected(patterns, users, 0.0)
        self._tasks.start(self._run(patterns, users, work, self._clock()))
        names = {name for _channel, names in work for name in names if name in self._hub.users}
        return {
            "channels": len(work),
            "subscriptions": sum(len(names) for _channel, names in work),
            "connections": sum(len(self._hub.users[name].connections) for name in names),
        }

    def _affected(
        self, patterns: Sequence[re.Pattern[str]], users: Collection[str] | None, since: float
    ) -> list[tuple[Channel, list[str]]]:
        affected = []
        for channel in self._hub.channels.values():
            if not any(pattern.fullmatch(channel.name) for pattern in patterns):
                continue
            names = [
                name
                for name, subscription in channel.subscribers.items()
                if not subscription.by_code
                and subscription.since >= since
                and (self._shared is None or name in self._hub.users)
                and (users is None or name in users)
            ]
            # A channel without new subscribers matters only if it is new itself.
            if names or (users is None and channel.created >= since):
                affected.append((channel, names))
        return affected

    async def _run(
        self,
        patterns: Sequence[re.Pattern[str]],
        users: Collection[str] | None,
        work: list[tuple[Channel, list[str]]],
        started: float,
    ) -> None:
        await self._ask_all(work)
        del work  # which may be large, and is not needed during the coming half minute
        since = started - 0.1
        config = self._webhooks.config
        for patient in (0.0, 1.0, patience(config.max_channels_per_connection)):
            pause = SETTLED_SECONDS + patient * config.webhook_timeout
            await asyncio.sleep(max(0.0, started + pause - self._clock()))
            asked = self._clock()
            await self._ask_all(self._affected(patterns, users, since))
            since = asked

    async def _ask_all(self, work: list[tuple[Channel, list[str]]]) -> None:
        # All batches share one half minute, even if the site is down for each of them.
        pauses: Sequence[float] = PAUSES
        batch: dict[str, list[str]] = {}
        size = 0
        for channel, names in work:
            rest = names
            while True:
                part, rest = rest[: BATCH - size], rest[BATCH - size :]
                batch[channel.name] = part
                size += max(1, len(part))
                if size >= BATCH:
                    if not await self._ask(batch, pauses):
                        pauses = ()
                    batch, size = {}, 0
                if not rest:
                    break
        if batch:
            await self._ask(batch, pauses)

    async def _ask(self, batch: dict[str, list[str]], pauses: Sequence[float]) -> bool:
        """Recheck one batch and apply the answer; return whether the site could be asked."""
        wanted = {name: tuple(names) for name, names in batch.items()}
        for pause in (*pauses, None):
            try:
                reply = await self._webhooks.send(webhooks.Recheck(wanted))
                channels = reply.check().channels
            except Refusal as refusal:
                if pause is None:
                    logger.error("The site did not confirm %d channels: %s", len(batch), refusal)
                    await self._apply({
                        name: Rechecked(refused=dict.fromkeys(names, refusal.reason))
                        for name, names in batch.items()
                    })  # fmt: skip
                    return False
                await asyncio.sleep(pause)
            else:
                await self._apply(channels)
                return True
        return False

    async def _apply(self, channels: Mapping[str, Rechecked]) -> None:
        now = self._clock()
        for name, rechecked in channels.items():
            channel = self._hub.channels.get(name)
            if channel is None:
                continue
            for user_name, reason in rechecked.refused.items():
                subscription = channel.subscribers.get(user_name)
                if subscription is None or subscription.by_code:
                    continue
                self._proposals.withdraw(channel, subscription.user, str(reason))
                self._events.add(Unsubscribed(name, user_name, by="policy", reason=str(reason)))
            if rechecked.options and self._hub.channels.get(name) is channel:
                await self._change_options(channel, rechecked.options, now)

    async def _change_options(
        self, channel: Channel, options: Mapping[str, object], now: float
    ) -> None:
        present = snapshots.options(channel, now)
        changed = {
            key: value
            for key, value in options.items()
            if key not in INITIAL_ONLY and present.get(key) != value
        }
        polling = changed.get("polling")
        if isinstance(polling, dict):
            try:
                if channel.options.polling.changed(polling) == channel.options.polling:
                    del changed["polling"]
            except OptionError:
                pass  # set_options below reports the error
        try:
            if changed:
                await self._proposals.propose(channel, SetOptions(changed, now))
                if changed.get("durable"):
                    self._proposals.durable.adopt(channel)
        except OptionError as error:
            logger.error("The policy's options cannot be applied to %r: %s", channel.name, error)
        except (ChannelGone, EngineFailed) as error:
            logger.warning("The policy's options were not applied to %r: %s", channel.name, error)
