"""Which of several URLs to call: those that failed a moment ago are skipped."""

from __future__ import annotations

import time
from collections.abc import Sequence

#: Seconds for which a URL that failed is skipped.
SKIP_SECONDS = 5.0

#: When each URL that failed may be tried again, on the monotonic clock.
_again: dict[str, float] = {}


def failed(url: str) -> None:
    """Skip a URL for a moment."""
    if len(_again) > 100:  # settings that change with each test, for example
        _again.clear()
    _again[url] = time.monotonic() + SKIP_SECONDS


def usable(urls: Sequence[str]) -> Sequence[str]:
    """Return the URLs to try, at least one: all of them if all have failed."""
    if len(urls) == 1:
        return urls
    now = time.monotonic()
    return [url for url in urls if _again.get(url, 0.0) <= now] or urls
