"""The server page: the state of the Hookbox process, and buttons to control it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.apps import apps
from django.contrib import messages
from django.core.checks import CheckMessage, registry
from django.db import DatabaseError
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.urls import NoReverseMatch, URLPattern, path
from django.utils import formats, timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ... import client
from ...outbox.waiting import Waiting, look
from ...policy.reserved import REPORT_CHANNEL, REPORT_PERMISSION
from ...process import control
from ...process.control import ProcessError, ProcessStatus, State
from ..charts.page import ChartPages
from ..pages import badge, grouped, module_script
from .channels import ChannelPages
from .lists import Places
from .outbox import OutboxPages
from .problems import Shown, problems_of
from .removals import Removals
from .report import facts, nodes, read_report, transports
from .users import UserPages

#: Word and tone of each state.
STATES: dict[State, tuple[str | Promise, str]] = {
    State.RUNNING: (gettext_lazy("Running"), "good"),
    State.STARTING: (gettext_lazy("Starting"), "neutral"),
    State.STOPPED: (gettext_lazy("Stopped"), "bad"),
    State.UNREACHABLE: (gettext_lazy("Not responding"), "bad"),
    State.SECRET_REFUSED: (gettext_lazy("Secret rejected"), "warning"),
    State.VERSION_DIFFERS: (gettext_lazy("Version mismatch"), "warning"),
    State.NOT_HOOKBOX: (gettext_lazy("Not a Hookbox process"), "bad"),
    State.MISCONFIGURED: (gettext_lazy("Misconfigured"), "bad"),
}

#: States in which the log file may explain why.
FAILED = (State.UNREACHABLE, State.STARTING, State.NOT_HOOKBOX, State.MISCONFIGURED)


class ServerAdmin(ChannelPages, UserPages, Removals, OutboxPages, ChartPages):
    """A page in place of a list, since there is one process and no table."""

    def get_urls(self) -> list[URLPattern]:
        """Return the routes of the page and its subpages only."""
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view
        pages = {
            "changelist": ("", self.changelist_view),
            "live": ("live/", self.live_view),
            "start": ("start/", self.start_view),
            "stop": ("stop/", self.stop_view),
            "restart": ("restart/", self.restart_view),
            "channel": ("channel/", self.channel_view),
            "state": ("channel/state/", self.state_view),
            "tail": ("channel/tail/", self.tail_view),
            "user": ("user/", self.user_view),
            "subscribe": ("subscribe/", self.subscribe_view),
            "disconnect": ("disconnect/", self.disconnect_view),
            "unsubscribe": ("unsubscribe/", self.unsubscribe_view),
            "charts": ("charts/", self.charts_view),
            "outbox": ("outbox/", self.outbox_view),
            "try_again": ("outbox/try-again/", self.try_again_view),
            "discard": ("outbox/discard/", self.discard_view),
        }
        return [
            path(route, view(page), name=f"{prefix}_{name}")
            for name, (route, page) in pages.items()
        ]

    # ---- the page ----------------------------------------------------------------------------

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the state of the process.

        Raises:
            PermissionDenied: The user may not see it.

        """
        self.require(self.has_view_permission(request))
        now, context = self._live_context(request)
        return self.page(
            request,
            "server.html",
            self.opts.verbose_name.capitalize() if self.opts.verbose_name else "",
            **context,
            findings=_findings(),
            media=self.media
            + module_script("admin/server.min", "admin/completion", "admin/progress"),
            completions_url=context["publish_url"] and self.address("channels", model="publishing"),
            live=self._live_settings(request),
            # The log file may reveal more than view-only users should see.
            log=self._log(request, now),
            log_open=now.state in FAILED,
            **(extra_context or {}),
        )

    def live_view(self, request: HttpRequest) -> HttpResponse:
        """Return the parts of the page that change, for its script.

        Raises:
            PermissionDenied: The user may not see them.

        """
        self.require(self.has_view_permission(request))
        now, context = self._live_context(request)
        # Not the whole status: the uptime always differs.
        shown = [value for name, value in sorted(context.items()) if name != "status"]
        return self.live_part(
            request, "server_live.html", context, now.state, now.message, now.control, shown
        )

    def _live_context(self, request: HttpRequest) -> tuple[ProcessStatus, dict[str, object]]:
        """Return the state of the process, and what `server_live.html` needs."""
        places = Places.of(request)
        ask = partial(
            client.get_server_report,
            **places.arguments(),
            channel_page=places.channel.page,
            user_page=places.user.page,
        )
        now = control.status(ask)
        report = read_report(now)
        may_control = self.has_control_permission(request)
        word, tone = STATES[now.state]
        waiting = _waiting()
        message, problems = now.message, problems_of(now.info)
        late = waiting is not None and waiting.is_late
        failed = 0 if waiting is None else waiting.failed
        revocations_late = waiting is not None and waiting.are_revocations_late
        count = len(problems) + late + revocations_late + bool(failed)
        if count and now.state == State.RUNNING:
            tone = "warning"
            attention = ngettext(
                "%(count)d problem needs attention.", "%(count)d problems need attention.", count
            ) % {"count": count}  # fmt: skip
            calm = message == _("Everything is fine.")
            message = attention if calm else f"{message} {attention}"
        return now, {
            "badge": badge(word, tone),
            "charts": self.overview_charts(),
            "charts_url": self.address("charts"),
            "message": message,
            "problems": [(one, self._log_address(request, one)) for one in problems],
            "facts": [*facts(now), *_outbox(waiting)],
            "nodes": nodes(now),
            "failed": failed,
            "outbox_url": self.address("outbox") if failed else "",
            "may_mend": self.has_try_again_permission(request)
            or self.has_discard_permission(request),
            "late": late,
            "revocations_late": revocations_late,
            "may_disconnect": self.has_disconnect_permission(request),
            "may_start": may_control and now.can_start,
            "may_stop": may_control and now.can_stop,
            "next_step": _next_step(now, may_control),
            "publish_url": self.publish_address(request),
            "report": report,
            "search": {"channel": places.channel.search, "user": places.user.search},
            "channel_steps": places.steps(
                "channel", report.channels.total if report.channels else 0
            ),
            "user_steps": places.steps(
                "user", report.connections.total if report.connections else 0
            ),
            "status": now,
        }

    def _log_address(self, request: HttpRequest, problem: Shown) -> str:
        """Return the URL of the rows that show a problem, if the user may see them."""
        if problem.page:
            return self.address(problem.page, **dict(problem.query))
        if not problem.log or not request.user.has_perm(f"djhookbox.view_{problem.log}"):
            return ""
        try:
            return self.address("changelist", model=problem.log, **dict(problem.query))
        except NoReverseMatch:
            return ""  # this admin site does not have that log

    def _live_settings(self, request: HttpRequest) -> dict[str, object]:
        """Return the settings of the page's script."""
        # Other users see the page by another permission and would be refused.
        reads = request.user.has_perm(REPORT_PERMISSION) and getattr(
            request.user, "is_staff", False
        )
        return {
            "channel": REPORT_CHANNEL if reads else "",
            "address": self.address("live"),
            "timeZone": str(timezone.get_current_timezone()),
            "decimal": formats.get_format("DECIMAL_SEPARATOR"),
            "group": _group_separator(),
            "transports": transports(),
            "texts": {
                "live": _("Live."),
                "polling": _("This page updates every few seconds."),
                "failing": _("The site is not responding. Retrying."),
                "ended": _(
                    "You are no longer signed in, or you may not see this page. Reload the page."
                ),
                "paused": _("Paused."),
                "pause": _("Pause"),
                "resume": _("Resume"),
                "updated": _("Updated %(clock)s.") % {"clock": "{clock}"},
                "ms": _("%(time)s ms") % {"time": "{time}"},
            },
        }

    def _log(self, request: HttpRequest, now: ProcessStatus) -> str:
        if not self.has_control_permission(request) or now.state == State.RUNNING:
            return ""
        return control.log_tail()

    # ---- switches ----------------------------------------------------------------------------

    def start_view(self, request: HttpRequest) -> HttpResponse:
        """Start the process."""
        self.require(self.has_control_permission(request))
        if request.method == "GET":  # after a login, if the session had ended
            return HttpResponseRedirect(self.address("changelist"))
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        return self._operate(
            request, control.start, "Started", _("Hookbox is running (PID %(pid)s).")
        )

    def stop_view(self, request: HttpRequest) -> HttpResponse:
        """Confirm, then stop the process."""
        return self._confirmed(
            request, control.stop, "Stopped", _("Hookbox has been stopped."),
            title=_("Stop Hookbox?"), button=_("Stop Hookbox"), progress=_("Stopping…"),
            promise=_("Browsers wait and reconnect when Hookbox is running again."),
        )  # fmt: skip

    def restart_view(self, request: HttpRequest) -> HttpResponse:
        """Confirm, then restart the process."""
        return self._confirmed(
            request, control.restart, "Restarted", _("Hookbox has been restarted (PID %(pid)s)."),
            title=_("Restart Hookbox?"), button=_("Restart Hookbox"),
            progress=_("Stopping and starting… This may take half a minute."),
            promise=_("Browsers reconnect automatically."),
        )  # fmt: skip

    def _confirmed(
        self,
        request: HttpRequest,
        operation: Callable[[int | None], ProcessStatus],
        entry: str,
        success: str,
        *,
        title: str,
        button: str,
        progress: str,
        promise: str,
    ) -> HttpResponse:
        self.require(self.has_control_permission(request))
        if request.method == "POST":
            given = request.POST.get("pid", "")
            # At most the process that the question was about: a form may be sent twice.
            pid = int(given) if given.isascii() and given.isdigit() else None
            return self._operate(request, lambda: operation(pid), entry, success)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        now = control.status()
        if not now.can_stop:
            return self.leave(request, now.message, messages.WARNING)
        return self.page(
            request, "confirm.html", title, sentences=[_drops(now), promise, _forgets()],
            button=button, danger=True, cancel=self.address("changelist"), progress=progress,
            hidden=[("pid", now.pid)], media=self.media + module_script("admin/progress"),
        )  # fmt: skip

    def _operate(
        self,
        request: HttpRequest,
        operation: Callable[[], ProcessStatus],
        entry: str,
        success: str,
    ) -> HttpResponse:
        try:
            now = operation()
        except control.OtherProcess as error:
            return self.leave(request, str(error), messages.WARNING)
        except ProcessError as error:
            return self.leave(request, str(error), messages.ERROR)
        self.enter(request, f"{entry}.")
        if now.state not in (State.RUNNING, State.STOPPED):
            # It has been started, but it or this site is not as it should be.
            return self.leave(request, now.message, messages.WARNING)
        return self.leave(request, success % {"pid": now.pid}, messages.SUCCESS)


def _waiting() -> Waiting | None:
    try:
        return look()
    except DatabaseError:  # the page is for days like this
        return None


def _outbox(waiting: Waiting | None) -> Iterator[tuple[str, str]]:
    """Yield what waits in the outbox and what has failed, if anything has."""
    if waiting is None:
        return
    text = _("%(count)d (the oldest for %(seconds)d s)")
    if waiting.count:
        words = {"count": waiting.count, "seconds": waiting.seconds}
        yield _("Waiting in the outbox"), text % words
    if waiting.failed:
        yield _("Failed in the outbox"), grouped(waiting.failed)
    if waiting.revocations:
        words = {"count": waiting.revocations, "seconds": waiting.revocation_seconds}
        yield _("Waiting revocations"), text % words


def _drops(now: ProcessStatus) -> str:
    if now.connections is None:
        return _("All connections are dropped.")
    if not now.connections:
        return _("Nobody is currently connected.")
    return ngettext(
        "%(count)d connection is dropped.", "%(count)d connections are dropped.", now.connections
    ) % {"count": now.connections}


def _forgets() -> str:
    return _("The history and state of all channels are lost; the audit log is kept.")


def _next_step(now: ProcessStatus, may_control: bool) -> str:
    """Return what to do next, depending on whether the user may do it here."""
    if now.state == State.RUNNING:
        return ""
    if now.state in (State.STOPPED, State.UNREACHABLE) and not now.identified:
        if may_control and now.can_start:
            return _("Start it here, or run this command:")
        if not now.control:
            return _("Start it where it is managed (systemd, a container) with this command:")
        return _("Run this command on the server:")
    return {
        State.STARTING: _("Check again in a moment."),
        State.UNREACHABLE: _("Restart it. Its log file may explain the problem."),
        State.SECRET_REFUSED: _("Restart the process so that it reads this site's settings."),
        State.VERSION_DIFFERS: _("Restart the process after each update of the package."),
        State.NOT_HOOKBOX: _(
            "Set HOOKBOX_PORT or HOOKBOX_REST_URL to the address on which Hookbox listens."
        ),
        State.MISCONFIGURED: _("Correct the setting and restart this site."),
    }.get(now.state, "")


def _findings() -> list[CheckMessage]:
    """Return the messages of this package's system checks, worst first."""
    config = apps.get_app_config("djhookbox")
    found = registry.run_checks(app_configs=[config], tags=["djhookbox"])
    return sorted(
        (finding for finding in found if not finding.is_silenced()),
        key=lambda finding: -finding.level,
    )


def _group_separator() -> str:
    """Return the thousands separator, or "" if the language uses none."""
    return grouped(1000)[1:-3]
