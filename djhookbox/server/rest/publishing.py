"""What follows a publication by REST, and publications that need not wait for anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

from ...wire import answers, capabilities, events, rest
from ...wire.names import check_name
from ..channels.outcomes import Applied
from ..channels.publications import Publications
from ..clients.commands import parse_payload
from ..runtime import Runtime
from .forms import when_made


class Publishing:
    """Publish to live channels at once, and report publications."""

    def __init__(self, runtime: Runtime, publications: Publications) -> None:
        self._hub = runtime.hub
        self._webhooks = runtime.webhooks
        self._events = runtime.events
        self._metrics = runtime.metrics
        self._limit = runtime.config.max_name_length
        self._publications = publications

    def at_once(
        self, request: rest.Publish
    ) -> answers.Published | Awaitable[answers.Published] | None:
        """Publish to a live channel; return None if something must be done or asked before.

        This does the same as the call, but most publications are answered without a task, which
        would cost a turn of the event loop.
        """
        if request.key or request.send_hook:
            return None
        name = request.channel_name
        channel = self._hub.channels.get(name)
        if channel is None:
            check_name("channel_name", name, self._limit)
            return None
        payload = parse_payload(request.payload)
        applied = self._publications.begin(
            channel, payload, request.originator, made=when_made(request)
        )
        if isinstance(applied, Applied):
            return self._done(name, payload, request, applied)
        return self._later(name, payload, request, applied)

    async def _later(
        self, name: str, payload: Any, request: rest.Publish, applied: asyncio.Future[Applied]
    ) -> answers.Published:
        return self._done(name, payload, request, await applied)

    def _done(
        self, name: str, payload: Any, request: rest.Publish, applied: Applied
    ) -> answers.Published:
        self._metrics.messages_in += 1
        self.report(name, payload, request, applied.delivered)
        return self.answer(applied, request)

    def answer(self, published: Applied, request: rest.Publish) -> answers.Published:
        """Return the answer to a call."""
        answer = published.answer()
        return replace(answer, reported=True) if self._reports(request) else answer

    def report(
        self,
        name: str,
        payload: object,
        request: rest.Publish | rest.PublishMulti,
        delivered: int,
    ) -> None:
        """Report a publication that no webhook decided, unless the site has recorded it."""
        if isinstance(request, rest.Publish) and request.origin and self._reports(request):
            by = request.origin
            self._events.add(events.Published(
                name, by.user, "", by.source, delivered, payload,
                decided_by=by.decided_by or None, reason=by.reason or None,
            ))  # fmt: skip
        elif not request.recorded:
            user = request.originator or ""
            self._events.add(events.Published(name, user, "", "rest", delivered, payload))

    def _reports(self, request: rest.Publish) -> bool:
        """Return whether an event reports a publication from code, which the site wants."""
        return request.origin is not None and capabilities.EVENTS in self._webhooks.accepted
