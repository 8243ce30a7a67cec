"""The two lists of the server page: which part of them is shown, in which order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from ...wire.listing import MAX_PAGES, PAGE
from ..pages import grouped

#: Longest search text; no name is longer.
SEARCH_LENGTH = 255

#: By list: its orders and their labels, the default first.
SORTS: Mapping[str, Mapping[str, str | Promise]] = {
    "channel": {
        "": gettext_lazy("most subscribers"),
        "rate": gettext_lazy("most messages per second"),
        "history": gettext_lazy("longest history"),
        "newest": gettext_lazy("newest"),
        "oldest": gettext_lazy("oldest"),
    },
    "user": {
        "": gettext_lazy("slow clients, then the newest"),
        "newest": gettext_lazy("newest"),
        "oldest": gettext_lazy("oldest"),
        "unsent": gettext_lazy("most waiting bytes"),
        "channels": gettext_lazy("most channels"),
    },
}


@dataclass(frozen=True, slots=True)
class Place:
    """What is shown of a list.

    Attributes:
        name: Its name, which begins the parameters of URLs.
        search: Text that is searched for.
        sort: The order.
        page: The part, from 1.

    """

    name: str
    search: str
    sort: str
    page: int

    def query(self, **changes: object) -> dict[str, object]:
        """Return the parameters for it, without defaults."""
        values = {"search": self.search, "sort": self.sort, "page": self.page, **changes}
        names = {"search": self.name, "sort": f"{self.name}_sort", "page": f"{self.name}_page"}
        return {
            names[key]: value
            for key, value in values.items()
            if value and (key, value) != ("page", 1)
        }


@dataclass(frozen=True, slots=True)
class Steps:
    """The links around a list.

    Attributes:
        sorts: Each order with its link; "" for the present one.
        previous: The link to the part before, or "".
        next: The link to the part after, or "".
        hidden: What the search of the list must keep.
        is_needed: Whether there is more than one part.

    """

    page: int
    pages: str
    total: str
    sorts: tuple[tuple[str, str], ...]
    previous: str
    next: str
    hidden: tuple[tuple[str, object], ...]
    is_needed: bool


@dataclass(frozen=True, slots=True)
class Places:
    """What is shown of both lists."""

    channel: Place
    user: Place

    @classmethod
    def of(cls, request: HttpRequest) -> Places:
        """Read the parameters of a URL; invalid ones count as missing."""
        return cls(_place(request, "channel"), _place(request, "user"))

    def arguments(self) -> dict[str, str]:
        """Return the arguments for `client.get_server_report`, besides the numbers of the parts."""
        return {
            "channel": self.channel.search,
            "user": self.user.search,
            "channel_sort": self.channel.sort,
            "user_sort": self.user.sort,
        }

    def steps(self, name: str, total: int) -> Steps:
        """Return the links around a list; each keeps the place of the other list."""
        place: Place = getattr(self, name)
        other = (self.user if name == "channel" else self.channel).query()
        pages = min(MAX_PAGES, max(1, -(-total // PAGE)))

        def url(**changes: object) -> str:
            query = urlencode({**other, **place.query(**changes)})
            return f"?{query}#hookbox-{'channels' if name == 'channel' else 'connections'}-title"

        return Steps(
            page=place.page,
            pages=grouped(pages),
            total=grouped(total),
            sorts=tuple(
                (str(label), "" if key == place.sort else url(sort=key, page=1))
                for key, label in SORTS[name].items()
            ),
            previous=url(page=min(place.page - 1, pages)) if place.page > 1 else "",
            next=url(page=place.page + 1) if place.page < pages else "",
            hidden=tuple({**other, **place.query(search="", page=1)}.items()),
            is_needed=(place.page, pages) != (1, 1),
        )


def _place(request: HttpRequest, name: str) -> Place:
    sort = request.GET.get(f"{name}_sort", "")
    page = request.GET.get(f"{name}_page", "")
    number = int(page) if page.isascii() and page.isdigit() and len(page) < 6 else 1
    return Place(
        name,
        request.GET.get(name, "")[:SEARCH_LENGTH].replace("\0", ""),
        sort if sort in SORTS[name] else "",
        max(1, min(number, MAX_PAGES)),
    )
