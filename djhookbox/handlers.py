"""The project's own callables that decide what no policy covers.

As in 2011, a handler is an object with a `create` method (`register_channel_handler`) or a
function (`whcallback`). `ask` calls both.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, overload

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from . import options as reply_options
from .policy.rules import Operation
from .policy.steps import Outcome, Step

logger = logging.getLogger("djhookbox")

Function = TypeVar("Function", bound=Callable[..., object])


class HandlerError(Exception):
    """A handler returned an invalid answer: a bug in the project.

    Attributes:
        by: The handler.

    """

    def __init__(self, by: str, problem: str) -> None:
        super().__init__(by, problem)
        self.by = by
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.by} {self.problem}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a handler."""

    allowed: bool
    by: str
    options: Mapping[str, object] = field(default_factory=dict)
    reason: str = ""


# Replaced as a whole under the lock, so that readers need no lock.
_lock = threading.Lock()
_handlers: tuple[object, ...] = ()
_callbacks: tuple[tuple[frozenset[str], Callable[..., object]], ...] = ()


def register_channel_handler(handler: object) -> None:
    """Register a handler to decide what no policy covers.

    A handler is any object with `create(user, channel)`, which returns the options of the
    channel (a dict, possibly empty), or None if it does not know the channel. It may also
    have `subscribe(user, channel)`, `publish(user, channel, payload)`,
    `unsubscribe(user, channel)`, `connect(user)` and `message(user, recipient, payload)`: they
    return None for no opinion, True or a dict of reply options to allow, False or a string to
    refuse. Any of them may raise `PermissionDenied`; the browser receives its text.

    Handlers are called in the order of registration; the first that returns something decides.
    Registering a handler twice has no effect.
    """
    global _handlers
    with _lock:
        if not any(known is handler for known in _handlers):
            _handlers = (*_handlers, handler)


def unregister_channel_handler(handler: object) -> None:
    """Unregister a handler.

    Raises:
        ValueError: It is not registered.

    """
    global _handlers
    with _lock:
        rest = tuple(known for known in _handlers if known is not handler)
        if len(rest) == len(_handlers):
            raise ValueError(f"{handler!r} is not registered.")
        _handlers = rest


@overload
def whcallback(operation: Function, /) -> Function: ...


@overload
def whcallback(*operations: str | Iterable[str]) -> Callable[[Function], Function]: ...


def whcallback(
    *operations: Function | str | Iterable[str],
) -> Function | Callable[[Function], Function]:
    """Register a function for webhooks, as in the later releases of 2011.

    Without arguments it is called for all operations, otherwise for the named ones: `connect`,
    `disconnect`, `create`, `destroy`, `subscribe`, `unsubscribe`, `publish`, `message`.

    It is called as `f(op, user)` for connect and disconnect, `f(op, user, channel)` for create,
    `f(op, user, channel=channel)` for destroy, subscribe and unsubscribe, and
    `f(op, user, channel, payload)` for publish (and message, with the recipient in place of the
    channel). All matching functions are called and the first result counts: None is no opinion, a
    text refuses, a dict allows with these options, and a list of two is used as the answer itself.
    Results for connect and disconnect are ignored.
    """
    if len(operations) == 1 and callable(operations[0]):
        function: Function = operations[0]
        _register(function, frozenset())
        return function
    names: set[str] = set()
    for operation in operations:
        if callable(operation):
            raise TypeError("whcallback() takes one function or the names of operations.")
        names.update([operation] if isinstance(operation, str) else operation)
    if unknown := names - set(Operation.values):
        raise ValueError(
            f"whcallback() got unknown operations: {', '.join(sorted(map(repr, unknown)))}."
        )

    def decorator(function: Function) -> Function:
        _register(function, frozenset(names))
        return function

    return decorator


def _register(function: Callable[..., object], operations: frozenset[str]) -> None:
    global _callbacks
    with _lock:
        _callbacks = (*_callbacks, (operations, function))


def batch_safe(function: Function) -> Function:
    """Mark a receiver or a handler's method as safe in a batch of webhooks; a decorator.

    It promises to change neither users, their groups and permissions nor sessions, and that it may
    be called again if the answer was lost. A class of handlers can set `batch_safe = True` instead.
    Other receivers and handlers are called as well, but each of their webhooks is made alone.
    """
    function.batch_safe = True  # type: ignore[attr-defined]
    return function


def functions_for(operation: Operation) -> list[object]:
    """Return all that may be called about an operation: functions, and methods or their handlers.

    The handler stands for a method if it is marked as a whole.
    """
    found: list[object] = []
    for handler in _handlers:
        method = getattr(handler, operation, None)
        if callable(method):
            found.append(handler if getattr(handler, "batch_safe", False) else method)
    return found + [
        function for operations, function in _callbacks if not operations or operation in operations
    ]


def anyone_for(operation: Operation) -> bool:
    """Return whether any handler can be asked about an operation."""
    return any(callable(getattr(handler, operation, None)) for handler in _handlers) or any(
        not operations or operation in operations for operations, _function in _callbacks
    )


def ask(
    operation: Operation,
    user: object,
    channel: str = "",
    payload: object = None,
    *,
    steps: list[Step] | None = None,
) -> Answer | None:
    """Return the answer of the handlers, or None if none of them has an opinion.

    Args:
        operation: The operation.
        user: The Django user.
        channel: The channel's name; for messages, the recipient's name.
        payload: The message that is published or sent.
        steps: Collects the answer of each handler, if given.

    Raises:
        HandlerError: A handler returned an invalid answer.
        Exception: Any exception of a handler.

    """
    for handler in _handlers:
        method = getattr(handler, operation, None)
        by = f"handler:{_dotted(type(handler))}"
        if not callable(method):
            _note(steps, by, Outcome.NOT_ASKED, operation.value)
            continue
        answer = _answer(operation, by, method(*_arguments(operation, user, channel, payload)))
        _note_answer(steps, by, answer)
        if answer is not None:
            if answer.allowed:
                # Functions are also observers: they are called for everything that is not refused.
                _ask_callbacks(operation, user, channel, payload)
            return answer
    return _ask_callbacks(operation, user, channel, payload, steps)


def _note(steps: list[Step] | None, by: str, outcome: Outcome, detail: str = "") -> None:
    if steps is not None:
        steps.append(Step(by, outcome, detail))


def _note_answer(steps: list[Step] | None, by: str, answer: Answer | None) -> None:
    if answer is None:
        _note(steps, by, Outcome.NO_OPINION)
    elif answer.allowed:
        _note(steps, by, Outcome.ALLOWED)
    else:
        _note(steps, by, Outcome.REFUSED, answer.reason)


def _arguments(
    operation: Operation, user: object, channel: str, payload: object
) -> tuple[object, ...]:
    if operation in (Operation.CONNECT, Operation.DISCONNECT):
        return (user,)
    if operation in (Operation.PUBLISH, Operation.MESSAGE):
        return (user, channel, payload)
    return (user, channel)


def _ask_callbacks(
    operation: Operation,
    user: object,
    channel: str,
    payload: object,
    steps: list[Step] | None = None,
) -> Answer | None:
    first: Answer | None = None
    for operations, function in _callbacks:
        if operations and operation not in operations:
            continue
        if operation in (Operation.DESTROY, Operation.SUBSCRIBE, Operation.UNSUBSCRIBE):
            result = function(operation.value, user, channel=channel)
        else:
            result = function(operation.value, *_arguments(operation, user, channel, payload))
        if operation in (Operation.CONNECT, Operation.DISCONNECT):
            continue
        answer = _answer(operation, f"handler:{_dotted(function)}", result)
        if first is None:  # further functions are only notified
            _note_answer(steps, f"handler:{_dotted(function)}", answer)
        if answer is None:
            continue
        if first is None:
            first = answer
        else:
            logger.warning(
                "%s on %r: %s has already answered, so the answer of %s is ignored.",
                operation.value, channel, first.by, answer.by,
            )  # fmt: skip
    return first


def _answer(operation: Operation, by: str, result: object) -> Answer | None:
    if result is None:
        return None
    if isinstance(result, list | tuple):
        if len(result) != 2 or not isinstance(result[1], Mapping):
            raise HandlerError(by, "returned a list that is not [allowed, options].")
        allowed, given = bool(result[0]), result[1]
        if not allowed:
            reason = given.get("error") or given.get("msg") or ""
            return Answer(False, by, reason=str(reason) or _("Refused."))
        result = given
    if isinstance(result, Mapping):
        try:
            return Answer(True, by, reply_options.checked(operation, result))
        except ValueError as error:
            raise HandlerError(by, f"returned invalid options. {error}") from error
    if isinstance(result, bool):
        return Answer(result, by, reason="" if result else _("Refused."))
    if isinstance(result, str | Promise):
        return Answer(False, by, reason=str(result) or _("Refused."))
    raise HandlerError(by, f"returned {type(result).__name__}, which is not a valid answer.")


def _dotted(thing: object) -> str:
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    return f"{getattr(thing, '__module__', '?')}.{name}"
