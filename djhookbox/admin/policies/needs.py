"""What a policy that refused somebody requires: its groups or its permission."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from django.utils.text import get_text_list
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...models import Audience, ChannelPolicy
from ...users.accounts import username

if TYPE_CHECKING:
    from ...decisions.decide import Decision
    from ...policy.rules import Operation
    from ...users.accounts import User


def needs(
    decision: Decision,
    operation: Operation,
    user: User,
    policies: Mapping[str, ChannelPolicy],
    *,
    may_see_groups: bool,
) -> str:
    """Return which groups or permission a refusal requires, and what of these the user has.

    Args:
        decision: The decision; if it is not a refusal by such a policy, the result is "".
        operation: What was tried.
        user: Who tried it.
        policies: The policies that were asked, by name.
        may_see_groups: Whether the reader may see which groups the user is in.

    """
    kind, _colon, name = decision.decided_by.partition(":")
    if decision.allowed or kind != "policy" or not (user.is_anonymous or user.is_active):
        return ""  # inactive accounts may do nothing, whatever they have
    policy = policies.get(name)
    audience = policy and getattr(policy, f"{operation.value}_audience")
    if policy is None or audience not in (Audience.GROUPS, Audience.PERMISSION):
        return ""
    if audience == Audience.PERMISSION:
        if not policy.permission:
            return _("The policy names no permission, so it admits nobody.")
        said = _("It requires the permission %(name)s.") % {"name": policy.permission}
        if user.is_anonymous:
            return said
        return f"{said} " + _("%(user)s does not have it.") % {"user": username(user)}
    names = sorted(policy.groups.values_list("name", flat=True))
    if not names:
        return _("The policy names no group, so it admits nobody.")
    said = ngettext(
        "It requires the group %(names)s.", "It requires one of the groups %(names)s.", len(names)
    ) % {"names": get_text_list(names, _("or"))}
    groups = getattr(user, "groups", None)  # not every user model has them
    if user.is_anonymous or groups is None or not may_see_groups:
        return said
    theirs = sorted(groups.values_list("name", flat=True))
    words = {"user": username(user), "names": get_text_list(theirs, _("and"))}
    if not theirs:
        return f"{said} " + _("%(user)s is not in any group.") % words
    text = ngettext(
        "%(user)s is only in the group %(names)s.",
        "%(user)s is only in the groups %(names)s.",
        len(theirs),
    )
    return f"{said} {text % words}"
