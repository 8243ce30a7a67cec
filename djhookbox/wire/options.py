"""The channel options that both processes must know about."""

from __future__ import annotations

from collections.abc import Mapping

#: Options that only 0.3.4 and the embedded server know; 0.3.3 refuses a channel that has them.
LATER = frozenset(
    {
        "durable",
        "history_duration",
        "history_publish_only",
        "server_presenceful",
        "server_user_presence",
    }
)

#: Options that change during the life of a channel; an edited policy does not affect them.
LIVE = frozenset({"history", "state"})


def asks(given: Mapping[str, object], operation: str) -> bool:
    """Return whether the server asks the site before an operation on a channel.

    Args:
        given: The channel's options at creation; `moderated` is on unless they turn it off.
        operation: `subscribe`, `unsubscribe` or `publish`.

    """
    return bool(given.get("moderated", True) or given.get(f"moderated_{operation}"))
