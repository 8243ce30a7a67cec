"""The list of policies: whether each of them ever decides, and where to publish to its channels."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from ...exceptions import PatternError
from ...models import ChannelPolicy
from ...policy.coverage import Order
from ...policy.patterns import compile_pattern
from ...policy.rules import Rule
from ..rows import RowList
from . import texts


class PolicyList(RowList):
    """A list that knows for each policy whether it ever decides, and where to publish."""

    def get_results(self, request: HttpRequest) -> None:
        """Find policies that never decide because of earlier ones, and their pages to publish."""
        super().get_results(request)
        tried = order()
        page: Any = self.model_admin
        moving, publishing = page.address("move"), ""
        if page.has_publish_permission(request):
            publishing = page.address("changelist", model="publishing")
        for policy in self.result_list:
            policy.hookbox_publish_url = publishing and f"{publishing}?policy={policy.pk}"
            policy.hookbox_move_url = moving
            by = tried.shadows(policy.name) if policy.enabled else ()
            policy.hookbox_shadowed_by = texts.named(by)


def order() -> Order:
    """Return the order of the enabled policies, of which only what they match is loaded.

    As long as the policies match the same, so is the order, with what has been asked of it before.
    """
    found = ChannelPolicy.objects.enabled().values_list("name", "pattern")
    rows: list[tuple[str, str]] = list(found)
    known = _known.get(found.db)
    if known is not None and known[0] == rows:
        return known[1]
    same = {} if known is None else dict(zip(known[0], known[1].rules, strict=True))
    tried = Order([same.get(row) or _rule(*row) for row in rows])
    _known[found.db] = (rows, tried)
    return tried


#: The rows that were loaded last from each database, and their order.
_known: dict[str, tuple[list[tuple[str, str]], Order]] = {}


def _rule(name: str, text: str) -> Rule:
    """Return a rule for comparisons, which do not ask who may do what."""
    try:
        pattern = compile_pattern(text)
    except PatternError:
        pattern = None
    return Rule(name, text, pattern, create="", subscribe="", publish="")
