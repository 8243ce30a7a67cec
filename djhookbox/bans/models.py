"""The model of bans."""

from __future__ import annotations

import datetime

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext as _text
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from ..wire.names import MAX_LENGTH as NAME_LENGTH
from ..wire.names import find_fault
from .rules import REASON_BYTES, Kind, network


class BanQuerySet(models.QuerySet["Ban"]):
    """Bans."""

    def active(self, now: datetime.datetime | None = None) -> BanQuerySet:
        """Return those that have neither expired nor been lifted."""
        rows = self.filter(lifted__isnull=True)
        return rows.filter(models.Q(until__isnull=True) | models.Q(until__gt=now or timezone.now()))


class Ban(models.Model):
    """A ban: matching users may not connect, subscribe, publish or send messages."""

    class Status(models.TextChoices):
        ACTIVE = "active", pgettext_lazy("of a ban", "active")
        EXPIRED = "expired", _("expired")
        LIFTED = "lifted", _("lifted")

    kind = models.CharField(
        _("what"), max_length=10, choices=Kind.choices, help_text=_("What the value below is.")
    )
    value = models.CharField(
        _("value"),
        max_length=NAME_LENGTH,
        help_text=_(
            "The name of a user, the identifier of a session, which the page of a user fills in, "
            "or an IP address or range such as 192.0.2.0/24."
        ),
    )
    about = models.CharField(
        _("user"),
        max_length=NAME_LENGTH,
        blank=True,
        help_text=_("Whose session or address it was, if that is known."),
    )
    reason = models.CharField(
        _("reason"),
        max_length=REASON_BYTES,
        blank=True,
        help_text=_("Sent to the affected pages; may be empty."),
    )
    until = models.DateTimeField(
        _("until"), null=True, blank=True, help_text=_("When it ends; empty: until it is lifted.")
    )
    created = models.DateTimeField(
        _("when"), default=timezone.now, editable=False, help_text=_("When it was made.")
    )
    created_by = models.CharField(
        _("by"),
        max_length=NAME_LENGTH,
        blank=True,
        editable=False,
        help_text=_("Who made it."),
    )
    lifted = models.DateTimeField(
        _("lifted"), null=True, blank=True, editable=False, help_text=_("When it was lifted.")
    )
    note = models.TextField(_("note"), blank=True, help_text=_("For yourself and your colleagues."))

    objects = BanQuerySet.as_manager()

    class Meta:
        verbose_name = _("ban")
        verbose_name_plural = _("bans")
        ordering = ["-created", "-id"]
        indexes = [models.Index(fields=["lifted", "until"], name="hookbox_ban_active")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.value}"

    @property
    def status(self) -> Ban.Status:
        """Whether it is active, and if not, why."""
        if self.lifted is not None:
            return Ban.Status.LIFTED
        if self.until is not None and self.until <= timezone.now():
            return Ban.Status.EXPIRED
        return Ban.Status.ACTIVE

    def clean(self) -> None:
        """Normalise an address, and reject values that can never match.

        Raises:
            ValidationError: The value does not fit its kind.

        """
        super().clean()
        value = self.value
        if self.kind == Kind.ADDRESS:
            found = network(value)
            if found is None:
                problem = _text(
                    "This is not an IP address or a range, such as 192.0.2.7, 192.0.2.0/24 or "
                    "2001:db8::/32."
                )
                raise ValidationError({"value": ValidationError(problem, code="address")})
            self.value = str(found)
        elif self.kind == Kind.SESSION and not value.startswith(("session:", "token:")):
            problem = _text("This is not the identifier of a session; copy it from a user's page.")
            raise ValidationError({"value": ValidationError(problem, code="session")})
        elif find_fault(value) is not None:
            problem = _text("This cannot be the name of a user.")
            raise ValidationError({"value": ValidationError(problem, code="name")})
        if len(self.reason.encode()) > REASON_BYTES:
            problem = _text(
                "This is too long: non-ASCII characters take two to four of the %(bytes)d bytes."
            ) % {"bytes": REASON_BYTES}
            raise ValidationError({"reason": ValidationError(problem, code="max_length")})
