"""The features beyond Hookbox 0.3.3 that a site lists in `X-Hookbox-Accepts`.

The server must not send other applications anything they do not understand.
"""

from __future__ import annotations

from . import events, webhooks

#: Webhooks that were added after 0.3.3.
EVENTS, RECHECK, MESSAGE, PRUNE, SUBSCRIBE_MANY, OUTBOX = (
    webhooks.Events.name, webhooks.Recheck.name, webhooks.Message.name, webhooks.Prune.name,
    webhooks.SubscribeMany.name, webhooks.Outbox.name,
)  # fmt: skip
#: The channel that the server publishes reports on is closed to everyone but the operators.
REPORT = "report"
#: Webhooks may have a JSON body; see `bodies`.
JSON = "json"
#: Reports name the process that sends them and its start and end, and are sent at least once a
#: minute.
NODES = "nodes"

#: Events may contain what the process has counted in each minute.
MEASURED = events.Measured.kind

#: Decisions may be asked for in batches. Sites announce this only if their middleware allows it.
BATCH = webhooks.Batch.name

#: Identities may be confirmed. Sites announce this only if their middleware allows it.
CONFIRM = webhooks.Confirm.name

#: Unsubscribe, disconnect and destroy may be reported as events instead of being webhooks of their
#: own. Sites announce this unless a handler may answer such a webhook.
LEAVING = "leaving"

#: The features that the views of this package support on every site, in the order of the header.
ALL = (EVENTS, RECHECK, MESSAGE, REPORT, PRUNE, SUBSCRIBE_MANY, JSON, NODES, OUTBOX, MEASURED)
