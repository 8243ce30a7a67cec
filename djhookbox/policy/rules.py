"""Evaluate patterns and audiences to find the rule that decides, as pure functions.

A rule is a frozen copy of a policy's row; nothing here queries the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

# Only enumerations with labels; this module does not use the ORM.
from django.db.models import TextChoices
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .patterns import Pattern, prefix
from .steps import Outcome, Step


class Operation(TextChoices):
    """An operation that may need a decision."""

    CONNECT = "connect", gettext_lazy("connect")
    DISCONNECT = "disconnect", gettext_lazy("disconnect")
    CREATE = "create", gettext_lazy("create")
    DESTROY = "destroy", gettext_lazy("destroy")
    SUBSCRIBE = "subscribe", gettext_lazy("subscribe")
    UNSUBSCRIBE = "unsubscribe", gettext_lazy("unsubscribe")
    PUBLISH = "publish", gettext_lazy("publish")
    MESSAGE = "message", gettext_lazy("send a message to a user")


class Audience(TextChoices):
    """Users who may do something on the channels that a policy matches."""

    EVERYONE = "everyone", gettext_lazy("everyone, including anonymous visitors")
    SIGNED_IN = "signed_in", gettext_lazy("signed-in users")
    STAFF = "staff", gettext_lazy("staff")
    GROUPS = "groups", gettext_lazy("members of the groups")
    PERMISSION = "permission", gettext_lazy("holders of the permission")
    NAMED_USER = "named_user", gettext_lazy("the user that the channel names")
    HANDLERS = "handlers", gettext_lazy("ask the handlers")
    NOBODY = "nobody", gettext_lazy("nobody")


# ---- audiences -----------------------------------------------------------


class UserFacts(Protocol):
    """What audiences need to know about a user; the last two methods are called only if needed."""

    @property
    def username(self) -> str:
        """The name, empty for anonymous visitors."""

    @property
    def is_anonymous(self) -> bool:
        """Whether this is a visitor without an account."""

    @property
    def is_active(self) -> bool:
        """Whether the account is active; inactive accounts may do nothing."""

    @property
    def is_staff(self) -> bool:
        """Whether the user may log in to the admin."""

    @property
    def is_superuser(self) -> bool:
        """Whether the user has all permissions without explicitly assigning them."""

    def group_ids(self) -> frozenset[int]:
        """Return the primary keys of the user's groups."""

    def has_permission(self, permission: str) -> bool:
        """Return whether the user holds a permission, `app_label.codename`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy as an immutable value.

    Attributes:
        pattern: None if the row's pattern is malformed; the rule then refuses every channel with
            the same beginning, so that no later, wider rule opens what it was meant to close.
        options: The channel's options, including the forced moderation.
        reserved: Whether this is one of our own rules (see `reserved.py`): for staff only, and
            code is not exempt.

    """

    name: str
    text: str
    pattern: Pattern | None
    create: str
    subscribe: str
    publish: str
    groups: frozenset[int] = frozenset()
    permission: str = ""
    options: Mapping[str, object] = field(default_factory=dict, compare=False)
    reserved: bool = False

    @property
    def decider(self) -> str:
        """The rule's name in decisions and the audit log."""
        return self.name if self.reserved else f"policy:{self.name}"

    def audience(self, operation: Operation) -> str:
        """Return the audience of an operation."""
        audiences = {
            Operation.CREATE: self.create,
            Operation.SUBSCRIBE: self.subscribe,
            Operation.PUBLISH: self.publish,
        }
        return audiences[operation]

    def covers(self, channel: str) -> bool:
        """Return whether this rule decides for a channel."""
        if self.pattern is None:
            return channel.startswith(prefix(self.text))
        return self.pattern.match(channel) is not None

    def admits(self, audience: str, who: UserFacts, channel: str) -> bool:
        """Return whether a user belongs to an audience; handlers are not called here."""
        if not who.is_active and not who.is_anonymous:
            return False
        if audience == Audience.EVERYONE:
            return True
        if who.is_anonymous:
            return False
        if audience == Audience.SIGNED_IN:
            return True
        if audience == Audience.NAMED_USER:
            named = self.pattern.user_name(channel) if self.pattern else None
            return bool(named) and named == who.username
        # Superusers have every permission, but being staff or in a group is not implied: an
        # audience is never wider than its name says.
        if audience == Audience.STAFF:
            return who.is_staff
        if audience == Audience.GROUPS:
            return bool(self.groups) and not self.groups.isdisjoint(who.group_ids())
        if audience == Audience.PERMISSION:
            held = who.is_superuser or who.has_permission(self.permission)
            return bool(self.permission) and held
        return False  # nobody, the handlers, and unknown values from the database

    def forced_options(self) -> dict[str, bool]:
        """Return the moderation options that nothing may switch off.

        Hookbox only asks about moderated channels: without moderation, an audience narrower than
        everyone would not be enforced.
        """
        narrow = {
            "moderated_subscribe": self.subscribe != Audience.EVERYONE,
            "moderated_publish": self.publish != Audience.EVERYONE,
        }
        narrow["moderated"] = any(narrow.values()) or self.create != Audience.EVERYONE
        return {name: True for name, is_narrow in narrow.items() if is_narrow}


#: The reasons shown to users who are not in an audience.
REFUSALS: Mapping[str, str | Promise] = {
    Audience.SIGNED_IN: gettext_lazy("Only signed-in users may do this here."),
    Audience.STAFF: gettext_lazy("Only staff may do this here."),
    Audience.GROUPS: gettext_lazy("Only members of certain groups may do this here."),
    Audience.PERMISSION: gettext_lazy("You do not have permission to do this here."),
    Audience.NAMED_USER: gettext_lazy("Only the user that the channel names may do this."),
    Audience.NOBODY: gettext_lazy("Nobody may do this here."),
}


# ---- matching ------------------------------------------------------------


class Verdict(Enum):
    """The result of evaluating the policies."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    ASK = "ask the handlers"
    NO_MATCH = "no policy matches"


_OUTCOMES = {
    Verdict.ALLOWED: Outcome.ALLOWED,
    Verdict.REFUSED: Outcome.REFUSED,
    Verdict.ASK: Outcome.DEFERRED,
}


@dataclass(frozen=True, slots=True)
class Ruling:
    """The verdict, the rule that decided, and why."""

    verdict: Verdict
    rule: Rule | None = None
    reason: str = ""

    @property
    def decider(self) -> str:
        """What decisions and the audit log call the rule; empty if there is none."""
        return self.rule.decider if self.rule else ""


def evaluate(
    rules: Iterable[Rule],
    operation: Operation,
    who: UserFacts,
    channel: str,
    *,
    trusted: bool = False,
    steps: list[Step] | None = None,
) -> Ruling:
    """Let the first rule that covers a channel decide.

    Args:
        rules: The enabled policies in their order.
        operation: Create, subscribe or publish.
        who: The user who asks.
        channel: The channel's name.
        trusted: For code and the admin: ignore audiences, but still ask the handlers.
        steps: If given, the outcome of each rule is appended to it.

    """
    for rule in rules:
        if not rule.covers(channel):
            if steps is not None and not rule.reserved:
                steps.append(Step(rule.decider, Outcome.NO_MATCH))
            continue
        ruling = _ruling(rule, operation, who, channel, trusted)
        if steps is not None:
            steps.append(Step(rule.decider, _OUTCOMES[ruling.verdict], ruling.reason))
        return ruling
    return Ruling(Verdict.NO_MATCH)


def _ruling(
    rule: Rule, operation: Operation, who: UserFacts, channel: str, trusted: bool
) -> Ruling:
    if rule.reserved and (trusted or rule.pattern is None or not who.is_staff):
        return Ruling(Verdict.REFUSED, rule, _("The names of such channels are reserved."))
    if rule.pattern is None:
        return Ruling(Verdict.REFUSED, rule, _("The policy for this channel is malformed."))
    audience = rule.audience(operation)
    if audience == Audience.HANDLERS:
        return Ruling(Verdict.ASK, rule)
    if trusted or rule.admits(audience, who, channel):
        return Ruling(Verdict.ALLOWED, rule)
    return Ruling(Verdict.REFUSED, rule, str(REFUSALS.get(audience, _("Refused."))))
