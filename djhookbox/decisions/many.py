"""Decide about many subscriptions of one user at once, as when a page reconnects."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from ..bans import store as bans
from ..bans.rules import Subject
from ..policy.rules import Operation
from ..users.accounts import User
from ..users.facts import Facts
from ..wire.options import asks as will_ask
from ..wire.webhooks import Wanted
from .decide import Decision, Terms, decide
from .store import cache


def decide_many(
    user: User, wanted: Iterable[Wanted], subject: Subject | None = None
) -> list[tuple[str, Operation, Decision]]:
    """Return for each channel whether it may be created and whether the user may subscribe.

    Each is decided as if asked alone, but what the policies need to know about the user costs one
    query for all of them.
    """
    terms = Terms(rules=cache.get(), banned=bans.cache.get(), who=Facts(user))
    ask = partial(decide, subject=subject, terms=terms)
    decided = []
    for each in wanted:
        asks = each.subscribe
        if each.create:
            decision = ask(Operation.CREATE, user, each.channel_name)
            decided.append((each.channel_name, Operation.CREATE, decision))
            if not decision.allowed:
                continue
            asks = asks or will_ask(decision.options, "subscribe")
        if asks:
            decision = ask(Operation.SUBSCRIBE, user, each.channel_name)
            decided.append((each.channel_name, Operation.SUBSCRIBE, decision))
    return decided
