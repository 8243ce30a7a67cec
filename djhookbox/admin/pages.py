"""What all our admin pages share: layout, URLs, and formatting."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import django
from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_permission_codename
from django.db import DatabaseError, models, router, transaction
from django.db.models import Model
from django.forms import Media, Script
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import formats
from django.utils.formats import number_format
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .times import local

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

logger = logging.getLogger("djhookbox")

#: Word, shape and colour of each status; word and shape suffice without the colour.
SHAPES = {"good": "✔", "bad": "✖", "warning": "▲", "neutral": "●"}

PUBLISH_PERMISSION = "djhookbox.publish_message"


class PageMixin(ModelAdmin):
    """Adds pages to the default ones, and the stylesheet."""

    #: Marked, because a card does not show it.
    empty_value_display = SafeString('<span class="hookbox-void">-</span>')
    #: The text shown if the list is empty.
    empty_state: object = ""
    #: The text shown below the rows.
    footnote: object = ""

    @property
    def media(self) -> Media:
        """The stylesheets of our pages: one, and another one for django-unfold."""
        sheets = ["djhookbox/admin/pages.css"]
        if apps.is_installed("unfold"):
            sheets.append("djhookbox/admin/unfold.css")
        return super().media + Media(css={"all": sheets})

    def has_publish_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may publish; also used for actions."""
        return request.user.has_perm(PUBLISH_PERMISSION)

    def address(self, page: str, *args: object, model: str = "", **query: object) -> str:
        """Return the URL of a page of this admin site."""
        opts = self.opts
        name = f"{self.admin_site.name}:{opts.app_label}_{model or opts.model_name}_{page}"
        url = reverse(name, args=args)
        return f"{url}?{urlencode(query)}" if query else url

    def page(
        self, request: HttpRequest, template: str, title: object, **context: object
    ) -> HttpResponse:
        """Render one of our templates in the admin's layout."""
        # The admin's own templates use this to reverse URLs.
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            f"admin/djhookbox/{template}",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": title,
                "media": self.media,
                "has_view_permission": self.has_view_permission(request),
                "list_name": capfirst(self.opts.verbose_name_plural),
                # Django 6.1 writes its breadcrumbs as a list.
                "breadcrumbs_are_list": django.VERSION >= (6, 1),
                # It shows no titles, and has styles of its own for forms and lists.
                "is_unfold": apps.is_installed("unfold"),
                **context,
            },
        )

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Pass the texts for an empty list."""
        added = {
            "empty_state": self.empty_state,
            "footnote": self.footnote,
            "may_publish": self.has_publish_permission(request),
            "title": capfirst(self.opts.verbose_name_plural),
        }
        return super().changelist_view(request, {**added, **(extra_context or {})})

    def saved(self, request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
        """Return the view's response; report a database error instead of failing."""
        if request.method != "POST":
            return view()
        using = router.db_for_write(self.model)
        # An enclosing transaction stays usable; without one, on_commit callbacks run at once.
        inside = transaction.get_connection(using).in_atomic_block
        try:
            with transaction.atomic(using) if inside else nullcontext():
                return view()
        except DatabaseError as error:  # read-only, full or locked: nothing has changed
            text = _("The database rejected the change: %(problem)s")
            self.message_user(request, text % {"problem": error}, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def enter_about(self, request: HttpRequest, about: models.Model, text: str) -> None:
        """Record an action in the admin's history, in English, as Django stores its own."""
        try:
            with transaction.atomic(using=router.db_for_write(LogEntry)):
                self.log_change(request, about, text)
        except DatabaseError:
            # The action has been carried out; an error page would make people repeat it.
            logger.exception("Could not write an entry to the admin's history: %s", text)
            self.message_user(
                request, _("The database rejected the history entry."), messages.WARNING
            )

    def has_own_permission(self, request: HttpRequest, action: str) -> bool:
        """Return whether the user has one of Django's permissions on this model."""
        name = get_permission_codename(action, self.opts)
        return request.user.has_perm(f"{self.opts.app_label}.{name}")


class TablelessMixin(PageMixin):
    """Pages of a model without a table: nothing to add, change or delete."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: there is no table."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False: there is no table."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False: there is no table."""
        return False


def route(page: PageMixin, where: str, view: Callable[..., Any], name: str) -> URLPattern:
    """Return the route of an admin page, which requires a login.

    Args:
        page: The model admin of the page.
        where: Its route, relative to the model admin.
        view: The view.
        name: The name for `PageMixin.address`.

    """
    opts = page.opts
    return path(
        where, page.admin_site.admin_view(view), name=f"{opts.app_label}_{opts.model_name}_{name}"
    )


def unless_posted(request: HttpRequest, back: HttpResponse) -> HttpResponse | None:
    """Return the answer to a request that must be a POST and is not, or None if it is one.

    Args:
        request: The request.
        back: The answer to a GET, which follows a login if the session had ended.

    """
    if request.method in ("GET", "HEAD"):
        return back
    return None if request.method == "POST" else HttpResponseNotAllowed(["POST"])


def module_script(*names: str) -> Media:
    """Return the media that loads our scripts as modules, which run when the page is ready."""
    scripts: list[Any] = [Script(f"djhookbox/{name}.js", type="module") for name in names]
    return Media(js=scripts)


def badge(word: object, tone: str) -> SafeString:
    """Render a status as word, shape and colour."""
    return format_html(
        '<span class="hookbox-badge hookbox-{}">'
        '<span class="hookbox-shape" aria-hidden="true">{}</span> {}</span>',
        tone, SHAPES[tone], word,
    )  # fmt: skip


def checkbox(key: object, name: str) -> SafeString:
    """Render the checkbox of a row as Django does, without a template for each."""
    title = escape(_("Select for an action: %(entry)s") % {"entry": name})
    return SafeString(
        f'<input type="checkbox" name="{ACTION_CHECKBOX_NAME}" value="{escape(key)}" '
        f'class="action-select" aria-label="{title}">'
    )


def labelled(label: object, text: object) -> SafeString:
    """Render a cell with its label, which is shown where the table has no header: in cards."""
    return format_html('<span class="hookbox-label">{}: </span>{}', label, text)


def link(url: str, text: object, title: object = "") -> SafeString:
    """Render a link whose text keeps its own direction."""
    if title:
        return format_html('<a href="{}" title="{}"><bdi>{}</bdi></a>', url, title, text)
    return format_html('<a href="{}"><bdi>{}</bdi></a>', url, text)


def moment(value: datetime.datetime) -> SafeString:
    """Render a time to the millisecond, in the site's time zone."""
    shown = local(value)
    day = formats.date_format(shown, "SHORT_DATE_FORMAT")
    clock = f"{shown:%H:%M:%S}.{shown.microsecond // 1000:03d}"
    return format_html(
        # Some languages put direction marks between the parts of a date.
        '<time class="hookbox-time" dir="ltr" datetime="{}"><bdi>{}</bdi> {}</time>',
        shown.isoformat(),
        day,
        clock,
    )


def grouped(number: int) -> str:
    """Format a number with the language's thousands separators."""
    return number_format(number, force_grouping=True)


def span(value: datetime.timedelta) -> str:
    """Format a duration as days and a clock."""
    seconds = int(value.total_seconds())
    clock = f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    days = seconds // 86_400
    if not days:
        return clock
    return ngettext("%(days)d day %(clock)s", "%(days)d days %(clock)s", days) % {
        "days": days,
        "clock": clock,
    }


def pretty_json(value: object, encoder: type[json.JSONEncoder] | None = None) -> str:
    """Format a JSON value for display."""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, cls=encoder)
    except RecursionError:  # in one line it may be nested more deeply
        text = json.dumps(value, ensure_ascii=False, cls=encoder)
    return encodable(text)


def encodable(text: str) -> str:
    """Escape lone surrogates, which no page can contain, as JSON does."""
    return text.encode("utf-8", "backslashreplace").decode()


def preformatted(text: str) -> SafeString:
    """Render text unchanged; code runs from left to right in every language."""
    return format_html('<pre class="hookbox-code" dir="ltr" tabindex="0">{}</pre>', text)
