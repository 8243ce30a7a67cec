"""The options of channels and users: their names, types, defaults and limits.

The names and types are those of Hookbox 0.3.3 and 0.3.4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import TypeAlias

from . import names
from .urls import is_absolute
from .values import JSON, JSONObject

#: Maximum number of history entries a channel may keep, whatever its options say.
MAX_HISTORY = 10_000
#: Maximum `history_duration`: ten years. Numbers beyond any float would break the arithmetic.
MAX_SECONDS = 315_360_000
#: The shortest and the longest polling interval, in seconds.
MIN_INTERVAL, MAX_INTERVAL = 0.1, 86_400
#: The polling modes; "" turns polling off.
POLLING_MODES = ("", "simple", "persistent", "once")

#: Channel options that only 0.3.4 and the bundled server know; 0.3.3 refuses a channel that has
#: them.
LATER = frozenset(
    {
        "durable",
        "history_duration",
        "history_publish_only",
        "server_presenceful",
        "server_user_presence",
    }
)

#: Channel options that are only initial values: they change while the channel lives, and an edited
#: policy does not affect them.
INITIAL_ONLY = frozenset({"history", "state"})


class Fault(Enum):
    """What is wrong with an option; the enum value is an English text, for types that of 0.3.3."""

    UNKNOWN = "Invalid keyword argument {name}"
    BOOLEAN = "Invalid type for {name} (should be bool)"
    WHOLE = "Invalid type for {name} (should be int)"
    NUMBER = "Invalid type for {name} (should be number)"
    STRING = "Invalid type for {name} (should be string)"
    LIST = "Invalid type for {name} (should be list)"
    OBJECT = "Invalid type for {name} (should be object)"
    NAMES = "Invalid type for {name} (should be a list of names)"
    HISTORY = "Invalid value for {name} (should be a list of [type, object])"
    NEGATIVE = "Invalid value for {name} (should not be negative)"
    LIMIT = "Invalid value for {name} (should be at most {limit})"
    MODE = "Invalid value for {name} (should be simple, persistent or once)"
    INTERVAL = "Invalid value for {name} (should be 0.1 to 86400 seconds)"
    DURABLE = "Invalid value for {name} (a durable channel cannot poll)"
    URL = "Invalid value for {name} (should be an http or https URL)"


class OptionError(ValueError):
    """An unknown option, or an invalid value for an option.

    Attributes:
        name: The name of the option.
        fault: What is wrong with it.
        member: The invalid member, if the option is an object with members.
        limit: The maximum, if it is too large.

    """

    def __init__(self, name: str, fault: Fault, *, member: str = "", limit: int = 0) -> None:
        super().__init__(name, fault, member, limit)
        self.name = name
        self.fault = fault
        self.member = member
        self.limit = limit

    def __str__(self) -> str:
        name = f"{self.name} {self.member}" if self.member else self.name
        if self.fault is Fault.UNKNOWN:
            name = self.member or self.name
        return self.fault.value.format(name=name, limit=self.limit)


_Check: TypeAlias = Callable[[object], "Fault | None"]


def _boolean(value: object) -> Fault | None:
    return None if isinstance(value, bool) else Fault.BOOLEAN


def _whole(value: object) -> Fault | None:
    # As in the original, true is accepted as a whole number, but 1.0 is not.
    return None if isinstance(value, int) else Fault.WHOLE


def _string(value: object) -> Fault | None:
    return None if isinstance(value, str) else Fault.STRING


def _object(value: object) -> Fault | None:
    return None if isinstance(value, dict) else Fault.OBJECT


def _names(value: object) -> Fault | None:
    if not isinstance(value, list):
        return Fault.LIST
    return Fault.NAMES if any(names.find_fault(name) for name in value) else None


def _history(value: object) -> Fault | None:
    if not isinstance(value, list):
        return Fault.LIST
    fits = all(
        isinstance(entry, list)
        and len(entry) == 2
        and isinstance(entry[0], str)
        and isinstance(entry[1], dict)
        for entry in value
    )
    return None if fits else Fault.HISTORY


def _interval(value: object) -> Fault | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Fault.NUMBER
    return None if MIN_INTERVAL <= value <= MAX_INTERVAL else Fault.INTERVAL


def _mode(value: object) -> Fault | None:
    if not isinstance(value, str):
        return Fault.STRING
    return None if value in POLLING_MODES else Fault.MODE


_POLLING: Mapping[str, _Check] = {
    "mode": _mode,
    "interval": _interval,
    "url": _string,
    "form": _object,
    "originator": _string,
}


@dataclass(frozen=True, slots=True)
class Polling:
    """The settings for polling a channel's messages (section 7 of the reference)."""

    mode: str = ""
    interval: float = 5.0
    url: str = ""
    form: JSONObject = field(default_factory=dict)
    originator: str = ""

    def changed(self, given: Mapping[str, JSON]) -> Polling:
        """Return these settings with the given members replaced.

        Raises:
            OptionError: For unknown members and invalid values.

        """
        for name, value in given.items():
            check = _POLLING.get(name)
            fault = check(value) if check is not None else Fault.UNKNOWN
            if fault is not None:
                raise OptionError("polling", fault, member=name)
        members = {**self.info(), **given}
        if (members["mode"] or members["url"]) and not is_absolute(members["url"]):
            raise OptionError("polling", Fault.URL, member="url")
        return Polling(**{**members, "interval": float(members["interval"])})

    def info(self) -> JSONObject:
        """Return the members as JSON values."""
        return {
            "mode": self.mode,
            "interval": self.interval,
            "url": self.url,
            "form": dict(self.form),
            "originator": self.originator,
        }


@dataclass(frozen=True, slots=True)
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

    def changed(self, given: Mapping[str, JSON]) -> ChannelOptions:
        """Return these options with the given ones replaced.

        Raises:
            OptionError: For unknown options and invalid values.

        """
        check_channel_options(given)
        return self.merged(given)

    def merged(self, given: Mapping[str, JSON]) -> ChannelOptions:
        """Do the same as `changed` with options that another server has checked."""
        values = {name: getattr(self, name) for name in _CHANNEL_NAMES}
        known = {name: value for name, value in given.items() if name in values}
        if not known:
            return self
        if "polling" in known:
            known["polling"] = self.polling.changed(known["polling"])
        return ChannelOptions(**{**values, **known})

    def asks(self, operation: str) -> bool:
        """Return whether a webhook decides about subscribe, unsubscribe or publish."""
        if self.durable and operation == "publish":
            return True  # which stores the publication
        return self.moderated or bool(getattr(self, f"moderated_{operation}"))


@dataclass(frozen=True, slots=True)
class UserOptions:
    """The user options of a connect reply (0.3.4)."""

    reflective: bool = True
    moderated_message: bool = True
    per_connection_subscriptions: bool = False
    global_unsubscriptions: bool = False
    auto_subscribe: list[str] = field(default_factory=list)


#: The options of a channel for which nothing else is given.
CHANNEL_DEFAULTS = ChannelOptions()

_CHANNEL_NAMES = tuple(each.name for each in fields(ChannelOptions))
_CHECKS: Mapping[type, _Check] = {bool: _boolean, int: _whole, list: _names, Polling: _object}
_CHANNEL: Mapping[str, _Check] = {
    **{name: _CHECKS[type(getattr(CHANNEL_DEFAULTS, name))] for name in _CHANNEL_NAMES},
    "history": _history,
    "state": _object,
}
_USER: Mapping[str, _Check] = {
    f.name: _CHECKS[type(getattr(UserOptions(), f.name))] for f in fields(UserOptions)
}
_LIMITS = {"history_size": MAX_HISTORY, "history_duration": MAX_SECONDS}

#: The names of all channel options.
CHANNEL = frozenset(_CHANNEL)


def _check(checks: Mapping[str, _Check], given: Mapping[str, JSON]) -> None:
    for name, value in given.items():
        check = checks.get(name)
        fault = check(value) if check is not None else Fault.UNKNOWN
        if fault is not None:
            raise OptionError(name, fault)


def check_channel_options(given: Mapping[str, JSON]) -> None:
    """Check channel options, except for the members of `polling`.

    Raises:
        OptionError: For the first invalid option.

    """
    _check(_CHANNEL, given)
    for name, limit in _LIMITS.items():
        value = given.get(name, 0)
        if value < 0:
            raise OptionError(name, Fault.NEGATIVE)
        if value > limit:
            raise OptionError(name, Fault.LIMIT, limit=limit)
    check_durable(given)


def check_durable(given: Mapping[str, JSON]) -> None:
    """Check that a durable channel does not poll.

    Raises:
        OptionError: If it does.

    """
    polling = given.get("polling", {})
    if given.get("durable") and isinstance(polling, dict) and polling.get("mode"):
        raise OptionError("polling", Fault.DURABLE)


def user_options(given: Mapping[str, JSON]) -> UserOptions:
    """Return the options of a user; missing ones have their defaults.

    An `auto_subscribe` is not kept: it has an effect in replies only.

    Raises:
        OptionError: For an unknown option, or an invalid value.

    """
    _check(_USER, given)
    return UserOptions(**{name: given[name] for name in given if name != "auto_subscribe"})


def asks(given: Mapping[str, object], operation: str) -> bool:
    """Return whether the server asks the site before an operation on a channel.

    Args:
        given: The channel's options at creation; omitted ones have their defaults.
        operation: `subscribe`, `unsubscribe` or `publish`.

    """
    if given.get("durable") and operation == "publish":
        return True
    return bool(given.get("moderated", True) or given.get(f"moderated_{operation}"))
