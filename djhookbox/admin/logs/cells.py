"""The cells of a log's list: texts, links and times that many rows share are made once.

A page of 50 rows has some 400 cells; reversing, translating and formatting each of them again took
most of the time of the page.
"""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from django.utils import formats
from django.utils.html import escape
from django.utils.safestring import SafeString

from ..pages import badge, encodable
from ..times import local
from .entry import Entry

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    from ..pages import PageMixin


#: Longer texts may be divided, at these places rather than within words.
UNDIVIDED = 16
_PLACES = re.compile(r"(?<=.)(?=[/@].)|(?<=:)(?=.)")


def divisible(text: str) -> SafeString:
    """Escape a name or an address, and mark where it may be divided in a narrow column."""
    shown = escape(text)
    return shown if len(text) <= UNDIVIDED else SafeString(_PLACES.sub("<wbr>", shown))


class Cells:
    """What the rows of one response share, and what its reader may see besides the log.

    Args:
        policies: Whether the reader may see policies.
        bans: Whether the reader may see bans.
        payloads: Whether the reader may see payloads.

    """

    def __init__(
        self, *, policies: bool = False, bans: bool = False, payloads: bool = False
    ) -> None:
        self.policies = policies
        self.bans = bans
        self.payloads = payloads
        #: Whether the reader may publish messages again.
        self.again = False
        self._addresses: dict[tuple[int, str, str], str] = {}
        self._badges: dict[tuple[str, str, str], SafeString] = {}
        self._days: dict[datetime.date, str] = {}
        self._texts: dict[int, str] = {}
        self._labels: dict[object, str] = {}

    def address(self, page: PageMixin, name: str, /, *, model: str = "", **query: str) -> str:
        """Return the URL of a page like `PageMixin.address`, which takes no other arguments.

        Raises:
            NoReverseMatch: This admin site has no such page.

        """
        key = (id(page), name, model)
        url = self._addresses.get(key)
        if url is None:
            url = self._addresses[key] = page.address(name, model=model)
        parts = [f"{key}={quote_plus(encodable(value))}" for key, value in query.items()]
        return f"{url}?{'&'.join(parts)}" if parts else url

    def row_address(self, page: PageMixin, key: int, name: str = "change") -> str:
        """Return the URL of a row."""
        known = (id(page), name, "")
        url = self._addresses.get(known)
        if url is None:
            url = self._addresses[known] = page.address(name, 0)
        beginning, _slash, end = url.rpartition("/0/")
        return f"{beginning}/{key}/{end}"

    def text(self, message: StrOrPromise) -> str:
        """Return the translation of a constant of a module."""
        known = self._texts.get(id(message))
        if known is None:
            known = self._texts[id(message)] = str(message)
        return known

    def label(self, entry: Entry, field: str) -> str:
        """Return the label of a row's choice."""
        key = (type(entry), field, getattr(entry, field))
        known = self._labels.get(key)
        if known is None:
            known = self._labels[key] = str(getattr(entry, f"get_{field}_display")())
        return known

    def badge(self, entry: Entry, field: str, tone: str) -> SafeString:
        """Render a row's choice as a badge."""
        word = self.label(entry, field)
        key = (field, word, tone)
        known = self._badges.get(key)
        if known is None:
            known = self._badges[key] = badge(word, tone)
        return known

    def moment(self, value: datetime.datetime) -> SafeString:
        """Render a time to the millisecond, in the site's time zone."""
        shown = local(value)
        day = self._days.get(shown.date())
        if day is None:
            day = escape(formats.date_format(shown, "SHORT_DATE_FORMAT"))
            self._days[shown.date()] = day
        clock = shown.isoformat(timespec="milliseconds")[11:23]
        # Some languages put direction marks between the parts of a date.
        return SafeString(
            f'<time class="hookbox-time" dir="ltr" datetime="{shown.isoformat()}">'
            f"<bdi>{day}</bdi> {clock}</time>"
        )

    def link_to(self, url: str, text: SafeString) -> SafeString:
        """Render a link around HTML."""
        return SafeString(f'<a href="{escape(url)}"><bdi>{text}</bdi></a>')

    def link(self, url: str, text: str, title: str = "") -> SafeString:
        """Render a link whose text keeps its own direction."""
        hint = f' title="{escape(title)}"' if title else ""
        return SafeString(f'<a href="{escape(url)}"{hint}><bdi>{divisible(text)}</bdi></a>')
