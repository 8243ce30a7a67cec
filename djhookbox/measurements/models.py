"""The model of the figures."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from ..wire.names import MAX_LENGTH as NAME_LENGTH

#: The largest numbers that every database can store in the two kinds of columns.
LARGEST, LARGEST_TOTAL = 2**31 - 1, 2**63 - 1


class Measurement(models.Model):
    """What one process has counted in a minute, ten minutes or an hour."""

    #: Columns with the highest number of their time.
    HIGHEST = ("connections", "users", "channels")
    #: Columns with the sum of their time.
    TOTALS = (
        "messages_in", "messages_out", "bytes_out", "opened", "refused", "too_slow", "gaps",
        "events_lost",
    )  # fmt: skip

    node = models.CharField(
        _("address"), max_length=NAME_LENGTH, help_text=_("Machine and port of the process.")
    )
    step = models.PositiveIntegerField(
        _("length"), help_text=_("How many seconds this row covers.")
    )
    begin = models.DateTimeField(_("begin"), help_text=_("When this time began."))
    covered = models.FloatField(
        _("covered"), default=0, help_text=_("How many of these seconds were measured.")
    )
    connections = models.PositiveIntegerField(
        _("connections"), default=0, help_text=_("The highest number of open connections.")
    )
    users = models.PositiveIntegerField(
        _("users"), default=0, help_text=_("The highest number of connected users.")
    )
    channels = models.PositiveIntegerField(
        _("channels"), default=0, help_text=_("The highest number of live channels.")
    )
    messages_in = models.PositiveBigIntegerField(
        _("messages in"), default=0, help_text=_("Messages from clients and code.")
    )
    messages_out = models.PositiveBigIntegerField(
        _("messages out"), default=0, help_text=_("Messages written to clients.")
    )
    bytes_out = models.PositiveBigIntegerField(
        _("bytes out"), default=0, help_text=_("Bytes written to clients.")
    )
    opened = models.PositiveBigIntegerField(
        _("opened"), default=0, help_text=_("Connections that were opened.")
    )
    refused = models.PositiveBigIntegerField(
        _("refused"), default=0, help_text=_("Connections that the process itself refused.")
    )
    too_slow = models.PositiveBigIntegerField(
        _("too slow"),
        default=0,
        help_text=_("Clients disconnected because they did not read."),
    )
    gaps = models.PositiveBigIntegerField(
        _("gaps"), default=0, help_text=_("Clients that missed publications.")
    )
    events_lost = models.PositiveBigIntegerField(
        _("events lost"), default=0, help_text=_("Events that are missing in the audit log.")
    )
    closed = models.JSONField(
        _("closed"), default=dict, help_text=_("Connections that ended, by close code.")
    )
    refusals = models.JSONField(
        _("refusals"), default=dict, help_text=_("What this site refused, by webhook.")
    )
    webhooks = models.JSONField(
        _("webhooks"),
        default=dict,
        help_text=_("How long webhooks took: histograms by webhook and outcome."),
    )

    class Meta:
        default_permissions = ()
        verbose_name = _("measurement")
        verbose_name_plural = _("measurements")
        constraints = [
            models.UniqueConstraint(
                fields=["step", "begin", "node"], name="hookbox_measurement_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.node} {self.begin:%Y-%m-%d %H:%M} {self.step} s"
