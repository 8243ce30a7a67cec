"""Channel policies for a test, without rows in its database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..decisions.store import cache, rule_of
from ..models import Audience, ChannelPolicy
from ..policy.rules import Rule

#: What a policy is that is given as a pattern only.
_OPEN = {
    f"{operation}_audience": Audience.EVERYONE for operation in ("create", "subscribe", "publish")
}


@contextmanager
def override_policies(
    *policies: str | Mapping[str, object] | ChannelPolicy, keep: bool = False
) -> Iterator[None]:
    """Use other policies until the block ends; also a decorator for functions and methods::

        with override_policies(
            "/news/",                                                       # open to everyone
            {"pattern": "/rooms/<int:room>/", "publish_audience": "signed_in"},
        ): ...

    Without arguments, there are no policies, so handlers decide.

    Args:
        policies: In the order in which they are tried: patterns, which are open to everyone;
            dictionaries of the fields of a policy, as in the admin; or `ChannelPolicy` objects,
            which need not be saved.
        keep: Whether the policies in the database are tried after them.

    Raises:
        ValidationError: A policy is invalid, as in the admin.

    """
    with cache.replaced([_rule(each, number) for number, each in enumerate(policies)], keep=keep):
        yield


def _rule(given: str | Mapping[str, object] | ChannelPolicy, number: int) -> Rule:
    if isinstance(given, ChannelPolicy):
        return rule_of(given, _saved_groups(given))
    fields: dict[str, Any] = {"pattern": given, **_OPEN} if isinstance(given, str) else dict(given)
    groups = fields.pop("groups", ())
    fields.setdefault("name", f"{fields.get('pattern', '')}")
    policy = ChannelPolicy(**fields)
    policy.full_clean(validate_unique=False, validate_constraints=False)
    return rule_of(policy, [group.pk for group in groups])


def _saved_groups(policy: ChannelPolicy) -> list[int]:
    if policy._state.adding:
        return []
    return list(policy.groups.values_list("pk", flat=True))
