"""The options of channels and users: names, types, defaults and clear error messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

#: Maximum number of history entries a channel may keep, whatever its options say.
MAX_HISTORY = 10_000
#: Maximum `history_duration`: ten years. Numbers beyond any float would break the arithmetic.
MAX_SECONDS = 315_360_000


class OptionError(ValueError):
    """An unknown option, or an invalid value for an option."""


@dataclass(slots=True)
class Polling:
    """The settings for polling a channel's messages (reference, section 7)."""

    mode: str = ""
    interval: float = 5.0
    url: str = ""
    form: dict[str, Any] = field(default_factory=dict)
    originator: str = ""

    def changed(self, given: Mapping[str, Any]) -> Polling:
        """Return these settings with the given members replaced.

        Raises:
            OptionError: For unknown members and wrong types.

        """
        known = {"mode": str, "interval": float, "url": str, "form": dict, "originator": str}
        values = self.info()
        for name, value in given.items():
            if name not in known:
                raise OptionError(f"Invalid keyword argument {name}")
            kinds = (int, float) if name == "interval" else known[name]
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise OptionError(
                    f"Invalid type for polling {name} (should be {_words(known[name])})"
                )
            values[name] = value
        if values["mode"] not in ("", "simple", "persistent", "once"):
            raise OptionError(
                "Invalid value for polling mode (should be simple, persistent or once)"
            )
        interval = values["interval"]
        if not 0.1 <= interval <= MAX_SECONDS:
            raise OptionError("Invalid value for polling interval (should be at least 0.1 seconds)")
        if values["mode"] and not str(values["url"]).startswith(("http://", "https://")):
            raise OptionError("Invalid value for polling url (should be an http or https URL)")
        return Polling(**{**values, "interval": float(interval)})

    def info(self) -> dict[str, Any]:
        """Return the members as JSON values."""
        return {
            "mode": self.mode,
            "interval": self.interval,
            "url": self.url,
            "form": dict(self.form),
            "originator": self.originator,
        }


@dataclass(slots=True)
class ChannelOptions:
    """The options of create_channel replies and set_channel_options, except history and state."""

    reflective: bool = True
    history_size: int = 0
    history_duration: int = 0
    history_publish_only: bool = False
    moderated: bool = True
    moderated_subscribe: bool = False
    moderated_publish: bool = False
    moderated_unsubscribe: bool = False
    presenceful: bool = False
    anonymous: bool = False
    server_presenceful: bool = False
    server_user_presence: list[str] = field(default_factory=list)
    polling: Polling = field(default_factory=Polling)
    durable: bool = False

    @property
    def lasting(self) -> bool:
        """Whether the publications of a former channel belong to the history of a new one."""
        return bool(self.history_duration) or self.durable

    def asks(self, operation: str) -> bool:
        """Return whether a webhook decides about subscribe, unsubscribe or publish."""
        if self.durable and operation == "publish":
            return True  # which stores the publication
        return self.moderated or bool(getattr(self, f"moderated_{operation}"))


@dataclass(slots=True)
class UserOptions:
    """The user options of a connect reply (0.3.4)."""

    reflective: bool = True
    moderated_message: bool = True
    per_connection_subscriptions: bool = False
    global_unsubscriptions: bool = False
    auto_subscribe: list[str] = field(default_factory=list)


_WORDS = {bool: "bool", int: "int", float: "number", str: "string", list: "list", dict: "object"}
_CHANNEL_TYPES: dict[str, type] = {
    f.name: type(getattr(ChannelOptions(), f.name)) for f in fields(ChannelOptions)
} | {"polling": dict, "history": list, "state": dict}
_USER_TYPES: dict[str, type] = {
    f.name: type(getattr(UserOptions(), f.name)) for f in fields(UserOptions)
}
#: The names of all options that a connect reply may carry for the user.
USER_OPTIONS = frozenset(_USER_TYPES)


def _words(kind: type) -> str:
    return _WORDS[kind]


def _check(types: Mapping[str, type], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        kind = types.get(name)
        if kind is None:
            raise OptionError(f"Invalid keyword argument {name}")
        # As in the original, true is accepted as a whole number, but 1.0 is not.
        if not isinstance(value, kind):
            raise OptionError(f"Invalid type for {name} (should be {_words(kind)})")


def check_channel_options(given: Mapping[str, Any]) -> None:
    """Check all channel options before any is applied (D13).

    Raises:
        OptionError: For the first invalid option.

    """
    _check(_CHANNEL_TYPES, given)
    for name, most in (("history_size", MAX_HISTORY), ("history_duration", MAX_SECONDS)):
        value = int(given.get(name, 0))
        if value < 0:
            raise OptionError(f"Invalid value for {name} (should not be negative)")
        if value > most:
            raise OptionError(f"Invalid value for {name} (should be at most {most})")
    polling = given.get("polling", {})
    if given.get("durable") and isinstance(polling, dict) and polling.get("mode"):
        raise OptionError("Invalid value for polling (a durable channel cannot poll)")
    for name in given.get("server_user_presence", ()):
        if not isinstance(name, str):
            raise OptionError("Invalid type for server_user_presence (should be a list of names)")
    for entry in given.get("history", ()):
        if not (
            isinstance(entry, list)
            and len(entry) == 2
            and isinstance(entry[0], str)
            and isinstance(entry[1], dict)
        ):
            raise OptionError("Invalid value for history (should be a list of [type, object])")


def user_options(given: Mapping[str, Any]) -> UserOptions:
    """Return the options of a user; missing ones have their defaults.

    Raises:
        OptionError: For a value of the wrong type.

    """
    known = {name: value for name, value in given.items() if name in USER_OPTIONS}
    known.pop("auto_subscribe", None)  # carried out by the caller, in the same way for all replies
    _check(_USER_TYPES, known)
    return UserOptions(**known)
