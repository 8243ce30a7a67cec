"""The tables of durable channels: what waits, what has been numbered, and the positions.

Rows are inserted into `Outbox` in the transaction that publishes. Once it is committed, numbering
moves them to `StreamEntry`. Ids are assigned at INSERT but become visible at COMMIT, so that a
position among ids would skip rows; numbers are assigned under a lock, after the commit.
"""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..wire.names import CONNECTION_LENGTH, EPOCH_LENGTH, KEY_LENGTH
from ..wire.names import MAX_LENGTH as NAME_LENGTH

#: Length of an incarnation, and of the token of a row, in characters.
TOKEN_LENGTH = 16
#: Length of a W3C traceparent; newer versions of it may be longer.
TRACE_LENGTH = 64


class OutboxQuerySet(models.QuerySet["Outbox"]):
    """Rows of the outbox."""

    def waiting(self) -> OutboxQuerySet:
        """Return the rows that can be numbered.

        Django writes `failed=False` as `NOT failed` for SQLite, which does not use the index.
        """
        return self.filter(failed__in=[False])


class Outbox(models.Model):
    """A publication to a durable channel that waits to be numbered, or could not be."""

    channel = models.CharField(
        _("channel"), max_length=NAME_LENGTH, help_text=_("The channel's name.")
    )
    payload = models.TextField(_("payload"), help_text=_("The message as JSON."))
    user_name = models.CharField(
        _("user"),
        max_length=NAME_LENGTH,
        blank=True,
        help_text=_("The name of the sender that subscribers see."),
    )
    sender = models.CharField(
        _("sender"),
        max_length=NAME_LENGTH,
        blank=True,
        help_text=_("The name recorded in the publish history."),
    )
    connection_id = models.CharField(
        _("connection"),
        max_length=CONNECTION_LENGTH,
        blank=True,
        help_text=_("The browser's connection that sent it."),
    )
    source = models.CharField(_("source"), max_length=20, help_text=_("Where it came from."))
    key = models.CharField(
        _("key"),
        max_length=KEY_LENGTH,
        blank=True,
        help_text=_("A publication with the same key is stored only once."),
    )
    opened_by = models.CharField(
        _("opened by"),
        max_length=NAME_LENGTH,
        help_text=_("The policy or handler that made the channel durable."),
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
    history_size = models.PositiveIntegerField(
        _("history size"), default=0, help_text=_("As decided when it was published.")
    )
    history_duration = models.PositiveIntegerField(
        _("history duration"), default=0, help_text=_("As decided when it was published.")
    )
    created = models.DateTimeField(
        _("when"), default=timezone.now, help_text=_("When it was published.")
    )
    failed = models.BooleanField(
        _("failed"), default=False, help_text=_("It could not be published; see the error.")
    )
    error = models.TextField(_("error"), blank=True, help_text=_("Why it was not published."))
    trace = models.CharField(  # noqa: DJ001 - processes of an earlier version insert rows too
        _("trace"),
        max_length=TRACE_LENGTH,
        null=True,
        blank=True,
        help_text=_("The trace in which it was published (W3C traceparent)."),
    )

    objects = OutboxQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        verbose_name = _("waiting publication")
        verbose_name_plural = _("waiting publications")
        ordering = ["id"]
        indexes = [models.Index(fields=["failed", "id"], name="hookbox_outbox_failed")]

    def __str__(self) -> str:
        return self.channel


class StreamChannel(models.Model):
    """The position of a durable channel; its row outlives its entries."""

    name = models.CharField(
        _("channel"), max_length=NAME_LENGTH, help_text=_("The channel's name.")
    )
    digest = models.CharField(
        _("digest"),
        max_length=64,
        unique=True,
        help_text=_("Of the name: some databases treat upper and lower case as equal."),
    )
    epoch = models.CharField(
        _("epoch"), max_length=EPOCH_LENGTH, help_text=_("Its offsets belong to this epoch.")
    )
    offset = models.PositiveBigIntegerField(
        _("offset"), default=0, help_text=_("Of its last publication.")
    )
    began = models.PositiveBigIntegerField(
        _("began"), default=0, help_text=_("The last number before its epoch began.")
    )
    renewed = models.BooleanField(
        _("renewed"), default=False, help_text=_("Whether there was an epoch before this one.")
    )
    history_size = models.PositiveIntegerField(
        _("history size"), default=0, help_text=_("As decided last.")
    )
    history_duration = models.PositiveIntegerField(
        _("history duration"), default=0, help_text=_("As decided last.")
    )
    opened_by = models.CharField(
        _("opened by"),
        max_length=NAME_LENGTH,
        blank=True,
        help_text=_("The policy or handler that made the channel durable."),
    )
    published = models.DateTimeField(
        _("published"), help_text=_("When something was published last, by the database's clock.")
    )

    class Meta:
        default_permissions = ()
        verbose_name = _("durable channel")
        verbose_name_plural = _("durable channels")
        indexes = [models.Index(fields=["published"], name="hookbox_stream_published")]

    def __str__(self) -> str:
        return self.name


class StreamEntry(models.Model):
    """A numbered publication to a durable channel; never updated."""

    number = models.PositiveBigIntegerField(
        _("number"), primary_key=True, help_text=_("Its place among those of all channels.")
    )
    token = models.CharField(
        _("token"),
        max_length=TOKEN_LENGTH,
        help_text=_("Random; a row of a restored backup has another one."),
    )
    channel = models.ForeignKey(
        StreamChannel,
        verbose_name=_("channel"),
        on_delete=models.CASCADE,
        related_name="entries",
        db_constraint=False,  # both are written under one lock
        db_index=False,  # the constraint below has one
        help_text=_("The channel."),
    )
    epoch = models.CharField(
        _("epoch"), max_length=EPOCH_LENGTH, help_text=_("Its offset belongs to this epoch.")
    )
    offset = models.PositiveBigIntegerField(
        _("offset"), help_text=_("Its place in the channel's stream.")
    )
    payload = models.TextField(_("payload"), help_text=_("The message as JSON."))
    user_name = models.CharField(
        _("user"),
        max_length=NAME_LENGTH,
        blank=True,
        help_text=_("The name of the sender that subscribers see."),
    )
    connection_id = models.CharField(
        _("connection"),
        max_length=CONNECTION_LENGTH,
        blank=True,
        help_text=_("The browser's connection that sent it."),
    )
    key = models.CharField(
        _("key"),
        max_length=KEY_LENGTH,
        blank=True,
        help_text=_("A publication with the same key is stored only once."),
    )
    created = models.DateTimeField(_("when"), help_text=_("When it was published."))
    numbered = models.DateTimeField(
        _("numbered"), help_text=_("When it got its number, by the database's clock.")
    )
    trace = models.CharField(  # noqa: DJ001 - processes of an earlier version insert rows too
        _("trace"),
        max_length=TRACE_LENGTH,
        null=True,
        blank=True,
        help_text=_("The trace in which it was published (W3C traceparent)."),
    )

    class Meta:
        default_permissions = ()
        verbose_name = _("durable publication")
        verbose_name_plural = _("durable publications")
        constraints = [
            models.UniqueConstraint(
                fields=["channel", "epoch", "offset"], name="hookbox_stream_offset"
            )
        ]
        indexes = [models.Index(fields=["channel", "key"], name="hookbox_stream_key")]

    def __str__(self) -> str:
        return f"{self.number}: {self.epoch}:{self.offset}"


class StreamHead(models.Model):
    """The last number that was given, in the only row of this table, which is also the lock."""

    #: The primary key of the row.
    KEY = 1

    number = models.PositiveBigIntegerField(
        _("number"), default=0, help_text=_("The last number that was given.")
    )
    token = models.CharField(
        _("token"), max_length=TOKEN_LENGTH, help_text=_("The token of that number's row.")
    )
    incarnation = models.CharField(
        _("incarnation"),
        max_length=TOKEN_LENGTH,
        help_text=_("Changes when the table is restored from a backup."),
    )
    began = models.PositiveBigIntegerField(
        _("began"), default=0, help_text=_("The last number before this incarnation.")
    )
    first_token = models.CharField(
        _("first token"),
        max_length=TOKEN_LENGTH,
        blank=True,
        default="",
        help_text=_("Belongs to that number in this incarnation."),
    )
    former = models.TextField(
        _("former incarnations"), blank=True, help_text=_("Separated by spaces, latest last.")
    )
    locked = models.DateTimeField(
        _("locked"), help_text=_("When rows were numbered last, by the database's clock.")
    )
    swept = models.PositiveBigIntegerField(
        _("swept"), default=0, help_text=_("Entries up to this number have been considered.")
    )

    class Meta:
        default_permissions = ()
        verbose_name = _("last number")
        verbose_name_plural = _("last numbers")

    def __str__(self) -> str:
        return f"{self.incarnation}: {self.number}"
