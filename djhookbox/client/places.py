"""In which order to call several URLs: those that failed a moment ago come last."""

from __future__ import annotations

import time
from collections.abc import Sequence

#: Seconds for which a URL that failed comes after the others.
SKIP_SECONDS = 5.0

#: When each URL that failed may be tried again, on the monotonic clock.
_again: dict[str, float] = {}


def failed(url: str) -> None:
    """Prefer other URLs for a moment."""
    if len(_again) > 100:  # settings that change with each test, for example
        _again.clear()
    _again[url] = time.monotonic() + SKIP_SECONDS


def in_order(urls: Sequence[str]) -> Sequence[str]:
    """Return the URLs in the order in which to try them.

    Those that have failed may be back by now: the one that failed first is tried first, once all
    others have failed too.
    """
    if len(urls) == 1:
        return urls
    now = time.monotonic()
    return sorted(urls, key=lambda url: max(_again.get(url, 0.0), now))
