"""The signals sent while a webhook is decided.

The sender is the Django user (an `AnonymousUser` for visitors without an account), as in 2011.
A receiver of `connect`, `create`, `subscribe` or `publish` that raises refuses the operation:
texts of `PermissionDenied` and `HookboxError` reach the browser, any other exception is logged
and the browser reads a generic sentence. The others cannot be refused; what their receivers
raise is logged.
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

#: A channel is about to come into being. Argument: `channel`.
create = Signal()

#: The last subscriber of a channel has left. Argument: `channel`.
destroy = Signal()

#: The names under which 2011's code looks the signals up (`views.signals["connect"]`).
signals: dict[str, Signal] = {
    "connect": connect,
    "disconnect": disconnect,
    "subscribe": subscribe,
    "unsubscribe": unsubscribe,
    "publish": publish,
    "create": create,
    "destroy": destroy,
}
