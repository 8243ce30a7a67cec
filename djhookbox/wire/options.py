"""What both processes must know of the options of channels."""

from __future__ import annotations

from collections.abc import Mapping

#: Options that only 0.3.4 and the embedded server know; 0.3.3 refuses the channel for them.
LATER = frozenset(
    {"history_duration", "history_publish_only", "server_presenceful", "server_user_presence"}
)

#: Options that change while a channel lives; an edited policy leaves them alone.
LIVE = frozenset({"history", "state"})


def asks(given: Mapping[str, object], operation: str) -> bool:
    """Tell whether the server asks the site before an operation on a channel.

    Args:
        given: The options with which it was created; `moderated` is on unless they turn it off.
        operation: subscribe, unsubscribe or publish.

    """
    return bool(given.get("moderated", True) or given.get(f"moderated_{operation}"))
