"""What a site's developer reads in the output of `runserver` while DEBUG is on."""

from __future__ import annotations

import logging
import shlex

from .conf import settings

logger = logging.getLogger("djhookbox")


def tell_refusal(operation: str, user: str, channel: str, reason: str, decided_by: str) -> None:
    """Log that a browser was refused, and how to find out why.

    Args:
        operation: What was refused.
        user: The user's name, or "" for a visitor.
        channel: The channel, or "".
        reason: What the browser reads.
        decided_by: Who refused.

    """
    if not settings.debug:
        return
    advice = ""
    if channel and operation in ("subscribe", "publish", "create"):
        words = ["manage.py", "hookbox", "explain", user, channel, "--operation", operation]
        advice = f" To see who decides: {shlex.join(words)}"
        if decided_by == "nobody":
            advice = " Add a channel policy in the admin, or a handler." + advice
    logger.warning(
        "Refused %s on %s for %s: %s (%s)%s (Shown because DEBUG is on.)",
        operation, channel or "-", user or "a visitor", reason, decided_by or "-", advice,
    )  # fmt: skip


def tell_unheard(channel: str, delivered: int | None) -> None:
    """Log that a message reached nobody."""
    if delivered == 0 and settings.debug:
        logger.warning(
            "A message to %s reached nobody: no page is subscribed to it at the moment. Does the "
            "page use exactly this name, and was it allowed to subscribe? (Shown because DEBUG is "
            "on.)",
            channel,
        )
