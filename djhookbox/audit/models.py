"""The models of the audit log, and the record of its pruning.

The audit log stores text instead of foreign keys, so that it outlives what it describes.
"""

from __future__ import annotations

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..querysets import LogQuerySet
from ..wire.names import MAX_LENGTH as NAME_LENGTH
from .partial import PartialIndex

#: Length of a boot id.
BOOT_LENGTH = 32

#: Lets PostgreSQL use this index for prefixes of channel names as well as whole names; other
#: databases ignore it.
_PREFIXES = ["varchar_pattern_ops", "timestamptz_ops", "int8_ops"]


def _of_refusals(prefix: str, column: str, *values: str) -> list[models.Index]:
    """Return indexes of the refusals of a user, and of those for a reason.

    Args:
        prefix: How their names begin.
        column: The column that tells of refusals.
        values: Its values.

    """
    first = [column] if len(values) > 1 else []
    return [
        PartialIndex(
            column=column,
            values=values,
            fields=[*first, *names, "created", "id"],
            name=f"{prefix}_refused_{name}",
        )
        for name, names in (("user", ["user_name"]), ("why", ["decided_by", "reason"]))
    ]


class Log(models.Model):
    """What all audit logs share: facts that never change, and an editable note."""

    created = models.DateTimeField(
        _("when"),
        default=timezone.now,
        editable=False,
        help_text=_("When it happened."),
    )
    user_name = models.CharField(
        _("user"),
        max_length=NAME_LENGTH,
        blank=True,
        help_text=_("The name assigned by the site; it starts with “ _” for anonymous visitors."),
    )
    connection_id = models.CharField(
        _("connection"),
        max_length=64,
        blank=True,
        help_text=_("Identifies everything that one connection does."),
    )
    decided_by = models.CharField(
        _("decided by"),
        max_length=NAME_LENGTH,
        blank=True,
        help_text=_("The policy, handler or signal receiver that decided."),
    )
    reason = models.CharField(
        _("reason"), max_length=NAME_LENGTH, blank=True, help_text=_("Why the decision was made.")
    )
    note = models.TextField(_("note"), blank=True, help_text=_("For yourself and your colleagues."))

    objects = LogQuerySet.as_manager()

    class Meta:
        abstract = True
        # By time, not by key: what the process reports later has happened before. Each index ends
        # with both, so that a list needs no sorting, whatever it is filtered by.
        ordering = ["-created", "-id"]


class NodeLog(Log):
    """A log of beginnings and ends, where an end may have to be assumed."""

    node = models.CharField(
        _("process"),
        max_length=BOOT_LENGTH,
        blank=True,
        default="",
        editable=False,
        help_text=_("The run of the Hookbox process in which this happened."),
    )
    assumed = models.BooleanField(
        _("assumed"),
        default=False,
        editable=False,
        help_text=_("Not reported: the Hookbox process ended unexpectedly."),
    )

    class Meta(Log.Meta):
        abstract = True


class ConnectionLog(NodeLog):
    """A browser connected, was refused, or disconnected."""

    class Event(models.TextChoices):
        CONNECT = "connect", _("connected")
        REFUSED = "refused", _("refused")
        DISCONNECT = "disconnect", _("disconnected")

    class Transport(models.TextChoices):
        WEBSOCKET = "websocket", _("WebSocket")
        CSP = "csp", _("CSP")
        UNKNOWN = "", _("unknown")

    event = models.CharField(
        _("event"), max_length=20, choices=Event.choices, help_text=_("What happened.")
    )
    transport = models.CharField(
        _("transport"),
        max_length=20,
        choices=Transport.choices,
        blank=True,
        help_text=_("How the browser is connected."),
    )
    ip = models.GenericIPAddressField(
        _("IP address"), null=True, blank=True, help_text=_("Where the browser came from.")
    )
    user_agent = models.CharField(
        _("user agent"),
        max_length=NAME_LENGTH,
        blank=True,
        help_text=_("How the browser identifies itself."),
    )
    origin = models.CharField(
        _("origin"),
        max_length=NAME_LENGTH,
        blank=True,
        help_text=_("The origin of the page that connected."),
    )
    code = models.PositiveIntegerField(
        _("close code"), null=True, blank=True, help_text=_("Why the connection was closed.")
    )
    duration = models.DurationField(
        _("duration"), null=True, blank=True, help_text=_("How long the connection lasted.")
    )

    class Meta(Log.Meta):
        abstract = False
        verbose_name = _("connection log entry")
        verbose_name_plural = _("connection log")
        # For all three audit logs.
        permissions = [
            ("export_log", _("Can export logs")),
            ("erase_person", _("Can erase people from the logs")),
        ]
        indexes = [
            models.Index(fields=["created", "id"], name="hookbox_conn_created"),
            models.Index(fields=["user_name", "created", "id"], name="hookbox_conn_user"),
            models.Index(fields=["connection_id", "created", "id"], name="hookbox_conn_connection"),
            models.Index(fields=["event", "created", "id"], name="hookbox_conn_event"),
            models.Index(fields=["transport", "created", "id"], name="hookbox_conn_transport"),
            models.Index(fields=["ip", "created", "id"], name="hookbox_conn_ip"),
            models.Index(fields=["node", "id"], name="hookbox_conn_node"),
            *_of_refusals("hookbox_conn", "event", "refused"),
        ]

    def __str__(self) -> str:
        return f"{self.user_name or '-'}: {self.get_event_display()}"


class SubscriptionLog(NodeLog):
    """A user subscribed, was refused, or unsubscribed; a channel was created or destroyed."""

    class Event(models.TextChoices):
        CREATE = "create", _("channel created")
        CREATE_REFUSED = "create_refused", _("creation refused")
        DESTROY = "destroy", _("channel destroyed")
        SUBSCRIBE = "subscribe", _("subscribed")
        REFUSED = "refused", _("refused")
        UNSUBSCRIBE = "unsubscribe", _("unsubscribed")

    event = models.CharField(
        _("event"), max_length=20, choices=Event.choices, help_text=_("What happened.")
    )
    channel = models.CharField(
        _("channel"), max_length=NAME_LENGTH, help_text=_("The channel's name.")
    )

    class Meta(Log.Meta):
        abstract = False
        verbose_name = _("subscription log entry")
        verbose_name_plural = _("subscription log")
        indexes = [
            models.Index(fields=["created", "id"], name="hookbox_sub_created"),
            models.Index(fields=["user_name", "created", "id"], name="hookbox_sub_user"),
            models.Index(fields=["connection_id", "created", "id"], name="hookbox_sub_connection"),
            models.Index(
                fields=["channel", "created", "id"], name="hookbox_sub_channel", opclasses=_PREFIXES
            ),
            models.Index(fields=["event", "created", "id"], name="hookbox_sub_event"),
            *_of_refusals("hookbox_sub", "event", "refused", "create_refused"),
        ]

    def __str__(self) -> str:
        return f"{self.user_name or '-'}: {self.get_event_display()}: {self.channel}"


class Publication(Log):
    """A message to a channel, or an attempt to send one."""

    class Source(models.TextChoices):
        CODE = "code", _("code")
        ADMIN = "admin", _("admin")
        CLIENT = "client", _("browser")
        REST = "rest", _("REST")
        POLL = "poll", _("polling")

    class Status(models.TextChoices):
        SENT = "sent", _("sent")
        REFUSED = "refused", _("refused")
        FAILED = "failed", _("failed")

    class Kept(models.TextChoices):
        WHOLE = "whole", _("whole")
        MASKED = "masked", _("with masked fields")
        NOTHING = "nothing", _("not at all")

    #: Characters of the payload that lists show.
    PREVIEW_LENGTH = 80

    channel = models.CharField(
        _("channel"), max_length=NAME_LENGTH, help_text=_("The channel's name.")
    )
    payload = models.JSONField(
        _("payload"),
        null=True,
        blank=True,
        encoder=DjangoJSONEncoder,
        help_text=_("The message, any JSON value."),
    )
    preview = models.CharField(
        _("payload"),
        max_length=PREVIEW_LENGTH,
        blank=True,
        editable=False,
        help_text=_("How the message begins."),
    )
    size = models.PositiveIntegerField(
        _("bytes"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("How long the message was as JSON."),
    )
    kept = models.CharField(
        _("payload stored"),
        max_length=10,
        choices=Kept.choices,
        default=Kept.WHOLE,
        editable=False,
        help_text=_("Whether the payload above is complete."),
    )
    source = models.CharField(
        _("source"), max_length=20, choices=Source.choices, help_text=_("Where it came from.")
    )
    status = models.CharField(
        _("status"), max_length=20, choices=Status.choices, help_text=_("Whether it was sent.")
    )
    error = models.TextField(_("error"), blank=True, help_text=_("Why it was not sent."))
    delivered = models.PositiveIntegerField(
        _("delivered to"),
        null=True,
        blank=True,
        help_text=_("How many connections it was written to; empty if they were not counted."),
    )
    number = models.PositiveBigIntegerField(
        _("number"),
        null=True,
        blank=True,
        editable=False,
        db_index=True,
        help_text=_("Its place among the publications of all durable channels."),
    )

    class Meta(Log.Meta):
        abstract = False
        verbose_name = _("publication")
        verbose_name_plural = _("publish history")
        permissions = [
            ("publish_message", _("Can publish messages from the admin")),
            ("view_payload", _("Can see what was published")),
        ]
        indexes = [
            models.Index(fields=["created", "id"], name="hookbox_pub_created"),
            models.Index(fields=["user_name", "created", "id"], name="hookbox_pub_user"),
            models.Index(fields=["connection_id", "created", "id"], name="hookbox_pub_connection"),
            models.Index(
                fields=["channel", "created", "id"], name="hookbox_pub_channel", opclasses=_PREFIXES
            ),
            models.Index(fields=["status", "created", "id"], name="hookbox_pub_status"),
            models.Index(fields=["source", "created", "id"], name="hookbox_pub_source"),
            *_of_refusals("hookbox_pub", "status", "refused"),
        ]

    def __str__(self) -> str:
        return f"{self.channel}: {self.get_status_display()}"


class Node(models.Model):
    """One run of a Hookbox process, from start to end; a restart begins another."""

    boot = models.CharField(
        _("boot id"),
        max_length=BOOT_LENGTH,
        unique=True,
        help_text=_("Different each time the process starts."),
    )
    address = models.CharField(
        _("address"),
        max_length=NAME_LENGTH,
        blank=True,
        help_text=_("Machine and port; a later run at the same address replaces this one."),
    )
    seen = models.DateTimeField(
        _("last seen"),
        default=timezone.now,
        help_text=_("When the process last reported to the site."),
    )
    steady = models.DateTimeField(
        _("steady since"),
        default=timezone.now,
        help_text=_("When it began to report without interruption."),
    )
    last_event = models.PositiveBigIntegerField(
        _("last event"), default=0, help_text=_("Number of the last event that was recorded.")
    )
    ended = models.DateTimeField(
        _("ended"), null=True, help_text=_("When it ended, or is assumed to have ended.")
    )
    closed_to = models.PositiveBigIntegerField(
        _("closed up to"),
        default=0,
        help_text=_("Entry of the connection log up to which its connections have been closed."),
    )
    closed = models.BooleanField(
        _("closed"), default=False, help_text=_("Whether everything it left open has been closed.")
    )

    class Meta:
        default_permissions = ()
        verbose_name = _("process run")
        verbose_name_plural = _("process runs")

    def __str__(self) -> str:
        return f"{self.address} {self.boot}"


class Pruning(models.Model):
    """When old rows were last deleted, and how many; at most one row."""

    ended = models.DateTimeField(_("ended"), help_text=_("When it finished."))
    complete = models.BooleanField(
        _("complete"), default=True, help_text=_("Whether everything that was due was deleted.")
    )
    connections = models.PositiveBigIntegerField(
        _("connection log"), default=0, help_text=_("Entries deleted.")
    )
    subscriptions = models.PositiveBigIntegerField(
        _("subscription log"), default=0, help_text=_("Entries deleted.")
    )
    publications = models.PositiveBigIntegerField(
        _("publish history"), default=0, help_text=_("Entries deleted.")
    )

    class Meta:
        default_permissions = ()
        verbose_name = _("audit log pruning")
        verbose_name_plural = _("audit log pruning")

    def __str__(self) -> str:
        return f"{self.ended:%Y-%m-%d %H:%M}"

    @classmethod
    def last(cls) -> Pruning | None:
        """Return the record of the last pruning."""
        return cls.objects.first()
