"""The code of the site's developer: a handler and receivers."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied

import djhookbox
from djhookbox import signals


class Handler:
    """Opens the channels below /handled/."""

    def create(self, user: Any, channel: str) -> dict[str, object] | None:
        return {"history_size": 3} if channel.startswith("/handled/") else None


def greet(sender: Any, channel: str, **kwargs: Any) -> None:
    """Publish to the very channel that somebody is subscribing to."""
    if channel.startswith("/greeting/"):
        djhookbox.publish(channel, {"welcome": sender.get_username()})


def turn_away(sender: Any, **kwargs: Any) -> None:
    """Refuse one user."""
    if sender.get_username() == "mallory":
        raise PermissionDenied("Mallory may not connect.")


def prepare() -> None:
    """Register all of it."""
    djhookbox.register_channel_handler(Handler())
    signals.subscribe.connect(greet)
    signals.connect.connect(turn_away)
