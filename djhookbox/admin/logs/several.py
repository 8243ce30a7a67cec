"""Filter by several values of a column at once: each link adds a value or takes it away."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Field
from django.http import HttpRequest
from django.utils.translation import gettext as _

from .paging import OF_A_PAGE

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.db.models import Model


class SeveralFilter(admin.FieldListFilter):
    """Filter by the choices of a field, one (`?event__exact=…`) or several (`?event__in=…,…`)."""

    template = "admin/djhookbox/several_filter.html"

    def __init__(
        self,
        field: Field[Any, Any],
        request: HttpRequest,
        params: dict[str, Any],
        model: type[Model],
        model_admin: ModelAdmin[Model],
        field_path: str,
    ) -> None:
        self.one, self.several = f"{field_path}__exact", f"{field_path}__in"
        super().__init__(field, request, params, model, model_admin, field_path)
        self._values = [str(value) for value, _label in field.flatchoices]
        given: Any = self.used_parameters
        self.chosen = {*given.get(self.one, ()), *chain(*given.get(self.several, ()))}

    def expected_parameters(self) -> list[str | None]:
        """Return the parameters of one value and of several."""
        return [self.one, self.several]

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, object]]:  # type: ignore[override]
        """Yield all values, and what a click on each leads to."""
        parameters = (self.one, self.several, *OF_A_PAGE)
        yield {
            "selected": not self.chosen,
            "query_string": changelist.get_query_string({}, [*parameters]),
            "display": _("All"),
        }
        for value, label in self.field.flatchoices:
            wanted = [one for one in self._values if (one in self.chosen) != (one == str(value))]
            if len(wanted) == len(self._values):
                wanted = []
            name = self.one if len(wanted) == 1 else self.several
            query = {name: ",".join(wanted)} if wanted else {}
            yield {
                "selected": str(value) in self.chosen,
                "box": "☑" if str(value) in self.chosen else "☐",
                "query_string": changelist.get_query_string(
                    query, [one for one in parameters if one not in query]
                ),
                "display": label,
            }
