"""What all our pages share: their look, their addresses, and how values are written."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import django
from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_permission_codename
from django.db import DatabaseError, models, router, transaction
from django.forms import Media, Script
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import formats
from django.utils.formats import number_format
from django.utils.html import format_html
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

#: Word, shape and colour of each status; the shape and the word do without the colour.
SHAPES = {"good": "✔", "bad": "✖", "warning": "▲", "neutral": "●"}

PUBLISH_PERMISSION = "djhookbox.publish_message"


class PageMixin(ModelAdmin):
    """Pages beside the stock ones, and the stylesheet."""

    #: What the list says while nothing is in it.
    empty_state: Any = ""
    #: What the list says below its rows.
    footnote: Any = ""

    class Media:
        css = {"all": ["djhookbox/admin.css"]}

    def has_publish_permission(self, request: HttpRequest) -> bool:
        """Whether the user may publish; also for actions."""
        return request.user.has_perm(PUBLISH_PERMISSION)

    def address(self, page: str, *args: object, model: str = "", **query: object) -> str:
        """Return the address of a page of this admin site."""
        opts = self.opts
        name = f"{self.admin_site.name}:{opts.app_label}_{model or opts.model_name}_{page}"
        url = reverse(name, args=args)
        return f"{url}?{urlencode(query)}" if query else url

    def page(
        self, request: HttpRequest, template: str, title: object, **context: object
    ) -> HttpResponse:
        """Render one of our own templates within the admin's frame."""
        # The admin's own templates reverse their links by this.
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
                **context,
            },
        )

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Tell the list what to say while it is empty."""
        ours = {
            "empty_state": self.empty_state,
            "footnote": self.footnote,
            "may_publish": self.has_publish_permission(request),
            "title": capfirst(self.opts.verbose_name_plural),
        }
        return super().changelist_view(request, {**ours, **(extra_context or {})})

    def saved(self, request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
        """Return what a view answers; say so if the database does not take what was posted."""
        if request.method != "POST":
            return view()
        using = router.db_for_write(self.model)
        # A transaction around it goes on; without one, what follows a commit must not wait.
        inside = transaction.get_connection(using).in_atomic_block
        try:
            with transaction.atomic(using) if inside else nullcontext():
                return view()
        except DatabaseError as error:  # read-only, full or locked: nothing has changed
            text = _("The database rejected the change: %(problem)s")
            self.message_user(request, text % {"problem": error}, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def enter_about(self, request: HttpRequest, about: models.Model, text: str) -> None:
        """Write into the admin's history what was done; in English, as Django keeps its own."""
        try:
            with transaction.atomic(using=router.db_for_write(LogEntry)):
                self.log_change(request, about, text)
        except DatabaseError:
            # It has been done all the same, and an error page would only make people do it again.
            logger.exception("Could not write an entry to the admin's history: %s", text)
            self.message_user(
                request, _("The database rejected the history entry."), messages.WARNING
            )

    def has_own_permission(self, request: HttpRequest, action: str) -> bool:
        """Whether the user has one of Django's permissions on this model."""
        name = get_permission_codename(action, self.opts)
        return request.user.has_perm(f"{self.opts.app_label}.{name}")


class TablelessMixin(PageMixin):
    """Pages of a model that has no table: nothing to add, to change or to delete."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: there is no table."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: there is no table."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: there is no table."""
        return False


def route(page: PageMixin, where: str, view: Callable[..., Any], name: str) -> URLPattern:
    """Return the route of a page of an admin, which only those who are logged in can open.

    Args:
        page: The admin that the page belongs to.
        where: Its address below that of the admin.
        view: What answers.
        name: By which `PageMixin.address` finds it.

    """
    opts = page.opts
    return path(
        where, page.admin_site.admin_view(view), name=f"{opts.app_label}_{opts.model_name}_{name}"
    )


def module_script(*names: str) -> Media:
    """Return what loads scripts of ours; as modules they wait until the page is there."""
    scripts: list[Any] = [Script(f"djhookbox/{name}.js", type="module") for name in names]
    return Media(js=scripts)


def badge(word: object, tone: str) -> SafeString:
    """Write a status as word, shape and colour."""
    return format_html(
        '<span class="hookbox-badge hookbox-{}">'
        '<span class="hookbox-shape" aria-hidden="true">{}</span> {}</span>',
        tone, SHAPES[tone], word,
    )  # fmt: skip


def link(url: str, text: object, title: object = "") -> SafeString:
    """Write a link; names keep their own direction inside a text of the other one."""
    if title:
        return format_html('<a href="{}" title="{}"><bdi>{}</bdi></a>', url, title, text)
    return format_html('<a href="{}"><bdi>{}</bdi></a>', url, text)


def moment(value: datetime.datetime) -> SafeString:
    """Write a time to the millisecond, in the site's time zone."""
    shown = local(value)
    day = formats.date_format(shown, "SHORT_DATE_FORMAT")
    clock = f"{shown:%H:%M:%S}.{shown.microsecond // 1000:03d}"
    return format_html(
        # Some languages put marks of direction between the parts of a date.
        '<time class="hookbox-time" dir="ltr" datetime="{}"><bdi>{}</bdi> {}</time>',
        shown.isoformat(),
        day,
        clock,
    )


def grouped(number: int) -> str:
    """Write a number with the marks of thousands that the language has."""
    return number_format(number, force_grouping=True)


def span(value: datetime.timedelta) -> str:
    """Write a duration as days and a clock."""
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
    """Write a JSON value for people."""
    try:
        text = json.dumps(value, indent=2, ensure_ascii=False, cls=encoder)
    except RecursionError:  # written in one line, it may be nested more deeply
        text = json.dumps(value, ensure_ascii=False, cls=encoder)
    return encodable(text)


def encodable(text: str) -> str:
    """Write halves of surrogate pairs, which no page can have, as they are escaped in JSON."""
    return text.encode("utf-8", "backslashreplace").decode()


def preformatted(text: str) -> SafeString:
    """Write text as it is; code runs from left to right in every language."""
    return format_html('<pre class="hookbox-code" dir="ltr" tabindex="0">{}</pre>', text)
