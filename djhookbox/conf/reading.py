"""Read single settings by name, type and range.

An invalid value raises `HookboxMisconfigured` with a sentence that names the setting.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, cast

from django.conf import settings as django_settings

from ..exceptions import HookboxMisconfigured
from ..wire.urls import UNIX_SCHEME, is_absolute, is_printable, is_unix, split_unix

T = TypeVar("T")

#: Maximum of settings that count something. No site comes near it, and all arithmetic bears it.
MAX_COUNT = 1_000_000_000
#: Maximum of settings in bytes: a tebibyte.
MAX_BYTES = 2**40
#: Seconds in a year, which no setting reaches.
YEAR = 86_400 * 365


class SettingsReader:
    """Reads Django's settings on access, without caching."""

    def _typed(self, name: str, default: T, kind: type | tuple[type, ...], words: str) -> T:
        value: object = getattr(django_settings, name, default)
        # bool is a subclass of int, but never meant as a port.
        wrong_bool = isinstance(value, bool) and kind is not bool
        if value is not default and (wrong_bool or not isinstance(value, kind)):
            raise HookboxMisconfigured(f"{name} must be {words}, not {value!r}.")
        return cast(T, value)

    def _str(self, name: str, default: str) -> str:
        return self._typed(name, default, str, "a string")

    def _optional(self, name: str) -> str | None:
        return self._typed(name, None, (str, type(None)), "a string or None")

    def _bool(self, name: str, default: bool) -> bool:
        return self._typed(name, default, bool, "True or False")

    def _int(
        self, name: str, default: int, least: int = 1, most: int = MAX_COUNT, note: str = ""
    ) -> int:
        value = self._typed(name, default, int, "a whole number")
        if not least <= value <= most:
            raise HookboxMisconfigured(
                f"{name} must be between {least} and {most}, not {shown(value)}{note}."
            )
        return value

    def _bytes(self, name: str, default: int, least: int = 4096) -> int:
        return self._int(name, default, least, MAX_BYTES)

    def _seconds(self, name: str, default: float) -> float:
        value = self._typed(name, default, (int, float), "a number of seconds")
        if not 0 < value < YEAR:
            raise HookboxMisconfigured(
                f"{name} must be a positive number of seconds and less than a year, "
                f"not {shown(value)}."
            )
        return float(value)

    def _seconds_or_never(self, name: str, default: float, never: str) -> float:
        kinds, words = (int, float, type(None)), f"a number of seconds, or {never}"
        return self._typed(name, default, kinds, words) or 0

    def _port(self, name: str, default: int) -> int:
        value: object = getattr(django_settings, name, default)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
            value = int(value)  # 2011's settings often had it as a string
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65_536:
            raise HookboxMisconfigured(
                f"{name} must be a port between 1 and 65535, not {shown(value)}."
            )
        return value

    def _host(self, name: str, default: str) -> str:
        value = self._str(name, default)
        if "/" in value or not is_printable(value):
            raise HookboxMisconfigured(
                f"{name} must be only a host name or an IP address, not {value!r}."
            )
        return value

    def _url(self, name: str, schemes: Sequence[str]) -> str | None:
        value = self._optional(name)
        return self._checked_url(name, value, schemes) if value else None

    @staticmethod
    def _checked_url(name: str, value: str, schemes: Sequence[str]) -> str:
        if not is_printable(value):  # urlsplit() would remove some of the characters
            raise HookboxMisconfigured(
                f"{name} must not contain spaces or control characters: {value!r}."
            )
        if "?" in value or "#" in value:
            raise HookboxMisconfigured(
                f"{name} must be a URL without a query or fragment, not {value!r}."
            )
        if UNIX_SCHEME in schemes and is_unix(value):
            try:
                split_unix(value)
            except ValueError as error:
                raise HookboxMisconfigured(f"{name} {error}, not {value!r}.") from None
            return value.rstrip("/")
        if not is_absolute(value, schemes):
            raise HookboxMisconfigured(
                f"{name} must be an absolute URL ({' or '.join(schemes)}), not {value!r}."
            )
        return value.rstrip("/")

    def _path(self, name: str) -> Path | None:
        value: object = getattr(django_settings, name, None)
        if value is None:
            return None
        if not isinstance(value, str | os.PathLike) or not Path(value).is_absolute():
            raise HookboxMisconfigured(f"{name} must be an absolute path, not {value!r}.")
        return Path(value)

    def _names(self, name: str, default: Sequence[str], words: str) -> tuple[str, ...]:
        value: object = getattr(django_settings, name, default)
        # A string is a sequence of strings, but never meant as one.
        if not isinstance(value, list | tuple | set | frozenset) or not all(
            isinstance(item, str) and item for item in value
        ):
            raise HookboxMisconfigured(f"{name} must be a list of {words}, not {value!r}.")
        return tuple(value)


def shown(value: object) -> str:
    """Return a setting's value for a message; Python refuses to write out very large numbers."""
    if isinstance(value, int | float) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    return repr(value)
