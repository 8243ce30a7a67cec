"""Export the filtered rows of a log as CSV or as JSON Lines, streamed from the database."""

from __future__ import annotations

import csv
import datetime
import io
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, models
from django.db.models import QuerySet, TextField
from django.db.models.constants import LOOKUP_SEP
from django.db.models.functions import Cast
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy

from ...conf import settings
from ..pages import PageMixin, encodable
from ..times import Localizer, local, localizer
from .leading import newest, total_length
from .paging import before

logger = logging.getLogger("djhookbox")

#: Where a spreadsheet may read a formula: at the beginning of a text, and after characters that end
#: a cell or row if cells are not separated by commas. Some spreadsheets treat other forms of the
#: signs (full-width, small, the minus of mathematics) as signs and skip invisible characters.
_SIGN = r"[=+\-@\u2212\ufe62\ufe63\ufe66\ufe6b\uff1d\uff0b\uff0d\uff20]"
_INVISIBLE = r"[\s\x00-\x1f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
FORMULA = re.compile(
    rf"""(?P<before> ^ | [;|\t\r\n\v\f\x85\u2028\u2029] "* ) (?= {_INVISIBLE}* {_SIGN} )""",
    re.VERBOSE,
)

#: The signs of a formula, without which no place needs to be looked for.
SIGNS = re.compile(_SIGN)

#: Rows in memory at once, and the first ones, which a reader waits for.
CHUNK, FIRST = 2_000, 100

#: Characters of JSON in memory at once, unless a single row has more.
CHUNK_OF_JSON = 4_000_000

#: What JSON is written anew for: escapes, which may stand for letters, and ends of lines.
_UNLIKE_OURS = re.compile(r"\\u|[\r\n]")

#: Writes JSON for people, with letters instead of escapes.
_ENCODER = DjangoJSONEncoder(ensure_ascii=False)

#: Spreadsheets read CSV as UTF-8 only if it starts with this.
BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an export.

    Attributes:
        name: Its name.
        is_json: Whether its values are JSON, which may be long.

    """

    name: str
    is_json: bool = False

    @classmethod
    def of(cls, field: models.Field[Any, Any]) -> Column:
        """Return the column of a field."""
        return cls(field.name, isinstance(field, models.JSONField))


#: Some rows of an export, each with a value for each column.
Batch = Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Format:
    """A format of exports; `write` returns the text of some rows."""

    ending: str
    content_type: str
    said: str | Promise
    said_filtered: str | Promise
    begin: Callable[[Sequence[Column]], str]
    write: Callable[[Sequence[Column], Batch], str]


class ExportMixin(PageMixin):
    """Views next to the list that accept the same filters and answer with a file."""

    #: Restricted columns, each with the function that checks the permission.
    guarded_columns: dict[str, str] = {}

    def get_urls(self) -> list[URLPattern]:
        """Put our pages before the default ones, which would read them as primary keys."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        view = self.admin_site.admin_view
        return [
            path("export/", view(self.export_view), name=name),
            path("export/lines/", view(self.export_lines_view), name=f"{name}_lines"),
            *super().get_urls(),
        ]

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may export the log."""
        return request.user.has_perm("djhookbox.export_log") and self.has_view_permission(request)

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Stream the filtered rows as CSV, newest first.

        Raises:
            PermissionDenied: The user may not export this log.

        """
        return self._export(request, CSV)

    def export_lines_view(self, request: HttpRequest) -> HttpResponseBase:
        """Stream the filtered rows as JSON Lines, newest first.

        Raises:
            PermissionDenied: The user may not export this log.

        """
        return self._export(request, LINES)

    def _export(self, request: HttpRequest, form: Format) -> HttpResponseBase:
        if not self.has_export_permission(request):
            raise PermissionDenied
        try:
            columns, batches = self.exported(request, settings.export_limit)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(f"{self.address('changelist')}?e=1")
        self._note_export(request, form)
        parts = _parts(form, columns, batches)
        # Otherwise an ASGI server would collect the whole export in memory.
        content = _apart(parts) if isinstance(request, ASGIRequest) else parts
        name = f"{self.opts.model_name}-{timezone.now():%Y%m%d-%H%M%S}.{form.ending}"
        return StreamingHttpResponse(
            content,
            content_type=form.content_type,
            headers={
                "Content-Disposition": f'attachment; filename="{name}"',
                "X-Content-Type-Options": "nosniff",
            },
        )

    def exported(
        self, request: HttpRequest, limit: int
    ) -> tuple[Sequence[Column], Iterator[Batch]]:
        """Return the columns and the filtered rows, newest first.

        Raises:
            IncorrectLookupParameters: A filter cannot be applied.

        """
        rows = self.get_changelist_instance(request).get_queryset(request)
        columns = [Column.of(field) for field in self.export_fields(request)]
        begin = ["created", self.opts.pk.name]  # as `fetched` does
        names = [column.name for column in columns]
        others = [name for name in names if name not in begin]
        documents = [column.name for column in columns if column.is_json]
        batches = fetched(rows, others, limit, documents)
        arranged = itemgetter(*map([*begin, *others].index, names))
        return columns, (list(map(arranged, batch)) for batch in batches)

    def export_fields(self, request: HttpRequest) -> list[models.Field[object, object]]:
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

    def _note_export(self, request: HttpRequest, form: Format) -> None:
        """Record in the admin's history who exported what."""
        filters = request.GET.urlencode()
        message = str(form.said_filtered) % {"filters": filters} if filters else str(form.said)
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


# ---- rows --------------------------------------------------------------------------------------


def _parts(form: Format, columns: Sequence[Column], batches: Iterator[Batch]) -> Iterator[str]:
    """Yield the text of the rows, the beginning at once."""
    yield form.begin(columns)
    for batch in batches:
        yield form.write(columns, batch)


def fetched(
    rows: QuerySet[Any], names: Sequence[str], limit: int, documents: Sequence[str] = ()
) -> Iterator[Batch]:
    """Yield some rows at a time, newest first, each as its time, its key and the named values.

    Each query continues where the last one ended. A server-side cursor takes as much CPU and memory
    (of a million rows), but keeps a transaction open for as long as somebody downloads the file,
    and until then PostgreSQL cannot remove what is deleted from the outbox. Held across commits it
    would first copy the whole result.

    Args:
        rows: The rows in the order of a list.
        names: The columns.
        limit: How many rows are yielded at most.
        documents: Columns of JSON among them, of which the text is yielded as it is stored.

    """
    text = {name: Cast(name, TextField()) for name in documents}
    values = rows.values_list("created", "pk", *(text.get(name, name) for name in names))
    rest, size = values, FIRST
    while limit > 0:
        size = min(size, limit)
        while text and size > 1 and total_length(rest, size, [*text.values()]) > CHUNK_OF_JSON:
            size = max(1, size // 4)
        found = newest(rest, size)
        if found:
            yield found
        if len(found) < size:
            return
        limit -= size
        # Twice as many of documents, whose lengths have to be read in vain if they are too long.
        size = min(2 * size, CHUNK) if text else CHUNK
        rest = before(values, found[-1][0], found[-1][1])


async def _apart(parts: Iterator[str]) -> AsyncIterator[str]:
    """Yield texts in an event loop, fetching them in a thread that may wait for the database."""

    @sync_to_async
    def following() -> str | None:
        return next(parts, None)

    while (text := await following()) is not None:
        yield text


def _json(stored: str | None) -> str:
    """Return JSON in one line with letters instead of escapes."""
    if stored is None:
        return "null"
    if _UNLIKE_OURS.search(stored):
        return _ENCODER.encode(json.loads(stored))
    return stored


def _each(write: Callable[[object], object], values: Sequence[Any]) -> Iterator[object]:
    """Yield what a function returns for each value, and call it once for equal ones."""
    written = {value: write(value) for value in set(values)}
    return map(written.__getitem__, values)


# ---- CSV ---------------------------------------------------------------------------------------

#: Values that a spreadsheet never reads as formulas.
_NUMBERS = {bool, int, float, type(None)}


def _begin_csv(columns: Sequence[Column]) -> str:
    file = io.StringIO()
    csv.writer(file).writerow([column.name for column in columns])
    return BOM + file.getvalue()


def _write_csv(columns: Sequence[Column], rows: Batch) -> str:
    file = io.StringIO()
    localize = localizer()
    cells = (
        _cells(column, values, localize)
        for column, values in zip(columns, zip(*rows, strict=True), strict=True)
    )
    csv.writer(file).writerows(zip(*cells, strict=True))
    return file.getvalue()


def _cells(column: Column, values: Sequence[Any], localize: Localizer) -> Iterable[object]:
    """Return the cells of a column, whose kinds of values are looked at once."""
    if column.is_json:
        return (_text(encodable(_json(value))) for value in values)
    kinds = {*map(type, values)}
    if kinds <= _NUMBERS:
        return values
    if kinds == {datetime.datetime}:
        return [localize(value).isoformat() for value in values]
    return _each(partial(cell, localize=localize), values)


def cell(value: object, localize: Localizer = local) -> object:
    """Return a value as a cell that no spreadsheet reads as a formula."""
    if isinstance(value, str):
        return _text(value)
    if type(value) in _NUMBERS:
        return value
    if isinstance(value, datetime.datetime):
        return localize(value).isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return _text(str(value))


def _text(text: str) -> str:
    if SIGNS.search(text):
        text = FORMULA.sub(r"\g<before>'", text)
    return f"'{text}" if text.startswith(("\t", "\r", "\n")) else text


CSV = Format(
    ending="csv",
    content_type="text/csv; charset=utf-8",
    said=gettext_lazy("Exported as CSV."),
    said_filtered=gettext_lazy("Exported as CSV, filtered by %(filters)s."),
    begin=_begin_csv,
    write=_write_csv,
)

# ---- JSON Lines --------------------------------------------------------------------------------


def _write_lines(columns: Sequence[Column], rows: Batch) -> str:
    write = partial(_member, localize=localizer())
    members = []
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        name = _ENCODER.encode(column.name)
        found = map(_json, values) if column.is_json else _each(write, values)
        members.append([f"{name}: {value}" for value in found])
    lines = ["{" + ", ".join(row) + "}\n" for row in zip(*members, strict=True)]
    return encodable("".join(lines))


def _member(value: object, localize: Localizer) -> str:
    if isinstance(value, datetime.datetime):
        value = localize(value).isoformat()
    elif isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    return _ENCODER.encode(value)


LINES = Format(
    ending="jsonl",
    content_type="application/x-ndjson; charset=utf-8",
    said=gettext_lazy("Exported as JSON Lines."),
    said_filtered=gettext_lazy("Exported as JSON Lines, filtered by %(filters)s."),
    begin=lambda columns: "",
    write=_write_lines,
)
