"""Check the options that handlers and policies give, and explain errors in the user's language.

`wire.options` and `wire.replies` define the options, their types and limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from . import strict_json
from .wire import fields as wire_fields
from .wire import options, records
from .wire.fields import FieldProblem
from .wire.hosts import HostRules
from .wire.options import Fault, OptionError, Polling

#: The fields of replies that the views set.
_OURS = frozenset({"name", "identity", "single_use", "publication"})


def checked(operation: str, given: Mapping[object, object]) -> dict[str, object]:
    """Return reply options as plain JSON values.

    Raises:
        ValueError: An option is unknown, of the wrong type, or not JSON; the text names it.

    """
    try:
        # Encoded and decoded: the result is what the server reads (no lazy texts, no tuples).
        # Inside the list of the answer, so that it is not nested too deeply there.
        _allowed, plain = strict_json.read(strict_json.write([True, dict(given)]))
    except (TypeError, ValueError) as error:
        raise ValueError(_("The options are not JSON: %(error)s.") % {"error": error}) from error
    if operation == "create":
        validate_channel_options(plain)
    else:
        _validate_reply(_reply_to(operation), plain)
    return dict(plain)


def validate_channel_options(given: Mapping[str, object]) -> None:
    """Reject channel options that the server would reject or could not carry out.

    Raises:
        ValueError: The text names the option.

    """
    try:
        for name in ("history_size", "history_duration"):
            if isinstance(given.get(name), bool):  # which 0.3.3 treats as a number
                raise OptionError(name, Fault.WHOLE)
        options.check_channel_options(given)
    except OptionError as error:
        raise ValueError(_explain(error)) from error
    polling = given.get("polling")
    if isinstance(polling, dict):
        validate_polling(polling)


def validate_durable(polling: Mapping[str, object]) -> None:
    """Reject a durable channel that polls.

    Raises:
        ValueError: It polls.

    """
    try:
        options.check_durable({"durable": True, "polling": polling})
    except OptionError as error:
        raise ValueError(_explain(error)) from error


def _reply_to(operation: str) -> type[object]:
    """Return the reply whose options handlers may set."""
    from .wire import replies  # few processes of a site answer webhooks

    known: Mapping[str, type[object]] = {
        "connect": replies.ConnectReply,
        "subscribe": replies.SubscribeReply,
        "unsubscribe": replies.UnsubscribeReply,
        "publish": replies.PublishReply,
        "message": replies.MessageReply,
    }
    return known.get(operation, replies.EmptyReply)


def _validate_reply(kind: type[object], given: Mapping[str, object]) -> None:
    known = {each.name for each in fields(kind)} - _OURS  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            raise ValueError(_("Unknown option “%(name)s”.") % {"name": name})
    problems: list[FieldProblem] = []
    try:
        records.read(kind, {**given, "name": "anyone"}, tolerated=problems)
    except FieldProblem as problem:
        problems.append(problem)
    for each in problems:
        name = each.field.partition("[")[0]
        texts = {
            wire_fields.Fault.BOOLEAN: _("must be true or false"),
            wire_fields.Fault.STRING: _("must be a string"),
        }
        is_list = name.startswith("auto_")
        text = _("must be a list of names") if is_list else texts[each.fault]
        raise ValueError(_describe(name, text)) from each


def _describe(name: str, problem: str) -> str:
    return _("Option “%(name)s” %(problem)s.") % {"name": name, "problem": problem}


def _explain(error: OptionError) -> str:
    if error.fault is Fault.UNKNOWN:
        return _("Unknown option “%(name)s”.") % {"name": error.name}
    if error.fault is Fault.DURABLE:
        return _("A durable channel cannot poll: turn one of the two options off.")
    problems = {
        Fault.BOOLEAN: _("must be true or false"),
        Fault.WHOLE: _("must be a whole number, 0 or more"),
        Fault.NEGATIVE: _("must be a whole number, 0 or more"),
        Fault.LIMIT: _("must be at most %(limit)d") % {"limit": error.limit},
        Fault.LIST: _("must be a list"),
        Fault.HISTORY: _("must be a list of pairs of a type and an object"),
        Fault.NAMES: _("must be a list of names"),
        Fault.OBJECT: _("must be an object"),
    }
    return _describe(error.name, problems[error.fault])


def validate_polling(polling: Mapping[str, object]) -> None:
    """Reject a `polling` option that the server would reject or could not carry out.

    Raises:
        ValueError: The text names the invalid member.

    """
    try:
        Polling().changed(polling)
    except OptionError as error:
        if error.fault is Fault.UNKNOWN:
            text = _("Polling: unknown option “%(name)s”.") % {"name": error.member}
            raise ValueError(text) from error
        raise ValueError(_polling_problem(error.member, error.fault)) from error


def _polling_problem(member: str, fault: Fault) -> str:
    if fault is Fault.URL:
        return _("Polling: “url” must start with http:// or https://.")
    return {
        "mode": _("Polling: “mode” must be simple, persistent, once, or empty for off."),
        "interval": _("Polling: “interval” must be between 0.1 and 86400 seconds."),
        "url": _("Polling: “url” and “originator” must be strings."),
        "originator": _("Polling: “url” and “originator” must be strings."),
        "form": _("Polling: “form” must be an object."),
    }[member]


def validate_polling_host(polling: Mapping[str, object], hosts: Iterable[str]) -> None:
    """Reject a `polling` option with an unlisted host, from which the process would not fetch.

    Raises:
        ValueError: The text names the host and the setting.

    """
    url = polling.get("url")
    host = urlsplit(url).hostname or "" if isinstance(url, str) else ""
    if not HostRules.parse(hosts).allows_host(host):
        raise ValueError(
            _("Polling: add “%(host)s” to HOOKBOX_POLLING_HOSTS and restart the process.")
            % {"host": host}
        )


def complete_polling(polling: object) -> dict[str, object]:
    """Return a `polling` option with every member, so that omitted ones are reset.

    A value that is not an object turns polling off: it must not break all other policies.
    """
    return {**Polling().info(), **(polling if isinstance(polling, dict) else {})}
