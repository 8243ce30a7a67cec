"""Lists whose rows link to their pages, of which the address is resolved once."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.urls import NoReverseMatch

#: A key that takes the place of a row's in a URL.
_ANY_KEY = 1_234_567_890_123


class RowList(ChangeList):
    """A list that resolves the address of its rows once.

    Django does so twice for each row: to link to it, and to find out whether that page leads back
    to the filters of the list.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._back, self.preserved_filters = self.preserved_filters, ""
        self._row_url: tuple[str, str] | None = None

    def url_for_result(self, result: Any) -> str:
        """Return the URL of a row, with the filters to which its page leads back."""
        if self._row_url is None:
            url = super().url_for_result(self.model(pk=_ANY_KEY))
            before, key, after = url.partition(str(_ANY_KEY))
            if not key:
                raise NoReverseMatch("The address of a row does not contain its key.")
            self._row_url = before, f"{after}?{self._back}" if self._back else after
        before, after = self._row_url
        return f"{before}{result.pk}{after}"
