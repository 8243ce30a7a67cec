"""What follows a publication by REST, and publications that need not wait for anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias

from ...wire import answers, capabilities, events, rest
from ...wire.names import check_name
from ...wire.values import JSON
from ..channels.outcomes import Applied, ChannelGone
from ..channels.publications import Publications
from ..clients.commands import parse_payload
from ..runtime import Runtime
from .failures import FAILURES, Failing, failure
from .forms import when_made

#: A publication that was begun: its request, its payload, and the result, which may be awaited.
Begun: TypeAlias = tuple[rest.Publish, JSON, Applied | asyncio.Future[Applied]]


async def outcome(work: Awaitable[answers.Published]) -> answers.Outcome:
    """Return what has become of one of many publications."""
    try:
        published = await work
    except FAILURES as error:
        return _failed(error)
    return answers.Outcome(published.delivered, reported=published.reported)


def _failed(error: Failing) -> answers.Outcome:
    told = failure(error)
    return answers.Outcome(None, told.msg, told.code)


class Publishing:
    """Publish to live channels at once, and report publications.

    Args:
        runtime: The parts of the server.
        publications: Makes them.
        late: Publishes to a channel that is not live.

    """

    def __init__(
        self,
        runtime: Runtime,
        publications: Publications,
        late: Callable[[rest.Publish], Awaitable[answers.Published]],
    ) -> None:
        self._hub = runtime.hub
        self._delivery = runtime.delivery
        self._webhooks = runtime.webhooks
        self._events = runtime.events
        self._metrics = runtime.metrics
        self._limit = runtime.config.max_name_length
        self._publications = publications
        self._late = late

    def at_once(
        self, request: rest.Publish, text: str | None = None
    ) -> answers.Published | Awaitable[answers.Published] | None:
        """Publish to a live channel; return None if something must be done or asked before.

        This does the same as the call, but most publications are answered without a task, which
        would cost a turn of the event loop.

        Args:
            request: The request.
            text: The payload, if it is not that of the request.

        """
        self._delivery.is_single = True
        try:
            begun = self.begin(request, text)
        finally:
            self._delivery.is_single = False
        if begun is None:
            return None
        request, payload, applied = begun
        if isinstance(applied, Applied):
            return self._done(request, payload, applied)
        if text is not None:
            request = replace(request, payload=text)
        return self.end((request, payload, applied))

    def begin(self, request: rest.Publish, text: str | None = None) -> Begun | None:
        """Do the same as `at_once`, but return what `end` takes."""
        if request.key or request.send_hook:
            return None
        name = request.channel_name
        channel = self._hub.channels.get(name)
        if channel is None:
            check_name("channel_name", name, self._limit)
            return None
        payload = parse_payload(request.payload if text is None else text)
        made = None if request.made is None else when_made(request)
        applied = self._publications.begin(channel, payload, request.originator, made=made)
        return request, payload, applied

    def begin_one(self, request: rest.Publish) -> answers.Outcome | Begun | None:
        """Do the same as `begin` for one of many publications, whose failure is an outcome."""
        try:
            return self.begin(request)
        except FAILURES as error:
            return _failed(error)

    async def end(self, begun: Begun) -> answers.Published:
        """Return the answer to a publication that was begun, waiting if necessary."""
        request, payload, applied = begun
        if not isinstance(applied, Applied):
            try:
                applied = await self._publications.answer(applied)
            except ChannelGone:  # another node has destroyed it
                return await self._late(request)
        return self._done(request, payload, applied)

    def _done(self, request: rest.Publish, payload: JSON, applied: Applied) -> answers.Published:
        self._metrics.messages_in += 1
        self.report(request.channel_name, payload, request, applied.delivered)
        return self.answer(applied, request)

    def answer(self, published: Applied, request: rest.Publish) -> answers.Published:
        """Return the answer to a call."""
        # An event reports a publication from code, if the site wants that.
        reported = request.origin is not None and self._wants_events
        return published.answer(reported or None)

    def report(
        self,
        name: str,
        payload: object,
        request: rest.Publish | rest.PublishMulti,
        delivered: int,
    ) -> None:
        """Report a publication that no webhook decided, unless the site has recorded it."""
        by = request.origin if isinstance(request, rest.Publish) else None
        if by is not None and self._wants_events:
            self._events.add(events.Published(
                name, by.user, "", by.source, delivered, payload,
                decided_by=by.decided_by or None, reason=by.reason or None,
            ))  # fmt: skip
        elif not request.recorded:
            user = request.originator or ""
            self._events.add(events.Published(name, user, "", "rest", delivered, payload))

    @property
    def _wants_events(self) -> bool:
        return capabilities.EVENTS in self._webhooks.accepted
