"""Convert frozen dataclasses, the records of the contract, to JSON objects and forms and back.

A record's annotations define the values of its fields:

* `str`, `int`, `float`, `bool`, and `object` for any JSON value;
* `Name` for a string that can be the name of a channel or a user, and other `Named` strings;
* `X | None`, `tuple[X, ...]` for a list, `Mapping[str, X]` for an object, and other records.

A field without a default is required. Its metadata may set its name in JSON and
forms (`{"as": "name"}`), make an empty text a value in a form too (`{"empty": True}`), and name the
value that replaces an invalid one in JSON (`{"invalid": …}`). Unknown fields are ignored, because
the other side may be newer. The readers and writers of a record are
created once, when it is first used.
"""

from __future__ import annotations

import sys
import typing
from collections.abc import Callable, Container, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, NamedTuple, TypeVar

from . import values
from .fields import Fault, FieldProblem, Reader, is_union, json_of, name_limit, reader, text_reader
from .values import JSON

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class _Field:
    """The properties of a record's field, computed once.

    Attributes:
        attribute: Its name in the record.
        name: Its name in JSON and forms.
        reader: Reads its value.
        of_text: Reads its value from its text in a form; the first argument is its name.
        is_required: Whether it has no default.
        takes_none: Whether null is one of its values.
        takes_empty: Whether an empty text is a value in a form.
        is_spread: Whether it takes all fields that no other field takes.
        is_plain: Whether its values are JSON without conversion.
        is_text: Whether any text in a form is its value as it is.
        default: Its default, or MISSING if it has none.
        substitute: The value that replaces an invalid one, or MISSING if it is refused.

    """

    attribute: str
    name: str
    reader: Reader
    of_text: Callable[[str, str], object]
    is_required: bool
    takes_none: bool
    takes_empty: bool
    is_spread: bool
    is_plain: bool
    is_text: bool
    default: object
    substitute: object


#: Types whose values are JSON without conversion.
_PLAIN = frozenset({str, int, float, bool, object, type(None)})

_FIELDS: dict[type, tuple[_Field, ...]] = {}


def spread() -> Any:
    """Declare the field that takes all JSON values that no other field takes."""
    return field(default_factory=dict, metadata={"spread": True})


def read(
    kind: type[Record],
    data: object,
    *,
    lenient: bool = False,
    tolerated: list[FieldProblem] | None = None,
) -> Record:
    """Return the record described by a JSON object.

    Args:
        kind: The record's class.
        data: The object.
        lenient: Whether to treat a field with an invalid value as missing, and to omit invalid
            members of a list; for answers from other versions.
        tolerated: Receives the problems of fields whose invalid value was replaced.

    Raises:
        FieldProblem: If a field is missing or invalid, or `data` is not an object.

    """
    return _read(kind, data, "", lenient, tolerated)


def write(record: object, *, defaults: bool = True) -> values.JSONObject:
    """Return a record as a JSON object; omit fields that contain None.

    Args:
        record: The record.
        defaults: Whether to include the other fields that have their default. If they are omitted,
            None is included where it is not the default.

    """
    found: values.JSONObject = {}
    kind = type(record)
    for each in _FIELDS.get(kind) or _fields(kind):
        value = getattr(record, each.attribute)
        is_omitted = value is None if defaults else value == each.default
        if is_omitted:
            continue
        if each.is_spread:
            found.update(_plain(value))
        else:
            found[each.name] = value if each.is_plain else _plain(value)
    return found


def to_form(record: object, encode: Callable[[object], str] = values.dumps) -> dict[str, str]:
    """Return a record as the fields of a form.

    Strings are unchanged, true is "1", numbers are written in digits and everything else as JSON.
    Empty strings, false and None are omitted.

    Args:
        record: The record.
        encode: Writes JSON, including values that are not plain JSON.

    """
    form: dict[str, str] = {}
    for each in _fields(type(record)):
        value, name = getattr(record, each.attribute), each.name
        if each.is_spread:
            form.update({key: encode(inner) for key, inner in value.items()})
        elif value is None or value is False:
            continue
        elif value is True:
            form[name] = "1"
        elif isinstance(value, str):
            if value or each.takes_empty:
                form[name] = value
        elif isinstance(value, int | float):
            form[name] = str(value)
        else:
            form[name] = encode(_plain(value))
    return form


def from_form(kind: type[Record], form: Mapping[str, str], ignored: Container[str] = ()) -> Record:
    """Return the record described by a form's fields; empty fields count as missing.

    Args:
        kind: The record's class.
        form: The fields.
        ignored: Fields that a `spread` field does not take, such as the secret.

    Raises:
        FieldProblem: If a field is missing or invalid.

    """
    simple = _SIMPLE.get(kind) or _simple(kind)
    if simple.spread is None:
        try:
            return _from_simple_form(kind, simple, form)
        except FieldProblem:
            pass  # the first one in the order of the fields is reported below
    given: dict[str, object] = {}
    rest = dict(form)
    collecting: str | None = None
    for each in _fields(kind):
        if each.is_spread:
            collecting = each.attribute
            continue
        name = each.name
        text = rest.pop(name, None)
        if text is None or (not text and not each.takes_empty):
            if each.is_required:
                raise FieldProblem(name)
            continue
        given[each.attribute] = each.of_text(name, text)
    if collecting is not None:
        given[collecting] = {
            name: json_of(name, text) for name, text in rest.items() if text and name not in ignored
        }
    return kind(**given)


# ---- parts -----------------------------------------------------------------


class _Simple(NamedTuple):
    """The fields of a record by name, those that it requires, and its spread field."""

    by_name: Mapping[str, _Field]
    required: frozenset[str]
    spread: str | None


_SIMPLE: dict[type, _Simple] = {}


def _simple(kind: type[object]) -> _Simple:
    known = _fields(kind)
    found = _Simple(
        {each.name: each for each in known},
        frozenset(each.attribute for each in known if each.is_required),
        next((each.attribute for each in known if each.is_spread), None),
    )
    return _SIMPLE.setdefault(kind, found)


def _from_simple_form(kind: type[Record], simple: _Simple, form: Mapping[str, str]) -> Record:
    """Do the same as `from_form`, but look only at the fields that the form has."""
    given: dict[str, object] = {}
    for name, text in form.items():
        each = simple.by_name.get(name)
        if each is not None and (text or each.takes_empty):
            given[each.attribute] = text if each.is_text else each.of_text(name, text)
    if not simple.required <= given.keys():
        raise FieldProblem(kind.__name__)
    return kind(**given)


def _kinds(kind: object) -> tuple[object, ...]:
    inside = typing.get_args(kind) if is_union(kind) else (kind,)
    return tuple(str if name_limit(inner) else inner for inner in inside)


def _read(
    kind: type[Record],
    data: object,
    path: str,
    lenient: bool,
    tolerated: list[FieldProblem] | None = None,
) -> Record:
    if not isinstance(data, Mapping):
        raise FieldProblem(path or kind.__name__, Fault.OBJECT)
    simple = _SIMPLE.get(kind) or _simple(kind)
    if simple.spread is None:
        try:
            return _read_simple(kind, simple, data)
        except FieldProblem:
            pass  # handled below, in the order of the fields
    given: dict[str, object] = {}
    known = _fields(kind)
    for each in known:
        name = each.name
        if each.is_spread:
            taken = {other.name for other in known}
            given[each.attribute] = {key: data[key] for key in data if key not in taken}
            continue
        where = f"{path}.{name}" if path else name
        value = data.get(name)
        if value is None and not (each.takes_none and name in data):
            if each.is_required:
                raise FieldProblem(where)
            continue
        try:
            given[each.attribute] = each.reader(value, where, lenient)
        except FieldProblem as problem:
            if each.substitute is not MISSING:
                given[each.attribute] = each.substitute
                if tolerated is not None:
                    tolerated.append(problem)
            elif not lenient or each.is_required:
                raise
    return kind(**given)


def _read_simple(kind: type[Record], simple: _Simple, data: Mapping[str, object]) -> Record:
    """Do the same as `_read`, but look only at the fields that the object has."""
    given: dict[str, object] = {}
    for name, value in data.items():
        each = simple.by_name.get(name)
        if each is not None and (value is not None or each.takes_none):
            given[each.attribute] = each.reader(value, name, False)
    if not simple.required <= given.keys():
        raise FieldProblem(kind.__name__)
    return kind(**given)


def _record_reader(kind: type[object]) -> Reader:
    return lambda value, path, lenient: _read(kind, value, path, lenient)


def _fields(kind: type[Any]) -> tuple[_Field, ...]:
    known = _FIELDS.get(kind)
    if known is not None:
        return known
    hints = typing.get_type_hints(kind, vars(sys.modules[kind.__module__]), include_extras=True)
    found = []
    for each in fields(kind):
        kinds = _kinds(hints[each.name])
        read_value = reader(hints[each.name], _record_reader)
        found.append(
            _Field(
                attribute=each.name,
                name=each.metadata.get("as", each.name),
                reader=read_value,
                of_text=text_reader(kinds, read_value),
                is_required=each.default is MISSING and each.default_factory is MISSING,
                takes_none=object in kinds or type(None) in kinds,
                takes_empty=bool(each.metadata.get("empty")),
                is_spread=bool(each.metadata.get("spread")),
                is_plain=all(inner in _PLAIN for inner in kinds),
                is_text=hints[each.name] in (str, str | None),
                default=each.default,
                substitute=each.metadata.get("invalid", MISSING),
            )
        )
    return _FIELDS.setdefault(kind, tuple(found))


def _plain(value: Any) -> JSON:
    """Return a value with its records converted to objects, and its tuples to lists."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind in _FIELDS or (is_dataclass(value) and not isinstance(value, type)):
        return write(value)
    if kind is dict or isinstance(value, Mapping):
        return {
            name: inner if type(inner) in _PLAIN else _plain(inner) for name, inner in value.items()
        }
    if isinstance(value, list | tuple | frozenset | set):
        return [_plain(inner) for inner in value]
    return value
