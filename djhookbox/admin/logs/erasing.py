"""Erase a person in the admin: a page that says what is found, and a button that erases it."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...audit import erasing, personal
from ...models import ConnectionLog
from ...users.accounts import find as account_named
from ...wire.names import find_fault
from ..pages import PageMixin, grouped, logger, route

#: Rows that are counted at most, for each part.
COUNTED = 10_000

#: Seconds that a request may take; the next one continues.
SECONDS = 10.0


def may_erase(request: HttpRequest) -> bool:
    """Return whether the user may erase people."""
    return request.user.has_perm("djhookbox.erase_person")


class ErasingMixin(PageMixin):
    """The page that erases a person; it belongs to the connection log."""

    def get_urls(self) -> list[URLPattern]:
        """Put our page before the default ones, which would read it as a primary key."""
        return [route(self, "erase/", self.erase_view, "erase"), *super().get_urls()]

    def erase_view(self, request: HttpRequest) -> HttpResponse:
        """Confirm, then erase the person `?user=…`.

        Raises:
            PermissionDenied: The user may not erase people.

        """
        if not may_erase(request):
            raise PermissionDenied
        name = (request.POST if request.method == "POST" else request.GET).get("user", "")
        if not name or find_fault(name) is not None:
            title = _("Erase a person")
            invalid = bool(name)
            return self.page(request, "erase.html", title, invalid=invalid)
        if request.method == "POST":
            return self._erase(request, name)
        try:
            counts = erasing.count(name, quick=True, most=COUNTED)
        except DatabaseError as error:
            text = _("The database could not be read: %(problem)s") % {"problem": error}
            self.message_user(request, text, "ERROR")
            return HttpResponseRedirect(self.address("erase"))
        return self.page(
            request,
            "confirm.html",
            _("Erase %(name)s?") % {"name": name},
            sentences=list(self._sentences(name)),
            items=[
                f"{capfirst(str(personal.PARTS[key].label))}: {_number(count)}"
                for key, count in counts.items()
            ],
            hidden=[("user", name), ("pseudonym", self._pseudonym(request.GET))],
            button=_("Erase %(name)s") % {"name": name},
            danger=True,
            cancel=self._after(request, name),
        )

    def _sentences(self, name: str) -> list[str]:
        sentences = [
            _(
                "The name is replaced by a random one in all logs. Addresses, "
                "browsers and messages are deleted, and so are waiting publications of "
                "this user. Notes, channels that name the user, and durable channels are searched "
                "as well. This cannot be undone."
            ),
            _("Bans of this user are deleted, and are therefore lifted."),
        ]
        if account_named(name) is not None:
            sentences.append(
                _(
                    "There is an account of this name, and its future actions will be recorded "
                    "again. Delete or rename it first."
                )
            )
        return sentences

    def _pseudonym(self, given: Any) -> str:
        """Return the pseudonym of an attempt that was not complete, or ""."""
        text: str = given.get("pseudonym", "")
        return text if erasing.PSEUDONYM.fullmatch(text) else ""

    def _erase(self, request: HttpRequest, name: str) -> HttpResponse:
        try:
            erased = erasing.erase(name, pseudonym=self._pseudonym(request.POST), seconds=SECONDS)
        except DatabaseError as error:
            text = _("Not everything was erased. The database rejected the change: %(problem)s")
            self.message_user(request, text % {"problem": error}, "ERROR")
            return HttpResponseRedirect(self.address("erase", user=name))
        try:
            erasing.enter(request.user.pk, erased)
        except DatabaseError:
            logger.exception("Could not write to the admin's history that a person was erased.")
        count = sum(erased.counts.values())
        if not erased.complete:
            text = _(
                "%(count)s rows were changed so far. Continue here, or run “manage.py hookbox "
                "erase”, which takes the time that it needs."
            )
            self.message_user(request, text % {"count": grouped(count)}, "WARNING")
            url = self.address("erase", user=name, pseudonym=erased.pseudonym)
            return HttpResponseRedirect(url)
        text = ngettext(
            "%(count)s row was changed. The person is called %(pseudonym)s now.",
            "%(count)s rows were changed. The person is called %(pseudonym)s now.",
            count,
        )
        words = {"count": grouped(count), "pseudonym": erased.pseudonym}
        self.message_user(request, text % words, "SUCCESS")
        return HttpResponseRedirect(self._after(request, erased.pseudonym))

    def _after(self, request: HttpRequest, name: str) -> str:
        """Return where everything about somebody is shown, if the user may see it."""
        sees = self.has_view_permission(request)
        return self.address("trail", user=name) if sees else self.address("erase")


def erase_url(page: PageMixin, request: HttpRequest, name: str) -> str:
    """Return where a person can be erased, or "" if the user may not or there is no page."""
    there = page.admin_site._registry.get(ConnectionLog)
    if not name or not isinstance(there, ErasingMixin) or not may_erase(request):
        return ""
    return there.address("erase", user=name)


def _number(count: int) -> str:
    return f"{grouped(count)}+" if count >= COUNTED else grouped(count)
