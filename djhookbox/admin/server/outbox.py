"""Publications to durable channels that have failed: try them again, or discard them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from django.contrib import messages
from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...models import Publication
from ...outbox import failed, heads
from ...outbox.models import Outbox
from .base import ServerBase

#: Rows that the page lists.
LISTED = 100

#: Rows that one query handles: databases limit the parameters of a query.
BATCH = 500


class OutboxPages(ServerBase):
    """The list of failed publications, and what can be done about them."""

    def has_try_again_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may publish failed messages again."""
        return self.has_view_permission(request) and self.has_publish_permission(request)

    def has_discard_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may delete failed messages, as in the publish history."""
        may = request.user.has_perm("djhookbox.delete_publication")
        return self.has_view_permission(request) and may

    def outbox_view(self, request: HttpRequest) -> HttpResponse:
        """List the failed publications, oldest first.

        Raises:
            PermissionDenied: The user may not see the process.

        """
        self.require(self.has_view_permission(request))
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        rows: list[Outbox] = []
        total, problem = 0, ""
        try:
            total = failed.rows().count()
            rows = list(failed.rows().defer("payload")[:LISTED])
        except DatabaseError as error:
            problem = _("The database could not be read: %(problem)s") % {"problem": error}
        return self.page(
            request,
            "server_outbox.html",
            _("Failed publications"),
            rows=rows,
            total=total,
            problem=problem,
            may_try_again=self.has_try_again_permission(request),
            may_discard=self.has_discard_permission(request),
            history_url=self.list_address(request, Publication, status__exact="failed"),
        )

    def try_again_view(self, request: HttpRequest) -> HttpResponse:
        """Confirm, then put failed publications at the end of the outbox.

        Raises:
            PermissionDenied: The user may not publish.

        """
        self.require(self.has_try_again_permission(request))

        def question(count: int) -> tuple[str, str]:
            title = ngettext(
                "Try %(count)d publication again?", "Try %(count)d publications again?", count
            )
            return title % {"count": count}, _("Try again")

        def answer(count: int) -> tuple[str, str]:
            text = ngettext(
                "%(count)d publication was put at the end of the outbox.",
                "%(count)d publications were put at the end of the outbox.",
                count,
            )
            return text % {"count": count}, f"Tried {count} failed publications again"

        sentence = _(
            "They will be published in the same order, after everything that is already waiting."
        )
        return self._handled(request, failed.try_again, question, answer, sentence)

    def discard_view(self, request: HttpRequest) -> HttpResponse:
        """Confirm, then delete failed publications.

        Raises:
            PermissionDenied: The user may not delete publications.

        """
        self.require(self.has_discard_permission(request))

        def question(count: int) -> tuple[str, str]:
            title = ngettext(
                "Discard %(count)d publication?", "Discard %(count)d publications?", count
            )
            return title % {"count": count}, _("Discard")

        def answer(count: int) -> tuple[str, str]:
            text = ngettext(
                "%(count)d publication was discarded.",
                "%(count)d publications were discarded.",
                count,
            )
            return text % {"count": count}, f"Discarded {count} failed publications"

        sentence = _("No subscriber will ever receive them. This cannot be undone.")
        return self._handled(request, failed.discard, question, answer, sentence, danger=True)

    # ---- parts -------------------------------------------------------------------------------

    def _handled(
        self,
        request: HttpRequest,
        handle: Callable[[Collection[int]], int],
        question: Callable[[int], tuple[str, str]],
        answer: Callable[[int], tuple[str, str]],
        sentence: str,
        *,
        danger: bool = False,
    ) -> HttpResponse:
        """Ask about the chosen rows by GET, and handle those asked about by POST."""
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        try:
            rows = _chosen(request)
            if not rows:
                return self._back(request, _nothing(request), messages.WARNING)
            if request.method == "POST":
                # A failure takes back all of it, and leaves an enclosing transaction usable.
                with transaction.atomic(using=heads.database()):
                    keys = [row.pk for row in rows]
                    count = sum(
                        handle(keys[begin : begin + BATCH]) for begin in range(0, len(keys), BATCH)
                    )
                text, entry = answer(count)
                self.enter(request, f"{entry} ({_named(rows)}).")
                return self._back(request, text, messages.SUCCESS)
        except DatabaseError as error:
            text = _("The database rejected the change: %(problem)s") % {"problem": error}
            return self._back(request, text, messages.ERROR)
        title, button = question(len(rows))
        hidden = [("key", str(row.pk)) for row in rows if "all" not in request.GET]
        if "all" in request.GET:  # rows that fail after the question are not meant
            hidden += [("all", "1"), ("until", str(rows[-1].pk))]
        return self.page(
            request,
            "confirm.html",
            title,
            sentences=[sentence],
            items=[f"{row.channel}: {row.error}" for row in rows[:10]],
            more=max(0, len(rows) - 10),
            hidden=hidden,
            button=button,
            danger=danger,
            cancel=self.address("outbox"),
        )

    def _back(self, request: HttpRequest, text: str, level: int) -> HttpResponse:
        self.message_user(request, text, level)
        return HttpResponseRedirect(self.address("outbox"))


def _chosen(request: HttpRequest) -> list[Outbox]:
    """Return the failed rows that a request names, oldest first, without their payloads."""
    given = request.POST if request.method == "POST" else request.GET
    found = failed.rows().only("channel", "error")
    if "all" not in given:
        keys = [key for key in map(_number, given.getlist("key")[:LISTED]) if key is not None]
        return list(found.filter(pk__in=keys)) if keys else []
    if request.method != "POST":
        return list(found)
    until = _number(given.get("until", ""))
    return [] if until is None else list(found.filter(pk__lte=until))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _nothing(request: HttpRequest) -> str:
    given = request.POST if request.method == "POST" else request.GET
    if "all" in given or "key" in given:
        return _("These publications no longer exist; somebody else may have handled them.")
    return _("Select the publications first.")


def _named(rows: Sequence[Outbox]) -> str:
    """Return the channels of rows for the admin's history."""
    names = list(dict.fromkeys(row.channel for row in rows))
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more channels" if names[5:] else "")
