"""The problems that a process reports, in words, each with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.template.defaultfilters import filesizeformat
from django.utils import formats
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..times import today
from .report import moment_of, whole

if TYPE_CHECKING:
    from ...wire.answers import Problem, ServerInfo

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Kind:
    """How a problem is shown.

    Attributes:
        text: A sentence with `%(value)s` and `%(limit)s`.
        remedy: What to do.
        write: Writes its figures.
        log: The audit log whose rows show it, and its filter.
        page: The page of the process that shows it, and its parameters.

    """

    text: Text
    remedy: Text
    write: Callable[[float], str] = whole
    log: tuple[str, Mapping[str, str]] | None = None
    page: tuple[str, Mapping[str, str]] | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A problem as the page shows it."""

    text: str
    remedy: str
    since: str
    #: The model of the audit log to look at, or "", and the filter.
    log: str = ""
    query: tuple[tuple[str, str], ...] = ()
    #: The page of the process to look at, or "".
    page: str = ""
    #: The text of the link to either.
    link: str = ""


def _seconds(value: float) -> str:
    return _("%(seconds)s s") % {"seconds": formats.number_format(round(value, 1))}


def _bytes(value: float) -> str:
    return filesizeformat(value)


#: What there is to see on a page of the process.
LINKS: Mapping[str, Text] = {
    "changelist": gettext_lazy("Show connections"),
    "charts": gettext_lazy("Show charts"),
}

KINDS: Mapping[str, Kind] = {
    "engine_down": Kind(
        gettext_lazy("Redis has not answered for %(value)s."),
        gettext_lazy("Connections stay open, but nobody can subscribe or publish until it does."),
        _seconds,
    ),
    "site_failing": Kind(
        gettext_lazy("All webhooks to this site have failed for %(value)s."),
        gettext_lazy("The log of the process says why; until then nobody can connect."),
        _seconds,
    ),
    "webhooks_failed": Kind(
        gettext_lazy("%(value)s of %(limit)s webhooks failed in the last ten minutes."),
        gettext_lazy("The logs of the process and of this site say why."),
        page=("charts", {}),
    ),
    "webhooks_slow": Kind(
        gettext_lazy("5%% of the webhooks take longer than %(value)s."),
        gettext_lazy("Look for slow handlers and queries, or run more workers of the site."),
        _seconds,
        page=("charts", {}),
    ),
    "events_waiting": Kind(
        gettext_lazy("%(value)s events wait to be recorded; %(limit)s are kept at most."),
        gettext_lazy("The site does not accept them. If more arrive, the oldest are lost."),
    ),
    "events_lost": Kind(
        gettext_lazy("%(value)s events were lost in the last ten minutes."),
        gettext_lazy("Entries are missing in the audit log."),
    ),
    "outbox_late": Kind(
        gettext_lazy("Publications to durable channels have waited for %(value)s."),
        gettext_lazy("The process cannot fetch them from this site; its log says why."),
        _seconds,
    ),
    "connections": Kind(
        gettext_lazy("%(value)s of %(limit)s connections are in use."),
        gettext_lazy("Raise HOOKBOX_MAX_CONNECTIONS."),
    ),
    "files": Kind(
        gettext_lazy("%(value)s of %(limit)s file descriptors are in use."),
        gettext_lazy("Raise the limit of the process (systemd: LimitNOFILE)."),
    ),
    "memory": Kind(
        gettext_lazy("The process uses %(value)s of %(limit)s of memory."),
        gettext_lazy("It is killed when the limit is reached: raise the limit, or lower "
        "HOOKBOX_MAX_HISTORY and the other memory limits."),
        _bytes,
    ),
    "unsent": Kind(
        gettext_lazy("%(value)s of %(limit)s wait for clients that do not read."),
        gettext_lazy("The slowest clients are disconnected when the limit is reached."),
        _bytes,
        page=("changelist", {"user_sort": "unsent"}),
    ),
    "too_slow": Kind(
        gettext_lazy("%(value)s clients were disconnected in the last ten minutes because they "
        "did not read."),
        gettext_lazy("Publish less often to their channels, or publish smaller messages."),
        log=("connectionlog", {"event__exact": "disconnect"}),
    ),
    "gaps": Kind(
        gettext_lazy("%(value)s clients missed publications in the last ten minutes."),
        gettext_lazy("They were away for longer than publications are kept "
        "(HOOKBOX_RECOVERY_SECONDS)."),
    ),
    "loop_late": Kind(
        gettext_lazy("The process is busy: its event loop is %(value)s late."),
        gettext_lazy("The machine may be overloaded."),
        _seconds,
    ),
}  # fmt: skip


def problems_of(info: ServerInfo) -> tuple[Shown, ...]:
    """Return the problems that a process reports; of a newer version, only known ones."""
    return tuple(_shown(one, KINDS[one.name]) for one in info.problems if one.name in KINDS)


def _shown(problem: Problem, kind: Kind) -> Shown:
    limit = "" if problem.limit is None else kind.write(problem.limit)
    words = {"value": kind.write(problem.value), "limit": limit}
    log, query = kind.log or ("", {})
    page = ""
    if kind.page is not None:
        page, query = kind.page
    return Shown(
        str(kind.text) % words, str(kind.remedy), _since(problem.since), log,
        tuple(query.items()), page, str(LINKS.get(page) or _("Show entries")),
    )  # fmt: skip


def _since(seconds: float | None) -> str:
    moment = moment_of(seconds)
    if moment is None:
        return ""
    clock = formats.time_format(moment, "TIME_FORMAT")
    if moment.date() == today():
        return _("since %(time)s") % {"time": clock}
    day = formats.date_format(moment, "SHORT_DATE_FORMAT")
    return _("since %(time)s") % {"time": f"{day} {clock}"}
