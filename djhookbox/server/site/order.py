"""Keep webhooks from overtaking events that report that somebody has left.

An event reaches the site up to half a second later than a webhook would. A page that is reloaded
leaves and comes back within that time, and the site must learn of this in the same order. An event
therefore leaves traces until the site has it, and a webhook about the same user, browser or channel
waits until it has been reported.
"""

from __future__ import annotations

from ...wire.events import Destroyed, Event
from ...wire.webhooks import Connect, SubscribeMany, Webhook
from ..connection import Connection


def traces(connection: Connection) -> tuple[str, ...]:
    """Return the traces of a user who leaves."""
    user = _user(connection.user.name) if connection.user is not None else ""
    return (user, *_browser(connection))


def traces_of(event: Event) -> tuple[str, ...]:
    """Return the traces that an event leaves by itself."""
    return (_channel(event.channel_name),) if isinstance(event, Destroyed) else ()


def followed(webhook: Webhook[object], connection: Connection | None) -> tuple[str, ...]:
    """Return the traces that a webhook must not overtake."""
    if isinstance(webhook, Connect):
        # Nobody knows yet who connects.
        browser = _browser(connection) if connection is not None else ()
        return (_user(webhook.expected_user), *browser)
    found = []
    if connection is not None and connection.user is not None:
        found.append(_user(connection.user.name))
    if isinstance(webhook, SubscribeMany):
        found += [_channel(each.channel_name) for each in webhook.channels]
    elif channel := getattr(webhook, "channel_name", ""):
        found.append(_channel(channel))
    return tuple(found)


def _browser(connection: Connection) -> tuple[str, str]:
    handshake = connection.handshake
    # Cookies are long, and secret.
    return f"address {handshake.remote_addr}", f"cookies {hash(handshake.cookie)}"


def _channel(name: str) -> str:
    return f"channel {name}"


def _user(name: str) -> str:
    return f"user {name}"
