"""Send the signals about users who leave and channels that are destroyed."""

from __future__ import annotations

from .. import handlers, signals
from ..decisions.decide import decide
from ..policy.rules import Operation
from ..users.identity import by_name
from ..wire import events
from ..wire.events import Event


def tell(event: Event) -> bool:
    """Call the receivers of an event; return whether there are any.

    They are receivers of signals and functions of `whcallback`. None of them can refuse: it has
    happened.
    """
    if isinstance(event, events.Disconnected) and event.last:
        operation, name, channel = Operation.DISCONNECT, event.user, ""
    elif isinstance(event, events.Unsubscribed) and event.signal:
        operation, name, channel = Operation.UNSUBSCRIBE, event.user, event.channel_name
    elif isinstance(event, events.Destroyed):
        operation, name, channel = Operation.DESTROY, "", event.channel_name
    else:
        return False
    if not (signals.signals[operation].receivers or handlers.anyone_for(operation)):
        return False
    decide(operation, by_name(name), channel)
    return True
