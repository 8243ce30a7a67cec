"""What the database keeps: policies, which people edit, and logs, which only grow.

Logs hold text, not foreign keys: they outlive what they describe.
"""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from model_utils.models import TimeStampedModel

from . import options, policies, reserved
from .exceptions import PatternError
from .policies import Audience as Audience
from .querysets import ChannelPolicyQuerySet, LogQuerySet

#: Longest channel or user name; also the server's limit.
NAME_LENGTH = 255


def _validate_pattern(value: str) -> None:
    try:
        policies.compile_pattern(value)
    except PatternError as error:
        raise ValidationError(str(error), code="pattern") from error
    if reserved.is_reserved(value):
        text = _("Names that begin with “%(prefix)s” are reserved.")
        raise ValidationError(text, code="reserved", params={"prefix": reserved.PREFIX})


def _validate_object(value: object) -> None:
    if not isinstance(value, dict):
        raise ValidationError(_("This must be a JSON object, such as {}."), code="object")


class ChannelPolicy(TimeStampedModel):
    """Who may do what on the channels that a pattern matches, and with which options."""

    name = models.CharField(
        _("name"),
        max_length=100,
        unique=True,
        help_text=_("A short name; logs say that this policy decided."),
    )
    pattern = models.CharField(
        _("pattern"),
        max_length=NAME_LENGTH,
        validators=[_validate_pattern],
        help_text=_(
            "The channels it covers, written like a route: /rooms/<int:room>/, /users/<username>/."
        ),
    )
    order = models.IntegerField(
        _("order"),
        default=100,
        db_index=True,
        help_text=_(
            "Policies are tried from the lowest number up; the first that matches decides."
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
            "Who may bring the channel into being by being the first to use it. "
            "Subscribing and publishing are decided on their own."
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
        help_text=_("Whose browsers may publish. Code and the admin always may."),
    )
    groups = models.ManyToManyField(
        "auth.Group",
        verbose_name=_("groups"),
        blank=True,
        related_name="+",
        help_text=_("Used where the audience is “members of the groups”."),
    )
    permission = models.CharField(
        _("permission"),
        max_length=200,
        blank=True,
        help_text=_("Used where the audience is “holders of the permission”: app_label.codename."),
    )
    # ---- options of Hookbox channels
    reflective = models.BooleanField(
        _("reflective"),
        default=True,
        help_text=_("Who publishes also receives the own message."),
    )
    presenceful = models.BooleanField(
        _("presence"),
        default=False,
        help_text=_("Subscribers see who is there, who comes and who goes."),
    )
    anonymous = models.BooleanField(
        _("anonymous"), default=False, help_text=_("Messages do not say who published them.")
    )
    moderated = models.BooleanField(
        _("moderated"),
        default=True,
        help_text=_(
            "Ask the site on every subscribe, unsubscribe and publish. Always on "
            "where an audience is anything but everyone."
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
        help_text=_("Tell the site on unsubscribe even if the channel is not moderated."),
    )
    history_size = models.PositiveIntegerField(
        _("history size"),
        default=0,
        help_text=_("How many past messages a new subscriber gets; 0 keeps none."),
    )
    history_duration = models.PositiveIntegerField(
        _("history duration"),
        default=300,
        help_text=_(
            "Seconds for which a message is kept, also after the last subscriber has left; "
            "0 keeps it as long as the channel exists."
        ),
    )
    history_publish_only = models.BooleanField(
        _("history of messages only"),
        default=True,
        help_text=_("Coming and going is not entered into the history."),
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
            "Lets the process fetch messages itself: "
            '{"mode": "simple", "interval": 5, "url": "https://…"}; {} is off.'
        ),
    )
    server_presenceful = models.BooleanField(
        _("server presence"),
        default=False,
        help_text=_("The state says for each of the users below whether they are connected."),
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
        """Return what fixtures know this policy by."""
        return (self.name,)

    def clean(self) -> None:
        """Refuse what would read stronger than it is.

        Raises:
            ValidationError: For fields that contradict each other.

        """
        super().clean()
        errors: dict[str, list[ValidationError]] = {}
        audiences = {
            name: getattr(self, name)
            for name in ("create_audience", "subscribe_audience", "publish_audience")
        }
        if Audience.PERMISSION in audiences.values() and "." not in self.permission:
            message = _("Name the permission as app_label.codename, such as news.add_article.")
            errors["permission"] = [ValidationError(message, code="permission")]
        try:
            names_user = "username" in policies.compile_pattern(self.pattern).parameters
        except PatternError:
            names_user = True  # the field's own validator says what is wrong
        for field, audience in audiences.items():
            if audience == Audience.NAMED_USER and not names_user:
                message = _("The pattern names no user: write <username> where the name stands.")
                errors[field] = [ValidationError(message, code="username")]
        names = self.server_user_presence
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            message = _('This must be a JSON list of names, such as ["alice"].')
            errors["server_user_presence"] = [ValidationError(message, code="names")]
        for field in ("state", "polling"):
            # Blank to the field, which then asks no validator: null, "", [].
            if not isinstance(getattr(self, field), dict) and not getattr(self, field):
                setattr(self, field, {})
        if isinstance(self.polling, dict):
            try:
                options.validate_polling(self.polling)
            except ValueError as error:
                errors["polling"] = [ValidationError(str(error), code="polling")]
        if errors:
            raise ValidationError(errors)


class Log(models.Model):
    """What all logs have in common: facts that are not rewritten, and a note that may be."""

    created = models.DateTimeField(
        _("when"),
        default=timezone.now,
        editable=False,
        db_index=True,
        help_text=_("When it happened."),
    )
    user_name = models.CharField(
        _("user"),
        max_length=NAME_LENGTH,
        blank=True,
        help_text=_("The name that the site gave; it begins with “ _” for anonymous visitors."),
    )
    connection_id = models.CharField(
        _("connection"),
        max_length=64,
        blank=True,
        db_index=True,
        help_text=_("The same for everything that one connection does."),
    )
    decided_by = models.CharField(
        _("decided by"),
        max_length=NAME_LENGTH,
        blank=True,
        help_text=_("The policy, handler or signal receiver that decided."),
    )
    reason = models.CharField(
        _("reason"), max_length=NAME_LENGTH, blank=True, help_text=_("Why it was decided so.")
    )
    note = models.TextField(_("note"), blank=True, help_text=_("For yourself and your colleagues."))

    objects = LogQuerySet.as_manager()

    class Meta:
        abstract = True
        ordering = ["-id"]


class ConnectionLog(Log):
    """A browser connected, was refused, or went."""

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
        help_text=_("What the browser says it is."),
    )
    origin = models.CharField(
        _("origin"), max_length=NAME_LENGTH, blank=True, help_text=_("The site of the page.")
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
        indexes = [
            models.Index(fields=["user_name", "-id"], name="hookbox_conn_user"),
            models.Index(fields=["event", "-id"], name="hookbox_conn_event"),
            models.Index(fields=["ip", "-id"], name="hookbox_conn_ip"),
        ]

    def __str__(self) -> str:
        return f"{self.user_name or '-'}: {self.get_event_display()}"


class SubscriptionLog(Log):
    """A user subscribed, was refused, or left; a channel came or went."""

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
            models.Index(fields=["user_name", "-id"], name="hookbox_sub_user"),
            models.Index(fields=["channel", "-id"], name="hookbox_sub_channel"),
            models.Index(fields=["event", "-id"], name="hookbox_sub_event"),
        ]

    def __str__(self) -> str:
        return f"{self.user_name or '-'}: {self.get_event_display()}: {self.channel}"


class Publication(Log):
    """A message to a channel, or the attempt to send one."""

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
    source = models.CharField(
        _("source"), max_length=20, choices=Source.choices, help_text=_("Where it came from.")
    )
    status = models.CharField(
        _("status"), max_length=20, choices=Status.choices, help_text=_("What became of it.")
    )
    error = models.TextField(_("error"), blank=True, help_text=_("Why it was not sent."))
    delivered = models.PositiveIntegerField(
        _("delivered to"),
        null=True,
        blank=True,
        help_text=_("How many connections it was written to; empty where nobody counted."),
    )

    class Meta(Log.Meta):
        abstract = False
        verbose_name = _("publication")
        verbose_name_plural = _("publish history")
        permissions = [("publish_message", _("Can publish messages from the admin"))]
        indexes = [
            models.Index(fields=["user_name", "-id"], name="hookbox_pub_user"),
            models.Index(fields=["channel", "-id"], name="hookbox_pub_channel"),
            models.Index(fields=["status", "-id"], name="hookbox_pub_status"),
            models.Index(fields=["source", "-id"], name="hookbox_pub_source"),
        ]

    def __str__(self) -> str:
        return f"{self.channel}: {self.get_status_display()}"


class Server(models.Model):
    """The Hookbox process, as far as the admin needs a model for its page and permissions."""

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = [
            ("control_server", _("Can start and stop the Hookbox process")),
            ("disconnect_user", _("Can disconnect and unsubscribe users")),
        ]
        verbose_name = _("server")
        verbose_name_plural = _("server")

    def __str__(self) -> str:
        return "Hookbox"
