"""Re-authorise live subscriptions after an edit, and find changed channel options.

The server asks in batches; the users of a batch cost one query in total.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import models, router

from ..bans import store as bans
from ..bans.rules import Subject
from ..policy.rules import Audience, Operation, Rule
from ..users.accounts import named, username
from ..users.facts import Facts
from ..users.identity import ANONYMOUS_PREFIX
from ..wire.replies import Rechecked
from .decide import Terms, decide, standing_options
from .store import cache

_MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"

#: Names per query; some databases limit the number of parameters.
_CHUNK = 500


def recheck(channels: Mapping[str, Sequence[str]]) -> dict[str, Rechecked]:
    """Return for each channel its current options, and the users who may no longer read it.

    The subscribe signal is not sent: nobody subscribes.
    """
    # Another process may have made the edit a moment ago.
    rules, banned = cache.get(fresh=True), bans.cache.get(fresh=True)
    facts = _facts({name for names in channels.values() for name in names}, rules)
    result: dict[str, Rechecked] = {}
    for channel, names in channels.items():
        refused: dict[str, str] = {}
        for name in names:
            who = facts.get(name) or Facts(AnonymousUser())
            decision = decide(
                Operation.SUBSCRIBE, who.user, channel, subject=Subject(name),
                terms=Terms(send_signals=False, rules=rules, banned=banned, who=who),
            )  # fmt: skip
            if not decision.allowed:
                refused[name] = decision.reason
        result[channel] = Rechecked(standing_options(rules, channel), refused)
    return result


def _facts(names: Iterable[str], rules: Sequence[Rule]) -> dict[str, Facts]:
    """Return facts about users for the rules; users without an account are missing."""
    wanted = sorted(name for name in names if not name.startswith(ANONYMOUS_PREFIX))
    permissions = {
        rule.permission
        for rule in rules
        if rule.permission and rule.subscribe == Audience.PERMISSION
    }
    model = get_user_model()
    # Not a replica, which may not have the change yet because of which the server asks.
    using = router.db_for_write(model)
    users: models.QuerySet[Any] = model._default_manager.using(using)
    with_groups = hasattr(model, "groups") and any(
        rule.subscribe == Audience.GROUPS for rule in rules
    )
    if with_groups:
        group: Any = model._meta.get_field("groups").related_model
        users = users.prefetch_related(
            models.Prefetch("groups", group._default_manager.using(using))
        )
    facts: dict[str, Facts] = {}
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        for user in named(chunk, users):
            groups = frozenset(group.pk for group in user.groups.all()) if with_groups else None
            facts[username(user)] = Facts(user, groups)
    for permission in permissions if facts else ():
        _note_holders(permission, facts)
    return facts


def _note_holders(permission: str, facts: Mapping[str, Facts]) -> None:
    """Find who holds a permission, with one query if Django's own backend is the only one."""
    model = get_user_model()
    with_perm = getattr(model._default_manager, "with_perm", None)
    if with_perm is None or list(django_settings.AUTHENTICATION_BACKENDS) != [_MODEL_BACKEND]:
        return  # has_perm() is called for each user, as the project's backend requires
    keys = [fact.user.pk for fact in facts.values()]
    try:
        rows = with_perm(permission).using(router.db_for_write(model)).filter(pk__in=keys)
        holders = set(rows.values_list("pk", flat=True))
    except ValueError:
        holders = set()  # not app_label.codename: nobody has it
    for fact in facts.values():
        fact.permissions[permission] = fact.user.pk in holders
