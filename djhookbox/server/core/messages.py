"""Messages from user to user (0.3.4)."""

from __future__ import annotations

from ...wire.values import JSON
from .effects import Effect, Send
from .hub import Hub
from .values import timestamp


def message(
    hub: Hub,
    sender: str,
    recipient: str,
    payload: JSON,
    now: float,
    reflect: bool,
    *,
    elsewhere: bool = False,
) -> tuple[list[Effect], int]:
    """Send a user a message; also return the number of connections here that got it.

    Args:
        hub: The core.
        sender: The name of the sender.
        recipient: The name of the recipient.
        payload: Any JSON value.
        now: Seconds since the epoch.
        reflect: Whether the sender's connections receive it too.
        elsewhere: Whether the recipient has connections on other nodes.

    """
    target = hub.users.get(recipient)
    receivers = dict(target.connections) if target else {}
    source = hub.users.get(sender)
    if reflect and source is not None and source is not target:
        receivers.update(source.connections)
    args = {
        "sender": sender,
        "recipient": recipient if target or elsewhere else "null",  # as in 0.3.4
        "payload": payload,
        "datetime": timestamp(now),
    }
    return [Send(receivers, "MESSAGE", args)], len(target.connections) if target else 0
