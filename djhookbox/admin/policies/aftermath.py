"""Who decides for the channels of policies after they are deleted."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ...models import ChannelPolicy
from ...policy.coverage import covered, near, overlap, shadows
from ...policy.rules import Rule
from .listing import order
from .preview import around
from .texts import as_rule, named

#: So many policies with the same consequence have a sentence each; more of them have one together.
SINGLE = 5


class Then(Enum):
    """Who decides then."""

    AS_BEFORE = auto()
    HANDLERS = auto()
    OTHERS = auto()
    OTHERS_AND_HANDLERS = auto()


def aftermath(policies: Sequence[ChannelPolicy]) -> list[str]:
    """Return who decides for the channels of policies after they are deleted, in sentences."""
    gone = {policy.name for policy in policies}
    rules = order().rules
    remaining = [rule for rule in rules if rule.name not in gone]
    found: dict[Then, list[str]] = {}
    for policy in policies:
        earlier, _later = around(rules, policy)
        staying = [rule for rule in earlier if rule.name not in gone]
        then, sentence = _of_one(policy, remaining, staying)
        found.setdefault(then, []).append(sentence)
    sentences = []
    for then, some in found.items():
        sentences += some if len(some) <= SINGLE else [_of_several(then, len(some))]
    return sentences


def _of_one(
    policy: ChannelPolicy, remaining: Sequence[Rule], earlier: Sequence[Rule]
) -> tuple[Then, str]:
    """Return who decides for a policy's channels after it is deleted.

    Args:
        policy: The policy to delete.
        remaining: All other enabled policies, in their order.
        earlier: Those of them that are tried before it.

    """
    words = {"name": policy.name}
    rule = as_rule(policy)
    if not policy.enabled:
        text = _("“%(name)s” is disabled: nothing changes for any channel.")
        return Then.AS_BEFORE, text % words
    if shadows(rule, earlier):
        text = _("“%(name)s” never decides: nothing changes for any channel.")
        return Then.AS_BEFORE, text % words
    before = near(rule, earlier)
    names = {other.name for other in before}
    after = [o for o in near(rule, remaining) if o.name not in names and overlap(o, rule)]
    if not after:
        text = _(
            "No policy then covers the channels of “%(name)s”: registered handlers decide, "
            "and channels that no handler allows are refused."
        )
        return Then.HANDLERS, text % words
    words["others"] = named(after)
    if covered(rule, [*before, *after]):
        text = _("Access to the channels of “%(name)s” is then decided by %(others)s.")
        return Then.OTHERS, text % words
    text = _(
        "Access to the channels of “%(name)s” is then decided by %(others)s where they "
        "match. For the other channels registered handlers decide, and channels that "
        "no handler allows are refused."
    )
    return Then.OTHERS_AND_HANDLERS, text % words


def _of_several(then: Then, count: int) -> str:
    if then is Then.AS_BEFORE:
        text = ngettext(
            "%(count)d policy is disabled or never decides: nothing changes for any channel.",
            "%(count)d policies are disabled or never decide: nothing changes for any channel.",
            count,
        )
    elif then is Then.HANDLERS:
        text = ngettext(
            "No policy then covers the channels of %(count)d policy: registered handlers "
            "decide, and channels that no handler allows are refused.",
            "No policy then covers the channels of %(count)d policies: registered handlers "
            "decide, and channels that no handler allows are refused.",
            count,
        )
    elif then is Then.OTHERS:
        text = ngettext(
            "Access to the channels of %(count)d policy is then decided by other policies.",
            "Access to the channels of %(count)d policies is then decided by other policies.",
            count,
        )
    else:
        text = ngettext(
            "Access to the channels of %(count)d policy is then decided by other policies where "
            "they match. For the other channels registered handlers decide, and channels that no "
            "handler allows are refused.",
            "Access to the channels of %(count)d policies is then decided by other policies where "
            "they match. For the other channels registered handlers decide, and channels that no "
            "handler allows are refused.",
            count,
        )
    return text % {"count": count}
