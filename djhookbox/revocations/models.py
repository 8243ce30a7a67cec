"""The tables of revocations.

Rows are inserted in the transaction that ends a right. Ids are assigned at INSERT but become
visible at COMMIT, so that a position among ids would skip rows. Rows therefore get numbers, under a
lock, when they are pulled first; all rows that are numbered together have the same number.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from ..outbox.models import TOKEN_LENGTH
from ..wire.names import KEY_LENGTH


class Revocation(models.Model):
    """Connections to close, or subscriptions to recheck; see `wire.revocations`."""

    key = models.CharField(
        _("key"), max_length=KEY_LENGTH, help_text=_("Each process carries it out once.")
    )
    text = models.TextField(_("text"), help_text=_("What to do, as JSON."))
    created = models.DateTimeField(
        _("when"), help_text=_("When it was stored, by the database's clock.")
    )
    number = models.PositiveBigIntegerField(
        _("number"), null=True, blank=True, help_text=_("Its place among all revocations.")
    )
    token = models.CharField(
        _("token"),
        max_length=TOKEN_LENGTH,
        blank=True,
        help_text=_("Random; a row of a restored backup has another one."),
    )
    numbered = models.DateTimeField(
        _("numbered"),
        null=True,
        blank=True,
        help_text=_("When it got its number, by the database's clock."),
    )

    class Meta:
        default_permissions = ()
        verbose_name = _("revocation")
        verbose_name_plural = _("revocations")
        ordering = ["number", "id"]
        indexes = [models.Index(fields=["number", "id"], name="hookbox_revocation_number")]

    def __str__(self) -> str:
        return self.key


class RevocationHead(models.Model):
    """The last number that was given, in the only row of this table, which is also the lock."""

    #: The primary key of the row.
    KEY = 1

    number = models.PositiveBigIntegerField(
        _("number"), default=0, help_text=_("The last number that was given.")
    )
    token = models.CharField(
        _("token"), max_length=TOKEN_LENGTH, help_text=_("The token of that number.")
    )
    pruned = models.PositiveBigIntegerField(
        _("pruned"), default=0, help_text=_("Rows up to this number have been deleted.")
    )
    pruned_token = models.CharField(
        _("token of pruned rows"), max_length=TOKEN_LENGTH, help_text=_("The token of that number.")
    )
    locked = models.DateTimeField(
        _("locked"), help_text=_("When rows were numbered last, by the database's clock.")
    )

    class Meta:
        default_permissions = ()
        verbose_name = _("last number of revocations")
        verbose_name_plural = _("last numbers of revocations")

    def __str__(self) -> str:
        return str(self.number)
