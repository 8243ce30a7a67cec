"""Export the filtered rows of a log as CSV, streamed from the database."""

from __future__ import annotations

import csv
import datetime
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, models
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from ...conf import settings
from ..pages import PageMixin, encodable
from ..times import local

logger = logging.getLogger("djhookbox")

#: Where a spreadsheet may read a formula: at the beginning of a text, and after characters that end
#: a cell or row if cells are not separated by commas. Some spreadsheets treat full-width signs as
#: signs and skip invisible characters.
FORMULA = re.compile(
    r"""(?P<before> ^ | [;|\t\r\n\v\f] "* )
        (?= [\s\x00-\x1f\u200b-\u200f\u2060\ufeff]* [=+\-@\uff1d\uff0b\uff0d\uff20] )""",
    re.VERBOSE,
)

#: Rows in memory at once; each may have a payload of a megabyte.
CHUNK = 100

#: Spreadsheets read CSV as UTF-8 only if it starts with this.
BOM = "\ufeff"


class ExportMixin(PageMixin):
    """A view next to the list that accepts the same filters and answers with CSV."""

    #: Restricted columns, each with the function that checks the permission.
    guarded_columns: dict[str, str] = {}

    def get_urls(self) -> list[URLPattern]:
        """Put our page before the default ones, which would read it as a primary key."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        view = self.admin_site.admin_view(self.export_view)
        return [path("export/", view, name=name), *super().get_urls()]

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may export the log."""
        return request.user.has_perm("djhookbox.export_log") and self.has_view_permission(request)

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Stream the filtered rows, newest first.

        Raises:
            PermissionDenied: The user may not export this log.

        """
        if not self.has_export_permission(request):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(f"{self.address('changelist')}?e=1")
        fields = self.export_fields(request)
        values = rows.values_list(*(field.name for field in fields))[: settings.export_limit]
        self._note_export(request)
        lines = _lines(fields, values.iterator(chunk_size=CHUNK))
        # Otherwise an ASGI server would collect the whole export in memory.
        content = _apart(lines) if isinstance(request, ASGIRequest) else lines
        name = f"{self.opts.model_name}-{timezone.now():%Y%m%d-%H%M%S}.csv"
        return StreamingHttpResponse(
            content,
            content_type="text/csv; charset=utf-8",
            headers={
                "Content-Disposition": f'attachment; filename="{name}"',
                "X-Content-Type-Options": "nosniff",
            },
        )

    def export_fields(self, request: HttpRequest) -> list[models.Field[Any, Any]]:
        """Return the fields that the user may see."""
        return [one for one in self.opts.concrete_fields if self.may_see_column(request, one.name)]

    def may_see_column(self, request: HttpRequest, name: str) -> bool:
        """Return whether the user may see a column."""
        permission = self.guarded_columns.get(name)
        return permission is None or request.user.has_perm(permission)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Reject filters on restricted columns: their results would reveal the contents."""
        column = lookup.partition(LOOKUP_SEP)[0]
        return self.may_see_column(request, column) and super().lookup_allowed(
            lookup, value, request
        )

    def _note_export(self, request: HttpRequest) -> None:
        """Record in the admin's history who exported what."""
        filters = request.GET.urlencode()
        message = _("Exported as CSV.")
        if filters:
            message = _("Exported as CSV, filtered by %(filters)s.") % {"filters": filters}
        try:
            LogEntry.objects.create(
                user_id=str(request.user.pk),
                content_type=ContentType.objects.get_for_model(self.model),
                object_repr=capfirst(str(self.opts.verbose_name_plural))[:200],
                action_flag=CHANGE,
                change_message=message,
            )
        except DatabaseError:  # a read-only database can still be exported
            logger.warning("Could not record an export.", exc_info=True)


class _Echo:
    """A file that returns what is written to it."""

    def write(self, text: str) -> str:
        return text


def _lines(
    fields: Sequence[models.Field[Any, Any]], rows: Iterator[Sequence[object]]
) -> Iterator[str]:
    writer: Any = csv.writer(_Echo())
    yield BOM + writer.writerow([field.name for field in fields])
    writers = [_json if isinstance(field, models.JSONField) else cell for field in fields]
    for row in rows:
        yield writer.writerow([write(value) for write, value in zip(writers, row, strict=True)])


async def _apart(lines: Iterator[str]) -> AsyncIterator[str]:
    """Yield lines in an event loop, fetching them in a thread that may wait for the database."""

    @sync_to_async
    def some() -> str:
        return "".join(islice(lines, CHUNK))

    while text := await some():
        yield text


def cell(value: object) -> object:
    """Return a value as a cell that no spreadsheet reads as a formula."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime.datetime):
        return local(value).isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    text = FORMULA.sub(r"\g<before>'", str(value))
    return f"'{text}" if text.startswith(("\t", "\r", "\n")) else text


def _json(value: object) -> object:
    return cell(encodable(json.dumps(value, ensure_ascii=False, cls=DjangoJSONEncoder)))
