"""The server page: whether the Hookbox process runs, and its switches."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .. import process
from ..models import Server
from ..process import ProcessError, ProcessStatus, State
from .pages import PageMixin, badge, span

#: Word and tone of each state.
STATES: dict[State, tuple[str | Promise, str]] = {
    State.RUNNING: (gettext_lazy("Running"), "good"),
    State.STARTING: (gettext_lazy("Starting"), "neutral"),
    State.STOPPED: (gettext_lazy("Stopped"), "bad"),
    State.UNREACHABLE: (gettext_lazy("Does not answer"), "bad"),
    State.SECRET_REFUSED: (gettext_lazy("Secret refused"), "warning"),
    State.VERSION_DIFFERS: (gettext_lazy("Another version"), "warning"),
    State.NOT_HOOKBOX: (gettext_lazy("Not a Hookbox process"), "bad"),
    State.MISCONFIGURED: (gettext_lazy("Misconfigured"), "bad"),
}

#: States in which the log may say why.
FAILED = (State.UNREACHABLE, State.STARTING, State.NOT_HOOKBOX, State.MISCONFIGURED)


class ServerAdmin(PageMixin):
    """One page in the place of a list, for there is one process and no table."""

    def get_urls(self) -> list[URLPattern]:
        """Offer the page and its switches, nothing else."""
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view
        return [
            path("", view(self.changelist_view), name=f"{prefix}_changelist"),
            path("start/", view(self.start_view), name=f"{prefix}_start"),
            path("stop/", view(self.stop_view), name=f"{prefix}_stop"),
            path("restart/", view(self.restart_view), name=f"{prefix}_restart"),
        ]

    # ---- permissions -------------------------------------------------------------------------

    def has_control_permission(self, request: HttpRequest) -> bool:
        """Whether the user may start and stop the process."""
        return request.user.has_perm("djhookbox.control_server")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let those who may control it see it."""
        return super().has_view_permission(request, obj) or self.has_control_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: there is no table."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: there is no table."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: there is no table."""
        return False

    # ---- pages -------------------------------------------------------------------------------

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show what is known of the process.

        Raises:
            PermissionDenied: The user may not see it.

        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = process.status()
        may_control = self.has_control_permission(request)
        word, tone = STATES[now.state]
        return self.page(
            request,
            "server.html",
            self.opts.verbose_name.capitalize() if self.opts.verbose_name else "",
            status=now,
            badge=badge(word, tone),
            next_step=_next_step(now, may_control),
            facts=_facts(now),
            counts=_counts(now),
            may_start=may_control and now.can_start,
            may_stop=may_control and now.can_stop,
            # The log may tell more than those who only look should know.
            log=process.log_tail() if may_control and now.state != State.RUNNING else "",
            log_open=now.state in FAILED,
            **(extra_context or {}),
        )

    def start_view(self, request: HttpRequest) -> HttpResponse:
        """Start the process."""
        self._require_control(request)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        return self._operate(request, process.start, "Started", _("Hookbox runs, pid %(pid)s."))

    def stop_view(self, request: HttpRequest) -> HttpResponse:
        """Ask whether to stop the process, and stop it."""
        return self._confirmed(
            request, process.stop, "Stopped", _("Hookbox is stopped."),
            title=_("Stop Hookbox?"), button=_("Stop Hookbox"),
            promise=_("Browsers wait, and come back by themselves when it runs again."),
        )  # fmt: skip

    def restart_view(self, request: HttpRequest) -> HttpResponse:
        """Ask whether to restart the process, and restart it."""
        return self._confirmed(
            request, process.restart, "Restarted", _("Hookbox runs again, pid %(pid)s."),
            title=_("Restart Hookbox?"), button=_("Restart Hookbox"),
            promise=_("Browsers come back by themselves."),
        )  # fmt: skip

    def _require_control(self, request: HttpRequest) -> None:
        if not self.has_control_permission(request):
            raise PermissionDenied

    def _confirmed(
        self,
        request: HttpRequest,
        operation: Callable[[], ProcessStatus],
        entry: str,
        success: str,
        *,
        title: str,
        button: str,
        promise: str,
    ) -> HttpResponse:
        self._require_control(request)
        if request.method == "POST":
            return self._operate(request, operation, entry, success)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        now = process.status()
        if not now.can_stop:
            self.message_user(request, now.message, messages.WARNING)
            return HttpResponseRedirect(self.address("changelist"))
        return self.page(
            request, "confirm.html", title, sentences=[_drops(now), promise, _forgets()],
            button=button, danger=True, cancel=self.address("changelist"),
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
        except ProcessError as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            # The history of the admin is kept in English, as Django keeps its own.
            self.log_change(request, Server(pk=1), f"{entry}.")
            self.message_user(request, success % {"pid": now.pid}, messages.SUCCESS)
        return HttpResponseRedirect(self.address("changelist"))


def _drops(now: ProcessStatus) -> str:
    if now.connections is None:
        return _("All connections are dropped.")
    if not now.connections:
        return _("Nobody is connected just now.")
    return ngettext(
        "%(count)d connection is dropped.", "%(count)d connections are dropped.", now.connections
    ) % {"count": now.connections}


def _forgets() -> str:
    return _("The history and the state of all channels are forgotten; the logs stay.")


def _next_step(now: ProcessStatus, may_control: bool) -> str:
    """Say what to do, to somebody who may or may not do it here."""
    if now.state == State.RUNNING:
        return ""
    if now.state in (State.STOPPED, State.UNREACHABLE) and not now.ours:
        if may_control and now.can_start:
            return _("Start it here, or run the command below.")
        return _("Run the command below on the server.")
    return {
        State.STARTING: _("Look again in a moment."),
        State.UNREACHABLE: _("Restart it; its log may say what keeps it."),
        State.SECRET_REFUSED: _(
            "Restart the process, so that it reads the settings that this site has."
        ),
        State.VERSION_DIFFERS: _("Restart the process after each update of the package."),
        State.NOT_HOOKBOX: _("Set HOOKBOX_PORT, or HOOKBOX_REST_URL, to where Hookbox listens."),
        State.MISCONFIGURED: _("Correct the setting and restart this site."),
    }.get(now.state, "")


def _facts(now: ProcessStatus) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [(_("Address"), now.address)]
    if now.pid is not None:
        facts.append((_("Pid"), str(now.pid)))
    if now.uptime is not None:
        facts.append((_("Up for"), span(datetime.timedelta(seconds=now.uptime))))
    if now.version:
        facts.append((_("Version"), now.version))
    if now.engine:
        facts.append((_("Engine"), now.engine))
    return facts


def _counts(now: ProcessStatus) -> list[tuple[str, int]]:
    counts = [
        (_("Connections"), now.connections),
        (_("Users"), now.users),
        (_("Channels"), now.channels),
        (_("Messages in"), now.messages_in),
        (_("Messages out"), now.messages_out),
    ]
    return [(name, count) for name, count in counts if count is not None]
