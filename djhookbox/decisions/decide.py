"""The one function that decides whether a user may do something on a channel.

Policies decide first, then handlers; otherwise the operation is refused. Then signals are sent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from types import MappingProxyType

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, Error, transaction
from django.dispatch import Signal
from django.urls import get_resolver
from django.utils.translation import gettext as _

from .. import debugging, handlers, signals
from ..bans import store as bans
from ..bans.rules import Bans, Entry, Subject
from ..conf import settings
from ..exceptions import HookboxError
from ..policy import reserved
from ..policy.rules import Audience, Operation, Rule, Ruling, UserFacts, Verdict, evaluate
from ..policy.steps import Outcome, Step
from ..users.accounts import User
from ..users.facts import Facts
from ..wire.options import INITIAL_ONLY
from .store import cache

logger = logging.getLogger("djhookbox")

#: What policies decide about.
BY_POLICY = frozenset({Operation.CREATE, Operation.SUBSCRIBE, Operation.PUBLISH})

#: Operations that are refused unless something allows them.
NEEDS_VOUCHING = BY_POLICY | {Operation.MESSAGE}

#: Operations that signal receivers can refuse; all others have happened or must be possible.
REFUSABLE = NEEDS_VOUCHING | {Operation.CONNECT}

#: Who decided if neither a policy nor a handler did.
UNDECIDED = "nobody"

_NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer.

    Attributes:
        reason: Why it is refused: a sentence for the browser.
        options: The options of the channel (create) or of the webhook's reply.
        decided_by: `policy:<name>`, `handler:<dotted name>`, `signal:<dotted name>`, `nobody`
            (neither a policy nor a handler decided), `built-in` (a reserved name), `ban:<id>`, or
            empty if no decision was needed.
        code: A short code for a refusal: `refused`, or `error` after a bug in the project.
        explicit: Names of the options that a handler has set.
        steps: How the decision was made, if requested.

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


@dataclass(frozen=True, slots=True)
class Terms:
    """How to decide; the same terms serve many decisions.

    Attributes:
        trusted: For code and the admin: ignore audiences.
        send_signals: Whether to send signals, whose receivers may refuse.
        explain: Whether the decision lists its steps.
        rules: The policies to apply, instead of the current ones.
        banned: The bans to apply, instead of the current ones.
        who: Facts about the user that are already known, to save queries.

    """

    trusted: bool = False
    send_signals: bool = True
    explain: bool = False
    rules: Sequence[Rule] | None = None
    banned: Bans | None = None
    who: UserFacts | None = None


_USUAL = Terms()
_FOR_CODE = Terms(trusted=True, send_signals=False)


def decide(
    operation: Operation | str,
    user: User,
    channel: str = "",
    *,
    payload: object = None,
    subject: Subject | None = None,
    terms: Terms = _USUAL,
) -> Decision:
    """Decide whether a user may do something.

    Args:
        operation: The operation.
        user: The Django user.
        channel: The channel's name; for messages, the recipient's name.
        payload: The message that is published or sent.
        subject: What bans are compared with; by default only the user's name.
        terms: How to decide.

    """
    operation = Operation(operation)
    question = _Question(operation, user, channel, payload, subject, terms)
    decision = question.answer()
    if terms.send_signals and not decision.allowed:  # for a browser, rather than a trial or code
        debugging.tell_refusal(
            operation.value, question.who.username, channel, decision.reason, decision.decided_by
        )
    steps = question.steps
    if steps is None:
        return decision
    if not steps or steps[-1].who != decision.decided_by:  # it may have its step already
        outcome = Outcome.ALLOWED if decision.allowed else Outcome.REFUSED
        steps.append(Step(decision.decided_by, outcome, decision.reason))
    return replace(decision, steps=tuple(steps))


def decide_for_code(channel: str, user: User) -> Decision:
    """Return the decision that opens a channel for code or the admin, with its options.

    Audiences do not apply, and no signal is sent: nothing has been created yet.
    """
    # Handlers are often registered next to views; commands and task queue workers, which answer
    # no requests, would not have imported them.
    get_resolver().urlconf_module  # noqa: B018 - imports it
    return decide(Operation.CREATE, user, channel, terms=_FOR_CODE)


def standing_options(rules: Sequence[Rule], channel: str) -> dict[str, object]:
    """Return the options that the current policies give to a live channel."""
    for rule in (*reserved.RULES, *rules):
        if rule.covers(channel):
            if rule.pattern is None:
                break
            if rule.create == Audience.HANDLERS:
                return dict(rule.forced_options())  # the others were chosen by a handler
            return {name: value for name, value in rule.options.items() if name not in INITIAL_ONLY}
    # A deleted policy had opened the channel: the site is asked from then on.
    return {"moderated": True}


class _Question:
    """A request for a decision, made with the arguments of `decide`.

    Attributes:
        who: Facts about the user.
        steps: The steps of the decision so far, if they are requested.

    """

    def __init__(
        self,
        operation: Operation,
        user: User,
        channel: str,
        payload: object,
        subject: Subject | None,
        terms: Terms,
    ) -> None:
        self.operation = operation
        self.user = user
        self.channel = channel
        self.payload = payload
        self.subject = subject
        self.terms = terms
        self.who = terms.who or Facts(user)
        self.steps: list[Step] | None = [] if terms.explain else None

    def answer(self) -> Decision:
        """Ask the policies, then the handlers, then the receivers of the signal."""
        if self.operation in REFUSABLE and not self.terms.trusted:
            if self._is_inactive():
                return refused(_("This account is not active."))
            ban = self._ban()
            if ban is not None:
                return refused(ban.reason or _("An operator has banned you."), ban.decided_by)
        ruling = self._ruling()
        if ruling.verdict is Verdict.REFUSED:
            return refused(ruling.reason, ruling.decider)
        # Handlers and receivers do not decide about reserved channels and would not expect them.
        reserved_channel = self.operation != Operation.MESSAGE and reserved.is_reserved(
            self.channel
        )
        signal = self._signal() if self.terms.send_signals and not reserved_channel else None
        if ruling.verdict is Verdict.ALLOWED:
            asks_handlers = False
        else:
            asks_handlers = not reserved_channel and self._has_handlers()
            if not asks_handlers and self.operation in NEEDS_VOUCHING:
                return _nobody(self.operation)
        if not asks_handlers and signal is None:
            return self._by_policy(ruling)  # no savepoint, which would cost a query or two
        return self._by_code(ruling, signal, asks_handlers)

    def _is_inactive(self) -> bool:
        return not self.who.is_anonymous and not self.who.is_active

    def _ban(self) -> Entry | None:
        banned = bans.cache.get() if self.terms.banned is None else self.terms.banned
        return banned.find(self.subject or Subject(self.who.username), time.time())

    def _ruling(self) -> Ruling:
        if self.operation not in BY_POLICY:
            return Ruling(Verdict.NO_MATCH)
        rules = cache.get() if self.terms.rules is None else self.terms.rules
        return evaluate(
            chain(reserved.RULES, rules),
            self.operation,
            self.who,
            self.channel,
            trusted=self.terms.trusted,
            steps=self.steps,
        )

    def _signal(self) -> Signal | None:
        """Return the operation's signal if it has receivers."""
        signal = signals.signals.get(self.operation)
        return signal if signal is not None and signal.has_listeners(self.user) else None

    def _has_handlers(self) -> bool:
        return handlers.anyone_for(self.operation) or (
            self.operation in BY_POLICY and handlers.anyone_for(Operation.CREATE)
        )

    def _by_policy(self, ruling: Ruling) -> Decision:
        """Return a policy's permission, or a default one if the operation needs none."""
        options = _NOTHING
        if self.operation == Operation.CREATE and ruling.rule:
            options = ruling.rule.options
        return Decision(True, options=options, decided_by=ruling.decider)

    def _by_code(self, ruling: Ruling, signal: Signal | None, asks_handlers: bool) -> Decision:
        """Call the project's own code: handlers if they are asked, then receivers."""
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
            if self.terms.trusted and isinstance(error, Error):
                raise  # not a decision: code sees the exception, as for its own queries
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
            # Handlers written for 2011 only know how to create: whatever allows creating a channel
            # also allows using it.
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
            # The policy's options are defaults, but a handler cannot widen its audiences.
            options = {**ruling.rule.options, **options, **ruling.rule.forced_options()}
        explicit = frozenset(answer.options)
        return Decision(True, options=options, decided_by=answer.by, explicit=explicit)

    def _arguments(self) -> dict[str, object]:
        """Return the arguments of the signal."""
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
    """Send a signal that cannot refuse; Django logs the exceptions of its receivers."""
    try:
        with transaction.atomic():
            results = signal.send_robust(sender=user, **arguments)
            if any(isinstance(result, DatabaseError) for _receiver, result in results):
                # send_robust() swallows it, but the transaction is broken on some databases.
                transaction.set_rollback(True)
    except DatabaseError:
        logger.exception("The database changes made by signal receivers could not be committed.")


def _explained(error: Exception, stage: str, operation: Operation) -> Decision:
    """Convert the exception of a handler or receiver to a refusal."""
    culprit = getattr(error, "by", "") or f"{stage}:{_culprit(error)}"
    if isinstance(error, PermissionDenied | HookboxError):
        return refused(str(error) or _("Refused."), culprit)
    logger.error("%s failed on %s.", culprit, operation.value, exc_info=error)
    reason = _("The site could not decide this because of an error; see its log.")
    if settings.debug:
        reason = f"{type(error).__name__}: {error}"
    return refused(reason, culprit, code="error")


def _culprit(error: Exception) -> str:
    """Return the dotted name of the project's function that raised an exception."""
    traceback = error.__traceback__
    while traceback is not None:
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in ("djhookbox", "django", "asgiref"):
            code = traceback.tb_frame.f_code
            return f"{module}.{getattr(code, 'co_qualname', code.co_name)}"
        traceback = traceback.tb_next
    return type(error).__name__
