"""What a site says in `X-Hookbox-Accepts` that it knows beyond Hookbox 0.3.3.

The server must not send another application what it does not understand.
"""

from __future__ import annotations

from . import webhooks

#: Webhooks that came later.
EVENTS, RECHECK, MESSAGE, PRUNE, SUBSCRIBE_MANY = (
    webhooks.Events.name, webhooks.Recheck.name, webhooks.Message.name, webhooks.Prune.name,
    webhooks.SubscribeMany.name,
)  # fmt: skip
#: The channel on which the server reports is closed to all but the operators.
REPORT = "report"
#: Webhooks may have a JSON body, see `bodies`.
JSON = "json"
#: Reports say which process makes them, when it starts and ends, and come at least once a minute.
NODES = "nodes"

#: What the views of this package know, in the order of the header.
ALL = (EVENTS, RECHECK, MESSAGE, REPORT, PRUNE, SUBSCRIBE_MANY, JSON, NODES)
