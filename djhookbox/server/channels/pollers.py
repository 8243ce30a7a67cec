"""Channels that fetch their own messages (`polling` in section 7 of the reference).

Each poller is one task that ends with its channel (D25). Nothing waits for it (D24), and a poll
that fails publishes nothing.
"""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from ...wire.events import Published
from ...wire.hosts import HostRules
from ...wire.options import OptionError, Polling
from ...wire.values import JSON, dumps, loads
from ..core.changes import SetOptions
from ..core.effects import PollingChanged
from ..core.model import Channel
from ..engine.base import EngineError, Turn
from ..runtime import Runtime
from .fetching import Fetcher, HostRefused
from .outcomes import ChannelGone, EngineFailed
from .proposals import Proposals
from .publications import Publications

logger = logging.getLogger("djhookbox.server")

#: Maximum number of polling channels; more would starve the rest of the process.
MAX_POLLERS = 1000
MAX_PAUSE = 300.0
#: Seconds for which a node keeps the right to poll, in addition to two intervals.
POLLER_SECONDS = 10.0


def pause_after(failures: int, interval: float) -> float:
    """Return the seconds until the next attempt, which grow with failures up to a bound."""
    if not failures:
        return interval
    return float(min(2 ** min(failures, 30), max(MAX_PAUSE, interval)))


class Pollers:
    """Start and stop the pollers of channels."""

    def __init__(self, runtime: Runtime, proposals: Proposals, publications: Publications) -> None:
        self._hub = runtime.hub
        self._events = runtime.events
        self._clock = runtime.clock
        self._proposals = proposals
        self._publications = publications
        self._owner = runtime.tasks
        self._shared = runtime.shared
        self._tasks: dict[Channel, asyncio.Task[None]] = {}
        #: Channels whose options are being changed by their own pollers.
        self._changing: set[Channel] = set()
        self._fetcher = Fetcher(HostRules.parse(runtime.config.polling_hosts))

    def changed(self, effect: PollingChanged) -> None:
        """Stop the poller of a channel, and start a new one if its options ask for polling."""
        channel = effect.channel
        task = self._tasks.pop(channel, None)
        # A poller whose own answer changes the options picks up the new ones itself.
        if task is not None and channel not in self._changing:
            task.cancel()
        polling = channel.options.polling
        if not polling.mode:
            return
        try:
            self._fetcher.check(polling.url)
        except HostRefused as error:
            logger.warning("%r is not polled: %s", channel.name, error)
            return
        if len(self._tasks) >= MAX_POLLERS:
            logger.warning("%r is not polled: %d channels are already", channel.name, MAX_POLLERS)
            return
        self._tasks[channel] = self._owner.start(self._poll(channel))

    async def stop(self) -> None:
        """Stop all pollers."""
        for task in self._tasks.values():
            task.cancel()
        await self._fetcher.close()

    # ---- parts -----------------------------------------------------------

    async def _poll(self, channel: Channel) -> None:
        polling = channel.options.polling
        failures = 0
        await asyncio.sleep(polling.interval)
        while True:
            try:
                turn = await self._turn(channel, polling)
                again = turn is Turn.OTHER
                if turn is Turn.MINE:
                    again = await self._once(channel, polling)
                    # If its own answer has changed the options, another task continues.
                    if not again and self._tasks.get(channel) is asyncio.current_task():
                        await self._turn(channel, polling, done=True)
                failures = 0
            except (
                aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError, EngineFailed
            ) as error:  # fmt: skip
                failures += 1
                again = True
                logger.warning("Polling %s for %r failed: %s", polling.url, channel.name, error)
            if not again or self._tasks.get(channel) is not asyncio.current_task():
                break
            await asyncio.sleep(pause_after(failures, polling.interval))
        if self._tasks.get(channel) is asyncio.current_task():
            del self._tasks[channel]

    async def _turn(self, channel: Channel, polling: Polling, done: bool = False) -> Turn:
        """Return whether this node is the one that polls the channel, or record that it is done."""
        if self._shared is None or channel.reserved:
            return Turn.MINE
        seconds = 2 * polling.interval + POLLER_SECONDS
        try:
            return await self._shared.poller(channel.name, seconds, done)
        except EngineError:
            return Turn.OTHER

    async def _once(self, channel: Channel, polling: Polling) -> bool:
        """Fetch and publish once; return whether to continue."""
        if polling.mode == "simple":
            text = await self._fetcher.fetch(polling.url)
            try:
                payload = loads(text)
            except ValueError:
                payload = text.decode("utf-8", "replace")
            await self._publish(channel, payload)
            return True
        form = {
            key: value if isinstance(value, str) else dumps(value)
            for key, value in polling.form.items()
        }
        # Omit the webhook secret, which 0.3.3 sent to every host that it polled (D39).
        answer = loads(await self._fetcher.fetch(polling.url, form))
        if not isinstance(answer, list) or len(answer) != 2 or not isinstance(answer[1], dict):
            raise ValueError("the answer is not a list of success and an object")
        options: dict[str, object] = dict(answer[1])
        payload = options.pop("payload", None)
        if options:
            await self._set_options(channel, options)
        await self._publish(channel, payload)
        return polling.mode != "once"

    async def _set_options(self, channel: Channel, options: dict[str, object]) -> None:
        self._changing.add(channel)
        try:
            await self._proposals.propose(channel, SetOptions(options, self._clock()))
        except OptionError as error:
            logger.warning("The options polled for %r are invalid: %s", channel.name, error)
        except ChannelGone:
            pass  # publish nothing
        finally:
            self._changing.discard(channel)

    async def _publish(self, channel: Channel, payload: JSON) -> None:
        if self._hub.channels.get(channel.name) is not channel:
            return
        sender = channel.options.polling.originator  # which the answer may have changed
        published = await self._publications.publish(
            channel, payload, sender, polled=self._shared is not None
        )
        self._events.add(
            Published(
                channel_name=channel.name,
                user=sender,
                source="poll",
                delivered=published.delivered,
                payload=payload,
            )
        )
