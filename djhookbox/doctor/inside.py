"""Checks between Django and the process: REST calls in one direction, webhooks in the other."""

from __future__ import annotations

import time
from collections.abc import Iterator

from django.conf import settings as django_settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from .. import client
from ..conf import settings
from ..exceptions import HookboxError
from ..process import control, reachability
from ..wire.answers import WebhookFigures
from ..wire.urls import without_password
from .base import Check, Finding, Patient, error, ok, warning
from .wires import Answer, NoAnswer, WebSocket

#: The share of HOOKBOX_TIMEOUT that a call may take before it is worth a warning.
SLOW = 0.25


class Process(Check):
    """Asks the process for its state: whether it runs, its version, and its REST secret."""

    name, title = "process", gettext_noop("Process")

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield the state, and how long the answer took."""
        started = time.monotonic()
        status = control.status()
        seconds = time.monotonic() - started
        if status.state is control.State.VERSION_DIFFERS:
            yield warning(status.message, _("Restart the process after each upgrade."))
            return
        if status.state is not control.State.RUNNING:
            advice = _("Start it with “manage.py runhookbox”, or in the admin.")
            if status.state is control.State.SECRET_REFUSED:
                advice = _("Use the same settings for both, and restart the process.")
            elif status.state is control.State.NOT_HOOKBOX:
                advice = _("Correct HOOKBOX_REST_URL, or HOOKBOX_INTERFACE and HOOKBOX_PORT.")
            yield error(status.message, advice)
            return
        engine = status.engine or "?"
        yield ok(
            _("Running at %(address)s: version %(version)s, engine %(engine)s")
            % {"address": status.address, "version": status.version or "?", "engine": engine}
        )
        if seconds > SLOW * settings.timeout:
            yield warning(
                _("A call to the process took %(ms)d ms.") % {"ms": 1000 * seconds},
                _(
                    "publish() waits at most HOOKBOX_TIMEOUT seconds. Is the machine busy, or a "
                    "proxy in between?"
                ),
            )


class Webhook(Check):
    """Sends a webhook as the process would, and reads what the process says about its own."""

    name, title = "webhook", gettext_noop("Webhooks")

    def run(self, patient: Patient) -> Iterator[Finding]:
        """Yield why webhooks fail."""
        figures = _figures()
        url = settings.webhook_url
        if figures is not None and figures.url and not _is_set():
            url = figures.url.rstrip("/")  # `runserver` has told the process where it listens
        watch = reachability.WebhookWatch(
            url,
            lambda sentence: None,
            secret=settings.webhook_secrets[0],
            headers=settings.webhook_headers,
            timeout=settings.webhook_timeout,
        )
        if problem := watch.problem():
            yield error(
                problem,
                _(
                    "The process asks the site at this address about every decision, so nobody "
                    "can connect until it answers."
                ),
            )
            return
        url = without_password(url)
        yield ok(_("%(url)s answers webhooks.") % {"url": url})
        if figures is None:
            return
        yield from _as_the_process(patient)
        if figures.url and figures.url.rstrip("/") != url and "unix" not in url:
            yield warning(
                _("The process sends its webhooks to %(theirs)s, not to %(ours)s.")
                % {"theirs": figures.url, "ours": url},
                _("Restart the process with the settings of this site."),
            )
        if figures.failed and figures.total:
            yield warning(
                _("%(failed)d of %(total)d webhooks of this process have failed.")
                % {"failed": figures.failed, "total": figures.total},
                _("The log of the process says why each of them failed."),
            )


def _as_the_process(patient: Patient) -> Iterator[Finding]:
    """Connect to the process itself, without a proxy, so that it makes a webhook."""
    try:
        opened = WebSocket.open(f"{settings.rest_url}/ws", patient.origin, patient.timeout)
        if isinstance(opened, Answer):
            return  # the check of the WebSocket explains it
        try:
            seconds = patient.timeout + settings.webhook_timeout
            name, args = opened.connect(seconds)
        finally:
            opened.close()
    except (NoAnswer, ValueError) as problem:
        yield warning(
            _("The process did not answer a connection: %(problem)s") % {"problem": problem},
            _("Look for the reason in the log of the process."),
        )
        return
    if name == "ERROR" and args.get("code") == "unavailable":
        yield error(
            _("The process could not ask the site: %(reason)s") % {"reason": args.get("msg")},
            _(
                "This machine reaches the site, the process does not: compare addresses, secrets "
                "and firewalls where the process runs, and read its log."
            ),
        )
    else:
        yield ok(_("The process reaches the site."))


def _figures() -> WebhookFigures | None:
    """Return what the process says about its webhooks, or None."""
    try:
        return client.get_server_info().webhooks
    except HookboxError:
        return None  # the check of the process tells


def _is_set() -> bool:
    """Return whether the settings name the address of the webhooks."""
    names = ("HOOKBOX_WEBHOOK_URL", "HOOKBOX_CBHOST", "HOOKBOX_CBPORT")
    return any(getattr(django_settings, name, None) is not None for name in names)
