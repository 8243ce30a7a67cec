"""Values in the form that clients receive: equality as in a browser, and timestamps."""

from __future__ import annotations

import datetime
import functools
import math
from collections.abc import Mapping

from ...wire.values import JSON


def timestamp(now: float) -> str:
    """Return seconds since the epoch as ISO 8601 in UTC, with milliseconds."""
    # Rounded to microseconds and then truncated, as `datetime` does it.
    fraction, seconds = math.modf(now)
    micros = round(fraction * 1_000_000)
    if micros == 1_000_000:
        seconds, micros = seconds + 1, 0
    return f"{_to_the_second(seconds)}.{micros // 1000:03d}Z"


@functools.lru_cache(maxsize=16)
def _to_the_second(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def changed(state: Mapping[str, JSON], updates: Mapping[str, JSON]) -> dict[str, object]:
    """Return the updates that would change a state."""
    return {
        key: value
        for key, value in updates.items()
        if key not in state or not same(state[key], value)
    }


def same(one: object, other: object) -> bool:
    """Return whether two JSON values are equal; unlike in Python, 1 and true differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)
