"""Try what would happen if a user did something, for the admin and the shell.

The decisions are those of the webhooks. Handlers really run, but their database changes are rolled
back; signals are not sent, because nothing happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.urls import get_resolver
from django.utils.translation import gettext as _

from ..exceptions import PatternError
from ..models import ChannelPolicy
from ..policy.patterns import compile_pattern
from ..policy.rules import Operation
from ..users import accounts
from ..users.accounts import User, username
from ..users.identity import ANONYMOUS_PREFIX
from .decide import Decision, Terms, decide
from .store import cache

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

#: Operations that can be tried.
OPERATIONS = (Operation.SUBSCRIBE, Operation.PUBLISH, Operation.CREATE)


class UnknownUser(LookupError):
    """There is no account with that name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return _("There is no user “%(name)s”.") % {"name": self.name}


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of a trial.

    Attributes:
        user: The name of the user; empty for an anonymous visitor.
        decision: Whether it is allowed, with the steps of the decision.
        creation: Whether the user may create the channel, which is decided first if it does not
            exist; None if this does not apply.
        disabled: Names of disabled policies that would match.

    """

    user: str
    channel: str
    operation: Operation
    decision: Decision
    creation: Decision | None
    disabled: tuple[str, ...]

    @property
    def allowed(self) -> bool:
        """Whether it is allowed both with and without an existing channel."""
        return self.decision.allowed and (self.creation is None or self.creation.allowed)

    @property
    def options(self) -> dict[str, object] | None:
        """The options the channel would be created with, or None if it would not be created."""
        making = self.decision if self.operation == Operation.CREATE else self.creation
        return dict(making.options) if making is not None and making.allowed else None

    @property
    def outcome(self) -> str:
        """The result in one sentence."""
        if not self.decision.allowed:
            return _("Refused: %(reason)s") % {"reason": self.decision.reason}
        if self.creation is not None and not self.creation.allowed:
            return _(
                "Allowed while the channel exists. Otherwise refused, because this user may "
                "not create it: %(reason)s"
            ) % {"reason": self.creation.reason}
        return _("Allowed.")


def user_named(name: str) -> User:
    """Return the user with a name as in the audit log; anonymous visitors may have none.

    Raises:
        UnknownUser: Nobody has that name.

    """
    if not name or name.startswith(ANONYMOUS_PREFIX):
        return AnonymousUser()
    user: AbstractBaseUser | None = accounts.find(name)
    if user is None:
        raise UnknownUser(name)
    return user


def attempt(user: User, channel: str, operation: Operation, payload: object = None) -> Trial:
    """Return what would happen if a user did something on a channel."""
    # As in `decide_for_code`: handlers may be registered next to views.
    get_resolver().urlconf_module  # noqa: B018 - imports it
    terms = Terms(send_signals=False, explain=True, rules=cache.get(fresh=True))
    creation = None
    with transaction.atomic():
        decision = decide(operation, user, channel, payload=payload, terms=terms)
        if decision.allowed and operation != Operation.CREATE:
            creation = decide(Operation.CREATE, user, channel, terms=terms)
        transaction.set_rollback(True)
    return Trial(
        user="" if user.is_anonymous else username(user),
        channel=channel,
        operation=operation,
        decision=decision,
        creation=creation,
        disabled=_disabled(channel),
    )


def _disabled(channel: str) -> tuple[str, ...]:
    found = []
    rows = ChannelPolicy.objects.filter(enabled=False).order_by("order", "pk")
    for name, pattern in rows.values_list("name", "pattern"):
        try:
            matches = compile_pattern(pattern).match(channel) is not None
        except PatternError:
            continue
        if matches:
            found.append(name)
    return tuple(found)
