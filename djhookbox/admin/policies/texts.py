"""Policies in plain words: what they do, what is wrong with them, who decides after them."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence

from django.utils import timezone
from django.utils.functional import Promise
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ...exceptions import (
    HookboxMisconfigured,
    HookboxNotRunning,
    HookboxUnreachable,
    PatternError,
)
from ...models import ChannelPolicy
from ...notices import Told
from ...policy.coverage import near, overlap, shadows
from ...policy.examples import examples
from ...policy.patterns import compile_pattern
from ...policy.rules import Audience, Operation, Rule

#: Audiences as the subject of a sentence.
_WHO: Mapping[str, str | Promise] = {
    Audience.EVERYONE: gettext_lazy("Everyone, including anonymous visitors,"),
    Audience.SIGNED_IN: gettext_lazy("Signed-in users"),
    Audience.STAFF: gettext_lazy("Staff"),
}

_MAY: Mapping[Operation, str | Promise] = {
    Operation.CREATE: gettext_lazy("%(who)s may create %(channel)s."),
    Operation.SUBSCRIBE: gettext_lazy("%(who)s may subscribe to %(channel)s."),
    Operation.PUBLISH: gettext_lazy("%(who)s may publish to %(channel)s."),
}
_ONLY: Mapping[Operation, str | Promise] = {
    Operation.CREATE: gettext_lazy("Only the user %(user)s may create %(channel)s."),
    Operation.SUBSCRIBE: gettext_lazy("Only the user %(user)s may subscribe to %(channel)s."),
    Operation.PUBLISH: gettext_lazy("Only the user %(user)s may publish to %(channel)s."),
}
_HANDLERS: Mapping[Operation, str | Promise] = {
    Operation.CREATE: gettext_lazy("Handlers decide who may create %(channel)s."),
    Operation.SUBSCRIBE: gettext_lazy("Handlers decide who may subscribe to %(channel)s."),
    Operation.PUBLISH: gettext_lazy("Handlers decide who may publish to %(channel)s."),
}
_NOBODY: Mapping[Operation, str | Promise] = {
    Operation.CREATE: gettext_lazy("No browser may create %(channel)s; code may."),
    Operation.SUBSCRIBE: gettext_lazy("Nobody may subscribe to %(channel)s."),
    Operation.PUBLISH: gettext_lazy("No browser may publish to %(channel)s; code may."),
}


def as_rule(policy: ChannelPolicy) -> Rule:
    """Return a policy, saved or not, as a rule for matching."""
    try:
        pattern = compile_pattern(policy.pattern)
    except PatternError:
        pattern = None
    return Rule(
        policy.name,
        policy.pattern,
        pattern,
        policy.create_audience,
        policy.subscribe_audience,
        policy.publish_audience,
    )


# ---- what a policy does --------------------------------------------------


def explained(policy: ChannelPolicy, groups: Sequence[str]) -> list[str]:
    """Describe in sentences what a policy does, using an example channel.

    Args:
        policy: Saved or not.
        groups: The names of its groups.

    """
    rule = as_rule(policy)
    if rule.pattern is None:
        return []
    names = examples(rule.pattern)
    channel = names[0] if names else policy.pattern
    user = (rule.pattern.user_name(channel) if names else None) or ""
    sentences = [
        _may(Operation.SUBSCRIBE, policy.subscribe_audience, policy, groups, channel, user),
        _may(Operation.PUBLISH, policy.publish_audience, policy, groups, channel, user),
        _may(Operation.CREATE, policy.create_audience, policy, groups, channel, user),
        *_options(policy),
    ]
    if not policy.enabled:
        sentences.insert(0, _("This policy is disabled and skipped. If it were enabled:"))
    return sentences


def _may(
    operation: Operation,
    audience: str,
    policy: ChannelPolicy,
    groups: Sequence[str],
    channel: str,
    user: str,
) -> str:
    words = {"channel": channel, "user": user}
    special = {
        Audience.HANDLERS: _HANDLERS, Audience.NOBODY: _NOBODY, Audience.NAMED_USER: _ONLY,
    }.get(Audience(audience))  # fmt: skip
    if special is not None:
        return str(special[operation]) % words
    if audience == Audience.GROUPS:
        if not groups:
            return str(_NOBODY[operation]) % words + " " + _("(No group is selected.)")
        who = _("Members of %(groups)s") % {"groups": ", ".join(groups)}
    elif audience == Audience.PERMISSION:
        who = _("Holders of the permission %(permission)s") % {"permission": policy.permission}
    else:
        who = str(_WHO[audience])
    return str(_MAY[operation]) % {**words, "who": who}


def _options(policy: ChannelPolicy) -> list[str]:
    sentences = []
    if policy.history_size:
        sentences.append(
            ngettext(
                "New subscribers receive the last message.",
                "New subscribers receive up to %(count)d past messages.",
                policy.history_size,
            )
            % {"count": policy.history_size}
        )
        if policy.history_duration:
            words = {"time": _lasting(policy.history_duration)}
            sentences.append(_("Past messages are kept for %(time)s.") % words)
    if policy.durable:
        sentences.append(
            _(
                "Messages are stored in the database in the transaction that publishes them; none "
                "is lost or duplicated. Each costs a row and arrives a moment later."
            )
        )
    if policy.presenceful:
        sentences.append(_("Subscribers see who is present."))
    if policy.anonymous:
        sentences.append(_("Messages do not show who published them."))
    if not policy.reflective:
        sentences.append(_("Publishers do not receive their own messages."))
    if policy.state:
        sentences.append(_("The channel starts with an initial state."))
    if isinstance(policy.polling, dict) and policy.polling.get("mode"):
        sentences.append(_("The Hookbox process polls for messages."))
    return sentences


def _lasting(seconds: int) -> str:
    """Format a duration in the largest fitting unit."""
    if seconds < 60:
        return ngettext("%(count)d second", "%(count)d seconds", seconds) % {"count": seconds}
    now = timezone.now()
    return timesince(now - datetime.timedelta(seconds=min(seconds, 10**9)), now)


# ---- what is wrong with it -----------------------------------------------


def warnings(policy: ChannelPolicy, rules: Iterable[Rule], earlier: Sequence[Rule]) -> list[str]:
    """Return warnings about an enabled policy.

    Args:
        policy: Saved or not.
        rules: The other enabled policies, which come later.
        earlier: The enabled policies that are tried before.

    """
    rule = as_rule(policy)
    if not policy.enabled or rule.pattern is None:
        return []
    found = opened(policy)
    if by := shadows(rule, earlier):
        found.append(
            _("This policy never decides, because %(names)s is tried first.") % {"names": named(by)}
        )
        return found
    # Only where this rule decides for some channel, so that the others need no comparison.
    hidden = [
        later
        for later in near(rule, rules)
        if overlap(rule, later) and (by := shadows(later, [*earlier, rule])) and rule in by
    ]
    if hidden:
        text = ngettext(
            "Because of this policy, %(names)s never decides.",
            "Because of this policy, %(names)s never decide.",
            len(hidden),
        )
        found.append(text % {"names": named(hidden)})
    return found


def opened(policy: ChannelPolicy) -> list[str]:
    """Return what a policy opens to everybody."""
    found = []
    if policy.subscribe_audience == Audience.EVERYONE:
        found.append(_("Everyone may read these channels, including anonymous visitors."))
    if policy.publish_audience == Audience.EVERYONE:
        found.append(_("Everyone may publish to these channels, including anonymous visitors."))
    return found


def named(rules: Iterable[Rule]) -> str:
    """Join the names of rules."""
    return ", ".join(_("“%(name)s”") % {"name": rule.name} for rule in rules)


# ---- what became of an edit ----------------------------------------------


def followed(told: Sequence[Told]) -> tuple[str, bool]:
    """Return how the process answered an edit, and whether everything is well.

    Args:
        told: The answers; empty while the edit has not been committed.

    """
    error = next((one.error for one in told if one.error is not None), None)
    if isinstance(error, HookboxNotRunning):
        return _("The change takes effect when Hookbox is running. %(problem)s") % {
            "problem": error
        }, False
    if isinstance(error, HookboxUnreachable):
        return _("Live channels follow as soon as Hookbox answers. %(problem)s") % {
            "problem": error
        }, False
    if isinstance(error, HookboxMisconfigured):
        return _(
            "Hookbox could not be notified. Live channels follow within seconds if it reaches "
            "this site. %(problem)s"
        ) % {"problem": error}, False
    if error is not None:
        text = _("Hookbox could not be notified, so live channels are unchanged: %(problem)s")
        return text % {"problem": error}, False
    if not told:
        return _("Hookbox will be notified shortly; live channels then follow."), True
    channels = sum(one.channels for one in told)
    if not channels:
        return _("The change takes effect immediately; no live channel is affected."), True
    where = ngettext("%(count)d live channel", "%(count)d live channels", channels)
    words = {"channels": where % {"count": channels}}
    counts = [one.connections for one in told]
    if None in counts:
        return _("The change takes effect immediately, also for %(channels)s.") % words, True
    count = sum(number or 0 for number in counts)
    reached = ngettext("%(count)d connection", "%(count)d connections", count)
    words["connections"] = reached % {"count": count}
    return _(
        "The change takes effect immediately, also for %(channels)s with %(connections)s."
    ) % words, True
