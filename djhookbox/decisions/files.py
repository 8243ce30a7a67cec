"""Policies as files, compatible with `dumpdata` and `loaddata`, but validated before import.

A file is a list of `{"model": "djhookbox.channelpolicy", "fields": {…}}`. Policies and groups are
identified by name, so that a file can be imported on another site. Options that a file omits stay
unchanged, or have their defaults if the policy is new.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Cast
from django.utils.translation import gettext as _

from .. import strict_json
from ..commits import writing
from ..models import ChannelPolicy
from ..wire import values
from . import written

MODEL = ChannelPolicy._meta.label_lower

#: Fields that a file does not contain: timestamps belong to this site.
_OWN = frozenset({"id", "created", "modified"})

_FIELDS: Mapping[str, models.Field[object, object]] = {
    one.name: one for one in ChannelPolicy._meta.concrete_fields if one.name not in _OWN
}

#: The fields in which policies differ: the first ones and the last.
_APART = ("name", "pattern", "order", "note")

#: The others, which are next to each other.
_ALIKE = tuple(name for name in _FIELDS if name not in _APART)

#: The fields with a JSON value.
_DOCUMENTS = frozenset(name for name, one in _FIELDS.items() if isinstance(one, models.JSONField))


class PolicyFileError(ValueError):
    """A file cannot be imported.

    Attributes:
        problems: What is wrong, one sentence each.

    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return " ".join(self.problems)


@dataclass(slots=True)
class Change:
    """What a file would change in one policy.

    Attributes:
        policy: The policy as it would be saved.
        groups: The groups it would have, or None if unchanged.
        changed: Names of the fields that would change; empty for a new policy.

    """

    policy: ChannelPolicy
    groups: list[Group] | None
    changed: dict[str, tuple[object, object]] = field(default_factory=dict)

    @property
    def is_new(self) -> bool:
        """Whether the policy would be created."""
        return bool(self.policy._state.adding)

    @property
    def is_idle(self) -> bool:
        """Whether nothing would change."""
        return not self.is_new and not self.changed


def export(policies: models.QuerySet[ChannelPolicy]) -> str:
    """Return policies in the file format, which is that of Django's serializer.

    Django's serializer itself takes many times as long, and so would objects with their groups.
    """
    through = ChannelPolicy.groups.through._default_manager.order_by("pk")
    chosen = list(through.values_list("channelpolicy_id", "group_id"))
    names = dict(Group.objects.values_list("pk", "name"))
    groups: dict[int, list[list[str]]] = {}
    for policy, group in chosen:
        if group in names:  # else deleted a moment ago
            groups.setdefault(policy, []).append([names[group]])
    # JSON values as their texts, which are the same in most policies.
    texts = [
        Cast(name, models.TextField()) if name in _DOCUMENTS else models.F(name) for name in _ALIKE
    ]
    no_groups = written.document("groups", "[]")
    entries = []
    for pk, name, pattern, order, note, *alike in policies.values_list("pk", *_APART, *texts):
        lines = [
            written.simple("name", name),
            written.simple("pattern", pattern),
            written.simple("order", order),
            _alike(*alike),
            written.simple("note", note),
            written.document("groups", values.dumps(groups[pk])) if pk in groups else no_groups,
        ]
        entries.append(written.entry(MODEL, lines))
    text = "[\n" + ",\n".join(entries) + "\n]\n"
    # Lone surrogates are not characters: a file can only contain them as escapes.
    return text.encode("utf-8", "backslashreplace").decode()


@lru_cache(maxsize=256, typed=True)
def _alike(*values: Any) -> str:
    """Return the fields in which policies hardly differ."""
    return written.joined([
        written.document(name, value) if name in _DOCUMENTS else written.simple(name, value)
        for name, value in zip(_ALIKE, values, strict=True)
    ])  # fmt: skip


def plan(text: str) -> list[Change]:
    """Parse a file and return what it would change; nothing is saved.

    Raises:
        PolicyFileError: Something in it is wrong; nothing of it can be imported.

    """
    try:
        entries = strict_json.read(text, max_depth=values.MAX_DOCUMENT_DEPTH)
    except strict_json.JSONProblem as error:
        raise PolicyFileError([str(error)]) from error
    if strict_json.has_surrogates(entries):  # neither a database nor a page can contain them
        raise PolicyFileError([_("This must not contain lone surrogates.")])
    if not isinstance(entries, list) or not entries:
        raise PolicyFileError([_("This is not a list of policies.")])
    known = {policy.name: policy for policy in ChannelPolicy.objects.prefetch_related("groups")}
    groups = {group.name: group for group in Group.objects.all()}
    changes: list[Change] = []
    problems: list[str] = []
    seen: set[str] = set()
    for number, entry in enumerate(entries, 1):
        name = ""
        try:
            fields = _fields(entry)
            name = fields["name"]
            if name in seen:
                raise ValidationError(_("Another policy in the file has the same name."))
            seen.add(name)
            changes.append(_change(fields, known.get(name), groups))
        except ValidationError as error:
            words = {"number": number, "name": name, "problems": " ".join(_sentences(error))}
            problems.append(_("Policy %(number)d “%(name)s”: %(problems)s") % words)
    if problems:
        raise PolicyFileError(problems)
    return changes


def apply(changes: Iterable[Change]) -> None:
    """Save the changes of a file, all or none.

    Raises:
        PolicyFileError: A new policy has the name of another in the eyes of the database, which
            may ignore case.

    """
    with writing(ChannelPolicy):
        for change in changes:
            if change.is_idle:
                continue
            if change.is_new:
                try:
                    change.policy.validate_unique()
                except ValidationError as error:
                    words = {"name": change.policy.name, "problems": " ".join(_sentences(error))}
                    raise PolicyFileError([_("Policy “%(name)s”: %(problems)s") % words]) from None
            change.policy.save()
            if change.groups is not None:
                change.policy.groups.set(change.groups)


def _fields(entry: object) -> values.JSONObject:
    if not isinstance(entry, dict) or entry.get("model") != MODEL:
        raise ValidationError(_("“model” must be %(model)s.") % {"model": MODEL})
    fields = entry.get("fields")
    if not isinstance(fields, dict):
        raise ValidationError(_("“fields” must be an object."))
    name = fields.get("name")
    if not isinstance(name, str) or not name:
        raise ValidationError(_("“name” is missing."))
    if unknown := sorted(set(fields) - set(_FIELDS) - _OWN - {"groups"}):
        raise ValidationError(_("Unknown field “%(name)s”.") % {"name": unknown[0]})
    return fields


def _change(
    fields: Mapping[str, object], known: ChannelPolicy | None, groups: Mapping[str, Group]
) -> Change:
    policy = known or ChannelPolicy()
    changed: dict[str, tuple[object, object]] = {}
    problems: dict[str, list[Any]] = {}
    for name, model_field in _FIELDS.items():
        if name not in fields:
            continue
        try:
            value = _value(model_field, fields[name])
        except ValidationError as error:
            problems[name] = [*error.messages]
            continue
        before = getattr(policy, name)
        if value != before or type(value) is not type(before):
            changed[name] = (before, value)
        setattr(policy, name, value)
    chosen = None
    if "groups" in fields:
        try:
            chosen = _groups(fields["groups"], groups)
        except ValidationError as error:
            problems["groups"] = [*error.messages]
        else:
            had = [] if known is None else sorted(group.name for group in known.groups.all())
            if sorted(group.name for group in chosen) != had:
                changed["groups"] = (had, sorted(group.name for group in chosen))
    try:
        policy.full_clean(exclude=problems)
    except ValidationError as error:
        for name, messages in error.message_dict.items():
            problems.setdefault(name, []).extend(messages)
    if problems:
        raise ValidationError(problems)
    return Change(policy, chosen, {} if policy._state.adding else changed)


def _value(model_field: models.Field[Any, Any], value: object) -> object:
    """Return a value if it has the type that an exported file would have."""
    if isinstance(model_field, models.JSONField):
        return value
    kind: type = str
    if isinstance(model_field, models.BooleanField):
        kind = bool
    elif isinstance(model_field, models.IntegerField):
        kind = int
    if type(value) is not kind:
        words = {bool: _("true or false"), int: _("a whole number"), str: _("a string")}
        raise ValidationError(_("This must be %(kind)s.") % {"kind": words[kind]})
    if isinstance(value, str) and "\0" in value:
        raise ValidationError(_("This must not contain null characters."))
    return value


def _groups(names: object, known: Mapping[str, Group]) -> list[Group]:
    if not isinstance(names, list):
        raise ValidationError(_("This must be a list of group names."))
    found: dict[int, Group] = {}
    for name in names:
        # `dumpdata` writes the natural key, which is a list of one name.
        text = name[0] if isinstance(name, list) and len(name) == 1 else name
        if not isinstance(text, str) or text not in known:
            raise ValidationError(_("There is no group “%(name)s” on this site.") % {"name": text})
        found[known[text].pk] = known[text]
    return list(found.values())


def _sentences(error: ValidationError) -> list[str]:
    if not hasattr(error, "error_dict"):
        return [str(message) for message in error.messages]
    return [
        f"{name}: {message}" if name != "__all__" else str(message)
        for name, messages in error.message_dict.items()
        for message in messages
    ]
