"""Live channels as reported by the process, for pages that also work without it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.http import HttpRequest, JsonResponse

from .. import client
from ..decisions.store import cache
from ..exceptions import HookboxError
from ..policy.patterns import covering_regex
from ..policy.reserved import RULES, is_reserved
from ..policy.rules import Rule

#: The process lists at most this many channels in one answer.
LISTED = 100

#: Names that a completion offers at most.
OFFERED = 20


@dataclass(frozen=True, slots=True)
class Target:
    """A channel to publish to; `connections` is None if the count is unknown."""

    name: str
    connections: int | None = None


def audiences(names: Sequence[str]) -> tuple[list[Target], HookboxError | None]:
    """Return how many connections each channel has, and why this is unknown if it is."""
    try:
        found = _listed([re.escape(name) for name in names])[0]
    except HookboxError as error:
        return [Target(name) for name in names], error
    known = {target.name: target.connections for target in found}
    return [Target(name, known.get(name, 0)) for name in names], None


def decided_by(names: Collection[str]) -> tuple[list[Target], int]:
    """Return the live channels covered by policies of these names, and how many there are.

    Includes channels that a policy names in full, even if they are not live.

    Raises:
        HookboxError: The process does not report them.

    """
    rules = cache.get(fresh=True)
    chosen = [rule for rule in rules if rule.name in names]
    if not chosen:
        return [], 0
    found, total = _listed([covering_regex(rule.text) for rule in chosen])
    targets = {target.name: target for target in found if _decider(rules, target.name) in chosen}
    for rule in chosen:
        if rule.pattern and not rule.pattern.parameters and _decider(rules, rule.text) is rule:
            targets.setdefault(rule.text, Target(rule.text, 0))
    # Channels that were not listed may or may not be covered.
    more = max(0, total - len(found))
    return list(targets.values()), len(targets) + more


def policy_of(channel: str) -> Rule | None:
    """Return the policy that decides for a channel."""
    return _decider(cache.get(), channel)


def completions(request: HttpRequest) -> JsonResponse:
    """Complete a channel name, `?q=…`, from live channels."""
    try:
        answer = client.list_channels(request.GET.get("q", ""), OFFERED)
        names = [one.name for one in answer.channels if not is_reserved(one.name)]
    except HookboxError:
        names = []  # without completions this is a plain input
    return JsonResponse({"names": names})


def _decider(rules: Iterable[Rule], channel: str) -> Rule | None:
    return next((rule for rule in (*RULES, *rules) if rule.covers(channel)), None)


def _listed(patterns: Sequence[str]) -> tuple[list[Target], int]:
    answer = client.list_channels(limit=LISTED, patterns=patterns)
    targets = [Target(channel.name, channel.connections) for channel in answer.channels]
    return targets, len(targets) if answer.total is None else answer.total
