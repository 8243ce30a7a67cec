"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar
from urllib.parse import urlsplit

from ..conf import settings
from ..wire.urls import is_unix, origin_of, without_password


class Level(str, Enum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the report.

    Attributes:
        level: How bad it is.
        text: What was found.
        advice: What to do, or "".

    """

    level: Level
    text: str
    advice: str = ""


def ok(text: str) -> Finding:
    """Return a finding that needs no attention."""
    return Finding(Level.OK, text)


def warning(text: str, advice: str) -> Finding:
    """Return a finding that may cause problems."""
    return Finding(Level.WARNING, text, advice)


def error(text: str, advice: str) -> Finding:
    """Return a finding that keeps something from working."""
    return Finding(Level.ERROR, text, advice)


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined.

    Attributes:
        public: What browsers connect to: a URL without a trailing slash, http or https.
        origin: The origin of the site's pages.
        proxied: Whether a proxy is in front of the process, as far as the settings tell.
        slow: Whether checks may take longer than a few seconds.
        timeout: Seconds to wait for an answer.

    """

    public: str
    origin: str
    proxied: bool
    slow: bool = False
    timeout: float = 5.0

    @classmethod
    def from_settings(cls, public: str = "", origin: str = "", *, slow: bool = False) -> Patient:
        """Return what the settings describe, unless the arguments say otherwise.

        Raises:
            HookboxMisconfigured: A setting is invalid.

        """
        proxied = bool(public or settings.public_url)
        site = settings.webhook_url
        local = "" if is_unix(site) else origin_of(site)
        public = public or settings.public_url or settings.rest_url
        # Findings are shown, and no request needs the password.
        public = without_password(public).rstrip("/")
        scheme, separator, rest = public.partition("://")
        public = f"{ {'ws': 'http', 'wss': 'https'}.get(scheme, scheme) }{separator}{rest}"
        if not origin:
            # A process below a path is at the origin of the site; one at its root is elsewhere.
            origin = origin_of(public) if urlsplit(public).path.strip("/") else local
        return cls(public, origin.rstrip("/"), proxied, slow)


class Check:
    """A check of `manage.py hookbox doctor`.

    Attributes:
        name: Its name for `--only`.
        title: What it looks at, marked for translation.
        needs: Names of checks that must not find an error before it is run.

    """

    name: ClassVar[str]
    title: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield what is found; at least one finding."""
        raise NotImplementedError
