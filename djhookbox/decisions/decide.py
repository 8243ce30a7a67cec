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
from ..policy import reserved
from ..policy.rules import Audience, Operation, Rule, Ruling, UserFacts, Verdict, evaluate
from ..policy.steps import Outcome, Step
from ..wire.options import LIVE
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
    question = _Question(operation, user, channel, payload, trusted, who or Facts(user), steps)
    decision = question.answer(rules, send_signals=send_signals)
    if steps is None:
        return decision
    if not steps or steps[-1].who != decision.decided_by:  # whoever decided may have its step
        outcome = Outcome.ALLOWED if decision.allowed else Outcome.REFUSED
        steps.append(Step(decision.decided_by, outcome, decision.reason))
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


@dataclass(frozen=True, slots=True)
class _Question:
    """Whether a user may do something; the attributes are the arguments of `decide`."""

    operation: Operation
    user: User
    channel: str
    payload: object
    trusted: bool
    who: UserFacts
    steps: list[Step] | None

    def answer(self, rules: Sequence[Rule] | None, *, send_signals: bool) -> Decision:
        """Ask the policies, then the handlers, then the receivers of the signal."""
        if self.operation in REFUSABLE and not self.trusted and self._is_inactive():
            return refused(_("This account is not active."))
        ruling = self._ruling(rules)
        if ruling.verdict is Verdict.REFUSED:
            return refused(ruling.reason, ruling.decider)
        # Handlers and receivers have no say about reserved channels, and would not expect them.
        reserved_channel = self.operation != Operation.MESSAGE and reserved.is_reserved(
            self.channel
        )
        signal = self._signal() if send_signals and not reserved_channel else None
        if ruling.verdict is Verdict.ALLOWED:
            asks_handlers = False
        else:
            asks_handlers = not reserved_channel and self._has_handlers()
            if not asks_handlers and self.operation in NEEDS_VOUCHING:
                return _nobody(self.operation)
        if not asks_handlers and signal is None:
            return self._by_policy(ruling)  # and no savepoint, which is a query or two
        return self._by_code(ruling, signal, asks_handlers)

    def _is_inactive(self) -> bool:
        return not self.who.is_anonymous and not self.who.is_active

    def _ruling(self, rules: Sequence[Rule] | None) -> Ruling:
        if self.operation not in BY_POLICY:
            return Ruling(Verdict.NO_MATCH)
        return evaluate(
            chain(reserved.RULES, cache.get() if rules is None else rules),
            self.operation,
            self.who,
            self.channel,
            trusted=self.trusted,
            steps=self.steps,
        )

    def _signal(self) -> Signal | None:
        """Return the signal of the operation, if anybody listens."""
        signal = signals.signals.get(self.operation)
        return signal if signal is not None and signal.has_listeners(self.user) else None

    def _has_handlers(self) -> bool:
        return handlers.anyone_for(self.operation) or (
            self.operation in BY_POLICY and handlers.anyone_for(Operation.CREATE)
        )

    def _by_policy(self, ruling: Ruling) -> Decision:
        """Return the yes of a policy, or of nobody where nobody has to vouch."""
        options = _NOTHING
        if self.operation == Operation.CREATE and ruling.rule:
            options = ruling.rule.options
        return Decision(True, options=options, decided_by=ruling.decider)

    def _by_code(self, ruling: Ruling, signal: Signal | None, asks_handlers: bool) -> Decision:
        """Let the project's own code decide: the handlers if they are asked, then receivers."""
        decision = self._by_policy(ruling)
        stage = "handler"
        try:
            with transaction.atomic():
                if asks_handlers:
                    decision = self._by_handlers(ruling)
                if signal is not None and decision.allowed and self.operation in REFUSABLE:
                    stage = "signal"
                    signal.send(sender=self.user, **self._arguments())
        except Exception as error:
            if self.trusted and isinstance(error, Error):
                raise  # no answer at all: code does what it does when its own queries fail
            refusal = _explained(error, stage, self.operation)
            if self.operation in REFUSABLE or (
                refusal.code == "refused" and self.operation != Operation.DISCONNECT
            ):
                return refusal
            decision = Decision(True)  # a bug must not keep a client that wants to leave
        if signal is not None and decision.allowed and self.operation not in REFUSABLE:
            _tell(signal, self.user, self._arguments())
        return Decision(True) if self.operation == Operation.DISCONNECT else decision

    def _by_handlers(self, ruling: Ruling) -> Decision:
        answer = handlers.ask(
            self.operation, self.user, self.channel, self.payload, steps=self.steps
        )
        if answer is None and self.operation in (Operation.SUBSCRIBE, Operation.PUBLISH):
            # 2011's handlers only know how to create: who vouches for a channel, vouches for
            # its use.
            if self.steps is not None:
                self.steps.append(Step("handlers", Outcome.CREATION_DECIDES))
            vouching = handlers.ask(Operation.CREATE, self.user, self.channel, steps=self.steps)
            answer = replace(vouching, options=_NOTHING) if vouching else None
        if answer is None:
            if self.operation in NEEDS_VOUCHING:
                return _nobody(self.operation)
            return Decision(True)
        if not answer.allowed:
            return refused(answer.reason, answer.by)
        options = dict(answer.options)
        if self.operation == Operation.CREATE and ruling.rule is not None:
            # The policy's options are the defaults, but its audiences are not the handler's to
            # widen.
            options = {**ruling.rule.options, **options, **ruling.rule.forced_options()}
        explicit = frozenset(answer.options)
        return Decision(True, options=options, decided_by=answer.by, explicit=explicit)

    def _arguments(self) -> dict[str, object]:
        """Return what receivers are given."""
        if self.operation in (Operation.CONNECT, Operation.DISCONNECT):
            return {}
        if self.operation == Operation.PUBLISH:
            return {"channel": self.channel, "payload": self.payload}
        return {"channel": self.channel}


def _nobody(operation: Operation) -> Decision:
    if operation == Operation.MESSAGE:
        return refused(_("No handler of this site allows messages between users."))
    return refused(_("No policy or handler opens this channel."))


def _tell(signal: Signal, user: User, arguments: Mapping[str, object]) -> None:
    """Send a signal that refuses nothing; Django logs what the receivers raise."""
    try:
        with transaction.atomic():
            results = signal.send_robust(sender=user, **arguments)
            if any(isinstance(result, DatabaseError) for _receiver, result in results):
                # Swallowed by send_robust, but the transaction is broken on some databases.
                transaction.set_rollback(True)
    except DatabaseError:
        logger.exception("The database changes made by signal receivers could not be committed.")


def _explained(error: Exception, stage: str, operation: Operation) -> Decision:
    """Turn what a handler or receiver raised into a refusal."""
    culprit = getattr(error, "by", "") or f"{stage}:{_culprit(error)}"
    if isinstance(error, PermissionDenied | HookboxError):
        return refused(str(error) or _("Refused."), culprit)
    logger.error("%s failed on %s.", culprit, operation.value, exc_info=error)
    reason = _("The site could not decide this because of an error; see its log.")
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
