"""The database models: policies, which people edit, and the audit log from `audit.models`."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, router
from django.utils.translation import gettext_lazy as _
from model_utils.models import TimeStampedModel

from . import options, strict_json
from .audit.models import ConnectionLog, Log, Node, Pruning, Publication, SubscriptionLog
from .bans.models import Ban
from .conf import settings
from .exceptions import HookboxMisconfigured, PatternError
from .measurements.models import Measurement
from .outbox.models import Outbox, StreamChannel, StreamEntry, StreamHead
from .policy import patterns, reserved
from .policy.rules import Audience as Audience
from .querysets import ChannelPolicyQuerySet, WithoutRows
from .relations import allow_apart
from .revocations.models import Revocation, RevocationHead
from .revocations.storing import with_change
from .wire import names
from .wire.names import MAX_LENGTH as NAME_LENGTH

__all__ = [
    "NAME_LENGTH",
    "Audience",
    "Ban",
    "ChannelPolicy",
    "ConnectionLog",
    "Log",
    "Measurement",
    "Node",
    "Outbox",
    "Pruning",
    "Publication",
    "Publishing",
    "Refusals",
    "Revocation",
    "RevocationHead",
    "Server",
    "StreamChannel",
    "StreamEntry",
    "StreamHead",
    "SubscriptionLog",
]


def _validate_pattern(value: str) -> None:
    try:
        patterns.compile_pattern(value)
    except PatternError as error:
        raise ValidationError(str(error), code="pattern") from error
    if reserved.is_reserved(value):
        text = _("Names that begin with “%(prefix)s” are reserved.")
        raise ValidationError(text, code="reserved", params={"prefix": reserved.PREFIX})


def _validate_object(value: object) -> None:
    if not isinstance(value, dict):
        raise ValidationError(_("This must be a JSON object, such as {}."), code="object")
    try:
        strict_json.write([True, {"option": value}])  # as the answers that carry it
    except (TypeError, ValueError) as error:
        text = strict_json.explain(error)
        raise ValidationError(text, code="json") from error
    if problem := strict_json.storage_problem(value):
        raise ValidationError(problem, code="characters")


class ChannelPolicy(TimeStampedModel):
    """Who may do what on the channels that a pattern matches, and the channels' options."""

    name = models.CharField(
        _("name"),
        max_length=100,
        unique=True,
        help_text=_("A short name, shown in the audit log when this policy decides."),
    )
    pattern = models.CharField(
        _("pattern"),
        max_length=NAME_LENGTH,
        validators=[_validate_pattern],
        help_text=_(
            "The channels this policy covers, written like a route: /rooms/<int:room>/, "
            "/users/<username>/."
        ),
    )
    order = models.IntegerField(
        _("order"),
        default=100,
        db_index=True,
        help_text=_(
            "Policies are tried in ascending order; the first enabled policy that matches decides."
        ),
    )
    enabled = models.BooleanField(
        _("enabled"), default=True, help_text=_("A disabled policy is skipped.")
    )
    create_audience = models.CharField(
        _("who may create"),
        max_length=20,
        choices=Audience.choices,
        default=Audience.EVERYONE,
        help_text=_(
            "Who may create the channel by being the first to use it. Subscribing and "
            "publishing are decided separately."
        ),
    )
    subscribe_audience = models.CharField(
        _("who may subscribe"),
        max_length=20,
        choices=Audience.choices,
        default=Audience.SIGNED_IN,
        help_text=_("Who may read the channel."),
    )
    publish_audience = models.CharField(
        _("who may publish"),
        max_length=20,
        choices=Audience.choices,
        default=Audience.STAFF,
        help_text=_("Whose browsers may publish. Code and the admin may always publish."),
    )
    groups = models.ManyToManyField(
        "auth.Group",
        verbose_name=_("groups"),
        blank=True,
        db_constraint=False,  # a router may store policies in another database than groups
        related_name="+",
        help_text=_("Used if an audience is “members of the groups”."),
    )
    permission = models.CharField(
        _("permission"),
        max_length=200,
        blank=True,
        help_text=_("Used if an audience is “holders of the permission”: app_label.codename."),
    )
    # ---- options of Hookbox channels
    reflective = models.BooleanField(
        _("reflective"),
        default=True,
        help_text=_("Publishers also receive their own messages."),
    )
    presenceful = models.BooleanField(
        _("presence"),
        default=False,
        help_text=_("Subscribers see who is present, who joins and who leaves."),
    )
    anonymous = models.BooleanField(
        _("anonymous"), default=False, help_text=_("Messages do not show who published them.")
    )
    moderated = models.BooleanField(
        _("moderated"),
        default=True,
        help_text=_(
            "Ask the site on every subscribe, unsubscribe and publish. Always on if an "
            "audience is anything but everyone."
        ),
    )
    moderated_subscribe = models.BooleanField(
        _("moderated subscribe"),
        default=False,
        help_text=_("Ask on subscribe even if the channel is not moderated."),
    )
    moderated_publish = models.BooleanField(
        _("moderated publish"),
        default=False,
        help_text=_("Ask on publish even if the channel is not moderated."),
    )
    moderated_unsubscribe = models.BooleanField(
        _("moderated unsubscribe"),
        default=False,
        help_text=_("Notify the site on unsubscribe even if the channel is not moderated."),
    )
    history_size = models.PositiveIntegerField(
        _("history size"),
        default=0,
        help_text=_("How many past messages a new subscriber receives; 0 turns history off."),
    )
    history_duration = models.PositiveIntegerField(
        _("history duration"),
        default=300,
        help_text=_(
            "How many seconds a message is kept, even after the last subscriber has left; "
            "0 keeps messages for as long as the channel exists."
        ),
    )
    history_publish_only = models.BooleanField(
        _("history of messages only"),
        default=True,
        help_text=_("Joins and leaves are not added to the history."),
    )
    durable = models.BooleanField(
        _("durable"),
        default=False,
        help_text=_(
            "Publications are stored in the site's database in the transaction that makes them, "
            "and none is lost or duplicated. Each costs a row in the database and arrives a moment "
            "later than usual."
        ),
    )
    state = models.JSONField(
        _("initial state"),
        default=dict,
        blank=True,
        validators=[_validate_object],
        encoder=DjangoJSONEncoder,
        help_text=_("A JSON object shared with all subscribers; code can change it later."),
    )
    polling = models.JSONField(
        _("polling"),
        default=dict,
        blank=True,
        validators=[_validate_object],
        encoder=DjangoJSONEncoder,
        help_text=_(
            'Lets the Hookbox process fetch messages itself: {"mode": "simple", '
            '"interval": 5, "url": "https://…"}; {} turns polling off.'
        ),
    )
    server_presenceful = models.BooleanField(
        _("server presence"),
        default=False,
        help_text=_("The state contains whether each of the users below is connected."),
    )
    server_user_presence = models.JSONField(
        _("server presence of"),
        default=list,
        blank=True,
        help_text=_("A JSON list of user names."),
    )
    note = models.TextField(_("note"), blank=True, help_text=_("For yourself and your colleagues."))

    objects = ChannelPolicyQuerySet.as_manager()

    class Meta:
        verbose_name = _("channel policy")
        verbose_name_plural = _("channel policies")
        ordering = ["order", "pk"]

    def __str__(self) -> str:
        return self.name

    def natural_key(self) -> tuple[str]:
        """Return the natural key for fixtures."""
        return (self.name,)

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        """Save the row, and in the same transaction what it revokes: see `receivers`."""
        with with_change(kwargs.get("using") or router.db_for_write(type(self), instance=self)):
            super().save_base(*args, **kwargs)

    def clean(self) -> None:
        """Reject policies whose fields contradict each other.

        Raises:
            ValidationError: Fields contradict each other.

        """
        super().clean()
        errors: dict[str, list[ValidationError]] = {}
        audiences = {
            name: getattr(self, name)
            for name in ("create_audience", "subscribe_audience", "publish_audience")
        }
        if Audience.PERMISSION in audiences.values() and "." not in self.permission:
            message = _("Write the permission as app_label.codename, such as news.add_article.")
            errors["permission"] = [ValidationError(message, code="permission")]
        try:
            names_user = "username" in patterns.compile_pattern(self.pattern).parameters
        except PatternError:
            names_user = True  # the field's own validator reports the problem
        for field, audience in audiences.items():
            if audience == Audience.NAMED_USER and not names_user:
                message = _(
                    "The pattern does not name a user: write <username> in place of the name."
                )
                errors[field] = [ValidationError(message, code="username")]
        users = self.server_user_presence
        if not isinstance(users, list) or any(names.find_fault(user) for user in users):
            message = _('This must be a JSON list of names, such as ["alice"].')
            errors["server_user_presence"] = [ValidationError(message, code="names")]
        for field in ("state", "polling"):
            # The field treats these as blank and skips its validators: null, "", [].
            if not isinstance(getattr(self, field), dict) and not getattr(self, field):
                setattr(self, field, {})
        for field in ("history_size", "history_duration"):
            value = getattr(self, field)
            if isinstance(value, int) and value >= 0:  # otherwise, the field reports the problem
                try:
                    options.validate_channel_options({field: value})
                except ValueError as error:
                    errors[field] = [ValidationError(str(error), code="option")]
        if isinstance(self.polling, dict):
            try:
                options.validate_polling(self.polling)
                if self.polling.get("mode"):
                    self._clean_polling_host()
                if self.durable:
                    options.validate_durable(self.polling)
            except (ValueError, HookboxMisconfigured) as error:
                errors["polling"] = [ValidationError(str(error), code="polling")]
        if errors:
            raise ValidationError(errors)

    def _clean_polling_host(self) -> None:
        """Reject a host that is not listed, unless the stored policy has the same polling.

        A host that is no longer listed must not prevent other changes of the policy, nor importing
        it again as it is; the process does not poll it.
        """
        try:
            options.validate_polling_host(self.polling, settings.polling_hosts)
        except (ValueError, HookboxMisconfigured):
            stored = type(self)._base_manager.filter(pk=self.pk).values_list("polling", flat=True)
            if self._state.adding or stored.first() != self.polling:
                raise


allow_apart(ChannelPolicy, "groups")


def _cascade_where_it_is(
    collector: Any, field: models.Field[object, object], sub_objs: Any, using: str
) -> None:
    """Delete the rows of a policy's groups if their table is in this database.

    A router may store policies in another database than groups. Django would look for the rows in
    the group's database; `receivers` deletes them where they are.
    """
    if router.allow_migrate_model(using, field.model):
        models.CASCADE(collector, field, sub_objs, using)


_cascade_where_it_is.lazy_sub_objs = True  # type: ignore[attr-defined]
#: The rows of policies' groups.
PolicyGroup = ChannelPolicy.groups.through
PolicyGroup._meta.get_field("group").remote_field.on_delete = _cascade_where_it_is


class _WithoutTable(models.Model):
    """A model without a table and rows, for the admin only.

    `dumpdata` queries the models of all apps, even unmanaged ones; with `--all`, by base manager.
    """

    objects = WithoutRows()

    class Meta:
        abstract = True
        base_manager_name = "objects"


class Server(_WithoutTable):
    """The Hookbox process: a model only for its admin page and permissions."""

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = [
            ("control_server", _("Can start and stop the Hookbox process")),
            ("disconnect_user", _("Can disconnect and unsubscribe users")),
            ("subscribe_user", _("Can subscribe users to channels")),
        ]
        verbose_name = _("server")
        verbose_name_plural = _("server")

    def __str__(self) -> str:
        return "Hookbox"


class Publishing(_WithoutTable):
    """Publishing by hand: a model only for its entry in the admin's menu."""

    class Meta:
        managed = False
        default_permissions = ()  # `publish_message` of the publish history applies
        verbose_name = _("message to publish")
        verbose_name_plural = _("publish a message")

    def __str__(self) -> str:
        return "Hookbox"


class Refusals(_WithoutTable):
    """The refusals of all logs: a model only for its entry in the admin's menu."""

    class Meta:
        managed = False
        default_permissions = ()  # those of the logs apply
        verbose_name = _("refusal")
        verbose_name_plural = _("refusals")

    def __str__(self) -> str:
        return "Hookbox"
