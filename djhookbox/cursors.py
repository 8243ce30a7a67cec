"""Positions in a channel's stream, so that a page misses nothing after its query.

    def room(request):
        cursor = djhookbox.cursor("/rooms/1/")  # before the query
        messages = Message.objects.filter(room=1)
        return render(request, "room.html", {"cursor": cursor, "messages": messages})

    {% hookbox_script cursor %}

The page's subscription then starts at the cursor: what is published between the query and the
subscription arrives as if the page had been there.
"""

from __future__ import annotations

import asyncio
import logging
import time

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, router

from . import client
from .conf import settings
from .decisions.decide import decide_for_code
from .exceptions import HookboxDatabaseError, HookboxError, HookboxUnreachable
from .guards import recovering, synchronous
from .models import StreamHead
from .outbox import positions
from .vouching import validate_channel

logger = logging.getLogger("djhookbox")

#: A process that did not answer is not asked again before this time: a page may need many
#: cursors and must not wait for each of them.
_silent_until = 0.0


class Cursor(str):
    """A position in a channel's stream; empty if it is not known.

    It is opaque, and valid for as long as messages are kept for clients that return. A page with an
    empty cursor receives messages from the moment it subscribes.

    Attributes:
        channel: The channel's name.

    """

    channel: str

    def __new__(cls, value: str = "", channel: str = "") -> Cursor:
        """Create a cursor of a channel."""
        self = super().__new__(cls, value)
        self.channel = channel
        return self


@synchronous(instead="acursor")
def cursor(channel: str, *, using: str | None = None) -> Cursor:
    """Return the current position in a channel's stream.

    Call it before the query whose result the page shows. In a transaction that keeps a snapshot of
    the database, call it before any other query. Publish after the commit: a message that is
    published before its data can be read is missed.

    The cursor is empty, with a logged warning, if nothing opens the channel or if the process or
    the database fails; the page still works. Without `HOOKBOX_RECOVERY_SECONDS`, it is also empty
    if the channel has no history.

    Raises:
        ChannelNameError: The channel's name is invalid.
        HookboxSynchronousOnly: Called from asynchronous code.

    """
    validate_channel(channel)
    options = _options(channel)
    if options is not None and options.get("durable"):
        return Cursor(_stored(channel, using), channel)
    return Cursor("" if options is None else _ask(channel, options), channel)


async def acursor(channel: str, *, using: str | None = None) -> Cursor:
    """Return a cursor like `cursor`, without blocking the event loop."""
    validate_channel(channel)
    options = await sync_to_async(_options)(channel)
    if options is not None and options.get("durable"):
        return Cursor(await sync_to_async(_stored)(channel, using), channel)
    text = "" if options is None else await asyncio.to_thread(_ask, channel, options)
    return Cursor(text, channel)


def _options(channel: str) -> dict[str, object] | None:
    """Return the options the channel would have, or None if there is no cursor to ask for."""
    if settings.executable:
        return None  # Hookbox 0.3.3 does not number publications
    try:
        decision = recovering(decide_for_code)(channel, AnonymousUser())
    except HookboxDatabaseError as error:
        logger.warning("Cannot get a cursor for %s: %s", channel, error)
        return None
    if not decision.allowed:
        logger.warning("Cannot get a cursor for %s: %s", channel, decision.reason)
        return None
    return dict(decision.options)


def _stored(channel: str, using: str | None) -> str:
    """Return the position of a durable channel from the database."""
    try:
        return positions.cursor(channel, router.db_for_read(StreamHead) if using is None else using)
    except DatabaseError as error:
        logger.warning("Cannot get a cursor for %s: %s", channel, error)
        return ""


def _ask(channel: str, options: dict[str, object]) -> str:
    global _silent_until
    if time.monotonic() < _silent_until:
        return ""
    try:
        return client.cursor(channel, options=options)
    except HookboxUnreachable as error:
        _silent_until = time.monotonic() + settings.timeout
        logger.warning("Cannot get a cursor for %s: %s", channel, error)
    except HookboxError as error:
        logger.warning("Cannot get a cursor for %s: %s", channel, error)
    return ""
