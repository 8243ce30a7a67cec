"""The signals sent while a webhook is decided.

The sender is the Django user (an `AnonymousUser` for visitors without an account), as in 2011.
A receiver of `connect`, `create`, `subscribe` or `publish` that raises refuses the operation:
the texts of `PermissionDenied` and `HookboxError` reach the browser; other exceptions are logged
and the browser receives a generic sentence. The other operations cannot be refused; exceptions of
their receivers are logged.
"""

from __future__ import annotations

from django.dispatch import Signal

#: A browser connects. No arguments besides the sender.
connect = Signal()

#: The last connection of a user has gone. No arguments besides the sender.
disconnect = Signal()

#: A user subscribes. Argument: `channel`, the channel's name.
subscribe = Signal()

#: A user has unsubscribed. Argument: `channel`.
unsubscribe = Signal()

#: A user publishes. Arguments: `channel`, `payload` (the decoded JSON value).
publish = Signal()

#: A channel is about to be created. Argument: `channel`.
create = Signal()

#: The last subscriber of a channel has left. Argument: `channel`.
destroy = Signal()

#: Signals by name, as code written in 2011 accesses them (`views.signals["connect"]`).
signals: dict[str, Signal] = {
    "connect": connect,
    "disconnect": disconnect,
    "subscribe": subscribe,
    "unsubscribe": unsubscribe,
    "publish": publish,
    "create": create,
    "destroy": destroy,
}
