"""One log line for each decision of the site, with sampling of what is allowed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from zlib import crc32

from ...wire import replies, webhooks
from ...wire.closing import Disconnect
from ...wire.webhooks import Webhook
from ..connection import Connection
from ..refusals import Refusal, WebhookFailed
from .outcomes import Reply, UnusableReply

logger = logging.getLogger("djhookbox.server.decisions")

#: Close codes of connections that ended as they should: closed by the page, or with it.
USUAL = frozenset({1000, 1001, 1005})

#: Webhooks that ask for a decision; the others of `webhooks.BATCHABLE` report something.
DECIDING = frozenset(
    webhook.name
    for webhook in webhooks.BATCHABLE
    if webhook not in (webhooks.Disconnect, webhooks.DestroyChannel)
)

#: The code of a refusal after an error in the project's code.
ERROR = "error"


class Sample:
    """Which connections have all their lines in the log.

    Args:
        share: The share of connections, from 0 to 1; None for all of them.

    """

    def __init__(self, share: float | None) -> None:
        self._below = 2**32 if share is None else round(share * 2**32)

    def has(self, connection: str) -> bool:
        """Return whether a connection belongs to it; always the same for the same id."""
        return crc32(connection.encode("utf-8", "surrogatepass")) < self._below

    def has_end(self, connection: str, disconnect: Disconnect) -> bool:
        """Return whether the end of a connection is logged: unusual ones always are."""
        return disconnect.code not in USUAL or self.has(connection)


class DecisionLog:
    """Write the lines about decisions.

    Args:
        share: The share of connections whose permissions are logged, from 0 to 1. Refusals and
            errors are logged for all of them.

    """

    def __init__(self, share: float) -> None:
        self._sample = Sample(share)

    def write(
        self,
        webhook: Webhook[object],
        connection: Connection | None,
        reply: Reply[object] | WebhookFailed,
        seconds: float,
    ) -> None:
        """Write what the site has decided.

        Args:
            webhook: What it was asked.
            connection: The connection that caused it.
            reply: What it replied, or that it did not.
            seconds: How long that took, including the time in the queue.

        """
        caller = connection.id if connection is not None else ""
        user = connection.user.name if connection is not None and connection.user else ""
        transport = connection.transport if connection is not None else ""
        sampled = self._sample.has(caller)
        for operation, channel, answer in _decisions(webhook, reply):
            refused = answer if isinstance(answer, replies.Refused) else None
            if refused is None and not sampled:
                continue
            name = user or _user(webhook, answer)
            decided_by = getattr(answer, "decided_by", "")
            facts = {
                "operation": operation, "channel": channel, "user": name, "connection": caller,
                "allowed": refused is None, "decided_by": decided_by,
                "duration_ms": round(seconds * 1000, 1), "transport": transport,
                "webhook": webhook.name,
            }  # fmt: skip
            if refused is not None:
                facts |= {"reason": refused.reason, "refusal": refused.code}
            # A refusal is a normal answer; what has failed is also logged where it failed.
            logger.info(
                "%s %s %s: %s%s by %s in %d ms",
                name or "-", operation, channel or "-",
                "allowed" if refused is None else "refused",
                f" ({refused.reason})" if refused is not None else "",
                decided_by or "-", facts["duration_ms"],
                extra={key: value for key, value in facts.items() if value != ""},
            )  # fmt: skip


def _decisions(
    webhook: Webhook[object], reply: Reply[object] | WebhookFailed
) -> Iterator[tuple[str, str, object]]:
    """Yield operation, channel and answer of each decision."""
    answer: object = reply.answer if isinstance(reply, Reply) else reply
    if isinstance(answer, UnusableReply | WebhookFailed):
        answer = replies.Refused(answer.reason, "unavailable")
    elif isinstance(answer, Refusal):
        answer = replies.Refused(answer.reason, answer.code, answer.decided_by)
    if isinstance(answer, replies.SubscribeManyReply):
        for channel, decided in answer.channels.items():
            for operation, one in (("create", decided.create), ("subscribe", decided.subscribe)):
                if isinstance(one, replies.Unusable):
                    yield operation, channel, replies.Refused(one.problem, ERROR)
                elif one is not None:
                    yield operation, channel, one
        return
    if isinstance(webhook, webhooks.SubscribeMany):
        for wanted in webhook.channels:
            yield "subscribe", wanted.channel_name, answer
        return
    channel = getattr(webhook, "channel_name", "") or getattr(webhook, "recipient", "")
    yield webhook.name.removesuffix("_channel"), channel, answer


def _user(webhook: Webhook[object], answer: object) -> str:
    """Return the user of a webhook that no connected client has caused."""
    if isinstance(answer, replies.ConnectReply):
        return answer.name
    for name in ("user", "sender", "expected_user"):
        if value := getattr(webhook, name, ""):
            return str(value)
    return ""
