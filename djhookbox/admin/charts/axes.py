"""The axes of a chart: round figures, and round times in the site's time zone."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings
from django.utils import formats, timezone
from django.utils.translation import pgettext

from ...measurements.reading import History
from ..times import local


def ceiling(value: float) -> float:
    """Return the smallest round figure (1, 2 or 5 times a power of ten) that is not below."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    factor = next(each for each in (1, 2, 5, 10) if each * power >= value * (1 - 1e-9))
    return factor * power


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the axis of time: its place in per cent, and its text."""

    place: float
    text: str


def _clock(when: datetime.datetime) -> str:
    return f"{when:%H:%M}"


def _weekday(when: datetime.datetime) -> str:
    return formats.date_format(when, "D")


def _day(when: datetime.datetime) -> str:
    return formats.date_format(when, pgettext("date format of a chart", "j M"))


@dataclass(frozen=True, slots=True)
class _Marks:
    """Which times are marked: those of every `seconds` for which `fits` is true."""

    seconds: int
    fits: Callable[[datetime.datetime], bool]
    text: Callable[[datetime.datetime], str]


def _midnight(when: datetime.datetime) -> bool:
    return when.hour == 0 and when.minute < 15


#: Days of a month that are marked.
DAYS: tuple[int, ...] = (1, 6, 11, 16, 21, 26)

#: Quarters of an hour are marked where a time zone is not whole hours from UTC.
_QUARTER = 900
_MARKS = {
    3600: _Marks(60, lambda when: when.minute % 10 == 0, _clock),
    86_400: _Marks(_QUARTER, lambda when: when.hour % 4 == 0 and when.minute < 15, _clock),
    604_800: _Marks(_QUARTER, _midnight, _weekday),
    2_592_000: _Marks(_QUARTER, lambda when: _midnight(when) and when.day in DAYS, _day),
}

#: No marks closer to the ends than this, in per cent: their texts would be cut.
MARGIN = 5.0


def ticks(history: History) -> Iterator[Tick]:
    """Yield the marks on the axis of time."""
    seconds = history.period.seconds
    zone = timezone.get_current_timezone() if settings.USE_TZ else None
    for place, shown in _places(history.begin, seconds, zone):
        yield Tick(place, _MARKS[seconds].text(shown))


@lru_cache(maxsize=8)
def _places(
    begin: datetime.datetime, seconds: int, zone: datetime.tzinfo | None
) -> list[tuple[float, datetime.datetime]]:
    """Return which times are marked, and where: all charts of a page have the same."""
    marks = _MARKS[seconds]
    step = datetime.timedelta(seconds=marks.seconds)
    found = []
    when = begin + datetime.timedelta(seconds=-begin.timestamp() % marks.seconds)
    while (passed := (when - begin).total_seconds()) <= seconds:
        shown = when.astimezone(zone) if zone else local(when)
        place = 100 * passed / seconds
        if marks.fits(shown) and MARGIN <= place <= 100 - MARGIN:
            found.append((round(place, 2), shown))
        when += step
    return found
