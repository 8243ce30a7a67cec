"""The one function that answers every "may this user do this on that channel?".

Policies first, then the handlers, then refusal, then the signals' receivers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, Error, transaction
from django.dispatch import Signal
from django.urls import get_resolver
from django.utils.translation import gettext as _

from .. import handlers, signals
from ..accounts import username
from ..conf import settings
from ..exceptions import HookboxError
from ..options import LIVE
from ..policy import reserved
from ..policy.rules import Audience, Operation, Rule, Ruling, Step, UserFacts, Verdict, evaluate
from .store import cache

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

#: A user of Django, with an account or without.
User: TypeAlias = "AbstractBaseUser | AnonymousUser"

logger = logging.getLogger("djhookbox")

#: What policies decide about.
BY_POLICY = frozenset({Operation.CREATE, Operation.SUBSCRIBE, Operation.PUBLISH})

#: What is refused unless somebody vouches for it.
NEEDS_VOUCHING = BY_POLICY | {Operation.MESSAGE}

#: What a receiver of the signal can refuse; the rest has happened, or must be able to.
REFUSABLE = NEEDS_VOUCHING | {Operation.CONNECT}

_NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer.

    Attributes:
        reason: Why it is refused: a sentence for the browser.
        options: The options of the channel (create) or of the webhook's reply.
        decided_by: `policy:<name>`, `handler:<dotted name>`, `signal:<dotted name>`, `nobody`
            (no policy and no handler vouched), `built-in` (a reserved name), or empty where
            nobody had to decide.
        code: A short word for a refusal: `refused`, or `error` after a bug in the project.
        explicit: Names of those options that a handler has set.
        steps: How it came about, if that was asked for.

    """

    allowed: bool
    reason: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    decided_by: str = ""
    code: str = ""
    explicit: frozenset[str] = frozenset()
    steps: tuple[Step, ...] = ()


def refused(reason: str, decided_by: str = "nobody", code: str = "refused") -> Decision:
    """Return a refusal."""
    return Decision(False, reason, decided_by=decided_by, code=code)


def decide(
    operation: Operation | str,
    user: User,
    channel: str = "",
    *,
    payload: object = None,
    trusted: bool = False,
    send_signals: bool = True,
    explain: bool = False,
    rules: Sequence[Rule] | None = None,
    who: UserFacts | None = None,
) -> Decision:
    """Decide whether a user may do something.

    Args:
        operation: What is to be done.
        user: Who asks, a user of Django.
        channel: The channel's name; of a message, the recipient's.
        payload: What is published or sent.
        trusted: Code and the admin: past all audiences.
        send_signals: Whether receivers are told and may refuse.
        explain: Whether the decision lists its steps.
        rules: The policies to go by, if not those in force.
        who: What is known of the user already, to spare queries.

    """
    operation = Operation(operation)
    steps: list[Step] | None = [] if explain else None
    decision = _decide(
        operation, user, channel, payload, trusted, send_signals, rules, who or Facts(user), steps
    )
    if steps is None:
        return decision
    if not steps or steps[-1].who != decision.decided_by:  # who decides may have been noted
        outcome = _("Allowed.") if decision.allowed else decision.reason
        steps.append(Step(decision.decided_by, outcome))
    return replace(decision, steps=tuple(steps))


def decide_for_code(channel: str, user: User) -> Decision:
    """Return who vouches for a channel that code or the admin uses, and its options.

    Audiences do not count, and no signal is sent: nobody has created anything yet.
    """
    # Handlers are often registered beside views; a command or a task queue's worker, which
    # answers no requests, would not have imported them.
    get_resolver().urlconf_module  # noqa: B018 - imports it
    return decide(Operation.CREATE, user, channel, trusted=True, send_signals=False)


def standing_options(rules: Sequence[Rule], channel: str) -> dict[str, object]:
    """Return the options that a live channel should have by the policies of now."""
    for rule in (*reserved.RULES, *rules):
        if rule.covers(channel):
            if rule.pattern is None:
                break
            if rule.create == Audience.HANDLERS:
                return dict(rule.forced_options())  # the others were the handler's choice
            return {name: value for name, value in rule.options.items() if name not in LIVE}
    # What was open by a policy that is gone: from now on the site is asked.
    return {"moderated": True}


def _decide(
    operation: Operation,
    user: User,
    channel: str,
    payload: object,
    trusted: bool,
    send_signals: bool,
    rules: Sequence[Rule] | None,
    who: UserFacts,
    steps: list[Step] | None,
) -> Decision:
    if operation in REFUSABLE and not trusted and not who.is_anonymous and not who.is_active:
        return refused(_("This account is not active."))
    ruling = Ruling(Verdict.NO_MATCH)
    if operation in BY_POLICY:
        in_force = cache.get() if rules is None else rules
        ruling = evaluate(
            chain(reserved.RULES, in_force), operation, who, channel, trusted=trusted, steps=steps
        )
    decider = ruling.rule.decider if ruling.rule else ""
    if ruling.verdict is Verdict.REFUSED:
        return refused(ruling.reason, decider)
    # Handlers and receivers have no say about our own channels, and would not expect them.
    ours = operation != Operation.MESSAGE and reserved.is_reserved(channel)
    signal = signals.signals.get(operation) if send_signals and not ours else None
    told = signal if signal is not None and signal.has_listeners(user) else None
    if ruling.verdict is Verdict.ALLOWED:
        options = ruling.rule.options if operation == Operation.CREATE and ruling.rule else _NOTHING
        decision = Decision(True, options=options, decided_by=decider)
        asked = False
    else:
        decision = Decision(True)
        asked = not ours and (
            handlers.anyone_for(operation)
            or (operation in BY_POLICY and handlers.anyone_for(Operation.CREATE))
        )
        if not asked and operation in NEEDS_VOUCHING:
            return _nobody(operation)
    if told is None and not asked:
        return decision  # and no savepoint, which is a query or two
    stage = "handler"
    try:
        with transaction.atomic():
            if asked:
                decision = _ask(operation, user, channel, payload, ruling, steps)
            if told is not None and decision.allowed and operation in REFUSABLE:
                stage = "signal"
                told.send(sender=user, **_arguments(operation, channel, payload))
    except Exception as error:
        if trusted and isinstance(error, Error):
            raise  # no answer at all: code can do what it does when its own queries fail
        refusal = _explained(error, stage, operation)
        if operation in REFUSABLE or (
            refusal.code == "refused" and operation != Operation.DISCONNECT
        ):
            return refusal
        decision = Decision(True)  # a bug must not hold somebody who wants to leave
    if told is not None and decision.allowed and operation not in REFUSABLE:
        _tell(told, user, _arguments(operation, channel, payload))
    return Decision(True) if operation == Operation.DISCONNECT else decision


def _ask(
    operation: Operation,
    user: User,
    channel: str,
    payload: object,
    ruling: Ruling,
    steps: list[Step] | None,
) -> Decision:
    answer = handlers.ask(operation, user, channel, payload, steps=steps)
    if answer is None and operation in (Operation.SUBSCRIBE, Operation.PUBLISH):
        # 2011's handlers only know how to create: who vouches for a channel, vouches for its use.
        if steps is not None:
            said = _("None has an opinion: who vouches for creating the channel decides.")
            steps.append(Step("handlers", said))
        vouching = handlers.ask(Operation.CREATE, user, channel, steps=steps)
        answer = replace(vouching, options=_NOTHING) if vouching else None
    if answer is None:
        return _nobody(operation) if operation in NEEDS_VOUCHING else Decision(True)
    if not answer.allowed:
        return refused(answer.reason, answer.by)
    options = dict(answer.options)
    if operation == Operation.CREATE and ruling.rule is not None:
        # The policy's options are the defaults, but its audiences are not the handler's to widen.
        options = {**ruling.rule.options, **options, **ruling.rule.forced_options()}
    return Decision(True, options=options, decided_by=answer.by, explicit=frozenset(answer.options))


def _nobody(operation: Operation) -> Decision:
    if operation == Operation.MESSAGE:
        return refused(_("No handler of this site allows messages between users."))
    return refused(_("No policy and no handler opens this channel."))


def _arguments(operation: Operation, channel: str, payload: object) -> dict[str, object]:
    if operation in (Operation.CONNECT, Operation.DISCONNECT):
        return {}
    if operation == Operation.PUBLISH:
        return {"channel": channel, "payload": payload}
    return {"channel": channel}


def _tell(signal: Signal, user: User, arguments: Mapping[str, object]) -> None:
    """Send a signal that refuses nothing; Django logs what the receivers raise."""
    try:
        with transaction.atomic():
            results = signal.send_robust(sender=user, **arguments)
            if any(isinstance(result, DatabaseError) for _receiver, result in results):
                # Swallowed by send_robust, but the transaction is broken on some databases.
                transaction.set_rollback(True)
    except DatabaseError:
        logger.exception("What the receivers of a signal wrote could not be kept.")


def _explained(error: Exception, stage: str, operation: Operation) -> Decision:
    """Turn what a handler or receiver raised into a refusal."""
    culprit = getattr(error, "by", "") or f"{stage}:{_culprit(error)}"
    if isinstance(error, PermissionDenied | HookboxError):
        return refused(str(error) or _("Refused."), culprit)
    logger.error("%s failed on %s.", culprit, operation.value, exc_info=error)
    reason = _("The site failed to decide this; its log says why.")
    if settings.debug:
        reason = f"{type(error).__name__}: {error}"
    return refused(reason, culprit, code="error")


def _culprit(error: Exception) -> str:
    """Return the dotted name of the project's function that an exception came through."""
    traceback = error.__traceback__
    while traceback is not None:
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in ("djhookbox", "django", "asgiref"):
            code = traceback.tb_frame.f_code
            return f"{module}.{getattr(code, 'co_qualname', code.co_name)}"
        traceback = traceback.tb_next
    return type(error).__name__


@dataclass(slots=True)
class Facts:
    """What audiences ask about a user of Django; queries are made when they are needed.

    Attributes:
        groups: The keys of the user's groups, if they are known already.
        permissions: Whether the user holds each of these permissions, as far as known already.

    """

    user: Any
    groups: frozenset[int] | None = None
    permissions: dict[str, bool] = field(default_factory=dict)

    @property
    def username(self) -> str:
        """The name, empty for anonymous visitors."""
        return "" if self.is_anonymous else username(self.user)

    @property
    def is_anonymous(self) -> bool:
        """Whether this is a visitor without an account."""
        return not getattr(self.user, "is_authenticated", False)

    @property
    def is_active(self) -> bool:
        """Whether the account is in use."""
        return bool(getattr(self.user, "is_active", False))

    @property
    def is_staff(self) -> bool:
        """Whether the user may log into the admin."""
        return bool(getattr(self.user, "is_staff", False))

    @property
    def is_superuser(self) -> bool:
        """Whether the user has all permissions."""
        return bool(getattr(self.user, "is_superuser", False))

    def group_ids(self) -> frozenset[int]:
        """Return the primary keys of the user's groups, asking once."""
        if self.groups is None:
            groups = getattr(self.user, "groups", None)
            self.groups = frozenset(groups.values_list("pk", flat=True)) if groups else frozenset()
        return self.groups

    def has_permission(self, permission: str) -> bool:
        """Return whether the user holds a permission, asking Django once."""
        if permission not in self.permissions:
            has_perm = getattr(self.user, "has_perm", None)
            self.permissions[permission] = bool(has_perm and has_perm(permission))
        return self.permissions[permission]
