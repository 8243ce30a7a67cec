"""Parse webhooks into typed values, and describe errors in the user's language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic

from django.utils.translation import gettext as _

from .genuine import payloads
from .wire import nodes, values, webhooks
from .wire.fields import Fault, FieldProblem
from .wire.webhooks import AnyWebhook, Caller


class MalformedWebhook(ValueError):
    """A webhook that no Hookbox server would send; the message says why."""


@dataclass(frozen=True, slots=True)
class Received(Generic[AnyWebhook]):
    """A webhook that has arrived.

    Attributes:
        webhook: The question or report of the server.
        caller: The connection that caused it.
        embedded: Whether the bundled server sent it, and not the genuine Hookbox.
        node: The boot id of the process that sent it, or "" if unknown.
        explain: Whether the reply is to say who decided.

    """

    webhook: AnyWebhook
    caller: Caller
    embedded: bool
    node: str = ""
    explain: bool = False


def parse(
    kind: type[AnyWebhook],
    fields: Mapping[str, str],
    *,
    embedded: bool,
    boot: str = "",
    explain: bool = False,
) -> Received[AnyWebhook]:
    """Parse a webhook.

    Args:
        kind: The expected webhook.
        fields: Its fields.
        embedded: Whether the bundled server sent it.
        boot: The header that identifies the process; ignored unless it is a boot id.
        explain: Whether the bundled server asks who decided.

    Raises:
        MalformedWebhook: A field is missing or invalid.

    """
    if fields.get("action") != kind.name:
        raise MalformedWebhook(_("This URL expects the action “%(name)s”.") % {"name": kind.name})
    try:
        webhook, caller = webhooks.read(kind, fields)
    except FieldProblem as problem:
        raise MalformedWebhook(_explain(problem)) from problem
    node = boot if nodes.is_boot_id(boot) else ""
    return Received(webhook, caller, embedded, node, explain and embedded)


def payload_of(received: Received[webhooks.Publish]) -> object:
    """Return the message to publish.

    Raises:
        MalformedWebhook: It must be JSON but is not.

    """
    webhook = received.webhook
    # 0.3.4 sends JSON and names the sender.
    if received.embedded or webhook.originator is not None:
        return json_of("payload", webhook.payload)
    return payloads.value(webhook.payload)


def publisher_of(received: Received[webhooks.Publish]) -> str:
    """Return the name of the publisher, which 0.3.3 does not send: only the cookie identifies it.

    Raises:
        MalformedWebhook: The bundled server did not send it.

    """
    if received.embedded and not received.caller.user:
        raise MalformedWebhook(_explain(FieldProblem("user")))
    return received.caller.user or received.webhook.originator or ""


def json_of(field: str, text: str) -> values.JSON:
    """Return the value of a field that contains JSON.

    Raises:
        MalformedWebhook: It is not JSON.

    """
    try:
        # Our lists contain payloads, which may themselves have the maximum depth of a payload.
        return values.loads(text, max_depth=values.MAX_DOCUMENT_DEPTH)
    except ValueError as error:
        raise MalformedWebhook(_explain(FieldProblem(field, Fault.JSON))) from error


def events_of(received: Received[webhooks.Events]) -> list[object]:
    """Return the events of a report, which are not parsed yet.

    Raises:
        MalformedWebhook: They are not a list.

    """
    events = json_of("events", received.webhook.events)
    if not isinstance(events, list):
        raise MalformedWebhook(_explain(FieldProblem("events", Fault.LIST)))
    return events


def wanted_of(received: Received[webhooks.SubscribeMany]) -> tuple[webhooks.Wanted, ...]:
    """Return the channels of a call.

    Raises:
        MalformedWebhook: A channel occurs twice.

    """
    names = set()
    for each in received.webhook.channels:
        if each.channel_name in names:
            raise MalformedWebhook(_("“%(name)s” appears twice.") % {"name": each.channel_name})
        names.add(each.channel_name)
    return received.webhook.channels


def _explain(problem: FieldProblem) -> str:
    """Describe what is wrong with a field."""
    texts = {
        Fault.MISSING: _("“%(field)s” is missing."),
        Fault.JSON: _("“%(field)s” is not JSON."),
        Fault.STRING: _("“%(field)s” is not a string."),
        Fault.LENGTH: _("“%(field)s” is longer than %(limit)d characters."),
        Fault.CHARACTERS: _("“%(field)s” contains control characters."),
        Fault.BOOLEAN: _("“%(field)s” is neither true nor false."),
        Fault.WHOLE: _("“%(field)s” is not a whole number."),
        Fault.NUMBER: _("“%(field)s” is not a number."),
        Fault.LIST: _("“%(field)s” is not a list."),
        Fault.OBJECT: _("“%(field)s” is not an object."),
    }
    return texts[problem.fault] % {"field": problem.field, "limit": problem.limit}
