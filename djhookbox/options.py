"""The options of channels and of webhook replies, with their types.

The names and types are those of Hookbox 0.3.3 and 0.3.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from . import strict_json
from .wire.hosts import HostRules

#: Returns what is wrong with a value, or "".
Test: TypeAlias = Callable[[object], str]


def _boolean(value: object) -> str:
    return "" if isinstance(value, bool) else _("must be true or false")


def _count(value: object) -> str:
    # bool is a subclass of int, but never meant as a size.
    whole = isinstance(value, int) and not isinstance(value, bool)
    return "" if whole and value >= 0 else _("must be a whole number, 0 or more")  # type: ignore[operator]


def _text(value: object) -> str:
    return "" if isinstance(value, str) else _("must be a string")


def _list(value: object) -> str:
    return "" if isinstance(value, list) else _("must be a list")


def _object(value: object) -> str:
    return "" if isinstance(value, dict) else _("must be an object")


def _names(value: object) -> str:
    fits = isinstance(value, list) and all(isinstance(name, str) and name for name in value)
    return "" if fits else _("must be a list of names")


def _anything(value: object) -> str:
    return ""


def _polling(value: object) -> str:
    if not isinstance(value, dict):
        return _("must be an object")
    try:
        validate_polling(value)
    except ValueError as error:
        return str(error)
    return ""


#: Channel options; Hookbox 0.3.3 refuses any other name or type.
CHANNEL: Mapping[str, Test] = {
    "reflective": _boolean,
    "history_size": _count,
    "history": _list,
    "moderated": _boolean,
    "moderated_subscribe": _boolean,
    "moderated_publish": _boolean,
    "moderated_unsubscribe": _boolean,
    "presenceful": _boolean,
    "anonymous": _boolean,
    "state": _object,
    "polling": _polling,
    "durable": _boolean,
    "history_duration": _count,
    "history_publish_only": _boolean,
    "server_presenceful": _boolean,
    "server_user_presence": _names,
}

_AUTO: Mapping[str, Test] = {"auto_subscribe": _names, "auto_unsubscribe": _names}

#: Reply options by operation.
REPLIES: Mapping[str, Mapping[str, Test]] = {
    "create": CHANNEL,
    "connect": {
        "payload": _anything,
        "override_payload": _anything,
        "reflective": _boolean,
        "moderated_message": _boolean,
        "per_connection_subscriptions": _boolean,
        "global_unsubscriptions": _boolean,
        **_AUTO,
    },
    "subscribe": {"initial_data": _anything, **_AUTO},
    "unsubscribe": _AUTO,
    "publish": {"override_payload": _anything, "only_to_sender": _boolean, **_AUTO},
    "message": {"override_payload": _anything, "override_recipient_name": _text, **_AUTO},
}


def checked(operation: str, options: Mapping[object, object]) -> dict[str, object]:
    """Return reply options as plain JSON values.

    Raises:
        ValueError: An option is unknown, of the wrong type, or not JSON; the text names it.

    """
    tests = REPLIES.get(operation, {})
    try:
        # Encoded and decoded: the result is what the server reads (no lazy texts, no tuples).
        # Inside the list of the answer, so that it is not nested too deeply there.
        _allowed, plain = strict_json.read(strict_json.write([True, dict(options)]))
    except (TypeError, ValueError) as error:
        raise ValueError(_("The options are not JSON: %(error)s.") % {"error": error}) from error
    for name, value in plain.items():
        test = tests.get(name)
        if test is None:
            raise ValueError(_("Unknown option “%(name)s”.") % {"name": name})
        if problem := test(value):
            raise ValueError(
                _("Option “%(name)s” %(problem)s.") % {"name": name, "problem": problem}
            )
    if plain.get("durable") and isinstance(plain.get("polling"), dict):
        validate_durable(plain["polling"])
    return dict(plain)


def validate_durable(polling: Mapping[str, object]) -> None:
    """Reject a durable channel that polls.

    Raises:
        ValueError: It polls.

    """
    if polling.get("mode"):
        raise ValueError(_("A durable channel cannot poll: turn off one of both."))


POLLING_DEFAULTS: Mapping[str, object] = {
    "mode": "",
    "interval": 5.0,
    "url": "",
    "form": {},
    "originator": "",
}
POLLING_MODES = ("", "simple", "persistent", "once")


def validate_polling(polling: Mapping[str, object]) -> None:
    """Reject a `polling` option that the server would reject or could not carry out.

    Raises:
        ValueError: The text names the invalid member.

    """
    for name in polling:
        if name not in POLLING_DEFAULTS:
            raise ValueError(_("Polling: unknown option “%(name)s”.") % {"name": name})
    given = {**POLLING_DEFAULTS, **polling}
    mode, interval, url, form = given["mode"], given["interval"], given["url"], given["form"]
    if mode not in POLLING_MODES:
        raise ValueError(_("Polling: “mode” must be simple, persistent, once, or empty for off."))
    number = isinstance(interval, int | float) and not isinstance(interval, bool)
    if not number or not 0.1 <= interval <= 86_400:  # type: ignore[operator]
        raise ValueError(_("Polling: “interval” must be between 0.1 and 86400 seconds."))
    if not isinstance(url, str) or not isinstance(given["originator"], str):
        raise ValueError(_("Polling: “url” and “originator” must be strings."))
    if not isinstance(form, dict) or not all(isinstance(value, str) for value in form.values()):
        raise ValueError(_("Polling: “form” must be an object of strings."))
    if (mode or url) and not _is_web_address(url):
        raise ValueError(_("Polling: “url” must start with http:// or https://."))


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


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def complete_polling(polling: object) -> dict[str, object]:
    """Return a `polling` option with every member, so that omitted ones are reset.

    A value that is not an object turns polling off: it must not break all other policies.
    """
    return {**POLLING_DEFAULTS, **(polling if isinstance(polling, dict) else {})}
